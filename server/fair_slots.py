"""A number of slots that several groups share: whose turn it is goes round, so that no group can take all for long."""

from __future__ import annotations

import asyncio
from collections import deque


class FairSlots:
    """Slots; a free one goes to the next group that waits, and inside it to whoever came first.

    ``asyncio.Semaphore`` would give them in the order of arrival: behind a hundred requests for one servable everybody else waits.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: dict[object, deque[asyncio.Future[None]]] = {}

    def of(self, group: object) -> GroupSlots:
        """The slots as one group takes them."""
        return GroupSlots(self, group)

    async def acquire(self, group: object) -> None:
        """Take a slot, or wait for one."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(group, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the slot came in the same instant: it goes on to the next
            else:
                self._leave(group, turn)
            raise

    def release(self) -> None:
        """Give a slot to the next one that waits."""
        for group in list(self._waiting):
            turns = self._waiting.pop(group)
            turn = turns.popleft()
            if turns:
                self._waiting[group] = turns  # at the end: the others come first
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _leave(self, group: object, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(group)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[group]


class GroupSlots:
    """The slots as one group takes them; as an ``asyncio.Semaphore`` is used."""

    def __init__(self, slots: FairSlots, group: object) -> None:
        self._slots = slots
        self._group = group

    async def acquire(self) -> None:
        """Take a slot, or wait for one."""
        await self._slots.acquire(self._group)

    def release(self) -> None:
        """Give it back."""
        self._slots.release()

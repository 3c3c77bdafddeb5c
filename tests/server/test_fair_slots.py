"""Slots that groups share in turn."""

from __future__ import annotations

import asyncio

from server.fair_slots import FairSlots


async def _settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class _Takers:
    """Tasks that take a slot each, and the order in which they got it."""

    def __init__(self, slots: FairSlots) -> None:
        self._slots = slots
        self.got: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """Ask for a slot; the first letter of a name is its group."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._take(name))
            await _settle()

    async def _take(self, name: str) -> None:
        await self._slots.of(name[0]).acquire()
        self.got.append(name)

    async def give(self, count: int = 1) -> None:
        """Give slots back, one after the other."""
        for _ in range(count):
            self._slots.release()
            await _settle()


async def test_groups_take_turns_and_each_is_served_in_order() -> None:
    takers = _Takers(FairSlots(2))
    await takers.come("a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1")
    assert takers.got == ["a1", "a2"]
    await takers.give(6)
    assert takers.got[2:] == ["a3", "b1", "c1", "a4", "b2", "a5"]


async def test_free_slots_go_to_whoever_comes() -> None:
    takers = _Takers(FairSlots(1))
    await takers.come("a1")
    await takers.give()
    await takers.come("a2", "b1")
    assert takers.got == ["a1", "a2"]
    await takers.give()
    assert takers.got == ["a1", "a2", "b1"]


async def test_who_leaves_frees_its_place_and_loses_no_slot() -> None:
    takers = _Takers(FairSlots(1))
    await takers.come("a1", "a2", "b1", "c1")
    takers.tasks["a2"].cancel()
    await _settle()
    await takers.give()
    assert takers.got == ["a1", "b1"]
    await takers.give(2)
    await takers.come("d1")
    assert takers.got == ["a1", "b1", "c1", "d1"]


async def test_who_leaves_in_the_instant_in_which_its_slot_comes_passes_it_on() -> None:
    slots = FairSlots(1)
    takers = _Takers(slots)
    await takers.come("a1", "b1", "c1")
    slots.release()
    takers.tasks["b1"].cancel()  # it has the slot, and has not run since
    await _settle()
    assert takers.got == ["a1", "c1"]


async def test_who_leaves_before_its_turn_in_the_same_instant_is_passed_over() -> None:
    slots = FairSlots(1)
    takers = _Takers(slots)
    await takers.come("a1", "b1", "c1")
    takers.tasks["b1"].cancel()  # its turn is cancelled, and it has not run since
    slots.release()
    await _settle()
    assert takers.got == ["a1", "c1"]

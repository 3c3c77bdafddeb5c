"""LaneGroup: several lanes with a copy of the same model each, behind one queue, first come first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from calculators.image_gen.errors import cancelled_error, closed_error
from calculators.image_gen.generation import GenerationRequest, GenerationResult, OnCancel, OnPartial, OnStep
from calculators.image_gen.lane import Lane
from calculators.statistics import ImageStatistics, total

_LOOK_AGAIN_S: Final = 1.0
"""How often who waits looks at free lanes that cannot draw: a lane that has mended itself tells nobody."""


class _Turn:
    """A caller that waits for a lane."""

    def __init__(self) -> None:
        self.cancelled = False


class LaneGroup:
    """See :class:`calculators.image_gen.lane.Lane`; as many generations at once as there are lanes.

    A lane that cannot draw at present gets nothing to do as long as another one can.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = tuple(lanes)
        self._free = list(lanes)
        self._waiting: deque[_Turn] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def generate(
        self,
        request: GenerationRequest,
        *,
        on_cancel: OnCancel | None = None,
        on_step: OnStep | None = None,
        on_partial: OnPartial | None = None,
    ) -> GenerationResult:
        """Wait for a free lane, and draw there."""
        lane = self._take_lane(on_cancel)
        try:
            return lane.generate(request, on_cancel=on_cancel, on_step=on_step, on_partial=on_partial)
        finally:
            with self._changed:
                self._free.append(lane)
                self._changed.notify_all()

    def _take_lane(self, on_cancel: OnCancel | None) -> Lane:
        turn = _Turn()
        forget = on_cancel(lambda: self._cancel(turn)) if on_cancel is not None else None
        try:
            with self._changed:
                self._waiting.append(turn)
                try:
                    while True:
                        if turn.cancelled:
                            raise cancelled_error()
                        if self._closed:
                            raise closed_error()
                        lane = self._next_lane() if self._waiting[0] is turn else None
                        if lane is not None:
                            self._free.remove(lane)
                            return lane
                        self._changed.wait(_LOOK_AGAIN_S if self._free else None)
                finally:
                    self._waiting.remove(turn)
                    self._changed.notify_all()  # who is first now may find a free lane
        finally:
            if forget is not None:
                forget()

    def _next_lane(self) -> Lane | None:
        """A free lane that can draw; if no lane can, any free one: it tells why."""
        well = [lane for lane in self._free if lane.trouble is None]
        if not well and self._free and self.trouble is not None:
            return self._free[0]
        return well[0] if well else None

    def _cancel(self, turn: _Turn) -> None:
        with self._changed:
            turn.cancelled = True
            self._changed.notify_all()

    @property
    def trouble(self) -> str | None:
        """Why no lane can draw anything at present; None if one can."""
        troubles = [lane.trouble for lane in self._lanes]
        return None if None in troubles else troubles[0]

    def describe(self) -> dict[str, Any]:
        """The group as one lane, and each of its lanes."""
        lanes = [lane.describe() for lane in self._lanes]
        with self._changed:
            waiting = len(self._waiting)
        states = {lane["state"] for lane in lanes}
        return {
            "kind": lanes[0]["kind"],
            "state": next(state for state in ("busy", "idle", "unloaded", "broken", "closed") if state in states),
            "waiting": waiting + sum(lane["waiting"] for lane in lanes),
            "served": sum(lane["served"] for lane in lanes),
            "lanes": lanes,
        }

    def statistics(self) -> ImageStatistics:
        """Those of its lanes, added up."""
        return total(lane.statistics() for lane in self._lanes)

    def close(self) -> None:
        """Close all lanes; who waits gets an error."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.close()

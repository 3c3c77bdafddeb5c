"""What is done at each step of a generation: the callback that OpenVINO GenAI calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from calculators.image_gen.engine.previews import Previews
from calculators.image_gen.generation import OnStep


class Watch:
    """The callback of one call of ``generate``. It never raises: an exception would end the process.

    GenAI calls it on a thread of its own and does not wait for it; the last calls may be left out.

    Args:
        expected_steps: how many steps have to be run; None where nothing is known to go wrong.
        cancelled: asked at each step.
        on_step: told about each step.
        previews: given the latents of each step.
    """

    def __init__(
        self,
        expected_steps: int | None,
        cancelled: Callable[[], bool],
        on_step: OnStep,
        previews: Previews | None = None,
    ) -> None:
        self._expected = expected_steps
        self._cancelled = cancelled
        self._on_step = on_step
        self._previews = previews
        self._last = (0, 0)
        self.stopped = False
        self.miscounted = False
        self.error: BaseException | None = None

    def __call__(self, step: int, num_steps: int, latent: Any) -> bool:
        try:
            if self._cancelled():
                self.stopped = True
                return True
            if self._expected is not None and num_steps != self._expected:
                self.miscounted = True
                return True
            self._last = (step + 1, num_steps)
            self._on_step(step + 1, num_steps)
            if self._previews is not None:
                self._previews.step(step + 1, num_steps, latent)
            return False
        except BaseException as error:
            self.error = error
            return True

    def finish(self) -> None:
        """Report the last step if GenAI did not."""
        done, total = self._last
        if done < total:
            self._on_step(total, total)

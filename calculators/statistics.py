"""What nodes have done so far, in numbers: immutable records, which whoever watches a program reads when it likes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds for times: from a text encoder's milliseconds to a large picture's minutes."""

PER_SECOND: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0)
"""Upper bounds for denoising steps a second."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many values were how large.

    Attributes:
        bounds: upper bounds of the buckets, growing; each bucket has the values that are at most that.
        counts: values in each bucket, and in one more for those above all bounds.
        total: the sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float = 0.0

    @classmethod
    def empty(cls, bounds: tuple[float, ...]) -> Distribution:
        """Without any value."""
        return cls(bounds, (0,) * (len(bounds) + 1))

    def with_value(self, value: float) -> Distribution:
        """One value more."""
        counts = list(self.counts)
        counts[bisect_left(self.bounds, value)] += 1
        return Distribution(self.bounds, tuple(counts), self.total + value)

    def __add__(self, other: Distribution) -> Distribution:
        counts = tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True))
        return Distribution(self.bounds, counts, self.total + other.total)


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """What the lanes of a model have done since it was loaded, and how they are now. Records of several lanes can be added.

    Attributes:
        lanes: state (``busy``, ``idle``, ``unloaded``, ``broken``, ``closed``) -> how many lanes are in it.
        requests: how a request ended (``done``, ``refused``, ``failed``, ``cancelled``) -> how many did. One that was cancelled
            before its turn is not counted: the lane has not worked on it.
        images: pictures that were finished.
        steps: denoising steps that were run, those of the running request and of cancelled ones too.
        memory_bytes: what the processes that hold the model use of the machine's memory; 0 where it is in this process.
        restarts: how often the model was loaded anew after a failure or a crash.
        stage_s: stage (those of ``GenerationResult.stage_s``) -> seconds that it took, for each finished request.
        steps_per_s: denoising steps a second, for each finished request.
    """

    lanes: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    images: int = 0
    steps: int = 0
    restarts: int = 0
    memory_bytes: int = 0
    stage_s: Mapping[str, Distribution] = field(default_factory=dict)
    steps_per_s: Distribution = field(default_factory=lambda: Distribution.empty(PER_SECOND))

    def __add__(self, other: ImageStatistics) -> ImageStatistics:
        return ImageStatistics(
            lanes=_sum(self.lanes, other.lanes),
            requests=_sum(self.requests, other.requests),
            images=self.images + other.images,
            steps=self.steps + other.steps,
            restarts=self.restarts + other.restarts,
            memory_bytes=self.memory_bytes + other.memory_bytes,
            stage_s={
                stage: self.stage_s.get(stage, _NO_TIME) + other.stage_s.get(stage, _NO_TIME)
                for stage in [*self.stage_s, *(stage for stage in other.stage_s if stage not in self.stage_s)]
            },
            steps_per_s=self.steps_per_s + other.steps_per_s,
        )

    def after_request(self, outcome: str, steps: int) -> ImageStatistics:
        """One request more, which ended without pictures."""
        return self + ImageStatistics(requests={outcome: 1}, steps=steps)

    def after_pictures(self, images: int, steps: int, stage_s: Mapping[str, float]) -> ImageStatistics:
        """One request more, which was finished."""
        denoise_s = stage_s.get("denoise", 0.0)
        nothing = Distribution.empty(PER_SECOND)
        return self + ImageStatistics(
            requests={"done": 1},
            images=images,
            steps=steps,
            stage_s={stage: _NO_TIME.with_value(seconds) for stage, seconds in stage_s.items()},
            steps_per_s=nothing.with_value(steps / denoise_s) if denoise_s > 0 else nothing,
        )


_NO_TIME: Final = Distribution.empty(SECONDS)


def _sum(mine: Mapping[str, int], theirs: Mapping[str, int]) -> Mapping[str, int]:
    return {name: mine.get(name, 0) + theirs.get(name, 0) for name in {**mine, **theirs}}


def total(records: Iterable[ImageStatistics]) -> ImageStatistics:
    """All of them added up."""
    return sum(records, ImageStatistics())

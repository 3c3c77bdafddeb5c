"""Records of what lanes have done: values in buckets, and records that are added."""

from __future__ import annotations

from calculators.statistics import PER_SECOND, Distribution, ImageStatistics, total


def test_a_value_is_counted_in_the_first_bucket_that_it_fits_into() -> None:
    values = Distribution.empty((1.0, 10.0))
    for value in (0.5, 1.0, 1.5, 11.0):
        values = values.with_value(value)
    assert values == Distribution((1.0, 10.0), (2, 1, 1), 14.0)


def test_the_speed_of_a_request_is_its_steps_by_the_time_of_its_steps() -> None:
    after = ImageStatistics().after_pictures(2, 10, {"denoise": 5.0, "write": 1.0})
    assert after.steps_per_s.total == 2.0
    assert sum(after.steps_per_s.counts) == 1
    assert after.stage_s["denoise"].total == 5.0
    unknown = ImageStatistics().after_pictures(1, 10, {})
    assert unknown.steps_per_s == Distribution.empty(PER_SECOND)


def test_records_of_lanes_add_up() -> None:
    one = ImageStatistics(lanes={"busy": 1}, restarts=1).after_pictures(2, 10, {"denoise": 5.0, "read": 0.5})
    two = ImageStatistics(lanes={"idle": 1}).after_request("cancelled", 3).after_pictures(1, 4, {"denoise": 1.0})
    both = total([one, two])
    assert both.lanes == {"busy": 1, "idle": 1}
    assert both.requests == {"done": 2, "cancelled": 1}
    assert (both.images, both.steps, both.restarts) == (3, 17, 1)
    assert {stage: spent.total for stage, spent in both.stage_s.items()} == {"denoise": 6.0, "read": 0.5}

"""The grammar of the option plugin_config."""

from __future__ import annotations

from typing import Any

import pytest

from calculators.image_gen.plugin_config import as_text, parse_plugin_config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("{}", {}),
        ('{"PERF_COUNT": true, "X": "y", "N": -3, "F": 0.5}', {"PERF_COUNT": True, "X": "y", "N": -3, "F": 0.5}),
        ('{"NUM_STREAMS": 4}', {"NUM_STREAMS": "4"}),
        ('{"NUM_STREAMS": "AUTO"}', {"NUM_STREAMS": "AUTO"}),
        ('{"CACHE_DIR": "/tmp//cache/./x/"}', {"CACHE_DIR": "/tmp/cache/x"}),
        ('{"CACHE_DIR": ""}', {"CACHE_DIR": ""}),
        ('{"CPU_THROUGHPUT_STREAMS": 2}', {"NUM_STREAMS": "2"}),
        ('{"GPU_THROUGHPUT_STREAMS": "GPU_THROUGHPUT_AUTO"}', {"PERFORMANCE_HINT": "THROUGHPUT"}),
        ('{"CPU_THROUGHPUT_STREAMS": "CPU_THROUGHPUT_AUTO"}', {"PERFORMANCE_HINT": "THROUGHPUT"}),
        ('{"CPU_THREADS_NUM": 2}', {"INFERENCE_NUM_THREADS": 2}),
        (
            '{"DEVICE_PROPERTIES": {"CPU": {"NUM_STREAMS": 1, "CPU_THREADS_NUM": 2}, "GPU": {}}}',
            {"DEVICE_PROPERTIES": {"CPU": {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": 2}, "GPU": {}}},
        ),
        ('{"MIN": -9223372036854775808, "MAX": 9223372036854775807}', {"MIN": -(2**63), "MAX": 2**63 - 1}),
    ],
)
def test_configurations_that_are_read(text: str, expected: dict[str, Any]) -> None:
    found = parse_plugin_config(text)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not json", "not JSON"),
        (" ", "not JSON"),
        ('{"A": 1', "not JSON"),
        ('{"A": NaN}', "NaN"),
        ("[]", "must be a JSON object, not a list"),
        ('"CPU"', "must be a JSON object, not a text"),
        ("null", "must be a JSON object, not null"),
        ('{"A": null}', '"A" must be .* not null'),
        ('{"A": [1]}', '"A" must be .* not a list'),
        ('{"A": {"B": 1}}', '"A" must be .* not an object'),
        ('{"A": 1e999}', '"A" must be .* not an infinite number'),
        ('{"A": 9223372036854775808}', '"A" does not fit into 64 bits'),
        ('{"DEVICE_PROPERTIES": 3}', "must be an object of device names, not a number"),
        ('{"DEVICE_PROPERTIES": {"CPU": true}}', '"DEVICE_PROPERTIES.CPU" must be .* not a boolean'),
        ('{"DEVICE_PROPERTIES": {"CPU": {"A": {}}}}', '"DEVICE_PROPERTIES.CPU.A" must be .* not an object'),
        ("[" * 100_000, "too deeply"),
    ],
)
def test_configurations_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_plugin_config(text)


def test_equal_settings_have_one_text() -> None:
    one = as_text(parse_plugin_config('{"A": 1, "CPU_THREADS_NUM": 2}'))
    other = as_text(parse_plugin_config('{"INFERENCE_NUM_THREADS": 2, "A": 1}'))
    assert one == other
    assert parse_plugin_config(one) == {"A": 1, "INFERENCE_NUM_THREADS": 2}

"""Which key of plugin_config an error of OpenVINO speaks of."""

from __future__ import annotations

import pytest

reasons = pytest.importorskip("calculators.image_gen.engine.reasons", reason="needs openvino-genai")


def test_a_key_at_fault_is_found_by_its_name_or_by_its_value() -> None:
    properties = {"CACHE_DIR": "/models", "PERF_COUNT": True, "DEVICE_PROPERTIES": {"CPU": {"NUM_STREAMS": "many"}}}
    assert reasons.keys_at_fault(properties, "cannot read str: many; stoi") == ["DEVICE_PROPERTIES.CPU.NUM_STREAMS"]
    assert reasons.keys_at_fault(properties, "no PERF_COUNT, many") == ["PERF_COUNT"]
    assert reasons.keys_at_fault(properties, "/models/cat/unet is broken") == []

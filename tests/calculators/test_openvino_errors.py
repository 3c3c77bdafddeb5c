"""OpenVINO's errors, made readable."""

from __future__ import annotations

from calculators.openvino_errors import readable


def test_errors_are_told_without_the_places_in_openvinos_source() -> None:
    text = (
        "Exception from src/inference/src/cpp/core.cpp:117:\nException from src/inference/src/dev/plugin.cpp:54:\n"
        "Check 'device_id.empty()' failed at src/plugins/intel_cpu/src/config.cpp:247:\n"
        "CPU plugin supports only '' as device id\n\n\n"
    )
    assert readable(RuntimeError(text)) == "CPU plugin supports only '' as device id"
    text = (
        "Exception from src/inference/src/cpp/infer_request.cpp:224:\n[CPU] Reorder node with name "
        "'Multiply_35511_abcd___module.m/aten::_convolution/Convolution' Check 'ptr' failed at "
        "src/plugins/intel_cpu/src/cpu_memory.cpp:257: Failed to allocate 671088640 bytes of memory"
    )
    assert readable(RuntimeError(text)) == "Failed to allocate 671088640 bytes of memory"
    assert readable(RuntimeError("wrong at src/a/b.hpp:12: no")) == "wrong no"
    assert readable(RuntimeError("")) == "RuntimeError"
    assert readable(RuntimeError("x" * 10_000)) == "x" * 600 + " ..."

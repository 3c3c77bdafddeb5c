"""The names of the core calculators in graphs, and where their classes are: the content of the package's entry points.

Families that MediaPipe has once per C++ type share a class where the type means nothing in Python. The names without a type
(``BeginLoopCalculator`` ...) are ours: they take elements of every type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final


def _family(pattern: str, where: str, types: Iterable[str]) -> dict[str, str]:
    """One name per type, all for the same class."""
    return {pattern.format(each): where for each in types}


def _own(module: str, names: Iterable[str]) -> dict[str, str]:
    """Names that are those of their classes."""
    return {name: f"calculators.core.{module}:{name}" for name in names}


CALCULATORS: Final[dict[str, str]] = {
    **_own("add_header", ["AddHeaderCalculator"]),
    **_own("bypass", ["BypassCalculator"]),
    **_own("constant_side_packet", ["ConstantSidePacketCalculator"]),
    **_own("counting_source", ["CountingSourceCalculator"]),
    **_own("default_side_packet", ["DefaultSidePacketCalculator"]),
    **_own("flow_limiter", ["FlowLimiterCalculator"]),
    **_own("gate", ["GateCalculator"]),
    **_own("immediate_mux", ["ImmediateMuxCalculator"]),
    **_own("item_loop", ["BeginItemLoopCalculator", "EndItemLoopCalculator"]),
    **_own("make_pair", ["MakePairCalculator"]),
    **_own("merge", ["MergeCalculator"]),
    **_own("mux", ["MuxCalculator"]),
    **_own("non_zero", ["NonZeroCalculator"]),
    **_own("packet_cloner", ["PacketClonerCalculator"]),
    **_own("packet_inner_join", ["PacketInnerJoinCalculator"]),
    **_own("packet_presence", ["PacketPresenceCalculator"]),
    **_own("packet_resampler", ["PacketResamplerCalculator"]),
    **_own("packet_sequencer", ["PacketSequencerCalculator"]),
    **_own("packet_thinner", ["PacketThinnerCalculator"]),
    **_own("pass_through", ["PassThroughCalculator"]),
    **_own("previous_loopback", ["PreviousLoopbackCalculator"]),
    **_own("real_time_flow_limiter", ["RealTimeFlowLimiterCalculator"]),
    **_own("round_robin_demux", ["RoundRobinDemuxCalculator"]),
    **_own("sequence_shift", ["SequenceShiftCalculator"]),
    **_own("side_packet_to_stream", ["SidePacketToStreamCalculator"]),
    **_own("stream_to_side_packet", ["StreamToSidePacketCalculator"]),
    **_own("switch_demux", ["SwitchDemuxCalculator"]),
    **_own("switch_mux", ["SwitchMuxCalculator"]),
    **_own("value_or_default", ["ValueOrDefaultCalculator"]),
    # One name per number type; int32_t is int in C++, and uint32_t is unsigned int.
    **_own(
        "string_to_int",
        ["StringToIntCalculator", "StringToUintCalculator", "StringToInt64Calculator", "StringToUint64Calculator"],
    ),
    "StringToInt32Calculator": "calculators.core.string_to_int:StringToIntCalculator",
    "StringToUint32Calculator": "calculators.core.string_to_int:StringToUintCalculator",
    # Loops over lists.
    **_own(
        "loop",
        [
            "BeginLoopCalculator",
            "BeginLoopFloatCalculator",
            "BeginLoopIntCalculator",
            "BeginLoopStringCalculator",
            "BeginLoopUint64tCalculator",
            "EndLoopBooleanCalculator",
            "EndLoopCalculator",
            "EndLoopFloatCalculator",
        ],
    ),
    **_family(
        "BeginLoop{}Calculator",
        "calculators.core.loop:BeginLoopCalculator",
        [
            "Detection",
            "GpuBuffer",
            "Image",
            "ImageFrame",
            "Matrix",
            "MatrixVector",
            "NormalizedLandmarkListVector",
            "NormalizedRect",
            "Tensor",
        ],
    ),
    **_family(
        "EndLoop{}Calculator",
        "calculators.core.loop:EndLoopCalculator",
        [
            "AffineMatrix",
            "ClassificationList",
            "Detection",
            "GpuBuffer",
            "Image",
            "ImageFrame",
            "ImageSize",
            "LandmarkListVector",
            "Matrix",
            "NormalizedLandmarkListVector",
            "NormalizedRect",
            "RenderData",
            "Tensor",
            "TfLiteTensor",
        ],
    ),
    # Lists.
    **_own(
        "concatenate_vector",
        [
            "ConcatenateBoolVectorCalculator",
            "ConcatenateFloatVectorCalculator",
            "ConcatenateInt32VectorCalculator",
            "ConcatenateStringVectorCalculator",
            "ConcatenateUInt64VectorCalculator",
            "ConcatenateVectorCalculator",
        ],
    ),
    **_family(
        "Concatenate{}VectorCalculator",
        "calculators.core.concatenate_vector:ConcatenateVectorCalculator",
        [
            "ClassificationList",
            "Detection",
            "GlBuffer",
            "Image",
            "LandmarList",  # MediaPipe's own slip, kept for old graphs
            "Landmark",
            "LandmarkList",
            "NormalizedLandmarkList",
            "RenderData",
            "Tensor",
            "TfLiteTensor",
        ],
    ),
    **_own("split_vector", ["SplitFloatVectorCalculator", "SplitUint64tVectorCalculator", "SplitVectorCalculator"]),
    **_family(
        "Split{}VectorCalculator",
        "calculators.core.split_vector:SplitVectorCalculator",
        [
            "AffineMatrix",
            "ClassificationList",
            "Detection",
            "Image",
            "Landmark",
            "Matrix",
            "NormalizedLandmarkList",
            "NormalizedRect",
            "TfLiteTensor",
        ],
    ),
    "SplitTensorVectorCalculator": "calculators.core.split_vector:MovableSplitVectorCalculator",
    **_family(
        "MovableSplit{}VectorCalculator",
        "calculators.core.split_vector:MovableSplitVectorCalculator",
        ["GlBuffer", "ImageFrame"],
    ),
    "GetVectorItemCalculator": "calculators.core.vectors:GetVectorItemCalculator",
    **_family(
        "Get{}VectorItemCalculator",
        "calculators.core.vectors:GetVectorItemCalculator",
        ["ClassificationList", "Detection", "LandmarkList", "NormalizedLandmarkList", "NormalizedRect", "Rect"],
    ),
    **_own(
        "vectors",
        [
            "ClipVectorSizeCalculator",
            "IntVectorIndicesCalculator",
            "MergeToVectorCalculator",
            "Uint64tVectorIndicesCalculator",
            "VectorIndicesCalculator",
            "VectorSizeCalculator",
        ],
    ),
    "NormalizedLandmarkListVectorIndicesCalculator": "calculators.core.vectors:VectorIndicesCalculator",
    **_family(
        "{}VectorSizeCalculator",
        "calculators.core.vectors:VectorSizeCalculator",
        ["ClassificationList", "LandmarkList"],
    ),
    **_family(
        "Clip{}VectorSizeCalculator",
        "calculators.core.vectors:ClipVectorSizeCalculator",
        ["Detection", "NormalizedRect"],
    ),
    **_family(
        "Merge{}ToVectorCalculator",
        "calculators.core.vectors:MergeToVectorCalculator",
        ["Detections", "GpuBuffers", "Images"],
    ),
}
"""Calculator name -> ``module:Class``."""

"""The names of the core calculators in graphs, and where their classes are: the content of the package's entry points.

Families that MediaPipe has once per C++ type are listed by the part of the name that says the type; their classes are made from
the same lists. The names without a type (``BeginLoopCalculator`` ...) are ours: they take elements of every type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BEGIN_LOOPS: Final = (
    "Detection", "Float", "GpuBuffer", "Image", "ImageFrame", "Int", "Matrix", "MatrixVector", "NormalizedLandmarkListVector",
    "NormalizedRect", "String", "Tensor", "Uint64t",
)  # fmt: skip
END_LOOPS: Final = (
    "AffineMatrix", "Boolean", "ClassificationList", "Detection", "Float", "GpuBuffer", "Image", "ImageFrame", "ImageSize",
    "LandmarkListVector", "Matrix", "NormalizedLandmarkListVector", "NormalizedRect", "RenderData", "Tensor", "TfLiteTensor",
)  # fmt: skip
CONCATENATIONS: Final = (
    "Bool", "ClassificationList", "Detection", "Float", "GlBuffer", "Image", "Int32", "LandmarList", "Landmark", "LandmarkList",
    "NormalizedLandmarkList", "RenderData", "String", "Tensor", "TfLiteTensor", "UInt64",
)  # fmt: skip
SPLITS: Final = (
    "AffineMatrix", "ClassificationList", "Detection", "Float", "Image", "Landmark", "Matrix", "NormalizedLandmarkList",
    "NormalizedRect", "TfLiteTensor", "Uint64t",
)  # fmt: skip
MOVING_SPLITS: Final = ("Tensor",)
MOVABLE_SPLITS: Final = ("GlBuffer", "ImageFrame")
ITEM_GETTERS: Final = (
    "ClassificationList", "Detection", "LandmarkList", "NormalizedLandmarkList", "NormalizedRect", "Rect",
)  # fmt: skip
VECTOR_SIZES: Final = ("ClassificationList", "LandmarkList")
VECTOR_INDICES: Final = ("Int", "NormalizedLandmarkList", "Uint64t")
CLIPS: Final = ("Detection", "NormalizedRect")
MERGES_TO_VECTOR: Final = ("Detections", "GpuBuffers", "Images")


def _family(module: str, pattern: str, kinds: Iterable[str]) -> dict[str, str]:
    """One name per element type, that of its class."""
    return _own(module, map(pattern.format, kinds))


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
    **_own("loop", ["BeginLoopCalculator", "EndLoopCalculator"]),
    **_family("loop", "BeginLoop{}Calculator", BEGIN_LOOPS),
    **_family("loop", "EndLoop{}Calculator", END_LOOPS),
    **_own("concatenate_vector", ["ConcatenateVectorCalculator"]),
    **_family("concatenate_vector", "Concatenate{}VectorCalculator", CONCATENATIONS),
    **_own("split_vector", ["SplitVectorCalculator", "MovableSplitVectorCalculator"]),
    **_family("split_vector", "Split{}VectorCalculator", SPLITS + MOVING_SPLITS),
    **_family("split_vector", "MovableSplit{}VectorCalculator", MOVABLE_SPLITS),
    **_own(
        "vectors",
        [
            "ClipVectorSizeCalculator",
            "GetVectorItemCalculator",
            "MergeToVectorCalculator",
            "VectorIndicesCalculator",
            "VectorSizeCalculator",
        ],
    ),
    **_family("vectors", "Get{}VectorItemCalculator", ITEM_GETTERS),
    **_family("vectors", "{}VectorSizeCalculator", VECTOR_SIZES),
    **_family("vectors", "{}VectorIndicesCalculator", VECTOR_INDICES),
    **_family("vectors", "Clip{}VectorSizeCalculator", CLIPS),
    **_family("vectors", "Merge{}ToVectorCalculator", MERGES_TO_VECTOR),
}
"""Calculator name -> ``module:Class``."""

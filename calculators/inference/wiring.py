"""Which stream of an OpenVINOInferenceCalculator carries which tensors of its model.

Source: OpenVINO Model Server's calculator, ``openvinoinferencecalculator.cc``: the tag of a stream is the name of a tensor, or the
option maps say which it is; streams whose tag begins with ``OVTENSORS``, ``TENSORS``, ``TFTENSORS`` or ``TFLITE_TENSORS`` carry
lists of tensors, in the order of the order lists. Where a node has one stream and the model one tensor, nothing needs a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from calculators.inference.tensors import Signature, TensorInfo, position
from graph_runtime._pb.mediapipe.calculators.inference.openvino_inference_calculator_pb2 import (
    OpenVINOInferenceCalculatorOptions,
)
from graph_runtime.near_names import did_you_mean

_LISTS: Final = ("OVTENSORS", "TENSORS", "TFTENSORS", "TFLITE_TENSORS")


def carries_list(tag: str) -> bool:
    """Whether packets of a stream with this tag are lists of tensors."""
    return tag.startswith(_LISTS)


@dataclass(frozen=True, slots=True)
class Wire:
    """A stream, by its tag, and the positions of its tensors in the model."""

    tag: str
    tensors: tuple[int, ...]
    is_list: bool


@dataclass(frozen=True, slots=True)
class Wiring:
    """All streams of a node."""

    inputs: tuple[Wire, ...]
    outputs: tuple[Wire, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not fit: what, in which option or field of the node, and what to do."""

    message: str
    field: str
    hint: str | None = None


def option_faults(
    options: OpenVINOInferenceCalculatorOptions, input_tags: Sequence[str], output_tags: Sequence[str]
) -> list[Fault]:
    """What is wrong with a node, whatever its model is."""
    return [
        *_side_faults("input", options.tag_to_input_tensor_names, options.input_order_list, input_tags),
        *_side_faults("output", options.tag_to_output_tensor_names, options.output_order_list, output_tags),
    ]


def wire(
    options: OpenVINOInferenceCalculatorOptions,
    input_tags: Sequence[str],
    output_tags: Sequence[str],
    model: str,
    signature: Signature,
) -> tuple[Wiring, list[Fault]]:
    """How a node's streams go with its model's tensors, and what does not fit."""
    faults: list[Fault] = []
    inputs = _wires(
        "input",
        options.tag_to_input_tensor_names,
        options.input_order_list,
        input_tags,
        signature.inputs,
        model,
        faults,
    )
    outputs = _wires(
        "output",
        options.tag_to_output_tensor_names,
        options.output_order_list,
        output_tags,
        signature.outputs,
        model,
        faults,
    )
    if not faults:
        fed = [tensor for each in inputs for tensor in each.tensors]
        for place, info in enumerate(signature.inputs):
            if fed.count(place) != 1:
                what = "is fed by no stream" if place not in fed else "is fed by several streams"
                faults.append(
                    Fault(f'the input "{info.name}" of the model "{model}" {what} of this node', "input_stream")
                )
    return Wiring(tuple(inputs), tuple(outputs)), faults


def _side_faults(side: str, names: Mapping[str, str], order: Sequence[str], tags: Sequence[str]) -> list[Fault]:
    map_field, list_field, stream = f"tag_to_{side}_tensor_names", f"{side}_order_list", f"{side}_stream"
    faults = []
    if not tags:
        faults.append(Fault(f"the node has no {stream}", stream))
    for tag in dict.fromkeys(tag for tag in tags if tags.count(tag) > 1):
        what = f'the tag "{tag}" is' if tag else "streams without a tag are"
        faults.append(Fault(f"{what} there several times; give each {stream} a tag of its own", stream))
    if names and order:
        faults.append(Fault(f"{map_field} and {list_field} exclude each other", list_field))
    if order and not any(map(carries_list, tags)):
        faults.append(
            Fault(
                f"{list_field} is for streams that carry lists, and the node has none",
                list_field,
                f"tags of such streams begin with {', '.join(_LISTS)}",
            )
        )
    faults += [
        Fault(
            f'{map_field} has the tag "{tag}", and the node has no {stream} with it',
            map_field,
            did_you_mean(tag, tags, "its tags are"),
        )
        for tag in names
        if tag not in tags
    ]
    return faults


def _wires(
    side: str,
    names: Mapping[str, str],
    order: Sequence[str],
    tags: Sequence[str],
    tensors: Sequence[TensorInfo],
    model: str,
    faults: list[Fault],
) -> list[Wire]:
    wires = []
    for tag in tags:
        is_list = carries_list(tag)
        field = f"{side}_order_list" if is_list and order else f"tag_to_{side}_tensor_names"
        if is_list and order:
            wanted = list(order)
        elif tag in names:
            wanted = [names[tag]]
        elif position(tag, tensors) is not None:
            wanted = [tag]
        elif is_list and side == "output":
            wanted = sorted(info.name for info in tensors)  # as the reference: the order of their names
        elif len(tags) == len(tensors) == 1:
            wanted = [tensors[0].name]
        else:
            wanted, field = [tag], f"{side}_stream"
        places = []
        for name in wanted:
            place = position(name, tensors)
            if place is None:
                known = [info.name for info in tensors]
                faults.append(
                    Fault(
                        f'the model "{model}" has no {side} "{name}"',
                        field,
                        did_you_mean(name, known, f"its {side}s are"),
                    )
                )
            else:
                places.append(place)
        wires.append(Wire(tag, tuple(places), is_list))
    return wires

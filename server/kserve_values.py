"""One KServe tensor -> the value that the graph's stream carries: an array, an image, a plain value, an HTTP call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

import numpy as np

from calculators.http_payload import Headers, HttpPayload, RequestError
from calculators.kserve_payload import InferRequest, Tensor
from calculators.kserve_tensors import DATATYPES, array_of, elements_of, raw_of
from calculators.python_node.tensor import FORMATS, received
from calculators.python_node.tensor import Tensor as PyTensor
from graph_runtime import Image, ImageFormat, ImageFrame
from server.interface import GraphInterface, PacketKind, Port
from server.multipart import parse_multipart
from server.payload import parse_object

IMAGES_URI: Final = "/v3/images/generations"

_WHOLE: Final = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_SHOWN: Final = 20


def value_of(
    interface: GraphInterface, port: Port, request: InferRequest, tensor: Tensor, streaming: bool, base_url: str
) -> Any:
    """What a tensor is on a stream.

    Raises:
        RequestError: 400; it is not what it says, or not what the stream takes.
    """
    for kind in port.kinds:
        if kind is PacketKind.ARRAY:
            return array_of(tensor)
        if kind is PacketKind.PY_TENSOR:
            return _py_tensor(tensor)
        if kind is PacketKind.PAYLOAD:
            return _payload(interface, request, tensor, streaming, base_url)
        convert = _CONVERSIONS.get((kind, tensor.datatype))
        if convert is not None:
            return convert(tensor)
    array_of(tensor)  # whatever else is wrong with it comes first
    wanted = dict.fromkeys(datatype for kind, datatype in _CONVERSIONS if kind in port.kinds)
    if wanted:
        what, code = f"is {tensor.datatype}; the graph takes {', '.join(wanted)}", "invalid_precision"
    else:
        what, code = "is for packets that no tensor can be turned into", "model_not_callable"
    return refuse(f"The input {quoted(port.name)} {what}.", code, port.name)


def _py_tensor(tensor: Tensor) -> PyTensor:
    """What a Python node takes: raw bytes of a datatype that is BYTES, or unknown, are its own business, and so is their shape."""
    raw = tensor.data
    if isinstance(raw, list) and tensor.datatype not in DATATYPES:
        refuse(
            f"The input {quoted(tensor.name)} is {quoted(tensor.datatype)}: data of a datatype that KServe does not know comes in "
            "binary form.",
            "invalid_precision",
            tensor.name,
        )
    if tensor.datatype in FORMATS:
        raw = array_of(tensor).tobytes()
    elif isinstance(raw, list):
        raw = raw_of(tensor)
    if min(tensor.shape, default=0) < 0:
        refuse(f"The shape of the input {quoted(tensor.name)} has a negative dimension.", "invalid_shape", tensor.name)
    return received(tensor.name, raw, tensor.shape, tensor.datatype)


def _single(tensor: Tensor) -> Any:
    elements = array_of(tensor)
    if elements.size != 1:
        refuse(
            f"The input {quoted(tensor.name)} has {elements.size} elements; the graph takes one.",
            "invalid_shape",
            tensor.name,
        )
    return elements.item()


def _single_bytes(tensor: Tensor) -> bytes:
    elements = elements_of(tensor)
    if len(elements) != 1:
        refuse(
            f"The input {quoted(tensor.name)} has {len(elements)} elements; the graph takes one.",
            "invalid_shape",
            tensor.name,
        )
    return elements[0]


def _single_text(tensor: Tensor) -> str:
    try:
        return _single_bytes(tensor).decode()
    except UnicodeDecodeError as error:
        refuse(f"The input {quoted(tensor.name)} is no UTF-8 text: {error.reason}.", "invalid_value", tensor.name)


_FORMATS_8: Final = {1: ImageFormat.GRAY8, 3: ImageFormat.SRGB, 4: ImageFormat.SRGBA}
_FORMATS_16: Final = {1: ImageFormat.GRAY16, 3: ImageFormat.SRGB48, 4: ImageFormat.SRGBA64}
_FORMATS_FLOAT: Final = {1: ImageFormat.VEC32F1, 2: ImageFormat.VEC32F2, 4: ImageFormat.VEC32F4}
_FORMATS: Final = {
    "UINT8": _FORMATS_8, "INT8": _FORMATS_8, "UINT16": _FORMATS_16, "INT16": _FORMATS_16, "FP16": _FORMATS_16,
    "FP32": _FORMATS_FLOAT,
}  # fmt: skip
"""Datatype -> number of channels -> format. Source: OVMS; the bits of INT8, INT16 and FP16 are taken as they are."""
_PIXELS: Final = {1: np.uint8, 2: np.uint16, 4: np.float32}


def _image(make: Callable[..., Any]) -> Callable[[Tensor], Any]:
    def convert(tensor: Tensor) -> Any:
        formats = _FORMATS[tensor.datatype]
        pixels = array_of(tensor)
        if pixels.ndim != 3 or pixels.shape[2] not in formats or not pixels.size:
            refuse(
                f"The image {quoted(tensor.name)} has the shape {list(pixels.shape)}; an image of {tensor.datatype} is "
                f"[height, width, channels] with {', '.join(map(str, formats))} channels.",
                "invalid_shape",
                tensor.name,
            )
        return make(formats[pixels.shape[2]], pixels.view(_PIXELS[pixels.itemsize]))

    return convert


_CONVERSIONS: Final[Mapping[tuple[PacketKind, str], Callable[[Tensor], Any]]] = {
    (PacketKind.TEXT, "BYTES"): _single_text,
    (PacketKind.BYTES, "BYTES"): _single_bytes,
    (PacketKind.BOOL, "BOOL"): _single,
    **{(PacketKind.INT, datatype): _single for datatype in _WHOLE},
    **{(PacketKind.FLOAT, datatype): _single for datatype in ("FP16", "FP32", "FP64", *_WHOLE)},
    **{
        (PacketKind.LIST, datatype): (lambda tensor: array_of(tensor).tolist())
        for datatype in ("BOOL", "BYTES", "FP16", "FP32", "FP64", *_WHOLE)
    },
    **{(PacketKind.IMAGE_FRAME, datatype): _image(ImageFrame) for datatype in _FORMATS},
    **{(PacketKind.IMAGE, datatype): _image(Image) for datatype in _FORMATS},
}
"""What a graph asks for, and what a client sends -> how the one becomes the other."""


def _payload(
    interface: GraphInterface, request: InferRequest, tensor: Tensor, streaming: bool, base_url: str
) -> HttpPayload:
    """An HTTP call in a tensor: its body, which is JSON unless ``content_type`` says otherwise."""
    if tensor.datatype != "BYTES":
        refuse(
            f"The input {quoted(tensor.name)} is {tensor.datatype[:100]}; the graph takes BYTES: the body of an HTTP call.",
            "invalid_precision",
            tensor.name,
        )
    body = _single_bytes(tensor)
    uri = _text_parameter(tensor, "uri") or (
        IMAGES_URI if interface.makes_images else f"/v2/models/{request.model_name}/infer"
    )
    content_type = _text_parameter(tensor, "content_type") or "application/json"
    headers = Headers({"Content-Type": content_type})
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return HttpPayload(uri, headers, parts=parse_multipart(body, content_type), base_url=base_url)
    if kind != "application/json":
        return HttpPayload(uri, headers, body, base_url=base_url)
    parsed = parse_object(body)
    if "model" not in parsed:  # an alias in the path asks for an adapter, as it does in the body of /v3 calls
        parsed = {"model": request.model_name, **parsed}
        body = json.dumps(parsed, ensure_ascii=False).encode()
    elif parsed["model"] != request.model_name:
        refuse(
            f"The body asks for the model {quoted(str(parsed['model']))}, the request for {quoted(request.model_name)}: leave "
            '"model" out of the body.',
            "invalid_value",
            "model",
        )
    if parsed.get("stream") is True and not streaming:
        refuse("A stream of answers is for ModelStreamInfer: leave out stream.", "invalid_value", "stream")
    return HttpPayload(uri, headers, body, parsed, base_url=base_url)


def _text_parameter(tensor: Tensor, name: str) -> str | None:
    value = tensor.parameters.get(name)
    if value is not None and not isinstance(value, str):
        refuse(f"The parameter {name} of the input {quoted(tensor.name)} is not a string.", "invalid_type", name)
    return value


def listed(names: Iterable[str]) -> str:
    """Names as they may stand in a message."""
    shown = list(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(quoted(name) for name in shown[:_SHOWN]) + more if shown else "none"


def quoted(name: str) -> str:
    """A name from outside as it may stand in a message: quoted, escaped, and not endless."""
    return repr(name if len(name) <= 100 else name[:100] + "...")


def refuse(message: str, code: str, param: str | None = None) -> NoReturn:
    """Refuse a request: 400."""
    raise RequestError(message, status=400, param=None if param is None else param[:100], code=code)

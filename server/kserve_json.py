"""KServe's REST form <-> neutral requests and responses: JSON, with tensors in it or behind it in binary form.

Source: KServe's Open Inference Protocol (REST), and its extension for binary tensor data. orjson does the work, since the
numbers in JSON are most of what a request costs; what it does not check, duplicate keys, is looked for here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray

from calculators.http_payload import RequestError
from calculators.kserve_payload import InferRequest, InferResponse, Parameter, RequestedOutput, Tensor
from calculators.kserve_tensors import DATATYPES, elements_of, numbers_of, raw_of
from server.kserve_values import quoted, refuse
from server.payload import parse_object
from server.replies import GraphAnswerError

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""The header that says how long the JSON before the binary tensors is."""

_REQUEST: Final = frozenset({"id", "parameters", "inputs", "outputs"})
_INPUT: Final = frozenset({"name", "datatype", "shape", "data", "parameters"})
_OUTPUT: Final = frozenset({"name", "parameters"})
_MOST_DIGITS: Final = 20
_BOM: Final = b"\xef\xbb\xbf"
_INTS: Final = frozenset({int})
_OBJECTS: Final = frozenset({dict})


@dataclass(frozen=True, slots=True)
class Forms:
    """Which outputs are to come in binary form: those that say so, else all or none."""

    binary: bool = False
    of_outputs: Mapping[str, bool] = field(default_factory=dict)

    def is_binary(self, output: str) -> bool:
        """Whether this one is."""
        return self.of_outputs.get(output, self.binary)


_AS_JSON: Final = Forms()


class ReadRequest(NamedTuple):
    """A request, the form of its answer, and the names of fields that mean nothing here."""

    request: InferRequest
    forms: Forms
    ignored: list[str]


def split_body(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    """The JSON of a request, and the binary tensors behind it.

    Raises:
        RequestError: 400; the header is no number of bytes, or the body has fewer.
    """
    if header_length is None:
        return body, memoryview(b"")
    is_number = header_length.isascii() and header_length.isdigit() and len(header_length) <= _MOST_DIGITS
    size = int(header_length) if is_number else 0
    if not 0 < size <= len(body):
        refuse(
            f"The header {HEADER_LENGTH} is {header_length[:40]!r}; it has to be the length of the JSON at the beginning of the "
            f"body, which has {len(body)} bytes.",
            "invalid_value",
            HEADER_LENGTH,
        )
    return body[:size], memoryview(body)[size:]


def read_request(text: bytes, binary: memoryview, model: str, version: str) -> ReadRequest:
    """A request from its JSON and the bytes behind it.

    Raises:
        RequestError: 400; it is not JSON, or not a KServe request.
    """
    parsed = _parse(text)
    ignored = [] if parsed.keys() <= _REQUEST else [name for name in parsed if name not in _REQUEST]
    parameters = _parameters(parsed, "the request")
    inputs, position = [], 0
    for entry in _entries(parsed, "inputs"):
        tensor, size = _input(entry, binary[position:] if position else binary)
        position += size
        inputs.append(tensor)
        if not entry.keys() <= _INPUT:
            ignored += [f"{tensor.name}.{name}" for name in entry if name not in _INPUT]
    if position != len(binary):
        refuse(
            f"The body has {len(binary)} bytes behind its JSON; the inputs take {position} of them, by their binary_data_size.",
            "invalid_content_size",
        )
    outputs, forms = [], {}
    for entry in _entries(parsed, "outputs"):
        name = _text(entry, "name", "an output")
        of_output = _parameters(entry, f"the output {quoted(name)}")
        wanted = _flag(of_output, "binary_data")
        if wanted is not None:
            forms[name] = wanted
        outputs.append(RequestedOutput(name, of_output))
        ignored += [f"{name}.{key}" for key in entry if key not in _OUTPUT]
    all_binary = _flag(parameters, "binary_data_output") or False
    request_id = "" if parsed.get("id") is None else _text(parsed, "id", "the request")
    request = InferRequest(model, version, request_id, parameters, tuple(inputs), tuple(outputs))
    return ReadRequest(request, Forms(all_binary, forms) if all_binary or forms else _AS_JSON, ignored)


def write_response(response: InferResponse, forms: Forms) -> tuple[bytes, int | None]:
    """A response as the body of an HTTP answer, and the length of the JSON in it if binary tensors follow.

    Raises:
        RequestError: 400; an output that was asked for as JSON has what JSON cannot hold.
        GraphAnswerError: the graph answered with a tensor that is none.
    """
    outputs, behind = [], []
    for tensor in response.outputs:
        described: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        parameters = tensor.parameters
        if tensor.datatype not in DATATYPES and not forms.is_binary(tensor.name):  # a Python node has made it up
            _refuse_json(tensor.name, f"the datatype {quoted(tensor.datatype)}")
        try:
            if forms.is_binary(tensor.name):
                raw = raw_of(tensor)
                parameters = {**parameters, "binary_data_size": len(raw)}
                behind.append(raw)
            elif tensor.datatype == "BYTES":
                described["data"] = elements_of(tensor)
            else:
                described["data"] = _numbers(tensor)
        except RequestError as error:
            # Not its cause: a RequestError among the causes is told to the client, who did nothing wrong.
            raise GraphAnswerError(f"the graph answered with a tensor that is none: {error}") from None
        if tensor.datatype == "BYTES" and "data" in described:
            described["data"] = _texts(tensor.name, described["data"])
        if parameters:
            described["parameters"] = parameters
        outputs.append(described)
    answer: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        answer["id"] = response.id
    if response.parameters:
        answer["parameters"] = response.parameters
    answer["outputs"] = outputs
    try:
        text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:  # a parameter of a calculator's own making
        raise GraphAnswerError(f"the answer of the graph is no JSON: {error}") from error
    if b"null" in text:  # what orjson makes of NaN; or a text that says so
        _check_finite(outputs)
    return (b"".join([text, *behind]), len(text)) if behind else (text, None)


# ---- reading


def _parse(text: bytes) -> dict[str, Any]:
    text = text.removeprefix(_BOM)
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        refuse(f"Failed to parse JSON: {error}.", "invalid_json")
    if not isinstance(parsed, dict):
        refuse('JSON body must be an object, such as {"inputs": [...]}.', "invalid_json")
    # Each key has its colon: if there are more, a text holds one, or a key stands twice; then the strict reader looks.
    if text.count(b":") != _keys(parsed):
        return parse_object(text)
    return parsed


def _keys(parsed: Any) -> int:
    """All keys of all objects, but those in lists that begin with something else: the elements of tensors are not looked at."""
    count, objects = 0, [parsed]
    for each in objects:  # which grow meanwhile
        count += len(each)
        for value in each.values():
            if value.__class__ is dict:
                objects.append(value)
            elif value.__class__ is list and value and value[0].__class__ is dict:
                objects += [element for element in value if element.__class__ is dict]
    return count


def _entries(parsed: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = parsed.get(name)
    if entries is None:
        return []
    if not isinstance(entries, list) or not _OBJECTS.issuperset(map(type, entries)):
        refuse(f"{name} is not an array of objects.", "invalid_type", name)
    return entries


def _input(entry: Mapping[str, Any], binary: memoryview) -> tuple[Tensor, int]:
    """An input, and how many of the bytes behind the JSON it takes."""
    name = _text(entry, "name", "an input")
    what = f"the input {quoted(name)}"
    datatype, shape = _text(entry, "datatype", what), entry.get("shape")
    if not isinstance(shape, list) or not _INTS.issuperset(map(type, shape)):
        refuse(f"The shape of {what} is not an array of whole numbers.", "invalid_shape", name)
    parameters, data = _parameters(entry, what), entry.get("data")
    size = parameters.pop("binary_data_size", None)
    if (data is None) == (size is None):
        hint = "; tensors in shared memory are not taken" if "shared_memory_region" in parameters else ""
        found = "neither" if data is None else "both"
        refuse(
            f"The data of {what} is given in one way, as data or by binary_data_size; here are {found}{hint}.",
            "invalid_message_structure",
            name,
        )
    if size is None:
        if not isinstance(data, list):
            refuse(f"The data of {what} is not an array.", "invalid_type", name)
        return Tensor(name, datatype, tuple(shape), data, parameters), 0
    if type(size) is not int or not 0 <= size <= len(binary):
        refuse(
            f"The binary_data_size of {what} is {str(size)[:40]}; {len(binary)} bytes are left behind the JSON, whose length the "
            f"header {HEADER_LENGTH} says.",
            "invalid_content_size",
            name,
        )
    return Tensor(name, datatype, tuple(shape), binary[:size], parameters), size


def _text(entry: Mapping[str, Any], key: str, what: str) -> str:
    value = entry.get(key)
    if value is None:
        refuse(f"The {key} of {what} is missing.", "missing_required_parameter", key)
    if not isinstance(value, str):
        refuse(f"The {key} of {what} is not a string.", "invalid_type", key)
    return value


def _parameters(entry: Mapping[str, Any], what: str) -> dict[str, Parameter]:
    """The parameters of a part of the request; null is none."""
    given = entry.get("parameters")
    if given is None:
        return {}
    if not isinstance(given, dict):
        refuse(f"The parameters of {what} are not an object.", "invalid_type", "parameters")
    for name, value in given.items():
        if isinstance(value, (dict, list)):
            refuse(
                f"The parameter {quoted(name)} of {what} is not a string, a number or a boolean.", "invalid_type", name
            )
    return {name: value for name, value in given.items() if value is not None}


def _flag(parameters: dict[str, Parameter], name: str) -> bool | None:
    """Take a boolean out of the parameters."""
    value = parameters.pop(name, None)
    if value is not None and not isinstance(value, bool):
        refuse(f"The parameter {name} is not a boolean.", "invalid_type", name)
    return value


# ---- writing


def _numbers(tensor: Tensor) -> NDArray[Any]:
    elements = numbers_of(tensor)
    return (
        elements.astype(np.float32) if elements.dtype == np.float16 else elements
    )  # not every orjson knows the latter


def _check_finite(outputs: list[dict[str, Any]]) -> None:
    for output in outputs:
        data = output.get("data")
        if isinstance(data, np.ndarray) and data.dtype.kind == "f" and not np.isfinite(data).all():
            _refuse_json(output["name"], "NaN or infinity")


def _texts(name: str, elements: list[bytes]) -> list[str]:
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError:
        _refuse_json(name, "bytes that are no UTF-8 text")


def _refuse_json(name: str, what: str) -> NoReturn:
    refuse(
        f"The output {quoted(name)} has {what}, which JSON cannot hold; ask for it in binary form, with the parameter "
        '"binary_data": true of the output, or "binary_data_output": true of the request.',
        "not_json",
        name,
    )

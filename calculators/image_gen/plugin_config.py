"""The node option ``plugin_config``: OpenVINO properties as JSON text.

Grammar (source: OVMS): a JSON object, or an empty text. Values are texts, booleans, whole numbers of 64 bits and finite floating
point numbers; ``DEVICE_PROPERTIES`` alone holds an object of such objects, one for each device.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, Final, NoReturn

PropertyValue = str | bool | int | float
Properties = dict[str, PropertyValue | dict[str, dict[str, PropertyValue]]]

DEVICE_PROPERTIES: Final = "DEVICE_PROPERTIES"
_STREAMS: Final = ("CPU_THROUGHPUT_STREAMS", "GPU_THROUGHPUT_STREAMS")
_AUTO_STREAMS: Final = ("CPU_THROUGHPUT_AUTO", "GPU_THROUGHPUT_AUTO")


def parse_plugin_config(text: str) -> Properties:
    """The properties in an option's text, with the names of OpenVINO's old releases turned into today's.

    Raises:
        ValueError: the text does not follow the grammar; the message says where.
    """
    if not text:
        return {}
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"it must be a JSON object, not {_kind(value)}")
    properties: Properties = {}
    for name, given in value.items():
        if name == DEVICE_PROPERTIES:
            properties[name] = _device_properties(given)
        else:
            properties.update([_modern(name, _plain_value(name, given))])
    return properties


def _device_properties(value: Any) -> dict[str, dict[str, PropertyValue]]:
    if not isinstance(value, dict):
        raise ValueError(f'"{DEVICE_PROPERTIES}" must be an object of device names, not {_kind(value)}')
    devices = {}
    for device, properties in value.items():
        place = f"{DEVICE_PROPERTIES}.{device}"
        if not isinstance(properties, dict):
            raise ValueError(f'"{place}" must be an object of properties, not {_kind(properties)}')
        devices[device] = dict(
            _modern(name, _plain_value(f"{place}.{name}", given)) for name, given in properties.items()
        )
    return devices


def _plain_value(place: str, value: Any) -> PropertyValue:
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return value
        raise ValueError(f'"{place}" does not fit into 64 bits')
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f'"{place}" must be a text, a boolean or a number, not {_kind(value)}')


def _modern(name: str, value: PropertyValue) -> tuple[str, PropertyValue]:
    if name in _STREAMS:
        if value in _AUTO_STREAMS:
            return "PERFORMANCE_HINT", "THROUGHPUT"
        name = "NUM_STREAMS"
    elif name == "CPU_THREADS_NUM":
        name = "INFERENCE_NUM_THREADS"
    if name == "NUM_STREAMS":
        return name, str(value)
    if name == "CACHE_DIR" and isinstance(value, str) and value:
        return name, os.path.normpath(value)
    return name, value


def as_text(properties: Mapping[str, Any]) -> str:
    """The properties as JSON text in one canonical form, so that equal settings compare equal."""
    return json.dumps(properties, sort_keys=True)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return "an infinite number"
    return {bool: "a boolean", int: "a number", str: "a text", list: "a list", dict: "an object"}[type(value)]

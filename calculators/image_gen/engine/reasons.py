"""What OpenVINO says when it fails, for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from calculators.image_gen.plugin_config import DEVICE_PROPERTIES

_LONGEST: Final = 600  # characters; OpenVINO can print a whole graph
_NOISE: Final = re.compile(
    r"Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:|"
    r"\[\w+\] \w+ node with name '[^']*':?|(?:\bat )?\S+\.(?:cpp|hpp|h):\d+:?"
)
"""Places in its source, what was checked there, and names of layers."""


def readable(error: BaseException) -> str:
    """An OpenVINO error without its places in OpenVINO's source and without names of layers."""
    text = " ".join(_NOISE.sub(" ", str(error)).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def keys_at_fault(properties: Mapping[str, Any], text: str) -> list[str]:
    """The keys of plugin_config that an error speaks of: by their names, or else by their values where these are texts."""
    flat = [(key, key, value) for key, value in properties.items() if not isinstance(value, dict)]
    for device, inner in properties.get(DEVICE_PROPERTIES, {}).items():
        flat += [(f"{DEVICE_PROPERTIES}.{device}.{name}", name, value) for name, value in inner.items()]
    by_name = [key for key, name, _ in flat if _stands_in(name, text)]
    return by_name or [key for key, _, value in flat if isinstance(value, str) and _stands_in(value, text)]


def _stands_in(word: str, text: str) -> bool:
    return bool(word) and re.search(rf"(?<![\w/.]){re.escape(word)}(?![\w/]|\.\w)", text) is not None

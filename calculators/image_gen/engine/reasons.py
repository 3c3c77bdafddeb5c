"""Which keys of plugin_config an error of OpenVINO speaks of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from calculators.image_gen.plugin_config import DEVICE_PROPERTIES


def keys_at_fault(properties: Mapping[str, Any], text: str) -> list[str]:
    """The keys of plugin_config that an error speaks of: by their names, or else by their values where these are texts."""
    flat = [(key, key, value) for key, value in properties.items() if not isinstance(value, dict)]
    for device, inner in properties.get(DEVICE_PROPERTIES, {}).items():
        flat += [(f"{DEVICE_PROPERTIES}.{device}.{name}", name, value) for name, value in inner.items()]
    by_name = [key for key, name, _ in flat if _stands_in(name, text)]
    return by_name or [key for key, _, value in flat if isinstance(value, str) and _stands_in(value, text)]


def _stands_in(word: str, text: str) -> bool:
    return bool(word) and re.search(rf"(?<![\w/.]){re.escape(word)}(?![\w/]|\.\w)", text) is not None

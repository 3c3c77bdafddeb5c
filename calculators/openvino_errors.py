"""What OpenVINO says when it fails, for people."""

from __future__ import annotations

import re
from typing import Final

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

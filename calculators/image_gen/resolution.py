"""Picture sizes and their text form ``WxH``, as options and requests write it.

Grammar (source: OVMS): two whole numbers around the first lower-case ``x``, without leading zeros, blanks or plus sign, each above
zero and within 64 bits; or the word ``auto``.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

AUTO: Final = "auto"
_INT64_MAX: Final = 2**63 - 1
_GRAMMAR: Final = re.compile(r"(-?(?:0|[1-9][0-9]{0,18}))x(-?(?:0|[1-9][0-9]{0,18}))")


class Resolution(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def fits_in(self, limit: Resolution) -> bool:
        """Whether neither side is longer than the limit's."""
        return self.width <= limit.width and self.height <= limit.height


def parse_resolution(text: str) -> Resolution | None:
    """The size that a text names; None for ``auto``.

    Raises:
        ValueError: the text does not follow the grammar; the message continues a sentence that begins with the field's name.
    """
    if text == AUTO:
        return None
    match = _GRAMMAR.fullmatch(text)
    if match is None or any(abs(int(side)) > _INT64_MAX for side in match.groups()):
        raise ValueError("is not in correct format - WxH")
    resolution = Resolution(int(match[1]), int(match[2]))
    if resolution.width <= 0 or resolution.height <= 0:
        raise ValueError("values must be greater than 0")
    return resolution

"""String literals of the protobuf text format: which escapes there are, and what they stand for."""

from __future__ import annotations

import re
from typing import Final

from google.protobuf import text_encoding

# protobuf's Python parser uses Python's own codec, which warns of an unknown escape and keeps it; MediaPipe refuses it.
_ESCAPE: Final = re.compile(
    r"""\\(?:[abfnrtv?'"\\] | [0-3][0-7]{0,2} | [4-7][0-7]?(?![0-7]) | x[0-9a-fA-F] | u[0-9a-fA-F]{4} | U[0-9a-fA-F]{8}
      | (?P<bad>.))""",
    re.VERBOSE,
)


def bad_escape(literal: str) -> re.Match[str] | None:
    """The first backslash in a literal that begins no escape sequence, with the character after it; else None."""
    return next((escape for escape in _ESCAPE.finditer(literal) if escape["bad"]), None)


def plain_literal(literal: str) -> str:
    r"""A literal of the same length in which ``\u``, ``\U`` and ``\?`` escapes are the characters themselves, blanks behind it.

    protobuf up to 4 reads the first two wrongly: as Latin-1 bytes, or as the text of the escape. Its Python parser refuses the
    last, which MediaPipe's takes.
    """

    def character(escape: re.Match[str]) -> str:
        if escape[0] == r"\?":
            return "?"
        if escape["bad"] or escape[0][1] not in "uU":
            return escape[0]
        code = int(escape[0][2:], 16)
        if code < 0x80:  # it may be a quote, a backslash or a line's end
            return f"\\{code:03o}"
        return escape[0] if 0xD800 <= code < 0xE000 or code > 0x10FFFF else chr(code)

    return _ESCAPE.sub(character, literal).ljust(len(literal))


def is_utf8(literal: str) -> bool:
    """Whether the bytes that a literal stands for are UTF-8; True as well where an escape is bad, which is told first."""
    if "\\" not in literal or bad_escape(literal) is not None:
        return True
    plain = plain_literal(literal)
    try:
        text_encoding.CUnescape(plain).decode()
    except ValueError:
        return False
    return not any(escape[0][1] in "uU" for escape in _ESCAPE.finditer(plain))

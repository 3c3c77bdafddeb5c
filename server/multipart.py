"""multipart/form-data bodies -> parts (source: RFC 7578, RFC 2046 §5.1).

Strict where leniency would guess: a body has to begin with its boundary and to end with the closing one. Another
Content-Transfer-Encoding than "as it is" is refused, as RFC 7578 §4.7 deprecates it and no client sends one.
"""

from __future__ import annotations

import re
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Final, NoReturn

from calculators.http_payload import Part, RequestError

MAX_PARTS: Final = 128
_MAX_HEADER_BYTES: Final = 8 * 1024
_MAX_BOUNDARY: Final = 70  # RFC 2046 §5.1.1
_PLAIN_ENCODINGS: Final = ("binary", "8bit", "7bit")
_BLANKS: Final = re.compile(rb"[ \t]*\r\n")


def parse_multipart(body: bytes, content_type: str) -> tuple[Part, ...]:
    """The parts of a body.

    Args:
        body: the whole body.
        content_type: the Content-Type header.

    Raises:
        RequestError: 400, the body is broken; the text says where.
    """
    boundary = _header("content-type", content_type)[1].get("boundary")
    if not boundary or len(boundary) > _MAX_BOUNDARY or not boundary.isascii():
        _refuse("the Content-Type header needs a boundary of 1 to 70 characters")
    delimiter = b"--" + boundary.encode()
    if body.startswith(delimiter):
        at = len(delimiter)
    else:
        begin = body.find(b"\r\n" + delimiter)  # a preamble may come first; it means nothing
        if begin < 0:
            _refuse("the body does not begin with the boundary that the Content-Type header names")
        at = begin + 2 + len(delimiter)
    parts: list[Part] = []
    while not body.startswith(b"--", at):
        if len(parts) == MAX_PARTS:
            _refuse(f"there are more than {MAX_PARTS} parts")
        line = _BLANKS.match(body, at)
        if line is None:
            _refuse(f"after the boundary before part {len(parts) + 1} no new line begins")
        end = body.find(b"\r\n" + delimiter, line.end() - 2)
        if end < 0:
            _refuse(f"part {len(parts) + 1} does not end: the body broke off, or lacks its closing boundary")
        parts.append(_part(body, line.end(), end, len(parts) + 1))
        at = end + 2 + len(delimiter)
    return tuple(parts)


def _part(body: bytes, start: int, end: int, number: int) -> Part:
    if body.startswith(b"\r\n", start):
        _refuse(f"part {number} has no headers")
    headers_end = body.find(b"\r\n\r\n", start, end)
    if headers_end < 0 or headers_end - start > _MAX_HEADER_BYTES:
        _refuse(f"the headers of part {number} do not end, or are longer than {_MAX_HEADER_BYTES} bytes")
    headers = _headers(body[start:headers_end], number)
    disposition, parameters = _header("content-disposition", headers.get("content-disposition", ""))
    name = parameters.get("name")
    if disposition != "form-data" or not name:
        _refuse(f'part {number} needs the header Content-Disposition: form-data; name="..."')
    encoding = headers.get("content-transfer-encoding", "binary").lower()
    if encoding not in _PLAIN_ENCODINGS:
        _refuse(f"part {number} has Content-Transfer-Encoding {encoding[:40]!r}; send it as it is")
    return Part(name, body[headers_end + 4 : end], parameters.get("filename"), headers.get("content-type"))


def _header(name: str, value: str) -> tuple[str, dict[str, str]]:
    """The value of a header, and its parameters."""
    message = Message()
    message[name] = value
    (first, _), *parameters = message.get_params(failobj=[("", "")], header=name)
    return first.lower(), {key.lower(): collapse_rfc2231_value(text) for key, text in parameters}


def _headers(block: bytes, number: int) -> dict[str, str]:
    try:
        text = block.decode()
    except UnicodeDecodeError:
        _refuse(f"the headers of part {number} are not UTF-8")
    headers = {}
    for line in text.split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or name.strip() != name or not name:
            _refuse(f"part {number} has a header line without a name")
        headers[name.lower()] = value.strip()
    return headers


def _refuse(what: str) -> NoReturn:
    raise RequestError(f"Failed to parse multipart data: {what}.", code="invalid_multipart")

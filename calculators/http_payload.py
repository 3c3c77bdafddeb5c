"""HttpPayload: an HTTP request as a packet, and RequestError: what a client is told when it is refused.

The server makes one HttpPayload per request and puts it on a graph's HTTP_REQUEST_PAYLOAD stream; programs without a server make
one with :meth:`HttpPayload.json`. Both classes are plain values that can be pickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn


class RequestError(Exception):
    """A request cannot be served; carries everything that the client is told.

    Attributes:
        message: what is wrong and what is possible, for the person who sent the request.
        status: the HTTP status.
        type: OpenAI's error type: ``invalid_request_error`` for the client's faults, ``server_error`` for ours.
        param: the request field at fault, or None.
        code: OpenAI's error code, or None.
        headers: headers for the response, as (name, value) pairs.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002  # the word of the OpenAI API
        param: str | None = None,
        code: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.param = param
        self.code = code
        self.headers = tuple((name, value) for name, value in headers)

    def body(self) -> dict[str, dict[str, str | None]]:
        """The response body, as JSON values, in the form of the OpenAI API."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def details(self) -> dict[str, Any]:
        """Everything but the message, as the constructor takes it and as JSON values."""
        return {
            "status": self.status,
            "type": self.type,
            "param": self.param,
            "code": self.code,
            "headers": [list(header) for header in self.headers],
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.__class__, self.message, self.details())


def _rebuild(cls: type[RequestError], message: str, details: dict[str, Any]) -> RequestError:
    return cls(message, **details)


class Headers(Mapping[str, str]):
    """HTTP headers: names compare without regard to case, and keep the spelling they came with.

    Made from a mapping or from (name, value) pairs; the values of a repeated name are joined with ", " (RFC 9110 §5.3).
    """

    __slots__ = ("_items",)

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._items: dict[str, tuple[str, str]] = {}
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            spelling, before = self._items.get(name.lower(), (name, None))
            self._items[name.lower()] = (spelling, value if before is None else f"{before}, {value}")

    def __getitem__(self, name: str) -> str:
        return self._items[name.lower()][1]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._items

    def __iter__(self) -> Iterator[str]:
        return iter([spelling for spelling, _ in self._items.values()])

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Headers({sorted(self._items)})"  # names alone: values can be secrets

    def __reduce__(self) -> tuple[Any, ...]:
        return Headers, (list(self._items.values()),)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart/form-data body.

    Attributes:
        name: the field's name.
        data: its content.
        filename: the name of the uploaded file; None for a plain field.
        content_type: the part's own content type, or None.
    """

    name: str
    data: bytes = field(repr=False)
    filename: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class HttpPayload:
    """An HTTP request, as packets of HTTP_REQUEST_PAYLOAD streams carry it.

    Attributes:
        uri: path and query, without any prefix under which the server is mounted.
        headers: a :class:`Headers`; any mapping is turned into one.
        body: the raw body.
        parsed_json: the body as JSON value where it is JSON, else None.
        parts: the parts of a multipart body, else empty.
        base_url: how the client reaches the server (scheme, host, mount prefix), without a slash at the end; "" without a server.
    """

    uri: str
    headers: Mapping[str, str] = field(default_factory=Headers)
    body: bytes = field(default=b"", repr=False)  # not in repr: bodies hold prompts, and those stay out of logs
    parsed_json: Any = field(default=None, repr=False)
    parts: tuple[Part, ...] = field(default=(), repr=False)
    base_url: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.headers, Headers):
            object.__setattr__(self, "headers", Headers(self.headers))
        object.__setattr__(self, "parts", tuple(self.parts))

    @classmethod
    def json(cls, uri: str, body: Mapping[str, Any]) -> HttpPayload:
        """A POST request with a JSON object as its body.

        Raises:
            ValueError: the body holds NaN or Infinity, which JSON does not have.
            TypeError: it holds something else that JSON does not have.
        """
        text = json.dumps(body, allow_nan=False).encode()
        return cls(uri, Headers({"Content-Type": "application/json"}), text, json.loads(text))

    @classmethod
    def multipart(cls, uri: str, fields: Mapping[str, object], files: Iterable[Part]) -> HttpPayload:
        """A POST request with a multipart/form-data body.

        Args:
            uri: path and query.
            fields: name -> value of each text part; numbers and booleans are written as in JSON.
            files: the uploads.
        """
        texts = [
            Part(name, (value if isinstance(value, str) else json.dumps(value)).encode())
            for name, value in fields.items()
        ]
        return cls(uri, Headers({"Content-Type": "multipart/form-data"}), parts=(*texts, *files))

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            RequestError: it is no JSON, or another JSON value.
        """
        value = parse_json(self.body) if self.parsed_json is None else self.parsed_json
        if not isinstance(value, dict):
            raise RequestError("JSON body must be an object", code="invalid_json")
        return value


def parse_json(body: bytes) -> Any:
    """The JSON value of a request body.

    Raises:
        RequestError: it is not JSON (NaN and Infinity are not), or nested too deeply to be read.
    """
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        reason = str(error)
    raise RequestError(f"Failed to parse JSON: {reason}", code="invalid_json")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def refusal_in(error: BaseException) -> RequestError | None:
    """What a request was refused with, in the error that its run ended with: the RequestError among its causes, or None."""
    seen: set[int] = set()  # causes can be tied into a ring
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if isinstance(current, RequestError):
            return current
        seen.add(id(current))
        current = current.__cause__
    return None

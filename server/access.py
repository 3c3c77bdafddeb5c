"""Who may ask: the API key, and the web pages of other origins (CORS).

Sources: RFC 6750 for Bearer tokens; the Fetch standard for CORS and for what browsers say in Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Collection, Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from calculators.http_payload import RequestError
from server.settings import Settings, SettingsError

_EXPOSED: Final = "x-request-id, Retry-After, x-ignored-parameters"
_PREFLIGHT_KEPT_S: Final = "600"
_READING: Final = ("GET", "HEAD", "OPTIONS")
_OWN_NAME: Final = socket.gethostname().lower()


def api_key(settings: Settings) -> str | None:
    """The key that requests have to bring, from the file of the settings or from the environment; None if there is none.

    Raises:
        SettingsError: the file cannot be read, or the key is empty or cannot stand in a header.
    """
    if settings.api_key_file is None:
        key, source = settings.api_key, "the API key"
    else:
        key, source = _first_line(settings.api_key_file), f"the API key in {settings.api_key_file}"
    if key is None:
        return None
    if not key.strip():
        raise SettingsError(f"{source} is empty; a key is the first line of the file")
    if not key.isascii() or not key.isprintable():
        raise SettingsError(f"{source} has characters that cannot stand in a header; use printable ASCII")
    return key


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"api_key_file {path} cannot be read: {error}") from None


class Access:
    """Decides for one application.

    Args:
        settings: what may be asked from where.
        key: what ``api_key`` gave.
        open_to_all: handlers that are asked without a key: the probes of whoever watches the server, and the page, which shows no
            model then.

    Attributes:
        local_only: whether only names of this machine may stand in the Host header, so that no web page can reach the server by a
            name of its own that resolves to this machine (DNS rebinding). For a server that listens on the loopback alone.
    """

    def __init__(self, settings: Settings, key: str | None, open_to_all: Collection[Handler] = ()) -> None:
        self._open_to_all = frozenset(open_to_all)
        self._key = None if key is None else key.encode()
        self._origins = frozenset(map(_plain_origin, settings.allowed_origins))
        self._methods = settings.allowed_methods
        self._headers = settings.allowed_headers
        self._credentials = settings.allow_credentials
        self.local_only = False

    @property
    def key_needed(self) -> bool:
        """Whether requests have to bring a key."""
        return self._key is not None

    def check(self, request: web.Request) -> None:
        """Let a request through, or not: by its key where there is one to bring, and else by the web page that sends it.

        A page can send some POSTs without asking, but knows no key.

        Raises:
            RequestError: as ``check_key`` and ``check_page``.
        """
        if self._key is None:
            self.check_page(request)
        elif request.match_info.handler not in self._open_to_all:
            self.check_key(request.headers.get("Authorization"))

    def knows_key(self, authorization: str | None) -> bool:
        """Whether the value of an Authorization header has the key; True for a server that asks for none."""
        if self._key is None:
            return True
        scheme, _, given = (authorization or "").partition(" ")
        sent = given.strip().encode(errors="backslashreplace")
        return hmac.compare_digest(sent, self._key) and scheme.lower() == "bearer"

    def check_key(self, authorization: str | None) -> None:
        """Look at the value of an Authorization header, or of gRPC metadata of that name.

        Raises:
            RequestError: 401; the key is missing or another one. The text does not repeat it.
        """
        if self._key is None:
            return
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode(errors="backslashreplace"), self._key
        ):
            return
        problem = (
            "no API key was sent"
            if authorization is None
            else "the API key is wrong"
            if scheme.lower() == "bearer"
            else "the Authorization header is no Bearer token"
        )
        raise RequestError(
            f"This server asks for an API key, and {problem}; send the header Authorization: Bearer KEY.",
            status=401,
            code="invalid_api_key",
            headers=(("WWW-Authenticate", 'Bearer realm="graph-runtime"'),),
        )

    def check_page(self, request: web.Request) -> None:
        """Refuse what a web page of somebody else sends from a browser that runs beside the server.

        A page can send some POSTs without asking (uploads are such); it could not read the answer, but the work would be done.

        Raises:
            RequestError: 403 ``origin_not_allowed``, 421 ``host_not_allowed``.
        """
        host = request.headers.get("Host")  # not request.host, which makes one up; every browser sends it
        if self.local_only and host is not None and not _is_local(host):
            raise RequestError(
                f"The Host header {host[:100]!r} is no name of this machine, and this server listens for this machine "
                "alone. Behind a proxy that passes on its own name, start it with --trust_forwarded_headers true.",
                status=421,
                code="host_not_allowed",
            )
        origin = request.headers.get("Origin")
        if origin is None or request.method in _READING or self._allows(origin) or _same_origin(request, origin):
            return
        raise RequestError(
            f"Web pages of {origin[:100]!r} may not call this server; its operator can allow them with --allowed_origins.",
            status=403,
            code="origin_not_allowed",
        )

    def add_cors_headers(self, asked: Mapping[str, str], headers: MutableMapping[str, str]) -> None:
        """Add to the headers of an answer those that let a page of another origin read it; none where it may not.

        Args:
            asked: the headers of the request.
            headers: those of the answer.
        """
        if not self._origins:
            return
        origin = asked.get("Origin")
        if "*" not in self._origins:
            headers["Vary"] = "Origin"
        if origin is None or not self._allows(origin):
            return
        headers["Access-Control-Allow-Origin"] = "*" if "*" in self._origins else origin
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        if self._credentials:
            headers["Access-Control-Allow-Credentials"] = "true"

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks what it may send; None if the request is no such question, or CORS is off."""
        if not self._origins or request.method != "OPTIONS":
            return None
        method = request.headers.get("Access-Control-Request-Method")
        if method is None:
            return None
        headers = {}
        if self._allows(request.headers.get("Origin", "")):
            # "*" would leave out the Authorization header: what is asked for is named instead.
            asked = request.headers.get("Access-Control-Request-Headers", "")
            headers = {
                "Access-Control-Allow-Methods": method if "*" in self._methods else ", ".join(self._methods),
                "Access-Control-Allow-Headers": asked if "*" in self._headers else ", ".join(self._headers),
                "Access-Control-Max-Age": _PREFLIGHT_KEPT_S,
            }
        return web.Response(status=200, headers=headers)

    def _allows(self, origin: str) -> bool:
        return "*" in self._origins or _plain_origin(origin) in self._origins


def _plain_origin(origin: str) -> str:
    return origin.strip().rstrip("/").lower()


def _same_origin(request: web.Request, origin: str) -> bool:
    """Whether the page came from this server; a proxy in front may have changed the Host header, so the browser's word counts."""
    said = request.headers.get("Sec-Fetch-Site")
    if said is not None:
        return said in ("same-origin", "none")
    try:
        return URL(origin).authority.lower() == request.host.lower()
    except ValueError:
        return False


@lru_cache  # most requests name one of few hosts
def _is_local(host: str) -> bool:
    try:
        name = (URL(f"http://{host}").host or "").lower()
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        # A name without a dot is one of the local network: nobody else can have it.
        return "." not in name or name.endswith(".localhost") or name == _OWN_NAME
    return True  # rebinding needs a name

"""The gRPC side of a server: which services there are, where it listens, how it leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from aiohttp import web

from server.drain import LINGER_S
from server.grpc_calls import Calls
from server.grpc_health import Health
from server.grpc_reflection import reflection_handlers
from server.keys import SETTINGS
from server.kserve_grpc import inference_handlers
from server.listen import ListenError
from server.settings import Settings

_LONG_S = 24 * 3600.0
_LAST_WORDS_S = 1.0


class GrpcServer:
    """Serves the graphs of an application, which has to be set up before ``start``. To be made on the event loop.

    Attributes:
        places: where it listens, as ADDRESS:PORT.
    """

    def __init__(self, app: web.Application) -> None:
        self._settings = settings = app[SETTINGS]
        self.places: list[str] = []
        self._server = grpc.aio.server(options=_options(settings))
        self._health = Health(app)
        self._stopping: asyncio.Task[None] | None = None
        calls = Calls(app)
        self._server.add_generic_rpc_handlers(
            (inference_handlers(app, calls), self._health.handlers(calls), *reflection_handlers(calls))
        )

    def listen(self) -> None:
        """Open the port on every address of the settings; port 0 is the same free one for all.

        Raises:
            ListenError: it cannot be opened; the text says where and what to do.
        """
        port, credentials = self._settings.grpc_port, _credentials(self._settings)
        for address in self._settings.grpc_bind_address:
            host = f"[{address}]" if ":" in address.strip("[]") else address
            where = f"{host}:{port}"
            try:
                if credentials is None:
                    port = self._server.add_insecure_port(where)
                else:
                    port = self._server.add_secure_port(where, credentials)
            except RuntimeError as error:
                raise ListenError(
                    f"cannot listen for gRPC on {where}: another program uses the port, or {address!r} is no address of this "
                    "machine; choose with --grpc_port and --grpc_bind_address"
                ) from error
            self.places.append(f"{host}:{port}")

    async def start(self) -> None:
        """Take calls."""
        await self._server.start()

    async def close_door(self) -> None:
        """Take no new calls, and let those that go on end: the backend ends their runs when the time for that has come.

        The library cancels calls that have arrived and that nobody has looked at: so new ones are answered a while longer, with
        UNAVAILABLE (``grpc_calls``), which tells clients to go elsewhere.
        """
        self._health.stop()
        await asyncio.sleep(LINGER_S)
        self._stopping = asyncio.create_task(self._server.stop(_LONG_S))

    async def close(self) -> None:
        """End what is still going on: no run any more, but clients that ask for nothing and do not leave."""
        self._health.stop()
        await self._server.stop(_LAST_WORDS_S)
        if self._stopping is not None:
            await self._stopping


def _options(settings: Settings) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # else a second server on the port would get a part of the calls
        *settings.grpc_channel_arguments,
    ]


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """TLS with the same files as for HTTP; they have been looked at (``server.tls``)."""
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    authorities = None if settings.tls_client_ca_file is None else settings.tls_client_ca_file.read_bytes()
    return grpc.ssl_server_credentials(
        [(settings.tls_key_file.read_bytes(), settings.tls_certificate_file.read_bytes())],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )

"""A hub as huggingface_hub speaks to one, on a thread of its own, with repositories from folders.

Source of the protocol: huggingface_hub, its requests and what it reads of the answers; the addresses and error codes are those of
https://huggingface.co. Large files are kept as Git LFS does: a redirect leads to another address, which wants no token.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

_LFS_FROM_BYTES = 100_000
_CHUNK_BYTES = 1 << 16


def _git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """What is served under one name.

    Attributes:
        files: path -> content.
        branch: name of the branch that has them.
        token: who has no such token is told that there is no such repository.
        gated: with ``token``, the files alone are kept from others, and the listing is for all.
    """

    files: dict[str, bytes]
    branch: str = "main"
    token: str | None = None
    gated: bool = False

    @property
    def commit(self) -> str:
        """Another one whenever a file is."""
        return hashlib.sha1(
            json.dumps({path: _git_name(self.files[path]) for path in sorted(self.files)}).encode()
        ).hexdigest()


def files_of(folder: Path) -> dict[str, bytes]:
    """The files in and below a folder: path -> content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@dataclass
class Request:
    """A request for a file's content: its path, and its Range header."""

    path: str
    range: str | None


@dataclass
class Hub:
    """The hub, and what a test does to it.

    Attributes:
        repositories: name -> repository.
        tokens: the valid ones.
        requests: those for the content of files, in their order.
        calls: how many requests of any kind there were.
        break_after: path -> after how many bytes the next answers with this file break off, one after the other.
        wrong: path -> what is sent in place of the file, under its checksum.
        told: path -> what the listing says of a file in place of what is true, by key.
        hold: path -> after how many bytes an answer with this file stops, and waits for ``release``.
        held: an answer has come to that point.
        pages: other addresses -> content, for downloads by URL; a str is the address that it redirects to.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    calls: int = 0
    break_after: dict[str, list[int]] = field(default_factory=dict)
    wrong: dict[str, bytes] = field(default_factory=dict)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    hold: dict[str, int] = field(default_factory=dict)
    held: threading.Event = field(default_factory=threading.Event)
    pages: dict[str, bytes | str] = field(default_factory=dict)
    url: str = ""
    _released: asyncio.Event | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def counts(self) -> Counter[str]:
        """How often the content of each file was asked for."""
        return Counter(request.path for request in self.requests)

    def release(self) -> None:
        """Let answers go on that wait."""
        assert self._loop is not None
        assert self._released is not None
        self.hold.clear()
        self._loop.call_soon_threadsafe(self._released.set)

    def run(self) -> Iterator[Hub]:
        """Serve while the caller has the generator open."""
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="hub")
        thread.start()
        assert ready.wait(20)
        try:
            yield self
        finally:
            assert self._loop is not None
            self.release()
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(20)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._released = asyncio.Event()
        self._stop = asyncio.Event()
        app = web.Application(middlewares=[self._count])
        app.router.add_get("/api/models/{repository:[^/]+/[^/]+}/revision/{revision}", self._info)
        app.router.add_get("/api/models/{repository:[^/]+/[^/]+}", self._info)
        app.router.add_get("/{repository:[^/]+/[^/]+}/resolve/{revision}/{path:.+}", self._resolve)
        app.router.add_get("/lfs/{repository:[^/]+/[^/]+}/{digest}/{path:.+}", self._lfs)
        app.router.add_get("/pages/{path:.+}", self._page)
        runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    @web.middleware
    async def _count(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls += 1
        response: web.StreamResponse = await handler(request)
        return response

    def _find(self, request: web.Request, *, content: bool) -> tuple[Repository, str]:
        """The repository and its commit; raises the hub's refusals."""
        name = request.match_info["repository"]
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or None
        if token is not None and token not in self.tokens:
            raise _refusal(web.HTTPUnauthorized, None, "Invalid credentials in Authorization header")
        repository = self.repositories.get(name)
        barred = repository is not None and repository.token is not None and token != repository.token
        if repository is None or (barred and not repository.gated):
            missing = web.HTTPUnauthorized if token is None else web.HTTPNotFound
            raise _refusal(
                missing, "RepoNotFound", "Repository not found" if token else "Invalid username or password."
            )
        revision = request.match_info.get("revision", repository.branch)
        if revision not in (repository.branch, repository.commit):
            raise _refusal(web.HTTPNotFound, "RevisionNotFound", f"Invalid rev id: {revision}")
        if barred and content:
            kind = web.HTTPUnauthorized if token is None else web.HTTPForbidden
            raise _refusal(kind, "GatedRepo", f"Access to model {name} is restricted.")
        return repository, repository.commit

    async def _info(self, request: web.Request) -> web.Response:
        repository, commit = self._find(request, content=False)
        siblings = [
            self._sibling(path, content, blobs="blobs" in request.query) for path, content in repository.files.items()
        ]
        name = request.match_info["repository"]
        told = {
            "id": name,
            "modelId": name,
            "sha": commit,
            "private": False,
            "gated": "auto" if repository.gated else False,
        }
        return web.json_response({**told, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})

    def _sibling(self, path: str, content: bytes, *, blobs: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"rfilename": path}
        if blobs:
            told |= {"size": len(content), "blobId": _git_name(content)}
            if len(content) >= _LFS_FROM_BYTES:
                told["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return told | self.told.get(path, {})

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        repository, commit = self._find(request, content=True)
        path = request.match_info["path"]
        content = repository.files.get(path)
        if content is None:
            raise _refusal(web.HTTPNotFound, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if len(content) < _LFS_FROM_BYTES:
            return await self._send(request, path, content, headers | {"ETag": f'"{_git_name(content)}"'})
        digest = hashlib.sha256(content).hexdigest()
        location = (
            f"{self.url.replace('127.0.0.1', 'localhost')}/lfs/{request.match_info['repository']}/{digest}/{path}"
        )
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{digest}"', "Location": location}
        return web.Response(status=302, headers=headers | linked)

    async def _lfs(self, request: web.Request) -> web.StreamResponse:
        assert "Authorization" not in request.headers, "the token was sent to another host"
        path = request.match_info["path"]
        content = self.repositories[request.match_info["repository"]].files[path]
        return await self._send(
            request, path, content, {"ETag": f'"{request.match_info["digest"]}"', "Accept-Ranges": "bytes"}
        )

    async def _page(self, request: web.Request) -> web.StreamResponse:
        page = self.pages.get(request.match_info["path"])
        if page is None:
            raise web.HTTPNotFound
        if isinstance(page, str):
            raise web.HTTPFound(page)
        return await self._send(request, request.match_info["path"], page, {})

    async def _send(
        self, request: web.Request, path: str, content: bytes, headers: dict[str, str]
    ) -> web.StreamResponse:
        asked = request.http_range
        if request.method == "GET":
            self.requests.append(Request(path, request.headers.get("Range")))
        start = asked.start or 0
        if start >= len(content) > 0:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        if start:
            headers = headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_length = len(content) - start
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        content = self.wrong.get(path, content)
        breaks = self.break_after.get(path)
        breaks_after = breaks.pop(0) if breaks else None
        sent = 0
        for at in range(start, len(content), _CHUNK_BYTES):
            if self.hold.get(path, len(content)) <= sent:
                self.held.set()
                assert self._released is not None
                await self._released.wait()
            if breaks_after is not None and breaks_after <= sent:
                assert request.transport is not None
                request.transport.close()
                return response
            chunk = content[at : at + _CHUNK_BYTES]
            await response.write(chunk)
            sent += len(chunk)
        await response.write_eof()
        return response


def _refusal(kind: type[web.HTTPException], code: str | None, message: str) -> web.HTTPException:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return kind(headers=headers, text=json.dumps({"error": message}), content_type="application/json")

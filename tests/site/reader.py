"""Somebody who reads a page and does what it says: writes its files, runs its commands and programs, starts its servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.error import HTTPError

from PIL import Image

from tests.docs.blocks import ROOT, Block

BIN: Final = Path(sys.executable).parent
_SERVES: Final = re.compile(r"^(?:\S*/)?graph-runtime serve\b[^&|]*\Z", re.M)
# What a server refuses has to fail the block, and progress bars say nothing here.
_CURL: Final = 'curl() { command curl -sS --fail-with-body "$@"; }\n'
_SECONDS: Final = 100


class Serving:
    """A ``graph-runtime serve`` that was started by a shell; ``address`` is ``localhost:PORT``, ``told`` its first line.

    What OpenVINO compiles it keeps in the folder ``compiled`` for those that come after it: most of a start is that.
    """

    def __init__(self, command: str, folder: Path, compiled: Path) -> None:
        with (folder / "server.log").open("w") as log:
            self.process = subprocess.Popen(
                ["bash", "-euc", command],
                cwd=folder,
                env=environment(
                    GRAPH_RUNTIME_REST_PORT="0",
                    GRAPH_RUNTIME_SHUTDOWN_GRACE_S="0",
                    GRAPH_RUNTIME_CACHE_DIR=str(compiled),
                ),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        assert found, f"{command}:\n{(folder / 'server.log').read_text()}"
        self.address = f"localhost:{found[1]}"
        self.told = line.replace(found[1], "8000")
        self.process.stdout.readline()  # nothing loads any more

    def end(self) -> None:
        """As Ctrl-C does: it reaches all that the shell has started."""
        with self.process:
            os.killpg(self.process.pid, signal.SIGINT)

    def reload(self) -> None:
        """Take up what has changed in the model folder."""
        request = urllib.request.Request(f"http://{self.address}/v1/config/reload", method="POST")
        with suppress(HTTPError), urllib.request.urlopen(request, timeout=_SECONDS):
            pass  # an error is for a file that cannot be used: what comes next on the page deals with it


def environment(**more: str) -> dict[str, str]:
    """As of a reader who has activated the virtual environment, and has no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRAPH_RUNTIME_")}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **more}


class Reader:
    """In a folder with the examples and a picture, before a server that serves the folder's ``models``."""

    def __init__(self, folder: Path, server: Serving | None, compiled: Path) -> None:
        self.folder = folder
        self._compiled = compiled
        self.printed = ""
        self._wrote = False
        self._shared = server
        self._own: Serving | None = None
        (folder / "examples").symlink_to(ROOT / "examples")
        (folder / ".venv").symlink_to(BIN.parent)
        Image.new("RGB", (64, 64), "navy").save(folder / "upload.png")

    def close(self) -> None:
        """End what the page has started."""
        if self._own is not None:
            self._own.end()
            self._own = None

    def do(self, block: Block) -> None:
        """Do what a block says; what it prints is in ``printed``."""
        if block.file:
            self._write(block)
        elif block.language == "bash" and _SERVES.search(block.text.strip()):
            self.close()
            self._own = Serving(block.text, self.folder, self._compiled)
            self.printed = self._own.told
        else:
            self._let_servers_see()
            command = (
                ["bash", "-euo", "pipefail", "-c", _CURL]
                if block.language == "bash"
                else [sys.executable, "-Werror", "-c", ""]
            )
            command[-1] += self._addressed(block.text)
            done = subprocess.run(
                command, cwd=self.folder, env=environment(), capture_output=True, text=True, timeout=_SECONDS
            )
            self.printed = done.stdout
            ended = f"{block.place} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            assert (done.returncode != 0) == bool(block.fails), ended

    def _write(self, block: Block) -> None:
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        self._wrote = True

    def _let_servers_see(self) -> None:
        """A reader takes longer to the next command than a server to see the files."""
        server = self._own or self._shared
        if server is not None and self._wrote:
            server.reload()
        self._wrote = False

    def _addressed(self, text: str) -> str:
        server = self._own or self._shared
        if "localhost:8000" not in text:
            return text
        assert server is not None
        return text.replace("localhost:8000", server.address)

"""A server process and a browser window, as the tests of the pages use them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request

WIDE, NARROW = 1280, 360


class Server:
    """A server process; ``url`` has no slash at its end."""

    def __init__(self, models: Path, log: Path, *flags: str) -> None:
        self._log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRAPH_RUNTIME_")}
        command = [str(Path(sys.executable).parent / "graph-runtime"), "serve", "--rest_port", "0"]
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [*command, "--shutdown_grace_s", "0", "--models", str(models), *flags],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        assert words, log.read_text()
        self.url = words[3]
        assert self.process.stdout.readline(), log.read_text()  # nothing loads any more

    def end(self) -> None:
        """As Ctrl-C does; the models' processes go with it."""
        with self.process:
            self.process.send_signal(signal.SIGTERM)


@contextmanager
def serving(models: Path, log: Path, *flags: str) -> Iterator[Server]:
    """A server of its own, for tests that need other flags or that end it."""
    server = Server(models, log, *flags)
    try:
        yield server
    finally:
        server.end()


class Visit:
    """A browser window, and what its pages do that no page should."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.troubles: list[str] = []
        self._expected: list[str] = []
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.troubles.append(f"exception: {error.error}"))
        context.on("request", self._asked)

    def expect_trouble(self, text: str) -> None:
        """Browsers write refused requests into the console, such as ``status of 400``: for tests that bring them about."""
        self._expected.append(text)

    def check(self) -> None:
        assert not [trouble for trouble in self.troubles if not any(text in trouble for text in self._expected)]

    def _heard(self, message: ConsoleMessage) -> None:
        # Whoever asks how far a request is may do so just before it comes or when it is over: browsers write that down as an error.
        if "status of 404" in message.text and "/v3/requests/" in message.location.get("url", ""):
            return
        if message.type in ("error", "warning", "assert"):
            self.troubles.append(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "blob:", "data:")):
            self.troubles.append(f"asked a foreign address: {request.url}")


async def assert_accessible(page: Page) -> None:
    """Nothing serious or critical by the rules of axe-core, wide in light and narrow in dark; and nothing sticks out sideways.

    Colours do not hang on the width, nor sizes on the colours: the other combinations would tell the same, for seconds each.
    """
    size = page.viewport_size
    assert size is not None
    looks: tuple[tuple[int, Literal["light", "dark"]], ...] = ((WIDE, "light"), (NARROW, "dark"))
    for width, scheme in looks:
        await page.set_viewport_size({"width": width, "height": size["height"]})
        await page.emulate_media(color_scheme=scheme)
        found = await Axe().run(page)
        serious = [
            f"{violation['id']}: {node['html']}\n  {node['failureSummary']}"
            for violation in found.response["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]
        assert not serious, f"{page.url}, {width} px, {scheme}:\n" + "\n".join(serious)
        beyond = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert beyond <= 0, f"{page.url} is {beyond} px wider than its window of {width} px"
    await page.set_viewport_size(size)

"""Headless Chromium in front of a real ``graph-runtime serve`` with the model that comes with the project.

Tests find things on a page as its users do, by roles and labels. Whatever a page does behind their backs fails them: an error in
the console, an exception, a request to another address.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from server.discovery import bundled_models_dir
from tests.browser.chromium import WIDE, Server, Visit, serving

PATIENCE_MS = 30_000
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage"]  # containers run as root, with little shared memory
LOOP = """input_stream: "in" output_stream: "out" output_stream: "again"
node { name: "open" calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:open"
  options { [mediapipe.ConstantSidePacketCalculatorOptions.ext] { packet { bool_value: true } } } }
node { name: "loop" calculator: "PreviousLoopbackCalculator" input_stream: "MAIN:in" input_stream: "LOOP:out"
  input_stream_info { tag_index: "LOOP" back_edge: true } output_stream: "PREV_LOOP:previous" }
node { name: "seen" calculator: "PacketPresenceCalculator" input_stream: "PACKET:previous" output_stream: "PRESENCE:again" }
node { name: "way" calculator: "Inner" input_stream: "in" input_side_packet: "OPEN:open" output_stream: "out" }
"""
INNER = """type: "Inner" input_stream: "in" output_stream: "out"
input_side_packet: "OPEN:open"
node { name: "gate" calculator: "GateCalculator" input_stream: "in" input_side_packet: "ALLOW:open" output_stream: "out"
  options { [mediapipe.GateCalculatorOptions.ext] { empty_packets_as_allow: true } } }
"""
expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The browser lives in one event loop, and all tests of this folder run there.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shapes model, graphs without pictures (one has a loop, a side packet and a subgraph), and one that cannot be served."""
    folder = tmp_path_factory.mktemp("browser") / "models"
    folder.mkdir()
    (folder / "shapes").symlink_to(bundled_models_dir() / "shapes")
    for name, calculator in (("numbers/pass", "PassThroughCalculator"), ("broken", "NoSuchCalculator")):
        (folder / name).mkdir(parents=True)
        (folder / name / "graph.pbtxt").write_text(
            'input_stream: "in"\noutput_stream: "out"\n'
            f'node {{ calculator: "{calculator}" input_stream: "in" output_stream: "out" }}\n'
        )
    loop = folder / "flows" / "loop"
    loop.mkdir(parents=True)
    (loop / "graph.pbtxt").write_text(LOOP)
    (loop / "inner.pbtxt").write_text(INNER)
    return folder


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves ``models``; all tests share it."""
    with serving(models, tmp_path_factory.mktemp("log") / "server") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium is not None, "these tests need Chromium: install your system's package of that name"
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        await launched.close()


Open = Callable[..., Awaitable[tuple[Page, Visit]]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[Open]:
    """Opens an address in a new window, and returns the page: ``width``, and what ``Browser.new_context`` takes besides."""
    visits: list[Visit] = []

    async def refuse_foreign(route: Route) -> None:
        if route.request.url.startswith("http://127.0.0.1:"):
            await route.fallback()
        else:
            await route.abort()

    async def start(url: str, *, width: int = WIDE, height: int = 900, **settings: Any) -> tuple[Page, Visit]:
        context = await browser.new_context(viewport={"width": width, "height": height}, **settings)
        context.set_default_timeout(PATIENCE_MS)
        await context.route("**/*", refuse_foreign)
        visits.append(Visit(context))
        page = await context.new_page()
        await page.goto(url)
        return page, visits[-1]

    yield start
    for visit in visits:
        await visit.context.close()
    for visit in visits:
        visit.check()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(server: Server, open_page: Open) -> Visit:
    """The first page of the shared server in a wide window."""
    _, opened = await open_page(f"{server.url}/")
    return opened


@pytest.fixture
def page(visit: Visit) -> Page:
    """Its page."""
    return visit.context.pages[0]

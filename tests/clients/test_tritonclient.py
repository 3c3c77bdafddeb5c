"""tritonclient against a running server: the KServe calls that are answered today."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

httpclient = pytest.importorskip("tritonclient.http", reason="nox -s clients installs it")


@pytest.fixture
def address() -> Iterator[str]:
    """``host:port`` of a server with the model that comes with the project; models load while it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "server.cli", "serve", "--rest_port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    found = None
    while found is None:
        line = process.stdout.readline()
        assert line, "the server ended before it printed its address"
        found = re.search(r"http://([\d.]+:\d+)", line)
    yield found[1]
    process.terminate()
    process.communicate(timeout=60)


def test_a_triton_client_sees_that_the_server_lives(address: str) -> None:
    with httpclient.InferenceServerClient(address) as client:
        assert client.is_server_live()

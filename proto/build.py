"""Makes the generated parts of graph_runtime/_pb and server/_pb from the .proto files beside this script.

    python proto/build.py            write it
    python proto/build.py --check    write nothing; fail when what is there differs from what would be written

It needs grpcio-tools, and mypy-protobuf to write. It imports nothing of the project, so it works when that is broken.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import FileDescriptorSet

SOURCES = Path(__file__).resolve().parent
DESCRIPTORS = "descriptors.binpb"


class Target(NamedTuple):
    """A package with a descriptor pool of its own, and the files that go into it."""

    package: str
    folders: list[str]
    well_known: list[str]
    """Files that protoc brings along; the pool and the stubs need them too."""

    @property
    def path(self) -> Path:
        """The package's folder."""
        return SOURCES.parent.joinpath(*self.package.split("."))

    def protos(self) -> list[str]:
        """The names of its files."""
        files = [path for folder in self.folders for path in SOURCES.joinpath(folder).rglob("*.proto")]
        return sorted(path.relative_to(SOURCES).as_posix() for path in files) + self.well_known


TARGETS = [
    Target("graph_runtime._pb", ["mediapipe"], ["google/protobuf/any.proto"]),
    Target("server._pb", ["inference", "grpc"], []),
]


def main() -> int:
    """Write or check; the exit code is 0 when all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    return max([make(target, check) for target in TARGETS])


def make(target: Target, check: bool) -> int:
    """Write or check one package."""
    protos = target.protos()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        protoc(protos, "--include_imports", f"--descriptor_set_out={made / DESCRIPTORS}")
        modules = {module_path(proto): module_text(proto, target.package) for proto in protos}
        modules |= {f"{package}/__init__.py": "" for proto in protos for package in packages(proto)}
        if check:
            return report(made, modules, target)
        protoc(protos, f"--mypy_out=quiet:{made}")
        write(made, modules, target)
    return 0


def protoc(protos: list[str], *arguments: str) -> None:
    """Run protoc in the folder of the sources; its own message goes to stderr."""
    scripts = sysconfig.get_path("scripts")  # protoc looks for protoc-gen-mypy on the PATH
    environment = os.environ | {"PATH": scripts + os.pathsep + os.environ.get("PATH", "")}
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *arguments, *protos]
    subprocess.run(command, cwd=SOURCES, env=environment, check=True)  # noqa: S603  # our own arguments


def module_path(proto: str) -> str:
    """Where the module of a .proto file goes, below the target."""
    return proto.removesuffix(".proto") + "_pb2.py"


def packages(proto: str) -> list[str]:
    """The folders around a .proto file, each of which becomes a package."""
    return [parent.as_posix() for parent in Path(proto).parents if parent != Path()]


def module_text(proto: str, package: str) -> str:
    """The module that gives names to the classes of a .proto file."""
    return (
        f'"""Messages of {proto}. Made by proto/build.py; do not edit."""\n\n'
        f"from {package.removesuffix('._pb')} import _pb\n\n"
        f'DESCRIPTOR = _pb.export("{proto}", globals())\n'
    )


def stub_text(text: str, protos: list[str], package: str) -> str:
    """The stub with its imports of our own modules moved below the package."""
    for proto in protos:
        module = Path(module_path(proto)).with_suffix("")
        folder, name = ".".join(module.parent.parts), module.name
        text = re.sub(rf"^from {folder} import {name}\b", f"from {package}.{folder} import {name}", text, flags=re.M)
        text = re.sub(rf"^from {folder}\.{name} import", f"from {package}.{folder}.{name} import", text, flags=re.M)
    return text


def without_docstrings(text: str) -> str:
    """The stub of a file that is not ours, without that file's comments."""
    return re.sub(r'^ *""".*?"""\n', "", text, flags=re.M | re.S)


def write(made: Path, modules: dict[str, str], target: Target) -> None:
    """Write everything, and remove what belongs to no .proto file any more."""
    keep = {target.path / "__init__.py", target.path / DESCRIPTORS}
    (target.path / DESCRIPTORS).write_bytes((made / DESCRIPTORS).read_bytes())
    protos = target.protos()
    names = [f"{module_path(proto)}i" for proto in protos]
    stubs = {name: stub_text((made / name).read_text(), protos, target.package) for name in names}
    for name in [f"{module_path(proto)}i" for proto in target.well_known]:
        stubs[name] = without_docstrings(stubs[name])
    for name, text in (modules | stubs).items():
        path = target.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        keep.add(path)
    for path in sorted(target.path.rglob("*.py*")):
        if path not in keep and "__pycache__" not in path.parts:
            path.unlink()


def report(made: Path, modules: dict[str, str], target: Target) -> int:
    """Say what differs. Stubs are not compared: their text belongs to the release of mypy-protobuf."""
    new = {file.name: file for file in FileDescriptorSet.FromString((made / DESCRIPTORS).read_bytes()).file}
    old = {file.name: file for file in FileDescriptorSet.FromString((target.path / DESCRIPTORS).read_bytes()).file}
    stale = [name for name in sorted(new.keys() | old.keys()) if new.get(name) != old.get(name)]
    for name, text in modules.items():
        path = target.path / name
        shown = path.relative_to(SOURCES.parent).as_posix()
        if not path.is_file() or path.read_text() != text:
            stale.append(shown)
        if name.endswith("_pb2.py") and not path.with_suffix(".pyi").is_file():
            stale.append(f"{shown}i")
    for name in stale:
        sys.stderr.write(f"{name}: not what proto/ says; run: python proto/build.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

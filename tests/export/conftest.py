"""A small program in the place of optimum-cli, and pipelines to export."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.cli import main
from server.discovery import bundled_models_dir
from tests.hub.conftest import hub

__all__ = ["hub"]

PYTHON = sys.executable
SHAPES = bundled_models_dir() / "shapes"
FAKE = Path(__file__).parent / "fake_optimum_cli.py"
Calls = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Puts the program where it is looked for; tells how it was called. The working folder is an empty one."""
    program = tmp_path / "bin" / "optimum-cli"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
    program.chmod(0o755)
    record = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_RECORD", str(record))
    monkeypatch.setenv("FAKE_MODEL", str(SHAPES))
    monkeypatch.setattr(sys, "executable", str(program.parent / "python"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return lambda: [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


def pipeline(folder: Path, **index: Any) -> Path:
    """A diffusers pipeline, as far as anybody looks at it before the export: weights of 1000 numbers of 16 bits."""
    folder.mkdir(parents=True)
    shutil.copytree(SHAPES / "scheduler", folder / "scheduler")
    content = json.loads((SHAPES / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**content, **index}))
    header = json.dumps({"w": {"dtype": "F16", "shape": [10, 100], "data_offsets": [0, 2000]}}).encode()
    for component in ("unet", "vae", "text_encoder"):
        (folder / component).mkdir()
        (folder / component / "config.json").write_text("{}")
        weights = struct.pack("<Q", len(header)) + header + bytes(2000)
        (folder / component / "model.safetensors").write_bytes(weights)
    return folder


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def run(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["export", *argv])
    printed = capfd.readouterr()
    return code, printed.out, printed.err

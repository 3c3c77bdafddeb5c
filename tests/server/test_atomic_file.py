"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.atomic_file import replace_file


def test_rights_stay_and_links_stay(tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    replace_file(link, "new\r\n")
    assert (real.read_bytes(), real.stat().st_mode & 0o777, link.is_symlink()) == (b"new\r\n", 0o640, True)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "a.json"
    file.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(file, "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "old")]


def test_what_a_killed_process_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    (tmp_path / f".a.json.{os.getpid()}.part").write_text("half")  # in a container the next one has the same number
    replace_file(file, "new")
    assert file.read_text() == "new"

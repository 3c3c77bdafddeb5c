"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Thread

import pytest

from server.atomic_file import locked_folder, replace_file

PATIENCE_S = 20


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


def test_who_has_to_wait_for_a_folder_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    waiting, inside = Event(), Event()

    def note(command: str, text: str) -> None:
        told.append(text)
        waiting.set()

    def enter() -> None:
        with locked_folder(tmp_path):
            inside.set()

    monkeypatch.setattr("server.atomic_file.complain", note)
    second = Thread(target=enter)
    with locked_folder(tmp_path):
        second.start()
        assert waiting.wait(PATIENCE_S)
        assert not inside.is_set()
    second.join(PATIENCE_S)
    assert inside.is_set()
    assert told == [f"waiting for another process that changes a file in {tmp_path}"]

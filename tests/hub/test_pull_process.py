"""``graph-runtime pull`` as a process of its own: killed, interrupted, on a disk that is full, on a terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.discovery import find_servables
from server.model_place import partial_of
from tests.hub.hub import Hub, Repository, files_of

SHAPES = Path(__file__).parents[2] / "examples" / "models" / "shapes"
NAME = "OpenVINO/shapes"
WEIGHTS = "unet/openvino_model.bin"
PATIENCE_S = 60


@pytest.fixture
def repository(hub: Hub) -> Repository:
    """The demo model on the hub, which does not send the last bytes of its largest file."""
    hub.repositories[NAME] = Repository({p: c for p, c in files_of(SHAPES).items() if not p.endswith(".pbtxt")})
    hub.hold[WEIGHTS] = 1_000_000
    return hub.repositories[NAME]


def start(models: Path, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    program = "import sys; from server.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", program, "pull", NAME, "--models", str(models)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and what it wrote to standard error."""
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


def wait_until_one_is_left(hub: Hub, process: subprocess.Popen[str], repository: Repository) -> None:
    """Return when all files are there but the one that the hub holds back."""
    assert process.stderr is not None
    for _ in range(len(repository.files) - 1):
        assert process.stderr.readline().startswith("fetched ")
    assert hub.held.wait(PATIENCE_S)


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_pull_that_is_ended_is_not_served_and_goes_on_without_the_files_that_it_had(
    way: signal.Signals, hub: Hub, repository: Repository, tmp_path: Path
) -> None:
    process = start(tmp_path)
    wait_until_one_is_left(hub, process, repository)
    process.send_signal(way)
    code, errors = finish(process)
    assert code == (130 if way is signal.SIGINT else -way)
    if way is signal.SIGINT:
        assert (
            errors
            == "graph-runtime pull: interrupted; what has arrived is kept, and the same command goes on from there\n"
        )
    assert not (tmp_path / NAME).exists()
    assert find_servables(tmp_path, lambda line: None) == []
    hub.release()
    hub.requests.clear()
    assert finish(start(tmp_path)) == (0, f"fetched {WEIGHTS} (5.5 MB)\n")
    assert list(hub.counts()) == [WEIGHTS]
    found = files_of(tmp_path / NAME)
    assert {path: found[path] for path in repository.files} == repository.files
    assert not partial_of(tmp_path / NAME).exists()
    assert [spec.name for spec in find_servables(tmp_path, lambda line: None)] == [NAME]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"file systems cannot be mounted here: {getattr(error, 'stderr', error)}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_too_small_is_told_before_anything_large_is_fetched(
    hub: Hub, repository: Repository, small_disk: Path
) -> None:
    hub.release()
    (small_disk / "other").write_bytes(bytes(10_000_000))
    code, errors = finish(start(small_disk))
    assert code == 1
    assert re.search(r"OpenVINO/shapes needs 9\.\d MB more, and the disk of \S+ has 6\.\d MB left; make room", errors)
    assert all(len(repository.files[path]) < 1000 for path in hub.counts())
    assert find_servables(small_disk, lambda line: None) == []


def test_a_disk_that_gets_full_on_the_way_costs_no_file_that_is_there(
    hub: Hub, repository: Repository, small_disk: Path
) -> None:
    process = start(small_disk)
    wait_until_one_is_left(hub, process, repository)
    other = small_disk / "other"
    with pytest.raises(OSError, match="No space left"), other.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    hub.release()
    code, errors = finish(process)
    assert code == 1
    assert "the disk is full" in errors
    assert "make room and run the same command again" in errors
    assert find_servables(small_disk, lambda line: None) == []
    other.unlink()
    hub.requests.clear()
    assert finish(start(small_disk))[0] == 0
    assert list(hub.counts()) == [WEIGHTS]
    assert (small_disk / NAME / WEIGHTS).read_bytes() == repository.files[WEIGHTS]


def test_a_disk_that_is_read_only_is_told(hub: Hub, repository: Repository, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, errors = finish(start(small_disk))
    assert code == 1
    assert errors.startswith(f"graph-runtime pull: {small_disk}")
    assert "Read-only file system" in errors


def test_a_terminal_shows_a_bar_with_the_whole_size(hub: Hub, repository: Repository, tmp_path: Path) -> None:
    hub.release()
    ours, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    process = start(tmp_path, stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(ours)
    assert process.communicate(timeout=PATIENCE_S)[0].startswith(str(tmp_path / NAME))
    assert process.returncode == 0
    assert re.search(rb"OpenVINO/shapes: +100%.*9\.\d+M/9\.\d+M", shown)
    assert b"fetched" not in shown
    assert b"model_index" not in shown

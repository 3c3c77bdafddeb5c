"""A lane in a child process: crashes, restarts, cancellation, watchdog, and that no child outlives its parent."""

from __future__ import annotations

import logging
import os
import resource
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from calculators.http_payload import RequestError
from calculators.image_gen.errors import GenerationCancelledError
from calculators.image_gen.generation import Cancellation, GenerationRequest, PartialImage
from calculators.image_gen.lane import IdleUnload
from calculators.image_gen.options import LoadSettings
from calculators.image_gen.process_lane import ProcessLane, Supervision
from calculators.load_error import LoadError
from graph_runtime import StatusCode

FAKE_WORKER = str(Path(__file__).with_name("fake_worker.py"))
WAIT_S = 30.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


LOADED = {"kinds": ["text to image"], "devices": ["CPU"], "notes": []}
MakeLane = Callable[..., ProcessLane]


@pytest.fixture
def make_lane(tmp_path: Path, clock: Clock) -> Iterator[MakeLane]:
    lanes: list[ProcessLane] = []

    def make(*, idle: IdleUnload | None = None, **changes: float) -> ProcessLane:
        supervision = Supervision(
            command=(FAKE_WORKER,), clock=clock, **{"load_s": WAIT_S, "stall_s": WAIT_S, **changes}
        )
        lanes.append(ProcessLane("test", LoadSettings(str(tmp_path), ("CPU",)), supervision, idle))
        return lanes[-1]

    yield make
    for lane in lanes:
        lane.close()


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def request(prompt: str, steps: int = 3) -> GenerationRequest:
    return GenerationRequest(prompt, 64, 64, 1, steps, rng_seed=0)


def ends(pid: int) -> bool:
    """Wait for the end of a process that need not be a child of ours."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], WAIT_S)[0])
    finally:
        os.close(descriptor)


def pid_of(lane: ProcessLane) -> int:
    pid = lane.describe()["pid"]
    assert isinstance(pid, int)
    return pid


def test_pictures_partial_ones_steps_and_errors_come_through(make_lane: MakeLane) -> None:
    lane = make_lane()
    steps: list[tuple[int, int]] = []
    partials: list[PartialImage] = []
    result = lane.generate(
        replace(request("ok"), partial_images=2),
        on_step=lambda done, total: steps.append((done, total)),
        on_partial=partials.append,
    )
    assert result.images == (b"ok" * 1000, b"")
    assert (result.seeds, result.num_inference_steps) == ((0, 1), 3)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert partials == [PartialImage(0, 0, b"partial"), PartialImage(0, 1, b"partialpartial")]
    with pytest.raises(RequestError, match="scripted") as caught:
        lane.generate(request("fail"))
    assert caught.value.status == 500
    assert ("x-should-retry", "false") in caught.value.headers
    assert lane.describe() == {
        "kind": "process", "state": "idle", "waiting": 0, "served": 2, "pid": pid_of(lane), "restarts": 0,
        "loaded": LOADED,
    }  # fmt: skip


def test_the_model_is_in_another_process(make_lane: MakeLane) -> None:
    lane = make_lane()
    assert lane.generate(request("env")).images[0] == str(pid_of(lane)).encode()
    assert pid_of(lane) != os.getpid()


@pytest.mark.parametrize(
    ("prompt", "how"),
    [
        ("SIGSEGV", "was ended by SIGSEGV"),
        ("SIGABRT", "was ended by SIGABRT"),
        ("SIGKILL", "was ended by SIGKILL"),
        ("exit", "ended with exit code 3"),
    ],
)
def test_a_crash_costs_one_request_and_the_lane_starts_again(
    prompt: str, how: str, make_lane: MakeLane, caplog: pytest.LogCaptureFixture
) -> None:
    lane = make_lane()
    before = pid_of(lane)
    with pytest.raises(RequestError, match=how) as caught:
        lane.generate(request(prompt))
    error = caught.value
    assert (error.status, error.type, error.code) == (500, "server_error", "engine_crashed")
    assert ("x-should-retry", "false") in error.headers
    assert lane.generate(request("ok")).images[0].startswith(b"ok")
    assert pid_of(lane) != before
    assert lane.describe()["restarts"] == 1
    counted = lane.statistics()
    assert (counted.requests, counted.restarts) == ({"failed": 1, "done": 1}, 1)
    assert counted.memory_bytes > 1 << 20
    assert ends(before)
    if prompt != "exit":
        assert "last words" in caplog.text


@pytest.mark.parametrize("prompt", ["spoil", "bug"])
def test_a_failure_that_may_have_spoilt_the_engine_costs_one_request_and_gives_a_new_engine(
    prompt: str, make_lane: MakeLane, callers: ThreadPoolExecutor
) -> None:
    lane = make_lane()
    before = pid_of(lane)
    stepping = threading.Event()
    cancellation = Cancellation()
    first = callers.submit(
        lane.generate,
        request("endless"),
        on_cancel=cancellation.on_cancel,
        on_step=lambda done, total: stepping.set(),
    )
    assert stepping.wait(WAIT_S)
    failing = callers.submit(lane.generate, request(prompt))
    waiting = [callers.submit(lane.generate, request("ok", steps=k + 1)) for k in range(3)]
    cancellation.cancel()
    with pytest.raises(GenerationCancelledError):
        first.result(WAIT_S)
    with pytest.raises(RequestError, match="scripted") as caught:
        failing.result(WAIT_S)
    assert (caught.value.status, caught.value.code) == (500, "generation_failed")
    assert [each.result(WAIT_S).num_inference_steps for each in waiting] == [1, 2, 3]
    assert pid_of(lane) != before
    assert ends(before)
    assert lane.describe()["restarts"] == 1


def test_a_failure_that_leaves_the_engine_well_costs_no_restart(make_lane: MakeLane) -> None:
    lane = make_lane()
    with pytest.raises(RequestError, match="scripted"):
        lane.generate(request("fail"))
    lane.generate(request("ok"))
    assert lane.describe()["restarts"] == 0


def test_a_lane_without_an_engine_says_so_and_mends_itself_without_any_request(
    make_lane: MakeLane, tmp_path: Path, clock: Clock
) -> None:
    lane = make_lane()
    assert lane.trouble is None
    (tmp_path / "refuse").touch()
    with pytest.raises(RequestError, match="scripted"):
        lane.generate(request("spoil"))
    with pytest.raises(RequestError, match="could not be started again"):
        lane.generate(request("ok"))
    assert lane.trouble is not None
    assert "could not be started again" in lane.trouble
    (tmp_path / "refuse").unlink()
    with lane._changed:
        clock.now_s += 1.5
        lane._changed.notify()
        assert lane._changed.wait_for(lambda: lane.trouble is None, WAIT_S)
    assert lane.describe()["state"] == "idle"


def test_kill_9_in_the_middle_of_a_generation(make_lane: MakeLane, callers: ThreadPoolExecutor) -> None:
    lane = make_lane()
    pid = pid_of(lane)
    stepping = threading.Event()
    running = callers.submit(lane.generate, request("endless"), on_step=lambda done, total: stepping.set())
    assert stepping.wait(WAIT_S)
    waiting = callers.submit(lane.generate, request("ok"))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RequestError, match="was ended by SIGKILL while it worked on this request"):
        running.result(WAIT_S)
    assert waiting.result(WAIT_S).images[0].startswith(b"ok")


def test_a_child_that_died_between_requests_costs_none(make_lane: MakeLane) -> None:
    lane = make_lane()
    pid = pid_of(lane)
    os.kill(pid, signal.SIGKILL)
    assert ends(pid)
    assert lane.describe()["pid"] is None
    assert lane.generate(request("ok")).images[0].startswith(b"ok")
    assert lane.describe()["restarts"] == 1


def test_cancelling_reaches_the_child_which_stays(make_lane: MakeLane, callers: ThreadPoolExecutor) -> None:
    lane = make_lane()
    pid = pid_of(lane)
    cancellation = Cancellation()
    stepping = threading.Event()
    running = callers.submit(
        lane.generate,
        request("endless"),
        on_cancel=cancellation.on_cancel,
        on_step=lambda done, total: stepping.set(),
    )
    assert stepping.wait(WAIT_S)
    cancellation.cancel()
    with pytest.raises(GenerationCancelledError):
        running.result(WAIT_S)
    assert lane.generate(request("ok")).images[0].startswith(b"ok")
    assert pid_of(lane) == pid


def test_requests_that_wait_are_served_in_order_after_a_crash(make_lane: MakeLane, callers: ThreadPoolExecutor) -> None:
    lane = make_lane()
    crash = callers.submit(lane.generate, request("SIGSEGV"))
    others = [callers.submit(lane.generate, request("ok", steps=k + 1)) for k in range(5)]
    with pytest.raises(RequestError):
        crash.result(WAIT_S)
    assert [other.result(WAIT_S).num_inference_steps for other in others] == [1, 2, 3, 4, 5]


def test_a_child_that_makes_no_step_is_ended(make_lane: MakeLane) -> None:
    lane = make_lane(stall_s=0.2)
    pid = pid_of(lane)
    with pytest.raises(RequestError, match=r"made no step for 0\.2 s and was ended"):
        lane.generate(request("silent"))
    assert ends(pid)


def test_a_model_that_cannot_be_loaded(make_lane: MakeLane, tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    with pytest.raises(LoadError, match="scripted refusal") as caught:
        make_lane()
    assert (caught.value.field, caught.value.code) == ("device", StatusCode.NOT_FOUND)


def test_a_model_that_ends_the_process_that_loads_it(make_lane: MakeLane, tmp_path: Path) -> None:
    (tmp_path / "die").touch()
    with pytest.raises(LoadError, match="was ended by SIGABRT: .*dying over this model"):
        make_lane()


def test_a_model_that_loads_for_too_long(make_lane: MakeLane, tmp_path: Path) -> None:
    (tmp_path / "hang").touch()
    with pytest.raises(LoadError, match=r"did not load within 0\.5 s and was ended"):
        make_lane(load_s=0.5)


def test_an_engine_that_does_not_come_back_is_tried_again_later(
    make_lane: MakeLane, tmp_path: Path, clock: Clock
) -> None:
    lane = make_lane()
    (tmp_path / "refuse").touch()
    with pytest.raises(RequestError, match="SIGKILL"):
        lane.generate(request("SIGKILL"))
    retry_after = []
    for wait_s in (1, 2, 4, 8, 16, 32, 60, 60):
        with pytest.raises(RequestError, match="could not be started again") as caught:
            lane.generate(request("ok"))  # too early: no attempt is made
        assert caught.value.status == 503
        assert lane.describe()["state"] == "broken"
        assert lane.describe()["reason"] == "scripted refusal"
        retry_after.append((wait_s, dict(caught.value.headers)["retry-after"]))
        clock.now_s += wait_s - 0.01
        with pytest.raises(RequestError, match="could not be started again"):
            lane.generate(request("ok"))
        clock.now_s += 0.02
        with pytest.raises(RequestError, match="could not be started again"):
            lane.generate(request("ok"))  # this one tries, and fails
    assert retry_after == [(wait_s, str(wait_s)) for wait_s, _ in retry_after]
    (tmp_path / "refuse").unlink()
    clock.now_s += 61
    assert lane.generate(request("ok")).images[0].startswith(b"ok")
    assert lane.describe()["state"] == "idle"


def test_an_idle_lane_ends_its_child_and_starts_one_for_the_next_request(make_lane: MakeLane) -> None:
    lane = make_lane(idle=IdleUnload(0.0))
    for _ in range(2):
        pid = int(lane.generate(request("env")).images[0])
        assert ends(pid)
    with lane._changed:
        assert lane._changed.wait_for(lambda: lane.describe()["state"] == "unloaded", WAIT_S)
    assert lane.describe() == {
        "kind": "process", "state": "unloaded", "waiting": 0, "served": 2, "pid": None, "restarts": 0,
        "loaded": LOADED,
    }  # fmt: skip
    assert lane.trouble is None


def test_closing_ends_the_child_and_whoever_runs(make_lane: MakeLane, callers: ThreadPoolExecutor) -> None:
    lane = make_lane()
    pid = pid_of(lane)
    stepping = threading.Event()
    running = callers.submit(lane.generate, request("endless"), on_step=lambda done, total: stepping.set())
    assert stepping.wait(WAIT_S)
    lane.close()
    with pytest.raises(RequestError, match="unloaded"):
        running.result(WAIT_S)
    assert ends(pid)
    lane.close()
    with pytest.raises(RequestError, match="unloaded"):
        lane.generate(request("ok"))


def test_closing_does_not_wait_for_a_child_that_loads(
    make_lane: MakeLane, tmp_path: Path, callers: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    lane = make_lane()
    (tmp_path / "hang").touch()
    loading = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "hanging" in record.getMessage():
                loading.set()

    logger = logging.getLogger("calculators.child_process")
    listener = Listener()
    logger.addHandler(listener)
    try:
        with caplog.at_level(logging.INFO, logger.name):
            with pytest.raises(RequestError, match="SIGSEGV"):
                lane.generate(request("SIGSEGV"))
            waiting = callers.submit(lane.generate, request("ok"))
            assert loading.wait(WAIT_S)
            callers.submit(lane.close).result(WAIT_S)
            with pytest.raises(RequestError, match="unloaded"):
                waiting.result(WAIT_S)
    finally:
        logger.removeHandler(listener)


def test_without_an_interpreter_the_other_kind_of_lane_is_named(
    monkeypatch: pytest.MonkeyPatch, make_lane: MakeLane
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(LoadError, match='lane="thread"'):
        make_lane()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(LoadError, match="no process can be started"):
        make_lane()


def test_no_file_descriptors_are_left_open(make_lane: MakeLane) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        lane = make_lane()
        with pytest.raises(RequestError):
            lane.generate(request("SIGKILL"))
        lane.generate(request("ok"))
        lane.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


PARENT = """
    import logging, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for jobs in the background
    from calculators.image_gen.generation import GenerationRequest
    from calculators.image_gen.options import LoadSettings
    from calculators.image_gen.process_lane import ProcessLane, Supervision

    def tell(done, total):
        if done == 1:
            print(lane.describe()["pid"], flush=True)

    if len(sys.argv) > 3:
        logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    lane = ProcessLane("t", LoadSettings(sys.argv[1], ("CPU",)), Supervision(command=(sys.argv[2],)))
    lane.generate(GenerationRequest("endless", 64, 64, 1, 3, rng_seed=0), on_step=tell)
"""


def start_parent(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    here = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(folder), FAKE_WORKER, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(here)},
    )


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_no_child_outlives_its_parent(signal_name: str, tmp_path: Path) -> None:
    with start_parent(tmp_path) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(getattr(signal, signal_name))
        parent.wait(WAIT_S)
    assert ends(child)


def test_a_child_that_is_loading_ends_with_its_parent_too(tmp_path: Path) -> None:
    (tmp_path / "hang").touch()
    with start_parent(tmp_path, "log") as parent:
        assert parent.stdout is not None
        line = parent.stdout.readline()
        assert "hanging" in line
        child = int(line.partition("[")[2].partition("]")[0])
        parent.kill()
        parent.wait(WAIT_S)
    assert ends(child)


@pytest.mark.model
def test_pictures_that_do_not_fit_into_memory_do_not_spoil_those_of_others(shapes: Path) -> None:
    pytest.importorskip("openvino_genai")
    lane = ProcessLane("shapes", LoadSettings(str(shapes), ("CPU",)))
    try:
        small = GenerationRequest("a red circle on a blue background", 64, 64, 1, 4, rng_seed=7)
        expected = lane.generate(small)
        pid = pid_of(lane)
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.prlimit(pid, resource.RLIMIT_AS, (used + 300 * 2**20, used + 300 * 2**20))
        with pytest.raises(RequestError, match="Image generation failed|was ended by|ended with") as caught:
            lane.generate(GenerationRequest("too large", 2048, 2048, 4, 1, rng_seed=7))
        assert caught.value.status == 500
        assert lane.generate(small).images == expected.images
        assert lane.describe()["restarts"] == 1
    finally:
        lane.close()


@pytest.mark.model
def test_the_real_model_gives_the_same_bytes_after_a_crash_a_kill_and_a_cancellation(
    copy_of_shapes: Path, edit_json: Callable[..., None], callers: ThreadPoolExecutor
) -> None:
    pytest.importorskip("openvino_genai")
    edit_json(copy_of_shapes / "scheduler" / "scheduler_config.json", timestep_spacing="leading")
    lane = ProcessLane("shapes", LoadSettings(str(copy_of_shapes), ("CPU",)))
    try:
        asked = GenerationRequest("a red circle on a blue background", 64, 64, 2, 4, rng_seed=7)
        expected = lane.generate(asked)
        assert expected.images[0].startswith(b"\x89PNG")
        assert expected.seeds == (7, 8)

        stepping = threading.Event()
        endless = GenerationRequest("a", 64, 64, 1, 1000, rng_seed=7)
        for ended_by in (signal.SIGSEGV, signal.SIGKILL):
            stepping.clear()
            running = callers.submit(lane.generate, endless, on_step=lambda done, total: stepping.set())
            assert stepping.wait(WAIT_S)
            os.kill(pid_of(lane), ended_by)
            with pytest.raises(RequestError, match=f"was ended by {ended_by.name}"):
                running.result(WAIT_S)
            assert lane.generate(asked).images == expected.images

        pid = pid_of(lane)
        stepping.clear()
        cancellation = Cancellation()
        running = callers.submit(
            lane.generate, endless, on_cancel=cancellation.on_cancel, on_step=lambda done, total: stepping.set()
        )
        assert stepping.wait(WAIT_S)
        cancellation.cancel()
        with pytest.raises(GenerationCancelledError):
            running.result(WAIT_S)
        assert lane.generate(asked).images == expected.images
        assert pid_of(lane) == pid
        assert lane.describe()["restarts"] == 2
    finally:
        lane.close()

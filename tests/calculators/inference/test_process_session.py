"""ProcessSession: what becomes of requests when the child process crashes, hangs, cannot be started, or is ended on purpose."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calculators.child_process import ChildProcess
from calculators.http_payload import RequestError
from calculators.inference.model_load import ModelLoad
from calculators.inference.process_session import ProcessSession, SessionSupervision
from calculators.inference.session_pool import SessionPool
from calculators.load_error import LoadError
from graph_runtime import GraphError, StatusCode

WORKER = (str(Path(__file__).with_name("fake_model_worker.py")),)
WAIT_S = 60.0

Make = Callable[..., ProcessSession]


class HandClock:
    """Seconds that grow when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ProcessSession] = []

    def session(requests: int = 1, **watched: Any) -> ProcessSession:
        supervision = SessionSupervision(**{"command": WORKER, "load_s": WAIT_S, "infer_s": WAIT_S, **watched})
        made.append(ProcessSession(load(tmp_path, requests), supervision))
        return made[-1]

    yield session
    for each in made:
        each.close()


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def load(folder: Path, requests: int = 1) -> ModelLoad:
    return ModelLoad("row", str(folder / "row.xml"), "CPU", "", requests, (), "")


def ask(session: ProcessSession, *numbers: float) -> Any:
    (answer,) = session.infer([np.array([numbers], dtype=np.float32)])
    return answer


def test_arrays_come_back_as_the_model_gave_them(make: Make) -> None:
    answer = ask(make(), 0, 1.5, 2.5)
    assert (answer.dtype, answer.tolist()) == (np.float64, [[0, 1.5, 2.5]])


def test_a_large_array_and_one_without_elements_travel_too(make: Make) -> None:
    session = make()
    many = np.zeros((1, 500_000), dtype=np.float32)
    many[0, -1] = 7
    assert session.infer([many])[0][0, -1] == 7
    assert many.nbytes > 1 << 20


def test_an_array_that_is_no_row_of_bytes_in_memory_is_read_as_it_looks(make: Make) -> None:
    turned = np.arange(6, dtype=np.float32).reshape(6, 1).T
    backwards = np.arange(6, dtype=np.float32)[::-1][None, :] * (turned * 0 + 1)
    backwards[0, 0] = 0
    assert make().infer([backwards[:, ::2]])[0].tolist() == [[0, 3, 1]]


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((1, 2), dtype=np.float64), "FP64 [1,2]"),
        (np.zeros(2, dtype=np.float32), "FP32 [2]"),
        (np.zeros((2, 2), dtype=np.float32), "FP32 [2,2]"),
        ([1.0], "a list"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_with_what_was_expected(make: Make, array: Any, found: str) -> None:
    with pytest.raises(GraphError) as caught:
        make().infer([array])
    assert caught.value.code == StatusCode.INVALID_ARGUMENT
    assert caught.value.message == f'The input "x" of the model "row" takes FP32 [1,-1], and got {found}.'


def test_a_crash_costs_the_request_that_ran_and_the_next_one_is_answered(make: Make) -> None:
    session = make()
    first = ask(session, 7)
    with pytest.raises(RequestError, match="was ended by SIGSEGV while it worked on this request") as caught:
        ask(session, 1)
    assert (caught.value.status, caught.value.code) == (500, "model_crashed")
    assert ask(session, 7) != first
    assert session.describe()["restarts"] == 1


def test_requests_that_wait_do_not_wake_each_other(
    make: Make, tmp_path: Path, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    all_wait = threading.Event()
    alive = ChildProcess.is_alive

    def look(child: ChildProcess) -> bool:
        looks.append(1)
        if len(looks) >= 4:
            all_wait.set()
        return alive(child)

    monkeypatch.setattr(ChildProcess, "is_alive", look)
    os.mkfifo(tmp_path / "go")
    session = make()
    first = callers.submit(ask, session, 6)
    others = [callers.submit(ask, session, 0) for _ in range(3)]
    assert all_wait.wait(WAIT_S)
    (tmp_path / "go").open("w").close()
    for each in (first, *others):
        each.result(WAIT_S)
    assert len(looks) < 20


def test_an_error_that_nobody_knows_costs_the_process(make: Make) -> None:
    session = make()
    with pytest.raises(RequestError, match="ended with exit code 70"):
        ask(session, 4)
    assert ask(session, 0) == 0


def test_a_failure_of_the_model_is_told_and_costs_nothing_else(make: Make) -> None:
    session = make()
    first = ask(session, 7)
    with pytest.raises(RequestError, match='inference of the model "row" failed: scripted failure'):
        ask(session, 3)
    assert ask(session, 7) == first


def test_a_model_that_does_not_answer_in_time_is_ended(make: Make) -> None:
    session = make(infer_s=0.3)
    with pytest.raises(RequestError, match=r"did not answer within 0\.3 s and was ended"):
        ask(session, 5)


def test_a_process_that_ended_while_nobody_asked_costs_no_request(make: Make) -> None:
    session = make()
    child = session._child
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    child._process.wait(WAIT_S)
    assert ask(session, 0, 5).tolist() == [[0, 5]]
    assert session.describe()["pid"] != child.pid


def test_as_many_requests_run_at_once_as_there_are_infer_requests(
    make: Make, tmp_path: Path, callers: ThreadPoolExecutor
) -> None:
    os.mkfifo(tmp_path / "go")
    session = make(requests=2)
    both = [callers.submit(ask, session, 6, number) for number in range(2)]
    with (tmp_path / "go").open("w"):  # opens when one waits; the other comes through as well while it is open
        assert [each.result(WAIT_S).tolist() for each in both] == [[[6, 0]], [[6, 1]]]
    assert (tmp_path / "waiting0").exists()
    assert (tmp_path / "waiting1").exists()


def test_a_cancelled_inference_ends_and_the_next_one_runs(make: Make, callers: ThreadPoolExecutor) -> None:
    session = make()
    cancels: list[Callable[[], None]] = []
    registered = threading.Event()

    def on_cancel(cancel: Callable[[], None]) -> Callable[[], None]:
        cancels.append(cancel)
        registered.set()
        return lambda: None

    running = callers.submit(session.infer, [np.full((1, 1), 2, dtype=np.float32)], on_cancel)
    assert registered.wait(WAIT_S)
    cancels[0]()
    with pytest.raises(GraphError) as caught:
        running.result(WAIT_S)
    assert caught.value.code == StatusCode.CANCELLED
    assert ask(session, 0) == 0


def test_a_request_that_waits_can_be_cancelled_without_the_one_that_runs(
    make: Make, tmp_path: Path, callers: ThreadPoolExecutor
) -> None:
    os.mkfifo(tmp_path / "go")
    session = make()
    running = callers.submit(ask, session, 6)
    cancelled = lambda cancel: (cancel(), lambda: None)[1]  # noqa: E731
    with pytest.raises(GraphError, match="was cancelled"):
        session.infer([np.zeros((1, 1), dtype=np.float32)], cancelled)
    with (tmp_path / "go").open("w"):
        assert running.result(WAIT_S) == 6


def test_a_model_that_cannot_be_loaded_is_told_with_its_reason(make: Make, tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    with pytest.raises(LoadError, match="scripted refusal"):
        make()
    (tmp_path / "refuse").unlink()
    (tmp_path / "die").touch()
    with pytest.raises(LoadError, match=r"ended with exit code 3: last words"):
        make()


def test_while_no_process_can_be_started_requests_are_refused_and_it_mends_itself(make: Make, tmp_path: Path) -> None:
    clock = HandClock()
    session = make(clock=clock)
    (tmp_path / "refuse").touch()
    with pytest.raises(RequestError, match="SIGSEGV"):
        ask(session, 1)
    with pytest.raises(RequestError, match="could not be started again") as caught:
        ask(session, 0)
    assert caught.value.status == 503
    assert session.trouble is not None
    (tmp_path / "refuse").unlink()
    clock.now = 1.0
    with session._changed:
        session._changed.notify_all()
        assert session._changed.wait_for(lambda: session.trouble is None, WAIT_S)
    assert ask(session, 0) == 0


def test_an_idle_model_gives_its_memory_back_and_the_next_request_loads_it_again(make: Make) -> None:
    clock = HandClock()
    session = make(clock=clock, idle_unload_s=10.0)
    first = ask(session, 7)
    clock.now = 10.0
    with session._changed:
        session._changed.notify_all()
    keeper = session._keeper
    while session.memory_bytes():
        keeper.join(0.01)
    assert ask(session, 7) != first
    assert session.describe()["restarts"] == 0


def test_closing_ends_the_process_and_whoever_waits(make: Make, tmp_path: Path, callers: ThreadPoolExecutor) -> None:
    session = make()
    running = callers.submit(ask, session, 5)
    with session._changed:
        while not session._running:
            session._changed.wait(0.01)
    session.close()
    with pytest.raises(RequestError, match="has been unloaded"):
        running.result(WAIT_S)
    with pytest.raises(RequestError, match="has been unloaded"):
        ask(session, 0)
    assert session.memory_bytes() == 0


def test_two_users_of_equal_models_share_one_and_the_last_one_closes_it(tmp_path: Path) -> None:
    pool, made = SessionPool(), []

    def new(wanted: ModelLoad) -> ProcessSession:
        made.append(ProcessSession(wanted, SessionSupervision(command=WORKER)))
        return made[-1]

    first, second = pool.open(load(tmp_path), new), pool.open(load(tmp_path), new)
    other = pool.open(load(tmp_path, 2), new)
    assert (first is second, other is first, len(made)) == (True, False, 2)
    pool.release(load(tmp_path))
    assert ask(made[0], 0) == 0
    pool.release(load(tmp_path))
    with pytest.raises(RequestError, match="unloaded"):
        ask(made[0], 0)
    pool.release(load(tmp_path, 2))

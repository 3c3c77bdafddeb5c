"""The executors of one run: their ready nodes, and how each gets threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident

from graph_runtime._engine import workers
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.executors import ExecutorPlan

Submit = Callable[[Callable[[], None]], object]


class Pool:
    """An executor of one run: its ready nodes, and how it gets threads."""

    __slots__ = ("active", "heap", "is_coming", "is_inline", "max_threads", "name", "submit")

    def __init__(self, name: str, max_threads: int, *, is_inline: bool, submit: Submit | None) -> None:
        self.name = name
        self.heap: list[int] = []
        self.max_threads = max_threads
        self.is_inline = is_inline
        self.submit = submit
        self.active = 0
        """Worker threads that drain the pool or are inside a detached call of it."""
        self.is_coming = False
        """Whether a thread was asked for and has not arrived yet; it asks for the next one where there is more to do."""


def make_pools(executors: Mapping[str, ExecutorPlan], submits: Mapping[str, Submit]) -> dict[str, Pool]:
    """A pool for each executor of a graph; ``submits`` has the functions that the caller gave, by name."""
    pools = {}
    for name, executor in executors.items():
        submit: Submit | None = workers.submit if executor.has_threads else None
        if name in submits:
            submit = _later(submits[name])
        pools[name] = Pool(name, executor.max_threads, is_inline=executor.is_inline, submit=submit)
    return pools


def refused_work(pool: Pool, error: Exception) -> GraphError:
    """The error for an executor of the caller's that did not take a function."""
    wrapped = GraphError(
        f'executor "{pool.name}", given by the caller, failed to take work: {type(error).__name__}: {error}',
        code=StatusCode.UNAVAILABLE,
    )
    wrapped.__cause__ = error
    return wrapped


def _later(submit: Submit) -> Submit:
    """``submit``, but for a function that would run before it returns: it would wait for the token of the thread that asks."""

    def checked(task: Callable[[], None]) -> None:
        asking = [get_ident()]

        def run() -> None:
            if get_ident() in asking:
                raise RuntimeError("it has to run the function some time later, and return before; it ran it at once")
            task()

        submit(run)
        asking.clear()

    return checked

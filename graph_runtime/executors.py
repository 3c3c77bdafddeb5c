"""The executors that a graph names: which threads run its nodes.

Source: MediaPipe ``framework/calculator_graph.cc`` and ``thread_pool_executor.cc``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig, ExecutorConfig
from graph_runtime._pb.mediapipe.framework.thread_pool_executor_pb2 import ThreadPoolExecutorOptions
from graph_runtime.config import find_options
from graph_runtime.errors import StatusCode
from graph_runtime.near_names import did_you_mean

Report = Callable[..., None]
"""``report(message, code, *path, hint=None)``: note a problem."""

RESERVED: Final = ("default", "gpu")
POOL: Final = "ThreadPoolExecutor"
APPLICATION_THREAD: Final = "ApplicationThreadExecutor"
MAX_DEFAULT_THREADS: Final = 64


@dataclass(frozen=True, slots=True)
class ExecutorPlan:
    """How the nodes of one executor are run.

    Attributes:
        max_threads: so many at once.
        is_inline: one thread drains at a time and calls nodes itself; otherwise every call is made by a thread of the pool.
        has_threads: whether it has threads of its own; without, only waiting threads run nodes.
        given_by_caller: the threads are the caller's (``CalculatorGraph(executors=...)``).
    """

    max_threads: int = MAX_DEFAULT_THREADS
    is_inline: bool = True
    has_threads: bool = True
    given_by_caller: bool = False


def check_executor_names(config: CalculatorGraphConfig, report: Report) -> None:
    """Report names that are reserved or given twice, and executors of nodes that the graph does not declare.

    Args:
        config: the graph.
        report: called for each problem.
    """
    declared: set[str] = set()
    for position, executor in enumerate(config.executor):
        if is_reserved(executor.name):
            _report_reserved(executor.name, report, "executor", position, "name")
        elif executor.name in declared:
            name = f'"{executor.name}"' if executor.name else "the default executor"
            report(f"ExecutorConfig for {name} is duplicate.", StatusCode.INVALID_ARGUMENT, "executor", position)
        declared.add(executor.name)
    for position, node in enumerate(config.node):
        if node.executor and is_reserved(node.executor):
            _report_reserved(node.executor, report, "node", position, "executor")
        elif node.executor and node.executor not in declared:
            report(
                f'The executor "{node.executor}" is not declared in an ExecutorConfig.',
                StatusCode.INVALID_ARGUMENT, "node", position, "executor",
                hint=did_you_mean(node.executor, [name for name in declared if name], "the executors of the graph are"),
            )  # fmt: skip


def check_default_executor(config: CalculatorGraphConfig, report: Report) -> None:
    """Report a default executor that is given twice: by ``num_threads`` and by an ``executor`` without a name."""
    if config.num_threads and not all(executor.name for executor in config.executor):
        report(
            "ExecutorConfig for the default executor and the graph-level num_threads field should not both be specified.",
            StatusCode.INVALID_ARGUMENT,
            "num_threads",
        )


def plan_executors(config: CalculatorGraphConfig, given: frozenset[str], report: Report) -> dict[str, ExecutorPlan]:
    """The graph's executors by name, "" the default one; those that cannot be made are reported.

    Args:
        config: the graph.
        given: names of the executors that the caller brings.
        report: called for each problem.
    """
    plans: dict[str, ExecutorPlan] = {}
    for position, executor in enumerate(config.executor):
        if executor.name not in plans:
            plans[executor.name] = _plan(executor, given, ("executor", position), report)
    if config.num_threads and "" not in plans:
        if config.num_threads < -1:
            report(_too_few(config.num_threads), StatusCode.INVALID_ARGUMENT, "num_threads")
        elif config.num_threads > 0:
            plans[""] = threads(config.num_threads)
    if "" in given:
        plans.setdefault("", ExecutorPlan(is_inline=False, max_threads=os.cpu_count() or 1, given_by_caller=True))
    plans.setdefault("", ExecutorPlan())
    return plans


def threads(count: int) -> ExecutorPlan:
    """A pool of so many threads; a pool of one is drained in place, which is the same but for the thread."""
    return ExecutorPlan(max_threads=count, is_inline=count == 1)


def is_reserved(name: str) -> bool:
    """Whether graphs may not use the name for an executor."""
    return name in RESERVED or name.startswith("__")


def _plan(executor: ExecutorConfig, given: frozenset[str], path: tuple[str, int], report: Report) -> ExecutorPlan:
    name, kind = executor.name, executor.type
    if name in given:
        if kind:
            report(
                f'ExecutorConfig for "{name}" has a "type" field but is also provided to the graph with a '
                "CalculatorGraph::SetExecutor() call.",
                StatusCode.INVALID_ARGUMENT,
                *path,
            )
        return ExecutorPlan(is_inline=False, max_threads=os.cpu_count() or 1, given_by_caller=True)
    options = find_options(executor, ThreadPoolExecutorOptions)
    if not kind and not name:
        count = 0 if options is None else options.num_threads
        if count < -1:
            report(_too_few(count), StatusCode.INVALID_ARGUMENT, *path)
        return threads(count) if count > 0 else ExecutorPlan()
    if not kind:
        report(
            f'ExecutorConfig for "{name}" does not have a "type" field. The executor "{name}" must be provided to the graph '
            "with a CalculatorGraph::SetExecutor() call.",
            StatusCode.INVALID_ARGUMENT,
            *path,
            hint=f'CalculatorGraph(..., executors={{"{name}": submit}}), or type: "{POOL}" in the graph',
        )
    elif kind == POOL:
        if options is None or not options.HasField("num_threads"):
            report("num_threads is not specified in ThreadPoolExecutorOptions.", StatusCode.INVALID_ARGUMENT, *path)
        elif options.num_threads <= 0:
            report(_too_few(options.num_threads), StatusCode.INVALID_ARGUMENT, *path)
        else:
            # Nodes of a named pool never run on the thread that drains the default one.
            return ExecutorPlan(max_threads=options.num_threads, is_inline=options.num_threads == 1 and not name)
    elif kind == APPLICATION_THREAD and not name:
        return ExecutorPlan(max_threads=1, has_threads=False)
    else:
        report(
            f"No registered object with name: {kind.replace('.', '::')}",
            StatusCode.NOT_FOUND,
            *path,
            "type",
            hint=f"executor types are {POOL} and, for the default executor, {APPLICATION_THREAD}",
        )
    return ExecutorPlan()


def _report_reserved(name: str, report: Report, *path: str | int) -> None:
    report(f'"{name}" is a reserved executor name.', StatusCode.INVALID_ARGUMENT, *path)


def _too_few(count: int) -> str:
    return f"The num_threads field in ThreadPoolExecutorOptions should be positive but is {count}"

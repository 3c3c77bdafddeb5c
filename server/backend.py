"""Who runs a graph: the protocol that the routes speak.

The routes know names, events and handles, never Plans or threads, so that a backend on several machines can stand in the
place of ``local_backend``. All data types here are plain and picklable.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from calculators.http_payload import RequestError
from calculators.image_gen.abilities import ImageAbilities
from calculators.statistics import ImageStatistics
from server.discovery import ServableSpec
from server.interface import GraphInterface

if TYPE_CHECKING:
    from server.graph_report import GraphPicture, GraphReport


class Origin(NamedTuple):
    """By which way a request came; the words are the label values of the metrics of OVMS."""

    api: Literal["V3", "KServe"] = "V3"
    method: Literal["Unary", "Stream", "ModelInfer", "ModelInferStream", "ModelMetadata", "ModelReady"] = "Unary"
    interface: Literal["REST", "gRPC"] = "REST"


class Limits(NamedTuple):
    """How much of a servable there is.

    Attributes:
        at_once: requests that it truly works on at the same time: its lanes where it has some, else its runs.
        queue_size: further requests that may wait.
        timeout_s: how long a request may take, waiting included; 0 sets no limit.
    """

    at_once: int = 1
    queue_size: int = 16
    timeout_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Handle:
    """A loaded graph, as the routes hold it; ``key`` differs for each load, so that two versions can live at once."""

    name: str
    key: int
    interface: GraphInterface
    aliases: tuple[str, ...] = ()
    """Further names under which requests may ask for it: those of its LoRA adapters."""
    limits: Limits = field(default_factory=Limits)
    nonblocking: bool = False
    """Whether its runs take microseconds and wait for nothing, so that they can be made at once (``Plan.nonblocking``)."""
    images: ImageAbilities | None = None
    """What can be asked of its (first) image model; None for a graph that has none."""


class RunRequest(NamedTuple):
    """One run: a packet for each named input stream, and side packets beside the servable's own.

    Attributes:
        run_id: the request's id; by it the run can be cancelled.
        inputs: stream name -> value.
        side_packets: side packet name -> value.
        timeout_s: how long its request may take; then it is cancelled, wherever it is. 0 sets no limit.
        age_s: how much of that time had gone by when the backend was asked.
        timestamp: of all its input packets, in microseconds.
        origin: by which way it came.
    """

    run_id: str
    inputs: Mapping[str, Any]
    side_packets: Mapping[str, Any] = {}
    timeout_s: float = 0.0
    age_s: float = 0.0
    timestamp: int = 0
    origin: Origin = Origin()


class Event(NamedTuple):
    """A packet that came out of a run; the timestamp is in microseconds."""

    stream: str
    value: Any
    timestamp: int


class Feed(NamedTuple):
    """Packets for some inputs of a run that goes on, all at one timestamp in microseconds; ``id`` is its sender's name for it."""

    packets: Mapping[str, Any]
    timestamp: int
    id: str = ""


class Refused(NamedTuple):
    """A feed of which the run took nothing, and why; the run goes on.

    ``feed`` is None where it could not even be made, and whoever feeds wants that said among the outputs.
    """

    error: RequestError
    feed: Feed | None = None


class Occupancy(NamedTuple):
    """How many requests a servable works on, and how many wait; one that waits for a model's lane waits."""

    running: int
    waiting: int


class RunProgress(NamedTuple):
    """How far a request is.

    Attributes:
        state: ``arriving`` (its body comes, or its model loads), ``waiting`` or ``running``.
        model: the servable; None while it arrives.
        position: its place among those that wait for the servable, from 1; None for one that does not wait.
        step, steps: steps that its nodes have done, and steps in all; None as long as none has told of any.
    """

    state: Literal["arriving", "waiting", "running"]
    model: str | None = None
    position: int | None = None
    step: int = 0
    steps: int | None = None


class RunCancelledError(Exception):
    """The run was cancelled by somebody other than its caller; the text says why."""


class DeadlineError(RunCancelledError):
    """The run took longer than its ``timeout_s``."""


class StoppedError(RunCancelledError):
    """The backend does not run anything any more: the same request may do well elsewhere, or later."""


class Backend(Protocol):
    """Loads servables and runs their graphs. Everything is called on the event loop."""

    async def load(self, spec: ServableSpec) -> Handle:
        """Make a graph ready to run.

        Raises:
            GraphError: the graph or its resources are at fault; lists every problem.
        """
        ...

    def run(self, handle: Handle, request: RunRequest) -> AsyncGenerator[Event, None]:
        """Run the graph once and give its output packets as they come. Closing the generator cancels the run.

        Raises:
            GraphError: the run failed.
            RunCancelledError: ``cancel`` ended it, or its time was over (DeadlineError), or ``stop`` did (StoppedError).
        """
        ...

    def converse(
        self, handle: Handle, request: RunRequest, feeds: AsyncIterator[Feed | Refused]
    ) -> AsyncGenerator[Event | Refused, None]:
        """Run the graph once, and feed it over time: with the packets of the request, then with ``feeds``, one after the other.

        The end of ``feeds`` closes the graph's inputs; what is in the graph is still worked off. A feed is asked for when the
        graph has room for it, and as long as its outputs are taken: whoever sends too quickly, or reads too slowly, is held up. A
        ``Refused`` among the feeds comes out as it stands. Closing the generator cancels the run.

        Raises:
            GraphError: the run failed.
            RunCancelledError: as ``run``.
            Exception: whatever ``feeds`` raised.
        """
        ...

    def run_now(self, handle: Handle, request: RunRequest) -> list[Event]:
        """Run a graph whose handle is ``nonblocking`` here and now, and give all its output packets.

        Raises:
            GraphError: the run failed.
            StoppedError: nothing is run any more.
        """
        ...

    def cancel(self, run_id: str, reason: str) -> int:
        """Cancel the runs with this id, waiting ones too; returns how many there were."""
        ...

    def progress(self, run_id: str) -> RunProgress | None:
        """How far the run with this id is, the first of several; None if there is none, or it was cancelled."""
        ...

    def occupancy(self, handle: Handle) -> Occupancy:
        """How busy a servable is."""
        ...

    def picture(self, handle: Handle) -> GraphPicture:
        """What a servable's graph is made of, to be drawn."""
        ...

    def report(self, handle: Handle) -> GraphReport:
        """What a servable's graph does now, and what its last runs did."""
        ...

    def statistics(self) -> Mapping[str, Mapping[str, ImageStatistics]]:
        """Servable -> node -> what its models have done since the start of the server, in all versions of the servable."""
        ...

    def trouble(self, handle: Handle) -> str | None:
        """Why a servable that was loaded cannot work at present, for anybody to read; None if it can."""
        ...

    async def unload(self, handle: Handle) -> None:
        """Wait until its runs have ended, then give the graph's resources back; nobody may ask for new runs."""
        ...

    def stop(self, reason: str) -> None:
        """Cancel every run and refuse new ones."""
        ...

    async def close(self) -> list[str]:
        """Stop, and unload everything; returns a line for each thing that did not end in time."""
        ...

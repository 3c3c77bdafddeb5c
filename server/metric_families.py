"""Which families of metrics there are: their names, types, labels and meanings, once.

The reference's come first, under its names and with its labels (OpenVINO Model Server); what it does not have starts with
``graph_runtime_``. ``docs/serving.md`` has this table for people; a test compares the two. Needs the standard library alone.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal, NamedTuple


class Family(NamedTuple):
    """A family of metrics: the same number for everything that its labels tell apart."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


_CALL: Final = ("name", "api", "method", "interface")
_MODEL: Final = ("name", "node")

FAMILIES: Final = MappingProxyType(
    {
        each.name: each
        for each in (
            Family("ovms_current_graphs", "gauge", ("name",), "Graph runs that go on."),
            Family("ovms_requests_accepted", "counter", _CALL, "Requests that were let in: they run, or wait."),
            Family(
                "ovms_requests_rejected", "counter", _CALL,
                "Requests for a graph that did not get so far: too many wait, or their inputs do not fit.",
            ),
            Family("ovms_responses", "counter", _CALL, "Packets that came out of graphs."),
            Family(
                "ovms_graph_error", "counter", _CALL,
                "Runs that failed: a calculator refused the request, or broke.",
            ),
            Family(
                "ovms_requests_success", "counter", _CALL,
                "Questions of KServe clients, ModelMetadata or ModelReady, that got a yes.",
            ),
            Family("ovms_requests_fail", "counter", _CALL, "The same, that got a no."),
            Family(
                "ovms_graph_processing_time_us", "histogram", ("name", "method"),
                "Microseconds from the turn of a request to the end of its run.",
            ),
            Family(
                "graph_runtime_requests_total", "counter", (*_CALL, "outcome"),
                "Requests that were let in and have ended: ok, refused (the client was at fault), failed, cancelled, too_late.",
            ),
            Family("graph_runtime_requests_running", "gauge", ("name",), "Requests that are worked on."),
            Family("graph_runtime_requests_waiting", "gauge", ("name",), "Requests that wait for their turn."),
            Family(
                "graph_runtime_queue_wait_seconds", "histogram", ("name",),
                "How long requests waited for their turn.",
            ),
            Family(
                "graph_runtime_request_seconds", "histogram", ("name",),
                "How long requests took, from when they were let in to their end.",
            ),
            Family(
                "graph_runtime_servable_state", "gauge", ("name", "state"),
                "1 for the state that a servable is in, 0 for the others.",
            ),
            Family(
                "graph_runtime_http_requests_total", "counter", ("method", "route", "status"),
                "HTTP requests, probes and unknown paths (route \"\") too; status 499 for clients that left.",
            ),
            Family("graph_runtime_images_total", "counter", _MODEL, "Pictures."),
            Family(
                "graph_runtime_image_steps_total", "counter", _MODEL,
                "Denoising steps, those of cancelled requests too.",
            ),
            Family(
                "graph_runtime_image_steps_per_second", "histogram", _MODEL,
                "Denoising steps a second, of each finished request.",
            ),
            Family(
                "graph_runtime_image_stage_seconds", "histogram", (*_MODEL, "stage"),
                "Seconds of a finished request in each stage: read (uploads), text_encode, vae_encode, denoise, vae_decode, "
                "write (picture files).",
            ),
            Family(
                "graph_runtime_image_requests_total", "counter", (*_MODEL, "outcome"),
                "Requests that a model has drawn for: done, refused, failed, cancelled on the way.",
            ),
            Family(
                "graph_runtime_image_lanes", "gauge", (*_MODEL, "state"),
                "Copies of a model that are busy, idle, unloaded, broken.",
            ),
            Family(
                "graph_runtime_image_lane_restarts_total", "counter", _MODEL,
                "How often a model was loaded anew, after its process had crashed or a generation had failed in it.",
            ),
            Family(
                "graph_runtime_image_memory_bytes", "gauge", _MODEL,
                "Memory of the processes that hold a model (resident).",
            ),
        )
    }
)  # fmt: skip
"""Name -> family."""

NOT_FOR_GRAPHS: Final = frozenset(
    {
        "ovms_current_requests",
        "ovms_graph_request_latency_us",
        "ovms_infer_req_active",
        "ovms_infer_req_queue_size",
        "ovms_inference_time_us",
        "ovms_request_time_us",
        "ovms_streams",
        "ovms_wait_for_infer_req_time_us",
    }
)
"""Families of the reference that speak of models without a graph, which this server does not have, or that it cannot switch on."""

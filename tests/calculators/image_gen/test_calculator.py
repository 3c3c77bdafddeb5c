"""ImageGenCalculator in a graph: its contract, requests and refusals, cancellation."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calculators import PROGRESS, HttpPayload, Progress, RequestError
from calculators.http_payload import Part
from calculators.image_gen.errors import cancelled_error
from calculators.image_gen.generation import (
    GenerationRequest,
    GenerationResult,
    OnCancel,
    OnPartial,
    OnStep,
    PartialImage,
)
from calculators.image_gen.pipelines import Pipelines
from calculators.image_gen.request_rules import RequestRules, RequestSettings
from calculators.statistics import ImageStatistics
from graph_runtime import CalculatorGraph, GraphError, Packet, Plan, StatusCode

MakeRules = Callable[..., RequestRules]
WAIT_S = 20.0
GENERATIONS = "/v3/images/generations"
LINE = 'input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"'


class FakeLane:
    """Answers at once; a prompt "wait" waits for cancellation. Partial images come from a thread of their own, as in real lanes,
    and ``seen`` is asked after each whether it has arrived.
    """

    trouble: str | None = None

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []
        self.waiting = threading.Event()
        self.seen: Callable[[int], None] = lambda count: None
        self.late: list[Callable[[], None]] = []

    def generate(
        self,
        request: GenerationRequest,
        *,
        on_cancel: OnCancel | None = None,
        on_step: OnStep | None = None,
        on_partial: OnPartial | None = None,
    ) -> GenerationResult:
        self.requests.append(request)
        if request.prompt == "wait":
            assert on_cancel is not None
            cancelled = threading.Event()
            forget = on_cancel(cancelled.set)
            self.waiting.set()
            assert cancelled.wait(WAIT_S)
            forget()
            raise cancelled_error()
        if on_step is not None:
            on_step(request.num_inference_steps, request.num_inference_steps)
        if on_partial is not None and request.partial_images:
            sender = threading.Thread(target=self._send, args=(request, on_partial))
            sender.start()
            sender.join(WAIT_S)
        images = (b"picture",) * request.num_images
        seeds = tuple(range(3, 3 + request.num_images))
        return GenerationResult(images, seeds, request.width, request.height, "png", request.num_inference_steps, 4)

    def _send(self, request: GenerationRequest, on_partial: OnPartial) -> None:
        for picture in range(request.num_images):
            for index in range(request.partial_images):
                on_partial(PartialImage(picture, index, b"early"))
                self.seen(picture * request.partial_images + index + 1)
        self.late.append(lambda: on_partial(PartialImage(0, 9, b"too late")))

    def statistics(self) -> ImageStatistics:
        return ImageStatistics()

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


@pytest.fixture
def lane() -> FakeLane:
    return FakeLane()


@pytest.fixture
def pipes(lane: FakeLane, make_rules: MakeRules) -> dict[str, dict[str, Pipelines]]:
    rules = make_rules()
    return {"pipes": {"ImageGenExecutor": Pipelines(rules.settings, rules.model, lane)}}


@pytest.fixture
def text(shapes: Path) -> str:
    return (shapes / "graph.pbtxt").read_text()


def run(text: str, pipes: dict[str, Any], *payloads: HttpPayload) -> list[Packet]:
    graph = CalculatorGraph(Plan(text))
    found: list[Packet] = []
    graph.observe_output_stream("output", lambda name, packet: found.append(packet))
    graph.start_run(pipes)
    for time, payload in enumerate(payloads):
        graph.add_packet_to_input_stream("input", Packet(payload).at(time))
    graph.close_all_packet_sources()
    graph.wait_until_done()
    return found


def post(uri: str = GENERATIONS, **fields: Any) -> HttpPayload:
    return HttpPayload.json(uri, {"prompt": "a cat", **fields})


def refusal(text: str, pipes: dict[str, Any], payload: HttpPayload) -> RequestError:
    with pytest.raises(GraphError) as caught:
        run(text, pipes, payload)
    error = caught.value
    assert (error.node, error.phase) == ("ImageGenExecutor", "process")
    assert isinstance(error.__cause__, RequestError)
    return error.__cause__


def test_one_json_text_comes_out_for_each_request_at_its_timestamp(
    text: str, pipes: dict[str, Any], lane: FakeLane
) -> None:
    packets = run(text, pipes, post(rng_seed=3), post("/v1/images/generations", size="64x128"))
    assert [packet.timestamp for packet in packets] == [0, 1]
    answers = [json.loads(packet.value) for packet in packets]
    assert answers[0]["data"] == [{"b64_json": "cGljdHVyZQ==", "seed": 3}]
    assert [answer["size"] for answer in answers] == ["512x512", "64x128"]
    assert abs(answers[0]["created"] - answers[1]["created"]) <= 60
    assert [request.rng_seed is None for request in lane.requests] == [False, False]


def test_several_nodes_have_models_of_their_own(shapes: Path, make_rules: MakeRules) -> None:
    node = (shapes / "graph.pbtxt").read_text().partition("node:")[2]
    second = node.replace("ImageGenExecutor", "second").replace(':input"', ':input2"').replace(':output"', ':output2"')
    text = (
        'input_stream: "HTTP_REQUEST_PAYLOAD:input" input_stream: "HTTP_REQUEST_PAYLOAD:1:input2" '
        f'output_stream: "HTTP_RESPONSE_PAYLOAD:output" node: {node} node: {second}'
    )
    rules = make_rules()
    lanes = {name: FakeLane() for name in ("ImageGenExecutor", "second")}
    graph = CalculatorGraph(Plan(text))
    graph.start_run({"pipes": {name: Pipelines(rules.settings, rules.model, lane) for name, lane in lanes.items()}})
    graph.add_packet_to_input_stream("input2", Packet(post()).at(0))
    graph.close_all_packet_sources()
    graph.wait_until_done()
    assert [len(lane.requests) for lane in lanes.values()] == [0, 1]


@pytest.mark.parametrize("uri", ["/v3/v1/images/generations", "/v3/some/model/images/generations?x=/images/edits"])
def test_a_version_or_a_model_may_stand_before_the_address_of_a_call(
    uri: str, text: str, pipes: dict[str, Any], lane: FakeLane
) -> None:
    assert len(run(text, pipes, post(uri))) == 1
    assert len(lane.requests) == 1


@pytest.mark.parametrize(
    "uri", ["/v3/images/variations", "/v3/echo?x=/images/generations", "/v3/ximages/edits", "/", ""]
)
def test_other_uris_are_refused(uri: str, text: str, pipes: dict[str, Any]) -> None:
    error = refusal(text, pipes, post(uri))
    assert (error.status, error.code) == (404, "unknown_url")
    assert error.message.startswith(f"Unsupported URI: {uri}; this model answers {GENERATIONS}")


def test_json_under_another_content_type_is_refused(text: str, pipes: dict[str, Any]) -> None:
    error = refusal(text, pipes, HttpPayload(GENERATIONS, {"Content-Type": "text/plain"}, b'{"prompt": "a cat"}'))
    assert (error.status, error.code) == (415, "unsupported_media_type")


def test_an_edit_takes_its_picture_to_the_lane(
    text: str, pipes: dict[str, Any], lane: FakeLane, make_picture: Callable[..., bytes]
) -> None:
    files = [Part("image", make_picture(64, 128), "a.png"), Part("mask", make_picture(), "m.png")]
    (packet,) = run(text, pipes, HttpPayload.multipart("/v1/images/edits", {"prompt": "a cat"}, files))
    assert json.loads(packet.value)["size"] == "64x128"
    assert (lane.requests[0].image, lane.requests[0].mask) == (files[0].data, files[1].data)


def test_the_steps_are_told_to_the_service_of_whoever_watches_the_run(text: str, pipes: dict[str, Any]) -> None:
    graph = CalculatorGraph(Plan(text))
    graph.set_service(PROGRESS, progress := Progress())
    graph.start_run(pipes)
    graph.add_packet_to_input_stream("input", Packet(post(num_inference_steps=7)).at(0))
    graph.close_all_packet_sources()
    graph.wait_until_done()
    assert progress.steps == (7, 7)


# ---- streams


def test_partial_images_come_out_while_the_lane_still_draws(text: str, pipes: dict[str, Any], lane: FakeLane) -> None:
    arrived = threading.Condition()
    found: list[Packet] = []

    def note(name: str, packet: Packet) -> None:
        with arrived:
            found.append(packet)
            arrived.notify_all()

    def seen(count: int) -> None:
        with arrived:
            assert arrived.wait_for(lambda: len(found) >= count, WAIT_S)

    lane.seen = seen
    graph = CalculatorGraph(Plan(text))
    graph.observe_output_stream("output", note)
    graph.start_run(pipes, deferred=True)
    graph.add_packet_to_input_stream("input", Packet(post(stream=True, partial_images=2, n=2)).at(0))
    graph.close_all_packet_sources()
    graph.wait_until_done()
    assert [packet.timestamp for packet in found] == [0, 1, 2, 3, 4, 5]
    events = [json.loads(packet.value) for packet in found]
    kinds = ["partial_image"] * 4 + ["completed"] * 2
    assert [event["type"] for event in events] == [f"image_generation.{kind}" for kind in kinds]
    order = [(event["image_index"], event.get("partial_image_index")) for event in events]
    assert order == [(0, 0), (0, 1), (1, 0), (1, 1), (0, None), (1, None)]


def test_a_stream_without_partial_images_is_one_event_for_each_picture(text: str, pipes: dict[str, Any]) -> None:
    packets = run(text, pipes, post(stream=True, n=2))
    assert [json.loads(packet.value)["type"] for packet in packets] == ["image_generation.completed"] * 2


def test_requests_after_a_stream_get_the_next_free_timestamps(text: str, pipes: dict[str, Any]) -> None:
    stream = post(stream=True, partial_images=3)
    packets = run(text, pipes, stream, post(), stream, *[post()] * 7)
    assert [packet.timestamp for packet in packets] == [*range(5), *range(5, 9), *range(9, 16)]
    spread = CalculatorGraph(Plan(text))
    found: list[int] = []
    spread.observe_output_stream("output", lambda name, packet: found.append(int(packet.timestamp)))
    spread.start_run(pipes)
    for time in (-5, 100, 101):
        spread.add_packet_to_input_stream("input", Packet(stream).at(time))
    spread.close_all_packet_sources()
    spread.wait_until_done()
    assert found == [-5, -4, -3, -2, 100, 101, 102, 103, 104, 105, 106, 107]


def test_a_partial_image_that_comes_after_the_end_is_dropped(text: str, pipes: dict[str, Any], lane: FakeLane) -> None:
    packets = run(text, pipes, post(stream=True, partial_images=1))
    lane.late[0]()
    assert len(packets) == 2


def test_pictures_are_stored_for_urls_below_the_servers_address(
    text: str, lane: FakeLane, make_rules: MakeRules
) -> None:
    class Store:
        def put(self, image: bytes, output_format: str) -> str:
            return f"{image.decode()}.{output_format}"

    rules = make_rules()
    pipelines = Pipelines(rules.settings, rules.model, lane, requests=RequestSettings(store=Store()))
    asked = dataclasses.replace(post(response_format="url"), base_url="https://host/mounted")
    (packet,) = run(text, {"pipes": {"ImageGenExecutor": pipelines}}, asked)
    assert json.loads(packet.value)["data"][0]["url"] == "https://host/mounted/v1/images/files/picture.png"


def test_a_query_does_not_matter(text: str, pipes: dict[str, Any]) -> None:
    assert len(run(text, pipes, post(GENERATIONS + "?api-version=1"))) == 1


def test_refusals_name_the_field_and_reach_the_caller_as_cause(text: str, pipes: dict[str, Any]) -> None:
    error = refusal(text, pipes, post(seed=7))
    assert (error.status, error.param) == (400, "seed")
    assert refusal(text, pipes, HttpPayload(GENERATIONS, body=b"{")).code == "invalid_json"
    assert refusal(text, pipes, HttpPayload(GENERATIONS, body=b"[]")).message == "JSON body must be an object"


def test_cancelling_the_run_cancels_the_generation(text: str, pipes: dict[str, Any], lane: FakeLane) -> None:
    graph = CalculatorGraph(Plan(text))
    graph.start_run(pipes)
    graph.add_packet_to_input_stream("input", Packet(post(prompt="wait")).at(0))
    graph.close_all_packet_sources()

    def cancel_when_it_draws() -> None:
        assert lane.waiting.wait(WAIT_S)
        graph.cancel()

    canceller = threading.Thread(target=cancel_when_it_draws)
    canceller.start()
    with pytest.raises(GraphError) as caught:
        graph.wait_until_done()
    canceller.join()
    assert caught.value.code is StatusCode.CANCELLED


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", "missing"),
        ('input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipe"', '"IMAGE_GEN_NODE_RESOURCES:pipe"'),
        ('input_side_packet: "IMAGE_GEN_RESOURCES:pipes"', '"IMAGE_GEN_RESOURCES:pipes"'),
        ('input_side_packet: "pipes"', '"pipes"'),
        (LINE + ' input_side_packet: "IMAGE_GEN_NODE_RESOURCES:1:more"', '"IMAGE_GEN_NODE_RESOURCES:more"'),
    ],
)
def test_the_side_packet_line_must_stand_as_it_is(line: str, found: str, text: str) -> None:
    with pytest.raises(ValueError, match="ImageGenExecutor") as caught:
        Plan(text.replace(LINE, line), file="graph.pbtxt")
    message = str(caught.value)
    assert f"exactly this line must stand in the node: {LINE}" in message
    assert found in message


def test_a_side_packet_made_by_hand_must_hold_pipelines(text: str) -> None:
    with pytest.raises(GraphError, match="under the name ImageGenExecutor stands a int; it has to be a Pipelines"):
        run(text, {"pipes": {"ImageGenExecutor": 3}}, post())


def test_an_endless_uri_gets_a_short_answer(text: str, pipes: dict[str, Any]) -> None:
    assert len(refusal(text, pipes, post("/v3/" + "x" * 5000)).message) < 300


@pytest.mark.parametrize(
    "port", ['input_stream: "HTTP_REQUEST_PAYLOAD:input"', 'output_stream: "HTTP_RESPONSE_PAYLOAD:output"']
)
def test_both_streams_are_required(port: str, text: str) -> None:
    head, _, node = text.partition("node:")
    with pytest.raises(ValueError, match="Failed to get tag"):
        Plan(head + "node:" + node.replace(port, ""))


def test_a_node_without_a_model_says_which_there_are(text: str, pipes: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match="Could not find initialized Image Gen node named: other; there are: ImageGen"):
        run(text.replace('"ImageGenExecutor"', '"other"'), pipes, post())

"""The images API as OpenAI's own client sees it: a real server and graph, and a lane that draws at once."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import openai
import pytest
from PIL import Image

from calculators.image_gen.families import FAMILIES
from calculators.image_gen.generation import (
    GenerationRequest,
    GenerationResult,
    OnCancel,
    OnPartial,
    OnStep,
    PartialImage,
)
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import LoadSettings, NodeSettings
from calculators.image_gen.pipelines import Pipelines
from calculators.image_gen.request_rules import RequestSettings
from calculators.image_gen.request_schema import generations_schema, images_schema
from calculators.image_gen.resolution import Resolution
from calculators.statistics import ImageStatistics
from graph_runtime import CalculatorGraph, Plan
from server import local_backend

if TYPE_CHECKING:
    from tests.server.conftest import Client, Models, Serve

GRAPH = Path(__file__).parents[2] / "examples" / "models" / "shapes" / "graph.pbtxt"


class DrawingLane:
    """Draws red; prompts "hold" wait between their partial images until the test says so."""

    trouble: str | None = None

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []
        self.go_on = threading.Semaphore(0)

    def generate(
        self,
        request: GenerationRequest,
        *,
        on_cancel: OnCancel | None = None,
        on_step: OnStep | None = None,
        on_partial: OnPartial | None = None,
    ) -> GenerationResult:
        self.requests.append(request)
        drawn = io.BytesIO()
        Image.new("RGB", (request.width, request.height), "red").save(drawn, request.output_format)
        for picture in range(request.num_images):
            for index in range(request.partial_images):
                assert on_partial is not None
                on_partial(PartialImage(picture, index, drawn.getvalue()))
                if request.prompt == "hold":
                    assert self.go_on.acquire(timeout=20)
        images = (drawn.getvalue(),) * request.num_images
        return GenerationResult(
            images, tuple(range(request.num_images)), request.width, request.height, request.output_format, 5, 7
        )

    def statistics(self) -> ImageStatistics:
        return ImageStatistics()

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


class _Resources:
    def __init__(self, lane: DrawingLane, requests: RequestSettings) -> None:
        family = FAMILIES["StableDiffusionPipeline"]
        kinds = frozenset({"text to image", "image to image", "inpainting"})
        model = ModelInfo(
            "StableDiffusionPipeline", family, "DDIMScheduler", "leading", 1000, Resolution(64, 64), 8, "it is so", 1,
            kinds=kinds,  # type: ignore[arg-type]  # literals in a set are plain strings
        )  # fmt: skip
        settings = NodeSettings(LoadSettings("/m", ("CPU",)), Resolution(512, 512), None, 10, 20, 100)
        pipelines = Pipelines(settings, model, lane, requests=requests)
        self.side_packets = {"pipes": {"ImageGenExecutor": pipelines}}
        self.tensors: dict[str, Any] = {}

    at_once = None

    def graph(self, plan: Plan) -> CalculatorGraph:
        return CalculatorGraph(plan)

    def statistics(self) -> dict[str, ImageStatistics]:
        return {}

    def aliases(self) -> tuple[str, ...]:
        return ()

    def trouble(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch, models: Models) -> DrawingLane:
    made = DrawingLane()
    models.add_text("shapes", GRAPH.read_text())
    monkeypatch.setattr(local_backend, "load_resources", lambda *_, requests, **__: _Resources(made, requests))
    return made


@pytest.fixture
async def server(serve: Serve, lane: DrawingLane, tmp_path: Path) -> Client:
    (tmp_path / "models" / "config.json").write_text('{"graph_runtime": {"quality": {"low": 3}}}')
    return await serve(image_store=tmp_path / "pictures")


@pytest.fixture
async def client(server: Client) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=str(server.make_url("/v1")), api_key="unused", max_retries=0) as made:
        yield made


def opened(b64: str | None) -> Image.Image:
    assert b64 is not None
    return Image.open(io.BytesIO(base64.b64decode(b64)))


def upload(size: tuple[int, int] = (128, 64)) -> tuple[str, bytes, str]:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG")
    return "a.png", file.getvalue(), "image/png"


async def test_a_picture_with_all_that_can_be_asked(client: openai.AsyncOpenAI, lane: DrawingLane) -> None:
    answer = await client.images.generate(
        model="shapes", prompt="a", n=2, size="128x64", quality="low", background="opaque", output_format="jpeg",
        output_compression=50, response_format="b64_json", moderation="low", user="u1",
    )  # fmt: skip
    assert answer.data is not None
    assert [(opened(each.b64_json).format, opened(each.b64_json).size) for each in answer.data] == [
        ("JPEG", (128, 64))
    ] * 2
    assert (answer.size, answer.quality, answer.background, answer.output_format) == ("128x64", "low", "opaque", "jpeg")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.input_tokens_details.text_tokens) == (7, 7)
    assert (answer.usage.output_tokens, answer.usage.total_tokens) == (0, 7)
    assert [getattr(each, "seed", None) for each in answer.data] == [0, 1]
    assert getattr(answer, "safety_identifier", None) == "u1"
    (asked,) = lane.requests
    assert (asked.num_inference_steps, asked.output_compression) == (3, 50)


@pytest.mark.parametrize(
    "more", [{}, {"n": 2, "quality": "low", "background": "opaque", "user": "u1"}, {"response_format": "url"}], ids=str
)
async def test_an_answer_is_as_its_schema_says(server: Client, more: dict[str, Any]) -> None:
    body = {"model": "shapes", "prompt": "a", **more}
    jsonschema.Draft202012Validator(generations_schema()).validate(body)
    async with server.post("/v3/images/generations", json=body) as answer:
        jsonschema.Draft202012Validator(images_schema()).validate(await answer.json())


async def test_what_has_no_effect_is_told_in_a_header(client: openai.AsyncOpenAI) -> None:
    raw = await client.images.with_raw_response.generate(model="shapes", prompt="a", moderation="low", user="u1")
    assert raw.headers["x-ignored-parameters"] == "moderation, user"


async def test_edits_with_a_picture_a_list_and_a_mask(client: openai.AsyncOpenAI, lane: DrawingLane) -> None:
    answer = await client.images.edit(model="shapes", prompt="a", image=upload(), extra_body={"strength": 0.5})
    assert answer.size == "128x64"
    await client.images.edit(model="shapes", prompt="a", image=[upload((64, 64))], mask=upload((64, 64)), n=2)
    first, second = lane.requests
    assert (first.kind, first.strength, first.image) == ("image to image", 0.5, upload()[1])
    assert (second.kind, second.num_images) == ("inpainting", 2)
    with pytest.raises(openai.BadRequestError, match="2 pictures were sent as image") as caught:
        await client.images.edit(model="shapes", prompt="a", image=[upload(), upload()])
    assert caught.value.param == "image"


@pytest.mark.parametrize("edit", [False, True])
async def test_a_stream_shows_pictures_as_they_come(client: openai.AsyncOpenAI, lane: DrawingLane, edit: bool) -> None:
    if edit:
        stream: Any = await client.images.edit(
            model="shapes", prompt="hold", image=upload((64, 64)), stream=True, partial_images=2
        )
    else:
        stream = await client.images.generate(model="shapes", prompt="hold", stream=True, partial_images=2)
    kind = "image_edit" if edit else "image_generation"
    async with stream:
        for index in range(2):
            event = await anext(stream)
            assert (event.type, event.partial_image_index) == (f"{kind}.partial_image", index)
            assert opened(event.b64_json).size == (64, 64)
            assert (event.size, event.quality, event.background, event.output_format) == (
                "64x64",
                "auto",
                "opaque",
                "png",
            )
            lane.go_on.release()  # only now: the event came while the lane was still at work
        event = await anext(stream)
        assert (event.type, event.usage.total_tokens) == (f"{kind}.completed", 7)
        assert opened(event.b64_json).size == (64, 64)
        assert [left async for left in stream] == []


async def test_several_pictures_in_a_stream_keep_their_order(client: openai.AsyncOpenAI) -> None:
    stream = await client.images.generate(model="shapes", prompt="a", n=2, stream=True, partial_images=1)
    events = [(event.type.partition(".")[2], getattr(event, "image_index", None)) async for event in stream]
    assert events == [("partial_image", 0), ("partial_image", 1), ("completed", 0), ("completed", 1)]


async def test_a_stream_that_is_refused_is_an_ordinary_error(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.generate(model="shapes", prompt="a", stream=True, partial_images=4)
    assert caught.value.param == "partial_images"


async def test_an_answer_with_urls_can_be_fetched(client: openai.AsyncOpenAI, server: Client) -> None:
    answer = await client.images.generate(model="shapes", prompt="a", response_format="url", output_format="webp")
    assert answer.data is not None
    assert answer.data[0].b64_json is None
    url = answer.data[0].url
    assert url is not None
    assert url.startswith(str(server.make_url("/v1/images/files/")))
    async with server.session.get(url) as response:
        assert response.content_type == "image/webp"
        assert Image.open(io.BytesIO(await response.read())).format == "WEBP"


async def test_bodies_of_the_wrong_kind_say_where_they_belong(server: Client) -> None:
    response = await server.post("/v1/images/edits", json={"model": "shapes", "prompt": "a"})
    assert response.status == 400
    assert (await response.json())["error"]["message"].startswith("Failed to parse multipart data: send edits as")

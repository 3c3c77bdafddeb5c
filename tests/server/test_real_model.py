"""The whole way, with the model that comes with the project: one served process, real clients."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

pytestmark = pytest.mark.model

RED_ON_BLUE = "a red circle on a blue background"
STEADY = {
    "num_inference_steps": 10,
    "guidance_scale": 3.5,
    "rng_seed": 7,
}  # a picture that is judged is the same each time

# The seed's document, verbatim.
SEED_GRAPH = """\
input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"

node: {
  name: "ImageGenExecutor"
  calculator: "ImageGenCalculator"
  input_stream: "HTTP_REQUEST_PAYLOAD:input"
  input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"
  output_stream: "HTTP_RESPONSE_PAYLOAD:output"
  node_options: {
      [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: {
          models_path: "./"
          device: "CPU"
      }
  }
}
"""

# After the signal: the server's process must never have had OpenVINO in it.
PROGRAM = """
import sys
from server.cli import main
code = main(["serve", "--rest_port", "0", "--shutdown_grace_s", "0.5", "--models", sys.argv[1]])
loaded = [name for name in sys.modules if name.partition(".")[0] in ("openvino", "openvino_genai", "openvino_tokenizers")]
assert not loaded, loaded
sys.exit(code)
"""


class Server:
    def __init__(self, models: Path, log: Path) -> None:
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(models)], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[3]
        self.ready = self.process.stdout.readline().strip()
        self.curl = self.process.stdout.readline().strip()

    def lanes(self) -> list[int]:
        """The ids of its child processes."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]

    def client(self, version: str = "v3", **settings: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/{version}", api_key="unused", **settings)


def _models(folder: Path, *names: str) -> Path:
    """A model folder that has the shapes model under these names, with the graph of the seed."""
    from server.discovery import bundled_models_dir

    models = folder / "models"
    for name in names:
        (models / name).mkdir(parents=True)
        for part in (bundled_models_dir() / "shapes").iterdir():
            if part.name != "graph.pbtxt":
                (models / name / part.name).symlink_to(part)
        (models / name / "graph.pbtxt").write_text(SEED_GRAPH)
    return models


def test_a_model_without_a_graph_draws_and_is_left_as_it_is(tmp_path: Path) -> None:
    models = _models(tmp_path, "bare")
    for graph_file in (models / "bare").glob("*.pbtxt"):
        graph_file.unlink()
    before = sorted(models.rglob("*"))
    running = Server(models, tmp_path / "log")
    try:
        assert running.ready == "Ready. Try:"
        picture = running.client().images.generate(model="bare", prompt=RED_ON_BLUE, extra_body=STEADY)
        assert picture.data is not None
        assert _is_red_on_blue(picture.data[0].b64_json)
    finally:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
        assert running.process.stdout is not None
        running.process.stdout.close()
    assert sorted(models.rglob("*")) == before


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves the shapes model under two names, one of them nested, beside a broken graph."""
    folder = tmp_path_factory.mktemp("served")
    models = _models(folder, "shapes", "OpenVINO/shapes-int8-ov")
    (models / "broken").mkdir()
    (models / "broken" / "graph.pbtxt").write_text(SEED_GRAPH)  # without a model beside it
    running = Server(models, folder / "log")
    yield running
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(60)
    assert running.process.stdout is not None
    running.process.stdout.close()


def test_metrics_tell_the_pictures_the_steps_and_where_the_time_went(server: Server) -> None:
    def read() -> dict[str, float]:
        with urllib.request.urlopen(f"{server.url}/metrics") as answer:
            lines = [line for line in answer.read().decode().splitlines() if 'name="shapes"' in line]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def grown(family: str, more: str = "") -> float:
        sample = f'graph_runtime_image{family}{{name="shapes",node="ImageGenExecutor"{more}}}'
        return after[sample] - before.get(sample, 0.0)

    before = read()
    server.client().images.generate(model="shapes", prompt=RED_ON_BLUE, n=2, extra_body={"num_inference_steps": 4})
    after = read()
    assert (grown("s_total"), grown("_steps_total"), grown("_steps_per_second_count")) == (2, 4, 1)
    assert grown("_requests_total", ',outcome="done"') == 1
    for stage in ("text_encode", "denoise", "vae_decode", "write"):
        assert grown("_stage_seconds_count", f',stage="{stage}"') == 1
    assert grown("_stage_seconds_sum", ',stage="denoise"') > 0
    assert after['graph_runtime_image_memory_bytes{name="shapes",node="ImageGenExecutor"}'] > 50 * 2**20


def _is_red_on_blue(b64: str | None) -> bool:
    assert b64 is not None
    file = Image.open(BytesIO(base64.b64decode(b64)))
    assert (file.format, file.size) == ("PNG", (64, 64))
    image = file.convert("RGB")
    red, green, blue = image.resize((1, 1), box=(28, 28, 36, 36)).getpixel((0, 0))  # type: ignore[misc]  # RGB has three
    corners = [image.getpixel(at) for at in ((2, 2), (61, 2), (2, 61), (61, 61))]
    return red > 150 > max(green, blue) and all(b > 150 > max(r, g) for r, g, b in corners)  # type: ignore[misc]  # as above


def test_the_curl_line_of_the_start_works_as_it_stands(server: Server) -> None:
    assert server.ready == f"Not ready: broken failed to load; {server.url}/v2/health/ready says why. Try:"
    assert server.curl.startswith(f"curl {server.url}/v3/images/generations")
    done = subprocess.run(["sh", "-c", f"{server.curl} -sS"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    # The line names no seed, so that what is drawn is a matter of luck: only other tests judge pictures.
    with Image.open(BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))) as picture:
        assert (picture.format, picture.size) == ("PNG", (64, 64))
    assert abs(answer["created"] - time.time()) < 60


def test_a_raw_body_with_a_seed_gives_the_same_picture_from_both_models(server: Server) -> None:
    pictures = []
    for model, path in (("shapes", "v3"), ("OpenVINO/shapes-int8-ov", "v1")):
        body = json.dumps({"model": model, "prompt": RED_ON_BLUE, **STEADY})
        request = urllib.request.Request(
            f"{server.url}/{path}/images/generations", body.encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            pictures.append(json.load(response)["data"][0]["b64_json"])
    assert pictures[0] == pictures[1]
    assert _is_red_on_blue(pictures[0])


def test_a_model_tells_what_can_be_asked_of_it_and_keeps_to_it(server: Server) -> None:
    with server.client() as client:
        told = client.models.retrieve("OpenVINO/shapes-int8-ov").model_extra
        assert told is not None
        details = told["graph_runtime"]
        assert details == {
            "state": "AVAILABLE",
            "graph": "graphs/OpenVINO/shapes-int8-ov",
            "makes_images": True,
            "tasks": ["text_to_image", "image_to_image", "inpainting"],
            "default_size": "64x64",
            "sizes": None,
            "max_size": "4096x4096",
            "size_multiple": 8,
            "min_side": 32,
            "default_steps": 50,
            "max_steps": 100,
            "max_n": 10,
            "adapters": [],
        }
        for field, value in (("n", 11), ("num_inference_steps", 101), ("size", "4104x64"), ("size", "68x64")):
            with pytest.raises(openai.BadRequestError):
                client.images.generate(model="shapes", prompt=RED_ON_BLUE, extra_body={field: value})


def test_whoever_has_the_id_of_a_request_sees_its_steps_and_ends_it(server: Server) -> None:
    def progress() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"{server.url}/v3/requests/long-one") as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def draw() -> None:
        with server.client(max_retries=0) as client, pytest.raises(openai.APIStatusError, match="cancelled") as caught:
            client.images.generate(
                model="shapes",
                prompt=RED_ON_BLUE,
                n=10,
                size="256x256",
                extra_body={"num_inference_steps": 100},
                extra_headers={"x-request-id": "long-one"},
            )
        assert caught.value.status_code == 499

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(draw)
        seen: list[int] = []
        while not asked.done() and (not seen or seen[-1] < 2):
            status, told = progress()
            if status == 200 and told["state"] == "running":
                seen.append(told["step"])
                assert told["steps"] in (None, 100)
        assert seen == sorted(seen)
        cancel = urllib.request.Request(f"{server.url}/v3/requests/long-one/cancel", method="POST")
        with urllib.request.urlopen(cancel) as answer:
            assert answer.status == 200
        asked.result()
    assert progress()[0] == 404


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_the_openai_client_gets_pictures_and_the_list_of_models(server: Server, version: str) -> None:
    with server.client(version) as client:
        answer = client.images.generate(model="shapes", prompt=RED_ON_BLUE, n=2, size="64x64", extra_body=STEADY)
        assert answer.data is not None
        assert [_is_red_on_blue(each.b64_json) for each in answer.data] == [True, True]
        assert answer.size == "64x64"
        states = {model.id: getattr(model, "state", None) for model in client.models.list()}
        assert states == {"OpenVINO/shapes-int8-ov": "AVAILABLE", "broken": "FAILED", "shapes": "AVAILABLE"}
        assert client.models.retrieve("OpenVINO/shapes-int8-ov").id == "OpenVINO/shapes-int8-ov"


def test_the_openai_client_understands_refusals(server: Server) -> None:
    with server.client(max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as bad:
            client.images.generate(model="shapes", prompt="x", n=11)
        assert (bad.value.param, bad.value.request_id is not None) == ("n", True)
        with pytest.raises(openai.NotFoundError) as unknown:
            client.images.generate(model="shapse", prompt="x")
        assert unknown.value.code == "model_not_found"
    with server.client() as client, pytest.raises(openai.InternalServerError) as failed:  # 503, and not tried again
        client.images.generate(model="broken", prompt="x")
    assert failed.value.code == "model_load_failed"
    assert "model_index.json is missing" in failed.value.message
    assert str(server.log.parent) not in failed.value.message
    assert server.log.read_text().count("model=broken") == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": "x", "n": "2"}, "n"),
        ({"prompt": "x", "n": 11}, "n"),
        ({"prompt": "x", "n": 0}, "n"),
        ({"prompt": "x", "size": "4104x64"}, "size"),
        ({"prompt": "x", "size": "65x64"}, "size"),
        ({"prompt": "x", "size": "big"}, "size"),
        ({"prompt": "x", "num_inference_steps": 0}, "num_inference_steps"),
        ({"prompt": "x", "num_inference_steps": 101}, "num_inference_steps"),
        ({"prompt": "x", "colour": "red"}, "colour"),
    ],
)
def test_a_bad_request_is_a_400_that_names_the_parameter(server: Server, fields: dict[str, Any], param: str) -> None:
    with server.client(max_retries=0) as client, pytest.raises(openai.BadRequestError) as caught:
        client.post("/images/generations", body={"model": "shapes", **fields}, cast_to=object)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def _colours(picture: bytes) -> dict[str, tuple[int, ...]]:
    image = Image.open(BytesIO(picture)).convert("RGB")
    places = {"middle": (32, 32), "above": (32, 24), "below": (32, 40), "corner": (2, 2)}
    return {name: image.getpixel(at) for name, at in places.items()}  # type: ignore[misc]  # RGB has three


def _bytes(b64: str | None) -> bytes:
    assert b64 is not None
    return base64.b64decode(b64)


def _top_half() -> bytes:
    """A mask by OpenAI's rule: the upper half is transparent, and is drawn anew."""
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 64, 32))
    file = BytesIO()
    mask.save(file, "PNG")
    return file.getvalue()


def test_the_openai_client_edits_a_picture_and_a_part_of_it(server: Server) -> None:
    with server.client() as client:
        circle = _bytes(_draw(client))
        edited = client.images.edit(
            model="shapes", prompt="a green circle on a blue background", image=circle,
            extra_body={"strength": 0.7, "rng_seed": 3},
        )  # fmt: skip
        inpainted = client.images.edit(
            model="shapes", prompt="a green circle on a blue background", image=("c.png", circle), mask=_top_half(),
            extra_body={"rng_seed": 3},
        )  # fmt: skip
    assert edited.data is not None
    assert inpainted.data is not None
    red, green, blue = _colours(_bytes(edited.data[0].b64_json))["middle"]
    assert green > 100 > max(red, blue)
    half = (0, 32, 64, 64)
    before, after = (
        Image.open(BytesIO(picture)).convert("RGB") for picture in (circle, _bytes(inpainted.data[0].b64_json))
    )
    assert before.crop(half).tobytes() == after.crop(half).tobytes()
    assert before.tobytes() != after.tobytes()


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_pictures_come_in_the_format_that_was_asked_for(server: Server, output_format: Any) -> None:
    with server.client() as client:
        answer = client.images.generate(
            model="shapes", prompt=RED_ON_BLUE, output_format=output_format, extra_body=STEADY
        )
    assert answer.data is not None
    assert answer.output_format == output_format
    assert Image.open(BytesIO(_bytes(answer.data[0].b64_json))).format == output_format.upper()


async def test_the_asynchronous_client_streams(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        stream = await client.images.generate(
            model="shapes", prompt=RED_ON_BLUE, stream=True, partial_images=3, extra_body=STEADY
        )
        events = [event async for event in stream]
    kinds = [event.type for event in events]
    assert kinds == ["image_generation.partial_image"] * (len(events) - 1) + ["image_generation.completed"]
    assert 2 <= len(events) <= 4  # slow ones are left out, but not all of them
    assert [getattr(event, "partial_image_index", None) for event in events[:-1]] == list(range(len(events) - 1))
    assert _is_red_on_blue(events[-1].b64_json)


def test_several_clients_at_once_all_get_their_own_picture(server: Server) -> None:
    wanted = {"a red circle on a blue background": 0, "a blue circle on a red background": 2}

    def colour(prompt: str) -> int:
        with server.client() as client:
            answer = client.images.generate(model="shapes", prompt=prompt, extra_body=STEADY)
        assert answer.data is not None
        assert answer.data[0].b64_json is not None
        image = Image.open(BytesIO(base64.b64decode(answer.data[0].b64_json))).convert("RGB")
        middle: tuple[int, ...] = image.getpixel((32, 32))  # type: ignore[assignment]  # RGB has three
        return middle.index(max(middle))

    prompts = list(wanted) * 4
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(colour, prompts)) == [wanted[prompt] for prompt in prompts]


def test_the_same_seed_gives_the_same_bytes_alone_among_others_and_after_one_that_left(server: Server) -> None:
    with server.client(max_retries=0) as client:
        alone = _draw(client)
        lanes = server.lanes()
        with ThreadPoolExecutor(8) as pool:
            others = pool.map(lambda seed: _draw(client, rng_seed=seed), range(100, 104))
            same = [pool.submit(_draw, client) for _ in range(4)]
            assert [each.result() for each in same] == [alone] * 4
            assert alone not in list(others)
        _begin_a_long_one(client).close()
        assert _draw(client) == alone
    assert server.lanes() == lanes


def test_a_lane_that_dies_costs_one_clear_error_and_comes_back(server: Server) -> None:
    with server.client(max_retries=0) as client:
        before = _draw(client)
        dying = _begin_a_long_one(client)
        lanes = server.lanes()
        assert len(lanes) == 2
        for lane in lanes:
            os.kill(lane, signal.SIGKILL)
        with pytest.raises(openai.APIError, match="was ended by SIGKILL while it worked on this request") as caught:
            list(dying)
        assert caught.value.code == "engine_crashed"
        assert _draw(client) == before


def test_no_lane_outlives_a_server_that_is_killed_while_it_draws(tmp_path: Path) -> None:
    killed = Server(_models(tmp_path, "shapes"), tmp_path / "log")
    with killed.client(max_retries=0) as client, _begin_a_long_one(client):
        lanes = killed.lanes()
        assert len(lanes) == 1
        killed.process.kill()
        killed.process.wait(60)
        deadline = time.monotonic() + 2
        while any(Path(f"/proc/{lane}").exists() for lane in lanes):
            assert time.monotonic() < deadline
    assert killed.process.stdout is not None
    killed.process.stdout.close()


def _begin_a_long_one(client: openai.OpenAI) -> openai.Stream[Any]:
    """A request that has been drawn a quarter of, and has some seconds to go."""
    stream = client.images.generate(
        model="shapes", prompt="x", n=4, size="160x160", stream=True, partial_images=3,
        extra_body={"num_inference_steps": 100},
    )  # fmt: skip
    assert next(stream).type == "image_generation.partial_image"
    return stream


def _draw(client: openai.OpenAI, **fields: Any) -> str | None:
    answer = client.images.generate(model="shapes", prompt=RED_ON_BLUE, extra_body={**STEADY, **fields})
    assert answer.data is not None
    return answer.data[0].b64_json


def _page(server: Server) -> str:
    with urllib.request.urlopen(f"{server.url}/", timeout=30) as response:
        return str(response.read(), "utf-8")


def test_at_the_end_a_running_generation_is_cancelled_and_no_process_is_left(server: Server) -> None:
    with ThreadPoolExecutor(1) as pool, server.client(max_retries=0) as client:
        asked = pool.submit(
            client.images.generate,
            model="shapes",
            prompt="x",
            n=10,
            size="512x512",
            extra_body={"num_inference_steps": 100},
        )
        while "1 running" not in _page(server):
            assert not asked.done()
        lanes = server.lanes()
        logged = len(server.log.read_text())  # a test before may have killed a lane, which is logged with its traceback
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.InternalServerError) as cancelled:
            asked.result(60)
        assert cancelled.value.code == "shutting_down"
        assert server.process.wait(60) == 0, server.log.read_text()
    assert lanes
    assert not any(Path(f"/proc/{lane}").exists() for lane in lanes)
    assert "Traceback" not in server.log.read_text()[logged:]

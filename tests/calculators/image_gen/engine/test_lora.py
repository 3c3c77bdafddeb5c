"""LoRA adapters with the real engine. The adapter that comes with the project draws everything green on black."""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calculators.http_payload import RequestError
from calculators.image_gen.adapters import Adapter
from calculators.image_gen.options import LoadSettings
from calculators.load_error import LoadError
from calculators.resources import load_resources
from graph_runtime.config import read_graph
from tests.calculators.image_gen.engine.drawings import draw, is_red_circle_on_blue, load_with, pixels, request

pytest.importorskip("openvino_genai")
pytestmark = pytest.mark.model


def load(shapes: Path, *adapters: Adapter, devices: tuple[str, ...] = ("CPU",)) -> Any:
    return load_with(LoadSettings(str(shapes), devices, adapters=adapters))


def is_green_on_black(image: bytes) -> bool:
    picture = pixels(image)
    middle, corner = picture[28:36, 28:36].reshape(-1, 3).mean(axis=0), picture[:6, :6]
    return bool(middle[1] > 150 and middle[1] > middle[0] + 80 and corner.mean() < 60)


@pytest.fixture(scope="module")
def halved(phosphor: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter with half its effect."""
    content = bytearray(phosphor.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    for name, tensor in header.items():
        if name.endswith("lora_up.weight"):
            assert tensor["dtype"] == "F16"
            start, end = (8 + length + offset for offset in tensor["data_offsets"])
            content[start:end] = (np.frombuffer(content[start:end], np.float16) / np.float16(2)).tobytes()
    path = tmp_path_factory.mktemp("lora") / "halved.safetensors"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def engine(shapes: Path, phosphor: Path, halved: Path) -> Any:
    return load(shapes, Adapter("phosphor", str(phosphor)), Adapter("halved", str(halved)))


def test_requests_choose_their_adapters_one_after_the_other(engine: Any) -> None:
    plain = draw(engine).images
    assert is_red_circle_on_blue(plain[0])
    with_it = draw(engine, request(adapters=(("phosphor", 1.0),))).images
    assert is_green_on_black(with_it[0])
    assert draw(engine).images == plain
    assert draw(engine, request(adapters=(("phosphor", 1.0),))).images == with_it


def test_a_picture_does_not_depend_on_the_adapters_of_those_before(shapes: Path, phosphor: Path, halved: Path) -> None:
    def fresh() -> Any:
        return load(shapes, Adapter("phosphor", str(phosphor)), Adapter("halved", str(halved)))

    choices: list[tuple[tuple[str, float], ...]] = [
        (), (("phosphor", 1.0),), (("halved", 1.0),), (("phosphor", 1.0), ("halved", 1.0)),
        (("phosphor", 0.8), ("halved", 1.0)), (("phosphor", 0.3),),
    ]  # fmt: skip
    asked = [request(adapters=choice, num_inference_steps=4) for choice in choices]
    expected = [draw(fresh(), each).images for each in asked]
    assert len(set(expected)) == len(choices)
    engine = fresh()
    for first, second in itertools.product(range(len(choices)), repeat=2):
        for number in (first, second):
            assert draw(engine, asked[number]).images == expected[number], (choices[first], choices[number])


def test_weights_are_taken_as_they_are_and_add_up(engine: Any) -> None:
    def drawn(*adapters: tuple[str, float]) -> np.ndarray[Any, Any]:
        return pixels(draw(engine, request(adapters=adapters, num_inference_steps=6)).images[0])

    half = drawn(("phosphor", 0.5))
    assert np.abs(half - drawn(("halved", 1.0))).max() <= 8
    assert np.abs(drawn(("phosphor", 0.5), ("halved", 1.0)) - drawn(("phosphor", 1.0))).max() <= 8
    assert np.abs(drawn(("phosphor", 1.0), ("halved", -2.0)) - drawn()).max() <= 8
    assert np.abs(half - drawn()).max() > 50
    assert np.abs(drawn(("phosphor", 1.7)) - drawn(("phosphor", 1.0))).max() > 20


def test_edits_are_drawn_with_adapters_too(engine: Any) -> None:
    circle = draw(engine).images[0]
    edited = draw(engine, request(image=circle, strength=0.9, adapters=(("phosphor", 1.0),)))
    assert is_green_on_black(edited.images[0])
    into_all = draw(engine, request(image=circle, mask=WHITE, strength=1.0, adapters=(("phosphor", 1.0),)))
    assert is_green_on_black(into_all.images[0])
    assert is_red_circle_on_blue(draw(engine, request(image=circle, strength=0.3)).images[0])


def test_an_adapter_that_is_not_there_is_refused(engine: Any) -> None:
    with pytest.raises(RequestError, match='there is no LoRA adapter "x"; there are: phosphor, halved') as caught:
        draw(engine, request(adapters=(("x", 1.0),)))
    assert (caught.value.status, caught.value.param) == (400, "model")


@pytest.mark.parametrize("mode", ["STATIC", "FUSE"])
def test_an_adapter_that_is_compiled_in(mode: Any, shapes: Path, phosphor: Path) -> None:
    engine = load(shapes, Adapter("phosphor", str(phosphor), 1.0, mode))
    image = draw(engine).images[0]
    assert is_green_on_black(image)
    circle = draw(engine, request(image=image, strength=0.5)).images[0]
    assert is_green_on_black(circle)


def test_the_weight_of_a_compiled_in_adapter_is_its_own(shapes: Path, phosphor: Path, halved: Path) -> None:
    images = [
        draw(load(shapes, Adapter("a", str(path), weight, "STATIC")), request(num_inference_steps=6)).images[0]
        for path, weight in ((phosphor, 0.5), (halved, 1.0), (phosphor, 1.0))
    ]
    half, other_half, whole = map(pixels, images)
    assert np.abs(half - other_half).max() <= 8
    assert np.abs(half - whole).max() > 50


def test_a_fused_adapter_stays_in_beside_dynamic_ones(shapes: Path, phosphor: Path, halved: Path) -> None:
    engine = load(
        shapes, Adapter("base", str(halved), 2.0, "FUSE"), Adapter("more", str(phosphor)), devices=("CPU", "CPU", "CPU")
    )
    assert is_green_on_black(draw(engine).images[0])
    taken_away = draw(engine, request(adapters=(("more", -1.0),)))
    assert is_red_circle_on_blue(taken_away.images[0])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.safetensors", None, "cannot be read: No such file"),
        ("text.safetensors", b"hello, this is no adapter", "cannot be used: it is no safetensors file"),
        ("peft.safetensors", None, "cannot be used: none of its 60 layers is one of this model's"),
    ],
)
def test_adapters_that_cannot_work_are_refused_by_name_and_path(
    name: str, content: bytes | None, reason: str, shapes: Path, phosphor: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    if name == "peft.safetensors":
        path.write_bytes(with_prefix(phosphor, "peft_style."))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(LoadError, match=f'LoRA adapter "green" .*{name}.*{reason}') as caught:
        load(shapes, Adapter("green", str(path)))
    assert caught.value.field == "lora_adapters"


def test_an_adapter_for_wider_layers_is_refused(shapes: Path, phosphor: Path, tmp_path: Path) -> None:
    content = phosphor.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    for name, tensor in header.items():
        if name.endswith("lora_down.weight"):
            rank, width = tensor["shape"]
            tensor["shape"] = [rank * 2, width // 2]
    text = json.dumps(header).encode()
    path = tmp_path / "wide.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(
        LoadError, match='"wide" .* its layer .* leads from 48 channels to 96, this model\'s from 96 to'
    ):
        load(shapes, Adapter("wide", str(path)))


def with_prefix(path: Path, prefix: str) -> bytes:
    """An adapter's file with other names."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    text = json.dumps({prefix + name: tensor for name, tensor in header.items()}).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def _white() -> bytes:
    from calculators.image_gen.images import encode_image

    return encode_image(np.full((8, 8, 3), 255, np.uint8))


WHITE = _white()


def test_the_example_graph_serves_its_adapter(shapes: Path) -> None:
    with load_resources(read_graph(shapes / "lora.pbtxt"), shapes, lane="thread") as resources:
        assert resources.aliases() == ("phosphor",)
        pipelines = resources.side_packets["pipes"]["ImageGenExecutor"]
        asked = request(adapters=(("phosphor", 1.0),))
        assert is_green_on_black(pipelines.generate(asked).images[0])

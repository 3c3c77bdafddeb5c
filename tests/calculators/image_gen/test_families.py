"""Every family that OpenVINO GenAI runs, as a tiny model of random weights: loaded, asked for all it can draw, refused the rest.

The models are made by tests/models/families.py. They show nothing, but each prompt, number and upload changes their pictures, so
that what gets lost on the way is noticed.
"""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

from calculators import HttpPayload, RequestError, Resources, load_resources
from calculators.image_gen.generation import Cancellation, GenerationRequest, GenerationResult, Kind
from calculators.image_gen.images import encode_image
from calculators.image_gen.model_folder import read_model_folder
from calculators.image_gen.pipelines import Pipelines
from calculators.image_gen.resolution import Resolution
from calculators.image_gen.schedule import steps_to_run
from graph_runtime import CalculatorGraph, GraphError, Packet, Plan

pytest.importorskip("openvino_genai")
from tests.models.families import TINY, make

pytestmark = pytest.mark.model

GRAPH: Final = """
input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"
node {
  name: "node"
  calculator: "ImageGenCalculator"
  input_stream: "HTTP_REQUEST_PAYLOAD:input"
  input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"
  output_stream: "HTTP_RESPONSE_PAYLOAD:output"
  node_options: {
    [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: {
      models_path: "./" plugin_config: '{"INFERENCE_NUM_THREADS": 1}'
    }
  }
}
"""
ALL: Final[frozenset[Kind]] = frozenset({"text to image", "image to image", "inpainting"})
WITHOUT_MASKS: Final[frozenset[Kind]] = frozenset({"text to image", "image to image"})
MASKS: Final[frozenset[Kind]] = frozenset({"inpainting"})
PROMPTS: Final = ("prompt", "prompt_2", "prompt_3")
NEGATIVE: Final = ("negative_prompt", "negative_prompt_2", "negative_prompt_3")
LARGE: Final = Resolution(1024, 1024)
SMALL: Final = Resolution(64, 64)


@dataclass(frozen=True)
class Expected:
    """What a model has to be able to do.

    Attributes:
        kinds: what it draws from.
        prompts, negative_prompts: how many of each it reads.
        default_size: what it draws when nobody asks for a size.
        long_texts: whether it has a text encoder whose length can be chosen.
        steps: recommended; None where the usual 50 are right.
        guidance: whether ``guidance_scale`` changes its pictures; "with a negative prompt" if then only.
        strength: whether ``strength`` may be given with a picture.
        notes: of its loading.
    """

    kinds: frozenset[Kind] = ALL
    prompts: int = 1
    negative_prompts: int = 1
    default_size: Resolution = SMALL
    long_texts: bool = False
    steps: int | None = None
    guidance: bool | str = True
    strength: bool = True
    notes: list[str] = field(default_factory=list)


FLUX: Final = Expected(prompts=2, negative_prompts=0, default_size=LARGE, long_texts=True)
KLEIN: Final = Expected(kinds=WITHOUT_MASKS, negative_prompts=0, default_size=LARGE, long_texts=True, strength=False)
EXPECTED: Final[Mapping[str, Expected]] = MappingProxyType(
    {
        "sd": Expected(),
        "sd_unchecked": Expected(),
        "sd_inpaint": Expected(kinds=MASKS),
        "lcm": Expected(negative_prompts=0, steps=4),
        "sdxl": Expected(prompts=2, negative_prompts=2),
        "sdxl_inpaint": Expected(kinds=MASKS, prompts=2, negative_prompts=2),
        "sd3": Expected(prompts=3, negative_prompts=3, long_texts=True, steps=28),
        "sd3_without_t5": Expected(prompts=3, negative_prompts=3, steps=28),
        "sd3_inpaint": Expected(prompts=3, negative_prompts=3, long_texts=True, steps=28),
        "flux_dev": replace(FLUX, steps=28),
        "flux_schnell": replace(FLUX, steps=4, guidance=False),
        "flux_inpaint": replace(FLUX, steps=28),
        "flux_fill": replace(FLUX, kinds=MASKS, strength=False),
        "flux2_klein": replace(KLEIN, steps=4, guidance=False),
        "flux2_klein_base": KLEIN,
        "z_image": Expected(
            kinds=WITHOUT_MASKS,
            default_size=LARGE,
            long_texts=True,
            notes=[
                "text to image: cannot be made of image to image, and is loaded by itself: "
                "Cannot convert specified Image2ImagePipeline to Text2ImagePipeline"
            ],
        ),
        "qwen_image": Expected(
            kinds=WITHOUT_MASKS, default_size=LARGE, long_texts=True, guidance="with a negative prompt"
        ),
    }
)


class Model:
    """A loaded model, and what is expected of it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.expected = EXPECTED[name]
        self._plan = Plan(GRAPH)
        self.resources: Resources = load_resources(self._plan.config, folder, lane="thread")
        self.pipelines: Pipelines = self.resources.side_packets["pipes"]["node"]

    def post(self, **fields: Any) -> list[bytes]:
        """Run the graph with a request for generations: its pictures."""
        values = {"prompt": "a red circle", "size": "64x64", "num_inference_steps": 2, "rng_seed": 7, **fields}
        graph = CalculatorGraph(self._plan)
        texts: list[str] = []
        graph.observe_output_stream("output", lambda name, packet: texts.append(packet.value))
        graph.start_run(self.resources.side_packets)
        payload = HttpPayload.json("/v3/images/generations", values)
        graph.add_packet_to_input_stream("input", Packet(payload).at(0))
        graph.close_all_packet_sources()
        graph.wait_until_done()
        return [base64.b64decode(each["b64_json"]) for each in json.loads(texts[0])["data"]]

    def refusal(self, **fields: Any) -> RequestError:
        """The reason why a request for generations is refused."""
        with pytest.raises(GraphError) as caught:
            self.post(**fields)
        assert isinstance(caught.value.__cause__, RequestError)
        return caught.value.__cause__

    def draw(self, kind: Kind, on_cancel: Any = None, on_step: Any = None, **changes: Any) -> GenerationResult:
        """Ask the node's pipelines for pictures of a kind."""
        uploads = {"image to image": {"image": PICTURE}, "inpainting": {"image": PICTURE, "mask": MASK}}.get(kind, {})
        values: dict[str, Any] = {
            "prompt": "a red circle", "width": 64, "height": 64, "num_images": 1, "num_inference_steps": 4, "rng_seed": 7
        }  # fmt: skip
        request = GenerationRequest(**{**values, **uploads, **changes})
        return self.pipelines.generate(request, on_cancel=on_cancel, on_step=on_step)

    @property
    def kinds(self) -> list[Kind]:
        return sorted(self.expected.kinds)


def picture(seed: int, width: int = 64, height: int = 64) -> bytes:
    """An upload: a few coloured blocks."""
    blocks = np.random.default_rng(seed).integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
    return encode_image(blocks.repeat(16, 0).repeat(16, 1))


PICTURE: Final = picture(1)
OTHER_PICTURE: Final = picture(2)
MASK: Final = encode_image(np.array([[[0] * 3] * 32 + [[255] * 3] * 32], np.uint8).repeat(64, 0))
"""Its right half is drawn anew."""


def pixels(image: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(image)))


VARIANTS: Final = frozenset({"sd_unchecked", "sd3_inpaint", "flux_inpaint"})
"""Differ from others in a name or a folder alone: these are loaded and draw, and that is enough."""


@pytest.fixture(scope="module", params=list(TINY))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    made = Model(request.param, make(request.param, tmp_path_factory.mktemp("family") / request.param))
    with made.resources:
        yield made


in_full = pytest.mark.parametrize(
    "model", [name for name in TINY if name not in VARIANTS], indirect=True, scope="module"
)
text_to_image = pytest.mark.parametrize(
    "model",
    [name for name in TINY if "text to image" in EXPECTED[name].kinds and name not in VARIANTS],
    indirect=True,
    scope="module",
)


# ---- what it is


def test_nothing_is_left_out() -> None:
    assert set(EXPECTED) == set(TINY)


def test_its_folder_says_what_it_can_do(model: Model) -> None:
    expected, info = model.expected, model.pipelines.model
    assert info.kinds == expected.kinds
    assert info.family.prompts == expected.prompts
    assert info.negative_prompts == expected.negative_prompts
    assert (info.size_multiple, info.min_side) == (16, 32)
    assert info.default_size == expected.default_size
    assert info.recommended_steps == expected.steps


def test_all_kinds_were_loaded(model: Model) -> None:
    about = model.resources.describe()["node"]["lane"]["loaded"]
    assert about["kinds"] == model.kinds
    reason = [model.pipelines.model.kinds_reason] if model.expected.kinds != ALL else []
    assert about["notes"] == reason + model.expected.notes


# ---- text to image, through a graph


@text_to_image
def test_pictures_have_the_size_and_number_that_were_asked_for(model: Model) -> None:
    images = model.post(n=2, size="80x48")
    assert [pixels(image).shape for image in images] == [(48, 80, 3)] * 2
    assert images[0] != images[1]
    assert pixels(images[0]).std() > 10


@text_to_image
def test_a_seed_gives_the_same_bytes_alone_and_among_others(model: Model) -> None:
    both = model.post(n=2)
    assert model.post(n=2) == both
    assert model.post(rng_seed=8) == both[1:]
    assert model.post(rng_seed=9) != both[:1]


@text_to_image
def test_every_prompt_that_it_reads_counts_and_others_are_refused(model: Model) -> None:
    for names, count in ((PROMPTS, model.expected.prompts), (NEGATIVE, model.expected.negative_prompts)):
        for name in names[:count]:
            if name == "prompt_3" and not model.expected.long_texts:
                continue  # read by the text encoder that this model lacks
            if name == "negative_prompt_3" and not model.expected.long_texts:
                continue
            fields = {"guidance_scale": 4, name: "blue square"}
            assert model.post(**fields) != model.post(**{**fields, name: "green heart"}), name
        for name in names[count:]:
            refusal = model.refusal(**{name: "x"})
            assert (refusal.status, refusal.param, refusal.code) == (400, name, "unsupported_parameter")


@text_to_image
def test_guidance(model: Model) -> None:
    with_and_without = [model.post(guidance_scale=scale) for scale in (0, 1, 4)]
    negative = {"negative_prompt": "x"} if model.expected.negative_prompts else {}
    guided = [model.post(guidance_scale=scale, **negative) for scale in (4, 8)]
    assert (with_and_without[0] != with_and_without[2]) == (model.expected.guidance is True)
    assert (guided[0] != guided[1]) == (model.expected.guidance is not False)


@text_to_image
def test_the_length_of_texts(model: Model) -> None:
    long_prompt = "red circle " * 30
    short = model.post(prompt=long_prompt, max_sequence_length=40)
    assert (short != model.post(prompt=long_prompt)) == model.expected.long_texts
    if model.expected.long_texts:
        assert model.refusal(max_sequence_length=2048).param == "max_sequence_length"
    assert model.refusal(max_sequence_length=0).param == "max_sequence_length"


@text_to_image
def test_sizes_that_do_not_fit_are_refused_before_the_native_code(model: Model) -> None:
    for size in ("72x64", "64x72", "60x60", "16x16", "65x64"):
        refusal = model.refusal(size=size)
        assert (refusal.status, refusal.param) == (400, "size")
        assert "multiples of 16" in refusal.message or "too small" in refusal.message


@text_to_image
def test_the_smallest_and_uneven_sizes_are_drawn(model: Model) -> None:
    before = model.post()
    for width, height in ((32, 32), (32, 144), (144, 48)):
        (image,) = model.post(size=f"{width}x{height}")
        assert pixels(image).shape == (height, width, 3)
    assert model.post() == before


# ---- all kinds


def test_what_it_cannot_draw_from_is_refused(model: Model) -> None:
    for kind in sorted(ALL - model.expected.kinds):
        with pytest.raises(RequestError, match=f"{kind} is not possible with this model; possible: ") as caught:
            model.draw(kind)
        assert caught.value.status == 412


def test_pictures_of_every_kind(model: Model) -> None:
    for kind in model.kinds:
        first = model.draw(kind, num_images=2, width=96)
        assert [pixels(image).shape for image in first.images] == [(64, 96, 3)] * 2
        assert first.images[0] != first.images[1]
        assert model.draw(kind, num_images=2, width=96).images == first.images
        assert model.draw(kind, width=96, rng_seed=8).images == first.images[1:]


@in_full
def test_what_is_uploaded_counts(model: Model) -> None:
    for kind in sorted(model.expected.kinds - {"text to image"}):
        assert model.draw(kind).images != model.draw(kind, image=OTHER_PICTURE).images


@in_full
def test_only_what_a_mask_frees_is_changed(model: Model) -> None:
    if "inpainting" in model.expected.kinds:
        found = pixels(model.draw("inpainting").images[0])
        assert np.array_equal(found[:, :32], pixels(PICTURE)[:, :32])
        assert not np.array_equal(found[:, 32:], pixels(PICTURE)[:, 32:])


@in_full
def test_strength_is_used_or_refused(model: Model) -> None:
    for kind in sorted(model.expected.kinds - {"text to image"}):
        if model.expected.strength:
            weak, strong = (model.draw(kind, num_inference_steps=10, strength=strength) for strength in (0.2, 0.9))
            assert weak.images != strong.images
        else:
            with pytest.raises(RequestError, match="strength is not used by") as caught:
                model.draw(kind, strength=0.5)
            assert caught.value.param == "strength"
            model.draw(kind, strength=1.0)


@in_full
def test_cancelling_stops_it_and_leaves_no_trace(model: Model) -> None:
    for kind in model.kinds:
        before = model.draw(kind).images
        cancellation = Cancellation()
        with pytest.raises(RequestError) as caught:
            model.draw(
                kind,
                num_inference_steps=100,
                on_cancel=cancellation.on_cancel,
                on_step=lambda done, total, stop=cancellation.cancel: stop(),
            )
        assert caught.value.code == "request_cancelled"
        assert model.draw(kind).images == before


# ---- what its folder must have

EditJson = Callable[..., None]


@pytest.mark.parametrize(
    ("name", "file", "changes", "report"),
    [
        ("sd3", "scheduler/scheduler_config.json", {"use_dynamic_shifting": True}, "only with use_dynamic_shifting: false"),
        ("flux_dev", "scheduler/scheduler_config.json", {"_class_name": "DDIMScheduler"}, "for FLUX, OpenVINO GenAI runs Flow"),
        ("flux2_klein", "vae_decoder/config.json", {"bn_running_var_data": ...}, "bn_running_var_data is missing"),
        ("qwen_image", "vae_decoder/config.json", {"temperal_downsample": ...}, "temperal_downsample is missing"),
        ("z_image", "tokenizer/tokenizer_config.json", {"chat_template": ...}, "chat_template is missing"),
        ("sd", "model_index.json", {"_class_name": "StableDiffusionImg2ImgPipeline"}, "with these: Stable.*Flux"),
        ("sd3", "model_index.json", {"text_encoder_2": [None, None]}, '"text_encoder_2" must be .* CLIPTextModelWithProjection'),
    ],
)  # fmt: skip
def test_folders_that_would_fail(
    name: str,
    file: str,
    changes: dict[str, Any],
    report: str,
    edit_json: EditJson,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = make(name, tmp_path_factory.mktemp("family") / name)
    edit_json(folder / file, **changes)
    reports: list[str] = []
    assert read_model_folder(folder, reports.append) is None
    assert len(reports) == 1
    assert re.search(report, reports[0])


@pytest.mark.parametrize("file", ["chat_template.jinja", "chat_template.json"])
def test_a_chat_template_may_have_a_file_of_its_own(
    file: str, edit_json: EditJson, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = make("z_image", tmp_path_factory.mktemp("family") / "z_image")
    edit_json(folder / "tokenizer" / "tokenizer_config.json", chat_template=...)
    (folder / "tokenizer" / file).write_text("{{ messages[0]['content'] }}")
    assert read_model_folder(folder, print) is not None


def test_a_size_in_the_configuration_counts_where_genai_reads_it(
    edit_json: EditJson, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = {}
    for name in ("qwen_image", "z_image", "flux_dev", "sd3"):
        folder = make(name, tmp_path_factory.mktemp("family") / name)
        edit_json(folder / "transformer" / "config.json", sample_size=32)
        model = read_model_folder(folder, print)
        assert model is not None
        found[name] = str(model.default_size)
    assert found == {"qwen_image": "256x256", "z_image": "1024x1024", "flux_dev": "1024x1024", "sd3": "256x256"}


# ---- what OpenVINO GenAI itself does: these tell when a release makes a precaution needless


def test_genai_still_crashes_with_a_pipeline_that_was_made_of_another_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = make("flux_schnell", tmp_path_factory.mktemp("family") / "flux")
    program = """
import sys
import openvino_genai as genai
pipeline = genai.Text2ImagePipeline(genai.InpaintingPipeline(sys.argv[1], "CPU"))
pipeline.generate("a", width=64, height=64, num_inference_steps=1)
"""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGSEGV


def test_genai_still_keeps_the_length_and_number_of_the_first_texts_of_a_t5(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    genai = pytest.importorskip("openvino_genai")
    folder = make("sd3", tmp_path_factory.mktemp("family") / "sd3")
    pipeline = genai.Text2ImagePipeline(folder, "CPU")
    arguments = {"width": 64, "height": 64, "num_inference_steps": 1}
    pipeline.generate("a", **arguments)
    with pytest.raises(RuntimeError, match="max_sequence_length 256 must be equal to infer's max_sequence_length 40"):
        pipeline.generate("a", max_sequence_length=40, **arguments)
    with pytest.raises(RuntimeError, match="Dimension 0 must be the same"):
        pipeline.generate("a", guidance_scale=1.0, **arguments)


@pytest.mark.parametrize("name", ["flux_schnell", "sd3", "qwen_image"])
def test_genai_runs_the_steps_that_we_count_with(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    genai = pytest.importorskip("openvino_genai")
    openvino = pytest.importorskip("openvino")
    folder = make(name, tmp_path_factory.mktemp("family") / name)
    model = read_model_folder(folder, print)
    assert model is not None
    pipeline = genai.Image2ImagePipeline(folder, "CPU")
    image = openvino.Tensor(pixels(PICTURE)[np.newaxis].copy())
    for steps, strength in ((1, 1.0), (1, 0.3), (4, 0.6), (5, 0.8), (7, 0.7), (10, 0.05), (20, 0.99)):
        pipeline.generate("a", image, width=64, height=64, num_inference_steps=steps, strength=strength)
        run = pipeline.get_performance_metrics().raw_metrics.iteration_durations
        assert len(run) == steps_to_run(model, steps, strength)

"""What OpenVINO GenAI itself does: these tests tell when a new release makes a precaution needless, or another one needed.

Each runs a few lines in a process of its own, since much of it ends the process. The precaution itself is tested where it is taken.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from calculators.image_gen.families import FAMILIES, LOADED_FOR_INPAINTING
from tests.calculators.image_gen.engine.drawings import EditJson

pytest.importorskip("openvino_genai")
pytestmark = pytest.mark.model

LCM = {"_class_name": "LCMScheduler", "original_inference_steps": 50}
PREPARED = """
import sys
import numpy as np
import openvino as ov
import openvino_genai as genai

folder, adapter = sys.argv[1:3]
SIZE = dict(width=64, height=64)

def load(kind=genai.Text2ImagePipeline, **options):
    return kind(folder, "CPU", **options)

def draw(pipeline, *uploads, steps=2, **options):
    options = {**SIZE, "rng_seed": 7, "guidance_scale": 3.5, **options}
    return pipeline.generate("a red circle", *uploads, num_inference_steps=steps, **options).data.copy()

def fails(text, action, *arguments, **options):
    try:
        action(*arguments, **options)
    except Exception as error:
        assert text in str(error), error
    else:
        raise AssertionError("it works now")

WHITE = ov.Tensor(np.full((1, 64, 64, 3), 255, np.uint8))
"""


def run(code: str, folder: Path, adapter: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PREPARED + code, str(folder), str(adapter)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def holds(code: str, folder: Path, adapter: Path | None = None) -> None:
    """The lines run without an error."""
    result = run(code, folder, adapter)
    assert result.returncode == 0, result.stderr[-2000:]


def dies(code: str, folder: Path, *signals: signal.Signals) -> None:
    """The lines end their process."""
    result = run(code, folder)
    assert -result.returncode in signals, (result.returncode, result.stderr[-2000:])


# ---- seeds and results


def test_all_pictures_of_a_batch_share_one_seed(shapes: Path) -> None:
    holds(
        """
p = load()
batch = draw(p, rng_seed=5, num_images_per_prompt=2)
alone = [draw(p, rng_seed=seed) for seed in (5, 6)]
assert np.array_equal(batch[0], alone[0][0]) and not np.array_equal(batch[1], alone[1][0])
""",
        shapes,
    )


def test_without_a_seed_everyone_gets_the_same_picture(shapes: Path) -> None:
    holds(
        """
p = load()
one, two = (p.generate("a", num_inference_steps=2, **SIZE).data.copy() for _ in range(2))
assert np.array_equal(one, two) and np.array_equal(one, p.generate("a", num_inference_steps=2, rng_seed=42, **SIZE).data)
""",
        shapes,
    )


def test_the_next_call_overwrites_the_last_result(shapes: Path) -> None:
    holds(
        """
p = load()
first = p.generate("a", num_inference_steps=2, rng_seed=1, **SIZE)
before = first.data.copy()
draw(p, rng_seed=2)
assert not np.array_equal(first.data, before)
""",
        shapes,
    )


def test_a_first_picture_that_is_tiny_spoils_all_later_ones(shapes: Path) -> None:
    holds(
        """
usual = draw(load(), steps=10)
p = load()
draw(p, width=16, height=16, steps=1)
assert not np.array_equal(draw(p, steps=10), usual)  # on some CPUs it is all of one colour, on others it is another one
p = load()
draw(p, steps=1)
draw(p, width=16, height=16, steps=1)
assert np.array_equal(draw(p, steps=10), usual)
""",
        shapes,
    )


# ---- arguments


@pytest.mark.parametrize("class_name", ["EulerDiscreteScheduler", "DDIMScheduler"])
def test_no_steps_end_the_process(class_name: str, copy_of_shapes: Path, edit_json: EditJson) -> None:
    changes = {"_class_name": class_name, "timestep_spacing": "leading"}
    edit_json(copy_of_shapes / "scheduler" / "scheduler_config.json", **changes)
    dies("draw(load(), steps=0)", copy_of_shapes, signal.SIGSEGV, signal.SIGFPE)


def test_a_distilled_schedule_with_velocities_ends_the_process(copy_of_shapes: Path, edit_json: EditJson) -> None:
    edit_json(copy_of_shapes / "scheduler" / "scheduler_config.json", **LCM, prediction_type="v_prediction")
    dies("draw(load())", copy_of_shapes, signal.SIGSEGV)


def test_a_distilled_schedule_of_which_no_step_is_left_ends_the_process(
    copy_of_shapes: Path, edit_json: EditJson
) -> None:
    edit_json(copy_of_shapes / "scheduler" / "scheduler_config.json", **LCM, prediction_type="epsilon")
    dies("draw(load(genai.Image2ImagePipeline), WHITE, steps=100, strength=0.01)", copy_of_shapes, signal.SIGSEGV)


def test_a_callback_that_raises_ends_the_process(shapes: Path) -> None:
    dies(
        """
def callback(step, steps, latent):
    raise ValueError("no")
draw(load(), steps=20, callback=callback)
""",
        shapes,
        signal.SIGABRT,
    )


def test_arguments_that_fail_or_are_misunderstood(shapes: Path) -> None:
    holds(
        """
p = load()
fails("must be divisible by 8", draw, p, width=63)
fails("must be divisible by 8", draw, p, width=60)
fails("ignores negative prompt", draw, p, guidance_scale=1.0, negative_prompt="b")
fails("must be 1.0f for Text 2 image", draw, p, strength=0.5)
assert draw(p, width=-64).shape == (1, 64, 64, 3)
assert draw(p, no_such_argument=1).shape == (1, 64, 64, 3)
try:
    assert 0 in draw(p, width=0).shape  # or an error, depending on what was drawn before
except RuntimeError:
    pass
""",
        shapes,
    )


def test_a_failed_generation_spoils_the_next_one(shapes: Path) -> None:
    holds(
        """
p = load()
draw(p)
try:
    draw(p, num_images_per_prompt=0)
except RuntimeError:
    pass
fails("", draw, p)
""",
        shapes,
    )


@pytest.mark.parametrize("steps", [9, 22])
def test_trailing_spacing_runs_one_step_too_many(steps: int, copy_of_shapes: Path, edit_json: EditJson) -> None:
    edit_json(copy_of_shapes / "scheduler" / "scheduler_config.json", timestep_spacing="trailing")
    holds(
        f"""
seen = []
draw(load(), steps={steps}, callback=lambda step, steps, latent: seen.append(steps))
assert seen[0] == {steps} + 1, seen
""",
        copy_of_shapes,
    )


# ---- steps and cancellation


def test_a_cancelled_generation_gives_a_tensor_without_sides(shapes: Path) -> None:
    holds(
        """
result = load().generate("a", num_inference_steps=50, callback=lambda step, steps, latent: True, **SIZE)
assert list(result.shape) == []
""",
        shapes,
    )


def test_slow_callbacks_lose_steps(shapes: Path) -> None:
    holds(
        """
import time
seen = []
def callback(step, steps, latent):
    seen.append(step)
    time.sleep(0.5)
draw(load(), steps=6, callback=callback)
assert len(seen) < 6, seen
""",
        shapes,
    )


def test_two_generations_at_a_time_fail(shapes: Path) -> None:
    holds(
        """
from concurrent.futures import ThreadPoolExecutor
p = load(genai.InpaintingPipeline)
others = [genai.Image2ImagePipeline(p), genai.Text2ImagePipeline(p)]
with ThreadPoolExecutor(2) as threads:
    jobs = [threads.submit(draw, others[1], steps=200) for _ in range(2)]
errors = [str(job.exception()) for job in jobs]
assert any("busy" in error for error in errors), errors
assert not hasattr(p, "clone") and not hasattr(others[1], "clone")
""",
        shapes,
    )


# ---- pictures and masks


def test_what_edits_can_be_made_of(shapes: Path) -> None:
    holds(
        """
inpainting = load(genai.InpaintingPipeline)
edit = genai.Image2ImagePipeline(inpainting)
text = genai.Text2ImagePipeline(inpainting)
for kind, source in ((genai.Image2ImagePipeline, text), (genai.InpaintingPipeline, text)):
    fails("", kind, source)
fails("is less then 1", draw, edit, WHITE, steps=10, strength=0.05)
for wrong in (np.zeros((64, 64, 3), np.uint8), np.zeros((1, 64, 64, 4), np.uint8), np.zeros((2, 64, 64, 3), np.uint8)):
    fails("", draw, load(genai.Image2ImagePipeline), ov.Tensor(wrong), strength=0.5)
assert abs(edit.get_generation_config().strength - 0.8) < 1e-6
""",
        shapes,
    )


def test_what_a_mask_leaves_drifts_and_masks_take_one_picture_at_a_time(shapes: Path) -> None:
    holds(
        """
p = load(genai.InpaintingPipeline)
given = draw(genai.Text2ImagePipeline(p), steps=10)
black = np.zeros((1, 64, 64, 3), np.uint8)
black[:, :, 32:] = 255
drawn = draw(p, ov.Tensor(given), ov.Tensor(black), steps=10)
assert not np.array_equal(drawn[:, :, :24], given[:, :, :24])
fails("must match", draw, p, ov.Tensor(given), ov.Tensor(black), num_images_per_prompt=2)
""",
        shapes,
    )


def test_a_compiled_shape_takes_nothing_else(shapes: Path) -> None:
    holds(
        """
p = genai.Text2ImagePipeline(folder)
p.reshape(1, 64, 64, 3.5)
p.compile("CPU")
draw(p)
for options in ({"width": 128}, {"num_images_per_prompt": 2}, {"guidance_scale": 1.0}):
    fails("are incompatible", draw, p, **options)
""",
        shapes,
    )


# ---- LoRA


def test_adapters_that_were_not_given_at_load_fail(shapes: Path, phosphor: Path) -> None:
    holds(
        'fails("was not configured to use adapters", draw, load(), adapters=genai.AdapterConfig(genai.Adapter(adapter), 1.0))',
        shapes,
        phosphor,
    )


def test_an_adapter_taken_away_and_put_back_gives_black_pictures_on_some_cpus(shapes: Path, phosphor: Path) -> None:
    holds(
        """
a = genai.Adapter(adapter)
p = load(adapters=genai.AdapterConfig(a, 1.0))
on, off = genai.AdapterConfig(a, 1.0), genai.AdapterConfig()
before = draw(p, adapters=on)
draw(p, adapters=off)
after = draw(p, adapters=on)
assert before.std() > 0.1 and (after.std() == 0 or np.array_equal(after, before))
""",
        shapes,
        phosphor,
    )


def test_only_the_last_weight_is_looked_at(shapes: Path, phosphor: Path) -> None:
    holds(
        """
a, b = genai.Adapter(adapter), genai.Adapter(adapter)
p = load(adapters=genai.AdapterConfig([(a, 1.0), (b, 1.0)]))
pictures = [draw(p, adapters=genai.AdapterConfig([(a, weight), (b, 0.0)])) for weight in (1.0, 0.0)]
assert np.array_equal(*pictures)
""",
        shapes,
        phosphor,
    )


def test_an_adapter_of_no_layer_has_no_effect_and_one_that_is_cut_off_loads(
    shapes: Path, phosphor: Path, tmp_path: Path
) -> None:
    content = phosphor.read_bytes()
    other = tmp_path / "other.safetensors"
    other.write_bytes(content.replace(b"lora_unet_", b"lora_abcd_"))
    holds(
        """
a = genai.Adapter(adapter)
p = load(adapters=genai.AdapterConfig(a, 1.0))
assert np.abs(draw(p, adapters=genai.AdapterConfig(a, 1.0)).astype(int) - draw(load())).max() < 20
""",
        shapes,
        other,
    )
    other.write_bytes(content[: len(content) // 2])
    holds("genai.Adapter(adapter)", shapes, other)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_classes_that_genai_accepts(name: str, tmp_path: Path) -> None:
    """It refuses a class before it looks for anything else in the folder."""
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    kinds = {
        "Text2ImagePipeline": "text to image" in FAMILIES[name].kinds and name not in LOADED_FOR_INPAINTING,
        "Image2ImagePipeline": "image to image" in FAMILIES[name].kinds and name not in LOADED_FOR_INPAINTING,
        "InpaintingPipeline": "inpainting" in FAMILIES[name].kinds,
    }
    genai = pytest.importorskip("openvino_genai")
    for kind, is_accepted in kinds.items():
        with pytest.raises(RuntimeError) as caught:
            getattr(genai, kind)(tmp_path, "CPU")
        assert ("nsupported" not in str(caught.value)) is is_accepted, kind

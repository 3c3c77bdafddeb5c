"""Files of LoRA adapters: broken ones, those of other models, and names of every school."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from calculators.image_gen.families import FAMILIES
from calculators.image_gen.lora_file import adapter_without_effect, check_lora_file, read_lora_layers

SD = FAMILIES["StableDiffusionPipeline"]
TO_K = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k"


def tensor(start: int, end: int, shape: tuple[int, ...], dtype: str = "F16") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def write(path: Path, header: Any, data: bytes = bytes(64)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def lora(
    path: Path, *layers: str, suffixes: tuple[str, ...] = ("lora_A.weight", "lora_B.weight"), width: int = 96
) -> Path:
    """A file with two matrices for each layer, of rank 1."""
    header = {
        f"{layer}.{suffix}": tensor(0, 2 * width, shape)
        for layer in layers
        for suffix, shape in zip(suffixes, ((1, width), (width, 1)), strict=True)
    }
    return write(path, {"__metadata__": {"rank": "1"}, **header}, bytes(2 * width))


def test_the_adapter_that_comes_with_the_project_fits(phosphor: Path, shapes: Path) -> None:
    layers = read_lora_layers(phosphor)
    assert len(layers) == 60
    assert "lora_unet_" + TO_K.replace(".", "_") in layers
    assert check_lora_file(phosphor, shapes, SD) is None


@pytest.mark.parametrize(
    ("layer", "suffixes", "fits"),
    [
        ("lora_unet_" + TO_K.replace(".", "_"), ("lora_down.weight", "lora_up.weight"), True),
        (TO_K, ("lora_A.weight", "lora_B.weight"), True),
        (TO_K, ("lora.down.weight", "lora.up.weight"), True),
        ("lora_unet." + TO_K, ("lora_A.weight", "lora_B.weight"), True),
        ("lora_te_encoder_layers_0_self_attn_q_proj", ("lora_down.weight", "lora_up.weight"), True),
        ("unet." + TO_K, ("lora_A.weight", "lora_B.weight"), False),
        ("base_model.model." + TO_K, ("lora_A.weight", "lora_B.weight"), False),
        ("lora_te_" + TO_K.replace(".", "_"), ("lora_down.weight", "lora_up.weight"), False),
        ("lora_te2_encoder_layers_0_self_attn_q_proj", ("lora_down.weight", "lora_up.weight"), False),
        ("lora_unet_down_blocks_9_attentions_0_attn1_to_k", ("lora_down.weight", "lora_up.weight"), False),
    ],
)
def test_names_of_every_school(layer: str, suffixes: tuple[str, ...], fits: bool, shapes: Path, tmp_path: Path) -> None:
    """Each of them tried with OpenVINO GenAI 2026.4.1: those that do not fit have no effect there."""
    path = lora(tmp_path / "a.safetensors", layer, suffixes=suffixes, width=128 if "lora_te_e" in layer else 96)
    if fits:
        assert check_lora_file(path, shapes, SD) is None
    else:
        with pytest.raises(ValueError, match=f"none of its 1 layers is one of this model's.*{re.escape(layer)}"):
            check_lora_file(path, shapes, SD)


def test_an_adapter_that_fits_in_part(shapes: Path, tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", TO_K, "mid_block.nothing", "conv_nowhere")
    assert check_lora_file(path, shapes, SD) == "2 of its 3 layers are not in this model"


@pytest.mark.parametrize("layer", [TO_K, "lora_te_encoder_layers_0_self_attn_q_proj"])
def test_an_adapter_for_wider_layers(layer: str, shapes: Path, tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", layer, width=112)
    with pytest.raises(ValueError, match=f"its layer {layer} leads from 112 channels to 112, this model's from"):
        check_lora_file(path, shapes, SD)


def test_names_for_transformers_are_left_to_genai(shapes: Path, tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", "diffusion_model.double_blocks.0.img_attn.qkv")
    assert check_lora_file(path, shapes, FAMILIES["FluxPipeline"]) is None


WELL: dict[str, Any] = {"x.lora_A.weight": tensor(0, 8, (2, 2)), "x.lora_B.weight": tensor(8, 16, (2, 2))}
Change = Callable[[Mapping[str, Any]], Any]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"{{", "its header is not JSON"),
        (b"[" * 100_000, "its header is not JSON"),
        (b"[]", "its header is no JSON object"),
        ({}, "it holds no LoRA tensors"),
        ({"conv.weight": tensor(0, 8, (2, 2))}, "it holds no LoRA tensors"),
        ({"x.lora_A.weight": WELL["x.lora_A.weight"]}, "of the layer x it holds one of the two matrices only"),
        ({"x.alpha": tensor(0, 2, ())}, "it holds no LoRA tensors"),
        (
            {**WELL, "y.lora_A.weight": tensor(0, 4, (2,)), "y.lora_B.weight": tensor(0, 8, (2, 2))},
            "of the layer y is no matrix",
        ),
        ({**WELL, "y": 3}, "does not describe the tensor y"),
        ({**WELL, "y": {"dtype": "F16", "shape": [2]}}, "does not describe the tensor y"),
        ({**WELL, "y": tensor(8, 0, (2, 2))}, "does not describe the tensor y"),
        ({**WELL, "y": tensor(0, 8, (-2, -2))}, "does not describe the tensor y"),
        ({**WELL, "y": tensor(0, 8, (2, 2), "I64")}, "the tensor y is of type I64"),
        ({**WELL, "y": tensor(0, 8, (2, 3))}, "the tensor y has 8 bytes, and its shape needs 12"),
        ({**WELL, "y": tensor(64, 72, (2, 2))}, "it is cut off: the tensor y ends at byte 72 of 64"),
    ],
)
def test_headers_that_are_wrong(header: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        read_lora_layers(write(tmp_path / "a.safetensors", header))


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\3\4", b"hello, this is no safetensors file", struct.pack("<Q", 2**63), struct.pack("<Q", 10) + b"{}"],
)
def test_files_that_are_no_safetensors(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="it is no safetensors file"):
        read_lora_layers(path)


@pytest.mark.parametrize("shape", [(8, 96), (8, 96, 1, 1)])
@pytest.mark.parametrize("dtype", ["F16", "F32"])
def test_an_adapter_without_effect(shape: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    size = 8 * 96 * (2 if dtype == "F16" else 4)
    up = (48, 8, *shape[2:])
    header = {
        "x.lora_A.weight": tensor(0, size, shape, dtype),
        "x.lora_B.weight": tensor(0, size // 2, up, dtype),
        "x.alpha": tensor(0, size // 8 // 96, (), dtype),
    }
    content = adapter_without_effect(write(tmp_path / "a.safetensors", header, bytes(size)))
    path = tmp_path / "blank.safetensors"
    path.write_bytes(content)
    assert read_lora_layers(path) == {"x"}
    (length,) = struct.unpack("<Q", content[:8])
    made = json.loads(content[8 : 8 + length])
    assert [made[name]["shape"] for name in ("x.lora_A.weight", "x.lora_B.weight")] == [
        [1, *shape[1:]],
        [48, 1, *shape[2:]],
    ]
    assert not any(content[8 + length :])


@pytest.mark.parametrize("part", [0.1, 0.5, 0.999])
def test_a_download_that_was_cut_off(part: float, phosphor: Path, tmp_path: Path) -> None:
    content = phosphor.read_bytes()
    path = tmp_path / "a.safetensors"
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ValueError, match="cut off|not JSON"):
        read_lora_layers(path)


def test_numbers_instead_of_types_and_texts_instead_of_numbers(tmp_path: Path) -> None:
    for wrong in (
        {"dtype": 3},
        {"shape": "22"},
        {"shape": [2, "2"]},
        {"data_offsets": [0]},
        {"data_offsets": ["0", "8"]},
    ):
        header = {**WELL, "y": {**WELL["x.lora_A.weight"], **wrong}}
        with pytest.raises(ValueError, match="does not describe the tensor y"):
            read_lora_layers(write(tmp_path / "a.safetensors", header))

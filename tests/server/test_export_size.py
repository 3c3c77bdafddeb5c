"""Which weights an export reads, and how much room it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.export_size import element_bytes, room_for_export, weight_files


@pytest.mark.parametrize(
    ("files", "chosen", "variant"),
    [
        (["unet/a.safetensors", "unet/a.fp16.safetensors", "unet/a.bin"], ["unet/a.safetensors"], None),
        (["unet/a.bin", "unet/a.fp16.bin"], ["unet/a.bin"], None),
        (
            ["unet/a.fp16.safetensors", "unet/a.fp16.bin", "vae/a.safetensors"],
            ["unet/a.fp16.safetensors", "vae/a.safetensors"],
            "fp16",
        ),
        (
            ["unet/a-00001-of-00002.safetensors", "unet/a-00002-of-00002.safetensors", "unet/a.fp16-00001-of-00001.safetensors"],
            ["unet/a-00001-of-00002.safetensors", "unet/a-00002-of-00002.safetensors"],
            None,
        ),
        (["unet/a.fp16-00001-of-00001.safetensors"], ["unet/a.fp16-00001-of-00001.safetensors"], "fp16"),
        (["whole.safetensors", "unet/openvino_model.bin", "unet/x/a.safetensors", "unet/config.json"], [], None),
    ],
)  # fmt: skip
def test_of_each_component_one_form_is_read(files: list[str], chosen: list[str], variant: str | None) -> None:
    found, told = weight_files(files, str)
    assert (sorted(found), told) == (chosen, variant)


def test_the_width_of_weights_is_that_of_most_of_them(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]},
        "b": {"dtype": "BF16", "shape": [10, 10], "data_offsets": [40, 240]},
    }
    text = json.dumps(header).encode()
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(240))
    assert element_bytes([file]) == 2
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 20)
    (tmp_path / "a.bin").touch()
    assert element_bytes([tmp_path / "broken.safetensors", tmp_path / "a.bin"]) == 2


def test_a_compressed_model_needs_room_for_the_whole_one_on_the_way() -> None:
    whole = room_for_export(8_000_000_000, 4, "fp16")
    assert 4_000_000_000 < whole < 4_100_000_000
    for weight_format, share in (("int8", 1.1), ("int4", 0.7)):
        assert room_for_export(8_000_000_000, 4, weight_format) == pytest.approx(8e9 + 2e9 * share, rel=0.01)

"""LoRA adapters: which entries of the options are right, and what a request draws with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from calculators.http_payload import RequestError
from calculators.image_gen.adapters import Adapter, choose_adapters, routable_aliases
from calculators.image_gen.options import CheckedOptions, LoadSettings, NodeSettings, read_options
from calculators.image_gen.resolution import Resolution
from graph_runtime import StatusCode
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import (
    FUSE,
    STATIC,
    ImageGenCalculatorOptions,
)

XRAY = Adapter("xray", "/xray.safetensors", 0.8)
ANIME = Adapter("anime", "/anime.safetensors")
FIXED = Adapter("fixed", "/fixed.safetensors", 0.5, "STATIC")
FUSED = Adapter("fused", "/fused.safetensors", 0.5, "FUSE")
BLEND = {"blend": (("xray", 0.7), ("anime", None))}


def node(*adapters: Adapter, composites: Any = (), devices: tuple[str, ...] = ("CPU",)) -> NodeSettings:
    size = Resolution(64, 64)
    load = LoadSettings("/m", devices, adapters=adapters)
    return NodeSettings(load, size, size, 1, 1, 1, composites=dict(composites))


@pytest.fixture
def files(tmp_path: Path, phosphor: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").symlink_to(phosphor)
    return tmp_path


def read(files: Path, shapes: Path, **fields: Any) -> CheckedOptions:
    return read_options(ImageGenCalculatorOptions(models_path=str(shapes), **fields), files)


def entry(alias: str, **fields: Any) -> dict[str, Any]:
    return {"alias": alias, "path": f"{alias}.safetensors", **fields}


def blend(alias: str, *parts: str, **fields: Any) -> dict[str, Any]:
    return {"alias": alias, "components": [{"adapter_alias": part, **fields} for part in parts]}


@pytest.mark.parametrize(
    ("model", "alphas", "expected"),
    [
        ("shapes", None, ()),
        (None, None, ()),
        ("xray", None, (("xray", 0.8),)),
        ("anime", {}, (("anime", 1.0),)),
        ("xray", {"xray": -0.5}, (("xray", -0.5),)),
        ("xray", {"xray": 0.0}, (("xray", 0.0),)),
        ("blend", None, (("xray", 0.7), ("anime", 1.0))),
        ("blend", {"anime": 0.4}, (("xray", 0.7), ("anime", 0.4))),
        ("shapes", {"xray": 0.5, "anime": 0.3}, ()),
    ],
)
def test_what_a_request_draws_with(model: str | None, alphas: Any, expected: Any) -> None:
    assert choose_adapters(node(XRAY, ANIME, FUSED, composites=BLEND), model, alphas) == expected


@pytest.mark.parametrize(
    ("model", "alphas", "message"),
    [
        ("blend", {"vector": 0.9}, "lora_alphas key 'vector' is not part of composite 'blend'; possible: xray, anime"),
        ("xray", {"anime": 0.9}, "lora_alphas key 'anime' not allowed when targeting adapter 'xray'; possible: xray"),
    ],
)
def test_weights_of_other_adapters_are_refused(model: str, alphas: dict[str, float], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        choose_adapters(node(XRAY, ANIME, composites=BLEND), model, alphas)
    assert (caught.value.message, caught.value.status, caught.value.param) == (message, 400, "lora_alphas")


@pytest.mark.parametrize("adapters", [(), (FIXED,), (FUSED,)])
def test_weights_need_an_adapter_whose_weight_is_free(adapters: tuple[Adapter, ...]) -> None:
    settings = node(*adapters)
    with pytest.raises(RequestError, match="not supported when no dynamic LoRA adapters are available"):
        choose_adapters(settings, "fixed", {"fixed": 0.5})
    assert choose_adapters(settings, "fixed", {}) == ()


def test_what_is_compiled_in_answers_to_its_own_name_alone() -> None:
    assert choose_adapters(node(FIXED), "fixed", None) == ()
    assert choose_adapters(node(FIXED), None, None) == ()
    with pytest.raises(RequestError) as caught:
        choose_adapters(node(FIXED), "shapes", None)
    assert caught.value.message == (
        "Model 'shapes' has statically fused LoRA. Send requests to the LoRA alias name instead: fixed."
    )
    with pytest.raises(RequestError) as caught:
        choose_adapters(node(FIXED, composites={"blend": (("fixed", None),)}, devices=("NPU",)), "fixed", None)
    assert caught.value.message == (
        "Model 'fixed' uses NPU with statically fused LoRA adapters. "
        "Send requests to the composite LoRA alias name instead: blend."
    )


def test_a_fused_adapter_is_part_of_the_model_and_has_no_name() -> None:
    assert routable_aliases(node(XRAY, FUSED, composites=BLEND)) == ("xray", "blend")
    assert choose_adapters(node(FUSED), "shapes", None) == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"lora_adapters": [entry("a"), entry("a")]}, 'the alias "a" is given twice'),
        ({"lora_adapters": [entry("a")], "composite_lora_adapters": [blend("a", "a")]}, 'the alias "a" is given twice'),
        ({"lora_adapters": [{"path": "a.safetensors", "alias": ""}]}, "an alias is empty"),
        ({"lora_adapters": [entry("a", path="a.bin")]}, '"a.bin" is no .safetensors file'),
        ({"lora_adapters": [entry("a", alpha=float("inf"))]}, 'alpha of "a" is inf'),
        ({"composite_lora_adapters": [blend("x", "a")]}, '"x" blends "a", and there is no such adapter'),
        ({"composite_lora_adapters": [blend("x")]}, '"x" has no components'),
        ({"lora_adapters": [entry("a")], "composite_lora_adapters": [blend("x", "a", "a")]}, '"x" has "a" twice'),
        (
            {"lora_adapters": [entry("a", mode=FUSE)], "composite_lora_adapters": [blend("x", "a")]},
            'blends "a", which is part of the model',
        ),
    ],
)
def test_wrong_entries(fields: dict[str, Any], expected: str, files: Path, shapes: Path) -> None:
    (problem,) = read(files, shapes, **fields).problems
    assert expected in str(problem)


def test_a_file_that_is_not_there(files: Path, shapes: Path) -> None:
    (problem,) = read(files, shapes, lora_adapters=[entry("c")]).problems
    assert problem.code is StatusCode.NOT_FOUND
    assert f'path "c.safetensors" of "c" is not a file: there is none at {files / "c.safetensors"}' in str(problem)


def test_one_static_adapter_makes_all_static_with_the_weights_of_the_blend(files: Path, shapes: Path) -> None:
    settings = read(
        files,
        shapes,
        lora_adapters=[entry("a", alpha=0.3), entry("b", mode=STATIC)],
        composite_lora_adapters=[
            {"alias": "x", "components": [{"adapter_alias": "a", "alpha": 0.7}, {"adapter_alias": "b"}]}
        ],
    ).settings
    assert settings is not None
    assert [(each.alias, each.alpha, each.mode) for each in settings.load.adapters] == [
        ("a", pytest.approx(0.7), "STATIC"),
        ("b", 1.0, "STATIC"),
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "on an NPU several adapters are compiled in together"),
        (
            {"composite_lora_adapters": [blend("x", "a")]},
            'on an NPU "b" would be compiled in without being part of the blend',
        ),
        ({"composite_lora_adapters": [blend("x", "a", "b"), blend("y", "a", "b")]}, "there can be one blend, not 2"),
    ],
)
def test_an_npu_takes_one_blend_alone(fields: dict[str, Any], expected: str, files: Path, shapes: Path) -> None:
    found = read(
        files, shapes, device="NPU", resolution="64x64", lora_adapters=[entry("a"), entry("b")], **fields
    ).problems
    (problem,) = found
    assert expected in str(problem)

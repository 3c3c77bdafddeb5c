"""The grammar of --source_loras, and what is written of it into a graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import (
    ImageGenCalculatorOptions,
    LoraLoadMode,
)
from server.lora_sources import LoraSource, parse_loras, set_adapters


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adapter's file in the working folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.safetensors"
    file.touch()
    return file


@pytest.mark.parametrize(
    ("text", "source", "file", "alpha"),
    [
        ("a=http://host:8080/x.safetensors", "http://host:8080/x.safetensors", "x.safetensors", None),
        ("a=http://host:8080/x.safetensors:0.5", "http://host:8080/x.safetensors", "x.safetensors", 0.5),
        ("a=https://me:word@host/p/x.safetensors", "https://me:word@host/p/x.safetensors", "x.safetensors", None),
        ("a=https://host/x.safetensors?download=true:2", "https://host/x.safetensors?download=true", "x.safetensors", 2.0),
        (r"a=https://host/x.safetensors?v=1\,2", "https://host/x.safetensors?v=1,2", "x.safetensors", None),
        (r"a=https://host/x.safetensors?v=1\:2:1e-1", "https://host/x.safetensors?v=1:2", "x.safetensors", 0.1),
        ("a=https://host/my%20x.safetensors", "https://host/my%20x.safetensors", "my x.safetensors", None),
    ],
)  # fmt: skip
def test_urls_may_have_ports_and_queries(text: str, source: str, file: str, alpha: float | None) -> None:
    assert parse_loras(text) == (LoraSource("a", "URL", source, file, alpha=alpha),)


@pytest.mark.parametrize(
    "name", ["a,b.safetensors", "a:b.safetensors", "a:0.5.safetensors", r"a\b.safetensors", "a b.safetensors"]
)
def test_file_names_with_the_signs_of_the_grammar_are_written_with_backslashes(weights: Path, name: str) -> None:
    file = weights.rename(weights.with_name(name))
    escaped = name.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")
    assert parse_loras(f"a=./{escaped}:-0.5") == (LoraSource("a", "LOCAL", str(file), name, alpha=-0.5),)


@pytest.mark.parametrize(
    "form", ["./mine.safetensors", "../{folder}/mine.safetensors", "{whole}", "~/mine.safetensors"]
)
def test_files_are_found_from_where_the_command_runs(weights: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(weights.parent))
    (lora,) = parse_loras(f"a={form.format(folder=weights.parent.name, whole=weights)}")
    assert lora.kind == "LOCAL"
    assert Path(lora.path).is_absolute()
    assert Path(lora.path).samefile(weights)


def test_blanks_around_entries_do_not_count() -> None:
    assert parse_loras(" a=o/r : 0.5 , b = @a:0.5 + @a2 , a2=o/s ") == (
        LoraSource("a", "HF_REPO", "o/r", alpha=0.5),
        LoraSource("b", "COMPOSITE", components=(("a", 0.5), ("a2", None))),
        LoraSource("a2", "HF_REPO", "o/s"),
    )


def test_an_empty_text_means_no_adapters() -> None:
    assert parse_loras(" ") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=o/r,a=o/s", 'the alias "a" is there twice'),
        ("a=o/r,a=@a", 'the alias "a" is there twice'),
        ("a=o/r,", "there is a comma too many"),
        ("o/r", '"o/r" has no alias; an example: style='),
        ("https://host/x.safetensors?v=1", "has no alias"),
        ("a b=o/r", '"a b" in "a b=o/r" cannot be an alias'),
        ("..=https://host/x.safetensors", '".." in "..=https://host/x.safetensors" cannot be an alias'),
        (".=o/r", '"." in ".=o/r" cannot be an alias'),
        ("a=https://host/x%00.safetensors", "has to name a host and a .safetensors file"),
        ("a=https://host/x%0a.safetensors", "has to name a host and a .safetensors file"),
        ("a=", '"a=" has no source'),
        ("a=model", '"model" of "a" is no source: give org/repo'),
        ("a=o/r/x", '"o/r/x" of "a" is no source'),
        ("a=../x/y", "is no .safetensors file"),
        ("a=o/r@x.bin", '"x.bin" of "a" has to be a .safetensors file in o/r'),
        ("a=o/r@../x.safetensors", "has to be a .safetensors file in o/r"),
        ("a=o/r:", '"" is no alpha for "a"'),
        ("a=o/r:nan", '"nan" is no alpha'),
        ("a=o/r:1e39", '"1e39" is no alpha'),
        ("a=o/r:1_0", '"1_0" is no alpha'),
        ("a=o/r:1.2.3", '"1.2.3" is no alpha'),
        ("a=http://host:port/x.safetensors", 'is no URL: Port could not be cast to integer value as'),
        ("a=http:///x.safetensors", "has to name a host"),
        ("a=http://host/x.bin", "has to name a host and a .safetensors file"),
        ("a=/nowhere/x.safetensors", 'the file "/nowhere/x.safetensors" of "a" is not there'),
        ("style=o/r,b=@stile:1", '"b" blends @stile, and no adapter has this alias; did you mean @style?'),
        ("b=@x", "blends @x, and no adapter has this alias; adapters: none"),
        ("a=o/r,b=@a,c=@b", '"c" blends @b, and no adapter has this alias'),
        ("a=o/r,b=@a:1+@a", 'the blend "b" has @a twice'),
        ("a=o/r,b=@a+a", '"a" in the blend "b" is no @alias'),
        ("a=o/r,b=@", '"@" in the blend "b" is no @alias'),
    ],
)  # fmt: skip
def test_what_does_not_follow_the_grammar_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        parse_loras(text)
    assert message in str(caught.value)


def test_downloads_have_a_place_of_their_own_in_the_model_folder() -> None:
    loras = parse_loras("a=o/r@sub/x.safetensors,b=http://h/y.safetensors")
    assert [lora.path for lora in loras] == ["loras/o/r/sub/x.safetensors", "loras/b/y.safetensors"]


def options_with(text: str, device: str = "CPU") -> ImageGenCalculatorOptions:
    options = ImageGenCalculatorOptions(models_path="./", device=device)
    set_adapters(options, parse_loras(text))
    return options


def test_an_alpha_is_written_where_it_was_given_also_if_it_is_one() -> None:
    first, second = options_with("a=o/r@x.safetensors:1.0,b=o/r@y.safetensors").lora_adapters
    assert (first.HasField("alpha"), first.alpha, second.HasField("alpha")) == (True, 1.0, False)


def test_adapters_for_an_npu_are_compiled_in() -> None:
    text = "a=o/r@x.safetensors,b=o/r@y.safetensors"
    with pytest.raises(ValueError, match="an NPU takes one adapter, or one blend of several; add a blend"):
        options_with(text, "CPU NPU CPU")
    options = options_with(f"{text},mix=@a:0.5+@b", "CPU NPU CPU")
    assert {adapter.mode for adapter in options.lora_adapters} == {LoraLoadMode.STATIC}
    (mix,) = options.composite_lora_adapters
    assert [(part.adapter_alias, part.HasField("alpha")) for part in mix.components] == [("a", True), ("b", False)]


def test_adapters_take_the_place_of_those_that_were_there() -> None:
    options = options_with("a=o/r@x.safetensors,m=@a")
    set_adapters(options, parse_loras("b=o/r@y.safetensors"))
    assert [adapter.alias for adapter in options.lora_adapters] == ["b"]
    assert not options.composite_lora_adapters

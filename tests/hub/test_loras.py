"""``--source_loras`` of ``graph-runtime pull``: adapters come into the model's folder, and into its graph."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from graph_runtime import parse_graph_config
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from server import lora_download
from server.cli import main
from tests.hub.hub import Hub, Repository, files_of

SHAPES = Path(__file__).parents[2] / "examples" / "models" / "shapes"
NAME = "OpenVINO/shapes"
ADAPTER = (SHAPES / "adapters" / "phosphor.safetensors").read_bytes()


@pytest.fixture
def models(hub: Hub, tmp_path: Path) -> Path:
    hub.repositories[NAME] = Repository(
        {p: c for p, c in files_of(SHAPES).items() if not p.endswith((".pbtxt", ".safetensors"))}
    )
    return tmp_path / "models"


def pull(models: Path, loras: str, *flags: str) -> int:
    return main(["pull", NAME, "--models", str(models), "--source_loras", loras, *flags])


def options(models: Path) -> ImageGenCalculatorOptions:
    """The options of the node in the pulled graph."""
    graph = parse_graph_config((models / NAME / "graph.pbtxt").read_text())
    made = ImageGenCalculatorOptions()
    assert graph.node[0].node_options[0].Unpack(made)
    return made


def adapters(models: Path) -> dict[str, str]:
    """Alias -> path."""
    return {adapter.alias: adapter.path for adapter in options(models).lora_adapters}


def test_adapters_of_all_kinds_come_into_the_graph(hub: Hub, models: Path, tmp_path: Path) -> None:
    hub.repositories["org/style"] = Repository({"README.md": b"x", "sub/style.safetensors": ADAPTER})
    hub.repositories["org/two"] = Repository({"a.safetensors": ADAPTER, "b.safetensors": ADAPTER})
    hub.pages |= {"moved/w.safetensors": f"{hub.url}/pages/new", "new": ADAPTER}
    (tmp_path / "mine.safetensors").write_bytes(ADAPTER)
    sources = [
        "style=org/style:0.8", "second=org/two@b.safetensors", f"web={hub.url}/pages/moved/w.safetensors:0.5",
        f"mine={tmp_path / 'mine.safetensors'}", "mix=@style:0.7+@web",
    ]  # fmt: skip
    assert pull(models, ",".join(sources)) == 0
    paths = {
        "style": "loras/org/style/sub/style.safetensors",
        "second": "loras/org/two/b.safetensors",
        "web": "loras/web/w.safetensors",
        "mine": str(tmp_path / "mine.safetensors"),
    }
    assert adapters(models) == paths
    place = models / NAME
    assert all((place / path).read_bytes() == ADAPTER for path in paths.values())
    assert list(place.rglob("*.tmp")) == []
    assert not (place / "loras/org/two/a.safetensors").exists()
    assert [composite.alias for composite in options(models).composite_lora_adapters] == ["mix"]
    assert main(["check", str(models)]) == 0


def test_an_adapter_that_is_there_is_not_fetched_again_unless_it_shall_be_overwritten(
    hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["org/style"] = Repository({"style.safetensors": ADAPTER})
    hub.pages["w.safetensors"] = ADAPTER
    loras = f"style=org/style,web={hub.url}/pages/w.safetensors"
    assert pull(models, loras) == 0
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pull(models, loras) == 0, "which file it is was looked up before"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert pull(models, loras) == 0
    assert hub.requests == []
    assert pull(models, loras, "--overwrite_models") == 0
    assert sorted(hub.counts()) == ["style.safetensors", "w.safetensors"]


def test_an_adapter_can_be_added_to_a_model_that_is_there(hub: Hub, models: Path) -> None:
    assert main(["pull", NAME, "--models", str(models)]) == 0
    hub.requests.clear()
    hub.repositories["org/style"] = Repository({"style.safetensors": ADAPTER})
    assert pull(models, "style=org/style") == 0
    assert list(hub.counts()) == ["style.safetensors"]
    assert adapters(models) == {"style": "loras/org/style/style.safetensors"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "org/none",
            'the adapter "x": org/none has no .safetensors file',
        ),
        ("org/two", "x=org/two@FILE; files: a.safetensors, b.safetensors"),
        (
            "org/two@c.safetensors",
            "org/two has no c.safetensors; .safetensors files in it: a.safetensors, b.safetensors",
        ),
        ("org/missing", "there is no repository org/missing at "),
        ("{url}/pages/gone.safetensors", "/pages/gone.safetensors cannot be fetched: HTTP status 404"),
        ("{url}/pages/page.safetensors", "/pages/page.safetensors sends is no LoRA adapter: "),
        ("{url}/pages/long.safetensors", "/pages/long.safetensors is longer than 300000 bytes"),
        ("{url}/pages/ftp.safetensors", "'ftp://'. Run the same command again\n"),
        ("org/long", "long.safetensors of org/long has 400.0 kB, more than any adapter"),
        ("org/wrong", "wrong.safetensors of org/wrong arrived with a wrong checksum"),
    ],
)
def test_an_adapter_that_cannot_be_had_is_told_and_the_model_is_not_changed(
    source: str,
    expected: str,
    hub: Hub,
    models: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lora_download, "_MAX_BYTES", 300_000)
    hub.repositories |= {
        "org/none": Repository({"README.md": b"x"}),
        "org/two": Repository({"a.safetensors": ADAPTER, "b.safetensors": ADAPTER}),
        "org/long": Repository({"long.safetensors": bytes(400_000)}),
        "org/wrong": Repository({"wrong.safetensors": ADAPTER}),
    }
    hub.wrong["wrong.safetensors"] = ADAPTER[:-1] + b"?"
    hub.pages |= {
        "page.safetensors": b"<html>",
        "long.safetensors": bytes(400_000),
        "ftp.safetensors": "ftp://127.0.0.1/x",
    }
    assert main(["pull", NAME, "--models", str(models)]) == 0
    before = files_of(models)
    capsys.readouterr()
    assert pull(models, f"x={source.format(url=hub.url)}") == 1
    assert expected in capsys.readouterr().err
    assert files_of(models) == before


def test_configure_fetches_adapters_of_a_model_that_is_there(
    hub: Hub, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["org/style"] = Repository({"style.safetensors": ADAPTER})
    assert main(["pull", NAME, "--models", str(models)]) == 0
    assert main(["configure", str(models / NAME), "--source_loras", "style=org/style:0.8"]) == 0
    assert adapters(models) == {"style": "loras/org/style/style.safetensors"}
    assert main(["configure", str(models / NAME), "--source_loras", "other=org/nobody"]) == 1
    assert "there is no repository org/nobody" in capsys.readouterr().err
    assert adapters(models) == {"style": "loras/org/style/style.safetensors"}
    assert main(["configure", str(models / NAME), "--source_loras", ""]) == 0
    assert adapters(models) == {}

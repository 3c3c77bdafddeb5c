"""``graph-runtime export`` of folders, with a small program in the place of optimum-cli."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from server.cli import main
from tests.export.conftest import PYTHON, SHAPES, Calls, pipeline, run, tree


def test_a_folder_becomes_a_model_that_is_served(calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    source = pipeline(Path("mine"))
    code, out, _ = run(
        capfd, "mine", "--weight-format", "int4", "--max_num_images_per_prompt", "2",
        "--extra_quantization_params", "--group-size 64 --sym",
    )  # fmt: skip
    assert code == 0
    place = Path("models/mine")
    assert "exporting mine (6.2 kB) to int4: needs about 20.0 MB on the way\n" in out
    assert "models/mine: complete (int4, " in out
    assert "; serve it with: graph-runtime serve --models models\nmodels/mine/graph.pbtxt: written\n" in out
    assert "max_num_images_per_prompt: 2" in (place / "graph.pbtxt").read_text()
    assert 'models_path: "./"' in (place / "graph.pbtxt").read_text()
    assert [path.name for path in Path("models").iterdir()] == ["mine"]
    assert not [name for name in tree(place) if "half" in name]
    assert main(["check", "models"]) == 0
    (call,) = calls()
    assert call["argv"][:-1] == [
        "export", "openvino", "--model", str(source.absolute()), "--task", "text-to-image", "--library", "diffusers",
        "--weight-format", "int4", "--group-size", "64", "--sym",
    ]  # fmt: skip
    assert Path(call["scratch"]).is_relative_to(Path("models").absolute())
    assert call["offline"] == "1"


def test_the_child_speaks_on_standard_error(
    calls: Calls, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(Path("mine"))
    monkeypatch.setenv("FAKE_EXPORT", "fail")
    code, out, err = run(capfd, "mine")
    assert code == 1
    assert "upside" not in out
    assert err == (
        "ValueError: the weights are upside down\n"
        "graph-runtime export: optimum-cli failed with exit code 1, for a Stable Diffusion pipeline; what it says stands above. "
        "Nothing of it is left in models\n"
    )
    assert list(Path("models").iterdir()) == []


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("killed", "optimum-cli was ended by SIGKILL (the system does that when memory runs out)"),
        (
            "incomplete",
            "mine was exported, but the result could not be served: mine/unet/openvino_model.bin is missing",
        ),
    ],
)
def test_a_failure_leaves_nothing(
    what: str, message: str, calls: Calls, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pipeline(Path("mine"))
    monkeypatch.setenv("FAKE_EXPORT", what)
    code, _, err = run(capfd, "mine")
    assert code == 1
    assert message in err
    assert list(Path("models").iterdir()) == []


def test_a_model_that_is_there_is_replaced_only_where_that_is_asked_for_and_by_a_whole_one(
    calls: Calls, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(Path("mine"))
    old = Path("models/mine/old.txt")
    old.parent.mkdir(parents=True)
    old.touch()
    code, _, err = run(capfd, "mine")
    assert code == 1
    assert "models/mine is there already; replace it with --overwrite_models" in err
    assert calls() == []
    monkeypatch.setenv("FAKE_EXPORT", "fail")
    assert run(capfd, "mine", "--overwrite-models")[0] == 1
    assert tree(Path("models")) == ["mine/old.txt"]
    monkeypatch.delenv("FAKE_EXPORT")
    assert run(capfd, "mine", "--overwrite_models")[0] == 0
    assert not old.exists()
    assert (Path("models/mine") / "graph.pbtxt").exists()


def test_a_model_whose_graph_cannot_be_written_is_not_lost(calls: Calls, capfd: pytest.CaptureFixture[str]) -> None:
    pipeline(Path("mine"))
    code, _, err = run(capfd, "mine", "--default_resolution", "65x65")
    assert code == 1
    assert (
        "models/mine is complete, but its graph.pbtxt was not written: models/mine/graph.pbtxt was not written" in err
    )
    assert "default_resolution 65x65" in err
    assert main(["configure", "models/mine"]) == 0


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            {"_class_name": "PixArtAlphaPipeline"},
            '_class_name is "PixArtAlphaPipeline"; OpenVINO GenAI makes pictures with these',
        ),
        ({"unet": ["diffusers", "UNet3DModel"]}, "with a class of UNet2DConditionModel"),
    ],
)
def test_a_pipeline_that_cannot_be_run_is_refused_before_the_work(
    index: dict[str, Any], message: str, calls: Calls, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline(Path("mine"), **index)
    code, _, err = run(capfd, "mine")
    assert code == 1
    assert f"mine could not be served: mine/model_index.json: {message}" in err.replace(
        '"unet" must be [library, class] ', ""
    )
    assert calls() == []
    assert not Path("models").exists()


def test_a_disk_without_room_is_told_with_both_numbers(
    calls: Calls, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 12_000_000))
    pipeline(Path("mine"))
    code, _, err = run(capfd, "mine")
    assert code == 1
    assert "an export to int8 needs about 20.0 MB, and the disk of . has 12.0 MB left; make room" in err
    assert calls() == []


def test_without_optimum_intel_it_says_what_to_install(
    calls: Calls, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(Path("mine"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    code, _, err = run(capfd, "mine")
    assert code == 1
    assert err.endswith("optimum-cli is not installed; this command needs: pip install 'graph-runtime[export]'\n")


def test_what_is_wrong_with_the_source_is_told_before_anything_has_to_be_installed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    code, _, err = run(capfd, "empty")
    assert code == 1
    assert "empty has no model_index.json" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["nowhere"], "'nowhere' is neither a folder nor a repository"),
        (["mine", "--model_name", "../x"], "has to be a path inside the model folder"),
        (["mine", "--model_name", ".x"], "without hidden parts"),
        (["mine", "--revision", "main"], "--revision is for repositories of the hub"),
        (["mine", "--weight-format", "fp64"], "invalid choice: 'fp64'"),
        (["mine", "--default_num_inference_steps", "200"], "is greater than max_num_inference_steps 100"),
        (["mine", "--num_streams", "1", "--plugin_config", '{"NUM_STREAMS": "1"}'], "say the same thing twice"),
        (["OpenVINO/FLUX.1-schnell-int4-ov"], "graph-runtime pull OpenVINO/FLUX.1-schnell-int4-ov"),
    ],
)
def test_a_wrong_command_line_is_told_before_the_work(
    flags: list[str], message: str, calls: Calls, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline(Path("mine"))
    code, _, err = run(capfd, *flags)
    assert code == 2
    assert message in err
    assert calls() == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("empty", "empty has no model_index.json"),
        ("ready", "ready is in OpenVINO format already; write its graph with: graph-runtime configure ready"),
        ("models/mine", "models/mine is the pipeline itself; give its export another name with --model_name NAME"),
        ("light", "light has no weights"),
    ],
)
def test_a_folder_that_cannot_be_exported_is_refused(
    source: str, message: str, calls: Calls, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    shutil.copytree(SHAPES, "ready", copy_function=os.symlink)
    pipeline(Path("models/mine"))
    for weights in pipeline(Path("light")).rglob("*.safetensors"):
        weights.unlink()
    code, _, err = run(capfd, source)
    assert code == 1
    assert message in err
    assert calls() == []
    assert tree(Path("models")) == [f"mine/{name}" for name in tree(Path("models/mine"))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_child_and_leaves_nothing(
    number: signal.Signals, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(Path("mine"))
    monkeypatch.setenv("FAKE_EXPORT", "hang")
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [PYTHON, "-c", "import sys; from server.cli import main; sys.exit(main(sys.argv[1:]))", "export", "mine"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "half done\n"
        assert tree(Path("models"))
        process.send_signal(number)
        rest = process.stderr.read()
    assert rest == "graph-runtime export: interrupted; there is no half of a model in models/mine\n"
    assert process.returncode == 130
    assert list(Path("models").iterdir()) == []
    (call,) = calls()
    with pytest.raises(ProcessLookupError):
        os.kill(call["pid"], 0)

"""``graph-runtime configure``: graphs of model folders, and lists of models."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime.config import find_options, read_graph
from server.check import look_at
from server.cli import main
from server.discovery import ServableSpec, bundled_models_dir
from server.repository import Repository
from server.settings import Settings


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder with the model "painter", which has no graph; it is the working folder."""
    ours = bundled_models_dir() / "shapes"
    graphs = shutil.ignore_patterns("*.pbtxt", "*.safetensors")
    shutil.copytree(ours, tmp_path / "painter", copy_function=os.symlink, ignore=graphs)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRAPH_RUNTIME_MODELS", raising=False)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["configure", *argv])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def options_of(file: Path) -> ImageGenCalculatorOptions:
    (node,) = read_graph(file).config.node
    options = find_options(node, ImageGenCalculatorOptions)
    assert options is not None
    return options


# ---- graphs


def test_a_model_gets_a_graph_that_the_server_takes(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "painter", "--target_device", "CPU", "--default-resolution", "64x64")
    assert (code, out, err) == (0, "painter/graph.pbtxt: written\n", "")
    wanted = ImageGenCalculatorOptions(models_path=".", device="CPU", default_resolution="64x64")
    assert options_of(models / "painter" / "graph.pbtxt") == wanted
    assert main(["check", "painter"]) == 0


def test_a_graph_that_is_there_keeps_all_that_is_not_asked_for(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "painter")
    file = models / "painter" / "graph.pbtxt"
    file.write_text("# ours\n" + file.read_text().replace('"."', '"./"  # here'))
    before = file.read_text()
    code, out, _ = run(capsys, "painter", "--max_num_inference_steps", "60", "--num_streams", "2")
    assert (code, out) == (0, "painter/graph.pbtxt: changed: plugin_config, max_num_inference_steps\n")
    added = [line for line in file.read_text().splitlines() if line not in before.splitlines()]
    assert [line.strip() for line in added] == ['plugin_config: \'{"NUM_STREAMS":"2"}\'', "max_num_inference_steps: 60"]
    assert "\n".join(line for line in file.read_text().splitlines() if line not in added) + "\n" == before


def test_without_flags_a_graph_that_is_there_stays(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "painter")
    stamp = (models / "painter" / "graph.pbtxt").stat()
    code, out, _ = run(capsys, "painter")
    assert code == 0
    assert out.startswith("painter/graph.pbtxt: as it was; flags change it")
    assert (models / "painter" / "graph.pbtxt").stat().st_ino == stamp.st_ino


def test_a_graph_that_could_not_be_used_is_not_written(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a new one nor one in the place of another."""
    wrong = ("painter", "--default_num_inference_steps", "200", "--resolution", "64x64 big")
    message = (
        "graph-runtime configure: painter/graph.pbtxt was not written, it could not be used:\n"
        'node "ImageGenExecutor": resolution "big" is not in correct format - WxH; an example: "512x512"\n'
        'node "ImageGenExecutor": default_num_inference_steps 200 is greater than max_num_inference_steps 100\n'
    )
    assert run(capsys, *wrong) == (1, "", message)
    assert not (models / "painter" / "graph.pbtxt").exists()
    run(capsys, "painter")
    before = (models / "painter" / "graph.pbtxt").read_text()
    assert run(capsys, *wrong) == (1, "", message)
    assert (models / "painter" / "graph.pbtxt").read_text() == before
    assert not list((models / "painter").glob(".*"))


def test_an_empty_plugin_config_removes_the_option(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "painter", "--num_streams", "2", "--target_device", "CPU")
    code, out, _ = run(capsys, "painter", "--plugin_config", "")
    assert (code, out) == (0, "painter/graph.pbtxt: changed: plugin_config\n")
    assert options_of(models / "painter" / "graph.pbtxt") == ImageGenCalculatorOptions(models_path=".", device="CPU")


def test_another_configure_waits_while_a_graph_is_changed(
    models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Thread] = []

    def look_and_disturb(spec: ServableSpec, **given: bool) -> Any:
        if not others:
            others.append(Thread(target=main, args=(["configure", "painter", "--num_streams", "2"],)))
            others[0].start()
            with pytest.raises(BlockingIOError):
                descriptor = os.open(models / "painter", os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                finally:
                    os.close(descriptor)
        return look_at(spec, **given)

    monkeypatch.setattr("server.configure.look_at", look_and_disturb)
    assert run(capsys, "painter", "--max_num_inference_steps", "9")[0] == 0
    others[0].join(60)
    text = (models / "painter" / "graph.pbtxt").read_text()
    assert "NUM_STREAMS" in text
    assert "max_num_inference_steps: 9" in text


def test_a_graph_of_another_kind_is_replaced_only_where_that_is_asked_for(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = models / "painter" / "graph.pbtxt"
    file.write_text('node { calculator: "PassThroughCalculator" }')
    code, _, err = run(capsys, "painter", "--target_device", "CPU")
    assert code == 1
    assert "painter/graph.pbtxt cannot be changed: it has no nodes with an ImageGenCalculator" in err
    assert "make a new one with --overwrite" in err
    code, out, _ = run(capsys, "painter", "--target_device", "CPU", "--overwrite")
    assert (code, out) == (0, "painter/graph.pbtxt: written\n")
    assert options_of(file).device == "CPU"


def test_a_graph_that_names_its_model_elsewhere_can_be_changed_and_uses_the_subgraphs_beside_it(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = models / "graph"
    folder.mkdir()
    run(capsys, "painter")
    text = (models / "painter" / "graph.pbtxt").read_text().replace('"."', f'"{models}/painter"')
    text += 'node { calculator: "Sub" input_stream: "input" output_stream: "again" }'
    (folder / "graph.pbtxt").write_text(text)
    (folder / "sub.pbtxt").write_text(
        'type: "Sub" input_stream: "in" output_stream: "out" '
        'node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }'
    )
    code, _, err = run(capsys, "graph", "--max_num_images_per_prompt", "2")
    assert (code, err) == (0, "")
    assert options_of_first(folder / "graph.pbtxt").max_num_images_per_prompt == 2


def options_of_first(file: Path) -> ImageGenCalculatorOptions:
    options = find_options(read_graph(file).config.node[0], ImageGenCalculatorOptions)
    assert options is not None
    return options


def test_the_steps_that_a_model_is_made_for_are_told(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = models / "painter" / "model_index.json"
    content = json.loads(index.read_text())
    index.unlink()
    index.write_text(json.dumps({**content, "_class_name": "LatentConsistencyModelPipeline"}))
    _, out, _ = run(capsys, "painter")
    assert "note: " in out
    assert "is made for 4 steps" in out
    assert "set default_num_inference_steps: 4" in out
    assert "note: " not in run(capsys, "painter", "--default_num_inference_steps", "4")[1]


def test_an_adapter_of_a_repository_is_taken_from_where_downloads_go(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = models / "painter" / "loras" / "org" / "repo"
    place.mkdir(parents=True)
    shutil.copy(bundled_models_dir() / "shapes" / "adapters" / "phosphor.safetensors", place / "weights.safetensors")
    code, _, err = run(capsys, "painter", "--source_loras", "style=org/repo:0.5")
    assert (code, err) == (0, "")
    (adapter,) = options_of(models / "painter" / "graph.pbtxt").lora_adapters
    assert (adapter.alias, adapter.path, adapter.alpha) == ("style", "loras/org/repo/weights.safetensors", 0.5)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("", "folder has no model_index.json"),
        ('{"_class_name": "Whisper"}', "folder is no pipeline that makes pictures"),
        ('{"_class_name": "FluxPipeline"}', "make that with: graph-runtime export folder"),
    ],
)
def test_a_folder_without_a_model_that_draws_is_refused(
    prepare: str, message: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (models / "folder").mkdir()
    if prepare:
        (models / "folder" / "model_index.json").write_text(prepare)
    code, _, err = run(capsys, "folder")
    assert code == 1
    assert message in err
    assert run(capsys, "nowhere")[0] == 1


# ---- lists


def test_a_model_is_added_under_its_path_and_removed_again(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "painter", "--add_to_config", "config.json") == (0, "Config updated: config.json\n", "")
    content = json.loads((models / "config.json").read_text())
    assert content == {"model_config_list": [{"config": {"name": "painter", "base_path": "painter"}}]}
    code, _, err = run(capsys, "painter", "--add_to_config", "config.json")
    assert code == 1
    assert "the name 'painter' is taken" in err
    assert run(capsys, "painter", "--remove_from_config", "config.json")[:2] == (0, "Config updated: config.json\n")
    assert json.loads((models / "config.json").read_text()) == {"model_config_list": []}
    assert run(capsys, "painter", "--remove_from_config", "config.json")[0] == 1


def test_a_server_finds_under_its_name_what_was_added(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "config.json").write_text("{}")
    repository = Repository(Settings(config_path=models / "config.json"))
    assert repository.scan().specs == ()
    run(capsys, "painter", "--model_name", "p", "--add_to_config", ".")
    assert [(spec.name, spec.base_dir) for spec in repository.scan().specs] == [("p", models / "painter")]
    run(capsys, "--model_name", "p", "--remove_from_config", ".")
    assert repository.scan().specs == ()


@pytest.mark.parametrize(
    "flags",
    [
        ["--add_to_config", "--config_path", "{0}/lists/config.json", "--model_name", "p", "--model_path", "painter"],
        ["painter", "--model_name=p", "--add-to-config={0}/lists"],
        ["painter", "--model_name=p", "--add_to_config", "--model_repository_path", "lists"],
    ],
)
def test_the_file_may_be_named_in_the_ways_of_ovms(
    flags: list[str], models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (models / "lists").mkdir()
    assert run(capsys, *(flag.format(models) for flag in flags))[0] == 0
    (item,) = json.loads((models / "lists" / "config.json").read_text())["model_config_list"]
    assert item == {"config": {"name": "p", "base_path": str(models / "painter")}}


def test_device_and_properties_go_into_the_entry_of_a_model_without_a_graph(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["painter", "--add_to_config", ".", "--target_device", "GPU", "--plugin_config", '{"NUM_STREAMS": "1"}']
    assert run(capsys, *flags)[0] == 0
    (item,) = json.loads((models / "config.json").read_text())["model_config_list"]
    assert item["config"] | {"target_device": "GPU", "plugin_config": {"NUM_STREAMS": "1"}} == item["config"]
    run(capsys, "painter")
    code, _, err = run(capsys, *flags, "--model_name", "other")
    assert code == 2
    assert "painter/graph.pbtxt says device and plugin_config itself" in err


def test_what_cannot_be_served_is_not_added(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "paintr", "--add_to_config", ".")
    assert code == 1
    assert "paintr cannot be served: there is no such folder" in err
    assert not (models / "config.json").exists()


def test_a_folder_whose_name_no_json_can_hold_is_not_added(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = os.fsdecode(b"p\xff")
    (models / "painter").rename(models / odd)
    code, _, err = run(capsys, odd, "--add_to_config", ".")
    assert code == 1
    assert "'p\\udcff' is no UTF-8" in err
    assert not (models / "config.json").exists()


def test_the_models_of_a_folder_are_listed(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("painter/1/model.onnx", "a/graph.pbtxt", "a/1/model.xml", "c/d/2/model.xml", ".hidden/1/model.xml"):
        (models / path).parent.mkdir(parents=True, exist_ok=True)
        (models / path).touch()
    code, out, err = run(capsys, "--list_models", ".")
    assert (code, out) == (0, "a\npainter\n")
    assert "c/d holds a model that is not served yet: list it in model_config_list of config.json" in err
    assert ".hidden" not in err
    assert run(capsys, "--list-models", "--model_repository_path", str(models))[1] == out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give the folder of a model"),
        (["painter", "--model_path", "painter"], "are two models; give one"),
        (["painter", "--list_models", "--add_to_config", "x"], "are commands of their own; give one of them"),
        (["painter", "--models", "m"], "--models has no meaning here"),
        (["--list_models", "--resolution", "1x1"], "--resolution has no meaning here"),
        (["painter", "--add_to_config", "--overwrite"], "--overwrite changes a graph.pbtxt"),
        (["painter", "--add_to_config", "x", "--num_streams", "1"], "--num_streams changes a graph.pbtxt"),
        (["painter", "--add_to_config"], "give the config.json with --config_path FILE"),
        (["painter", "--add_to_config", "x", "--config_path", "y"], "x and --config_path y are two files"),
        (["--add_to_config", "x"], "give the folder of the model"),
        (["--remove_from_config", "x"], "give the --model_name"),
    ],
)
def test_flags_that_do_not_go_together_are_a_usage_error(
    flags: list[str], message: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, *flags)
    assert code == 2
    assert message in err
    assert sorted(path.name for path in models.iterdir()) == ["painter"]

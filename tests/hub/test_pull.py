"""``graph-runtime pull`` against a hub: what arrives, and what stays when it cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from calculators.image_gen.model_folder import read_model_folder
from server.cli import main
from server.discovery import find_servables, graph_servable
from server.hub import HubError
from server.model_place import filling, partial_of
from tests.hub.hub import Hub, Repository, files_of

SHAPES = Path(__file__).parents[2] / "examples" / "models" / "shapes"
NAME = "OpenVINO/shapes"
WEIGHTS = "unet/openvino_model.bin"
CONFIGS = {"model_index.json", "scheduler/scheduler_config.json"}


@pytest.fixture
def repository(hub: Hub) -> Repository:
    """The demo model, without its graphs, on the hub."""
    files = {path: content for path, content in files_of(SHAPES).items() if not path.endswith(".pbtxt")}
    hub.repositories[NAME] = Repository(files)
    return hub.repositories[NAME]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def pull(models: Path, *flags: str, source: str = NAME) -> int:
    return main(["pull", source, "--models", str(models), *flags])


def tree(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, hidden files included."""
    return files_of(folder) if folder.exists() else {}


def no_warnings(line: str) -> None:
    raise AssertionError(line)


def test_a_pulled_folder_has_the_files_of_the_repository_and_a_graph(
    repository: Repository, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull(models) == 0
    found = tree(models / NAME)
    graph = found.pop("graph.pbtxt").decode()
    del found[".pulled.json"]
    assert found == repository.files
    assert graph.startswith("# File created with: graph-runtime ")
    assert "\n# OVMS_GRAPH_QUEUE_MAX_SIZE: AUTO\n" in graph
    assert 'models_path: "./"' in graph
    assert [path.name for path in (models / "OpenVINO").iterdir()] == ["shapes"]
    assert [spec.name for spec in find_servables(models, no_warnings)] == [NAME]
    said = capsys.readouterr()
    assert f"{models / NAME}: complete (commit {repository.commit[:12]}" in said.out
    assert f"fetched {WEIGHTS} (5.5 MB)" in said.err.splitlines()


def test_flags_of_the_graph_stand_in_it(repository: Repository, models: Path) -> None:
    assert (
        pull(models, "--max_resolution", "128x128", "--default-num-inference-steps", "9", "--target_device", "AUTO")
        == 0
    )
    graph = (models / NAME / "graph.pbtxt").read_text()
    assert 'device: "AUTO"' in graph
    assert 'max_resolution: "128x128"' in graph
    assert "default_num_inference_steps: 9" in graph


def test_flags_that_the_model_cannot_be_served_with_are_told_and_cost_no_second_download(
    hub: Hub, repository: Repository, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["--default_num_inference_steps", "200"]
    said = 'graph.pbtxt was not written, it could not be used: node "ImageGenExecutor": default_num_inference_steps 200 is greater'
    assert pull(models, *wrong) == 1
    assert said in capsys.readouterr().err
    assert not (models / NAME).exists()
    hub.requests.clear()
    assert pull(models) == 0
    assert not hub.requests
    before = tree(models)
    assert pull(models, *wrong) == 1
    assert said in capsys.readouterr().err
    assert tree(models) == before


def test_a_branch_or_a_commit_can_be_asked_for(hub: Hub, repository: Repository, models: Path) -> None:
    repository.branch = "fp16"
    assert pull(models, "--revision", "main") == 1
    assert pull(models, "--revision", "fp16") == 0
    calls = hub.calls
    assert pull(models, "--revision", repository.commit) == 0
    assert hub.calls == calls, "a commit that is here already needs no look at the hub"


def test_weights_of_other_formats_hidden_files_graphs_and_code_are_not_fetched(
    hub: Hub, repository: Repository, models: Path
) -> None:
    others = {
        "calculators.py": b"x", "unet/helper.py": b"x",
        ".gitattributes": b"x", ".cache/y": b"x", "graph.pbtxt": b"x", "v1-5-pruned.ckpt": b"x", "flux1.safetensors": b"x",
        "unet/diffusion_pytorch_model.bin": b"x", "unet/diffusion_pytorch_model.safetensors": b"x",
        "safety_checker/model.safetensors": b"x",
    }  # fmt: skip
    kept = {"safety_checker/config.json": b"{}", "adapters/style.safetensors": b"x"}
    repository.files |= others | kept
    assert pull(models) == 0
    asked = hub.counts()
    assert [path for path in others if path in asked] == []
    assert [path for path in kept if path not in asked] == []


def test_a_second_pull_fetches_nothing(
    hub: Hub, repository: Repository, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull(models) == 0
    before, asked = tree(models), hub.counts()
    assert pull(models) == 0
    assert "up to date" in capsys.readouterr().out
    assert hub.counts() == asked
    assert tree(models) == before


def test_a_new_commit_comes_into_place_with_what_has_changed_alone(
    hub: Hub, repository: Repository, models: Path
) -> None:
    repository.files["old.txt"] = b"old"
    assert pull(models) == 0
    place = models / NAME
    (place / "notes.txt").write_text("mine")
    with (place / "graph.pbtxt").open("a") as graph:
        graph.write("# edited\n")
    hub.requests.clear()
    del repository.files["old.txt"]
    repository.files["unet/config.json"] += b"\n"
    repository.files["new/new.txt"] = b"new"
    assert pull(models) == 0
    assert sorted(hub.counts()) == ["new/new.txt", "unet/config.json"]
    assert (place / "unet/config.json").read_bytes() == repository.files["unet/config.json"]
    assert (place / "notes.txt").read_text() == "mine"
    assert (place / "graph.pbtxt").read_text().endswith("# edited\n")
    assert not (place / "old.txt").exists()
    assert [path.name for path in place.parent.iterdir()] == ["shapes"]


def test_a_new_commit_comes_into_place_where_folders_cannot_be_exchanged(
    repository: Repository, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pull(models) == 0
    monkeypatch.setattr("ctypes.CDLL", lambda name, use_errno: object())
    repository.files["README.md"] = b"new"
    assert pull(models) == 0
    assert (models / NAME / "README.md").read_bytes() == b"new"
    assert [path.name for path in (models / "OpenVINO").iterdir()] == ["shapes"]


def test_what_was_left_beside_a_model_that_is_up_to_date_is_removed(repository: Repository, models: Path) -> None:
    assert pull(models) == 0
    shutil.copytree(models / NAME, partial_of(models / NAME))  # killed after the two had changed places
    assert pull(models) == 0
    assert not partial_of(models / NAME).exists()


def test_a_file_that_went_missing_is_fetched_again(hub: Hub, repository: Repository, models: Path) -> None:
    assert pull(models) == 0
    (models / NAME / WEIGHTS).unlink()
    hub.requests.clear()
    assert pull(models) == 0
    assert list(hub.counts()) == [WEIGHTS]
    assert (models / NAME / WEIGHTS).read_bytes() == repository.files[WEIGHTS]


def test_a_graph_that_was_edited_is_kept_unless_it_shall_be_overwritten(
    repository: Repository, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull(models, "--max_resolution", "128x128") == 0
    graph = models / NAME / "graph.pbtxt"
    assert pull(models, "--max_resolution", "256x256") == 0
    assert 'max_resolution: "256x256"' in graph.read_text()
    assert pull(models) == 0
    assert 'max_resolution: "256x256"' in graph.read_text(), "no flag says anything against it"
    edited = graph.read_text().replace("256x256", "64x64")
    graph.write_text(edited)
    assert pull(models) == 0
    assert graph.read_text() == edited
    assert pull(models, "--max_resolution", "256x256") == 1
    assert "was edited since it was written" in capsys.readouterr().err
    assert graph.read_text() == edited
    assert pull(models, "--max_resolution", "256x256", "--overwrite_models") == 0
    assert 'max_resolution: "256x256"' in graph.read_text()


def test_a_folder_of_somebody_else_is_left_alone_unless_it_shall_be_overwritten(
    hub: Hub, repository: Repository, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(SHAPES, models / NAME)
    (models / NAME / WEIGHTS).write_bytes(b"wrong")
    before = tree(models)
    assert pull(models) == 1
    assert "was not pulled by graph-runtime" in capsys.readouterr().err
    assert tree(models) == before
    assert pull(models, "--overwrite_models") == 0
    assert list(hub.counts()) == [WEIGHTS]
    assert (models / NAME / WEIGHTS).read_bytes() == repository.files[WEIGHTS]


def test_a_private_repository_is_pulled_with_its_token_which_goes_to_no_other_host(
    hub: Hub, repository: Repository, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.token = "hf_right"
    hub.tokens = {"hf_right"}
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert pull(models) == 0  # the hub answers a token on its other address with status 500


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ("no token", "there is no repository OpenVINO/shapes at {url}, or it is private"),
        ("wrong token", "{url} does not know the token for OpenVINO/shapes"),
        (
            "gated",
            "OpenVINO/shapes is gated: its owners let in who has accepted their terms. Accept them at {url}/OpenVINO/shapes",
        ),
        ("gated for this token", "OpenVINO/shapes is gated"),
        ("no repository", "there is no repository OpenVINO/shapes at {url}"),
        ("no revision", "OpenVINO/shapes has no revision 'v9'"),
        ("no network", "the connection for OpenVINO/shapes failed"),
        ("no hub", "{url} cannot be asked as a Hugging Face hub (JSONDecodeError: "),
        ("a proxy that is no address", "{url} cannot be asked as a Hugging Face hub (InvalidURL: "),
        ("a token that is no token", "the token has characters that no token has"),
        ("a token that breaks a header", "look at what it was copied with (HF_TOKEN is set)"),
        ("offline", "OpenVINO/shapes is not here, and HF_HUB_OFFLINE forbids to fetch it"),
        ("a family that cannot run", '_class_name is "CogViewPipeline"; OpenVINO GenAI makes pictures with these: '),
        ("a scheduler that cannot run", 'scheduler_config.json: _class_name is "EDMScheduler"'),
        ("not OpenVINO", "OpenVINO/shapes is not in OpenVINO format"),
        ("no image model", "OpenVINO/shapes has no model_index.json"),
        ("an incomplete repository", "vae_decoder/openvino_model.xml is missing"),
        ("wrong checksum", "unet/openvino_model.bin of OpenVINO/shapes arrived with a wrong checksum"),
        ("wrong checksum of a small file", "unet/config.json of OpenVINO/shapes arrived with a wrong checksum"),
        ("a file outside", "OpenVINO/shapes has a file with the name '../../evil', which leads out of its folder"),
        ("a file without a name", "OpenVINO/shapes has a file with the name '', which cannot be a file's here"),
        (
            "a file that moves the cursor",
            r"OpenVINO/shapes has a file with the name 'a\x1b[2J', which cannot be a file's here",
        ),
        ("half a surrogate", r"OpenVINO/shapes has a file with the name 'a\ud800', which cannot be a file's here"),
        ("a checksum that leads outside", "{url} tells no size or no checksum of README.md in OpenVINO/shapes"),
        ("a size in words", "{url} tells no size or no checksum of README.md in OpenVINO/shapes"),
        ("a size below zero", "{url} tells no size or no checksum of README.md in OpenVINO/shapes"),
        ("more than was told", "README.md is longer than 3 bytes, the most that it may have"),
    ],
)
@pytest.mark.parametrize("complete", [False, True], ids=["first", "again"])
def test_what_cannot_be_had_is_told_and_the_model_in_place_is_unharmed(
    trouble: str, expected: str, complete: bool, hub: Hub, repository: Repository, models: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if complete:
        assert pull(models) == 0
        (models / NAME / "notes.txt").write_text("mine")
    before = tree(models / NAME)
    hub.requests.clear()
    repository.files["README.md"] = b"a new commit"
    flags = ["--revision", "v9"] if trouble == "no revision" else []
    weights_may_be_fetched = _make(trouble, hub, repository, monkeypatch)
    capsys.readouterr()
    assert pull(models, *flags, *(["--overwrite_models"] if trouble == "offline" else [])) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("graph-runtime pull: ")
    assert expected.format(url=constants.ENDPOINT) in error
    assert tree(models / NAME) == before
    assert [spec.name for spec in find_servables(models, no_warnings)] == ([NAME] if complete else [])
    if not weights_may_be_fetched:
        assert not hub.counts().keys() & (repository.files.keys() - CONFIGS)
        assert tree(partial_of(models / NAME)).keys() <= {*CONFIGS, ".pulled.json"}


def _make(trouble: str, hub: Hub, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Make it; whether weights may be fetched before it is found."""
    files = repository.files
    match trouble:
        case "no token":
            repository.token = "hf_right"
        case "wrong token":
            monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        case "gated" | "gated for this token":
            repository.token, repository.gated = "hf_right", True
            if trouble != "gated":
                hub.tokens = {"hf_other"}
                monkeypatch.setenv("HF_TOKEN", "hf_other")
            files["model_index.json"] += b"\n"  # so that there is something to be fetched
        case "no repository":
            del hub.repositories[NAME]
        case "no network":
            monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
        case "no hub":
            monkeypatch.setattr(constants, "ENDPOINT", f"{hub.url}/pages/page")
            hub.pages[f"page/api/models/{NAME}"] = b"<html>"
        case "a proxy that is no address":
            monkeypatch.setenv("HTTP_PROXY", "garbage:::1")
            close_session()  # it reads the variable when it is made
        case "a token that is no token":
            monkeypatch.setenv("HF_TOKEN", "\u20ac")
        case "offline":
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        case "a family that cannot run":
            files["model_index.json"] = files["model_index.json"].replace(
                b"StableDiffusionPipeline", b"CogViewPipeline"
            )
        case "a scheduler that cannot run":
            name = "scheduler/scheduler_config.json"
            files[name] = json.dumps({**json.loads(files[name]), "_class_name": "EDMScheduler"}).encode()
        case "not OpenVINO":
            repository.files = {
                path: content for path, content in files.items() if not path.endswith("openvino_model.xml")
            }
        case "no image model":
            del files["model_index.json"]
        case "an incomplete repository":
            del files["vae_decoder/openvino_model.xml"]
            return True
        case "wrong checksum":
            files[WEIGHTS] += b"x"
            hub.wrong[WEIGHTS] = files[WEIGHTS][:-1] + b"y"
            return True
        case "wrong checksum of a small file":
            files["unet/config.json"] += b" "
            hub.wrong["unet/config.json"] = files["unet/config.json"][:-1] + b"\n"
            return True
        case "a token that breaks a header":
            monkeypatch.setenv("HF_TOKEN", "hf_\x01")
        case "a file outside":
            files["../../evil"] = b"x"
        case "a file without a name":
            files[""] = b"x"
        case "a file that moves the cursor":
            files["a\x1b[2J"] = b"x"
        case "half a surrogate":
            hub.told["README.md"] = {"rfilename": "a\ud800"}
        case "a checksum that leads outside":
            hub.told["README.md"] = {"blobId": "/../../../../evil"}
        case "a size in words":
            hub.told["README.md"] = {"size": "12"}
        case "a size below zero":
            hub.told["README.md"] = {"size": -1}
        case "more than was told":
            hub.told["README.md"] = {"size": 3}
            return True
    return False


def test_offline_a_complete_model_is_up_to_date(
    repository: Repository, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pull(models) == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pull(models) == 0


def test_after_a_wrong_checksum_the_file_is_fetched_anew_and_no_complete_one(
    hub: Hub, repository: Repository, models: Path
) -> None:
    hub.wrong[WEIGHTS] = bytes(len(repository.files[WEIGHTS]))
    assert pull(models) == 1
    complete = set(tree(partial_of(models / NAME))) & repository.files.keys()
    assert complete >= CONFIGS
    hub.wrong.clear()
    hub.requests.clear()
    assert pull(models) == 0
    assert {(request.path, request.range) for request in hub.requests} == {
        (path, None) for path in repository.files.keys() - complete
    }
    assert read_model_folder(models / NAME, no_warnings) is not None


def test_a_connection_that_breaks_is_resumed_in_the_middle_of_a_file(
    hub: Hub, repository: Repository, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub waits before each new try
    repository.files[WEIGHTS] += bytes(24_000_000)
    tries = 7  # more than huggingface_hub makes
    hub.break_after[WEIGHTS] = [12_000_000, *[0] * tries]
    assert pull(models) == 1
    part = next((partial_of(models / NAME) / ".parts" / "unet").iterdir())
    arrived = part.stat().st_size
    assert arrived > 0
    hub.break_after.clear()
    hub.requests.clear()
    assert pull(models) == 0
    assert [request.range for request in hub.requests if request.path == WEIGHTS] == [f"bytes={arrived}-"]
    assert (models / NAME / WEIGHTS).read_bytes() == repository.files[WEIGHTS]


def test_what_is_left_of_a_commit_that_is_no_more_does_not_get_into_the_model(
    hub: Hub, repository: Repository, models: Path
) -> None:
    hub.wrong[WEIGHTS] = bytes(len(repository.files[WEIGHTS]))
    assert pull(models) == 1
    hub.wrong.clear()
    repository.files["unet/config.json"] = repository.files["unet/config.json"].replace(
        b"\n", b" ", 1
    )  # of the same length
    del repository.files["adapters/phosphor.safetensors"]
    assert pull(models) == 0
    found = tree(models / NAME)
    assert found.keys() - repository.files.keys() == {"graph.pbtxt", ".pulled.json"}
    assert found["unet/config.json"] == repository.files["unet/config.json"]


def test_two_pulls_of_one_model_do_not_disturb_each_other(
    repository: Repository, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with filling(models / NAME):
        assert pull(models) == 1
    assert "is being pulled by another process" in capsys.readouterr().err
    assert pull(models) == 0


def test_a_model_folder_that_cannot_be_written_is_told(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert pull(tmp_path / "file") == 1
    assert f"{tmp_path / 'file'}" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_model_is_told_before_anything_is_fetched(
    hub: Hub, repository: Repository, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (models / "OpenVINO").mkdir(parents=True)
    (models / NAME).write_text("mine")
    assert pull(models, "--overwrite_models") == 1
    assert f"{models / NAME} is a file" in capsys.readouterr().err
    assert not hub.requests
    assert tree(models) == {NAME: b"mine"}


def test_a_file_longer_than_http_get_takes_is_fetched(
    repository: Repository, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "MAX_HTTP_DOWNLOAD_SIZE", 1_000_000)
    assert pull(models) == 0
    assert (models / NAME / WEIGHTS).read_bytes() == repository.files[WEIGHTS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("refused: Bearer secret-of-mine", "refused: Bearer ***"),
        (f"hf_{'a1' * 17} is old", "*** is old"),
        ("https://me:word@hub.example/x failed", "https://***@hub.example/x failed"),
        ("http://a/b.safetensors?token=1&x=2 is longer", "http://a/b.safetensors?*** is longer"),
        ("OpenVINO/hf_model at https://hub.example", "OpenVINO/hf_model at https://hub.example"),
    ],
)
def test_errors_hold_no_secrets(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-of-mine")
    assert str(HubError(text)) == expected


def test_a_name_that_is_no_repository_is_a_wrong_command_line(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in ("../../etc/passwd", "shapes", "a/b/c", "/a/b", "a/..", ".a/b"):
        assert pull(models, source=source) == 2
        assert "is no repository of the Hugging Face hub: give org/name" in capsys.readouterr().err
    assert pull(models, "--task", "text_generation") == 2
    assert "'text_generation' is not served here; there is one task: image_generation" in capsys.readouterr().err
    assert pull(models, "--num_streams", "2", "--plugin_config", '{"NUM_STREAMS": 3}') == 2
    assert not models.exists()


def test_the_graph_is_the_same_as_one_that_the_server_reads(repository: Repository, models: Path) -> None:
    assert pull(models) == 0
    assert graph_servable(NAME, models / NAME / "graph.pbtxt").base_dir == models / NAME
    assert main(["check", str(models)]) == 0

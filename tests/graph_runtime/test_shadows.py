"""Files and packages of somebody's own that are called ``server`` or ``calculators``: an error that names them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from graph_runtime.shadows import check_ours

ROOT = Path(__file__).parents[2]
GRAPH = 'Plan(\'input_stream: "a" node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "b" }\')'


def python(*arguments: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": "" if path is None else str(path)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
    )


def foreign(folder: Path, name: str) -> Path:
    """A module of somebody's own that would do harm if it ran."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("print('this is not yours to run')\n")
    return file


@pytest.mark.parametrize("name", ["server.py", "server/__init__.py", "calculators.py", "calculators/__init__.py"])
def test_the_command_names_a_file_that_is_in_the_way_and_does_not_run_it(tmp_path: Path, name: str) -> None:
    file, package = foreign(tmp_path / "theirs", name), name.partition("/")[0].removesuffix(".py")
    command = str(Path(sys.executable).parent / "graph-runtime")
    for arguments in ([command, "--help"], ["-m", "graph_runtime", "--help"]):
        done = python(*arguments, cwd=tmp_path, path=tmp_path / "theirs")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"graph-runtime: {file} is in the way: `import {package}`")
        assert done.stderr.endswith(f"take {tmp_path / 'theirs'} out of PYTHONPATH.\n")


def test_the_command_is_not_disturbed_by_files_of_the_current_folder(tmp_path: Path) -> None:
    for name in ("server.py", "calculators.py"):
        foreign(tmp_path, name)
    for arguments in ([str(Path(sys.executable).parent / "graph-runtime")], ["-m", "graph_runtime"]):
        done = python(*arguments, "--help", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_python_m_graph_runtime_is_the_command(tmp_path: Path) -> None:
    done = python("-m", "graph_runtime", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: graph-runtime" in done.stdout
    assert python("-m", "graph_runtime", "nope", cwd=tmp_path).returncode == 2


def test_a_graph_in_a_script_beside_a_calculators_py_says_what_is_in_the_way(tmp_path: Path) -> None:
    file = foreign(tmp_path, "calculators.py")
    (tmp_path / "script.py").write_text(f"from graph_runtime import Plan\n{GRAPH}\n")
    done = python("script.py", cwd=tmp_path)
    assert done.returncode == 1
    assert f'Calculator "PassThroughCalculator" cannot be imported: {file} is in the way' in done.stderr
    assert "use `python -P`" in done.stderr
    assert python("-P", "script.py", cwd=tmp_path).returncode == 0, "what it says helps"


def test_an_application_beside_a_calculators_py_says_what_is_in_the_way(tmp_path: Path) -> None:
    file = foreign(tmp_path, "calculators.py")
    (tmp_path / "script.py").write_text("from server.app import build_app\n")
    done = python("script.py", cwd=tmp_path)
    assert done.returncode == 1
    assert f"ImportError: {file} is in the way: `import calculators`" in done.stderr


def test_a_program_with_a_server_of_its_own_can_embed_graphs(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(f"from graph_runtime import Plan\n{GRAPH}\n")
    (tmp_path / "script.py").write_text("import server\n")
    done = python("script.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_without_code_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "theirs" / "server").mkdir(parents=True)
    done = python("-m", "graph_runtime", "--help", cwd=tmp_path, path=tmp_path / "theirs")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_loaded_already_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    made_by_hand = type(sys)("server")
    monkeypatch.setitem(sys.modules, "server", made_by_hand)
    with pytest.raises(ImportError, match="a module made by this program is in the way: `import server`"):
        check_ours("server")
    monkeypatch.delitem(sys.modules, "server")
    check_ours("server")
    check_ours("calculators")

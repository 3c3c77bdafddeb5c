"""The exception tree: classes by status code, texts and pickling."""

from __future__ import annotations

import pickle

import pytest

from graph_runtime.errors import GraphError, GraphFileNotFoundError, Problem, StatusCode, combine, raise_problems


@pytest.mark.parametrize(
    ("code", "builtin"),
    [
        (StatusCode.INVALID_ARGUMENT, ValueError),
        (StatusCode.ALREADY_EXISTS, FileExistsError),
        (StatusCode.UNIMPLEMENTED, NotImplementedError),
        (StatusCode.NOT_FOUND, RuntimeError),
        (StatusCode.UNKNOWN, RuntimeError),
        (StatusCode.CANCELLED, RuntimeError),
    ],
)
def test_the_class_follows_the_code(code: StatusCode, builtin: type[Exception]) -> None:
    error = GraphError("text", code=code, node="n")
    assert isinstance(error, builtin)
    assert isinstance(error, GraphError)
    assert (str(error), error.code, error.node) == ("text", code, "n")


def test_a_missing_file_is_a_file_not_found_error() -> None:
    error = GraphFileNotFoundError("The path does not exist: x", code=StatusCode.NOT_FOUND)
    assert isinstance(error, FileNotFoundError)
    assert str(error) == "The path does not exist: x"


@pytest.mark.parametrize("code", list(StatusCode))
def test_every_error_pickles(code: StatusCode) -> None:
    problem = Problem("m", code, "f:1:2", "n", "h")
    error = GraphError("text", code=code, phase="open", node="n", place="f:1:2", problems=[problem])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)


def test_a_problem_prints_place_node_and_hint() -> None:
    problem = Problem("no such thing", StatusCode.NOT_FOUND, "g.pbtxt:3:4", "gen", 'did you mean "x"?')
    assert str(problem) == 'g.pbtxt:3:4: node "gen": no such thing; did you mean "x"?'


def test_combined_errors_keep_a_common_code_and_the_first_cause() -> None:
    first = GraphError("a", code=StatusCode.NOT_FOUND, node="n")
    first.__cause__ = KeyError("k")
    same = combine("failed: ", [first, GraphError("b", code=StatusCode.NOT_FOUND)])
    assert (same.code, str(same), same.node) == (StatusCode.NOT_FOUND, "failed: \na\nb", "n")
    assert same.__cause__ is first.__cause__
    assert combine("", [first, GraphError("b", code=StatusCode.INTERNAL)]).code == StatusCode.UNKNOWN


def test_problems_of_different_codes_raise_unknown() -> None:
    with pytest.raises(RuntimeError) as info:
        raise_problems("failed.", [Problem("a"), Problem("b", StatusCode.NOT_FOUND)])
    assert isinstance(info.value, GraphError)
    assert len(info.value.problems) == 2


def test_no_problems_raise_nothing() -> None:
    raise_problems("failed.", [])

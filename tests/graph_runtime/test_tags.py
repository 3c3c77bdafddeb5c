"""TAG:index:name: what is accepted, the order of ports, and the errors."""

from __future__ import annotations

import pytest

from graph_runtime import GraphError, StatusCode
from graph_runtime.tags import TagIndexName, TagMap, parse_tag_index, parse_tag_index_name


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("foo", ("", -1, "foo")),
        ("_", ("", -1, "_")),
        ("TAG:foo", ("TAG", 0, "foo")),
        ("TAG:2:foo", ("TAG", 2, "foo")),
        ("_:a", ("_", 0, "a")),
        ("T_1:10000:a_1", ("T_1", 10000, "a_1")),
    ],
)
def test_accepted_entries(text: str, parsed: tuple[str, int, str]) -> None:
    assert parse_tag_index_name(text) == TagIndexName(*parsed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Aa",
        "TAG:",
        ":a",
        ":0:foo",
        "tag:foo",
        "TAG:01:a",
        "a b",
        "TAG:-1:a",
        "TAG:1:2:a",
        "ä",
        "a\n",
    ],
)
def test_refused_entries(text: str) -> None:
    with pytest.raises(ValueError, match="TAG:index:name is invalid"):
        parse_tag_index_name(text)


@pytest.mark.parametrize(("text", "parsed"), [("", ("", 0)), (":2", ("", 2)), ("A", ("A", 0)), ("A:3", ("A", 3))])
def test_tag_index(text: str, parsed: tuple[str, int]) -> None:
    assert parse_tag_index(text) == parsed


def test_tag_index_refuses_a_name() -> None:
    with pytest.raises(ValueError, match="TAG:index is invalid"):
        parse_tag_index("A:b")


def ports(*entries: str) -> TagMap:
    return TagMap([parse_tag_index_name(entry) for entry in entries])


def test_ports_are_ordered_by_tag_then_index_with_untagged_first() -> None:
    tag_map = ports("B:b", "x", "A:1:a1", "A:0:a0", "y")
    assert list(tag_map) == [("", 0), ("", 1), ("A", 0), ("A", 1), ("B", 0)]
    assert tag_map.names == ["x", "y", "a0", "a1", "b"]
    assert tag_map.source == [1, 4, 3, 2, 0]


@pytest.mark.parametrize("index", ["10001", "99999999999999999999", "1" * 5000])
def test_an_index_above_the_limit_is_refused(index: str) -> None:
    with pytest.raises(RuntimeError, match=r"^TAG:index:name is invalid, the index in .* is above 10000\.$") as info:
        parse_tag_index_name(f"TAG:{index}:a")
    assert isinstance(info.value, GraphError)
    assert info.value.code == StatusCode.INTERNAL
    with pytest.raises(RuntimeError, match=r"^TAG:index is invalid, the index in .* is above 10000\.$"):
        parse_tag_index(f"TAG:{index}")
    assert parse_tag_index_name("TAG:10000:a").index == 10000


@pytest.mark.parametrize("second", ["b", "a"])
def test_one_port_given_twice_is_refused(second: str) -> None:
    text = f'tag "A" index 0 already had a name "a" but is being reassigned a name "{second}"'
    with pytest.raises(GraphError, match=text) as info:
        ports("A:a", f"A:{second}")
    assert info.value.code == StatusCode.FAILED_PRECONDITION


def test_a_gap_lists_what_is_missing() -> None:
    with pytest.raises(GraphError, match=r'(?s)Not all indexes.*"A".*index 0 name <missing>.*index 1 name "a"'):
        ports("A:1:a")

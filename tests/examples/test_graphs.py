"""The graphs of examples/graphs: each runs, and makes what its text says. A frame is a row of pixels; 100 and more is bright."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from examples.graphs import calculators  # noqa: F401  # registers them
from graph_runtime import CalculatorGraph, Packet, Plan

GRAPHS = Path(__file__).parents[2] / "examples" / "graphs"

Row = tuple[str, Any, int]
"""A stream, a value, and a timestamp."""


def plan(name: str) -> Plan:
    return Plan(GRAPHS / f"{name}.pbtxt", subgraphs=sorted((GRAPHS / "subgraphs").glob("*.pbtxt")))


def run(name: str, rows: Sequence[Row], **side_packets: Any) -> dict[str, list[tuple[Any, int]]]:
    """All packets of all output streams, as (value, timestamp); each row is worked off before the next one is given."""
    made: dict[str, list[tuple[Any, int]]] = defaultdict(list)
    graph = CalculatorGraph(plan(name))
    for _, _, stream in plan(name).graph_outputs:
        graph.observe_output_stream(
            stream, lambda stream, packet: made[stream].append((packet.value, packet.timestamp))
        )
    graph.start_run(side_packets)
    for stream, value, timestamp in rows:
        graph.add_packet_to_input_stream(stream, Packet(value).at(timestamp))
        graph.wait_until_idle()
    graph.close_all_packet_sources()
    graph.wait_until_done()
    return dict(made)


def frames(*each: list[int]) -> list[Row]:
    """Frames at 0, 1, 2 ..."""
    return [("frame", frame, at) for at, frame in enumerate(each)]


def test_every_graph_is_run_here_and_listed_for_readers() -> None:
    names = {path.stem for path in GRAPHS.glob("*.pbtxt")}
    tests = re.sub(r"\s", "", Path(__file__).read_text(encoding="utf-8"))
    listed = (GRAPHS / "README.md").read_text(encoding="utf-8")
    assert len(names) >= 12
    assert [name for name in sorted(names) if f'run("{name}",' not in tests and f'plan("{name}")' not in tests] == []
    assert [name for name in sorted(names) if f"`{name}.pbtxt`" not in listed] == []


@pytest.mark.parametrize("path", sorted(GRAPHS.glob("*.pbtxt")), ids=lambda path: path.stem)
def test_no_graph_has_a_warning(path: Path) -> None:
    assert plan(path.stem).warnings == ()


def test_live_detection_marks_at_most_two_spots_of_each_frame() -> None:
    assert run("live_detection", frames([0, 150, 30], [200, 0, 120, 130], [0, 0])) == {
        "marked": [([0, 255, 30], 0), ([255, 0, 255, 130], 1), ([0, 0], 2)]
    }


def test_preview_drops_what_comes_while_a_frame_is_shown_but_for_the_newest() -> None:
    rows = [
        ("frame", "a", 0),  # goes through: nothing is shown yet
        ("frame", "b", 1),  # waits
        ("frame", "c", 2),  # waits in the place of b
        ("shown", "yes", 0),  # so c goes through
        ("shown", "yes", 2),
        ("frame", "d", 3),  # goes through at once
    ]
    assert run("preview", rows) == {
        "to_show": [("a", 0), ("c", 2), ("d", 3)],
        "is_shown": [(True, 0), (False, 1), (True, 2), (True, 3)],
    }


def test_tracking_searches_the_whole_frame_only_when_the_spot_is_lost() -> None:
    made = run("tracking", frames(
        [0, 0, 200, 0, 0, 0],  # searched: nothing is known yet
        [0, 0, 0, 180, 0, 0],  # one step to the right, inside the region 1..3
        [0, 0, 0, 0, 0, 150],  # outside the region 2..4, so that nothing is found
        [0, 0, 0, 0, 0, 150],  # searched again
        [0, 0, 0, 0, 0, 140],
    ))  # fmt: skip
    assert made["spot"] == [(2, 0), (3, 1), (5, 3), (5, 4)]
    assert [timestamp for _, timestamp in made["searched"]] == [0, 3]


def test_each_spot_gets_its_own_sum() -> None:
    made = run(
        "each_spot",
        frames([10, 100, 20, 0, 150, 5], [0, 0, 0], [300, 0, 0, 0, 110, 0, 120]),
        max_spots=2,
    )
    # 10 + 100 + 20 and 0 + 150 + 5; no spots, no list; of three spots the first two: 300 + 0, and 0 + 110 + 0.
    assert made == {"sums": [([130, 155], 0), ([300, 110], 2)]}


def test_both_halves_may_lack_a_spot() -> None:
    made = run("both_halves", frames([0, 200, 0, 0, 0, 150], [0, 0, 0, 120, 0, 0], [0] * 6))
    assert made == {"spots": [([1, 2], 0), ([0], 1)], "right_region": [((1, 4), 0), ((0, 2), 1)]}


@pytest.mark.parametrize(("smooth", "steady"), [(False, [10.0, 20.0, 40.0]), (True, [10.0, 15.0, 27.5])])
def test_smoothing_is_switched_by_a_side_packet(smooth: bool, steady: list[float]) -> None:
    numbers = [("number", number, at) for at, number in enumerate([10.0, 20.0, 40.0])]
    assert run("smoothing", numbers, smooth=smooth) == {"steady": list(zip(steady, [0, 1, 2], strict=True))}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({}, "models/full.bin"),
        ({"complexity": 0}, "models/lite.bin"),
        ({"complexity": 2}, "models/heavy.bin"),
    ],
)
def test_model_path_is_chosen_when_the_run_starts(given: dict[str, int], path: str) -> None:
    graph = CalculatorGraph(plan("model_path"))
    graph.start_run(given)
    graph.wait_until_done()
    assert graph.get_output_side_packet("model_path").value == path


def test_fading_mask_halves_what_was_bright() -> None:
    assert run("fading_mask", frames([100, 0], [0, 40], [0, 0])) == {
        "mask": [([100, 0], 0), ([50, 40], 1), ([25, 20], 2)]
    }


def test_audio_level_is_displayed_once_in_ten_units() -> None:
    made = run("audio_level", [("block", [1, 2, 3], 0), ("block", [4, 4], 3), ("block", [1], 12)], channels=2)
    assert made == {"level": [(3.0, 0), (4.0, 3), (0.5, 12)], "displayed": [(3.0, 0), (0.5, 12)]}


def test_two_rates_come_from_the_options_of_the_nodes() -> None:
    made = run("two_rates", [("number", at, at) for at in (0, 2, 5, 9, 10, 20)])
    # One packet, then none for 10 (the subgraph's own period) or 4 (the node's) units.
    assert [value for value, _ in made["seldom"]] == [0, 10, 20]
    assert [value for value, _ in made["often"]] == [0, 5, 9, 20]


def test_clicks_wait_for_nothing_and_frames_for_their_sound() -> None:
    made = run("clicks", [("frame", "f", 0), ("click", "c", 5), ("sound", "s", 0), ("click", "c", 6)])
    assert [tags for tags, _ in made["what_came"]] == [["CLICK"], ["FRAME", "SOUND"], ["CLICK"]]


def test_seldom_detection_carries_the_last_spots_on() -> None:
    made = run("seldom_detection", [("frame", [150, 0], 0), ("frame", [0, 150], 5), ("frame", [0, 150], 10)])
    assert made == {"marked": [([255, 0], 0), ([255, 150], 5), ([0, 255], 10)]}


def test_hints_and_guesses_come_out_in_order_and_late_ones_not_at_all() -> None:
    made = run("hints", [("guess", "g1", 1), ("hint", "h3", 3), ("guess", "g2", 2), ("guess", "g4", 4)])
    assert made == {"target": [("g1", 1), ("h3", 3), ("g4", 4)]}


def test_two_workers_take_turns_and_keep_the_order() -> None:
    made = run("two_workers", frames([1], [2], [3], [4]))
    assert made == {"sum": [(1, 0), (2, 1), (3, 2), (4, 3)], "first_sum": [(1, 0), (3, 2)]}


def test_motion_is_the_difference_to_the_next_frame() -> None:
    assert run("motion", frames([1, 1], [4, 1], [4, 9])) == {"change": [([3, 0], 0), ([0, 8], 1)]}

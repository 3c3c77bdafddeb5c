"""Graphs as pictures: what is in them, that nothing overlaps, and that no name gets out of its place."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from examples.graphs import calculators  # noqa: F401  # registers them
from graph_runtime import Plan
from graph_runtime.drawing import MAX_SVG_NODES, Drawing, drawing_of, to_dot, to_mermaid, to_svg
from graph_runtime.drawing.layout import LABEL_ROW, Rect, lay_out

GRAPHS = Path(__file__).parents[2] / "examples" / "graphs"
SUBGRAPHS = sorted((GRAPHS / "subgraphs").glob("*.pbtxt"))
EXAMPLES = sorted(GRAPHS.glob("*.pbtxt"))
SVG = "{http://www.w3.org/2000/svg}"
NASTY = r"""]"); end --> <img src=x onerror=alert(1)> & &#60; \N \" `%%{init}%%` #quot; </svg>"""


def example(name: str) -> Drawing:
    return drawing_of(GRAPHS / f"{name}.pbtxt", subgraphs=SUBGRAPHS)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def sixty_nodes() -> str:
    lines = ['input_stream: "s0"', 'input_side_packet: "model"']
    for at in range(60):
        inputs = " ".join(f'input_stream: "IN:{port}:s{max(0, at - 3 * port)}"' for port in range(1 + at % 3))
        side = 'input_side_packet: "MODEL:model"' if at % 9 == 0 else ""
        lines.append(f'node {{ calculator: "C{at % 4}" {inputs} {side} output_stream: "s{at + 1}" }}')
    return "\n".join(lines)


def overlap(one: Rect, two: Rect) -> bool:
    return (
        one.x < two.x + two.width
        and two.x < one.x + one.width
        and one.y < two.y + two.height
        and two.y < one.y + one.height
    )


def test_a_drawing_has_streams_side_packets_back_edges_and_boxes() -> None:
    tracking = example("tracking")
    by_label = {node.label: node for node in tracking.nodes}
    assert [(box.label, box.subgraph) for box in tracking.boxes] == [("BrightSpotDetection", "BrightSpotDetection")]
    assert {node.label for node in tracking.nodes if node.box == "b0"} == {"BrightSpots", "ClipVectorSizeCalculator"}
    assert by_label["BrightSpots"].outputs[0].label == "all_spots"  # not brightspotdetection__all_spots
    back = [each for each in tracking.labelled_edges() if each[0].back_edge]
    assert [(tag_out, name, tag_in) for _, tag_out, name, tag_in in back] == [("REGION", "next_region", "LOOP")]
    assert back[0][0].target == by_label["PreviousLoopbackCalculator"].id
    assert [(end.name, end.role) for end in tracking.terminals] == [
        ("frame", "input"), ("spot", "output"), ("searched", "output"),
    ]  # fmt: skip
    level = example("audio_level")
    assert [(end.name, end.kind) for end in level.terminals if end.role == "input"] == [
        ("block", "stream"), ("channels", "side_packet"),
    ]  # fmt: skip
    assert "\n  t1 -.-> n0" in to_mermaid(level)


def test_a_side_packet_that_no_file_declares_comes_from_outside_too() -> None:
    drawing = drawing_of('node { calculator: "A" input_side_packet: "R:pipes" output_stream: "out" }')
    assert [(end.name, end.role, end.kind) for end in drawing.terminals] == [("pipes", "input", "side_packet")]


def test_special_ways_to_run_a_node_are_told() -> None:
    (clicks,) = example("clicks").nodes
    assert clicks.notes == ("SyncSetInputStreamHandler",)
    drawing = drawing_of(
        'node { calculator: "A" output_stream: "a" executor: "gpu" max_in_flight: 4 source_layer: 1 }'
        'executor { name: "gpu" }'
    )
    assert drawing.nodes[0].notes == ("executor gpu", "max_in_flight 4", "source_layer 1")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_plan_and_its_file_give_the_same_picture(path: Path) -> None:
    def shape(drawing: Drawing) -> object:
        return (
            sorted((node.label, node.calculator, node.place or "") for node in drawing.nodes),
            sorted((box.label, box.subgraph) for box in drawing.boxes),
            sorted(str(each[1:]) for each in drawing.labelled_edges()),
        )

    plan = Plan(path, subgraphs=SUBGRAPHS)
    assert shape(drawing_of(plan)) == shape(example(path.stem))
    assert [node.name for node in drawing_of(plan).nodes] == [node.name for node in plan.nodes]


def test_a_graph_with_a_broken_subgraph_is_drawn_without_what_is_in_it() -> None:
    text = 'input_stream: "in" node { calculator: "Half" input_stream: "WRONG:in" output_stream: "SPOT:spot" }'
    drawing = drawing_of(text, subgraphs=SUBGRAPHS)
    assert [(node.calculator, node.is_subgraph) for node in drawing.nodes] == [("Half", True)]
    assert not drawing.boxes
    assert drawing_of(GRAPHS / "two_rates.pbtxt", subgraphs=SUBGRAPHS, expand_subgraphs=False).nodes[0].is_subgraph


def test_a_stream_that_nobody_makes_is_drawn_as_missing() -> None:
    drawing = drawing_of('node { calculator: "Unknown" input_stream: "nowhere" } output_stream: "neither"')
    assert [(end.name, end.role) for end in drawing.terminals] == [("nowhere", "missing"), ("neither", "output")]
    assert [(edge.source, edge.target) for edge in drawing.edges] == [(drawing.terminals[0].id, "n0")]
    assert "made by no node" in to_mermaid(drawing)
    assert "made by no node" in to_dot(drawing)


@pytest.mark.parametrize(
    "graph", [*EXAMPLES, sixty_nodes(), 'node { calculator: "Alone" }'], ids=lambda each: str(each)[-30:]
)
def test_nothing_overlaps_and_every_edge_ends_at_its_port(graph: Path | str) -> None:
    drawing = drawing_of(graph, subgraphs=SUBGRAPHS)
    layout = lay_out(drawing)
    boxes = {box.id: box.box for box in drawing.boxes}
    home = {node.id: node.box for node in drawing.nodes} | {end.id: None for end in drawing.terminals} | boxes
    rects = {
        each: rect
        if each in boxes
        else Rect(rect.x, rect.y, rect.width, rect.height + LABEL_ROW * bool(rect.outputs) / 2)
        for each, rect in layout.rects.items()
    }
    for one, two in combinations(rects, 2):
        if home[one] == home[two]:
            assert not overlap(rects[one], rects[two]), (one, two)
    for thing, box in home.items():
        if box is not None:
            inner, outer = rects[thing], rects[box]
            assert outer.x <= inner.x
            assert inner.x + inner.width <= outer.x + outer.width
            assert outer.y <= inner.y
            assert inner.y + inner.height <= outer.y + outer.height
    for edge, way in zip(drawing.edges, layout.ways, strict=True):
        target = layout.rects[edge.target]
        assert way[-1] == pytest.approx((target.x + target.inputs[edge.input], target.y))
    for edge, way in zip(drawing.edges, layout.ways, strict=True):
        x, y = zip(*way, strict=True)
        assert min(x) >= 0
        assert max(x) <= layout.width + 1
        if not edge.back_edge and edge.source != edge.target and len(way) > 1:
            assert y == tuple(sorted(y))  # all lines of these graphs lead down, but for back edges


def test_a_cycle_that_no_back_edge_closes_is_drawn() -> None:
    drawing = drawing_of(
        'node { calculator: "A" input_stream: "b" output_stream: "a" }'
        'node { calculator: "B" input_stream: "a" output_stream: "b" }'
        'node { calculator: "C" input_stream: "c" output_stream: "c" }'
    )
    assert len(ElementTree.fromstring(to_svg(drawing)).findall(f"{SVG}g[@data-source]")) == 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_svg_tells_what_it_shows_and_needs_nothing_else(path: Path) -> None:
    drawing = example(path.stem)
    text = to_svg(drawing)
    root = ElementTree.fromstring(text)
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert description.text == drawing.summary()
    assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
    assert [node.attrib["data-node"] for node in root.findall(f"{SVG}g[@class='node']")] == [
        node.name for node in drawing.nodes
    ]
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"href|<script|<image|@import|url\(", text)


def test_names_stay_text_whatever_is_in_them() -> None:
    graph = f"node {{ name: {quoted(NASTY)} calculator: {quoted(NASTY)} output_stream: {quoted('OUT:' + NASTY)} }}"
    drawing = drawing_of(graph + "\nnode { name: '\x01\\n\\001' calculator: 'B' }", title=NASTY)
    assert drawing.nodes[0].name == NASTY
    root = ElementTree.fromstring(to_svg(drawing))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "desc", "style", "g", "rect", "text",
    }  # fmt: skip
    assert root.findall(f"{SVG}g[@class='node']")[0].attrib["data-node"] == NASTY
    for line in to_mermaid(drawing).splitlines()[1:]:
        assert re.fullmatch(r' +\w+(\[)?\[?(\(\[)?"([\w :]|#\d+;|<br/>)*"\]?\]?(\)\])?', line), line
    for line in to_dot(drawing).splitlines():
        strings = re.sub(r'"(?:[^"\\\n]|\\.)*"', "TEXT", line)
        assert re.fullmatch(r"[\w ={}\[\],>-]+", strings), line
    assert r"\\N \\\" " in to_dot(drawing)
    assert "&amp;#60;" in to_dot(drawing)


def test_a_node_without_any_name_is_drawn() -> None:
    drawing = drawing_of('input_stream: "" node { calculator: "" input_stream: "" }')
    assert to_mermaid(drawing).splitlines()[1:3] == ['  t0([" "])', '  n0[" "]']  # Mermaid refuses empty texts
    ElementTree.fromstring(to_svg(drawing))


def test_streams_of_outer_boxes_are_short_in_inner_ones(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.pbtxt", tmp_path / "outer.pbtxt"
    inner.write_text("""type: "Inner" input_stream: "in" output_stream: "out"
        node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }""")
    outer.write_text("""type: "Outer" input_stream: "in" output_stream: "out"
        node { calculator: "Inner" input_stream: "in" output_stream: "middle" }
        node { calculator: "PassThroughCalculator" input_stream: "middle" output_stream: "out" }""")
    drawing = drawing_of(
        'input_stream: "a" node { calculator: "Outer" input_stream: "a" output_stream: "b" }', subgraphs=[inner, outer]
    )
    made = {(port.name, port.label) for node in drawing.nodes for port in node.outputs}
    assert made == {("outer__middle", "middle"), ("b", "b")}


def test_a_graph_too_large_for_a_picture_is_refused_in_words() -> None:
    drawing = drawing_of('node { calculator: "A" }\n' * (MAX_SVG_NODES + 1))
    with pytest.raises(ValueError, match=f"more than {MAX_SVG_NODES}"):
        to_svg(drawing)
    assert to_dot(drawing).count("label=") == MAX_SVG_NODES + 1


def test_a_large_fan_out_costs_what_is_drawn_and_no_more() -> None:
    chain = "\n".join(
        f'node {{ calculator: "A" input_stream: "in" input_stream: "s{at}" output_stream: "s{at + 1}" }}'
        for at in range(200)
    )
    text = to_svg(drawing_of(f'input_stream: "in" input_stream: "s0" {chain}'))
    assert len(text) < 400_000  # each line is drawn once, not from its beginning for each node that it leads to


def test_long_names_are_cut_and_told_in_full() -> None:
    name = "x" * 300
    text = to_svg(drawing_of(f'node {{ name: "{name}" calculator: "A" }}'))
    assert f"<title>{name}: A</title>" in text
    assert f">{'x' * 39}…<" in text

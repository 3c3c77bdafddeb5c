"""A drawing as a Mermaid flowchart, which GitHub and many others show."""

from __future__ import annotations

from collections.abc import Iterator

from graph_runtime.drawing.parts import Drawing, Node

_ARROWS = {"stream": "-->", "side_packet": "-.->", "back": "==>"}


def to_mermaid(drawing: Drawing) -> str:
    """The text of a flowchart: side packets are dotted arrows, back edges thick ones, subgraphs boxes."""
    return "\n".join(_lines(drawing)) + "\n"


def _lines(drawing: Drawing) -> Iterator[str]:
    yield "flowchart TD"
    for end in drawing.terminals:
        name = end.name if end.role != "missing" else f"{end.name} (made by no node)"
        text = _text(f"{end.tag}:{name}" if end.tag else name)
        yield f"  {end.id}([{text}])" if end.kind == "stream" else f"  {end.id}[/{text}/]"
    yield from _inside(drawing, None, "  ")
    ends = {each.id for each in drawing.terminals}
    for edge, tag_out, name, tag_in in drawing.labelled_edges():
        arrow = _ARROWS["back" if edge.back_edge else edge.kind]
        in_terminal = edge.source in ends or edge.target in ends  # the name stands there
        label = tag_in or tag_out if in_terminal else f"{name} {tag_in}".rstrip()
        yield f"  {edge.source} {arrow}{f'|{_text(label)}|' if label else ''} {edge.target}"
    if any(node.problems for node in drawing.nodes):
        yield "  classDef problem stroke:#c00,stroke-width:3px"
        yield f"  class {','.join(node.id for node in drawing.nodes if node.problems)} problem"


def _inside(drawing: Drawing, box: str | None, indent: str) -> Iterator[str]:
    """What is in a box, boxes in it included."""
    for node in drawing.nodes:
        if node.box == box:
            yield f"{indent}{_node(node)}"
    for inner in drawing.boxes:
        if inner.box == box:
            yield f"{indent}subgraph {inner.id}[{_text(_titled(inner.label, inner.subgraph))}]"
            yield from _inside(drawing, inner.id, indent + "  ")
            yield f"{indent}end"


def _node(node: Node) -> str:
    lines = [node.label, *([] if node.calculator == node.label else [node.calculator]), *node.notes]
    text = _text(*lines)
    return f"{node.id}[[{text}]]" if node.is_subgraph else f"{node.id}[{text}]"


def _titled(label: str, subgraph: str) -> str:
    return label if label == subgraph else f"{label} ({subgraph})"


def _text(*lines: str) -> str:
    """Lines as a quoted text, never an empty one, which Mermaid refuses.

    All but letters, digits and a few signs become entity codes: names may be anything.
    """
    text = "<br/>".join("".join(map(_character, line)) for line in lines)
    return f'"{text or " "}"'


def _character(character: str) -> str:
    if character.isalnum() or character in " _:":  # others may mean something: "1. " is a list
        return character
    return f"#{ord(character)};" if character.isprintable() else " "

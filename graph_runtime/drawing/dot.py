"""A drawing in DOT, the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from graph_runtime.drawing.parts import Drawing, Node


def to_dot(drawing: Drawing) -> str:
    """The text of a digraph: side packets are dashed edges, back edges bold ones that do not order nodes, subgraphs clusters."""
    return "\n".join(_lines(drawing)) + "\n"


def _lines(drawing: Drawing) -> Iterator[str]:
    yield f"digraph {_text(drawing.title)} {{"
    yield '  node [shape=box, style=rounded, fontname="sans-serif", fontsize=11]'
    yield '  edge [fontname="sans-serif", fontsize=9]'
    for end in drawing.terminals:
        name = f"{end.tag}:{end.name}" if end.tag else end.name
        shape = "oval" if end.kind == "stream" else "parallelogram"
        more = ', color="#cc0000", tooltip="made by no node"' if end.role == "missing" else ""
        style = 'style=""' if end.kind == "stream" else "style=dashed"
        yield f"  {end.id} [label={_text(name)}, shape={shape}, {style}{more}]"
    yield from _inside(drawing, None, "  ")
    for edge, tag_out, name, tag_in in drawing.labelled_edges():
        attributes = [f"label={_text(name)}"]
        attributes += [f"taillabel={_text(tag_out)}"] if tag_out else []
        attributes += [f"headlabel={_text(tag_in)}"] if tag_in else []
        if edge.kind == "side_packet":
            attributes.append("style=dashed")
        if edge.back_edge:
            attributes += ["style=bold", "constraint=false", 'tooltip="back edge"']
        yield f"  {edge.source} -> {edge.target} [{', '.join(attributes)}]"
    yield "}"


def _inside(drawing: Drawing, box: str | None, indent: str) -> Iterator[str]:
    """What is in a box, boxes in it included."""
    for node in drawing.nodes:
        if node.box == box:
            yield indent + _node(node)
    for inner in drawing.boxes:
        if inner.box == box:
            yield f"{indent}subgraph cluster_{inner.id} {{"
            title = inner.label if inner.label == inner.subgraph else f"{inner.label} ({inner.subgraph})"
            yield f'{indent}  label={_text(title)}; labeljust=l; fontname="sans-serif"; fontsize=11; style=rounded'
            yield from _inside(drawing, inner.id, indent + "  ")
            yield f"{indent}}}"


def _node(node: Node) -> str:
    lines = [node.label, *([] if node.calculator == node.label else [node.calculator]), *node.notes]
    more = ", peripheries=2" if node.is_subgraph else ""
    if node.problems:
        more += f', color="#cc0000", tooltip={_text(*node.problems)}'
    return f"{node.id} [label={_text(*lines)}{more}]"


def _text(*lines: str) -> str:
    r"""Lines as a quoted text. ``\`` would begin an escape sequence and ``&`` an entity, which no name means to."""
    return '"' + r"\n".join("".join(map(_character, line)) for line in lines) + '"'


def _character(character: str) -> str:
    if character in '\\"':
        return "\\" + character
    if character == "&":
        return "&amp;"
    return character if character.isprintable() else " "

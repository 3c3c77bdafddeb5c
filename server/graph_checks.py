"""What a server asks of a graph beyond what MediaPipe does: the names and tags of the graph's own streams and side packets.

Source: OVMS, which checks the same when it loads a graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graph_runtime.config import GraphSource
from graph_runtime.errors import GraphError, Problem, StatusCode
from graph_runtime.tags import parse_tag_index_name

_STREAMS = ("input_stream", "output_stream")
_LISTS = (*_STREAMS, "input_side_packet", "output_side_packet")


def graph_problems(source: GraphSource) -> list[Problem]:
    """Everything about a graph's own streams and side packets for which no call of it could be served."""
    return [*_names(source), *_missing_streams(source), *_tags(source)]


def _names(source: GraphSource) -> Iterator[Problem]:
    for field in _LISTS:
        seen: set[str] = set()
        for position, entry in enumerate(getattr(source.config, field)):
            name = entry.rpartition(":")[2]
            place = source.positions.place(field, position)
            if field not in _STREAMS:  # MediaPipe tells it of streams, and takes no notice of side packets
                try:
                    parse_tag_index_name(entry)
                except GraphError as error:
                    yield Problem(error.message, error.code, place)
                    continue
            if name and name in seen:
                hint = "each needs a name of its own; a node can make another stream of it"
                yield Problem(f'{field} "{name}" is there twice', place=place, hint=hint if field in _STREAMS else None)
            seen.add(name)


def _missing_streams(source: GraphSource) -> Iterator[Problem]:
    for field in _STREAMS:
        if source.config.node and not getattr(source.config, field) and not source.problems:
            hint = f'give {field}: "TAG:name"'
            yield Problem(
                f"the graph has no {field}, so that no request can use it", StatusCode.INTERNAL, source.file, hint=hint
            )


def _tags(source: GraphSource) -> Iterator[Problem]:
    lists = {field: list(getattr(source.config, field)) for field in _STREAMS}
    for field, entries in lists.items():
        for position, entry in enumerate(entries):
            if entry.startswith("TFLITE_TENSOR"):
                yield Problem(
                    f'{field} "{entry}": the tag TFLITE_TENSOR is not supported',
                    StatusCode.UNIMPLEMENTED,
                    source.positions.place(field, position),
                    hint="use OVTENSOR",
                )
    whole = {
        "REQUEST": _tagged(lists["input_stream"], "REQUEST"),
        "RESPONSE": _tagged(lists["output_stream"], "RESPONSE"),
    }
    if not any(whole.values()):
        return
    for tag, field in (("REQUEST", "input_stream"), ("RESPONSE", "output_stream")):
        if not whole[tag]:
            other = "RESPONSE" if tag == "REQUEST" else "REQUEST"
            text = f"a graph with a {other} needs one {field} with the tag {tag}, and this has none"
            yield Problem(text, place=source.file, hint=f'give {field}: "{tag}:name"')
        elif len(lists[field]) > 1:
            text = (
                f"a graph with a {tag} takes the whole request, and has one {field} alone; this has {len(lists[field])}"
            )
            yield Problem(
                text,
                place=source.positions.place(field, 1),
                hint="use one stream, or tags such as OVTENSOR for each tensor",
            )


def _tagged(entries: Sequence[str], tag: str) -> list[str]:
    """The entries whose tag begins so. REQUEST_PAYLOAD and RESPONSE_PAYLOAD are old tags of graphs that are called over HTTP."""
    return [
        entry for entry in entries if entry.startswith(tag) and ":" in entry and not entry.startswith(f"{tag}_PAYLOAD")
    ]

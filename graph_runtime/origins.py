"""Where the parts of an expanded graph were written: in the graph itself, or in a subgraph that one of its nodes names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graph_runtime.positions import FieldPath, Positions


@dataclass(frozen=True, slots=True)
class Use:
    """A node that was replaced by the nodes of a subgraph.

    Attributes:
        subgraph: the name under which the subgraph was found.
        node: the node's canonical name.
        origin: where it was written.
        key: equal for two nodes whose graphs are the same.
    """

    subgraph: str
    node: str
    origin: Origin
    key: tuple[object, ...]

    @property
    def prefix(self) -> str:
        """What is put before the names of all that comes in the node's place, but for its ports."""
        return self.node.lower().translate(str.maketrans(". :", "___")) + "__"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part of the expanded graph was written.

    Attributes:
        positions: places in that text; None for a graph without one: its parts stand where the subgraph node stands.
        path: of the part, in the graph that it was written in.
        kept: for lists that lost entries, the former position of each entry that is left.
        use: the subgraph node that it comes from; None in the top graph.
    """

    positions: Positions | None
    path: FieldPath = ()
    kept: Mapping[str, Sequence[int]] = field(default_factory=dict)
    use: Use | None = None

    def place(self, *path: str | int) -> str:
        """``file:line:column`` of a field below this part."""
        if self.positions is None:
            assert self.use is not None
            return self.use.origin.place()
        if len(path) > 1 and path[0] in self.kept:
            path = (path[0], self.kept[str(path[0])][int(path[1])], *path[2:])
        return self.positions.place(*self.path, *path)

    def uses(self) -> Iterator[Use]:
        """The subgraph nodes around it, the innermost first."""
        use = self.use
        while use is not None:
            yield use
            use = use.origin.use

    def note(self, hint: str | None = None) -> str | None:
        """A hint, followed by the subgraph nodes around this part and their places."""
        notes = [] if hint is None else [hint]
        is_told = self.positions is None  # the place of the innermost node is that of the part
        for use in self.uses():
            at = "" if is_told else f" ({use.origin.place()})"
            is_told = use.origin.positions is None
            notes.append(f'in subgraph "{use.subgraph}" of node "{use.node}"{at}')
        return "; ".join(notes) or None

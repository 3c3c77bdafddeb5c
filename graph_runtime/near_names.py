"""Which known name a wrong one was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_name(name: str, known: Iterable[str], ending: str) -> str | None:
    """The known name that is so near that a slip of the pen explains the difference; None where there is none.

    ``InferenceCalculator`` and ``MergeCalculator`` are alike but for what matters. So names are compared without their package and
    ending; as a whole where the slip may be in the ending.

    Args:
        name: the name that is not known.
        known: all names that it could be.
        ending: what most of them end with, such as ``Calculator``.
    """
    names = sorted(known)
    stems = {_stem(each, ending): each for each in reversed(names) if each.endswith(ending)}
    near = difflib.get_close_matches(_stem(name, ending), list(stems), n=1, cutoff=0.8)
    if near:
        return stems[near[0]]
    whole = [] if name.endswith(ending) else difflib.get_close_matches(name, names, n=1, cutoff=0.9)
    return whole[0] if whole else None


def did_you_mean(name: str, possible: Iterable[str], listed_as: str | None = None) -> str | None:
    """A hint that names the likeliest of the possible names.

    Args:
        name: the name that is not known.
        possible: all names that it could be.
        listed_as: where none is near, the names are listed after these words; without them there is no hint then.
    """
    names = sorted(possible)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"{listed_as}: {', '.join(names)}" if names and listed_as else None


def _stem(name: str, ending: str) -> str:
    return name.removesuffix(ending).rpartition(".")[2]

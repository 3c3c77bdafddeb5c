"""What is said of servables that cannot be used: to clients, and in the log."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from calculators.http_payload import RequestError
from graph_runtime import GraphError
from server.discovery import ServableSpec

_RETRY_LOADING_S = 5
_NAMES_SHOWN = 20
_LONGEST_SHOWN = 100
# A plug-in that cannot be imported says so with its whole traceback; what remains is the exception at its end.
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*")


def unknown(name: str, names: Sequence[str]) -> RequestError:
    """404: nobody has this name; the text lists what there is."""
    return RequestError(
        f"The model {quoted(name)} does not exist{_suggestion(name, names)}",
        status=404,
        param="model",
        code="model_not_found",
    )


def gone(name: str) -> RequestError:
    """404: there was something under this name, and it was removed."""
    return RequestError(
        f"The model {quoted(name)} is not served any more: its graph was removed.",
        status=404,
        param="model",
        code="model_not_found",
    )


def perhaps_loading(name: str) -> RequestError:
    """503: the name may be that of an adapter of a model that is not loaded yet."""
    return _loading(
        f"The model {quoted(name)} does not exist, unless it is an adapter of a model that is still loading; "
        "try again in some seconds."
    )


def loading(name: str) -> RequestError:
    """503: not loaded yet."""
    return _loading(f"The model {quoted(name)} is still loading; try again in some seconds.")


def failed(name: str, reason: str | None) -> RequestError:
    """503: it could not be loaded."""
    return RequestError(
        f"The model {quoted(name)} could not be loaded: {reason}",
        status=503,
        type="server_error",
        param="model",
        code="model_load_failed",
        headers=(("x-should-retry", "false"),),
    )


def public_reason(error: Exception, spec: ServableSpec) -> str:
    """Why a model failed to load, as clients are told: every problem, without folders above the model or code."""
    if not isinstance(error, GraphError):
        return f"an unexpected {type(error).__name__}; the server's log says more"
    base = str(spec.base_dir)
    text = problems(error).replace(f"{base}/", f"{spec.name}/").replace(base, spec.name)
    return _TRACEBACK.sub("", text)


def problems(error: GraphError) -> str:
    """All that is wrong with a graph, a line each."""
    return "\n".join(map(str, error.problems)) if error.problems else str(error)


def quoted(name: str) -> str:
    """A model name from outside as it may stand in a message: quoted, escaped, and not endless."""
    return repr(name if len(name) <= _LONGEST_SHOWN else name[:_LONGEST_SHOWN] + "...")


def _loading(text: str) -> RequestError:
    return RequestError(
        text,
        status=503,
        type="server_error",
        param="model",
        code="model_loading",
        headers=(("Retry-After", str(_RETRY_LOADING_S)),),
    )


def _suggestion(name: str, names: Sequence[str]) -> str:
    if not names:
        return "; this server has no models."
    near = difflib.get_close_matches(name[:_LONGEST_SHOWN], names, n=1, cutoff=0.6)
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    hint = f"; did you mean {quoted(near[0])}?" if near else "."
    return f"{hint} This server has: {shown}{more}"

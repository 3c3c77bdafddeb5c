"""What can go wrong with a generation, as RequestErrors that a client sees; models that cannot be loaded are ``load_error``."""

from __future__ import annotations

from typing import Final, TypeVar

from calculators.http_payload import RequestError

E = TypeVar("E", bound=RequestError)

DO_NOT_RETRY: Final = ("x-should-retry", "false")
"""Header that keeps OpenAI's clients from trying again what would only fail again, at the cost of a generation each time."""


class GenerationCancelledError(RequestError):
    """The caller cancelled before the pictures were finished."""


def cancelled_error() -> GenerationCancelledError:
    """For whoever waits for a cancelled generation. Status 499 is what proxies log for a client that left."""
    return GenerationCancelledError(
        "The request was cancelled.", status=499, type="request_cancelled", code="request_cancelled"
    )


class EngineSpoiltError(RequestError):
    """A generation failed in the middle: what is left of the engine may fail, or draw other pictures, for requests that are right.

    Whoever holds the engine has to load a new one before the next request. Every exception of an engine that is no RequestError
    means the same.
    """


def failed_error(reason: str) -> RequestError:
    """The generation failed and left the engine as it was; the same request would fail again."""
    return _failed(RequestError, reason)


def spoilt_error(reason: str) -> EngineSpoiltError:
    """OpenVINO GenAI refused or failed; the same request would fail again, and perhaps others with it."""
    return _failed(EngineSpoiltError, reason)


def is_spoilt_by(error: BaseException) -> bool:
    """Whether an engine that raised this must not be used again."""
    return isinstance(error, EngineSpoiltError) or not isinstance(error, RequestError)


def _failed(kind: type[E], reason: str) -> E:
    return kind(
        f"Image generation failed: {reason}",
        status=500,
        type="server_error",
        code="generation_failed",
        headers=[DO_NOT_RETRY],
    )


def crashed_error(how: str) -> RequestError:
    """The process that ran the generation ended; the same request would probably end the next one too."""
    return RequestError(
        f"The image engine {how} while it worked on this request, and is started again for others.",
        status=500,
        type="server_error",
        code="engine_crashed",
        headers=[DO_NOT_RETRY],
    )


NOT_STARTED: Final = "This model is not available: its engine could not be started again. The server's log says why."


def closed_error() -> RequestError:
    """The model has been unloaded while the request waited for it."""
    return unavailable_error("This model has been unloaded.")


def unavailable_error(reason: str, retry_after_s: float | None = None) -> RequestError:
    """The model cannot take requests now; later perhaps."""
    headers = [] if retry_after_s is None else [("retry-after", str(max(1, round(retry_after_s))))]
    return RequestError(reason, status=503, type="server_error", code="model_unavailable", headers=headers)

"""Everything that can be set, once: each field is a flag, an environment variable and a line of the help text.

A flag wins over its environment variable, which wins over the default. This module needs the standard library alone, so
that ``--help`` is quick.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

ENVIRONMENT_PREFIX = "GRAPH_RUNTIME_"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
MIB = 1024 * 1024
MOST_UPLOAD_PIXELS = 64_000_000


class SettingsError(ValueError):
    """A flag or an environment variable has a value that cannot be used; the text names it."""


def _port(text: str) -> int:
    number = _whole(text)
    if not 0 <= number <= 65535:
        raise ValueError(f"{text!r} is not a port; give a number from 0 (any free port) to 65535")
    return number


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _positive(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise ValueError(f"{text!r} is too small; give 1 or more")
    return number


def _from_zero(text: str) -> int:
    number = _whole(text)
    if number < 0:
        raise ValueError(f"{text!r} is too small; give 0 or more")
    return number


def _pixels(text: str) -> int:
    number = _positive(text)
    if number > MOST_UPLOAD_PIXELS:
        raise ValueError(f"{text!r} is too large; lanes decode pictures of {MOST_UPLOAD_PIXELS} pixels at most")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{text!r} is not a number of seconds; give 0 or more")
    return number


def _boolean(text: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in words:
        raise ValueError(f"{text!r} is neither true nor false")
    return words[text.lower()]


def _log_level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"{text!r} is not a log level; give one of {', '.join(LOG_LEVELS)}")
    return text.upper()


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError("the name is empty; give the one that requests will use")
    return text


def _address(text: str) -> str:
    if not text.strip():
        raise ValueError(
            "the address is empty; give one such as 127.0.0.1, or 0.0.0.0 for every network of this machine"
        )
    return text.strip()


def _files(text: str) -> tuple[Path, ...]:
    return tuple(Path(each.strip()) for each in text.split(",") if each.strip())


def _about(
    help_text: str, parse: Callable[[str], Any], metavar: str, aliases: tuple[str, ...] = (), source: str = ""
) -> dict[str, Any]:
    return {"help": help_text, "parse": parse, "metavar": metavar, "aliases": aliases, "source": source}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one server; picklable. Durations are seconds, sizes bytes."""

    models: Path | None = field(
        default=None,
        metadata=_about(
            "folder whose subfolders hold the graphs: each one with a graph.pbtxt, or with an image model, is served under its "
            "relative path, and what its config.json lists "
            "(default: ./models if there is one, else the model that comes with graph-runtime)",
            Path,
            "DIR",
            aliases=("model_repository_path",),
            source="models",
        ),
    )
    model_path: Path | None = field(
        default=None,
        metadata=_about(
            "serve one model instead: its folder, with a graph.pbtxt (there, or in its folder 1), or an image model without one",
            Path,
            "DIR",
            source="model_path",
        ),
    )
    model_name: str | None = field(
        default=None,
        metadata=_about("its name in requests (default: that of its folder)", _name, "NAME", source="model_path"),
    )
    config_path: Path | None = field(
        default=None,
        metadata=_about(
            "serve what this config.json lists instead, and nothing else: model_config_list and mediapipe_config_list of OpenVINO "
            "Model Server",
            Path,
            "FILE",
            source="config_path",
        ),
    )
    options_proto: tuple[Path, ...] = field(
        default=(),
        metadata=_about(
            ".proto files, or descriptor sets, with the options messages of your own calculators",
            _files,
            "FILE[,FILE...]",
        ),
    )
    file_system_poll_wait_seconds: float = field(
        default=1.0,
        metadata=_about(
            "changed graphs, model files and config.json are taken up when they have been still for so long; 0 takes them up "
            "on POST /v1/config/reload alone",
            _seconds,
            "SECONDS",
        ),
    )
    rest_port: int = field(default=8000, metadata=_about("TCP port for HTTP; 0 takes any free one", _port, "PORT"))
    rest_bind_address: str = field(
        default="127.0.0.1",
        metadata=_about(
            "address to listen on; 0.0.0.0 opens the server to the network, without any password", _address, "ADDRESS"
        ),
    )
    log_level: str = field(
        default="INFO", metadata=_about(f"how much to log: {', '.join(LOG_LEVELS)}", _log_level, "LEVEL")
    )
    max_body_bytes: int = field(
        default=64 * MIB, metadata=_about("largest request body that is read", _positive, "BYTES")
    )
    run_threads: int = field(default=64, metadata=_about("graph runs at the same time, in all", _positive, "N"))
    runs_per_servable: int = field(
        default=16, metadata=_about("graph runs at the same time, of one graph; more requests wait", _positive, "N")
    )
    queue_size: int | None = field(
        default=None,
        metadata=_about(
            "requests of one graph that may wait; further ones are refused with 429 and told when to come again (default: 16 "
            "for each that is worked on at the same time)",
            _from_zero,
            "N",
        ),
    )
    cache_dir: Path | None = field(
        default=None,
        metadata=_about(
            "folder where OpenVINO keeps compiled models, so that they load faster the next time; CACHE_DIR in a graph's "
            "plugin_config wins",
            Path,
            "DIR",
        ),
    )
    load_wait_s: float = field(
        default=30.0, metadata=_about("how long a request waits for a model that still loads", _seconds, "SECONDS")
    )
    request_timeout_s: float = field(
        default=0.0,
        metadata=_about(
            "how long a request may take, waiting included, before it is cancelled; 0 sets no limit",
            _seconds,
            "SECONDS",
        ),
    )
    max_upload_bytes: int = field(
        default=50 * MIB, metadata=_about("largest picture or mask that may be uploaded, as a file", _positive, "BYTES")
    )
    max_upload_pixels: int = field(
        default=MOST_UPLOAD_PIXELS, metadata=_about("largest picture or mask, as width times height", _pixels, "PIXELS")
    )
    image_store: Path | None = field(
        default=None,
        metadata=_about(
            "folder for the pictures of requests with response_format url, which are refused without one; it belongs to "
            "this server alone",
            Path,
            "DIR",
        ),
    )
    image_store_bytes: int = field(
        default=1024 * MIB, metadata=_about("room for these pictures; the oldest go first", _positive, "BYTES")
    )
    image_url_ttl_s: float = field(
        default=3600.0, metadata=_about("how long these pictures can be fetched", _seconds, "SECONDS")
    )
    trust_forwarded_headers: bool = field(
        default=False,
        metadata=_about(
            "whether a proxy in front sets X-Forwarded-Proto and X-Forwarded-Host, for the URLs of pictures",
            _boolean,
            "true|false",
        ),
    )
    shutdown_grace_s: float = field(
        default=10.0, metadata=_about("how long a shutdown waits for cancelled runs to end", _seconds, "SECONDS")
    )

    @classmethod
    def resolve(cls, flags: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
        """The settings from flags (by field name; None or absent means not given) and environment variables.

        A flag that says where models are (``models``, ``model_path``, ``config_path``) wins over the variables of all three.

        Raises:
            SettingsError: an environment variable has a value that cannot be used.
        """
        given: dict[str, Any] = {}
        sources = {each.metadata["source"] for each in fields(cls) if flags.get(each.name) is not None} - {""}
        for each in fields(cls):
            variable = ENVIRONMENT_PREFIX + each.name.upper()
            if flags.get(each.name) is not None:
                value = flags[each.name]
                given[each.name] = tuple(value) if isinstance(value, list) else value  # argparse extends lists
            elif environment.get(variable) and not (each.metadata["source"] and sources - {each.metadata["source"]}):
                try:
                    given[each.name] = each.metadata["parse"](environment[variable])
                except ValueError as error:
                    raise SettingsError(f"environment variable {variable}: {error}") from None
        return cls(**given)


def misspelt_variables(environment: Mapping[str, str]) -> list[str]:
    """One sentence for each environment variable that is nearly, but not quite, the name of a setting.

    Other names with our prefix are left alone: Kubernetes sets GRAPH_RUNTIME_SERVICE_HOST and its like by itself.
    """
    known = [ENVIRONMENT_PREFIX + each.name.upper() for each in fields(Settings)]
    found = []
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
            found += (
                [f"environment variable {name} is not known and has no effect; did you mean {near[0]}?"] if near else []
            )
    return found

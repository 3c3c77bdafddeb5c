"""Everything that can be set, once: each field is a flag, an environment variable and a line of the help text.

A flag wins over its environment variable, which wins over the default. This module needs the standard library alone, so
that ``--help`` is quick.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from server import setting_values as read

ENVIRONMENT_PREFIX = "GRAPH_RUNTIME_"
MIB = 1024 * 1024
MODELS, NETWORK, SECURITY, LIMITS, SHUTDOWN, IMAGES, LOGGING = GROUPS = (
    "Models",
    "Network",
    "Security",
    "Limits",
    "Shutdown",
    "Images",
    "Logging and metrics",
)
"""The groups of ``--help``, in its order."""


class SettingsError(ValueError):
    """A flag or an environment variable has a value that cannot be used; the text names it."""


def _about(
    help_text: str,
    parse: Callable[[str], Any],
    metavar: str,
    group: str = "",
    *,
    aliases: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    source: str = "",
    variables: tuple[str, ...] = (),
    flag: bool = True,
) -> dict[str, Any]:
    """What is to be known of a setting.

    Args:
        help_text: for ``--help``.
        parse: text -> value; raises ValueError.
        metavar: how ``--help`` writes the value.
        group: one of ``GROUPS``.
        aliases: further names of its flag and of its variable.
        flags: further names of its flag alone.
        source: the flag that says where models are, for those that belong to one: a flag wins over the variables of all others.
        variables: further environment variables, without our prefix.
        flag: False for what must not stand on a command line, where every user of the machine can read it.
    """
    return {
        "help": help_text,
        "parse": parse,
        "metavar": metavar,
        "group": group,
        "aliases": aliases,
        "flags": flags,
        "source": source,
        "variables": variables,
        "flag": flag,
    }


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
            MODELS,
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
            MODELS,
            source="model_path",
        ),
    )
    model_name: str | None = field(
        default=None,
        metadata=_about(
            "its name in requests (default: that of its folder)", read.name, "NAME", MODELS, source="model_path"
        ),
    )
    config_path: Path | None = field(
        default=None,
        metadata=_about(
            "serve what this config.json lists instead, and nothing else: model_config_list and mediapipe_config_list of OpenVINO "
            "Model Server",
            Path,
            "FILE",
            MODELS,
            source="config_path",
        ),
    )
    options_proto: tuple[Path, ...] = field(
        default=(),
        metadata=_about(
            ".proto files, or descriptor sets, with the options messages of your own calculators",
            read.files,
            "FILE[,FILE...]",
            MODELS,
        ),
    )
    allow_python_nodes: bool = field(
        default=False,
        metadata=_about(
            "whether Python files in a model's folder may run: calculators.py beside a graph, and the handlers of "
            "PythonExecutorCalculator; they can do all that the server can",
            read.boolean,
            "true|false",
            MODELS,
        ),
    )
    file_system_poll_wait_seconds: float = field(
        default=1.0,
        metadata=_about(
            "changed graphs, model files and config.json are taken up when they have been still for so long; 0 takes them up "
            "on POST /v1/config/reload alone",
            read.seconds,
            "SECONDS",
            MODELS,
        ),
    )
    cache_dir: Path | None = field(
        default=None,
        metadata=_about(
            "folder where OpenVINO keeps compiled models, so that they load faster the next time; CACHE_DIR in a graph's "
            "plugin_config wins",
            Path,
            "DIR",
            MODELS,
        ),
    )
    rest_port: int = field(
        default=8000, metadata=_about("TCP port for HTTP; 0 takes any free one", read.port, "PORT", NETWORK)
    )
    rest_bind_address: tuple[str, ...] = field(
        default=("127.0.0.1",),
        metadata=_about(
            "addresses to listen on; 0.0.0.0 opens the server to the network: give an API key then, and TLS",
            read.addresses,
            "ADDRESS[,ADDRESS...]",
            NETWORK,
        ),
    )
    grpc_port: int = field(
        default=0,
        metadata=_about(
            "TCP port for gRPC (KServe v2, health checks, reflection); 0 leaves it off",
            read.port,
            "PORT",
            NETWORK,
            flags=(
                "port",
            ),  # OVMS's name. Kubernetes gives GRAPH_RUNTIME_PORT to every pod beside a service of our name
        ),
    )
    grpc_bind_address: tuple[str, ...] = field(
        default=("127.0.0.1",),
        metadata=_about("addresses to listen on for gRPC", read.addresses, "ADDRESS[,ADDRESS...]", NETWORK),
    )
    grpc_channel_arguments: tuple[tuple[str, str | int], ...] = field(
        default=(),
        metadata=_about(
            "further settings of the gRPC library, such as grpc.max_concurrent_streams=16",
            read.channel_arguments,
            "NAME=VALUE[,...]",
            NETWORK,
        ),
    )
    trust_forwarded_headers: bool = field(
        default=False,
        metadata=_about(
            "whether a proxy in front sets X-Forwarded-Proto and X-Forwarded-Host, for the URLs of pictures",
            read.boolean,
            "true|false",
            NETWORK,
        ),
    )
    api_key_file: Path | None = field(
        default=None,
        metadata=_about(
            "file whose first line is the key that requests have to bring as Authorization: Bearer KEY; else the environment "
            f"variable {ENVIRONMENT_PREFIX}API_KEY or API_KEY; without any, everybody may ask",
            Path,
            "FILE",
            SECURITY,
        ),
    )
    api_key: str | None = field(
        default=None,
        repr=False,  # never in a log
        metadata=_about("the key itself", read.key, "KEY", SECURITY, variables=("API_KEY",), flag=False),
    )
    tls_certificate_file: Path | None = field(
        default=None,
        metadata=_about(
            "certificate, with those of its issuers, as PEM: the server speaks https", Path, "FILE", SECURITY
        ),
    )
    tls_key_file: Path | None = field(
        default=None,
        metadata=_about("private key of that certificate, as PEM without a password", Path, "FILE", SECURITY),
    )
    tls_client_ca_file: Path | None = field(
        default=None,
        metadata=_about(
            "certificates, as PEM, of which one has to have issued the certificate of every client (mTLS)",
            Path,
            "FILE",
            SECURITY,
        ),
    )
    allowed_origins: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "web pages that may call the server from a browser, such as https://app.example.com; * for all (default: those of "
            "the server itself)",
            read.words,
            "ORIGIN[,ORIGIN...]",
            SECURITY,
        ),
    )
    allowed_methods: tuple[str, ...] = field(
        default=("*",), metadata=_about("methods that these pages may use", read.words, "METHOD[,METHOD...]", SECURITY)
    )
    allowed_headers: tuple[str, ...] = field(
        default=("*",), metadata=_about("headers that these pages may send", read.words, "HEADER[,HEADER...]", SECURITY)
    )
    allow_credentials: bool = field(
        default=False,
        metadata=_about("whether these pages may send cookies and the like", read.boolean, "true|false", SECURITY),
    )
    max_body_bytes: int = field(
        default=64 * MIB, metadata=_about("largest request body that is read", read.positive, "BYTES", LIMITS)
    )
    body_timeout_s: float = field(
        default=300.0,
        metadata=_about(
            "how long the body of a request may take to arrive; 0 sets no limit", read.seconds, "SECONDS", LIMITS
        ),
    )
    run_threads: int = field(
        default=64,
        metadata=_about("graph runs at the same time, in all", read.positive, "N", LIMITS, aliases=("rest_workers",)),
    )
    runs_per_servable: int = field(
        default=16,
        metadata=_about("graph runs at the same time, of one graph; more requests wait", read.positive, "N", LIMITS),
    )
    queue_size: int | None = field(
        default=None,
        metadata=_about(
            "requests of one graph that may wait; further ones are refused with 429 and told when to come again (default: 16 "
            "for each that is worked on at the same time)",
            read.from_zero,
            "N",
            LIMITS,
        ),
    )
    load_wait_s: float = field(
        default=30.0,
        metadata=_about("how long a request waits for a model that still loads", read.seconds, "SECONDS", LIMITS),
    )
    request_timeout_s: float = field(
        default=0.0,
        metadata=_about(
            "how long a request may take, waiting included, before it is cancelled; 0 sets no limit",
            read.seconds,
            "SECONDS",
            LIMITS,
            aliases=("request_timeout",),
        ),
    )
    drain_delay_s: float = field(
        default=0.0,
        metadata=_about(
            "how long a server that was told to end (SIGTERM) goes on taking requests while it says that it is not ready, so that "
            "load balancers notice; 5 or more for Kubernetes",
            read.seconds,
            "SECONDS",
            SHUTDOWN,
        ),
    )
    shutdown_grace_s: float = field(
        default=60.0,
        metadata=_about(
            "how long requests may then go on, waiting ones too, before they are cancelled",
            read.seconds,
            "SECONDS",
            SHUTDOWN,
        ),
    )
    cancel_grace_s: float = field(
        default=10.0,
        metadata=_about(
            "how long runs that were cancelled get to end, and then models to be unloaded",
            read.seconds,
            "SECONDS",
            SHUTDOWN,
        ),
    )
    max_upload_bytes: int = field(
        default=50 * MIB,
        metadata=_about("largest picture or mask that may be uploaded, as a file", read.positive, "BYTES", IMAGES),
    )
    max_upload_pixels: int = field(
        default=read.MOST_UPLOAD_PIXELS,
        metadata=_about("largest picture or mask, as width times height", read.pixels, "PIXELS", IMAGES),
    )
    image_store: Path | None = field(
        default=None,
        metadata=_about(
            "folder for the pictures of requests with response_format url, which are refused without one; it belongs to "
            "this server alone",
            Path,
            "DIR",
            IMAGES,
        ),
    )
    image_store_bytes: int = field(
        default=1024 * MIB,
        metadata=_about("room for these pictures; the oldest go first", read.positive, "BYTES", IMAGES),
    )
    image_url_ttl_s: float = field(
        default=3600.0, metadata=_about("how long these pictures can be fetched", read.seconds, "SECONDS", IMAGES)
    )
    log_level: str = field(
        default="INFO",
        metadata=_about(f"how much to log: {', '.join(read.LOG_LEVELS)}", read.log_level, "LEVEL", LOGGING),
    )
    log_format: str = field(
        default="text",
        metadata=_about("text for people, or json: an object a line", read.log_format, "text|json", LOGGING),
    )
    log_path: Path | None = field(
        default=None, metadata=_about("file that the log is written to as well", Path, "FILE", LOGGING)
    )
    metrics_enable: bool = field(
        default=True,
        metadata=_about("whether GET /metrics tells what the server does", read.boolean, "true|false", LOGGING),
    )
    metrics_list: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "the families of metrics to tell, without those of the process (default: all; docs/serving.md lists them)",
            read.families,
            "NAME[,NAME...]",
            LOGGING,
        ),
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
            variable = next((name for name in variables_of(each) if environment.get(name)), None)
            if flags.get(each.name) is not None:
                value = flags[each.name]
                given[each.name] = tuple(value) if isinstance(value, list) else value  # argparse extends lists
            elif variable is not None and not (each.metadata["source"] and sources - {each.metadata["source"]}):
                try:
                    given[each.name] = each.metadata["parse"](environment[variable])
                except ValueError as error:
                    raise SettingsError(f"environment variable {variable}: {error}") from None
        settings = cls(**given)
        settings.check()
        return settings

    def check(self) -> None:
        """Look at settings that belong together.

        Raises:
            SettingsError: they do not go together.
        """
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise SettingsError("--tls_certificate_file and --tls_key_file go together; one of them is missing")
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            raise SettingsError("--tls_client_ca_file needs --tls_certificate_file and --tls_key_file")
        if self.metrics_list and not self.metrics_enable:
            raise SettingsError("--metrics_list needs --metrics_enable")
        if self.allow_credentials and (not self.allowed_origins or "*" in self.allowed_origins):
            raise SettingsError(
                "--allow_credentials needs a list of --allowed_origins: browsers send no credentials where all may ask"
            )


def variables_of(setting: Field[Any]) -> list[str]:
    """The environment variables of a setting; the first that is not empty counts."""
    names = (setting.name, *setting.metadata["aliases"])
    return [*(ENVIRONMENT_PREFIX + name.upper() for name in names), *setting.metadata["variables"]]


def misspelt_variables(environment: Mapping[str, str]) -> list[str]:
    """One sentence for each environment variable that is nearly, but not quite, the name of a setting.

    Other names with our prefix are left alone: Kubernetes sets GRAPH_RUNTIME_SERVICE_HOST and its like by itself.
    """
    known = [name for each in fields(Settings) for name in variables_of(each)]
    found = []
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
            found += (
                [f"environment variable {name} is not known and has no effect; did you mean {near[0]}?"] if near else []
            )
    return found

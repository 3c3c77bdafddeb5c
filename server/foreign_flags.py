"""Flags of OpenVINO Model Server that mean nothing here: who gives one is told why, and what to do instead."""

from __future__ import annotations

from typing import Final

_IN_THE_LIST = "it is a key of the model in the model_config_list of config.json"
_OTHER_RESULTS = "it would change what the model computes; convert the model with it"

FOREIGN_FLAGS: Final[dict[str, str]] = {
    "api_key": "everybody on this machine can read command lines; use --api_key_file or the environment variable API_KEY",
    "grpc_workers": "gRPC is served by one event loop; --run_threads says how many graphs run at the same time",
    "grpc_max_threads": "gRPC is served by one event loop; --run_threads says how many graphs run at the same time",
    "grpc_memory_quota": "--max_body_bytes bounds each message, and --queue_size how many there are",
    "custom_node_resources_cleaner_interval_seconds": "there are no custom nodes in shared libraries; nodes are Python classes",
    "verbose_response": "answers say all there is to say",
    "cpu_extension": "calculators are Python classes; give extensions to OpenVINO in a node's plugin_config",
    "allowed_local_media_path": "the server never reads files that requests name; upload pictures instead",
    "allowed_media_domains": "the server never fetches URLs that requests name; upload pictures instead",
    "batch_size": _IN_THE_LIST,
    "shape": _IN_THE_LIST,
    "layout": _IN_THE_LIST,
    "mean": _OTHER_RESULTS,
    "scale": _OTHER_RESULTS,
    "color_format": _OTHER_RESULTS,
    "precision": _OTHER_RESULTS,
    "model_version_policy": f"graphs have one version; for other models {_IN_THE_LIST}",
    "nireq": "--runs_per_servable says how many runs of one graph go on at the same time",
    "gguf_filename": "models in GGUF format make texts, and no pictures",
    "configure": "it is a command of its own: graph-runtime configure PATH",
    "list_models": "it is a command of its own: graph-runtime configure --list_models; a running server lists them at /v1/config",
    "add_to_config": "it is a command of its own: graph-runtime configure PATH --add_to_config CONFIG",
    "remove_from_config": "it is a command of its own: graph-runtime configure --remove_from_config CONFIG --model_name NAME",
}
"""Flag -> why it is refused, and what takes its place."""

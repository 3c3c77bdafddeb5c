"""docs/from-ovms.md tells of every flag of OpenVINO Model Server what becomes of it here."""

from __future__ import annotations

import re
from pathlib import Path

from docs.extensions.commands import commands, shown
from server.foreign_flags import FOREIGN_FLAGS

PAGE = (Path(__file__).parents[2] / "docs" / "from-ovms.md").read_text(encoding="utf-8")
OVMS = """
    port rest_port grpc_bind_address rest_bind_address grpc_workers grpc_max_threads grpc_memory_quota grpc_channel_arguments
    rest_workers file_system_poll_wait_seconds custom_node_resources_cleaner_interval_seconds log_level log_path verbose_response
    cache_dir cpu_extension metrics_enable metrics_list allow_credentials allowed_origins allowed_methods allowed_headers
    api_key_file allowed_local_media_path allowed_media_domains config_path model_name model_path target_device plugin_config
    batch_size shape layout mean scale color_format precision model_version_policy nireq pull source_model task
    model_repository_path configure list_models add_to_config remove_from_config overwrite_models weight-format
    extra_quantization_params gguf_filename resolution max_resolution default_resolution num_images_per_prompt guidance_scale
    max_num_images_per_prompt default_num_inference_steps max_num_inference_steps num_streams source_loras
"""
"""Its command line, without what belongs to models of texts alone."""


def rows(heading: str) -> list[str]:
    return [
        line
        for line in PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
        if line.startswith("| `--")
    ]


def test_the_flags_that_are_taken_are_flags_of_serve() -> None:
    (parser,) = (parser for name, _, parser in commands() if name == "serve")
    ours = {flag for action in shown(parser._actions) for flag in action.option_strings}
    told = [flag for row in rows("Flags that are taken") for flag in re.findall(r"`(--[\w-]+)`", row.split("|")[1])]
    assert len(told) == len(set(told))
    assert set(told) <= ours
    refused = {f"--{name}" for name in FOREIGN_FLAGS if name != "api_key"}
    assert {f"--{name}" for name in OVMS.split()} == set(told) | refused


def test_the_flags_that_are_refused_are_told_in_the_words_of_the_refusal() -> None:
    assert rows("Flags that are refused") == [f"| `--{name}` | {reason} |" for name, reason in FOREIGN_FLAGS.items()]

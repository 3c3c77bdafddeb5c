"""A look back at a generation: how many steps were run, and how long each stage took, as OpenVINO GenAI counted them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def steps_run(pipeline: Any) -> int:
    """How many steps the last generation ran: its last callbacks can be missing, and with few steps these are all."""
    return len(pipeline.get_performance_metrics().raw_metrics.iteration_durations)


def stage_times(pipeline: Any) -> Mapping[str, float]:
    """Seconds that the last generation spent in OpenVINO GenAI, for each stage (see ``GenerationResult``).

    Those of the encoders and of the decoder are whole milliseconds.
    """
    measured = pipeline.get_performance_metrics()
    return {
        "text_encode": sum(measured.get_text_encoder_infer_duration().values()) / 1e3,
        "vae_encode": measured.get_vae_encoder_infer_duration() / 1e3,
        "denoise": sum(measured.raw_metrics.iteration_durations) / 1e6,
        "vae_decode": measured.get_vae_decoder_infer_duration() / 1e3,
    }

"""Pipelines: what a node finds under its name in the side packet IMAGE_GEN_NODE_RESOURCES."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from calculators.image_gen.generation import GenerationRequest, GenerationResult, OnCancel, OnPartial, OnStep
from calculators.image_gen.lane import Lane
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import NodeSettings
from calculators.image_gen.request_rules import RequestRules, RequestSettings

_SEED_BITS = 32


def random_seed() -> int:
    """A seed for a request that names none. 32 bits, because OpenVINO GenAI does not use more."""
    return secrets.randbits(_SEED_BITS)


class Pipelines:
    """A loaded model, as one node may use it. Any number of threads may call ``generate``; nodes may share a lane.

    Attributes:
        settings: the node's options.
        model: what the model folder says.
        lane: who draws.
        rules: both, and what the server adds, for ``request.parse_request``.
    """

    def __init__(
        self,
        settings: NodeSettings,
        model: ModelInfo,
        lane: Lane,
        *,
        on_step: OnStep | None = None,
        requests: RequestSettings | None = None,
        choose_seed: Callable[[], int] = random_seed,
    ) -> None:
        self.settings = settings
        self.model = model
        self.rules = RequestRules(settings, model, requests or RequestSettings())
        self.lane = lane
        self._on_step = on_step
        self._choose_seed = choose_seed

    def generate(
        self,
        request: GenerationRequest,
        *,
        on_cancel: OnCancel | None = None,
        on_step: OnStep | None = None,
        on_partial: OnPartial | None = None,
    ) -> GenerationResult:
        """Draw the pictures of a request that ``parse_request`` made; waits for the lane.

        Args:
            request: without a seed, it gets a random one; the result names it.
            on_cancel: where to register for cancellation, such as ``cc.on_cancel``.
            on_step: told about each step; instead of the one given at load.
            on_partial: given each partial image.

        Raises:
            GenerationCancelledError: the caller cancelled.
            RequestError: 500 or 503; see ``lane.Lane``.
        """
        if request.rng_seed is None:
            request = replace(request, rng_seed=self._choose_seed())
        return self.lane.generate(request, on_cancel=on_cancel, on_step=on_step or self._on_step, on_partial=on_partial)

    @property
    def trouble(self) -> str | None:
        """Why nothing can be drawn at present; None if it can."""
        return self.lane.trouble

    def describe(self) -> dict[str, Any]:
        """What can be asked of the node, and how its lane is, as JSON values."""
        settings, model = self.settings, self.model
        default_size = settings.default_resolution or model.default_size
        return {
            "models_path": settings.load.models_path,
            "class": model.class_name,
            "family": model.family.title,
            "kinds": sorted(model.kinds),
            "device": " ".join(settings.load.devices),
            "scheduler": model.scheduler,
            "default_size": str(default_size) if default_size is not None else None,
            "fixed_size": str(model.fixed_size) if model.fixed_size is not None else None,
            "size_multiple": model.size_multiple,
            "min_side": model.min_side,
            "max_resolution": str(settings.max_resolution),
            "max_num_images_per_prompt": settings.max_num_images_per_prompt,
            "default_num_inference_steps": settings.default_num_inference_steps,
            "max_num_inference_steps": settings.max_num_inference_steps,
            "lane": self.lane.describe(),
        }

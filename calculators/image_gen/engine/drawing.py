"""Engine: one request at a time -> encoded pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray

from calculators.http_payload import RequestError
from calculators.image_gen.engine.loading import load_pipelines
from calculators.image_gen.engine.lora import Adapters
from calculators.image_gen.engine.noise import noise_of
from calculators.image_gen.engine.previews import Decode, Previews, load_decoder
from calculators.image_gen.engine.stages import stage_times, steps_run
from calculators.image_gen.engine.tokens import TokenCounter
from calculators.image_gen.engine.watch import Watch
from calculators.image_gen.errors import cancelled_error, failed_error, spoilt_error
from calculators.image_gen.generation import (
    GenerationRequest,
    GenerationResult,
    Kind,
    OnPartial,
    OnStep,
    picture_seeds,
)
from calculators.image_gen.images import Pixels, encode_image, keep_unmasked, read_mask, read_picture
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import LoadSettings, compiled_for
from calculators.image_gen.request_values import refuse
from calculators.image_gen.resolution import Resolution
from calculators.image_gen.schedule import can_be_miscounted, steps_to_run
from calculators.load_error import LoadError
from calculators.openvino_errors import readable

_log = logging.getLogger(__name__)

_WARM_UP_SIDE: Final = 64
_LONGEST_LOGGED: Final = 4000
_PROMPTS: Final = (
    "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3", "guidance_scale", "max_sequence_length"
)  # fmt: skip
_AS_GOOD_AS_NO_GUIDANCE: Final = float(np.nextafter(np.float32(1), np.float32(2)))
"""Stable Diffusion 3 without guidance: a T5 text encoder keeps the number of texts, with and without a negative one, of its first
call, so that it always gets both."""
_WARM_UP_UPLOAD: Final = encode_image(np.full((8, 8, 3), 255, np.uint8))


@dataclass(slots=True)
class _Drawing:
    """A request on its way.

    Attributes:
        request: what is asked.
        pipeline: what draws it.
        strength: how much of the schedule is run; 1 for all of it.
        steps: ``num_inference_steps`` to ask for; less than the request says after a miscount.
        cancelled, on_step: the caller's.
        picture: what to start from, height x width x 3, or None.
        mask: what of it to draw anew, height x width, or None for all.
        at: the first of the pictures that are drawn in this turn.
        previews: makes the partial images of this turn, if any are wanted.
        arguments: for ``generate``: uploads and adapters.
        stage_s: seconds spent in each stage so far.
    """

    request: GenerationRequest
    pipeline: Any
    strength: float
    steps: int
    cancelled: Callable[[], bool]
    on_step: OnStep
    picture: Pixels | None = None
    mask: NDArray[np.bool_] | None = None
    at: int = 0
    previews: Previews | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    stage_s: dict[str, float] = field(default_factory=dict)

    def spend(self, stage: str, seconds: float) -> None:
        """Add to the time of a stage."""
        self.stage_s[stage] = self.stage_s.get(stage, 0.0) + seconds

    def step(self, done: int, total: int) -> None:
        """Report a step of this turn among those of all turns."""
        turns = 1 if self.picture is None else self.request.num_images
        self.on_step(self.at * total + done, turns * total)

    def finish(self, pixels: Pixels) -> bytes:
        """The file of a picture that was drawn, height x width x 3; changed in place where the mask leaves the upload."""
        if self.mask is not None:
            assert self.picture is not None
            keep_unmasked(pixels, self.picture, self.mask)
        return encode_image(pixels, self.request.output_format, self.request.output_compression)


class Engine:
    """A loaded model. Not thread-safe: one call at a time.

    Args:
        load: what to load, and how.
        model: what the model folder says about it.

    Raises:
        LoadError: a device is not there, or GenAI refuses the model.
    """

    def __init__(self, load: LoadSettings, model: ModelInfo) -> None:
        folder = Path(load.models_path)
        self._load = load
        self._model = compiled_for(model, load.static)
        self._adapters = Adapters(load.adapters, folder, model)
        self._loaded = load_pipelines(load, self._model, self._adapters.at_load())
        self._tokens = TokenCounter(folder)
        self._decode: Decode | None = None
        self._second_thread = ThreadPoolExecutor(1, "partial images")
        self._working_steps: dict[tuple[int, float], int] = {}
        self._own_length = next(iter(self._loaded.by_kind.values())).get_generation_config().max_sequence_length
        self._text_length = self._own_length
        self._warm_up()

    def about(self) -> dict[str, Any]:
        """The ``kinds`` of requests that it can draw, the ``devices`` it runs on, ``notes`` on what it cannot do; JSON values."""
        reason = self._model.kinds_reason
        return {
            "kinds": sorted(self._loaded.by_kind),
            "devices": list(self._loaded.devices),
            "notes": [*([reason] if reason else []), *self._loaded.notes, *self._adapters.notes],
        }

    def generate(
        self, request: GenerationRequest, *, cancelled: Callable[[], bool], on_step: OnStep, on_partial: OnPartial
    ) -> GenerationResult:
        """Draw the pictures of a request.

        Args:
            request: with a seed.
            cancelled: asked at each step; once true, the generation ends there.
            on_step: told about each step, on a thread of GenAI's. Must not raise.
            on_partial: given each partial image. Must not raise.

        Raises:
            GenerationCancelledError: ``cancelled`` returned true.
            EngineSpoiltError: 500, GenAI failed, and this engine may not be used again.
            RequestError: 400, an upload cannot be used, or nothing is left to draw at this strength; 412, the model cannot draw
                from what was given; 500, GenAI cannot do this. The engine is as before.
        """
        drawing = self._prepared(request, cancelled, on_step)
        seeds = picture_seeds(request)
        turns = [seeds] if drawing.picture is None else [(seed,) for seed in seeds]
        images: list[bytes] = []
        for turn in turns:
            drawing.at = len(images)
            drawing.previews = self._previews(drawing, on_partial)
            try:
                pixels = self._draw(drawing, turn)
            finally:
                if drawing.previews is not None:
                    drawing.previews.end()
            for stage, seconds in stage_times(drawing.pipeline).items():
                if stage != "vae_encode" or drawing.picture is not None:
                    drawing.spend(stage, seconds)
            drawn = time.perf_counter()
            images += [drawing.finish(each) for each in pixels]
            drawing.spend("write", time.perf_counter() - drawn)
        return GenerationResult(
            images=tuple(images),
            seeds=seeds,
            width=request.width,
            height=request.height,
            output_format=request.output_format,
            num_inference_steps=drawing.steps,
            prompt_tokens=self._tokens.count(request),
            stage_s=drawing.stage_s,
        )

    def _prepared(self, request: GenerationRequest, cancelled: Callable[[], bool], on_step: OnStep) -> _Drawing:
        """The request with its uploads decoded, as far as it can be drawn."""
        self._fit_text_length(request.max_sequence_length or self._own_length)
        pipeline = self._loaded.by_kind.get(request.kind)
        if pipeline is None:
            raise RequestError(
                f"{request.kind} is not possible with this model; possible: {', '.join(sorted(self._loaded.by_kind))}",
                status=412,
                param="mask" if request.kind == "inpainting" else "image" if request.kind == "image to image" else None,
                code="unsupported_by_model",
            )
        strength = 1.0
        if request.image is not None:
            own = pipeline.get_generation_config().strength
            strength = own if request.strength is None else request.strength
            if strength != 1 and not self._model.family.takes_strength:
                refuse(
                    "strength",
                    f"strength is not used by {self._model.family.title}; it can only be 1, or left out",
                    "unsupported_parameter",
                )
        steps = request.num_inference_steps
        if steps < 1:
            refuse("num_inference_steps", "num_inference_steps must be higher than 0", "integer_below_min_value")
        if steps_to_run(self._model, steps, strength) < 1:
            refuse(
                "strength",
                f"strength {strength:g} leaves nothing of {steps} num_inference_steps to run: one of them must be greater",
                "invalid_value",
            )
        steps = self._working_steps.get((steps, strength), steps)
        drawing = _Drawing(request, pipeline, strength, steps, cancelled, on_step)
        drawing.arguments.update(self._adapters.for_request(request.adapters))
        if request.image is not None:
            started = time.perf_counter()
            size = Resolution(request.width, request.height)
            drawing.picture = read_picture(request.image, size)
            drawing.arguments.update(image=openvino.Tensor(drawing.picture[np.newaxis]), strength=strength)
            if request.mask is not None:
                drawing.mask = read_mask(request.mask, size)
                white = np.where(drawing.mask, np.uint8(255), np.uint8(0))
                drawing.arguments["mask_image"] = openvino.Tensor(white[np.newaxis, ..., np.newaxis])
            drawing.spend("read", time.perf_counter() - started)
        return drawing

    def _fit_text_length(self, length: int) -> None:
        """Load the model anew for another length of texts: a T5 text encoder keeps the one of its first text."""
        if not self._model.has_t5 or length == self._text_length:
            return
        if self._load.static is not None:
            refuse(
                "max_sequence_length",
                f"max_sequence_length must be {self._text_length}: this model was compiled for it",
                "invalid_value",
            )
        _log.warning("loading the model anew for texts of %d tokens instead of %d", length, self._text_length)
        self._loaded.by_kind.clear()  # its memory is needed
        try:
            self._loaded = load_pipelines(self._load, self._model, self._adapters.at_load())
            self._text_length = length
            self._warm_up()
        except LoadError as error:
            _log.error("loading the model anew failed: %s", error.message)  # for the operator: it can hold paths
            raise spoilt_error(f"the model could not be loaded for texts of {length} tokens") from error

    def _draw(self, drawing: _Drawing, seeds: Sequence[int]) -> Pixels:
        """The pixels, n x height x width x 3, in memory that the next call overwrites."""
        asked = drawing.request.num_inference_steps
        while (pixels := self._try_to_draw(drawing, seeds)) is None:
            _log.warning(
                "OpenVINO GenAI miscounts %d steps with this scheduler; trying %d", drawing.steps, drawing.steps - 1
            )
            drawing.steps -= 1
            if steps_to_run(self._model, drawing.steps, drawing.strength) < 1:
                raise failed_error(f"no step count up to {asked} works with the scheduler of this model")
        self._working_steps[asked, drawing.strength] = drawing.steps
        return pixels

    def _try_to_draw(self, drawing: _Drawing, seeds: Sequence[int]) -> Pixels | None:
        """As ``_draw``; None if GenAI would run another number of steps than it should."""
        request = drawing.request
        expected = None
        if can_be_miscounted(self._model):
            expected = steps_to_run(self._model, drawing.steps, drawing.strength)
        watch = Watch(expected, drawing.cancelled, drawing.step, drawing.previews)
        try:
            tensor = drawing.pipeline.generate(
                request.prompt,
                **drawing.arguments,
                **self._prompts(request),
                **noise_of(seeds),
                width=request.width,
                height=request.height,
                num_images_per_prompt=len(seeds),
                num_inference_steps=drawing.steps,
                callback=watch,
            )
        except Exception as error:
            _log.error("OpenVINO GenAI failed: %s", str(error)[:_LONGEST_LOGGED])
            raise spoilt_error(readable(error)) from error
        if watch.error is not None:
            raise failed_error("the progress callback failed") from watch.error
        if watch.stopped:
            raise cancelled_error()
        if watch.miscounted or (expected is not None and steps_run(drawing.pipeline) != expected):
            return None
        pixels: Pixels = tensor.data
        shape = (len(seeds), request.height, request.width, 3)
        if pixels.shape != shape:
            raise spoilt_error(f"the pictures have the shape {pixels.shape} instead of {shape}")
        watch.finish()
        return pixels

    def _prompts(self, request: GenerationRequest) -> dict[str, Any]:
        """Prompts and what belongs to them; what must be left out rather than be None is."""
        values = {name: value for name in _PROMPTS if (value := getattr(request, name)) is not None}
        if "negative_prompt_2" in values or "negative_prompt_3" in values:
            values.setdefault("negative_prompt", "")  # without it, Stable Diffusion XL ignores the others
        scale = values.get("guidance_scale", 2.0)
        if scale <= 1 and self._model.has_t5 and self._model.negative_prompts and self._load.static is None:
            values["guidance_scale"] = _AS_GOOD_AS_NO_GUIDANCE
        return values

    def _previews(self, drawing: _Drawing, on_partial: OnPartial) -> Previews | None:
        """The partial images of a turn, where they are wanted and possible."""
        request = drawing.request
        if not request.partial_images or not self._model.family.partial_images:
            return None
        if self._decode is None:
            try:
                self._decode = load_decoder(self._load, self._model, self._loaded.devices[-1])
            except Exception as error:
                _log.warning("partial images cannot be made: %s", readable(error))
                return None
        return Previews(
            request.partial_images,
            Resolution(request.width, request.height),
            drawing.at,
            decode=self._decode,
            finish=drawing.finish,
            on_partial=on_partial,
            executor=self._second_thread,
        )

    def _warm_up(self) -> None:
        """A small picture of each kind: keeps later tiny ones from spoiling the model, finds what only fails when it draws."""
        for kind in list(self._loaded.by_kind):
            problem = self._first_picture(kind)
            if problem is not None:
                note = f"drawing a first picture failed: {problem} ({kind})"
                if self._adapters:
                    raise LoadError(f"with the LoRA adapters {self._adapters}, {note}", field="lora_adapters")
                if kind == list(self._loaded.by_kind)[-1]:
                    raise LoadError(f"the model was loaded, but {note}")
                del self._loaded.by_kind[kind]
                self._loaded.notes.append(note)

    def _first_picture(self, kind: Kind) -> str | None:
        """Draw a small picture; returns why that failed, or None."""
        try:
            self.generate(
                self._warm_up_request(kind),
                cancelled=lambda: False,
                on_step=lambda step, total: None,
                on_partial=lambda partial: None,
            )
        except RequestError as error:
            return error.message
        return None

    def _warm_up_request(self, kind: Kind) -> GenerationRequest:
        model = self._model
        side = -(-_WARM_UP_SIDE // model.size_multiple) * model.size_multiple
        size = model.fixed_size or Resolution(side, side)
        return GenerationRequest(
            prompt="",
            width=size.width,
            height=size.height,
            num_images=(model.fixed_images or 1) if kind == "text to image" else 1,
            num_inference_steps=1,
            guidance_scale=1.0 if model.fixed_guidance is False else None,
            max_sequence_length=self._text_length if model.has_t5 else None,
            rng_seed=0,
            image=None if kind == "text to image" else _WARM_UP_UPLOAD,
            mask=_WARM_UP_UPLOAD if kind == "inpainting" else None,
            strength=None if kind == "text to image" else 1.0,
        )

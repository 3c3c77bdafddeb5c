"""The only file that speaks to OpenVINO GenAI: loads a model, draws pictures with it.

GenAI is native code with sharp edges (seen with release 2026.4.1; the tests hold each of them): requests are checked before
they come here, and this file takes care of the rest.

* One generation at a time: overlapping calls fail. Whoever owns an Engine (a lane) calls it from one thread.
* The first picture after a load must not be tiny, or all later ones are spoilt: a warm-up draws one.
* A callback that raises ends the process: ours returns "stop" instead.
* A generation that fails leaves its shapes behind, and the next, smaller one fails with them: the error says that it is so, and
  lanes load anew.
* Without a seed GenAI always uses 42: every request carries one.
* Pictures of one request share a stream of noise, so that a picture depends on its place in the batch. Here each has a seed of
  its own (``rng_seed + k``), and asking for that seed alone gives the same picture.
* With ``timestep_spacing: trailing``, some step counts run one step too many and give noise. The callback tells how many will be
  run; then the next smaller count that is right is taken, and the result names it.
* The result's memory is overwritten by the next call: it is encoded before ``generate`` returns.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
import openvino_genai
from numpy.typing import NDArray

from calculators.http_payload import RequestError
from calculators.image_gen.errors import LoadError, cancelled_error, failed_error, spoilt_error
from calculators.image_gen.generation import GenerationRequest, GenerationResult, OnPartial, OnStep, picture_seeds
from calculators.image_gen.images import encode_png
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import LoadSettings
from calculators.image_gen.plugin_config import DEVICE_PROPERTIES, parse_plugin_config

_log = logging.getLogger(__name__)

_WARM_UP_SIDE: Final = 64
_LONGEST_REASON: Final = 600  # characters; OpenVINO can print a whole graph
_LONGEST_LOGGED: Final = 4000
_SEED_MASK: Final = 2**32 - 1
_VIRTUAL_DEVICES: Final = ("AUTO", "MULTI", "HETERO", "BATCH")
_NOISE_OF_OPENVINO: Final = re.compile(
    r"Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:|"
    r"\[\w+\] \w+ node with name '[^']*':?|(?:\bat )?\S+\.(?:cpp|hpp|h):\d+:?"
)
"""Places in its source, what was checked there, and names of layers."""


class Engine:
    """A loaded model. Not thread-safe: one call at a time.

    Args:
        load: what to load, and how.
        model: what the model folder says about it.

    Raises:
        LoadError: a device is not there, or GenAI refuses the model.
    """

    def __init__(self, load: LoadSettings, model: ModelInfo) -> None:
        check_devices(load.devices, openvino.Core().available_devices)
        self._model = model
        self._working_steps: dict[int, int] = {}
        self._pipeline = _load(load)
        self._warm_up()

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
            RequestError: 500, GenAI cannot do this; the engine is as before.
        """
        seeds = picture_seeds(request)
        started = time.perf_counter()
        steps = self._working_steps.get(request.num_inference_steps, request.num_inference_steps)
        while (pixels := self._draw(request, seeds, steps, cancelled, on_step)) is None:
            _log.warning("OpenVINO GenAI miscounts %d steps with this scheduler; trying %d", steps, steps - 1)
            steps -= 1
            if steps < 1:
                raise failed_error(
                    f"no step count up to {request.num_inference_steps} works with the scheduler of this model"
                )
        self._working_steps[request.num_inference_steps] = steps
        drawn = time.perf_counter()
        images = tuple(encode_png(picture) for picture in pixels)
        return GenerationResult(
            images=images,
            seeds=seeds,
            width=int(pixels.shape[2]),
            height=int(pixels.shape[1]),
            output_format="png",
            num_inference_steps=steps,
            generate_s=drawn - started,
            encode_s=time.perf_counter() - drawn,
        )

    def _draw(
        self,
        request: GenerationRequest,
        seeds: Sequence[int],
        steps: int,
        cancelled: Callable[[], bool],
        on_step: OnStep,
    ) -> NDArray[np.uint8] | None:
        """The pixels, n x height x width x 3, in memory that the next call overwrites; None if GenAI would run other steps."""
        watch = _Watch(self._steps_run_for(steps), cancelled, on_step)
        try:
            tensor = self._pipeline.generate(
                request.prompt,
                **_prompts(request),
                **_noise(seeds),
                width=request.width,
                height=request.height,
                num_images_per_prompt=request.num_images,
                num_inference_steps=steps,
                callback=watch,
            )
        except Exception as error:
            _log.error("OpenVINO GenAI failed: %s", str(error)[:_LONGEST_LOGGED])
            raise spoilt_error(readable(error)) from error
        if watch.error is not None:
            raise failed_error("the progress callback failed") from watch.error
        if watch.stopped:
            raise cancelled_error()
        if watch.miscounted or not self._ran_right_steps(steps):
            return None
        pixels: NDArray[np.uint8] = tensor.data
        expected = (request.num_images, request.height, request.width, 3)
        if pixels.shape != expected:
            raise spoilt_error(f"the pictures have the shape {pixels.shape} instead of {expected}")
        watch.finish()
        return pixels

    def _steps_run_for(self, steps: int) -> int | None:
        """How many steps GenAI has to run when asked for a number of them; None where nothing is known to go wrong."""
        if self._model.timestep_spacing != "trailing":
            return None
        # A PNDM scheduler repeats one step to get started.
        return steps + 1 if self._model.scheduler == "PNDMScheduler" and steps > 1 else steps

    def _ran_right_steps(self, steps: int) -> bool:
        """A look back, because the last callbacks of a generation can be missing, and with few steps these are all."""
        expected = self._steps_run_for(steps)
        if expected is None:
            return True
        return len(self._pipeline.get_performance_metrics().raw_metrics.iteration_durations) == expected

    def _warm_up(self) -> None:
        """One small picture: keeps later tiny ones from spoiling the pipeline, finds what only fails when it draws."""
        model = self._model
        side = -(-_WARM_UP_SIDE // model.size_multiple) * model.size_multiple
        size = model.fixed_size
        request = GenerationRequest(
            prompt="",
            width=side if size is None else size.width,
            height=side if size is None else size.height,
            num_images=model.fixed_images or 1,
            num_inference_steps=1,
            guidance_scale=1.0 if model.fixed_guidance is False else None,
            rng_seed=0,
        )
        try:
            self.generate(
                request, cancelled=lambda: False, on_step=lambda step, total: None, on_partial=lambda partial: None
            )
        except RequestError as error:
            raise LoadError(f"the model was loaded, but drawing a first picture failed: {error.message}") from error


class _Watch:
    """The callback of one generation. It never raises: an exception would end the process."""

    def __init__(self, expected_steps: int | None, cancelled: Callable[[], bool], on_step: OnStep) -> None:
        self._expected = expected_steps
        self._cancelled = cancelled
        self._on_step = on_step
        self._last = (0, 0)
        self.stopped = False
        self.miscounted = False
        self.error: BaseException | None = None

    def __call__(self, step: int, num_steps: int, latent: Any) -> bool:
        try:
            if self._cancelled():
                self.stopped = True
                return True
            if self._expected is not None and num_steps != self._expected:
                self.miscounted = True
                return True
            self._last = (step + 1, num_steps)
            self._on_step(step + 1, num_steps)
            return False
        except BaseException as error:
            self.error = error
            return True

    def finish(self) -> None:
        """Report the last step if GenAI did not."""
        done, total = self._last
        if done < total:
            self._on_step(total, total)


class _SeededNoise(openvino_genai.Generator):  # type: ignore[misc]  # its module has no types
    """Noise for several pictures at once, of a generator each: every picture gets what it would get alone."""

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__()
        self._generators = [openvino_genai.CppStdGenerator(seed & _SEED_MASK) for seed in seeds]

    def randn_tensor(self, shape: Any) -> openvino.Tensor:
        """Noise of a shape whose first dimension counts the pictures."""
        one = openvino.Shape([1, *list(shape)[1:]])
        return openvino.Tensor(np.concatenate([each.randn_tensor(one).data for each in self._generators]))


def _noise(seeds: Sequence[int]) -> dict[str, Any]:
    return {"rng_seed": seeds[0] & _SEED_MASK} if len(seeds) == 1 else {"generator": _SeededNoise(seeds)}


def _prompts(request: GenerationRequest) -> dict[str, Any]:
    """The arguments that must be left out rather than be None."""
    names = (
        "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3", "guidance_scale", "max_sequence_length"
    )  # fmt: skip
    return {name: value for name in names if (value := getattr(request, name)) is not None}


def _load(load: LoadSettings) -> openvino_genai.Text2ImagePipeline:
    properties: dict[str, Any] = dict(parse_plugin_config(load.plugin_config))
    folder = Path(load.models_path)
    try:
        if len(load.devices) == 1:
            return openvino_genai.Text2ImagePipeline(folder, load.devices[0], **properties)
        pipeline = openvino_genai.Text2ImagePipeline(folder)
        pipeline.compile(*load.devices, **properties)
        return pipeline
    except Exception as error:
        text = readable(error)
        wrong = ", ".join(f'"{key}"' for key in keys_at_fault(properties, text))
        if wrong or (properties and "propert" in text):
            raise LoadError(
                f"OpenVINO refuses {wrong or 'a property'} of plugin_config: {text}", field="plugin_config"
            ) from error
        raise LoadError(f"OpenVINO GenAI cannot load the model: {text}", field="models_path") from error


def keys_at_fault(properties: Mapping[str, Any], text: str) -> list[str]:
    """The keys of plugin_config that an error speaks of: by their names, or else by their values where these are texts."""
    flat = [(key, key, value) for key, value in properties.items() if not isinstance(value, dict)]
    for device, inner in properties.get(DEVICE_PROPERTIES, {}).items():
        flat += [(f"{DEVICE_PROPERTIES}.{device}.{name}", name, value) for name, value in inner.items()]
    by_name = [key for key, name, _ in flat if _stands_in(name, text)]
    return by_name or [key for key, _, value in flat if isinstance(value, str) and _stands_in(value, text)]


def _stands_in(word: str, text: str) -> bool:
    return bool(word) and re.search(rf"(?<![\w/.]){re.escape(word)}(?![\w/]|\.\w)", text) is not None


def check_devices(wanted: Sequence[str], available: Sequence[str]) -> None:
    """Refuse devices that this machine does not have.

    Raises:
        LoadError: names the device, and those that are there.
    """
    for device in wanted:
        for part in _parts(device):
            if not _is_there(part, available):
                raise LoadError(
                    f'device "{device}": there is no {part} on this machine; it has: {", ".join(available)}',
                    field="device",
                )


def _parts(device: str) -> list[str]:
    """The real devices that a name stands for: ``MULTI:GPU.0,CPU`` is two, ``AUTO`` leaves it to OpenVINO, ``AUTO:-GPU`` too."""
    kind, _, rest = device.partition(":")
    if kind not in _VIRTUAL_DEVICES:
        return [device]
    parts = [part.partition("(")[0] for part in rest.split(",") if part and not part.startswith("-")]
    return [real for part in parts for real in _parts(part)]


def _is_there(device: str, available: Sequence[str]) -> bool:
    if device in available:
        return True
    kind, dot, number = device.partition(".")
    if not dot:
        return any(each.partition(".")[0] == kind for each in available)
    return number == "0" and kind != "CPU" and kind in available


def readable(error: BaseException) -> str:
    """An OpenVINO error without its places in OpenVINO's source and without names of layers."""
    text = " ".join(_NOISE_OF_OPENVINO.sub(" ", str(error)).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."

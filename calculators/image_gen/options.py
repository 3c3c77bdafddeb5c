"""ImageGenCalculatorOptions -> NodeSettings: a node's options, checked all at once.

Rules and defaults (source: OVMS's documentation of the calculator, and its behaviour where that is not in doubt) stand
beside the code that applies them. Nothing here needs OpenVINO: whether a device exists is found at load, by ``engine``.
LoRA adapters are read by ``adapters``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Final

from calculators.image_gen.adapters import Adapter, Composites, compiled_in, read_adapters, read_composites
from calculators.image_gen.lora_file import check_lora_file
from calculators.image_gen.model_folder import ModelInfo, read_model_folder
from calculators.image_gen.plugin_config import as_text, parse_plugin_config
from calculators.image_gen.resolution import Resolution, parse_resolution
from calculators.image_gen.sizes import size_problem
from calculators.node_kinds import Place
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime.errors import Problem, StatusCode

DEFAULT_DEVICE: Final = "CPU"
MODELS_PATH_MISSING: Final = "models_path is missing or empty"
CACHE_DIR: Final = "CACHE_DIR"
_ONE_SIZE: Final = "the option resolution with exactly one size"


@dataclass(frozen=True, slots=True)
class StaticShape:
    """What a model is compiled for, and then takes alone."""

    size: Resolution
    num_images: int = 1
    guidance_scale: float = 7.5


def compiled_for(model: ModelInfo, static: StaticShape | None) -> ModelInfo:
    """What a model is once it was compiled for a shape: it takes that alone, and for several pictures at a time no uploads."""
    if static is None:
        return model
    kinds, reason = model.kinds, model.kinds_reason
    if static.num_images > 1:
        kinds = kinds & {"text to image"}
        reason = f"It is compiled for {static.num_images} pictures at a time, and edits are drawn one by one."
    return replace(
        model,
        kinds=kinds,
        kinds_reason=reason,
        default_size=static.size,
        fixed_size=static.size,
        fixed_images=static.num_images,
        fixed_guidance=static.guidance_scale > 1,
    )


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What a model is loaded with; nodes with equal ones share a lane.

    Attributes:
        models_path: absolute path of the model folder.
        devices: one device for all sub-models, or three: text encoders, denoiser, VAE.
        plugin_config: OpenVINO properties as JSON text, in the canonical form of ``plugin_config.as_text``.
        adapters: LoRA adapters, in the file's order.
        static: the shapes that the model is compiled for; None leaves them open.
    """

    models_path: str
    devices: tuple[str, ...]
    plugin_config: str = "{}"
    adapters: tuple[Adapter, ...] = ()
    static: StaticShape | None = None

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> LoadSettings:
        """The settings that ``to_json`` turned into JSON values."""
        static = values["static"]
        return cls(
            values["models_path"],
            tuple(values["devices"]),
            values["plugin_config"],
            tuple(Adapter(**adapter) for adapter in values["adapters"]),
            None if static is None else StaticShape(**{**static, "size": Resolution(*static["size"])}),
        )


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """A node's options, valid.

    Attributes:
        load: what its model is loaded with.
        max_resolution: requests with a longer side are refused.
        default_resolution: for requests without a size; None leaves it to the model.
        max_num_images_per_prompt: requests for more are refused.
        default_num_inference_steps: for requests that do not say.
        max_num_inference_steps: requests for more are refused.
        resolutions: the only sizes that requests may ask for; () leaves it to the model.
        composites: alias of a blend of adapters -> (alias, weight; None for the adapter's own) of each of them.
    """

    load: LoadSettings
    max_resolution: Resolution
    default_resolution: Resolution | None
    max_num_images_per_prompt: int
    default_num_inference_steps: int
    max_num_inference_steps: int
    resolutions: tuple[Resolution, ...] = ()
    composites: Composites = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckedOptions:
    """The outcome of reading a node's options: settings and model, or the problems that keep them from being made."""

    settings: NodeSettings | None
    model: ModelInfo | None
    problems: tuple[Problem, ...]


def check_options(
    options: ImageGenCalculatorOptions, base_dir: Path, *, node: str | None = None, place: Place = lambda field: None
) -> list[Problem]:
    """Everything that is wrong with a node's options and its model folder, without loading the model.

    Args:
        options: the node's options.
        base_dir: the folder of the graph file; relative model paths start there.
        node: the node's name, for the problems.
        place: where each option stands in the file.
    """
    return list(read_options(options, base_dir, node=node, place=place).problems)


def read_options(
    options: ImageGenCalculatorOptions,
    base_dir: Path,
    *,
    node: str | None = None,
    place: Place = lambda field: None,
    cache_dir: str | None = None,
) -> CheckedOptions:
    """As :func:`check_options`, and the settings if nothing is wrong.

    Args:
        options, base_dir, node, place: as there.
        cache_dir: where OpenVINO keeps compiled models, unless the node's ``plugin_config`` says otherwise.
    """
    reader = _Reader(options, node, place)
    folder = reader.models_path(base_dir)
    resolutions = reader.resolutions()
    devices = reader.devices(resolutions)
    plugin_config = reader.plugin_config(cache_dir)
    max_resolution = reader.max_resolution(resolutions)
    default_resolution = reader.default_resolution(max_resolution, resolutions)
    static = reader.static_shape(resolutions)
    images = reader.max_images(resolutions, static)
    max_steps = reader.at_least_one("max_num_inference_steps")
    default_steps = reader.default_steps(max_steps)
    adapters = read_adapters(options, base_dir, reader.problem)
    composites = read_composites(options, adapters, reader.problem)
    adapters = compiled_in(adapters, composites, on_npu=on_npu(devices), report=reader.problem)
    model = None
    if folder is not None:
        model = read_model_folder(folder, lambda message: reader.problem("models_path", message))
        if model is not None:
            reader.check_sizes_against_model(default_resolution, resolutions, model)
            reader.check_adapters_against_model(adapters, folder, model)
            model = compiled_for(model, static)
            if not model.kinds:
                reader.problem("num_images_per_prompt", model.kinds_reason, hint="leave it out")
    if reader.problems or folder is None or max_resolution is None:
        return CheckedOptions(None, model, tuple(reader.problems))
    settings = NodeSettings(
        LoadSettings(str(folder), devices, plugin_config, adapters, static),
        max_resolution,
        default_resolution,
        images,
        default_steps,
        max_steps,
        tuple(resolutions or ()),
        composites,
    )
    return CheckedOptions(settings, model, ())


def on_npu(devices: Sequence[str]) -> bool:
    """Whether an NPU is among the devices, also inside a virtual one such as ``HETERO:NPU,CPU``."""
    return any("NPU" in device for device in devices)


class _Reader:
    """Reads one field at a time and notes what is wrong."""

    def __init__(self, options: ImageGenCalculatorOptions, node: str | None, place: Place) -> None:
        self.options = options
        self.node = node
        self.place = place
        self.problems: list[Problem] = []

    def problem(
        self, field: str, message: str, code: StatusCode = StatusCode.INVALID_ARGUMENT, hint: str | None = None
    ) -> None:
        self.problems.append(Problem(message, code, self.place(field), self.node, hint))

    def models_path(self, base_dir: Path) -> Path | None:
        """Relative paths start at the graph's folder; ``..`` is refused, as in OVMS."""
        text = self.options.models_path
        if not text:
            self.problem(
                "models_path",
                MODELS_PATH_MISSING,
                hint='give the model folder, "./" for the graph\'s own',
            )
            return None
        if ".." in PurePath(text).parts:
            self.problem("models_path", f'models_path "{text}" must not contain ".."', hint="use an absolute path")
            return None
        folder = (base_dir / text).absolute()
        if not folder.is_dir():
            self.problem(
                "models_path", f'models_path "{text}" is not a folder: there is none at {folder}', StatusCode.NOT_FOUND
            )
            return None
        return folder

    def resolutions(self) -> list[Resolution] | None:
        """The sizes that requests may ask for, separated by blanks; None where the option is not given."""
        if not self.options.HasField("resolution"):
            return None
        found = []
        items = [item for item in self.options.resolution.split(" ") if item]
        if not items:
            self.problem(
                "resolution", "resolution is empty", hint='give one size or several, such as "512x512 768x512"'
            )
        for item in dict.fromkeys(items):
            if items.count(item) > 1:
                self.problem("resolution", f"resolution {item} is given twice")
            size = self.resolution("resolution", item)
            found += [] if size is None else [size]
        return found

    def devices(self, resolutions: list[Resolution] | None) -> tuple[str, ...]:
        """One device, or three for text encoders, denoiser and VAE, separated by blanks; unset means CPU."""
        if not self.options.HasField("device"):
            return (DEFAULT_DEVICE,)
        devices = tuple(self.options.device.split(" "))
        devices = tuple(device for device in devices if device)
        if len(devices) not in (1, 3):
            self.problem(
                "device",
                f'device "{self.options.device}" names {len(devices)} devices',
                hint='give one for all sub-models ("CPU"), or three: text encoders, denoiser and VAE ("CPU GPU CPU")',
            )
        elif on_npu(devices) and (resolutions is None or len(resolutions) > 1):
            self.problem(
                "device",
                f"an NPU takes models of one fixed size only, so that it needs {_ONE_SIZE}",
                hint='add one, such as resolution: "512x512"',
            )
        return devices

    def plugin_config(self, cache_dir: str | None) -> str:
        try:
            properties = parse_plugin_config(self.options.plugin_config)
            if cache_dir is not None:
                properties.setdefault(CACHE_DIR, cache_dir)
            return as_text(properties)
        except ValueError as error:
            example = 'an example: "{\\"NUM_STREAMS\\": \\"1\\"}"'
            self.problem("plugin_config", f"plugin_config is in wrong format: {error}", hint=example)
            return as_text({})

    def resolution(self, field: str, text: str) -> Resolution | None:
        """A size in the grammar of ``resolution``, without ``auto``."""
        try:
            found = parse_resolution(text)
        except ValueError as error:
            self.problem(field, f'{field} "{text}" {error}', hint='an example: "512x512"')
            return None
        if found is None:
            self.problem(field, f'{field} cannot be "auto"', hint='give a size such as "512x512", or leave it out')
        return found

    def max_resolution(self, resolutions: list[Resolution] | None) -> Resolution | None:
        """The limit of requests; a list of sizes is a limit already, so that nobody may give both."""
        if resolutions is not None and self.options.HasField("max_resolution"):
            self.problem(
                "max_resolution",
                "max_resolution and resolution exclude each other: the sizes in resolution are all that requests may ask for",
                hint="leave one of them out",
            )
        found = self.resolution("max_resolution", self.options.max_resolution)
        if resolutions and found is not None and not self.options.HasField("max_resolution"):
            return Resolution(*(max(sides) for sides in zip(*resolutions, strict=True)))
        return found

    def default_resolution(self, limit: Resolution | None, resolutions: list[Resolution] | None) -> Resolution | None:
        """For requests without a size; the first of a list of sizes where it is not given."""
        if not self.options.HasField("default_resolution"):
            return resolutions[0] if resolutions else None
        found = self.resolution("default_resolution", self.options.default_resolution)
        if found is None:
            return None
        if resolutions:
            if found not in resolutions:
                self.problem(
                    "default_resolution",
                    f"default_resolution {found} is not one of resolution: {', '.join(map(str, resolutions))}",
                )
        elif limit is not None and not found.fits_in(limit):
            self.problem("default_resolution", f"default_resolution {found} exceeds max_resolution {limit}")
        return found

    def static_shape(self, resolutions: list[Resolution] | None) -> StaticShape | None:
        """One size alone is compiled in, with the number of images and the guidance scale."""
        has_one_size = resolutions is not None and len(resolutions) == 1
        for name in ("num_images_per_prompt", "guidance_scale"):
            if self.options.HasField(name) and not has_one_size:
                self.problem(name, f"{name} fixes the shape of the model and needs {_ONE_SIZE}")
        if not resolutions or not has_one_size:
            return None
        shape = StaticShape(resolutions[0])
        if self.options.HasField("num_images_per_prompt"):
            shape = replace(shape, num_images=self.at_least_one("num_images_per_prompt"))
        if self.options.HasField("guidance_scale"):
            shape = replace(shape, guidance_scale=self.options.guidance_scale)
            if not math.isfinite(shape.guidance_scale):
                self.problem("guidance_scale", f"guidance_scale is {shape.guidance_scale}; it must be a finite number")
        return shape

    def max_images(self, resolutions: list[Resolution] | None, static: StaticShape | None) -> int:
        """The limit of requests; a model that is compiled for a number of images takes that number alone."""
        if resolutions is not None and len(resolutions) == 1 and self.options.HasField("max_num_images_per_prompt"):
            self.problem(
                "max_num_images_per_prompt",
                "max_num_images_per_prompt has no meaning for a model of one fixed size: it is compiled for a number of images",
                hint="give num_images_per_prompt instead",
            )
        limit = self.at_least_one("max_num_images_per_prompt")
        return limit if static is None else static.num_images

    def check_sizes_against_model(
        self, default: Resolution | None, resolutions: list[Resolution] | None, model: ModelInfo
    ) -> None:
        wanted = [("resolution", size) for size in resolutions or ()]
        if default is not None and default not in (resolutions or ()):
            wanted.append(("default_resolution", default))
        for name, size in wanted:
            reason = size_problem(size, model)
            if reason is not None:
                self.problem(name, f"{name} {size} {reason}")

    def check_adapters_against_model(self, adapters: Sequence[Adapter], folder: Path, model: ModelInfo) -> None:
        for adapter in adapters:
            if not Path(adapter.path).is_file():
                continue  # read_adapters tells it
            try:
                check_lora_file(Path(adapter.path), folder, model.family)
            except (OSError, ValueError) as error:
                self.problem("lora_adapters", f'lora_adapters: "{adapter.alias}" ({adapter.path}): {error}')

    def at_least_one(self, field: str) -> int:
        value = int(getattr(self.options, field))
        if value < 1:
            self.problem(field, f"{field} is {value}; it must be at least 1")
        return value

    def default_steps(self, limit: int) -> int:
        """A default that nobody wrote gives way to a smaller maximum; one that was written must not exceed it."""
        if not self.options.HasField("default_num_inference_steps"):
            return min(int(self.options.default_num_inference_steps), limit)
        steps = self.at_least_one("default_num_inference_steps")
        if steps > limit >= 1:
            self.problem(
                "default_num_inference_steps",
                f"default_num_inference_steps {steps} is greater than max_num_inference_steps {limit}",
            )
        return steps

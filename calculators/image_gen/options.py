"""ImageGenCalculatorOptions -> NodeSettings: a node's options, checked all at once.

Rules and defaults (source: OVMS's documentation of the calculator, and its behaviour where that is not in doubt) stand
beside the code that applies them. Nothing here needs OpenVINO: whether a device exists is found at load, by ``engine``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final, Literal

from calculators.image_gen.model_folder import ModelInfo, read_model_folder
from calculators.image_gen.plugin_config import as_text, parse_plugin_config
from calculators.image_gen.resolution import Resolution, parse_resolution
from calculators.image_gen.sizes import size_problem
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime.errors import Problem, StatusCode

Place = Callable[[str], str | None]
"""Option field name -> ``file:line:column`` of it, or None where that is not known."""

DEFAULT_DEVICE: Final = "CPU"
MODELS_PATH_MISSING: Final = "models_path is missing or empty"
_NOT_YET: Final = "is not supported by this version; leave it out"


LoraMode = Literal["DYNAMIC", "STATIC", "FUSE"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter that a model is loaded with.

    Attributes:
        alias: its name in requests.
        path: absolute path of the ``.safetensors`` file.
        alpha: its weight where a request names none.
        mode: ``DYNAMIC`` for each request anew, ``STATIC`` compiled in with ``alpha``, ``FUSE`` part of the model for ever.
    """

    alias: str
    path: str
    alpha: float = 1.0
    mode: LoraMode = "DYNAMIC"


@dataclass(frozen=True, slots=True)
class StaticShape:
    """What a model is compiled for, and then takes alone."""

    size: Resolution
    num_images: int = 1
    guidance_scale: float = 7.5


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
    composites: Mapping[str, tuple[tuple[str, float | None], ...]] = field(default_factory=dict)


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
    options: ImageGenCalculatorOptions, base_dir: Path, *, node: str | None = None, place: Place = lambda field: None
) -> CheckedOptions:
    """As :func:`check_options`, and the settings if nothing is wrong."""
    reader = _Reader(options, node, place)
    folder = reader.models_path(base_dir)
    devices = reader.devices()
    plugin_config = reader.plugin_config()
    max_resolution = reader.resolution("max_resolution")
    default_resolution = reader.default_resolution(max_resolution)
    images = reader.at_least_one("max_num_images_per_prompt")
    max_steps = reader.at_least_one("max_num_inference_steps")
    default_steps = reader.default_steps(max_steps)
    reader.refuse_later_fields()
    model = None
    if folder is not None:
        model = read_model_folder(folder, lambda message: reader.problem("models_path", message))
        if model is not None and default_resolution is not None:
            reader.check_default_against_model(default_resolution, model)
    if reader.problems or folder is None or max_resolution is None:
        return CheckedOptions(None, model, tuple(reader.problems))
    settings = NodeSettings(
        LoadSettings(str(folder), devices, plugin_config),
        max_resolution,
        default_resolution,
        images,
        default_steps,
        max_steps,
    )
    return CheckedOptions(settings, model, ())


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

    def devices(self) -> tuple[str, ...]:
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
        elif any("NPU" in device for device in devices) and not self.options.HasField("resolution"):
            self.problem(
                "device",
                "an NPU takes models of one fixed size only, so that the option resolution must be given",
                hint="this version does not support that yet; use CPU or GPU",
            )
        return devices

    def plugin_config(self) -> str:
        if not self.options.HasField("plugin_config"):
            return as_text({})
        try:
            return as_text(parse_plugin_config(self.options.plugin_config))
        except ValueError as error:
            example = 'an example: "{\\"NUM_STREAMS\\": \\"1\\"}"'
            self.problem("plugin_config", f"plugin_config is in wrong format: {error}", hint=example)
            return as_text({})

    def resolution(self, field: str) -> Resolution | None:
        """A size in the grammar of ``resolution``, without ``auto``."""
        text = getattr(self.options, field)
        try:
            found = parse_resolution(text)
        except ValueError as error:
            self.problem(field, f'{field} "{text}" {error}', hint='an example: "512x512"')
            return None
        if found is None:
            self.problem(field, f'{field} cannot be "auto"', hint='give a size such as "512x512", or leave it out')
        return found

    def default_resolution(self, limit: Resolution | None) -> Resolution | None:
        if not self.options.HasField("default_resolution"):
            return None
        found = self.resolution("default_resolution")
        if found is not None and limit is not None and not found.fits_in(limit):
            self.problem("default_resolution", f"default_resolution {found} exceeds max_resolution {limit}")
        return found

    def check_default_against_model(self, size: Resolution, model: ModelInfo) -> None:
        reason = size_problem(size, model)
        if reason is not None:
            self.problem("default_resolution", f"default_resolution {size} {reason}")

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

    def refuse_later_fields(self) -> None:
        """Fields of the reference that this version does not have yet; wrong values are told first."""
        options = self.options
        if options.HasField("resolution"):
            for message in _resolution_list_problems(options.resolution):
                self.problem("resolution", message)
            self.problem("resolution", f"resolution {_NOT_YET}", StatusCode.UNIMPLEMENTED)
        for name in ("num_images_per_prompt", "guidance_scale"):
            if not options.HasField(name):
                continue
            if options.HasField("resolution"):
                self.problem(name, f"{name} {_NOT_YET}", StatusCode.UNIMPLEMENTED)
            else:
                self.problem(name, f"{name} fixes the shape of the model and needs exactly one resolution")
        for name, entries in (
            ("lora_adapters", options.lora_adapters),
            ("composite_lora_adapters", options.composite_lora_adapters),
        ):
            if entries:
                for alias in _repeated([entry.alias for entry in entries]):
                    self.problem(name, f'{name}: the alias "{alias}" is given twice')
                self.problem(name, f"{name} {_NOT_YET}", StatusCode.UNIMPLEMENTED)


def _resolution_list_problems(text: str) -> Iterator[str]:
    items = [item for item in text.split(" ") if item]
    if not items:
        yield "resolution is empty"
    for item in items:
        try:
            if parse_resolution(item) is None:
                yield 'resolution cannot be "auto"'
        except ValueError as error:
            yield f'resolution "{item}" {error}'
    for item in _repeated(items):
        yield f"resolution {item} is given twice"


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})

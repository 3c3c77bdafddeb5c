"""What a model folder says about itself, and whether OpenVINO GenAI can load it; read without OpenVINO.

A folder holds ``model_index.json``, a scheduler's configuration and one folder per sub-model (source: OpenVINO GenAI 2026.4;
the layout is that of diffusers pipelines exported to OpenVINO). Everything known to make GenAI fail, or crash the process, is
found here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from calculators.image_gen.families import DIFFUSION_SCHEDULERS, FAMILIES, KINDS, LOADED_FOR_INPAINTING, Family
from calculators.image_gen.generation import Kind
from calculators.image_gen.model_ir import ModelXml, read_model_xml
from calculators.image_gen.resolution import Resolution

Report = Callable[[str], None]
"""Called with one sentence for each thing that is wrong."""

MODEL_INDEX: Final = "model_index.json"
MIN_SIDE: Final = 32
"""The shortest side that a request may ask for, in pixels: below it, the first picture after a load can spoil all later ones."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What requests must know of a model.

    Attributes:
        class_name: ``_class_name`` of model_index.json.
        family: the table entry for it.
        scheduler: class of its scheduler.
        timestep_spacing: the scheduler's, or "" where the configuration does not say.
        num_train_timesteps: the most denoising steps that the scheduler can make.
        has_t5: whether one of its text encoders is a T5.
        uses_guidance: whether ``guidance_scale`` changes what it draws.
        original_inference_steps: the steps of the model that a latent consistency model was distilled from; its scheduler alone
            uses it.
        default_size: the size it draws when nobody asks for one; None when the folder does not say.
        size_multiple: both sides must be multiples of this.
        size_reason: why, to complete the sentence "... must be a multiple of N, because ...".
        fixed_size: the only size a model with fixed shapes takes, else None.
        fixed_images: the only number of images it takes, else None.
        fixed_guidance: whether it must run with guidance (a fixed batch that holds pairs) or without; None when both work.
        negative_prompts: how many negative prompts it reads.
        kinds: what it can draw from.
        recommended_steps: the steps that it was made for; None where GenAI's usual 50 are right, or nobody can tell.
        kinds_reason: why not from more, as a sentence for clients, too; "" where it can do all.
    """

    class_name: str
    family: Family
    scheduler: str
    timestep_spacing: str
    num_train_timesteps: int
    default_size: Resolution | None
    size_multiple: int
    size_reason: str
    negative_prompts: int
    kinds: frozenset[Kind]
    kinds_reason: str = ""
    has_t5: bool = False
    uses_guidance: bool = True
    recommended_steps: int | None = None
    original_inference_steps: int = 50
    fixed_size: Resolution | None = None
    fixed_images: int | None = None
    fixed_guidance: bool | None = None

    @property
    def min_side(self) -> int:
        """The shortest side in pixels: the first fitting one that is not below MIN_SIDE."""
        return -(-MIN_SIDE // self.size_multiple) * self.size_multiple


def read_model_folder(folder: Path, report: Report) -> ModelInfo | None:
    """Check a model folder and describe it; None, after at least one report, if it cannot be loaded."""
    found = _Folder(folder, report)
    index = found.json(MODEL_INDEX)
    if index is None:
        return None
    class_name = index.get("_class_name")
    family = FAMILIES.get(class_name) if isinstance(class_name, str) else None
    if family is None:
        report(_unknown_class(folder, class_name))
        return None
    found.check_components(index, family)
    info = found.describe(index, str(class_name), family)
    return None if found.reported else info


def check_pipeline(folder: Path, report: Report) -> None:
    """What its smallest files, model_index.json and the scheduler's configuration, tell against loading a model.

    So a model can be refused before its weights are there.
    """
    found = _Folder(folder, report)
    index = found.json(MODEL_INDEX)
    if index is None:
        return
    family = FAMILIES.get(str(index.get("_class_name")))
    if family is None:
        report(_unknown_class(folder, index.get("_class_name")))
        return
    for name, classes in family.components.items():
        found.has_class(index, family, name, classes)
    scheduler = found.json("scheduler", "scheduler_config.json")
    if scheduler is not None:
        found.check_scheduler(scheduler, family)


def _unknown_class(folder: Path, class_name: object) -> str:
    place = folder / MODEL_INDEX
    return f"{place}: _class_name is {json.dumps(class_name)}; OpenVINO GenAI makes pictures with these: " + ", ".join(
        FAMILIES
    )


@dataclass(slots=True)
class _Folder:
    path: Path
    tell: Report
    reported: bool = False
    _xml: dict[str, ModelXml | None] = field(default_factory=dict)

    def report(self, message: str) -> None:
        self.reported = True
        self.tell(message)

    def json(self, *name: str) -> dict[str, Any] | None:
        """A JSON object in the folder; None, after a report, if there is none."""
        path = self.path.joinpath(*name)
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError:
            self.report(f"{path} is missing")
            return None
        except (OSError, ValueError, RecursionError) as error:
            self.report(f"{path} cannot be read: {error}")
            return None
        if not isinstance(value, dict):
            self.report(f"{path} must hold a JSON object")
            return None
        return value

    def require(self, *names: str) -> None:
        for name in names:
            if not (self.path / name).is_file():
                self.report(f"{self.path / name} is missing{_HINTS.get(Path(name).name, '')}")

    def check_components(self, index: Mapping[str, Any], family: Family) -> None:
        if "text_encoder" in str(self.path.absolute()):
            # GenAI finds the tokenizer by replacing the first "text_encoder" of the whole path.
            self.report(
                f'{self.path}: no folder above a model may have "text_encoder" in its name: OpenVINO GenAI would look for the '
                "tokenizer in the wrong place; move the model"
            )
        for name, classes in family.components.items():
            if not self.has_class(index, family, name, classes):
                continue
            folder = "vae_decoder" if name == "vae" else name
            self.require(f"{folder}/openvino_model.xml", f"{folder}/openvino_model.bin", f"{folder}/config.json")
            self.check_weights(folder)
            if name in family.text_encoders:
                tokenizer = name.replace("text_encoder", "tokenizer")
                self.require(f"{tokenizer}/openvino_tokenizer.xml", f"{tokenizer}/openvino_tokenizer.bin")
                if family.needs_chat_template:
                    self.check_chat_template(tokenizer)

    def has_class(self, index: Mapping[str, Any], family: Family, name: str, classes: frozenset[str]) -> bool:
        """Whether a component is there, in one of the classes; a wrong one is reported."""
        entry = index.get(name)
        found = _class_of(entry)
        if found not in classes and not (found is None and name in family.optional):
            self.report(
                f'{self.path / MODEL_INDEX}: "{name}" must be [library, class] with a class of {_any_of(classes)}; '
                f"it is {json.dumps(entry)}"
            )
        return found in classes

    def check_weights(self, folder: str) -> None:
        """The file's length tells an interrupted download, and what Git leaves in place of a large file."""
        xml = self.xml(folder)
        problem = None if xml is None else _weights_problem(self.path, Path(folder, "openvino_model.bin"), xml)
        if problem is not None:
            self.report(f"{self.path / problem}")

    def describe(self, index: Mapping[str, Any], class_name: str, family: Family) -> ModelInfo | None:
        scheduler = self.json("scheduler", "scheduler_config.json")
        vae = self.optional_json("vae_decoder/config.json")
        (denoiser_name,) = family.denoiser
        denoiser = self.optional_json(f"{denoiser_name}/config.json")
        if scheduler is None or vae is None or denoiser is None:
            self.reported = True  # by json() or require()
            return None
        self.check_scheduler(scheduler, family)
        self.check_vae(vae, family)
        distilled = _is_distilled(index, denoiser, family)
        kinds, kinds_reason = self.kinds(class_name, family, denoiser_name, denoiser, vae)
        scale = _vae_scale(vae)
        multiple, reason = self.size_rule(denoiser_name, denoiser, family, scale)
        size, images, guidance = self.fixed_shapes(denoiser_name, scale)
        return ModelInfo(
            class_name=class_name,
            family=family,
            scheduler=str(scheduler.get("_class_name")),
            timestep_spacing=str(scheduler.get("timestep_spacing") or ""),
            num_train_timesteps=_positive(scheduler.get("num_train_timesteps"), 1000),
            original_inference_steps=_positive(scheduler.get("original_inference_steps"), 50),
            kinds=kinds,
            kinds_reason=kinds_reason,
            has_t5=any(_class_of(index.get(name)) == "T5EncoderModel" for name in family.text_encoders),
            recommended_steps=_STEPS_OF_DISTILLED if distilled else family.recommended_steps,
            uses_guidance=not distilled,
            default_size=size or _default_size(denoiser, family, scale),
            size_multiple=multiple,
            size_reason=reason,
            negative_prompts=0 if _positive(denoiser.get("time_cond_proj_dim"), 0) else family.negative_prompts,
            fixed_size=size,
            fixed_images=images,
            fixed_guidance=guidance,
        )

    def optional_json(self, name: str) -> dict[str, Any] | None:
        """As json(), but without a report for a missing file: check_components has made one."""
        return self.json(name) if (self.path / name).is_file() else None

    def check_scheduler(self, config: Mapping[str, Any], family: Family) -> None:
        place = self.path / "scheduler" / "scheduler_config.json"
        found = config.get("_class_name")
        if found not in family.schedulers:
            self.report(
                f"{place}: _class_name is {json.dumps(found)}; for {family.title}, OpenVINO GenAI runs {_any_of(family.schedulers)}"
            )
            return
        if found == "LCMScheduler" and config.get("prediction_type", "epsilon") != "epsilon":
            self.report(
                f"{place}: an LCMScheduler with prediction_type {json.dumps(config['prediction_type'])} crashes OpenVINO GenAI; "
                'it runs "epsilon" alone'
            )
        if found == "PNDMScheduler" and config.get("skip_prk_steps") is not True:
            self.report(f"{place}: OpenVINO GenAI runs a PNDMScheduler only with skip_prk_steps: true")
        if found == "DDIMScheduler":
            for name in ("clip_sample", "thresholding"):
                if config.get(name) is True:
                    self.report(f"{place}: OpenVINO GenAI runs a DDIMScheduler only with {name}: false")
        beta = config.get("beta_schedule")
        if (
            found in DIFFUSION_SCHEDULERS
            and beta not in (None, "linear", "scaled_linear")
            and not config.get("trained_betas")
        ):
            self.report(
                f'{place}: beta_schedule is {json.dumps(beta)}; OpenVINO GenAI runs "linear" and "scaled_linear"'
            )

        if config.get("use_dynamic_shifting") is True and not family.shifts_by_size:
            self.report(
                f"{place}: for {family.title}, OpenVINO GenAI runs a {found} only with use_dynamic_shifting: false"
            )

    def check_vae(self, config: Mapping[str, Any], family: Family) -> None:
        for key in family.vae_keys:
            if key not in config:
                self.report(
                    f"{self.path / 'vae_decoder' / 'config.json'}: {key} is missing; OpenVINO GenAI needs it for {family.title}"
                )

    def check_chat_template(self, tokenizer: str) -> None:
        """GenAI takes it from the tokenizer's model or from one of the files beside it."""
        folder = self.path / tokenizer
        if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
            return
        files = [
            path for name in ("tokenizer_config.json", "openvino_tokenizer.xml") if (path := folder / name).is_file()
        ]
        if not any(b"chat_template" in path.read_bytes() for path in files):
            self.report(
                f"{folder / 'tokenizer_config.json'}: chat_template is missing; OpenVINO GenAI puts the prompt into it"
            )

    def kinds(
        self, class_name: str, family: Family, name: str, denoiser: Mapping[str, Any], vae: Mapping[str, Any]
    ) -> tuple[frozenset[Kind], str]:
        """What can be drawn from, and why not from more."""
        channels, latent = denoiser.get("in_channels"), vae.get("latent_channels", 4)
        only_masked = family.kinds == {"inpainting"}
        reason = f"OpenVINO GenAI runs {family.title} for {' and '.join(sorted(family.kinds, reverse=True))} alone."
        if name == "unet" and isinstance(channels, int) and isinstance(latent, int) and channels == 2 * latent + 1:
            only_masked, reason = True, f"Its UNet takes {channels} channels and was made for inpainting alone."
        encoder_problem = self.encoder_problem()
        if encoder_problem is None:
            kinds: frozenset[Kind] = frozenset({"inpainting"}) if only_masked else family.kinds
            return kinds, reason if len(kinds) < len(KINDS) else ""
        if only_masked or class_name in LOADED_FOR_INPAINTING:
            self.report(f"{self.path}: {encoder_problem}; a {class_name} cannot do without")
        return frozenset({"text to image"}), f"It cannot start from pictures, because {encoder_problem}."

    def encoder_problem(self) -> str | None:
        """Why pictures cannot be turned into latents, to complete "because ..."; clients may read it. None if they can."""
        xml, weights = Path("vae_encoder/openvino_model.xml"), Path("vae_encoder/openvino_model.bin")
        for name in (xml, weights):
            if not (self.path / name).is_file():
                return f"{name} is missing"
        try:
            return _weights_problem(self.path, weights, read_model_xml(self.path / xml))
        except (OSError, ValueError):
            return f"{xml} is not an OpenVINO model"

    def size_rule(self, name: str, denoiser: Mapping[str, Any], family: Family, scale: int) -> tuple[int, str]:
        if name != "unet":
            patch = (
                _positive(denoiser.get("patch_size"), family.patch)
                if "patch_size" in family.configurable
                else family.patch
            )
            return (
                scale * patch,
                f"its VAE works on {scale}x{scale} blocks and its transformer on {patch}x{patch} of those",
            )
        xml = self.xml(name)
        levels = _length(denoiser.get("block_out_channels"), 4)
        vae_reason = f"its VAE works on {scale}x{scale} blocks"
        if levels == 1 or (xml is not None and xml.follows_skips):
            return scale, vae_reason
        return scale * 2 ** (levels - 1), f"{vae_reason} and its UNet halves those {levels - 1} times"

    def fixed_shapes(self, name: str, scale: int) -> tuple[Resolution | None, int | None, bool | None]:
        decoder = self.xml("vae_decoder")
        denoiser = self.xml(name)
        latent = decoder.inputs[0].shape if decoder is not None and decoder.inputs else ()
        sample = denoiser.input("sample") or denoiser.input("hidden_states") if denoiser is not None else None
        size = images = guidance = None
        if len(latent) == 4:
            images = latent[0]
        for shape in (sample.shape if sample is not None else (), latent):
            if len(shape) == 4 and shape[2] is not None and shape[3] is not None:
                size = Resolution(shape[3] * scale, shape[2] * scale)
        if sample is not None and name == "unet" and len(sample.shape) == 4 and sample.shape[0] is not None:
            if images is not None:
                guidance = sample.shape[0] == 2 * images
            elif sample.shape[0] == 1:
                images, guidance = 1, False
        return size, images, guidance

    def xml(self, name: str) -> ModelXml | None:
        """A sub-model's XML; None if it cannot be read, which is reported once."""
        if name not in self._xml:
            self._xml[name] = None
            try:
                self._xml[name] = read_model_xml(self.path / name / "openvino_model.xml")
            except FileNotFoundError:
                pass  # check_components reports it
            except (OSError, ValueError) as error:
                self.report(f"{self.path / name}: {error}")
        return self._xml[name]


def _weights_problem(folder: Path, name: Path, xml: ModelXml) -> str | None:
    path = folder / name
    if not path.is_file() or path.stat().st_size >= xml.weights_bytes:
        return None
    return (
        f"{name} is incomplete: it has {path.stat().st_size} bytes, and {xml.weights_bytes} are needed; fetch it again "
        "(with git: git lfs pull)"
    )


_STEPS_OF_DISTILLED: Final = 4
_HINTS: Final = {
    "openvino_tokenizer.xml": "; make it with openvino_tokenizers: convert_tokenizer",
    "openvino_model.xml": "; make it with optimum-cli export openvino",
}


def _class_of(entry: object) -> object:
    """The class of a component in model_index.json, which is written as [library, class]."""
    return entry[1] if isinstance(entry, list) and len(entry) == 2 else None


def _vae_scale(vae: Mapping[str, Any]) -> int:
    """Pixels per latent pixel, along each side. AutoencoderKLQwenImage counts its levels in its own way."""
    levels = vae.get("temperal_downsample")
    return int(2 ** (len(levels) if isinstance(levels, list) else _length(vae.get("block_out_channels"), 4) - 1))


def _is_distilled(index: Mapping[str, Any], denoiser: Mapping[str, Any], family: Family) -> bool:
    """Whether it was distilled to draw in a few steps and without guidance, as FLUX schnell and FLUX.2 klein were."""
    if family.distilled is None:
        return False
    key, value = family.distilled
    return {**denoiser, **index}.get(key) is value


def _default_size(denoiser: Mapping[str, Any], family: Family, scale: int) -> Resolution | None:
    sample = family.sample_size
    if "sample_size" in family.configurable:
        sample = denoiser.get("sample_size", sample)
    sides = sample if isinstance(sample, list) and len(sample) == 2 else (sample, sample)
    height, width = (_positive(side, 0) for side in sides)
    return Resolution(width * scale, height * scale) if height and width else None


def _positive(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default


def _length(value: object, default: int) -> int:
    return len(value) if isinstance(value, list) and value else default


def _any_of(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))

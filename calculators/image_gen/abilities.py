"""ImageAbilities: what can be asked of an image model, in the words of the images API, for whoever makes a form of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from calculators.image_gen.generation import Kind
from calculators.image_gen.request_rules import RequestRules

_TASKS: Final[dict[Kind, str]] = {
    "text to image": "text_to_image",
    "image to image": "image_to_image",
    "inpainting": "inpainting",
}


@dataclass(frozen=True, slots=True)
class ImageAbilities:
    """What the requests of a node may ask for; plain and picklable.

    Attributes:
        tasks: of ``text_to_image``, ``image_to_image`` and ``inpainting`` those that the model can do.
        default_size: ``WxH`` in pixels, for requests without a size; None where they have to give one.
        sizes: the only sizes that it draws; None for all within the following three.
        max_size: no side may be longer than that of this ``WxH``.
        size_multiple: both sides are multiples of this.
        min_side: the shortest side in pixels.
        default_steps, max_steps: denoising steps, where a request names none, and the most.
        max_n: the most pictures of a request.
    """

    tasks: tuple[str, ...]
    default_size: str | None
    sizes: tuple[str, ...] | None
    max_size: str
    size_multiple: int
    min_side: int
    default_steps: int
    max_steps: int
    max_n: int

    @classmethod
    def of(cls, rules: RequestRules) -> Self:
        """Those of a node."""
        settings, model = rules.settings, rules.model
        size = settings.default_resolution or model.default_size
        fixed = () if model.fixed_size is None else (model.fixed_size,)
        return cls(
            tasks=tuple(task for kind, task in _TASKS.items() if kind in model.kinds),
            default_size=None if size is None else str(size),
            sizes=tuple(map(str, settings.resolutions or fixed)) or None,
            max_size=str(settings.max_resolution),
            size_multiple=model.size_multiple,
            min_side=model.min_side,
            default_steps=settings.default_num_inference_steps,
            max_steps=min(settings.max_num_inference_steps, model.num_train_timesteps),
            max_n=model.fixed_images or settings.max_num_images_per_prompt,
        )

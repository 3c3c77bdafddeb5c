"""Which size to draw: what the request asks for, or what stands in its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.request_rules import RequestRules
from calculators.image_gen.request_values import refuse
from calculators.image_gen.resolution import Resolution, parse_resolution
from calculators.image_gen.sizes import size_problem
from calculators.image_gen.uploads import Upload

_MOST_TIMES_THE_OWN: Final = 4
"""An upload that is to be drawn in its own size is scaled down to so many times the pixels of the model's own size."""


def choose_size(values: Mapping[str, Any], rules: RequestRules, upload: Upload | None) -> Resolution:
    """The size that was asked for, else default_resolution, else the upload's fitted to the model, else the model's own.

    A single side is completed by the model's own.

    Args:
        values: the request's fields.
        rules: what it is checked against.
        upload: the picture to edit; None for generations.

    Raises:
        RequestError: 400; nothing says the size, or the model cannot draw it, or the node does not allow it.
    """
    width, height = _asked_size(values)
    model = rules.model
    _check_static(width, height, rules)
    nothing_asked = width is None and height is None
    size = _default_size(rules, upload) if nothing_asked else _completed(width, height, model.default_size)
    sides = [name for name in ("width", "height") if name in values]
    if size is None:
        refuse(
            sides[0] if sides else "size",
            "this model does not say which size it draws: give size, as WxH",
            "invalid_value",
        )
    limit = rules.settings.max_resolution
    if not size.fits_in(limit):
        param = _side_at_fault(sides, size.width > limit.width)
        whose = "size" if "size" in values or sides else "no size was given, and the model's own size"
        refuse(param, f"{whose} {size} exceeds the maximum resolution {limit}", "integer_above_max_value")
    reason = size_problem(size, model)
    if reason is not None:
        square = Resolution(size.width, size.width)  # tells which side is at fault, unless one size only fits
        refuse(_side_at_fault(sides, size_problem(square, model) is not None), f"size {size} {reason}", "invalid_value")
    return size


def fitted_size(upload: Resolution, model: ModelInfo, limit: Resolution) -> Resolution:
    """The size nearest to an upload's own that the model can draw: scaled down, if need be, then cut to its multiples."""
    most = math.inf if model.default_size is None else _MOST_TIMES_THE_OWN * math.prod(model.default_size)
    scale = min(
        1.0,
        limit.width / upload.width,
        limit.height / upload.height,
        math.sqrt(most / math.prod(upload)),
    )
    multiple = model.size_multiple
    return Resolution(*(max(model.min_side, int(side * scale + 1e-6) // multiple * multiple) for side in upload))


def _default_size(rules: RequestRules, upload: Upload | None) -> Resolution | None:
    model = rules.model
    if rules.settings.default_resolution is not None:
        return rules.settings.default_resolution
    if upload is None or model.fixed_size is not None:
        return model.default_size
    return fitted_size(upload.size, model, rules.settings.max_resolution)


def _check_static(width: int | None, height: int | None, rules: RequestRules) -> None:
    """Where the node lists its sizes, both sides have to be given, or none, and make one of the list."""
    possible = rules.settings.resolutions
    if not possible or width == height is None:
        return
    title = f"{rules.shape_title} requested"
    if height is None:
        refuse("height", f"{title} width but height is missing", "missing_required_parameter")
    if width is None:
        refuse("width", f"{title} height but width is missing", "missing_required_parameter")
    if Resolution(width, height) not in possible:
        refuse(
            "size",
            f"{title} resolution {width}x{height} is not supported by static reshape settings; "
            f"possible: {', '.join(map(str, possible))}",
            "unsupported_value",
        )


def _side_at_fault(sides: list[str], width_is: bool) -> str:
    """The field to name: the side at fault if the request names it, else the other one, or size."""
    if not sides:
        return "size"
    side = "width" if width_is else "height"
    return side if side in sides else sides[0]


def _asked_size(values: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Width and height as far as they were asked for."""
    size = None
    if "size" in values:
        try:
            size = parse_resolution(values["size"])
        except ValueError as error:
            refuse("size", f"size field {error}", "invalid_value")
    for name in ("width", "height"):
        if name in values:
            if size is not None:
                refuse(
                    name,
                    f"Key: {name} already exists in request options. Give size, or width and height.",
                    "invalid_value",
                )
            if values[name] <= 0:
                refuse(name, f"{name} must be higher than 0", "integer_below_min_value")
    return size or (values.get("width"), values.get("height"))


def _completed(width: int | None, height: int | None, own: Resolution | None) -> Resolution | None:
    if own is not None:
        return Resolution(own.width if width is None else width, own.height if height is None else height)
    return None if width is None or height is None else Resolution(width, height)

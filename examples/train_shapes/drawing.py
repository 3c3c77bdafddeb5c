"""Draws scenes as smooth-edged pictures, by the signed distance of every pixel to the edge of a shape."""

import math

import numpy as np
from numpy.typing import NDArray

from .grammar import COLOURS, SHAPES, Scene

Plane = NDArray[np.float32]
Picture = NDArray[np.uint8]

PALETTE: NDArray[np.float32] = np.array(list(COLOURS.values()), dtype=np.float32)
"""RGB of every colour name, shape [12, 3], 0..255."""


def _star(points: int = 5, inner: float = 0.45) -> list[tuple[float, float]]:
    corners = []
    for k in range(2 * points):
        reach = inner if k % 2 else 1.0
        corners.append((reach * math.sin(k * math.pi / points), -reach * math.cos(k * math.pi / points)))
    return corners


def _heart(corner_count: int = 24) -> list[tuple[float, float]]:
    # The well-known heart curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, scaled to radius 1.
    corners = []
    for k in range(corner_count):
        t = 2 * math.pi * k / corner_count
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        corners.append((16 * math.sin(t) ** 3 / 16.5, -y / 16.5))
    return corners


_POLYGONS: dict[str, list[tuple[float, float]]] = {
    "star": _star(),
    "triangle": [(0.0, -1.0), (0.95, 0.75), (-0.95, 0.75)],
    "heart": _heart(),
}


def pixel_grid(width: int, height: int) -> tuple[Plane, Plane]:
    """Gives the x and y of every pixel's centre, each float32 of shape [height, width]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    return x, y


def distance(shape: str, x: Plane, y: Plane) -> Plane:
    """Signed distance to the shape's edge; negative inside.

    x, y: coordinates relative to the shape's centre in units of its radius, y pointing down.
    Raises KeyError for a name that is not in `grammar.SHAPES`.
    """
    if shape == "circle":
        return np.hypot(x, y) - np.float32(1)
    if shape == "ring":
        return np.abs(np.hypot(x, y) - np.float32(0.76)) - np.float32(0.24)
    ax, ay = np.abs(x), np.abs(y)
    if shape == "square":
        return np.maximum(ax, ay) - np.float32(0.88)
    if shape == "diamond":
        diamond: Plane = (ax * np.float32(1.25) + ay - np.float32(1)) * np.float32(0.72)
        return diamond
    if shape == "cross":
        arm, reach = np.float32(0.3), np.float32(1)
        return np.minimum(np.maximum(ax - arm, ay - reach), np.maximum(ax - reach, ay - arm))
    return _polygon_distance(_POLYGONS[shape], x, y)


def _polygon_distance(corners: list[tuple[float, float]], x: Plane, y: Plane) -> Plane:
    nearest = np.full(x.shape, np.inf, dtype=np.float32)
    inside = np.zeros(x.shape, dtype=np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, (x - x0 - dx * along) ** 2 + (y - y0 - dy * along) ** 2)
        # Even-odd rule: a ray to the right crosses this edge if the edge spans y and lies right of x.
        if y0 != y1:
            crosses = ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (dx / dy))
            inside ^= crosses
    signed: Plane = np.where(inside, -np.sqrt(nearest), np.sqrt(nearest)).astype(np.float32)
    return signed


def draw(scene: Scene, width: int = 64, height: int = 64, palette: NDArray[np.float32] = PALETTE) -> Picture:
    """Draws a scene: uint8 RGB of shape [height, width, 3], edges blended over one pixel.

    Colours are indices into `palette`, float32 of shape [n, 3], 0..255.
    """
    unit = min(width, height)
    x, y = pixel_grid(width, height)
    canvas = np.empty((height, width, 3), dtype=np.float32)
    canvas[:] = palette[scene.background]
    for figure in scene.figures:
        radius = figure.radius * unit
        local_x, local_y = (x - figure.x * width) / radius, (y - figure.y * height) / radius
        pixels = distance(SHAPES[figure.shape], local_x.astype(np.float32), local_y.astype(np.float32)) * radius
        cover = np.clip(0.5 - pixels, 0, 1)[..., None]
        canvas += cover * (palette[figure.colour] - canvas)
    return np.round(canvas).astype(np.uint8)

"""Scores a picture of one object against its caption by looking at pixels: background, colour, shape.

The judge knows nothing of the model. Its colours and outlines are those of `grammar` and `drawing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .drawing import PALETTE, Picture, distance, pixel_grid
from .grammar import COLOUR_NAMES, SHAPES, Prompt

CORNER = 5
"""Side in pixels of the squares in the picture's corners that count as background."""
LEAST_OBJECT = 40
"""An object of fewer pixels does not count."""
LEAST_CONTRAST = 25.0
"""Least distance in RGB of an object's pixel from the background."""
LEAST_OVERLAP = 0.6
"""The outline must share this much (intersection over union) with the shape it is taken for."""


@dataclass(frozen=True)
class Finding:
    """What the judge saw. `shape` and `colour` are None where there is no object or no shape fits."""

    background: str
    colour: str | None
    shape: str | None
    overlap: float


@dataclass(frozen=True)
class Score:
    """Shares of pictures, 0..1, in which the caption's word was met."""

    background: float
    colour: float
    shape: float
    all_three: float

    def __str__(self) -> str:
        return (
            f"background {self.background:.2f}  colour {self.colour:.2f}  shape {self.shape:.2f}"
            f"  all three {self.all_three:.2f}"
        )


def look(picture: Picture) -> Finding:
    """Finds background, colour and shape in a picture, uint8 RGB of shape [height, width, 3]."""
    pixels = picture.astype(np.float32)
    background = _background(pixels)
    contrast = np.sqrt(np.square(pixels - background).sum(-1))
    mask = contrast > max(LEAST_CONTRAST, 0.5 * float(np.percentile(contrast, 97)))
    name = _nearest_colour(background)
    if mask.sum() < LEAST_OBJECT:
        return Finding(name, None, None, 0.0)
    inner = _without_edge(mask)
    colour = np.median(pixels[inner if inner.sum() > 20 else mask], axis=0)
    shape, overlap = _best_shape(mask)
    return Finding(name, _nearest_colour(colour), shape if overlap >= LEAST_OVERLAP else None, overlap)


def judge(pictures: Sequence[Picture], prompts: Sequence[Prompt]) -> tuple[Score, list[Finding]]:
    """Scores pictures against the prompts they were made from; both in the same order and of the same number."""
    findings = [look(picture) for picture in pictures]
    background, colour, shape, everything = 0, 0, 0, 0
    for finding, prompt in zip(findings, prompts, strict=True):
        hits = (finding.background == prompt.background, finding.colour == prompt.colour, finding.shape == prompt.shape)
        background, colour, shape = background + hits[0], colour + hits[1], shape + hits[2]
        everything += all(hits)
    count = max(1, len(findings))
    return Score(background / count, colour / count, shape / count, everything / count), findings


def _background(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    ends = (slice(None, CORNER), slice(-CORNER, None))
    corners = [pixels[rows, columns].reshape(-1, 3) for rows in ends for columns in ends]
    return np.median(np.concatenate(corners), axis=0).astype(np.float32)


def _nearest_colour(rgb: NDArray[np.float32]) -> str:
    return COLOUR_NAMES[int(np.square(PALETTE - rgb).sum(-1).argmin())]


def _without_edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    inner: NDArray[np.bool_] = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner


def _best_shape(mask: NDArray[np.bool_]) -> tuple[str, float]:
    """Lays every shape into the mask's bounding box and gives the one that overlaps best."""
    rows, columns = np.nonzero(mask)
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    cut = np.pad(mask[top:bottom, left:right], 2)
    x, y = pixel_grid(cut.shape[1], cut.shape[0])
    middle_x, middle_y = cut.shape[1] / 2, cut.shape[0] / 2
    overlaps: dict[str, float] = {}
    for shape in SHAPES:
        west, east, north, south = _extent(shape)
        by_width, by_height = (right - left) / (east - west), (bottom - top) / (south - north)
        best = 0.0
        for radius in (by_width, by_height, (by_width + by_height) / 2):
            at_x = (x - middle_x) / radius + (west + east) / 2
            at_y = (y - middle_y) / radius + (north + south) / 2
            outline = distance(shape, at_x.astype(np.float32), at_y.astype(np.float32)) < 0
            best = max(best, float((cut & outline).sum() / (cut | outline).sum()))
        overlaps[shape] = best
    found = max(overlaps, key=lambda shape: overlaps[shape])
    return found, overlaps[found]


@cache
def _extent(shape: str) -> tuple[float, float, float, float]:
    """Least and greatest x, least and greatest y of a shape of radius 1."""
    cells = 240
    x, y = pixel_grid(cells, cells)
    scale = np.float32(2.4 / cells)
    x, y = x * scale - np.float32(1.2), y * scale - np.float32(1.2)
    inside = distance(shape, x, y) < 0
    half = float(scale) / 2
    xs, ys = x[inside], y[inside]
    return float(xs.min()) - half, float(xs.max()) + half, float(ys.min()) - half, float(ys.max()) + half

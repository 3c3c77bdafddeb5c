"""The little world of the model: colours, shapes, sizes, places, and captions that name them.

Nothing here needs more than the standard library. A scene is data; `drawing.draw` turns it into a picture.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 30),
    "green": (30, 170, 50),
    "blue": (40, 70, 220),
    "yellow": (245, 220, 40),
    "orange": (250, 140, 20),
    "purple": (140, 50, 180),
    "pink": (250, 140, 190),
    "cyan": (40, 210, 220),
    "brown": (130, 80, 40),
    "black": (15, 15, 15),
    "white": (245, 245, 245),
    "gray": (128, 128, 128),
}
COLOUR_NAMES: tuple[str, ...] = tuple(COLOURS)
SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")

# Radii are fractions of the shorter side of the picture.
CENTRED_RADII: dict[str, tuple[float, float]] = {"": (0.235, 0.345), "small": (0.155, 0.205), "large": (0.36, 0.42)}
PLACED_RADII: dict[str, tuple[float, float]] = {"": (0.17, 0.22), "small": (0.125, 0.155)}
PAIR_RADII = (0.17, 0.21)

# Centres are fractions of width and height.
PLACES: dict[str, tuple[float, float]] = {
    "on the left": (0.27, 0.5),
    "on the right": (0.73, 0.5),
    "at the top": (0.5, 0.27),
    "at the bottom": (0.5, 0.73),
    "in the top left": (0.27, 0.27),
    "in the top right": (0.73, 0.27),
    "in the bottom left": (0.27, 0.73),
    "in the bottom right": (0.73, 0.73),
}
PLACE_JITTER = 0.03

# Other words for the same thing; the usual word stands first and is drawn more often.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("disc", "dot", "ball"),
    "square": ("box",),
    "ring": ("donut",),
    "cross": ("plus sign",),
    "diamond": ("rhombus",),
    "gray": ("grey",),
    "purple": ("violet",),
    "small": ("tiny", "little"),
    "large": ("big", "huge"),
}
OPENINGS = ("a picture of ", "an image of ", "a drawing of ", "a photo of ")


@dataclass(frozen=True)
class Figure:
    """One shape in a scene: indices into `SHAPES` and `COLOUR_NAMES`, centre and radius as fractions of the picture."""

    shape: int
    colour: int
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """What a caption says: the background's index in `COLOUR_NAMES` and up to two figures."""

    caption: str
    background: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Prompt:
    """A caption with one centred object, and the answer that the judge expects."""

    text: str
    shape: str
    colour: str
    background: str


def with_article(words: str) -> str:
    """Puts "a" or "an" before the words."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def say(word: str, rng: random.Random) -> str:
    """Gives the word itself, or now and then one of its synonyms."""
    others = SYNONYMS.get(word)
    return rng.choice(others) if others and rng.random() < 0.4 else word


def sample_scene(rng: random.Random) -> Scene:
    """Draws a scene from the grammar: 6 % empty, 76 % one figure, 18 % two figures."""
    kind = rng.random()
    if kind < 0.06:
        return _empty_scene(rng)
    if kind < 0.82:
        return _single_scene(rng)
    return _pair_scene(rng)


def sample_prompts(count: int, seed: int = 7) -> list[Prompt]:
    """Draws captions for a test: "a(n) COLOUR SHAPE on a(n) COLOUR background", with two different colours."""
    rng = random.Random(seed)
    prompts: list[Prompt] = []
    while len(prompts) < count:
        shape, colour, background = rng.choice(SHAPES), rng.choice(COLOUR_NAMES), rng.choice(COLOUR_NAMES)
        if colour != background:
            text = f"{with_article(colour)} {shape} on {with_article(background)} background"
            prompts.append(Prompt(text, shape, colour, background))
    return prompts


def _empty_scene(rng: random.Random) -> Scene:
    background = rng.randrange(len(COLOUR_NAMES))
    name = say(COLOUR_NAMES[background], rng)
    caption = rng.choice(
        (f"{with_article(name)} background", name, f"plain {name}", f"an empty {name} image", f"nothing but {name}")
    )
    return Scene(caption, background, ())


def _single_scene(rng: random.Random) -> Scene:
    background = rng.randrange(len(COLOUR_NAMES))
    colour = _other_colour(rng, background)
    shape = rng.randrange(len(SHAPES))
    place = rng.choice(tuple(PLACES)) if rng.random() < 0.35 else ""
    if place:
        size = rng.choice(("", "", "", "small"))
        low, high = PLACED_RADII[size]
    else:
        size = rng.choice(("", "", "small", "large"))
        low, high = CENTRED_RADII[size]
    figure = _figure(rng, shape, colour, PLACES.get(place, (0.5, 0.5)), (low, high))

    parts = (say(size, rng) if size else "", say(COLOUR_NAMES[colour], rng), say(SHAPES[shape], rng))
    words = " ".join(part for part in parts if part)
    caption = rng.choice(("", *OPENINGS)) if rng.random() < 0.6 else ""
    caption += with_article(words) if rng.random() < 0.8 else words
    caption += f" {place}" if place else ""
    if rng.random() < 0.12:
        # No word about the background means white, or black where white would hide the figure.
        background = COLOUR_NAMES.index("black" if COLOUR_NAMES[colour] == "white" else "white")
    else:
        caption += _background_words(rng, background)
    return Scene(caption, background, (figure,))


def _pair_scene(rng: random.Random) -> Scene:
    background = rng.randrange(len(COLOUR_NAMES))
    colours = (_other_colour(rng, background), _other_colour(rng, background))
    shapes = (rng.randrange(len(SHAPES)), rng.randrange(len(SHAPES)))
    if rng.random() < 0.6:
        centres, joint = ((0.26, 0.5), (0.74, 0.5)), rng.choice((" and ", " and ", " left of ", " next to "))
    else:
        centres, joint = ((0.5, 0.26), (0.5, 0.74)), rng.choice((" above ", " over "))
    radius = rng.uniform(*PAIR_RADII)
    figures = tuple(_figure(rng, s, c, at, (radius, radius)) for s, c, at in zip(shapes, colours, centres, strict=True))
    nouns = [
        with_article(f"{say(COLOUR_NAMES[c], rng)} {say(SHAPES[s], rng)}") for s, c in zip(shapes, colours, strict=True)
    ]
    opening = rng.choice(("", *OPENINGS)) if rng.random() < 0.6 else ""
    return Scene(opening + joint.join(nouns) + _background_words(rng, background), background, figures)


def _background_words(rng: random.Random, background: int) -> str:
    name = say(COLOUR_NAMES[background], rng)
    if rng.random() < 0.5:
        return f" on {with_article(name)} background"
    return rng.choice(
        (f", {name} background", f" in front of {with_article(name)} background", f" over {name}", f" on {name}")
    )


def _other_colour(rng: random.Random, taken: int) -> int:
    colour = rng.randrange(len(COLOUR_NAMES) - 1)
    return colour + (colour >= taken)


def _figure(
    rng: random.Random, shape: int, colour: int, centre: tuple[float, float], radii: tuple[float, float]
) -> Figure:
    x, y = (c + rng.uniform(-PLACE_JITTER, PLACE_JITTER) for c in centre)
    return Figure(shape, colour, x, y, rng.uniform(*radii))


# What a scene says, as numbers: the text encoder is taught to tell them from the caption alone.
CLASS_COUNTS: tuple[int, ...] = (
    len(COLOURS), len(SHAPES) + 1, len(COLOURS) + 1, len(SHAPES) + 1, len(COLOURS) + 1
)  # fmt: skip
NUMBER_COUNT = 6


def scene_labels(scene: Scene) -> tuple[list[int], list[float]]:
    """Gives the scene as labels.

    Returns: five class indices (background; shape and colour of the first and of the second figure, where the highest
    index means "none") and six numbers in about -1..1 (x, y, radius of each figure; 0 where there is none).
    """
    classes: list[int] = [scene.background, len(SHAPES), len(COLOURS), len(SHAPES), len(COLOURS)]
    numbers: list[float] = [0.0] * NUMBER_COUNT
    for i, figure in enumerate(scene.figures):
        classes[1 + 2 * i : 3 + 2 * i] = [figure.shape, figure.colour]
        numbers[3 * i : 3 * i + 3] = [2 * figure.x - 1, 2 * figure.y - 1, 4 * figure.radius - 1]
    return classes, numbers


def captions(scenes: Sequence[Scene]) -> list[str]:
    """Lists the captions of the scenes."""
    return [scene.caption for scene in scenes]

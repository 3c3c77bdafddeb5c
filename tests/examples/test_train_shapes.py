"""The training example's world: captions, drawing, judge and vocabulary (all that needs no torch)."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from examples.train_shapes.drawing import PALETTE, Picture, distance, draw, pixel_grid
from examples.train_shapes.grammar import (
    CLASS_COUNTS,
    COLOUR_NAMES,
    NUMBER_COUNT,
    SHAPES,
    Figure,
    Prompt,
    Scene,
    sample_prompts,
    sample_scene,
    scene_labels,
    with_article,
)
from examples.train_shapes.judge import judge, look
from examples.train_shapes.tokens import BEGIN, END, byte_letters, learn_merges, vocabulary, write_vocabulary


def scene_of(prompt: Prompt, radius: float = 0.3) -> Scene:
    figure = Figure(SHAPES.index(prompt.shape), COLOUR_NAMES.index(prompt.colour), 0.5, 0.5, radius)
    return Scene(prompt.text, COLOUR_NAMES.index(prompt.background), (figure,))


def test_the_same_seed_gives_the_same_captions() -> None:
    first = [sample_scene(random.Random(5)) for _ in range(1)]
    again = [sample_scene(random.Random(5)) for _ in range(1)]
    assert first == again
    assert sample_scene(random.Random(6)) != first[0]


def test_figures_differ_from_the_background_and_touch_the_picture() -> None:
    rng = random.Random(1)
    scenes = [sample_scene(rng) for _ in range(2000)]
    for scene in scenes:
        for figure in scene.figures:
            assert figure.colour != scene.background, scene
            assert 0 < min(figure.x, figure.y) <= max(figure.x, figure.y) < 1, scene
            assert 0.1 < figure.radius < 0.45, scene
    assert {len(scene.figures) for scene in scenes} == {0, 1, 2}
    assert {figure.shape for scene in scenes for figure in scene.figures} == set(range(len(SHAPES)))
    assert {scene.background for scene in scenes} == set(range(len(COLOUR_NAMES)))


def test_a_caption_without_background_means_white_or_black_for_white_figures() -> None:
    rng = random.Random(2)
    unnamed = 0
    for scene in (sample_scene(rng) for _ in range(3000)):
        named = any(word in scene.caption for word in (" on a", " background", " over ", " in front of "))
        if len(scene.figures) == 1 and not named and not any(f" on {c}" in scene.caption for c in words_for_colours()):
            unnamed += 1
            white_figure = COLOUR_NAMES[scene.figures[0].colour] == "white"
            assert COLOUR_NAMES[scene.background] == ("black" if white_figure else "white"), scene
    assert unnamed > 100


def words_for_colours() -> tuple[str, ...]:
    return (*COLOUR_NAMES, "grey", "violet")


def test_labels_tell_figures_and_their_absence() -> None:
    figure = Figure(shape=3, colour=2, x=0.75, y=0.5, radius=0.25)
    classes, numbers = scene_labels(Scene("", 7, (figure,)))
    assert classes == [7, 3, 2, len(SHAPES), len(COLOUR_NAMES)]
    assert numbers == [0.5, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert len(classes) == len(CLASS_COUNTS)
    assert len(numbers) == NUMBER_COUNT
    assert all(label < count for label, count in zip(classes, CLASS_COUNTS, strict=True))


def test_prompts_are_repeatable_and_have_two_colours() -> None:
    prompts = sample_prompts(50)
    assert prompts == sample_prompts(50)
    assert sample_prompts(20) == prompts[:20]
    assert all(prompt.colour != prompt.background for prompt in prompts)
    assert prompts[0].text == (
        f"{with_article(prompts[0].colour)} {prompts[0].shape} on {with_article(prompts[0].background)} background"
    )


def test_an_orange_takes_an() -> None:
    assert with_article("orange star") == "an orange star"
    assert with_article("red star") == "a red star"


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (40, 72)])
def test_a_drawing_has_the_figure_in_the_middle_and_the_background_at_the_corners(width: int, height: int) -> None:
    picture = draw(scene_of(Prompt("", "circle", "red", "blue")), width, height)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    assert tuple(picture[height // 2, width // 2]) == tuple(PALETTE[COLOUR_NAMES.index("red")].astype(int))
    for corner in (picture[0, 0], picture[0, -1], picture[-1, 0], picture[-1, -1]):
        assert tuple(corner) == tuple(PALETTE[COLOUR_NAMES.index("blue")].astype(int))


def test_a_ring_has_a_hole() -> None:
    picture = draw(scene_of(Prompt("", "ring", "red", "blue")))
    assert tuple(picture[32, 32]) == tuple(PALETTE[COLOUR_NAMES.index("blue")].astype(int))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_mirrored_left_to_right_and_within_its_radius(shape: str) -> None:
    x, y = pixel_grid(80, 80)
    middle, radius = np.float32(40), np.float32(30)
    inside = distance(shape, (x - middle) / radius, (y - middle) / radius) < 0
    # Where an edge goes through a pixel's middle, rounding may put it on either side.
    assert (inside != inside[:, ::-1]).sum() < 0.01 * inside.sum()
    assert not inside[:5].any()
    assert not inside[-5:].any()


def test_the_distance_to_a_polygon_is_that_to_its_nearest_edge() -> None:
    x, y = np.array([[0.0, 0.0]], dtype=np.float32), np.array([[1.75, 0.5]], dtype=np.float32)
    below, within = distance("triangle", x, y)[0]  # the triangle's lower edge lies at y = 0.75
    assert below == pytest.approx(1.0)
    assert within == pytest.approx(-0.25)


@pytest.mark.parametrize("size", [(64, 64), (96, 96), (96, 64)])
@pytest.mark.parametrize("radius", [0.16, 0.3, 0.42])
def test_the_judge_finds_true_drawings_right(size: tuple[int, int], radius: float) -> None:
    prompts = sample_prompts(40, seed=3)
    score, findings = judge([draw(scene_of(prompt, radius), *size) for prompt in prompts], prompts)
    assert score.all_three == 1.0, [f for f, p in zip(findings, prompts, strict=True) if f.shape != p.shape]


def test_the_judge_marks_down_only_what_is_wrong() -> None:
    asked = Prompt("", "star", "red", "white")
    drawn = [Prompt("", "star", "red", "white"), Prompt("", "star", "red", "black")]
    drawn += [Prompt("", "star", "blue", "white"), Prompt("", "heart", "red", "white")]
    score, _ = judge([draw(scene_of(prompt)) for prompt in drawn], [asked] * 4)
    assert (score.background, score.colour, score.shape, score.all_three) == (0.75, 0.75, 0.75, 0.25)


def test_the_judge_sees_no_object_in_an_empty_picture() -> None:
    finding = look(draw(Scene("", COLOUR_NAMES.index("green"), ())))
    assert (finding.background, finding.colour, finding.shape) == ("green", None, None)


def test_the_judge_takes_scattered_specks_for_no_shape() -> None:
    specks: Picture = draw(Scene("", COLOUR_NAMES.index("white"), ()))
    specks[np.random.default_rng(0).random((64, 64)) < 0.1] = 0
    finding = look(specks)
    assert (finding.background, finding.shape) == ("white", None)


def test_every_byte_has_a_letter_of_its_own() -> None:
    letters = byte_letters()
    assert len(set(letters)) == 256
    assert letters[ord("a")] == "a"
    assert not any(letter.isspace() for letter in letters)


def test_merges_join_the_most_frequent_neighbours_first() -> None:
    merges = learn_merges({"aab": 5, "ab": 4, "c": 9}, limit=10)
    assert merges == [("a", "b</w>"), ("a", "ab</w>")]
    assert learn_merges({"aab": 5, "ab": 4}, limit=1) == merges[:1]


def test_a_vocabulary_counts_from_zero_and_ends_with_the_marks() -> None:
    words = vocabulary([("a", "b</w>")])
    assert sorted(words.values()) == list(range(512 + 3))
    assert (words["ab</w>"], words[BEGIN], words[END]) == (512, 513, 514)


def test_written_vocabulary_holds_every_word_of_the_grammar_whole(tmp_path: Path) -> None:
    write_vocabulary(tmp_path, seed=0)
    words = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    for word in (*COLOUR_NAMES, *SHAPES, "background", "large", "left"):
        assert f"{word}</w>" in words
    merges = (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines()
    assert len(merges) - 1 == len(words) - 512 - 2

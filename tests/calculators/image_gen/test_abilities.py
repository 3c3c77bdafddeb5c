"""What whoever makes a form of an image model is told."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

from calculators.image_gen.abilities import ImageAbilities
from calculators.image_gen.resolution import Resolution

if TYPE_CHECKING:
    from tests.calculators.image_gen.conftest import MakeModel, MakeRules


def test_a_model_without_limits_of_its_own_has_those_of_the_options(make_rules: MakeRules) -> None:
    rules = make_rules(max_resolution=Resolution(768, 512), max_num_images_per_prompt=3, max_num_inference_steps=70)
    abilities = ImageAbilities.of(rules)
    assert abilities == ImageAbilities(
        tasks=("text_to_image", "image_to_image", "inpainting"),
        default_size="512x512",
        sizes=None,
        max_size="768x512",
        size_multiple=64,
        min_side=rules.model.min_side,
        default_steps=50,
        max_steps=70,
        max_n=3,
    )
    assert pickle.loads(pickle.dumps(abilities)) == abilities


def test_the_limits_of_the_model_count_too(make_rules: MakeRules, make_model: MakeModel) -> None:
    model = make_model(
        kinds=frozenset({"text to image"}), fixed_size=Resolution(512, 512), fixed_images=2, num_train_timesteps=50
    )
    abilities = ImageAbilities.of(make_rules(model))
    assert (abilities.tasks, abilities.sizes) == (("text_to_image",), ("512x512",))
    assert (abilities.max_n, abilities.max_steps) == (2, 50)


def test_the_sizes_that_the_options_list_are_the_only_ones(make_rules: MakeRules, make_model: MakeModel) -> None:
    listed = (Resolution(256, 256), Resolution(512, 256))
    rules = make_rules(make_model(default_size=None), resolutions=listed, default_resolution=Resolution(256, 256))
    abilities = ImageAbilities.of(rules)
    assert (abilities.sizes, abilities.default_size) == (("256x256", "512x256"), "256x256")
    assert ImageAbilities.of(make_rules(make_model(default_size=None))).default_size is None

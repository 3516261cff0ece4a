"""Tests of augmentation: the draw, the registry, and chains."""

import cv2
import numpy as np
import pytest

from nih_chest_xray.images import augmentation
from nih_chest_xray.images.augmentation import (
    augment,
    draw_augmentations,
    entries,
    get_augmentation,
    move,
    register,
    register_augmentation,
)
from nih_chest_xray.vocabulary import Box

NAMES = ("rotation", "horizontal_flip")


@pytest.fixture
def registry():
    """Takes what a test registers out of the registry again."""
    before = dict(augmentation._REGISTRY)
    yield
    augmentation._REGISTRY.clear()
    augmentation._REGISTRY.update(before)


@pytest.fixture
def spot():
    """Black with a bright disc at x = 300, y = 200."""
    image = np.zeros((1024, 1024), np.uint8)
    cv2.circle(image, (300, 200), 20, 255, -1)
    return image


def test_a_draw_depends_on_seed_image_and_copy_alone():
    alone = draw_augmentations(NAMES, 5, "00000001_000.png", 1)
    draw_augmentations(NAMES, 9, "00000007_000.png", 4)
    assert draw_augmentations(NAMES, 5, "00000001_000.png", 3)[:1] == alone
    assert draw_augmentations(NAMES, 6, "00000001_000.png", 1) != alone
    assert draw_augmentations(NAMES, 5, "00000001_001.png", 1) != alone


def test_seeds_draw_other_augmentations():
    names = [[draw_augmentations(NAMES, seed, f"{i:08d}_000.png", 1)[0][0] for i in range(64)] for seed in (0, 1)]
    assert names[0] != names[1]


def test_names_and_numbers_are_drawn_evenly():
    drawn = [draw_augmentations(NAMES, 0, f"{image:08d}_000.png", 1)[0] for image in range(4000)]
    rotations = [draw for name, draw in drawn if name == "rotation"]
    assert len(rotations) / 4000 == pytest.approx(0.5, abs=0.03)  # 4 standard deviations
    quartiles, _ = np.histogram(rotations, bins=4, range=(0, 1))
    np.testing.assert_allclose(quartiles / len(rotations), 0.25, atol=0.04)


def test_copies_of_one_image_differ():
    for image in range(200):
        drawn = draw_augmentations(NAMES, 0, f"{image:08d}_000.png", 8)
        assert [name for name, _ in drawn].count("horizontal_flip") <= 1
        angles = sorted(draw for name, draw in drawn if name == "rotation")
        assert np.diff(angles).min() > 0.38 / 8


def test_a_users_augmentation_is_drawn_and_applied(registry, spot, make_config):
    @register_augmentation("darker")
    def darker(image, draw, config):
        return (image * draw).astype(image.dtype)

    config = make_config(augmentations=["darker"], augmented_copies=2)
    (name, draw), _ = draw_augmentations(config.augmentations, 0, "00000001_000.png", 2)
    assert name == "darker"
    assert augment(spot, name, draw, config).max() == int(255 * draw)


def test_an_augmentation_that_works_in_place_leaves_its_source_as_it_is(registry, spot, make_config):
    @register_augmentation("in_place")
    def in_place(image, draw, config):
        image[:] = 0
        return image

    assert augment(spot, "in_place", 0.5, make_config()).max() == 0
    assert spot.max() == 255


def test_a_name_can_be_registered_once(registry):
    for name in ("rotation", "none"):
        with pytest.raises(ValueError, match=f"'{name}' is registered already"):
            register_augmentation(name)


def test_a_name_that_would_be_a_chains_cannot_be_registered(registry):
    with pytest.raises(ValueError, match="'a.b': '.' joins names to a chain"):
        register_augmentation("a+b")


def test_an_augmentation_that_changes_shape_or_type_is_named(registry, spot, make_config):
    register_augmentation("crop")(lambda image, draw, config: image[1:])
    register_augmentation("floats")(lambda image, draw, config: image / 255)
    for name in ("crop", "floats"):
        with pytest.raises(ValueError, match=f"'{name}' returned .* expected an array of the image's shape"):
            augment(spot, name, 0.5, make_config())
        with pytest.raises(ValueError, match=f"'{name}' returned .* expected an array of the image's shape"):
            augment(spot, f"{name}+rotation", 0.5, make_config())


@pytest.fixture
def steps(registry):
    """Registers augmentations that write down with which draw they are called, and returns what they wrote."""
    seen = []

    def step(name, **fields):
        @register_augmentation(name, **fields)
        def apply(image, draw, config):
            seen.append((name, draw))
            return image

    step("a")
    step("b", affine=lambda draw, config: np.array([[1.0, 0.0, 100.0], [0.0, 1.0, 0.0]]))
    step("c", once=True, affine=lambda draw, config: np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]))
    return seen


def test_a_chain_applies_its_parts_in_their_order_each_with_a_draw_of_its_own(steps, spot, make_config):
    drawn = {}
    for draw in np.linspace(0, 1, 500, endpoint=False):
        steps.clear()
        augment(spot, "b+a", draw, make_config())
        assert [name for name, _ in steps] == ["b", "a"]
        drawn[steps[0][1]] = steps[1][1]
    assert list(drawn) == list(np.linspace(0, 1, 500, endpoint=False))  # The first part's draw is the chain's.
    second = np.array(list(drawn.values()))
    assert ((second >= 0) & (second < 1)).all()
    assert abs(np.corrcoef(list(drawn), second)[0, 1]) < 0.18  # 4 standard deviations of independent numbers'.


def test_a_chains_draw_goes_to_the_first_part_that_depends_on_it(steps, spot, make_config):
    """Or copies by `horizontal_flip+rotation` could have nearly the same angle."""
    augment(spot, "c+a", 0.25, make_config())
    assert dict(steps)["a"] == 0.25


def test_a_chain_moves_boxes_as_its_parts_do_one_after_the_other(steps, make_config):
    box = Box("Nodule", 0.2, 0.4, 0.4, 0.6)
    (moved,) = move((box,), "b+a+c", 0.5, make_config())
    half_pixel = 0.25 / 1024  # Maps count from the centre of the first pixel.
    expected = (box.xmin / 2 + 50 / 1024, box.ymin / 2, box.xmax / 2 + 50 / 1024, box.ymax / 2)
    assert (moved.xmin, moved.ymin, moved.xmax, moved.ymax) == pytest.approx(
        tuple(edge + half_pixel for edge in expected)
    )
    assert move((box,), "a", 0.5, make_config()) == (box,)


def test_a_chain_gives_one_copy_only_if_all_its_parts_do(steps):
    assert get_augmentation("c").once
    assert get_augmentation("c+horizontal_flip").once
    assert not get_augmentation("c+a").once


def test_a_worker_that_has_a_chains_entries_has_the_chain(steps, spot, make_config):
    """Beam's workers register what the submitting process found, and need not have the user's module."""
    shipped = entries(["a+rotation", "b"])
    assert [entry.name for entry in shipped] == ["a", "rotation", "b"]
    config = make_config()
    augmentation._REGISTRY.clear()
    for entry in shipped:
        register(entry)
    augment(spot, "a+rotation", 0.5, config)
    assert [name for name, _ in steps] == ["a"]


def test_copies_by_a_chain_differ():
    for image in range(50):
        draws = sorted(draw for _, draw in draw_augmentations(["rotation+noise"], 0, f"{image:08d}_000.png", 6))
        assert np.diff(draws).min() > 0.38 / 6

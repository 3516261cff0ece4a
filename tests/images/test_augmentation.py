"""Tests of augmentation: the draw, the registry, and what rotation and flip do to pixels."""

import cv2
import numpy as np
import pytest

from nih_chest_xray.images import augmentation
from nih_chest_xray.images.augmentation import augment, draw_augmentations, register_augmentation

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


def centre(image):
    ys, xs = np.nonzero(image > 127)
    return xs.mean(), ys.mean()


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


def test_rotation_moves_a_point_as_geometry_says_and_fills_with_black(spot, make_config):
    """Image rows run downwards, so a positive angle turns anticlockwise as seen."""
    turned = augment(spot, "rotation", 1.0 - 2**-53, make_config(rotation_degrees=30))
    angle, middle = np.deg2rad(30), 511.5
    x, y = 300 - middle, 200 - middle
    expected = (middle + np.cos(angle) * x + np.sin(angle) * y, middle - np.sin(angle) * x + np.cos(angle) * y)
    assert centre(turned) == pytest.approx(expected, abs=0.5)
    white = augment(np.full((1024, 1024), 255, np.uint8), "rotation", 0.0, make_config(rotation_degrees=30))
    assert white.shape == (1024, 1024)
    assert white[0, 0] == white[0, -1] == white[-1, 0] == white[-1, -1] == 0
    assert white[512, 512] == 255


def test_the_middle_of_the_draw_is_no_rotation(spot, make_config):
    np.testing.assert_array_equal(augment(spot, "rotation", 0.5, make_config()), spot)


def test_flip_mirrors_exactly(make_config):
    image = np.random.RandomState(0).randint(0, 256, (64, 64), np.uint8)
    np.testing.assert_array_equal(augment(image, "horizontal_flip", 0.3, make_config()), image[:, ::-1])


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


def test_an_augmentation_that_changes_shape_or_type_is_named(registry, spot, make_config):
    register_augmentation("crop")(lambda image, draw, config: image[1:])
    register_augmentation("floats")(lambda image, draw, config: image / 255)
    for name in ("crop", "floats"):
        with pytest.raises(ValueError, match=f"'{name}' returned .* expected an array of the image's shape"):
            augment(spot, name, 0.5, make_config())

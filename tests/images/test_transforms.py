"""Tests of the built-in augmentations: what each does to pixels and to boxes, and within which range."""

import cv2
import numpy as np
import pytest

from nih_chest_xray.config import RANGES
from nih_chest_xray.images import transforms
from nih_chest_xray.images.augmentation import augment, get_augmentation, move
from nih_chest_xray.images.transforms import BUILT_IN, signed
from nih_chest_xray.vocabulary import Box

DRAWS = np.append(np.arange(0, 1, 1 / 64), 1 - 2**-53)
MOVING = ("rotation", "horizontal_flip", "translation", "zoom")


@pytest.fixture
def spot():
    """Black with a bright disc at x = 300, y = 200."""
    image = np.zeros((1024, 1024), np.uint8)
    cv2.circle(image, (300, 200), 20, 255, -1)
    return image


@pytest.fixture
def ramp():
    """Every grey level, 4 columns each."""
    return np.tile(np.repeat(np.arange(256, dtype=np.uint8), 4), (1024, 1))


def centre(image):
    ys, xs = np.nonzero(image > 127)
    return xs.mean(), ys.mean()


def test_the_numbers_of_the_first_augmentations_stay():
    """The class numbers of the feature `augmentation` in datasets that exist."""
    assert BUILT_IN[:2] == ("rotation", "horizontal_flip")
    assert len(set(BUILT_IN)) == 8


def test_amounts_are_uniform_in_both_directions_and_keep_away_from_0():
    amounts = np.array([signed(draw, 10.0) for draw in np.arange(0, 1, 1 / 1000)])
    assert (np.diff(amounts) > 0).all()
    assert (amounts.min(), amounts.max()) == pytest.approx((-10, 10), abs=0.02)
    assert abs(amounts).min() == 2.0
    counts, _ = np.histogram(abs(amounts), bins=4, range=(2, 10))
    np.testing.assert_allclose(counts, 250, atol=1)


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_draw_leaves_an_image_as_it_is(name, phantom, make_config):
    image = cv2.imdecode(np.frombuffer(next(iter(phantom.drawn.values())), np.uint8), cv2.IMREAD_GRAYSCALE)
    for draw in DRAWS[::8]:
        changed = augment(image, name, draw, make_config())
        assert np.abs(changed.astype(int) - image).mean() > 0.5, draw


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_draw_gives_the_same_pixels_again_and_another_others(name, ramp, make_config):
    config = make_config()
    np.testing.assert_array_equal(augment(ramp, name, 0.3, config), augment(ramp, name, 0.3, config))
    if not get_augmentation(name).once:
        assert (augment(ramp, name, 0.3, config) != augment(ramp, name, 0.7, config)).any()


def test_rotation_moves_a_point_as_geometry_says_and_fills_with_black(spot, make_config):
    """Image rows run downwards, so a positive angle turns anticlockwise as seen."""
    turned = augment(spot, "rotation", DRAWS[-1], make_config(rotation_degrees=30))
    angle, middle = np.deg2rad(30), 511.5
    x, y = 300 - middle, 200 - middle
    expected = (middle + np.cos(angle) * x + np.sin(angle) * y, middle - np.sin(angle) * x + np.cos(angle) * y)
    assert centre(turned) == pytest.approx(expected, abs=0.5)
    white = augment(np.full((1024, 1024), 255, np.uint8), "rotation", 0.0, make_config(rotation_degrees=30))
    assert white.shape == (1024, 1024)
    assert white[0, 0] == white[0, -1] == white[-1, 0] == white[-1, -1] == 0
    assert white[512, 512] == 255


def test_flip_mirrors_exactly(make_config):
    image = np.random.RandomState(0).randint(0, 256, (64, 64), np.uint8)
    np.testing.assert_array_equal(augment(image, "horizontal_flip", 0.3, make_config()), image[:, ::-1])


@pytest.mark.parametrize("name", MOVING)
def test_a_box_follows_its_disc(name, spot, make_config):
    box = Box("Nodule", 280 / 1024, 180 / 1024, 321 / 1024, 221 / 1024)
    config = make_config(translation_fraction=0.15, zoom_fraction=0.5, rotation_degrees=30)
    for draw in DRAWS[::8]:
        (moved,) = move((box,), name, draw, config)
        x, y = centre(augment(spot, name, draw, config))
        middle = (1024 * (moved.xmin + moved.xmax) / 2 - 0.5, 1024 * (moved.ymin + moved.ymax) / 2 - 0.5)
        assert middle == pytest.approx((x, y), abs=0.6)


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in MOVING])
def test_what_moves_nothing_leaves_boxes(name, make_config):
    box = Box("Nodule", 0.1, 0.2, 0.3, 0.4)
    assert move((box,), name, 0.9, make_config()) == (box,)


def test_translation_stays_within_its_share_in_both_axes_apart(spot, make_config):
    config = make_config(translation_fraction=0.1)
    shifts = np.array([centre(augment(spot, "translation", draw, config)) for draw in DRAWS]) - (300, 200)
    assert (abs(shifts) <= 102.4 + 0.5).all()
    assert (abs(shifts) >= 102.4 / 5 - 0.5).all()
    directions = {(x > 0, y > 0) for x, y in shifts}
    assert len(directions) == 4


def test_zoom_is_about_the_centre_and_within_its_range(spot, make_config):
    config = make_config(zoom_fraction=0.25)
    for draw, factor in ((0.0, 0.75), (DRAWS[-1], 1.25)):
        x, y = centre(augment(spot, "zoom", draw, config))
        assert (x - 511.5, y - 511.5) == pytest.approx((factor * (300 - 511.5), factor * (200 - 511.5)), abs=0.5)


@pytest.mark.parametrize("name", ["rotation", "translation", "zoom"])
def test_what_comes_in_is_black_or_mirrored(name, make_config):
    white = np.full((1024, 1024), 255, np.uint8)
    filled = {fill: augment(white, name, 0.0, make_config(rotation_fill=fill)) for fill in transforms.FILLS}
    assert filled["black"].min() == 0
    assert filled["reflect"].min() == 255


def test_a_mirrored_edge_is_not_doubled(make_config):
    """A line along the edge would tell that the image was changed."""
    image = np.tile(np.arange(1024) % 256, (1024, 1)).astype(np.uint8)
    left = augment(image, "translation", 1 - 2**-53, make_config(translation_fraction=0.5, rotation_fill="reflect"))
    edge = left[512, 508:518].astype(int)
    assert list(edge) == [4, 3, 2, 1, 0, 1, 2, 3, 4, 5]


def test_brightness_adds_the_same_to_every_grey_level(ramp, make_config):
    config = make_config(brightness_fraction=0.2)
    for draw, added in ((0.0, -51), (0.5, 10.2), (DRAWS[-1], 51)):
        expected = np.clip(ramp + float(added), 0, 255)
        np.testing.assert_allclose(augment(ramp, "brightness", draw, config), expected, atol=0.5)


def test_contrast_spreads_grey_levels_about_the_mean(ramp, make_config):
    config = make_config(contrast_fraction=0.4)
    for draw, factor in ((0.0, 0.6), (0.5, 1.08), (DRAWS[-1], 1.4)):
        expected = np.clip(127.5 + factor * (ramp - 127.5), 0, 255)
        np.testing.assert_allclose(augment(ramp, "contrast", draw, config), expected, atol=0.5)


def test_gamma_leaves_black_and_white_and_bends_what_is_between(ramp, make_config):
    config = make_config(gamma_fraction=0.5)
    for draw, power in ((0.0, 0.5), (0.5, 1.1), (DRAWS[-1], 1.5)):
        expected = 255 * (ramp / 255) ** power
        np.testing.assert_allclose(augment(ramp, "gamma", draw, config), expected, atol=0.5)


def test_noise_is_gaussian_of_the_deviation_drawn_and_of_no_other(make_config):
    grey = np.full((1024, 1024), 128, np.uint8)
    for draw, deviation in ((0.0, 4), (0.5, 12), (DRAWS[-1], 20)):
        noise = augment(grey, "noise", draw, make_config(noise_stddev=20)).astype(float) - 128
        assert noise.mean() == pytest.approx(0, abs=0.1)
        assert noise.std() == pytest.approx(np.hypot(deviation, 12**-0.5), rel=0.01)  # And that of rounding.
        assert (abs(noise) < 2 * deviation).mean() == pytest.approx(0.954, abs=0.03)


def test_noise_comes_from_numpys_frozen_stream(make_config):
    """The numbers with which thousands of pages on NumPy begin."""
    assert np.random.RandomState(0).standard_normal(3) == pytest.approx([1.76405235, 0.40015721, 0.97873798])


@pytest.mark.parametrize("field", RANGES)
def test_each_range_is_read_by_one_augmentation(field, phantom, make_config):
    image = cv2.imdecode(np.frombuffer(next(iter(phantom.drawn.values())), np.uint8), cv2.IMREAD_GRAYSCALE)
    small = make_config(**{field: getattr(make_config(), field) / 2})
    changed = [
        name
        for name in BUILT_IN
        if (augment(image, name, 0.2, small) != augment(image, name, 0.2, make_config())).any()
    ]
    assert len(changed) == 1

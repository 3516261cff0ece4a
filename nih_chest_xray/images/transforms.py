"""Transforms: the augmentations that are built in, each with a field of the config for its range.

Amounts keep away from 0, since a copy that is its source teaches nothing; `signed` says how.

OpenCV and NumPy do all of it: the libraries made for augmentation draw from generators of their own, so that a copy
would depend on the order of images, and need PyTorch, or are no longer kept under a permissive licence.
"""

from __future__ import annotations

import cv2
import numpy as np

from nih_chest_xray.images.augmentation import Settings, further_draw, register_augmentation
from nih_chest_xray.vocabulary import SOURCE_SIZE

BUILT_IN = ("rotation", "horizontal_flip", "translation", "zoom", "brightness", "contrast", "gamma", "noise")
"""The names, in the order of their numbers in the feature `augmentation`."""
FILLS = {
    "black": cv2.BORDER_CONSTANT,
    # It does not double the outermost pixels, which reads as a line along the edge.
    "reflect": cv2.BORDER_REFLECT_101,
}
"""OpenCV's modes for what comes in from outside the image, by their names in configs."""
NEAREST = 1 / 5
"""The smallest amount, as a share of the largest."""

_CENTRE = (SOURCE_SIZE - 1) / 2


def signed(draw: float, limit: float) -> float:
    """Returns an amount that is uniform in plus or minus [limit / 5, limit]. It grows with the draw.

    Args:
      draw: In [0, 1).
      limit: The largest amount, in any unit.

    >>> signed(0.0, 10), signed(0.5, 10), round(signed(0.999, 10), 1)
    (-10.0, 2.0, 10.0)
    """
    position = 2 * draw - 1
    size = limit * (NEAREST + (1 - NEAREST) * abs(position))
    return -size if position < 0 else size


def rotation_matrix(draw: float, config: Settings) -> np.ndarray:
    """Returns a rotation about the image's centre by an angle of up to plus or minus `config.rotation_degrees`."""
    return cv2.getRotationMatrix2D((_CENTRE, _CENTRE), signed(draw, config.rotation_degrees), 1.0)


@register_augmentation("rotation", affine=rotation_matrix)
def rotate(image: np.ndarray, draw: float, config: Settings) -> np.ndarray:
    """Rotates about the centre; `config.rotation_fill` fills the corners."""
    return _warp(image, rotation_matrix(draw, config), config)


def flip_matrix(_draw: float, _config: Settings) -> np.ndarray:
    """Returns the map that mirrors left and right."""
    return np.array([[-1.0, 0.0, SOURCE_SIZE - 1.0], [0.0, 1.0, 0.0]])


@register_augmentation("horizontal_flip", once=True, affine=flip_matrix)
def flip_horizontally(image: np.ndarray, _draw: float, _config: Settings) -> np.ndarray:
    """Mirrors left and right."""
    return cv2.flip(image, 1)


def translation_matrix(draw: float, config: Settings) -> np.ndarray:
    """Returns a shift in x and in y, each of up to plus or minus `config.translation_fraction` of the side."""
    limit = config.translation_fraction * SOURCE_SIZE
    return np.array([[1.0, 0.0, signed(draw, limit)], [0.0, 1.0, signed(further_draw(draw, "y"), limit)]])


@register_augmentation("translation", affine=translation_matrix)
def translate(image: np.ndarray, draw: float, config: Settings) -> np.ndarray:
    """Shifts the image; `config.rotation_fill` fills what comes in."""
    return _warp(image, translation_matrix(draw, config), config)


def zoom_matrix(draw: float, config: Settings) -> np.ndarray:
    """Returns a scaling about the image's centre, by a factor of 1 plus or minus up to `config.zoom_fraction`."""
    return cv2.getRotationMatrix2D((_CENTRE, _CENTRE), 0.0, 1 + signed(draw, config.zoom_fraction))


@register_augmentation("zoom", affine=zoom_matrix)
def zoom(image: np.ndarray, draw: float, config: Settings) -> np.ndarray:
    """Magnifies or shrinks about the centre; `config.rotation_fill` fills what comes in."""
    return _warp(image, zoom_matrix(draw, config), config)


@register_augmentation("brightness")
def change_brightness(image: np.ndarray, draw: float, config: Settings) -> np.ndarray:
    """Adds up to plus or minus `config.brightness_fraction` of the range of grey levels."""
    return _map_levels(image, _LEVELS + 255 * signed(draw, config.brightness_fraction))


@register_augmentation("contrast")
def change_contrast(image: np.ndarray, draw: float, config: Settings) -> np.ndarray:
    """Multiplies distances from the image's mean by 1 plus or minus up to `config.contrast_fraction`."""
    mean = image.mean()
    return _map_levels(image, mean + (1 + signed(draw, config.contrast_fraction)) * (_LEVELS - mean))


@register_augmentation("gamma")
def change_gamma(image: np.ndarray, draw: float, config: Settings) -> np.ndarray:
    """Raises grey levels, from 0 to 1, to the power of 1 plus or minus up to `config.gamma_fraction`."""
    return _map_levels(image, 255 * (_LEVELS / 255) ** (1 + signed(draw, config.gamma_fraction)))


@register_augmentation("noise")
def add_noise(image: np.ndarray, draw: float, config: Settings) -> np.ndarray:
    """Adds Gaussian noise, of a standard deviation in grey levels in [1/5, 1] of `config.noise_stddev`."""
    # Of NumPy's generators only this one has a frozen stream, the same in every version and on every machine (NEP 19).
    normal = np.random.RandomState(int(2**32 * further_draw(draw, "noise"))).standard_normal(image.shape)
    deviation = config.noise_stddev * (NEAREST + (1 - NEAREST) * draw)
    return _to_grey(image + deviation * normal)


_LEVELS = np.arange(256.0)


def _warp(image: np.ndarray, matrix: np.ndarray, config: Settings) -> np.ndarray:
    border = FILLS[config.rotation_fill]
    return cv2.warpAffine(image, matrix, image.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=border)


def _map_levels(image: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Replaces each of the 256 grey levels by another."""
    return cv2.LUT(image, _to_grey(levels))


def _to_grey(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)

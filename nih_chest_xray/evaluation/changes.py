"""Changes: alters images in ways that say nothing of a finding: rotates, mirrors, blackens corners, masks markers."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

DEGREES = 10
"""Angle of a rotation, in either direction, as in the dataset's own copies."""
_TOP, _SIDES = 0.3, 0.27
"""Where markers are looked for: in this share of the height at the top, and of the width at either side."""
_STROKE = 0.03
"""Side of the largest square that a stroke of a marker may fill, as a share of the image's."""
_RAISED, _SHARP = 0.15, 0.14
"""How far a stroke rises above its surroundings, and a pixel's neighbours differ at its edge, as shares of the grey
values' spread. Bones rise as far, but their edges are soft."""
_EDGE = 0.005
"""Width of a sharp edge, as a share of the image's side."""
_GAP = 0.012
"""How far apart the letters of a marker may be, as a share of the image's side."""
_SMALLEST, _LONGEST = 1e-4, 0.15
"""Area of a marker's edges at least, as a share of the image, and its length at most, as a share of the side."""


def rotated(image: np.ndarray, sign: int) -> np.ndarray:
    """Rotates an image about its centre; corners become black. `image` is (S, S) uint8, `sign` 1 or -1."""
    return cv2.warpAffine(image, _rotation(image, sign), image.shape[::-1], flags=cv2.INTER_LINEAR)


def flipped(image: np.ndarray, _sign: int) -> np.ndarray:
    """Mirrors an image left and right."""
    return cv2.flip(image, 1)


def cornered(image: np.ndarray, sign: int) -> np.ndarray:
    """Blackens what a rotation would blacken, and leaves the rest as it is."""
    inside = cv2.warpAffine(np.ones_like(image), _rotation(image, sign), image.shape[::-1], flags=cv2.INTER_NEAREST)
    return image * inside


def unmarked(image: np.ndarray, _sign: int) -> np.ndarray:
    """Paints over markers, such as the letters L and R and the words PORTABLE and AP, from what surrounds them.

    A marker has thin, bright strokes with sharp edges, beside the neck or above a shoulder. Screws, wires and an edge
    of a bone now and then look the same and are painted over too.
    """
    mask = markers(image)
    return cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA) if mask.any() else image


def markers(image: np.ndarray) -> np.ndarray:
    """Returns where an image seems to have markers: (S, S) uint8, 1 there and 0 elsewhere."""
    side = len(image)
    low, high = np.percentile(image, [1, 99])
    stroke = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_odd(_STROKE * side),) * 2)
    raised = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, stroke, borderType=cv2.BORDER_REFLECT)
    edges = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((_odd(_EDGE * side),) * 2, np.uint8))
    strokes = ((raised > _RAISED * (high - low)) & (edges > _SHARP * (high - low))).astype(np.uint8)
    strokes[round(_TOP * side) :] = 0
    strokes[:, round(_SIDES * side) : side - round(_SIDES * side)] = 0
    grown = cv2.dilate(strokes, np.ones((_odd(_GAP * side),) * 2, np.uint8))
    number, shapes, stats, _ = cv2.connectedComponentsWithStats(grown, connectivity=8)
    areas = np.bincount(shapes.ravel(), strokes.ravel(), number) / side**2
    lengths = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) / side
    found = (areas >= _SMALLEST) & (lengths <= _LONGEST)
    found[0] = False
    return found[shapes].astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "rotated": rotated,
    "flipped": flipped,
    "corners blackened": cornered,
    "markers masked": unmarked,
}
"""What images are changed by. None of it changes what a radiologist would say."""


def _odd(length: float) -> int:
    """Returns a length in pixels as an odd number of at least 3."""
    return max(3, round(length)) | 1


def _rotation(image: np.ndarray, sign: int) -> np.ndarray:
    centre = (len(image) - 1) / 2
    return cv2.getRotationMatrix2D((centre, centre), sign * DEGREES, 1.0)

"""Thumbnails: small pictures of many examples on a few sheets, and which large pictures a page can afford.

A site of the whole release is to stay below 15 MB: its table of all rows has 1.4, its page and charts less than one.
Means of 112 real images: 1,100 bytes for a thumbnail; for a WebP of 512 pixels 7,100 at quality 60 (40 dB from the
stored PNG, which has 113,000), 8,600 at 75 (41 dB) and 21,000 at 90 (44 dB).
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from nih_chest_xray.catalog.choice import Choice
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.stored import SUFFIXES
from nih_chest_xray.images.codec import resize

FOLDER = "examples"
SIDE = 128
"""Side of a thumbnail in pixels: a multiple of the 16 that WebP encodes together, so that neighbours stay apart."""
ACROSS = 10
"""Number of thumbnails in a row of a sheet, and of rows. One request fetches a sheet."""
_ALL_STORED, _FEATURED_STORED = 8_000_000, 2_000_000
"""Bytes of stored images that a site holds: if that does for all of its examples, else of featured ones."""
_LARGEST = 512
"""Side in pixels of the largest WebP."""
_SHEET = (cv2.IMWRITE_WEBP_QUALITY, 60)
_QUALITIES = ((250, 90), (600, 75), (math.inf, 60))
"""Quality of the large pictures if there are at most so many of them: 5 to 7 MB of 512 pixels."""


class Sheets:
    """Sheets of thumbnails. Threads may put thumbnails on them at the same time."""

    def __init__(self, number: int) -> None:
        """Takes the number of thumbnails."""
        rows = math.ceil(number / ACROSS)
        self._pixels = np.zeros((rows * SIDE, ACROSS * SIDE), np.uint8)

    def put(self, place: int, pixels: np.ndarray) -> None:
        """Puts the thumbnail of an image, (height, width) uint8, in its place, counted from 0."""
        row, column = divmod(place, ACROSS)
        shown = self._pixels[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
        shown[:] = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    def write(self, folder: Path) -> None:
        """Writes the sheets into `folder`/examples. All have the same size."""
        height = ACROSS * SIDE
        for number, top in enumerate(range(0, len(self._pixels), height)):
            part = self._pixels[top : top + height]
            sheet = np.pad(part, ((0, height - len(part)), (0, 0)))
            (folder / FOLDER / f"sheet-{number:02d}.webp").write_bytes(_webp(sheet, _SHEET))


def exact_or_small(built: Built, choice: Choice) -> dict[str, tuple[str, bool]]:
    """Returns the path of each example's large picture, by image name, and whether it is the image as it is stored."""
    splits = built.builder.info.splits
    size = sum(split.num_bytes for split in splits.values()) / max(1, built.total)
    names = choice.examples["image_name"].tolist()
    all_fit = size * len(names) <= _ALL_STORED
    stored = set(names if all_fit else choice.featured[: int(_FEATURED_STORED // size)])
    suffix = SUFFIXES[built.config["image_format"]]
    return {
        name: (f"{FOLDER}/{name.removesuffix('.png')}{suffix if name in stored else '.webp'}", name in stored)
        for name in names
    }


def small_file(pixels: np.ndarray, number: int) -> bytes:
    """Returns a lossy WebP of an image, (height, width) uint8, of at most 512 pixels a side, for one of so many."""
    quality = next(quality for most, quality in _QUALITIES if number <= most)
    shown = resize(pixels, _LARGEST) if len(pixels) > _LARGEST else pixels
    return _webp(shown, (cv2.IMWRITE_WEBP_QUALITY, quality))


def _webp(pixels: np.ndarray, options: tuple[int, int]) -> bytes:
    return cv2.imencode(".webp", pixels, options)[1].tobytes()

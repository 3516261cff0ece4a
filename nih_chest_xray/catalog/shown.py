"""Shown: an example in words, as a figure shows it."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """An example.

    Attributes:
      pixels: (height, width) uint8.
      name: The image name; empty if the example has none.
      label: Its label.
      lines: What else is known of it.
      boxes: (finding, left, top, width, height) of each box, in shares of the image.
    """

    pixels: np.ndarray
    name: str
    label: str
    lines: tuple[str, ...] = ()
    boxes: tuple[tuple[str, float, float, float, float], ...] = ()

"""Boxes: moves bounding boxes with their augmented image."""

from __future__ import annotations

import numpy as np

from nih_chest_xray.vocabulary import SOURCE_SIZE, Box


def move_boxes(boxes: tuple[Box, ...], affine: np.ndarray) -> tuple[Box, ...]:
    """Returns the boxes around the boxes' corners after an affine map, clipped to the image.

    Args:
      boxes: The boxes in the source image.
      affine: (2, 3) float, the map from the source's pixels to the result's, as `cv2.warpAffine` takes it, for an image
        of 1024 x 1024.

    Returns:
      The boxes in the result, without those that have left it.
    """
    moved = []
    for box in boxes:
        x = np.array([box.xmin, box.xmax, box.xmax, box.xmin]) * SOURCE_SIZE
        y = np.array([box.ymin, box.ymin, box.ymax, box.ymax]) * SOURCE_SIZE
        # The map counts from the centre of the first pixel, a box from its corner: half a pixel apart.
        corners = affine @ np.stack([x - 0.5, y - 0.5, np.ones(4)]) + 0.5
        (xmin, ymin), (xmax, ymax) = np.clip([corners.min(axis=1), corners.max(axis=1)], 0, SOURCE_SIZE) / SOURCE_SIZE
        if xmin < xmax and ymin < ymax:
            moved.append(Box(box.finding, float(xmin), float(ymin), float(xmax), float(ymax)))
    return tuple(moved)

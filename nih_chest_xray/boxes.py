"""Boxes: radiologists' bounding boxes of findings, read from the NIH's list, and moved with an augmented image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from nih_chest_xray.labels import FINDINGS, NO_FINDING, finding_of
from nih_chest_xray.png import SOURCE_SIZE
from nih_chest_xray.tables import parse_column, read_table, require, require_image_names, to_number

OFFICIAL_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"

_COLUMNS = {
    "imageindex": "image_name",
    "findinglabel": "finding",
    **{
        f"{prefix}{cell}": name
        for cell, name in zip("xywh", ("x", "y", "width", "height"), strict=True)
        for prefix in ("bbox", "")
    },
}


@dataclasses.dataclass(frozen=True)
class Box:
    """A finding's place, in shares of the image's width and height from its top left corner, 0 to 1.

    Attributes:
      finding: One of the 14.
      xmin: Left edge.
      ymin: Upper edge.
      xmax: Right edge.
      ymax: Lower edge.
    """

    finding: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float


def read_boxes(content: bytes, file: str) -> dict[str, tuple[Box, ...]]:
    """Reads the NIH's list of boxes.

    Args:
      content: The file's bytes: CSV with columns x, y, w and h in pixels of the 1024 x 1024 image, in any spelling that
        is in use.
      file: The file's name or path, for messages.

    Returns:
      The boxes of each image that has any, in the order of the file; none for a header without rows.

    Raises:
      TableError: The file is no such list, or a box has an unknown finding, is empty or leaves the image.
    """
    table = read_table(content, file, _COLUMNS, OFFICIAL_HEADER, may_be_empty=True)
    require_image_names(table, file, once=False)
    findings = parse_column(table, file, "finding", _finding, f"one of {', '.join(FINDINGS)}")
    x, y = (parse_column(table, file, name, _pixels(0), "pixels from 0 to 1024").astype(float) for name in "xy")
    width, height = (
        parse_column(table, file, name, _pixels(1e-6), "pixels above 0, up to 1024").astype(float)
        for name in ("width", "height")
    )
    # The list was written with rounding errors, so an edge may pass the image's by a fraction of a pixel.
    require(table, file, "width", x + width <= SOURCE_SIZE + 1, "a box that ends at the image's edge, 1024, at most")
    require(table, file, "height", y + height <= SOURCE_SIZE + 1, "a box that ends at the image's edge, 1024, at most")
    edges = np.clip(np.stack([x, y, x + width, y + height], axis=1) / SOURCE_SIZE, 0, 1)
    boxes: dict[str, tuple[Box, ...]] = {}
    for name, finding, corners in zip(table["image_name"], findings, edges.tolist(), strict=True):
        boxes[name] = (*boxes.get(name, ()), Box(finding, *corners))
    return boxes


def move_boxes(boxes: tuple[Box, ...], affine: np.ndarray) -> tuple[Box, ...]:
    """Returns the boxes around the boxes' corners after an affine map, clipped to the image.

    Args:
      boxes: As they lie in the source image.
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


def boxes_of(names: pd.Series, boxes: dict[str, tuple[Box, ...]]) -> pd.Series:
    """Returns each image's boxes, an empty tuple where there are none."""
    return pd.Series([boxes.get(name, ()) for name in names], names.index, object)


def _finding(cell: str) -> str | None:
    # The list says Infiltrate for what the label file calls Infiltration.
    finding = finding_of("Infiltration" if cell.lower() == "infiltrate" else cell)
    return finding if finding != NO_FINDING else None


def _pixels(low: float):
    def parse(cell: str) -> float | None:
        value = to_number(cell)
        return value if low <= value <= SOURCE_SIZE else None

    return parse

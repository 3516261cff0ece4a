"""Boxes: reads the NIH's list of findings' bounding boxes, which radiologists drew."""

from __future__ import annotations

import numpy as np

from nih_chest_xray.tables.csv_table import parse_column, read_table, require, require_image_names, to_number
from nih_chest_xray.vocabulary import FINDINGS, NO_FINDING, SOURCE_SIZE, Box, finding_of

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


def read_boxes(content: bytes, file: str) -> dict[str, tuple[Box, ...]]:
    """Reads the NIH's list of boxes.

    Args:
      content: The file's bytes: CSV with columns x, y, w and h in pixels of the 1024 x 1024 image, in any of the header
        spellings in use.
      file: The file's name or path, for messages.

    Returns:
      The boxes of each image that has any, in the order of the file; empty for a header without rows.

    Raises:
      TableError: The file is not such a list, or a box has an unknown finding, is empty or extends beyond the image.
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


def _finding(cell: str) -> str | None:
    # The list says Infiltrate for what the label file calls Infiltration.
    finding = finding_of("Infiltration" if cell.lower() == "infiltrate" else cell)
    return finding if finding != NO_FINDING else None


def _pixels(low: float):
    def parse(cell: str) -> float | None:
        value = to_number(cell)
        return value if low <= value <= SOURCE_SIZE else None

    return parse

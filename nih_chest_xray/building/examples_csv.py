"""examples.csv: a table of every feature but the image, a row an example, for those who want no TensorFlow."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nih_chest_xray.vocabulary import label_string

_PAIRS = {"original_size": ("width", "height"), "pixel_spacing": ("x", "y"), "mm_per_pixel": ("x", "y")}
_COLUMNS = (
    *("image_name", "label", "subset", "findings", "bboxes", "augmentation", "patient_id", "follow_up", "patient_age"),
    *("patient_sex", "view_position", "original_size", "pixel_spacing", "mm_per_pixel", "text_mined_label"),
)


def examples_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns the text of examples.csv.

    The first columns are those of metadata.csv. `findings` is the NIH's string, such as Mass|Nodule; `bboxes` JSON, a
    list of [[ymin, xmin, ymax, xmax], finding], [] where there is none; a pair has two columns, such as
    `pixel_spacing_x` in mm. Fractions are rounded to float32, as they are stored.

    Args:
      rows: As `examples.plain_fields` returns them, with `subset`, in the order of image names; at least one.
    """
    text = io.StringIO()
    writer: csv.DictWriter | None = None
    for row in rows:
        cells = _cells(row)
        if writer is None:
            writer = csv.DictWriter(text, cells, lineterminator="\n")
            writer.writeheader()
        writer.writerow(cells)
    return text.getvalue()


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name in _COLUMNS:
        if name not in row:
            continue
        value = row[name]
        if name in _PAIRS:
            cells |= {f"{name}_{axis}": _number(part) for axis, part in zip(_PAIRS[name], value, strict=True)}
        elif name == "findings":
            cells[name] = label_string(value)
        elif name == "bboxes":
            cells[name] = json.dumps([[[float(_number(edge)) for edge in bbox], finding] for bbox, finding in value])
        else:
            cells[name] = value
    return cells


def _number(value: float) -> str:
    return str(value if isinstance(value, int) else np.float32(value))

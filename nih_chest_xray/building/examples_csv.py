"""examples.csv: a table of every feature but the image, a row an example, for those who want no TensorFlow."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nih_chest_xray.vocabulary import EXPERT_FINDINGS, FINDINGS, READER_ANSWERS, UNREAD, label_string

_PARTS = {
    "original_size": ("width", "height"),
    "pixel_spacing": ("x", "y"),
    "mm_per_pixel": ("x", "y"),
    "expert_labels": EXPERT_FINDINGS,
    "reader_votes": READER_ANSWERS,
    "expert_findings": FINDINGS,
}
"""The parts of features with several numbers; each has a column."""
_COLUMNS = (
    *("image_name", "label", "subset", "findings", "bboxes", "augmentation", "patient_id", "follow_up", "patient_age"),
    *("patient_sex", "view_position", "original_size", "pixel_spacing", "mm_per_pixel", "text_mined_label"),
    *UNREAD,
)


def examples_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns the text of examples.csv.

    The first columns are those of metadata.csv. `findings` is the NIH's string, such as Mass|Nodule; `bboxes` JSON, a
    list of [[ymin, xmin, ymax, xmax], finding], [] where there is none; a feature with several numbers has a column for
    each, such as `pixel_spacing_x` in mm or `reader_votes_yes`. Fractions are rounded to float32, as they are stored.

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


def column_of(feature: str, part: str) -> str:
    """Returns the column of examples.csv that has a part of a feature.

    >>> column_of("expert_labels", "Nodule or mass")
    'expert_labels_nodule_or_mass'
    """
    return f"{feature}_{part.lower().replace(' ', '_')}"


def columns_of(features: Iterable[str]) -> dict[str, tuple[str, str | None]]:
    """Returns the columns of examples.csv in order: of each its feature, and which of several numbers it has.

    Args:
      features: The names of a dataset's features. `subset`, which is none, has a column too.
    """
    there = {*features, "subset"}
    return {
        column_of(name, part) if part else name: (name, part)
        for name in _COLUMNS
        if name in there
        for part in _PARTS.get(name, (None,))
    }


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name in _COLUMNS:
        if name not in row:
            continue
        value = row[name]
        if name in _PARTS:
            cells |= {column_of(name, part): _number(each) for part, each in zip(_PARTS[name], value, strict=True)}
        elif name == "findings":
            cells[name] = label_string(value)
        elif name == "bboxes":
            cells[name] = json.dumps([[[float(_number(edge)) for edge in bbox], finding] for bbox, finding in value])
        else:
            cells[name] = value
    return cells


def _number(value: float) -> str:
    return str(value if isinstance(value, int) else np.float32(value))

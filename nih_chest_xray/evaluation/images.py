"""Images: what examples.csv of a built dataset says of a subset's images, checked, since others may have written it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from nih_chest_xray.building.examples_csv import column_of
from nih_chest_xray.catalog.datasets import EXAMPLES_CSV, Built, read_examples_csv
from nih_chest_xray.errors import DatasetError, UsageError, line, shown
from nih_chest_xray.vocabulary import (
    EXPERT_FINDINGS,
    FINDINGS,
    NO_AUGMENTATION,
    NO_FINDING,
    OLDEST_AGE,
    READER_ANSWERS,
    SEXES,
    UNKNOWN_AGE,
    VIEWS,
)

_VERIFY = "`nih-chest-xray verify` says what is wrong with the dataset"
_MOST_READERS = 99
_MOST_MM = 1000
_MOST_BOXES = 1000

_Good = Callable[[str], bool]


def read_images(built: Built, subset: str) -> pd.DataFrame:
    """Returns what examples.csv says of the images of a subset; augmented copies are left out.

    Returns:
      A row for each image, indexed by `image_name` in sorted order, with the other columns as text.

    Raises:
      UsageError: The dataset has no such subset, or the file is not its table of examples.
    """
    if subset not in built.subsets:
        raise UsageError(f"{built.path} has no subset {shown(subset)}; expected one of {', '.join(built.subsets)}")
    path = built.path / EXAMPLES_CSV
    try:
        table = read_examples_csv(built)
    except (FileNotFoundError, DatasetError) as error:
        raise UsageError(f"{path} cannot be used ({line(str(error), 300)}); {_VERIFY}") from error
    kinds = dict(_kinds(built))
    if lacking := [name for name in kinds if name not in table]:
        raise UsageError(f"{path} has no column {lacking[0]}; expected those that the package writes; {_VERIFY}")
    images = table[(table["subset"] == subset) & (table["augmentation"] == NO_AUGMENTATION)]
    for name, (good, expected) in kinds.items():
        _check(path, images, name, good, expected)
    patients = images["image_name"].str[:8]
    if (wrong := images["patient_id"].str.zfill(8) != patients).any():
        row = images[wrong].iloc[0]
        raise UsageError(f"{path}: {shown(row['image_name'])} has the patient {row['patient_id']}; {_VERIFY}")
    if images["image_name"].duplicated().any() or images.empty:
        what = "no image of its own" if images.empty else "an image twice"
        raise UsageError(f"{path}: {subset} has {what}; expected images, each once; {_VERIFY}")
    return images.set_index("image_name").sort_index()


def patients_of(images: pd.DataFrame) -> pd.Series:
    """Returns the patient of each image."""
    return images["patient_id"].astype(np.int64)


def _check(path: epath.Path, images: pd.DataFrame, name: str, good: _Good, expected: str) -> None:
    """Raises an error that names the first wrong cell of a column, if there is one."""
    known: dict[Any, bool] = {value: isinstance(value, str) and good(value) for value in images[name].unique()}
    wrong = ~images[name].map(known).astype(bool)
    if wrong.any():
        first = images[wrong].iloc[0]
        raise UsageError(
            f"{path}: {name} of {shown(first['image_name'])} is {shown(first[name])}; expected {expected}; {_VERIFY}"
        )


def _kinds(built: Built) -> Iterator[tuple[str, tuple[_Good, str]]]:
    """Yields the columns that are read, what is a good value in each, and that in words."""
    named = {NO_FINDING, *built.task.classes} if built.task.multi_label else set(built.task.classes)
    yield "label", (lambda text: set(built.labels(text)) <= named, f"of {', '.join(sorted(named))}")
    yield "augmentation", (lambda _: True, "")
    yield "findings", (_is_findings, "names of findings with | between them")
    yield "bboxes", (_is_boxes, "a JSON list of [[ymin, xmin, ymax, xmax], finding]")
    yield "patient_id", _whole(0, 99_999_999)
    yield "patient_age", _whole(UNKNOWN_AGE, OLDEST_AGE)
    yield "patient_sex", (SEXES.__contains__, " or ".join(SEXES))
    yield "view_position", (VIEWS.__contains__, " or ".join(VIEWS))
    for end in ("x", "y"):
        yield f"mm_per_pixel_{end}", (_is_length, "a length in mm")
    if not built.task.read_by_radiologists:
        return
    for feature, names in (("expert_labels", EXPERT_FINDINGS), ("expert_findings", FINDINGS)):
        for name in names:
            yield column_of(feature, name), _whole(-1, 1)
    for answer in READER_ANSWERS:
        yield column_of("reader_votes", answer), _whole(-1, _MOST_READERS)
    yield "nodule_votes", _whole(-1, _MOST_READERS)


def _whole(low: int, high: int) -> tuple[_Good, str]:
    def good(text: str) -> bool:
        digits = text.removeprefix("-")
        return digits.isascii() and digits.isdecimal() and len(digits) < 10 and low <= int(text) <= high

    return good, f"a whole number from {low} to {high}"


def _is_findings(text: str) -> bool:
    return text == NO_FINDING or set(text.split("|")) <= set(FINDINGS)


def _is_length(text: str) -> bool:
    try:
        return 0 < float(text) <= _MOST_MM
    except ValueError:
        return False


def _is_boxes(text: str) -> bool:
    try:
        boxes = json.loads(text)
        return len(boxes) <= _MOST_BOXES and all(_is_box(*box) for box in boxes)
    except (ValueError, TypeError, RecursionError):
        return False


def _is_box(edges: Any, finding: Any) -> bool:
    ymin, xmin, ymax, xmax = map(float, edges)
    inside = all(math.isfinite(edge) and 0 <= edge <= 1 for edge in (ymin, xmin, ymax, xmax))
    return inside and ymin <= ymax and xmin <= xmax and finding in FINDINGS

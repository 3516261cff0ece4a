"""Label files: reads any variant of the NIH's table of images into one clean pandas table.

The file exists in several variants: the official `Data_Entry_2017_v2020.csv`, the older `Data_Entry_2017.csv`, mirrors
of both, the `sample_labels.csv` of Kaggle's sample, and copies rewritten by pandas and other programs. They differ in
header cells, in a comma at the end of each row, in additional columns, and in how an age or a finding is written.
`read_labels` returns the same columns for all of them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from nih_chest_xray.tables.csv_table import parse_column, read_table, require, require_image_names, to_number
from nih_chest_xray.vocabulary import FINDINGS, NO_FINDING, OLDEST_AGE, SEXES, UNKNOWN_AGE, VIEWS, finding_of

OFFICIAL_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)

# Maps a header cell, in lower case and reduced to letters and digits, to its column. The official header has cells such
# as `OriginalImage[Width` and `Height]`, since the NIH wrote commas inside its column names.
_COLUMNS = {
    "imageindex": "image_name",
    "findinglabels": "findings",
    "followup": "follow_up",
    "patientid": "patient_id",
    "patientage": "patient_age",
    "patientsex": "patient_sex",
    "patientgender": "patient_sex",
    "viewposition": "view_position",
    "originalimagewidth": "original_width",
    "height": "original_height",
    "originalimageheight": "original_height",
    "originalimagepixelspacingx": "pixel_spacing_x",
    "y": "pixel_spacing_y",
    "originalimagepixelspacingy": "pixel_spacing_y",
}
_AGE = re.compile(r"(?P<number>[0-9]{1,4})(\.0*)?(?P<unit>[YMWD]?)")
_UNITS_PER_YEAR = {"": 1, "Y": 1, "M": 12, "W": 52, "D": 365}


def read_labels(content: bytes, file: str) -> pd.DataFrame:
    """Reads a label file into a table with one row per image, in the order of image names.

    Args:
      content: The file's bytes: CSV in UTF-8 with a header, in any of the variants in use.
      file: The file's name or path, for messages.

    Returns:
      A table with the columns `image_name` (str, unique), `patient_id` (int32), `follow_up` (int32), `patient_age`
      (int32, years, -1 where unknown), `patient_sex` ('F' or 'M'), `view_position` ('PA' or 'AP'), `original_width`,
      `original_height` (int32, pixels of the radiograph before the NIH's resize), `pixel_spacing_x`,
      `pixel_spacing_y` (float32, mm) and `findings` (a tuple of names from `FINDINGS`, in alphabetical order, empty
      for No Finding).

    Raises:
      TableError: The file is not such a table, or a row has an impossible value. Rows are counted as a text editor
        counts lines: the header is row 1.
    """
    table = read_table(content, file, _COLUMNS, OFFICIAL_HEADER)
    require_image_names(table, file, once=True)
    name = table["image_name"]

    def column(name: str, dtype: type, parse: Callable[[str], Any], expected: str) -> pd.Series:
        return pd.Series(parse_column(table, file, name, parse, expected), table.index, dtype)

    whole = "a whole number of at least "
    patient = column("patient_id", np.int32, _whole(0), whole + "0")
    same = patient == name.str[:8].astype(np.int32)
    require(table, file, "patient_id", same, "the number that the image's name begins with")
    age = column("patient_age", np.int32, _age, "an age such as 58 or 058Y")
    _warn_of_unknown_ages(table, file, age)
    labels = pd.DataFrame(
        {
            "image_name": name,
            "patient_id": patient,
            "follow_up": column("follow_up", np.int32, _whole(0), whole + "0"),
            "patient_age": age,
            "patient_sex": column("patient_sex", object, _choice(SEXES), "F or M"),
            "view_position": column("view_position", object, _choice(VIEWS), "PA or AP"),
            "original_width": column("original_width", np.int32, _whole(1), whole + "1"),
            "original_height": column("original_height", np.int32, _whole(1), whole + "1"),
            "pixel_spacing_x": column("pixel_spacing_x", np.float32, _spacing, "a number of mm, such as 0.143"),
            "pixel_spacing_y": column("pixel_spacing_y", np.float32, _spacing, "a number of mm, such as 0.143"),
            "findings": column(
                "findings",
                object,
                _findings,
                f"{NO_FINDING!r} alone, or findings from {', '.join(FINDINGS)}, joined by |",
            ),
        }
    )
    return labels.sort_values("image_name", ignore_index=True)


def _whole(low: int) -> Callable[[str], int | None]:
    def parse(cell: str) -> int | None:
        # A table that went through pandas or a spreadsheet may hold 57.0 for 57.
        match = re.fullmatch(r"([0-9]{1,9})(\.0*)?", cell)
        return int(match[1]) if match and int(match[1]) >= low else None

    return parse


def _choice(choices: tuple[str, ...]) -> Callable[[str], str | None]:
    return lambda cell: cell if cell in choices else None


def _spacing(cell: str) -> float | None:
    spacing = to_number(cell)
    return spacing if 1e-3 <= spacing <= 1e3 else None


def _age(cell: str) -> int | None:
    """Returns years. Kaggle's sample writes `060Y`, and `011M` or `003D` for infants."""
    if not cell:
        return UNKNOWN_AGE
    match = _AGE.fullmatch(cell)
    if not match:
        return None
    years = int(match["number"]) // _UNITS_PER_YEAR[match["unit"]]
    return years if years <= OLDEST_AGE else UNKNOWN_AGE


def _findings(cell: str) -> tuple[str, ...] | None:
    found = {finding_of(part) for part in cell.split("|")}
    if found == {NO_FINDING}:
        return ()
    return tuple(name for name in FINDINGS if name in found) if found <= {*FINDINGS} else None


def _warn_of_unknown_ages(table: pd.DataFrame, file: str, age: pd.Series) -> None:
    unknown = table[age == UNKNOWN_AGE]
    if len(unknown):
        warnings.warn(
            f"{file}: no possible age in {len(unknown)} rows (such as {unknown['patient_age'].iloc[0]!r} in row"
            f" {unknown.index[0]}); their patient_age is {UNKNOWN_AGE} (unknown).",
            stacklevel=3,
        )

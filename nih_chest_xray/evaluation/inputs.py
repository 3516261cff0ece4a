"""Inputs: checks the tables of truths, scores and patients, and says which image and finding is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nih_chest_xray.errors import TableError, shown
from nih_chest_xray.vocabulary import NOT_SAID

MISSING = NOT_SAID
"""The truth of an image of which it is not known, in the package's records."""


def check_tables(
    y_true: pd.DataFrame, y_scores: Mapping[str, pd.DataFrame]
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """Returns the truths, and the scores of each network, in one order of images and findings.

    Args:
      y_true: (images, findings), 1 or 0, and `MISSING` or NaN where the truth is not known.
      y_scores: (images, findings) of each network, with the same index and columns in any order.

    Returns:
      Of each finding (images,) float64 with 1, 0 or NaN, and of each network and finding (images,) float64.

    Raises:
      TableError: A score is not a finite number, a truth is another value, an image occurs twice, or the tables do not
        have the same images and findings.
    """
    if not y_true.size or not y_scores:
        raise TableError("There is nothing to evaluate; expected at least one image, one finding and one network.")
    for name, table in {
        "truth": y_true,
        **{f"scores of {network}": table for network, table in y_scores.items()},
    }.items():
        for labels, what in ((table.index, "image"), (table.columns, "finding")):
            if labels.has_duplicates:
                raise TableError(f"The {name} has the {what} {labels[labels.duplicated()][0]} twice; expected it once.")
    truth = {}
    for finding, column in y_true.items():
        values = _numbers(column, "truth")
        values[values == MISSING] = np.nan
        wrong = ~np.isnan(values) & ~np.isin(values, (0, 1))
        _refuse(column, wrong, "truth", f"1, 0, or {MISSING} or an empty cell where it is not known")
        truth[str(finding)] = values
    scores: dict[str, dict[str, np.ndarray]] = {}
    for network, table in y_scores.items():
        for ours, theirs, what in ((y_true.index, table.index, "images"), (y_true.columns, table.columns, "findings")):
            if len(apart := ours.symmetric_difference(theirs)):
                of_truth = apart[0] in ours
                raise TableError(
                    f"The scores of {network} and the truth differ in {len(apart)} {what}: {apart[0]} is only in the"
                    f" {'truth' if of_truth else 'scores'}. Expected the same {what} in both."
                )
        table = table.loc[y_true.index, y_true.columns]
        scores[network] = {}
        for finding, column in table.items():
            values = _numbers(column, f"score of {network}")
            _refuse(column, ~np.isfinite(values), f"score of {network}", "a finite number")
            scores[network][str(finding)] = values
    return truth, scores


def check_patients(patients: pd.Series, images: pd.Index) -> np.ndarray:
    """Returns the number of each image's patient, (images,), from 0 in the patients' sorted order.

    Args:
      patients: (images,), the patient of each image, indexed by the images in any order.
      images: The images, in the order of the result.

    Raises:
      TableError: An image has no patient.
    """
    if patients.index.has_duplicates or not images.isin(patients.index).all():
        raise TableError("The patients are not those of the images of the truth; expected one for each image.")
    known = patients.reindex(images)
    _refuse(known, known.isna().to_numpy(), "patient", "the number or name of one")
    return np.unique(known.to_numpy(), return_inverse=True)[1]


def _numbers(column: pd.Series, what: str) -> np.ndarray:
    """Returns a column as float64, NaN for an empty cell."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan, copy=True)
    _refuse(column, np.isnan(values) & column.notna().to_numpy(), what, "a number")
    return values


def _refuse(column: pd.Series, wrong: np.ndarray, what: str, expected: str) -> None:
    """Raises an error that names the first wrong cell, if there is one."""
    if wrong.any():
        at = int(wrong.argmax())
        value = column.iloc[at]
        value = value.item() if isinstance(value, np.generic) else value
        finding = f" for {column.name}" if what != "patient" else ""
        raise TableError(
            f"The {what} of {column.index[at]}{finding} is {shown(value)} ({int(wrong.sum())} such in"
            f" {len(wrong)} images); expected {expected}."
        )

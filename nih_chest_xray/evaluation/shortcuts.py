"""Shortcuts: scores held-out negatives as they are and changed in ways that say nothing of a finding.

A network that was trained on augmented copies of positives alone, or on images whose markers differ by class, may
follow black corners, mirrored hearts or letters instead of the finding (Zech et al., PLOS Medicine 15, 2018; DeGrave et
al., Nature Machine Intelligence 3, 2021). Its scores of negatives then rise where these appear, and fall where they go.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nih_chest_xray.catalog.datasets import Built, damaged
from nih_chest_xray.errors import ImageError, UsageError, one_line
from nih_chest_xray.evaluation.bootstrap import Scale, draw_patients, effective_number, interval, resample
from nih_chest_xray.evaluation.changes import CHANGES
from nih_chest_xray.evaluation.examples import find_examples
from nih_chest_xray.evaluation.images import patients_of
from nih_chest_xray.images.codec import decode_stored

Predict = Callable[[np.ndarray], np.ndarray]
"""From (images, S, S, 1) uint8 to (images,) or (images, classes): higher means more likely positive."""
MOST = 500
"""Images that are scored; more would cost time and say little more."""
SMALL = 0.1
"""Share of the standard deviation of the negatives' scores below which a difference is small."""
_BATCH = 32
_PLAIN = "as they are"


def load_predict(entry: str) -> Predict:
    """Returns the function that an entry such as `my_model:predict` names.

    Raises:
      UsageError: There is no such module or function.
    """
    module, _, name = entry.partition(":")
    if not module or not name:
        raise UsageError(f"--shortcuts {entry!r}: expected MODULE:FUNCTION, such as my_model:predict")
    try:
        predict = getattr(importlib.import_module(module), name)
    except Exception as error:  # Importing runs somebody else's code.
        raise UsageError(
            f"--shortcuts {entry!r}: {one_line(error)}; expected a module on Python's path and a function in it"
        ) from error
    if not callable(predict):
        raise UsageError(f"--shortcuts {entry!r}: {name} is no function; expected one from images to scores")
    return predict


def follow_shortcuts(
    predict: Predict,
    built: Built,
    subset: str,
    images: pd.DataFrame,
    truth: pd.DataFrame,
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Scores negatives as they are and changed.

    Args:
      predict: The network. Where there are several classes it returns a score for each of `truth`'s, or of the
        dataset's.
      built: The dataset.
      subset: The subset that the images are of.
      images: As `images.read_images` returns them.
      truth: (images, classes), 1 or 0, or -1 where it is not known. Of the images that are negative for some class
        those that come first by a hash are scored, at most `MOST`.
      bootstrap: Number of resamples of the patients.
      seed: Seed of the resamples.

    Returns:
      For each class that has negatives a row for its negatives as they are and for each of `changes.CHANGES`, with the
      columns change (str), score (mean), difference from the images as they are, low and high (95 % interval of the
      difference, NaN if there is none), follows (whether the difference is not small and
      its interval leaves out 0, None without one), images, patients
      (int64) and note (str).

    Raises:
      UsageError: There is no negative, or `predict` fails or returns something else than finite scores.
      CatalogError: The records cannot be read.
    """
    negative = truth.index[(truth == 0).any(axis=1)]
    names = sorted(negative, key=_hash)[:MOST]
    if not names:
        raise UsageError(f"{subset} has no negative image of {' or '.join(truth)}; expected some, to change and score")
    columns = _columns(built, list(truth))
    scored: dict[str, list[np.ndarray]] = {change: [] for change in (_PLAIN, *CHANGES)}
    order: list[str] = []
    decoded = ((name, _pixels(built, name, example)) for name, example in find_examples(built, subset, names))
    while batch := list(itertools.islice(decoded, _BATCH)):
        order += [name for name, _ in batch]
        for change, of_change in scored.items():
            alter = CHANGES.get(change, lambda image, _sign: image)
            changed = [alter(image, 1 if _hash(name) < "8" else -1) for name, image in batch]
            of_change.append(_predicted(predict, np.stack(changed)[..., None], columns))
    scores = {change: np.concatenate(parts) for change, parts in scored.items()}
    patients = patients_of(images).loc[order].to_numpy()
    tables = {}
    for number, name in enumerate(truth):
        rows = (truth.loc[order, name] == 0).to_numpy()
        if rows.any():
            of_class = {change: values[rows, number] for change, values in scores.items()}
            codes = np.unique(patients[rows], return_inverse=True)[1]
            tables[name] = _table(of_class, codes, bootstrap, seed)
    return tables


def _table(scores: dict[str, np.ndarray], patients: np.ndarray, bootstrap: int, seed: int) -> pd.DataFrame:
    plain, *changed = scores
    counted = {"images": len(patients), "patients": len(np.unique(patients))}
    rows = [{"change": plain, "score": scores[plain].mean(), "note": "", **counted}]
    numbers = np.bincount(patients)
    sums = {change: np.bincount(patients, scores[change] - scores[plain]) for change in changed}
    means = [lambda weights, total=total: total @ weights / (numbers @ weights) for total in sums.values()]
    estimates, resampled = resample(means, draw_patients(len(numbers), bootstrap, seed))
    for change, estimate, values in zip(changed, estimates, resampled, strict=True):
        made = interval(float(estimate), values, effective_number(patients), Scale.PLAIN)
        large = abs(float(estimate)) >= SMALL * scores[plain].std()
        follows = bool(large and (made.low > 0 or made.high < 0)) if np.isfinite(made.low) else None
        row = {"change": change, "score": scores[change].mean(), "difference": float(estimate), "low": made.low}
        rows.append(row | {"high": made.high, "follows": follows, "note": made.note, **counted})
    columns = ["change", "score", "difference", "low", "high", "follows", "images", "patients", "note"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(follows=pd.Series([row.get("follows") for row in rows], dtype=object))


def _columns(built: Built, classes: Sequence[str]) -> dict[int, list[int]]:
    """Returns which of a network's outputs are the classes' scores, by the number of outputs."""
    columns = {len(classes): list(range(len(classes)))}
    if len(classes) == 1:
        columns[2] = [1]  # A softmax of negative and positive.
    if built.task.multi_label:
        every = list(built.task.classes)
        columns[len(every)] = [every.index(name) for name in classes]
    return columns


def _pixels(built: Built, name: str, example: dict[str, Any]) -> np.ndarray:
    try:
        return decode_stored(example["image"], built.config["image_format"])
    except ImageError as error:
        raise damaged(built.path, f"the image of {name} ({one_line(error)})") from error


def _predicted(predict: Predict, images: np.ndarray, columns: dict[int, list[int]]) -> np.ndarray:
    """Returns the scores of images, (images, classes)."""
    try:
        values = np.asarray(predict(images), np.float64)
    except Exception as error:  # Somebody else's code.
        raise UsageError(
            f"the function of --shortcuts failed on images {images.shape} uint8: {one_line(error)}"
        ) from error
    outputs = values.reshape(len(images), -1) if values.size and values.size % len(images) == 0 else values
    good = values.ndim > 0 and len(values) == len(images) and outputs.ndim == 2 and outputs.shape[1] in columns
    if not good or not np.isfinite(outputs).all():
        what = "has a score that is not finite" if good else f"is {values.shape}"
        expected = " or ".join(f"({len(images)}, {number})" for number in sorted(columns))
        raise UsageError(
            f"what the function of --shortcuts returned for images {images.shape} uint8 {what}; expected finite scores,"
            f" {expected}"
        )
    return outputs[:, columns[outputs.shape[1]]]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()

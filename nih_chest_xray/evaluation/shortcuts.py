"""Shortcuts: scores held-out negatives as they are and changed in ways that say nothing of a finding.

A network that was trained on augmented copies of positives alone, or on images whose markers differ by class, may
follow black corners, mirrored hearts or letters instead of the finding (Zech et al., PLOS Medicine 15, 2018; DeGrave et
al., Nature Machine Intelligence 3, 2021). Its scores of negatives then rise where these appear, and fall where they go.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.errors import UsageError, one_line
from nih_chest_xray.evaluation.bootstrap import Scale, draw_patients, effective_number, interval, resample
from nih_chest_xray.evaluation.truths import patients_of

Predict = Callable[[np.ndarray], np.ndarray]
"""From (images, S, S, 1) uint8 to (images,) or (images, classes): higher means more likely positive."""
MOST = 500
"""Images that are scored; more would cost time and say little more."""
DEGREES = 10
"""Angle of a rotation, in either direction, as in the dataset's own copies."""
_BATCH = 32
_FRAME = 0.2
"""Share of the height and width in which markers are looked for, along each edge."""
_BRIGHT = 0.9
"""Share of an image's range of grey above which a marker is."""
_MARKER = (1e-5, 4e-3)
"""Area of a marker, as shares of the image."""


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
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"--shortcuts {entry!r}: {error}; expected a module on Python's path and a function in it"
        ) from error
    if not callable(predict):
        raise UsageError(f"--shortcuts {entry!r}: {name} is no function; expected one from images to scores")
    return predict


def rotated(image: np.ndarray, sign: int) -> np.ndarray:
    """Rotates an image about its centre; corners become black. `image` is (S, S) uint8, `sign` 1 or -1."""
    return cv2.warpAffine(image, _rotation(image, sign), image.shape[::-1], flags=cv2.INTER_LINEAR)


def flipped(image: np.ndarray, _sign: int) -> np.ndarray:
    """Mirrors an image left and right."""
    return cv2.flip(image, 1)


def cornered(image: np.ndarray, sign: int) -> np.ndarray:
    """Blackens what a rotation would blacken, and leaves the rest as it is."""
    inside = cv2.warpAffine(np.ones_like(image), _rotation(image, sign), image.shape[::-1], flags=cv2.INTER_NEAREST)
    return image * inside


def unmarked(image: np.ndarray, _sign: int) -> np.ndarray:
    """Paints over what looks like a marker: small bright shapes near an edge, such as the letters L and R."""
    side = len(image)
    lowest, highest = int(image.min()), int(image.max())
    bright = (image > lowest + _BRIGHT * (highest - lowest)).astype(np.uint8)
    margin = round(_FRAME * side)
    bright[margin:-margin, margin:-margin] = 0
    number, shapes, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA] / side**2
    small = [k for k in range(1, number) if _MARKER[0] <= areas[k] <= _MARKER[1]]
    mask = np.isin(shapes, small).astype(np.uint8)
    grown = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    return cv2.inpaint(image, grown, 3, cv2.INPAINT_TELEA)


CHANGES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "rotated": rotated,
    "flipped": flipped,
    "corners blackened": cornered,
    "markers masked": unmarked,
}
"""What images are changed by. None of it changes what a radiologist would say."""


def follow_shortcuts(
    predict: Predict, built: Built, subset: str, images: pd.DataFrame, truth: pd.Series, bootstrap: int, seed: int
) -> pd.DataFrame:
    """Scores negatives as they are and changed.

    Args:
      predict: The network.
      built: The dataset.
      subset: The subset that the images are of.
      images: As `truths.read_images` returns them.
      truth: (images,), 1 or 0, or -1 where it is not known; those with 0 are scored, at most `MOST` by a hash.
      bootstrap: Number of resamples of the patients.
      seed: Seed of the resamples.

    Returns:
      A row for the images as they are and for each of `CHANGES`, with the columns change (str), score (mean),
      difference from the images as they are, low and high (95 % interval of the difference, NaN if there is none),
      follows (whether the interval leaves out 0, None without one), images, patients (int64) and note (str).

    Raises:
      UsageError: There is no negative, or `predict` fails or returns something else than a score an image.
    """
    names = [name for name in truth.index[truth == 0] if (images.loc[name, "subset"] == subset)]
    names = sorted(names, key=_hash)[:MOST]
    if not names:
        raise UsageError(f"{subset} has no negative image of {truth.name}; expected some, to change and score")
    column = list(built.metadata["classes"]).index(truth.name) if built.task.multi_label else -1
    scores: dict[str, list[np.ndarray]] = {change: [] for change in ("as they are", *CHANGES)}
    order: list[str] = []
    batch: list[tuple[str, np.ndarray]] = []
    wanted = set(names)
    for name, image in _read(built, subset):
        if name in wanted:
            batch.append((name, image))
        if len(batch) == _BATCH:
            _score(predict, batch, scores, order, column)
            batch = []
    if batch:
        _score(predict, batch, scores, order, column)
    of = {change: np.concatenate(parts) for change, parts in scores.items()}
    patients = np.unique(patients_of(images).loc[order], return_inverse=True)[1]
    return _table(of, patients, bootstrap, seed)


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
        follows = bool(made.low > 0 or made.high < 0) if np.isfinite(made.low) else None
        row = {"change": change, "score": scores[change].mean(), "difference": float(estimate), "low": made.low}
        rows.append(row | {"high": made.high, "follows": follows, "note": made.note, **counted})
    columns = ["change", "score", "difference", "low", "high", "follows", "images", "patients", "note"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(follows=pd.Series([row.get("follows") for row in rows], dtype=object))


def _score(
    predict: Predict,
    batch: list[tuple[str, np.ndarray]],
    scores: dict[str, list[np.ndarray]],
    order: list[str],
    column: int,
) -> None:
    """Adds a batch's scores, of the images as they are and of each change, and its names."""
    order += [name for name, _ in batch]
    for change, of_change in scores.items():
        alter = CHANGES.get(change, lambda image, _sign: image)
        images = [alter(image, 1 if _hash(name) < "8" else -1) for name, image in batch]
        of_change.append(_predicted(predict, np.stack(images)[..., None], column))


def _predicted(predict: Predict, images: np.ndarray, column: int) -> np.ndarray:
    try:
        values = np.asarray(predict(images), np.float64)
    except Exception as error:  # Somebody else's code.
        raise UsageError(
            f"the function of --shortcuts failed on images {images.shape} uint8: {one_line(error)}"
        ) from error
    values = values.reshape(len(values), -1) if values.ndim else values.reshape(0, 1)
    if len(values) != len(images) or not np.isfinite(values).all():
        raise UsageError(
            f"the function of --shortcuts returned {values.shape} for {len(images)} images; expected a finite score for"
            " each, or one for each class"
        )
    return values[:, column if values.shape[1] > 1 else 0]


def _read(built: Built, subset: str):
    """Yields the name and the (S, S) uint8 pixels of each example of a subset."""
    if built.file_format == "array_record":
        examples = built.builder.as_data_source(subset)
    else:
        only = tfds.decode.PartialDecoding({"image_name": True, "image": True})
        examples = tfds.as_numpy(built.builder.as_dataset(split=subset, decoders=only))
    for example in examples:
        yield example["image_name"].decode(), np.ascontiguousarray(np.asarray(example["image"])[..., 0])


def _rotation(image: np.ndarray, sign: int) -> np.ndarray:
    centre = (len(image) - 1) / 2
    return cv2.getRotationMatrix2D((centre, centre), sign * DEGREES, 1.0)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()

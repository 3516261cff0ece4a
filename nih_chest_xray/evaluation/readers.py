"""Readers: how well each radiologist agrees with the others who read the same images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from nih_chest_xray.errors import TableError, shown
from nih_chest_xray.evaluation.bootstrap import Scale, draw_patients, effective_number, resample
from nih_chest_xray.evaluation.metrics import AtThreshold
from nih_chest_xray.evaluation.sampled import ALL, Images, Sampled, Subject, to_figure, to_table
from nih_chest_xray.tables.expert_readers import votes as count_answers
from nih_chest_xray.vocabulary import READER_ANSWERS

YES, NO, HEDGE = ANSWERS = READER_ANSWERS
"""What a reader may say (Majkowska et al., Radiology 2020)."""


def count_votes(readings: pd.DataFrame) -> pd.DataFrame:
    """Returns how many readers of each image say what.

    Args:
      readings: A row for each reading, with `image_name`, `reader` and `answer`, one of `ANSWERS`. Where a reader reads
        an image twice, as happens, the first reading counts.

    Returns:
      A row for each image, indexed by `image_name` in sorted order, with `yes`, `no`, `hedge` and `readers` (int64).

    Raises:
      TableError: An answer is another one.

    Example:
      >>> import pandas as pd
      >>> from nih_chest_xray.evaluation.readers import count_votes
      >>> readings = pd.DataFrame({"image_name": ["b", "a", "a", "a"], "reader": [1, 1, 2, 3]})
      >>> readings["answer"] = ["NO", "YES", "HEDGE", "YES"]
      >>> print(count_votes(readings).reset_index().to_string(index=False))
      image_name  yes  no  hedge  readers
               a    2   0      1        3
               b    0   1      0        1
    """
    readings = _first_readings(readings)
    wrong = readings.loc[~readings["answer"].isin(ANSWERS)]
    if len(wrong):
        raise TableError(
            f"The reading of {wrong['image_name'].iloc[0]} in row {wrong.index[0]} is"
            f" {shown(wrong['answer'].iloc[0])}; expected one of {', '.join(ANSWERS)}."
        )
    votes = count_answers(readings, "answer").rename(columns=str.lower).rename_axis(columns=None)
    return votes.assign(readers=votes.sum(axis=1))


def evaluate_readers(
    readings: pd.DataFrame, finding: str, *, hedge: str = YES, bootstrap: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Returns sensitivity and specificity of each reader against the majority of the others.

    The truth of an image is what most of its other readers say, YES or NO. Their hedges do not count. Where they tie,
    which two of three readers do whenever they differ, or where there is no other reader, the image is left out for
    this reader. So the images that remain are the clearer ones.

    Args:
      readings: As for `count_votes`, with `patient_id` too.
      finding: Name of the finding.
      hedge: What a hedge of the reader who is evaluated counts as: 'YES', since it names the finding, or 'NO'.
      bootstrap: Number of resamples of the patients, at least 2.
      seed: Seed of the resamples.

    Returns:
      Two rows for each reader, in sorted order, as `sampled.to_table` describes; the reader is in the column network.

    Raises:
      TableError: An answer is another one.
      ValueError: `hedge` is neither.

    Example:
      >>> import numpy as np
      >>> import pandas as pd
      >>> from nih_chest_xray.evaluation.readers import evaluate_readers
      >>> rng = np.random.default_rng(0)
      >>> images = pd.DataFrame({"image_name": range(300), "patient_id": np.arange(300) // 2})
      >>> images["nodule"] = rng.uniform(size=300) < 0.3
      >>> readings = images.merge(pd.Series([1, 2, 3], name="reader"), "cross")
      >>> right = rng.uniform(size=900) < 0.9
      >>> readings["answer"] = np.where(readings["nodule"] == right, "YES", "NO")
      >>> table = evaluate_readers(readings, "Nodule")
      >>> columns = ["network", "metric", "estimate", "low", "high", "images", "positives"]
      >>> print(table[columns].head(2).round(2).to_string(index=False))
      network      metric  estimate  low  high  images  positives
            1 sensitivity      0.89 0.79  0.94     258         70
            1 specificity      0.92 0.87  0.95     258         70
    """
    if hedge not in (YES, NO):
        raise ValueError(f"hedge is {shown(hedge)}; expected 'YES' or 'NO'.")
    readings = _first_readings(readings)
    votes = count_votes(readings).loc[readings["image_name"]]
    own = {answer: (readings["answer"] == answer).to_numpy() for answer in ANSWERS}
    lead = (votes["yes"] - votes["no"]).to_numpy() - own[YES] + own[NO]
    said_yes = own[YES] | (own[HEDGE] & (hedge == YES))
    figures: list[Sampled] = []
    for reader in sorted(readings["reader"].unique()):
        rows = (readings["reader"] == reader).to_numpy() & (lead != 0)
        subject = Subject(str(reader), finding, "", ALL, "")
        patients = readings["patient_id"].to_numpy()[rows]
        figures.extend(_agreement(subject, lead[rows] > 0, said_yes[rows], patients, bootstrap, seed))
    return to_table(map(to_figure, figures))


def _first_readings(readings: pd.DataFrame) -> pd.DataFrame:
    return readings.drop_duplicates(["image_name", "reader"])


def _agreement(
    subject: Subject, truth: np.ndarray, said_yes: np.ndarray, patients: np.ndarray, bootstrap: int, seed: int
) -> list[Sampled]:
    """Returns a reader's sensitivity and specificity."""
    names, groups = np.unique(patients, return_inverse=True)
    at = AtThreshold.of(truth.astype(int), said_yes.astype(int), groups, len(names), threshold=1)
    estimates, resampled = resample([at.sensitivity, at.specificity], draw_patients(len(names), bootstrap, seed))
    return [
        Sampled(
            subject=dataclasses.replace(subject, metric=metric),
            images=Images(np.ones(len(truth), bool), truth, groups),
            estimate=float(estimate),
            resampled=values,
            effective=effective_number(groups[of_class]),
            scale=Scale.PROPORTION,
            note="" if of_class.any() else f"no {kind} images",
        )
        for (metric, kind, of_class), estimate, values in zip(
            (("sensitivity", "positive", truth), ("specificity", "negative", ~truth)), estimates, resampled, strict=True
        )
    ]

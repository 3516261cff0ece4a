"""Sampled: a metric's estimate with its resamples, the means and differences of such, and the figures they become."""

from __future__ import annotations

import dataclasses
import functools
import operator
import statistics
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from nih_chest_xray.evaluation.bootstrap import FEWEST, Interval, Scale, interval

MEAN = "mean"
"""What stands for the finding where a figure is the mean over findings."""
ALL = "all"
"""The group of all images."""
PATIENT_BOOTSTRAP = "patient bootstrap"


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a figure is about.

    Attributes:
      network: Whose scores; of a difference 'second - first'.
      finding: The finding, or `MEAN`.
      by: What the groups differ in, such as 'patient_sex'; empty for all images.
      group: The group, or `ALL`; of a difference 'group - reference'.
      metric: The metric, named as in scikit-learn.
    """

    network: str
    finding: str
    by: str
    group: str
    metric: str


@dataclasses.dataclass(frozen=True)
class Images:
    """The images that a figure rests on, in a table of images.

    Attributes:
      rows: (table's images,) bool, whether each is among them: it is in the group and its truth is known.
      positive: (table's images,) bool, whether it is among them and positive; of a mean, for any of the findings.
      patients: (table's images,), the number of each image's patient.
    """

    rows: np.ndarray
    positive: np.ndarray
    patients: np.ndarray

    def __or__(self, other: Images) -> Images:
        """Returns these images and the other ones of the same table."""
        return Images(self.rows | other.rows, self.positive | other.positive, self.patients)

    def counts(self) -> dict[str, int]:
        """Returns the number of images, of their patients, and of positive images."""
        patients = int(np.count_nonzero(np.bincount(self.patients[self.rows])))
        return {"images": int(self.rows.sum()), "patients": patients, "positives": int(self.positive.sum())}


@dataclasses.dataclass(frozen=True)
class Sampled:
    """A metric's estimate with its resamples.

    Attributes:
      subject: What it is about.
      images: The images that it rests on.
      estimate: The metric of the images as they are, NaN if undefined.
      resampled: (resamples,), the metric in each resample. The same number is the same resample of the patients for all
        that `figures` computes at once.
      effective: Effective number of patients of the smaller class.
      scale: The scale of its interval.
      note: What to know about the estimate; may be empty.
      is_difference: Whether 0 means that two are equal.
    """

    subject: Subject
    images: Images
    estimate: float
    resampled: np.ndarray
    effective: float
    scale: Scale
    note: str = ""
    is_difference: bool = False


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure: a row of what `figures` returns, in which each field of `Subject` and each count is a column.

    Attributes:
      subject: What it is about.
      method: How its interval was made.
      estimate: The metric of the images as they are, NaN if undefined.
      low: Lower end of the 95 % interval, NaN if there is none.
      high: Upper end, NaN if there is none.
      is_difference: Whether it is a difference of groups or networks.
      holds: Of a difference with an interval, whether the interval leaves out 0; else None.
      counts: Its n: images, patients and positives, of `Images.counts`.
      note: Why there is no estimate or interval, and what else to know; may be empty.
    """

    subject: Subject
    method: str
    estimate: float
    low: float
    high: float
    is_difference: bool
    holds: bool | None
    counts: dict[str, int]
    note: str


def to_figure(sampled: Sampled) -> Figure:
    """Returns the figure of an estimate and its resamples."""
    made = interval(sampled.estimate, sampled.resampled, sampled.effective, sampled.scale)
    return with_interval(sampled, made, PATIENT_BOOTSTRAP)


def with_interval(sampled: Sampled, made: Interval, method: str) -> Figure:
    """Returns the figure of an estimate with an interval that was made by this method."""
    return Figure(
        subject=sampled.subject,
        method=method,
        estimate=sampled.estimate,
        low=made.low,
        high=made.high,
        is_difference=sampled.is_difference,
        holds=bool(made.low > 0 or made.high < 0) if sampled.is_difference and np.isfinite(made.low) else None,
        counts=sampled.images.counts(),
        note="; ".join(filter(None, [sampled.note, made.note])),
    )


def to_table(made: Iterable[Figure]) -> pd.DataFrame:
    """Returns figures as a table.

    Returns:
      A row for each figure, with the columns network, finding, by, group, metric and method (str), estimate, low and
      high (float64), is_difference (bool), holds (True, False or None), images, patients and positives (int64), note
      (str).
    """
    rows = [
        {
            **vars(figure.subject),
            **{name: getattr(figure, name) for name in ("method", "estimate", "low", "high", "is_difference", "holds")},
            **figure.counts,
            "note": figure.note,
        }
        for figure in made
    ]
    table = pd.DataFrame(rows)
    return table.assign(holds=pd.Series([row["holds"] for row in rows], dtype=object))


def mean_over_findings(parts: Sequence[Sampled]) -> Sampled:
    """Returns the mean of a metric over the findings for which it is defined.

    Its resamples are the means of theirs, so that its interval knows that findings share patients.

    Args:
      parts: The same metric of each finding, at least one.
    """
    defined = [part for part in parts if np.isfinite(part.estimate)]
    without = [part.subject.finding for part in parts if defined and not np.isfinite(part.estimate)]
    few = [part.subject.finding for part in defined if part.effective < FEWEST]
    defined = defined or [*parts]
    named = {"without": without, "too few patients of": few}
    shared = {part.note for part in defined}
    notes = [*(shared if len(shared) == 1 else ()), *(f"{what} {', '.join(of)}" for what, of in named.items() if of)]
    numbers = [part.effective for part in defined]
    return dataclasses.replace(
        parts[0],
        subject=dataclasses.replace(parts[0].subject, finding=MEAN),
        images=functools.reduce(operator.or_, [part.images for part in defined]),
        estimate=float(np.mean([part.estimate for part in defined])),
        resampled=np.mean([part.resampled for part in defined], axis=0),
        effective=min(numbers) if few else statistics.harmonic_mean(numbers),
        note="; ".join(filter(None, notes)),
    )


def difference(second: Sampled, first: Sampled, **subject: str) -> Sampled:
    """Returns the second estimate less the first, each resample less the other's of the same patients.

    Args:
      second: What is subtracted from.
      first: What is subtracted.
      **subject: The fields of `Subject` in which they differ, and what to write there.
    """
    notes = dict.fromkeys(filter(None, [second.note, first.note]))
    return Sampled(
        subject=dataclasses.replace(second.subject, **subject),
        images=second.images | first.images,
        estimate=second.estimate - first.estimate,
        resampled=second.resampled - first.resampled,
        effective=min(second.effective, first.effective),
        scale=Scale.PLAIN,
        note="; ".join(notes),
        is_difference=True,
    )

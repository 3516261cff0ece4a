"""Metrics: AUROC, average precision, sensitivity and specificity, of many weightings of the same images at once.

A bootstrap asks for the same metric thousands of times, each time with other weights of the patients. The order of the
scores stays the same, so it is found once, and everything that these metrics need is sums of weights along it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import sparse

_ROUNDING = 1e-9
"""Relative error that a share of counts may have from rounding, such as that of 0.95 in binary."""


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The images in the order of their scores, ready for any weights of their patients.

    The scores fall into levels, highest first. Equal scores share a level, as in scikit-learn. So do neighbouring
    scores that only negatives have, since no metric here changes when they are told apart; of a rare finding this
    leaves few levels.

    Attributes:
      positives: (levels, groups), number of positive images of each patient at each level.
      negatives: (levels, groups), that of negative images.

    Example:
      >>> import numpy as np
      >>> from nih_chest_xray.evaluation.metrics import Ranking, average_precision, roc_auc
      >>> y_true, y_score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
      >>> patients = np.array([0, 1, 1, 2])
      >>> ranking = Ranking.of(y_true, y_score, patients, n_groups=3)
      >>> once_each, last_twice = np.ones(3), np.array([1, 0, 2])
      >>> counts = ranking.counts(np.column_stack([once_each, last_twice]))
      >>> roc_auc(*counts)
      array([0.75, 1.  ])
      >>> average_precision(*counts).round(3)
      array([0.833, 1.   ])
    """

    positives: sparse.csr_array
    negatives: sparse.csr_array

    @classmethod
    def of(cls, y_true: np.ndarray, y_score: np.ndarray, groups: np.ndarray, n_groups: int) -> Ranking:
        """Ranks images.

        Args:
          y_true: (images,), 0 or 1.
          y_score: (images,), finite; higher means more likely positive.
          groups: (images,), the number of each image's patient, from 0.
          n_groups: Number of patients, with those that have none of these images.
        """
        order = np.argsort(-y_score, kind="stable")
        score, positive, group = y_score[order], y_true[order] > 0, groups[order]
        starts = np.flatnonzero(np.diff(score, prepend=np.inf))
        only_negatives = ~np.logical_or.reduceat(positive, starts) if len(starts) else np.zeros(0, bool)
        joins = only_negatives & np.roll(only_negatives, 1) & (np.arange(len(starts)) > 0)
        level = np.repeat(np.cumsum(~joins) - 1, np.diff(starts, append=len(score)))
        shape = (int(level[-1]) + 1 if len(level) else 0, n_groups)

        def counted(rows: np.ndarray) -> sparse.csr_array:
            return sparse.csr_array((np.ones(rows.sum()), (level[rows], group[rows])), shape=shape)

        return cls(counted(positive), counted(~positive))

    @property
    def levels(self) -> int:
        """Number of levels."""
        return self.positives.shape[0]

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weights of the positives and of the negatives down to each level.

        Args:
          weights: (groups, resamples), float64, the weight of each patient in each resample.

        Returns:
          `tps` and `fps`, (levels, resamples) each, as scikit-learn names them. The last row is the whole class.
        """
        positives, negatives = self.positives @ weights, self.negatives @ weights
        return np.cumsum(positives, axis=0, out=positives), np.cumsum(negatives, axis=0, out=negatives)


def roc_auc(tps: np.ndarray, fps: np.ndarray) -> np.ndarray:
    """Returns the area under the ROC curve (Hanley and McNeil, Radiology 1982), NaN where a class has no weight.

    Args:
      tps: (levels, resamples), from `Ranking.counts`.
      fps: (levels, resamples), from `Ranking.counts`.

    Returns:
      (resamples,), from 0 to 1, that of `sklearn.metrics.roc_auc_score`.
    """
    if not len(tps):
        return np.full(tps.shape[1], np.nan)
    # The trapezoids' sum, as the area of a polygon: the squares between neighbouring corners cancel.
    doubled = np.einsum("lr,lr->r", tps[:-1], fps[1:]) - np.einsum("lr,lr->r", tps[1:], fps[:-1])
    whole = tps[-1] * fps[-1]
    return _share(0.5 * (whole + doubled), whole)


def average_precision(tps: np.ndarray, fps: np.ndarray, prevalence: float | None = None) -> np.ndarray:
    """Returns the average precision, NaN where a class has no weight.

    Args:
      tps: (levels, resamples), from `Ranking.counts`.
      fps: (levels, resamples), from `Ranking.counts`.
      prevalence: Share of positives, above 0 and below 1, at which the precision is to be had. The negatives are
        weighted so that the classes have this share; the ranking stays as it is. None leaves them as they are.

    Returns:
      (resamples,), from 0 to 1, that of `sklearn.metrics.average_precision_score`.
    """
    if not len(tps):
        return np.full(tps.shape[1], np.nan)
    if prevalence is not None:
        fps = fps * _share((1 - prevalence) * tps[-1], prevalence * fps[-1])
    gains = np.diff(tps, axis=0, prepend=0)
    area = np.einsum("lr,lr->r", gains, _share(tps, tps + fps, empty=0.0))
    return _share(np.where(fps[-1] > 0, area, np.nan), tps[-1])


def sensitivity_at_specificity(tps: np.ndarray, fps: np.ndarray, specificity: float) -> np.ndarray:
    """Returns the highest sensitivity of a threshold with at least this specificity, NaN where a class has no weight.

    The threshold is chosen on the weighted images themselves, anew for each weighting: the ROC curve's
    `max(tpr[1 - fpr >= specificity])`.

    Args:
      tps: (levels, resamples), from `Ranking.counts`.
      fps: (levels, resamples), from `Ranking.counts`.
      specificity: From 0 to 1.

    Returns:
      (resamples,), from 0 to 1.
    """
    if not len(tps):
        return np.full(tps.shape[1], np.nan)
    allowed = (fps <= _allowed(specificity, fps[-1])).sum(axis=0)  # `fps` never falls from level to level.
    reached = np.take_along_axis(tps, np.maximum(allowed - 1, 0)[None], axis=0)[0]
    return _share(np.where(fps[-1] > 0, np.where(allowed > 0, reached, 0.0), np.nan), tps[-1])


def threshold_at_specificity(y_true: np.ndarray, y_score: np.ndarray, specificity: float) -> float:
    """Returns the lowest score that is a threshold with at least this specificity, infinity if none is.

    Chosen on the scores of the validation subset, it gives a sensitivity on the test subset that knows nothing of the
    test subset. An image is called positive where its score is at least the threshold, as in scikit-learn.

    Args:
      y_true: (images,), 0 or 1.
      y_score: (images,).
      specificity: From 0 to 1.

    Raises:
      ValueError: There are no negatives.

    Example:
      >>> import numpy as np
      >>> from nih_chest_xray.evaluation.metrics import threshold_at_specificity
      >>> float(threshold_at_specificity(np.array([0, 0, 0, 0, 1]), np.array([0.1, 0.2, 0.3, 0.9, 0.8]), 0.75))
      0.8
    """
    negatives = np.sort(y_score[y_true == 0])
    if not len(negatives):
        raise ValueError("A threshold of a given specificity needs negative images; expected some with truth 0.")
    scores = np.unique(y_score)
    fps = len(negatives) - np.searchsorted(negatives, scores, side="left")
    fits = scores[fps <= _allowed(specificity, len(negatives))]
    return float(fits[0]) if len(fits) else np.inf


@dataclasses.dataclass(frozen=True)
class AtThreshold:
    """What a threshold makes of the images, ready for any weights of their patients.

    Attributes:
      positives: (groups, 2), number of positive images of each patient that are called positive, and of all.
      negatives: (groups, 2), number of negative images of each patient that are called negative, and of all.
    """

    positives: np.ndarray
    negatives: np.ndarray

    @classmethod
    def of(
        cls, y_true: np.ndarray, y_score: np.ndarray, groups: np.ndarray, n_groups: int, threshold: float
    ) -> AtThreshold:
        """Counts images, which are called positive where their score is at least the threshold.

        For the other arguments see `Ranking.of`.
        """
        called = y_score >= threshold

        def counted(of_class: np.ndarray, right: np.ndarray) -> np.ndarray:
            return np.column_stack([np.bincount(groups, rows, n_groups) for rows in (of_class & right, of_class)])

        return cls(counted(y_true > 0, called), counted(y_true == 0, ~called))

    def sensitivity(self, weights: np.ndarray) -> np.ndarray:
        """Returns the share of positives that are called so, (resamples,), of weights (groups, resamples)."""
        return _share(*(self.positives.T @ weights))

    def specificity(self, weights: np.ndarray) -> np.ndarray:
        """Returns the share of negatives that are called so, (resamples,), of weights (groups, resamples)."""
        return _share(*(self.negatives.T @ weights))


def _allowed(specificity: float, negatives: Any) -> Any:
    """The most negatives that may be called positive."""
    return negatives * (1 - specificity + _ROUNDING)


def _share(part: np.ndarray, whole: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """`part / whole`, and `empty` where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.broadcast_shapes(part.shape, whole.shape), empty), where=whole > 0)

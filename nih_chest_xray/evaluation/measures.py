"""Measures: the metrics of one network's scores of one finding in one group of images, each with its name and notes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nih_chest_xray.evaluation import metrics
from nih_chest_xray.evaluation.bootstrap import Scale, effective_number
from nih_chest_xray.evaluation.calibration import CLIP, Calibration

NOT_PROBABILITIES = "scores outside 0 to 1"
SAME_DATA = "threshold chosen on the same data"


@dataclasses.dataclass(frozen=True)
class Measure:
    """A metric.

    Attributes:
      metric: Its name.
      of: A function from weights of the patients, (groups, resamples), and the ranking's `tps` and `fps` to
        (resamples,).
      scale: The scale of its interval.
      note: What to know about it; may be empty.
    """

    metric: str
    of: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    scale: Scale
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Measures:
    """The metrics of one network's scores of one finding in one group.

    Attributes:
      ranking: The images in the order of their scores.
      measures: The metrics.
      effective: Effective number of patients of the smaller class.
    """

    ranking: metrics.Ranking
    measures: Sequence[Measure]
    effective: float

    @classmethod
    def of(
        cls,
        y_true: np.ndarray,
        y_score: np.ndarray,
        groups: np.ndarray,
        n_groups: int,
        *,
        specificities: Sequence[float],
        thresholds: Mapping[float, float],
        prevalence: float | None,
    ) -> Measures:
        """Prepares the metrics.

        Args:
          y_true: (images,), 0 or 1.
          y_score: (images,), finite.
          groups: (images,), the number of each image's patient, from 0.
          n_groups: Number of patients, with those that have none of these images.
          specificities: Those at which to state the sensitivity.
          thresholds: The threshold of each specificity, where it is given.
          prevalence: Share of positives at which to state the average precision too; None for no such.
        """
        ranking = metrics.Ranking.of(y_true, y_score, groups, n_groups)
        one_class = _one_class(y_true)

        def ranked(
            name: str, of: Callable[[np.ndarray, np.ndarray], np.ndarray], note: str = "", scale: Scale = Scale.LOGIT
        ) -> Measure:
            return Measure(name, lambda _, tps, fps: of(tps, fps), scale, one_class or note)

        def linear(name: str, of: Callable[[np.ndarray], np.ndarray], scale: Scale, note: str = "") -> Measure:
            return Measure(name, lambda weights, *_: of(weights), scale, note)

        measures = [ranked("roc_auc", metrics.roc_auc), ranked("average_precision", metrics.average_precision)]
        if prevalence is not None:
            at_prevalence = _average_precision_at(prevalence)
            measures.append(ranked("average_precision_at_prevalence", at_prevalence, f"at {prevalence:.2%} positives"))
        for specificity in specificities:
            name = f"at_{100 * specificity:g}"
            if specificity not in thresholds:
                sensitivity = _sensitivity_at(specificity)
                measures.append(ranked(f"sensitivity_{name}_specificity", sensitivity, SAME_DATA, Scale.PROPORTION))
                continue
            at = metrics.AtThreshold.of(y_true, y_score, groups, n_groups, thresholds[specificity])
            note = one_class or f"threshold {thresholds[specificity]:.4g}, given"
            measures.append(linear(f"sensitivity_{name}_specificity", at.sensitivity, Scale.PROPORTION, note))
            measures.append(linear(f"specificity_{name}_threshold", at.specificity, Scale.PROPORTION, note))
        are_probabilities = len(y_score) > 0 and y_score.min() >= 0 and y_score.max() <= 1
        if are_probabilities:
            calibration = Calibration.of(y_true, y_score, groups, n_groups)
            brier, error, slope = calibration.brier_score, calibration.expected_calibration_error, calibration.slope
            slope_note = one_class or _slope_note(y_score, calibration)
            note = ""
        else:
            brier = error = slope = _undefined
            note = slope_note = NOT_PROBABILITIES if len(y_score) else one_class
        measures += [
            linear("brier_score", brier, Scale.LOGIT, note),
            linear("expected_calibration_error", error, Scale.DISTANCE, note),
            linear("calibration_slope", slope, Scale.PLAIN, slope_note),
        ]
        of_classes = [effective_number(groups[y_true == value]) for value in (0, 1)]
        return cls(ranking, measures, min(of_classes))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Returns the metrics, (metrics, resamples), of weights of the patients, (groups, resamples)."""
        counts = self.ranking.counts(weights)
        return np.stack([measure.of(weights, *counts) for measure in self.measures])


def _sensitivity_at(specificity: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda tps, fps: metrics.sensitivity_at_specificity(tps, fps, specificity)


def _average_precision_at(prevalence: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda tps, fps: metrics.average_precision(tps, fps, prevalence)


def _undefined(weights: np.ndarray) -> np.ndarray:
    return np.full(weights.shape[1], np.nan)


def _one_class(y_true: np.ndarray) -> str:
    """Returns which class has no image; empty if both have some."""
    if not len(y_true):
        return "no images"
    return {0: "no positive images", len(y_true): "no negative images"}.get(int((y_true > 0).sum()), "")


def _slope_note(y_prob: np.ndarray, calibration: Calibration) -> str:
    """Returns why there is no slope, or how many scores it moved."""
    if calibration.curve is None:
        return "all scores are equal" if np.ptp(y_prob) == 0 else "no slope: the scores separate the classes"
    moved = int(((y_prob < CLIP) | (y_prob > 1 - CLIP)).sum())
    return f"{moved} scores of 0 or 1 taken as {CLIP:.2g} from it" if moved else ""

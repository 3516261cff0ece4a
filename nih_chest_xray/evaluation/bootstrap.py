"""Bootstrap: draws whole patients with replacement, and makes intervals of what a metric is in each draw.

Images of one patient resemble each other, so that the patients are what is drawn: the cluster bootstrap (Field and
Welsh, Journal of the Royal Statistical Society B 2007). Drawing images gives intervals that are too narrow.
"""

from __future__ import annotations

import dataclasses
import enum
import operator
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import stats
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

LEVEL = 0.95
"""Share of intervals that hold the true value."""
FEWEST = 10
"""The fewest effective patients of a class for an interval. tests/benchmarks/interval_coverage.py shows what intervals
of few hold."""
MEMORY = 64 << 20
"""Bytes that the weights of a chunk of resamples, and what is computed from them, may take."""
_COPIES = 6
"""Arrays of one number per level and resample that a metric holds at once, at most."""
THREADS = min(4, os.cpu_count() or 1)
"""Threads that measure. With more of them the chunks would be too small to pay."""
TOO_FEW = "too few patients for an interval"
_MOST_UNDEFINED = 0.05
"""Largest share of resamples in which a metric may be undefined, such as for want of a positive image."""


class Scale(enum.Enum):
    """The scale on which a metric's resamples are taken to be normal.

    An interval on the logit scale stays between 0 and 1, and is longer on the side away from the near end. A proportion
    of patients' images is on it too; where it is 0 or 1 its interval is the exact binomial one (Clopper and Pearson,
    Biometrika 1934), since resamples cannot tell. A distance is at least 0, and noise makes it larger: on the scale of
    squares noise adds the same to every resample, so it can be subtracted.
    """

    PLAIN = "plain"
    LOGIT = "logit"
    PROPORTION = "proportion"
    DISTANCE = "distance"


@dataclasses.dataclass(frozen=True)
class Interval:
    """An interval.

    Attributes:
      low: Its lower end, NaN if there is none.
      high: Its upper end, NaN if there is none.
      note: Why there is none, or how it was made where not by the bootstrap; may be empty.
    """

    low: float
    high: float
    note: str = ""

    @classmethod
    def none(cls, note: str) -> Interval:
        """Returns that there is no interval, and why."""
        return cls(np.nan, np.nan, note)


def draw_patients(n_groups: int, n_resamples: int, seed: int) -> np.ndarray:
    """Returns how often each patient is drawn in each resample.

    Each resample draws as many patients as there are, with replacement.

    Args:
      n_groups: Number of patients.
      n_resamples: Number of resamples.
      seed: At least 0.

    Returns:
      (groups, resamples) uint16; each column adds up to `n_groups`.

    Example:
      >>> from nih_chest_xray.evaluation.bootstrap import draw_patients
      >>> draw_patients(n_groups=5, n_resamples=7, seed=0).sum(axis=0)
      array([5, 5, 5, 5, 5, 5, 5], dtype=uint64)
    """
    generator = np.random.default_rng(seed)
    weights = np.empty((n_groups, n_resamples), np.uint16)
    for column in weights.T:
        column[:] = np.bincount(generator.integers(n_groups, size=n_groups), minlength=n_groups)
    return weights


def resample(
    measures: Sequence[Callable[[np.ndarray], np.ndarray]], weights: np.ndarray, levels: int = 1
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns what each of several measures is of the images as they are, and in each resample.

    Args:
      measures: Functions from weights of the patients, (groups, resamples) float64, to (…, resamples).
      weights: (groups, resamples), from `draw_patients`.
      levels: The most numbers that a measure holds for each resample.

    Returns:
      The estimates, (…) for each measure, and the resamples, (…, resamples) for each.

    Example:
      >>> import numpy as np
      >>> from nih_chest_xray.evaluation.bootstrap import draw_patients, resample
      >>> heights = np.array([1.0, 2.0, 6.0])
      >>> estimates, resampled = resample([lambda weights: heights @ weights / 3], draw_patients(3, 1000, seed=0))
      >>> estimates[0], resampled[0].shape, resampled[0].std().round(1)
      (array(3.), (1000,), np.float64(1.2))
    """
    once_each, size = np.ones((len(weights), 1)), chunk_size(len(weights), levels)
    measured = []
    # Threads work on one measure each; BLAS would only make them wait for its own.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(THREADS) as pool:
        estimates = [np.asarray(measure(once_each)[..., 0]) for measure in measures]
        for at in range(0, weights.shape[1], size):
            chunk = weights[:, at : at + size].astype(np.float64)
            measured.append(list(pool.map(operator.methodcaller("__call__", chunk), measures)))
    return estimates, [np.concatenate(parts, axis=-1) for parts in zip(*measured, strict=True)]


def chunk_size(n_groups: int, levels: int) -> int:
    """Returns the number of resamples whose weights and counts fit into `MEMORY`, at least 1.

    Args:
      n_groups: Number of patients.
      levels: Number of levels of the longest ranking.
    """
    return max(1, MEMORY // (8 * (n_groups + _COPIES * THREADS * levels)))


def effective_number(groups: np.ndarray) -> float:
    """Returns the number of patients, were each to have equally many images, that tells as much (Kish 1965).

    It is (sum of m)^2 / (sum of m^2), m being the images of each patient. One patient with most of the images makes it
    small.

    Args:
      groups: (images,), the number of each image's patient.

    Example:
      >>> import numpy as np
      >>> from nih_chest_xray.evaluation.bootstrap import effective_number
      >>> effective_number(np.array([0, 0, 1, 1, 2, 2])), effective_number(np.array([0, 1, 2, 2, 2, 2]))
      (3.0, 2.0)
    """
    images = np.unique(groups, return_counts=True)[1]
    return float(images.sum() ** 2 / (images**2).sum()) if len(images) else 0.0


def too_few(effective: float) -> str:
    """Returns that there are too few patients for an interval; empty if there are enough."""
    if effective >= FEWEST:
        return ""
    return f"{TOO_FEW}: worth {effective:.1f} with equally many images, of at least {FEWEST}"


def interval(estimate: float, resampled: np.ndarray, effective: float, scale: Scale) -> Interval:
    """Returns a 95 % interval from a metric's resamples.

    It is estimate ± t · s · sqrt(n / (n - 1)) on a suitable scale: n is the effective number of patients, s the
    standard deviation of the resamples, t Student's for n - 1 degrees of freedom. Of few patients the resamples spread
    too little, by that factor (Hesterberg, American Statistician 2015), and how much is itself uncertain.
    Percentiles of the resamples hold the true value less often, the more so near 1, where resamples without the hardest
    patient crowd at the upper end (tests/benchmarks/interval_coverage.py compares them).

    Args:
      estimate: The metric of the images as they are.
      resampled: (resamples,), the metric in each resample, NaN where it is undefined.
      effective: The effective number of patients of the smaller class, from `effective_number`.
      scale: The scale on which resamples are taken to be normal.
    """
    if not np.isfinite(estimate):
        return Interval.none("")
    if note := too_few(effective):
        return Interval.none(note)
    defined = resampled[np.isfinite(resampled)]
    if len(defined) < 2 or len(defined) < (1 - _MOST_UNDEFINED) * len(resampled):
        return Interval.none(f"no interval: undefined in {len(resampled) - len(defined)} of {len(resampled)} resamples")
    t = stats.t.ppf((1 + LEVEL) / 2, effective - 1) * np.sqrt(effective / (effective - 1))
    spread = float(np.std(defined))
    if scale is Scale.DISTANCE:
        squares = defined**2
        middle, margin = 2 * estimate**2 - squares.mean(), t * squares.std()
        low, high = min(middle, estimate**2) - margin, max(middle + margin, estimate**2)
        return Interval(*np.sqrt(np.maximum([low, high], 0)).tolist())
    if scale is Scale.PROPORTION and estimate in (0, 1):
        reach = 1 - ((1 - LEVEL) / 2) ** (1 / effective)
        return Interval(max(estimate - reach, 0.0), min(estimate + reach, 1.0), "exact binomial interval")
    if spread == 0:
        return Interval.none("no interval: the same in every resample")
    if scale is Scale.PLAIN:
        return Interval(estimate - t * spread, estimate + t * spread)
    if not 0 < estimate < 1:
        return Interval.none(f"no interval: {estimate:g} is the end of the scale")
    margin = t * spread / (estimate * (1 - estimate))  # The delta method.
    return Interval(float(expit(logit(estimate) - margin)), float(expit(logit(estimate) + margin)))

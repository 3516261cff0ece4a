"""Calibration: Brier score, calibration error and calibration slope, of many weightings of the same images at once.

Everything is a sum over the images of a patient, made once, so that each weighting costs one product of matrices.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.polynomial import chebyshev
from scipy.special import expit, logit

BINS = 15
"""Bins of the calibration error, as many as Guo et al. (ICML 2017) use. They hold equally many images each, not equal
widths of the scores: of a finding that one image in fifty has, nearly all scores are below 1/15, and one bin of equal
width would hold them all (Nixon et al., CVPR Workshops 2019; Roelofs et al., AISTATS 2022)."""
CLIP = float(np.finfo(np.float32).eps)
"""The slope takes a score closer than this to 0 or 1 as this far from it: its logit would be infinite, and networks
work in float32."""
_STEPS = 50
"""Newton steps after which a fit is given up. Most need 4."""
_LONGEST = 2.0
"""The most that a step may change a logit: Newton's method overshoots from far off."""
_TOLERANCE = 1e-7
"""Largest last step of a fit that has converged. A step squares the error, so what is left is far less."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The images' probabilities, ready for any weights of their patients.

    Attributes:
      squares: (groups,), the sum of (probability - truth)^2 over each patient's images.
      images: (groups,), number of images of each patient.
      gaps: (groups, bins), the sum of (truth - probability) over each patient's images in each bin.
      curve: What the slope needs; None for a class or a score that is the same everywhere, which has no slope.

    Example:
      >>> import numpy as np
      >>> from nih_chest_xray.evaluation.calibration import Calibration
      >>> rng = np.random.default_rng(0)
      >>> y_prob = rng.uniform(size=9000)
      >>> y_true = (rng.uniform(size=9000) < y_prob).astype(int)
      >>> calibration = Calibration.of(y_true, y_prob, groups=np.arange(9000) // 3, n_groups=3000)
      >>> once_each = np.ones((3000, 1))
      >>> calibration.brier_score(once_each).round(2)
      array([0.17])
      >>> calibration.expected_calibration_error(once_each).round(2)
      array([0.01])
      >>> calibration.slope(once_each).round(1)
      array([1.])
    """

    squares: np.ndarray
    images: np.ndarray
    gaps: np.ndarray
    curve: LogisticCurve | None

    @classmethod
    def of(cls, y_true: np.ndarray, y_prob: np.ndarray, groups: np.ndarray, n_groups: int) -> Calibration:
        """Sums up images.

        Args:
          y_true: (images,), 0 or 1.
          y_prob: (images,), from 0 to 1.
          groups: (images,), the number of each image's patient, from 0.
          n_groups: Number of patients, with those that have none of these images.
        """
        # As sklearn.calibration.calibration_curve cuts them; equal scores are never told apart.
        edges = np.quantile(y_prob, np.linspace(0, 1, BINS + 1)[1:-1])
        cell = groups * BINS + np.searchsorted(edges, y_prob)
        varies = np.ptp(y_true) > 0 and np.ptp(np.clip(y_prob, CLIP, 1 - CLIP)) > 0
        return cls(
            squares=np.bincount(groups, (y_prob - y_true) ** 2, n_groups),
            images=np.bincount(groups, minlength=n_groups).astype(float),
            gaps=np.bincount(cell, y_true - y_prob, n_groups * BINS).reshape(n_groups, BINS),
            curve=LogisticCurve.of(y_true, y_prob, groups, n_groups) if varies else None,
        )

    def brier_score(self, weights: np.ndarray) -> np.ndarray:
        """Returns the mean squared difference of probability and truth (Brier, Monthly Weather Review 1950).

        Args:
          weights: (groups, resamples), float64, the weight of each patient in each resample.

        Returns:
          (resamples,), that of `sklearn.metrics.brier_score_loss`; NaN where no image has weight.
        """
        return self._per_image(self.squares @ weights, weights)

    def expected_calibration_error(self, weights: np.ndarray) -> np.ndarray:
        """Returns the mean distance of a bin's mean probability from its share of positives, weighted by its images.

        The bins stay those of the unweighted images. Noise alone makes the error larger than 0, in small bins more.

        Args:
          weights: (groups, resamples), float64, the weight of each patient in each resample.

        Returns:
          (resamples,); NaN where no image has weight.
        """
        return self._per_image(np.abs(self.gaps.T @ weights).sum(axis=0), weights)

    def slope(self, weights: np.ndarray) -> np.ndarray:
        """Returns the calibration slope: that of a logistic regression of the truth on the probability's logit.

        1 is right; below 1 the probabilities are too extreme (Cox, Biometrika 1958; Van Calster et al., BMC Medicine
        2019).

        Args:
          weights: (groups, resamples), float64, the weight of each patient in each resample.

        Returns:
          (resamples,); NaN where it does not exist: a class has no weight, or the scores separate the classes.
        """
        return np.full(weights.shape[1], np.nan) if self.curve is None else self.curve.slope(weights)

    def _per_image(self, sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
        images = self.images @ weights
        return np.divide(sums, images, out=np.full(images.shape, np.nan), where=images > 0)


@dataclasses.dataclass(frozen=True)
class LogisticCurve:
    """A logistic regression on one variable, of many weightings of the same images at once.

    A fit needs sums over the images of smooth functions of the variable: the fitted curve and its derivative. Such a
    sum is one over a few hundred nodes, each with a weight of its own, if a polynomial through the nodes stands in for
    the function. For functions without a pole nearby it does so to 13 digits (Trefethen, Approximation Theory and
    Approximation Practice, 2013, theorem 8.2). So a step of a fit takes time for the nodes, not for the images.

    Attributes:
      t: (images,), the variable, scaled to -1 to 1.
      groups: (images,), the number of each image's patient.
      nodes: (nodes,), Chebyshev points of the scaled variable.
      at_nodes: (nodes, groups), each patient's images as weights of the nodes.
      truths: (groups, 2), the sums of truth and of truth times scaled variable over each patient's images.
      start: (2, 1), the intercept and slope of all images, on the scaled variable.
      scale: Half of the variable's range.
    """

    t: np.ndarray
    groups: np.ndarray
    nodes: np.ndarray
    at_nodes: np.ndarray
    truths: np.ndarray
    start: np.ndarray
    scale: float

    @classmethod
    def of(cls, y_true: np.ndarray, y_prob: np.ndarray, groups: np.ndarray, n_groups: int) -> LogisticCurve | None:
        """Sums up images, with the logit of the probability as variable; None if the scores separate the classes.

        The arguments are those of `Calibration.of`.
        """
        x = logit(np.clip(y_prob, CLIP, 1 - CLIP))
        scale = np.ptp(x) / 2
        t = np.clip((x - x.min()) / scale - 1, -1, 1)
        truths = np.column_stack([np.bincount(groups, y_true * power, n_groups) for power in (np.ones_like(t), t)])
        start = _fit(t, np.ones((len(t), 1)), truths.sum(axis=0)[:, None], np.array([[0.0], [scale]]))
        if np.isnan(start).any():
            return None
        pole = np.pi / _steepest(start)  # Its distance from the real axis: the logit is i pi there.
        count = int(np.ceil(np.log(1e13) / np.arcsinh(pole)))
        nodes = chebyshev.chebpts1(count)
        to_nodes = chebyshev.chebvander(nodes, count - 1) * (2 / count)
        to_nodes[:, 0] /= 2
        polynomials = np.empty((count, n_groups))
        now, following = np.ones_like(t), t
        for sums in polynomials:  # One polynomial at a time: of all, the images' values would be a large matrix.
            sums[:] = np.bincount(groups, now, n_groups)
            now, following = following, 2 * t * following - now
        return cls(t, groups, nodes, to_nodes @ polynomials, truths, start, scale)

    def slope(self, weights: np.ndarray) -> np.ndarray:
        """Returns the slope on the variable itself, (resamples,), of weights (groups, resamples); NaN without one."""
        truths = self.truths.T @ weights
        slope = _fit(self.nodes, self.at_nodes @ weights, truths, self.start)[1]
        far = ~(abs(slope) < _steepest(self.start))  # Here the polynomial is no longer exact.
        if far.any():
            slope[far] = _fit(self.t, weights[self.groups][:, far], truths[:, far], self.start)[1]
        return slope / self.scale


def _steepest(start: np.ndarray) -> float:
    """The steepest slope, on the scaled variable, for which the nodes suffice."""
    return 2 * abs(start[1, 0]) + 2


def _fit(t: np.ndarray, weights: np.ndarray, truths: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Returns intercepts and slopes of logistic regressions by Newton's method, NaN where one has no finite solution.

    Args:
      t: (points,), the variable, from -1 to 1.
      weights: (points, fits).
      truths: (2, fits), the weighted sums of truth and of truth times variable.
      start: (2, 1), intercept and slope to start from.
    """
    fitted = np.repeat(start, weights.shape[1], axis=1)
    powers = np.stack([np.ones_like(t), t, t * t])
    with np.errstate(all="ignore"):  # A fit without a solution runs to infinity.
        for _ in range(_STEPS):
            p = expit(fitted[0] + t[:, None] * fitted[1])
            expected = weights * p
            gradient = truths - powers[:2] @ expected
            h0, h1, h2 = powers @ (expected * (1 - p))
            step = np.stack([h2, -h1]) * gradient[0] + np.stack([-h1, h0]) * gradient[1]
            step /= h0 * h2 - h1 * h1
            size = np.abs(step).sum(axis=0)  # The largest change of a logit, since t is at most 1.
            fitted = fitted + step * np.minimum(1, _LONGEST / size)
            if not (size > _TOLERANCE).any():
                break
    return np.where(size <= _TOLERANCE, fitted, np.nan)

"""DeLong: the covariance of AUROCs of the same images from their ranks, without resampling, also for patients."""

from __future__ import annotations

import numpy as np
from scipy import stats


def delong_covariance(
    y_true: np.ndarray, y_scores: np.ndarray, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns AUROCs of several networks on the same images, and their covariance.

    Without groups this is DeLong, DeLong and Clarke-Pearson (Biometrics 1988), in time of a sort (Sun and Xu, IEEE
    Signal Processing Letters 2014). It takes all images to be independent, which those of one patient are not. With
    groups it is Obuchowski (Biometrics 1997): the same components, summed up within each patient. Both are the same if
    every patient has one image.

    Args:
      y_true: (images,), 0 or 1.
      y_scores: (images, networks).
      groups: (images,), the patient of each image; None if all images are independent.

    Returns:
      The AUROCs, (networks,), and their covariance, (networks, networks), NaN if either class has fewer than two
      images, or patients where there are groups.

    Example:
      >>> import numpy as np
      >>> from nih_chest_xray.evaluation.delong import delong_covariance
      >>> y_true = np.array([0, 0, 0, 1, 1])
      >>> y_scores = np.array([[0.1, 0.3], [0.4, 0.2], [0.3, 0.1], [0.35, 0.8], [0.8, 0.25]])
      >>> aurocs, covariance = delong_covariance(y_true, y_scores)
      >>> aurocs.round(3), covariance.round(4)
      (array([0.833, 0.833]), array([[ 0.0556, -0.0417],
             [-0.0417,  0.0556]]))
    """
    positive = y_true > 0
    groups = np.arange(len(y_true)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(groups.max(initial=-1)) + 1
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return np.full(y_scores.shape[1], np.nan), np.full((y_scores.shape[1],) * 2, np.nan)
    # The share of the other class that each image is told apart from: its midrank among all less that in its own class.
    ranks = stats.rankdata(y_scores, axis=0)
    v10 = (ranks[positive] - stats.rankdata(y_scores[positive], axis=0)) / n
    v01 = 1 - (ranks[~positive] - stats.rankdata(y_scores[~positive], axis=0)) / m
    aurocs = v10.mean(axis=0)
    s10, i10 = _of_groups(v10 - aurocs, groups[positive], n_groups)
    s01, i01 = _of_groups(v01 - aurocs, groups[~positive], n_groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        cross = s10.T @ s01 * np.divide(n_groups, n_groups - 1) / (m * n)
        covariance = (
            s10.T @ s10 * np.divide(i10, i10 - 1) / m**2
            + s01.T @ s01 * np.divide(i01, i01 - 1) / n**2
            + cross
            + cross.T
        )
    return aurocs, covariance if min(i10, i01) > 1 else np.full_like(covariance, np.nan)


def _of_groups(values: np.ndarray, groups: np.ndarray, n_groups: int) -> tuple[np.ndarray, int]:
    """Returns the sums of each group, (groups, networks), and how many groups there are."""
    sums = np.zeros((n_groups, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums, len(np.unique(groups))

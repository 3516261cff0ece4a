"""Tests of calibration: scikit-learn's numbers, slopes of plain regressions, and where there is no slope."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from nih_chest_xray.evaluation.calibration import BINS, CLIP, Calibration


def regression(y_true, y_prob):
    """The slope of scikit-learn's logistic regression."""
    model = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky", max_iter=1000)
    return model.fit(logit(np.clip(y_prob, CLIP, 1 - CLIP))[:, None], y_true).coef_[0, 0]


@pytest.fixture(scope="module")
def calibration(drawn):
    return Calibration.of(*drawn, 60)


def repeated(drawn, weights, column):
    y_true, y_prob, groups = drawn
    times = weights[groups, column].astype(int)
    return np.repeat(y_true, times), np.repeat(y_prob, times)


@pytest.mark.parametrize("column", range(4))
def test_brier_score_and_slope_are_scikit_learns_for_the_repeated_images(drawn, weights, calibration, column):
    truth, prob = repeated(drawn, weights, column)
    assert calibration.brier_score(weights)[column] == pytest.approx(brier_score_loss(truth, prob), abs=1e-12)
    assert calibration.slope(weights)[column] == pytest.approx(regression(truth, prob), abs=1e-9)


def test_calibration_error_is_that_of_scikit_learns_curve_in_bins_of_equally_many(drawn, calibration):
    y_true, y_prob, _ = drawn
    share, mean = calibration_curve(y_true, y_prob, n_bins=BINS, strategy="quantile")
    edges = np.quantile(y_prob, np.linspace(0, 1, BINS + 1))
    images = np.bincount(np.searchsorted(edges[1:-1], y_prob))
    expected = np.average(abs(share - mean), weights=images[images > 0])
    assert calibration.expected_calibration_error(np.ones((60, 1)))[0] == pytest.approx(expected, abs=1e-12)


def test_in_a_resample_the_bins_stay_and_their_images_change(drawn, weights, calibration):
    y_true, y_prob, groups = drawn
    of_bin = np.searchsorted(np.quantile(y_prob, np.linspace(0, 1, BINS + 1)[1:-1]), y_prob)
    weight = weights[groups, 1]
    gaps = [abs((weight * (y_true - y_prob))[of_bin == number].sum()) for number in range(BINS)]
    assert calibration.expected_calibration_error(weights)[1] == pytest.approx(sum(gaps) / weight.sum(), abs=1e-12)


@pytest.mark.parametrize("steepness", [0.01, 1, 8])
def test_the_slope_is_exact_for_narrow_and_for_wide_probabilities(steepness):
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    y_true = (rng.uniform(size=3000) < expit(x - 1)).astype(int)
    y_prob, weights = expit(steepness * x), rng.integers(0, 3, (3000, 2)).astype(float)
    slopes = Calibration.of(y_true, y_prob, np.arange(3000), 3000).slope(weights)
    for slope, weight in zip(slopes, weights.T.astype(int), strict=True):
        expected = regression(np.repeat(y_true, weight), np.repeat(y_prob, weight))
        assert slope == pytest.approx(expected, rel=1e-6)


def test_a_resample_whose_slope_is_far_from_that_of_all_images_is_exact_too():
    """The nodes suffice for slopes near that of all images, here 0."""
    x = np.tile([-14, -8, -0.2, 0.2, 8, 14], 2)
    y_true = np.array([0, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 0])
    weights = np.repeat([[1.0, 1], [1, 0]], 6, axis=0)
    calibration = Calibration.of(y_true, expit(x), np.arange(12), 12)
    of_all, of_resample = calibration.slope(weights)
    assert of_all == pytest.approx(0, abs=1e-9)
    assert of_resample == pytest.approx(regression(y_true[:6], expit(x[:6])), rel=1e-6)


def test_probabilities_of_0_and_1_count_as_float32_can_tell(drawn):
    y_true, _, groups = drawn
    y_prob = np.where(np.arange(len(y_true)) % 3, 0.5, y_true)
    y_prob[np.flatnonzero(y_prob == 1)[:3]] = 0
    moved = np.clip(y_prob, CLIP, 1 - CLIP)
    once_each = np.ones((60, 1))
    slope = Calibration.of(y_true, y_prob, groups, 60).slope(once_each)
    assert np.isfinite(slope)
    assert slope == pytest.approx(Calibration.of(y_true, moved, groups, 60).slope(once_each))


@pytest.mark.parametrize(
    ("y_true", "y_prob"),
    [
        ([0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4]),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.2, 0.4]),
    ],
    ids=["one class", "equal", "separated", "separated but for a tie"],
)
def test_there_is_no_slope(y_true, y_prob):
    calibration = Calibration.of(np.array(y_true), np.array(y_prob), np.arange(4), 4)
    assert np.isnan(calibration.slope(np.ones((4, 2)))).all()
    assert np.isfinite(calibration.brier_score(np.ones((4, 2)))).all()


def test_a_resample_that_the_scores_separate_has_no_slope():
    y_true, y_prob = np.array([0, 0, 1, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    weights = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 1]]).T.astype(float)
    slopes = Calibration.of(y_true, y_prob, np.arange(6), 6).slope(weights)
    assert np.isnan(slopes).tolist() == [False, True]

"""Tests of DeLong's covariance: brute force over all pairs, and patients as Obuchowski sums them up."""

import numpy as np
import pytest

from nih_chest_xray.evaluation.delong import delong_covariance


def brute_force(y_true, y_scores, groups):
    """Obuchowski 1997, as written there: psi over all pairs, sums within patients."""
    positive, negative = np.flatnonzero(y_true == 1), np.flatnonzero(y_true == 0)
    patients = np.unique(groups)
    networks = range(y_scores.shape[1])
    psi = np.array(
        [
            [[(s[p] > s[n]) + 0.5 * (s[p] == s[n]) for n in negative] for p in positive]
            for s in (y_scores[:, network] for network in networks)
        ]
    )
    aurocs = psi.mean(axis=(1, 2))
    of_positives = [
        [(psi[k].mean(axis=1) - aurocs[k])[groups[positive] == i].sum() for i in patients] for k in networks
    ]
    of_negatives = [
        [(psi[k].mean(axis=0) - aurocs[k])[groups[negative] == i].sum() for i in patients] for k in networks
    ]
    x, y, m, n = np.array(of_positives), np.array(of_negatives), len(positive), len(negative)
    i10, i01, i = len(set(groups[positive])), len(set(groups[negative])), len(patients)
    s10, s01 = i10 / ((i10 - 1) * m) * x @ x.T, i01 / ((i01 - 1) * n) * y @ y.T
    s11 = i / (i - 1) * x @ y.T
    return aurocs, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def test_by_hand():
    """Positives 3 and 1, negatives 2 and 0: V10 = (1, 1/2), V01 = (1/2, 1), both with variance 1/8."""
    aurocs, covariance = delong_covariance(np.array([1, 1, 0, 0]), np.array([[3.0], [1], [2], [0]]))
    assert aurocs.tolist() == [0.75]
    assert covariance.tolist() == [[1 / 8 / 2 + 1 / 8 / 2]]


@pytest.mark.parametrize("patients", [8, 40])
def test_it_is_what_all_pairs_give(patients):
    rng = np.random.default_rng(patients)
    groups, y_true = rng.permutation(np.arange(40) % patients), rng.permutation(np.repeat([0, 1], [25, 15]))
    y_scores = rng.integers(0, 12, (40, 3)) + 3.0 * y_true[:, None]
    expected_aurocs, expected = brute_force(y_true, y_scores, groups)
    aurocs, covariance = delong_covariance(y_true, y_scores, groups)
    assert aurocs == pytest.approx(expected_aurocs, abs=1e-12)
    assert covariance == pytest.approx(expected, abs=1e-12)


def test_patients_of_one_image_are_independent_images():
    rng = np.random.default_rng(0)
    y_true, y_scores = rng.integers(0, 2, 50), rng.normal(size=(50, 2))
    independent = delong_covariance(y_true, y_scores)[1]
    assert delong_covariance(y_true, y_scores, rng.permutation(50) * 7)[1] == pytest.approx(independent, abs=1e-15)


def test_an_image_seen_four_times_tells_no_more_than_once():
    """Per image the variance would be a quarter; per patient it stays."""
    rng = np.random.default_rng(0)
    y_true, y_scores = rng.integers(0, 2, 300), rng.normal(size=(300, 1))
    once = delong_covariance(y_true, y_scores)[1]
    four_times = np.repeat(y_true, 4), np.repeat(y_scores, 4, axis=0)
    assert delong_covariance(*four_times, np.repeat(np.arange(300), 4))[1] == pytest.approx(once)
    assert delong_covariance(*four_times)[1] == pytest.approx(once / 4, rel=0.02)


@pytest.mark.parametrize("y_true", [[0, 0, 0], [1, 1, 1], [0, 0, 1]])
def test_there_is_no_covariance_with_fewer_than_two_patients_of_a_class(y_true):
    assert np.isnan(delong_covariance(np.array(y_true), np.array([[1.0], [2], [3]]))[1]).all()

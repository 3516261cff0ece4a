"""Tests of the metrics: scikit-learn's numbers, for any weights of the patients, with ties and without a class."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from nih_chest_xray.evaluation.metrics import (
    AtThreshold,
    Ranking,
    average_precision,
    roc_auc,
    sensitivity_at_specificity,
    threshold_at_specificity,
)


def best_sensitivity(y_true, y_score, specificity, **weights):
    fpr, tpr, _ = roc_curve(y_true, y_score, drop_intermediate=False, **weights)
    return tpr[1 - fpr >= specificity - 1e-12].max()


def test_metrics_are_scikit_learns_on_the_images_as_they_are(drawn):
    y_true, y_score, groups = drawn
    counts = Ranking.of(y_true, y_score, groups, 60).counts(np.ones((60, 1)))
    assert roc_auc(*counts)[0] == pytest.approx(roc_auc_score(y_true, y_score), abs=1e-12)
    assert average_precision(*counts)[0] == pytest.approx(average_precision_score(y_true, y_score), abs=1e-12)
    for specificity in (0.5, 0.9, 0.95):
        expected = best_sensitivity(y_true, y_score, specificity)
        assert sensitivity_at_specificity(*counts, specificity)[0] == pytest.approx(expected, abs=1e-12)


def test_a_resample_gives_what_scikit_learn_gives_for_its_repeated_images(drawn, weights):
    y_true, y_score, groups = drawn
    counts = Ranking.of(y_true, y_score, groups, 60).counts(weights)
    for column in range(weights.shape[1]):
        times = weights[groups, column].astype(int)
        truth, score = np.repeat(y_true, times), np.repeat(y_score, times)
        assert roc_auc(*counts)[column] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
        assert average_precision(*counts)[column] == pytest.approx(average_precision_score(truth, score), abs=1e-12)
        expected = best_sensitivity(truth, score, 0.9)
        assert sensitivity_at_specificity(*counts, 0.9)[column] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("distinct", [1, 2, 5, 1000])
def test_ties_are_handled_as_in_scikit_learn(distinct):
    rng = np.random.default_rng(distinct)
    for _ in range(20):
        y_true = rng.permutation(np.repeat([0, 1], [22, 8]))
        y_score, weight = rng.integers(0, distinct, 30) / 7, rng.uniform(0.1, 3, 30)
        counts = Ranking.of(y_true, y_score, np.arange(30), 30).counts(weight[:, None])
        of_weight = {"sample_weight": weight}
        assert roc_auc(*counts)[0] == pytest.approx(roc_auc_score(y_true, y_score, **of_weight), abs=1e-9)
        expected = average_precision_score(y_true, y_score, **of_weight)
        assert average_precision(*counts)[0] == pytest.approx(expected, abs=1e-9)
        expected = best_sensitivity(y_true, y_score, 0.9, **of_weight)
        assert sensitivity_at_specificity(*counts, 0.9)[0] == pytest.approx(expected, abs=1e-9)


def test_neighbouring_scores_of_negatives_share_a_level():
    ranking = Ranking.of(np.array([1, 0, 0, 0, 1, 1]), np.array([6, 5, 4, 3, 2, 1.0]), np.arange(6), 6)
    assert ranking.levels == 4
    assert ranking.negatives.sum(axis=1).tolist() == [0, 3, 0, 0]


@pytest.mark.parametrize("truth", [0, 1])
def test_without_a_class_there_is_no_metric(truth):
    counts = Ranking.of(np.full(4, truth), np.arange(4.0), np.arange(4), 4).counts(np.ones((4, 2)))
    for metric in (roc_auc(*counts), average_precision(*counts), sensitivity_at_specificity(*counts, 0.9)):
        assert np.isnan(metric).tolist() == [True, True]


def test_without_images_there_is_no_metric():
    counts = Ranking.of(np.zeros(0), np.zeros(0), np.zeros(0, int), 4).counts(np.ones((4, 2)))
    for metric in (roc_auc(*counts), average_precision(*counts), sensitivity_at_specificity(*counts, 0.9)):
        assert np.isnan(metric).tolist() == [True, True]


def test_scores_that_are_all_equal_tell_nothing_apart():
    counts = Ranking.of(np.array([0, 0, 0, 1]), np.full(4, 0.3), np.arange(4), 4).counts(np.ones((4, 1)))
    assert roc_auc(*counts)[0] == 0.5
    assert average_precision(*counts)[0] == 0.25
    assert sensitivity_at_specificity(*counts, 0.9)[0] == 0


def test_average_precision_at_a_prevalence_is_that_of_a_cohort_with_more_negatives(drawn):
    """Each negative five times is the cohort before four of five negatives were left out."""
    y_true, y_score, groups = drawn
    whole, times = y_true.mean() / (y_true.mean() + 5 * (1 - y_true.mean())), np.where(y_true, 1, 5)
    expected = average_precision_score(np.repeat(y_true, times), np.repeat(y_score, times))
    counts = Ranking.of(y_true, y_score, groups, 60).counts(np.ones((60, 1)))
    assert average_precision(*counts, prevalence=whole)[0] == pytest.approx(expected, abs=1e-12)


def test_a_specificity_that_the_negatives_reach_exactly_is_reached():
    """Nine of ten negatives is 90 %, though 1 - 0.9 is less than 0.1 in binary."""
    y_true, y_score = np.array([0] * 10 + [1, 1]), np.array([*range(9), 20, 15, 30.0])
    counts = Ranking.of(y_true, y_score, np.arange(12), 12).counts(np.ones((12, 1)))
    assert sensitivity_at_specificity(*counts, 0.9)[0] == 1
    assert threshold_at_specificity(y_true, y_score, 0.9) == 15


def test_a_threshold_has_its_specificity_and_the_next_lower_score_has_not(drawn):
    y_true, y_score, _ = drawn
    threshold = threshold_at_specificity(y_true, y_score, 0.9)
    negatives = y_score[y_true == 0]
    assert (negatives < threshold).mean() >= 0.9
    assert (negatives < y_score[y_score < threshold].max()).mean() < 0.9


def test_no_score_is_a_threshold_where_too_many_negatives_share_the_highest():
    assert threshold_at_specificity(np.array([0, 0, 1]), np.array([1.0, 1, 1]), 0.9) == np.inf
    with pytest.raises(ValueError, match="needs negative images"):
        threshold_at_specificity(np.array([1]), np.array([1.0]), 0.9)


def test_at_a_threshold_shares_are_those_of_the_repeated_images(drawn, weights):
    y_true, y_score, groups = drawn
    at = AtThreshold.of(y_true, y_score, groups, 60, threshold=0.4)
    for column in range(weights.shape[1]):
        times = weights[groups, column].astype(int)
        truth, called = np.repeat(y_true, times), np.repeat(y_score >= 0.4, times)
        assert at.sensitivity(weights)[column] == pytest.approx(called[truth == 1].mean(), abs=1e-12)
        assert at.specificity(weights)[column] == pytest.approx((~called)[truth == 0].mean(), abs=1e-12)

"""Tests of the split: groups whole, counts on target, fair, and the same everywhere."""

import hashlib
import itertools

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from nih_chest_xray.planning.splitting import balanced_group_split

FRACTIONS = (0.7, 0.1, 0.2)


@pytest.fixture(scope="module")
def data():
    """Samples of 1,200 patients, some with many images, with one common and two rarer classes."""
    rng = np.random.RandomState(0)
    groups = np.repeat(np.arange(1200), rng.geometric(0.3, 1200))
    often_ill = rng.random_sample(1200) < 0.3
    ill = rng.random_sample(len(groups)) < np.where(often_ill, 0.5, 0.02)[groups]
    rare = rng.random_sample(len(groups)) < 0.01
    return np.stack([~ill, ill, rare, np.ones(len(groups))], axis=1).astype(int), groups


def worst(counts, subset, number):
    """The largest deviation of a subset's count from its equal share, in samples."""
    sums = np.stack([counts[subset == k].sum(axis=0) for k in range(number)])
    return np.abs(sums - counts.sum(axis=0) / number).max()


def test_groups_stay_whole_and_every_sample_is_in_one_subset(data):
    counts, groups = data
    subset = balanced_group_split(counts, groups, FRACTIONS, 0)
    assert set(subset) == {0, 1, 2}
    for group in np.unique(groups):
        assert len(set(subset[groups == group])) == 1


def test_every_column_and_the_number_of_groups_are_within_two_of_their_targets(data):
    counts, groups = data
    for seed in range(5):
        subset = balanced_group_split(counts, groups, FRACTIONS, seed)
        for k, fraction in enumerate(FRACTIONS):
            assert np.abs(counts[subset == k].sum(axis=0) - fraction * counts.sum(axis=0)).max() <= 2
            assert abs(len(set(groups[subset == k])) - fraction * len(set(groups))) <= 1


def test_balance_is_better_than_scikit_learns(data):
    """Theirs balances one label and leaves sizes and other columns to chance."""
    counts, groups = data
    theirs = np.empty(len(groups), int)
    splitter = StratifiedGroupKFold(10, shuffle=True, random_state=0)
    for k, (_, test) in enumerate(splitter.split(counts, counts[:, 1], groups)):
        theirs[test] = k
    ours = balanced_group_split(counts, groups, [0.1] * 10, 0)
    assert worst(counts[:, 1:2], ours, 10) <= worst(counts[:, 1:2], theirs, 10)
    assert worst(counts, ours, 10) < worst(counts, theirs, 10) / 2


def test_order_of_samples_does_not_matter(data):
    counts, groups = data
    order = np.random.RandomState(1).permutation(len(groups))
    straight = balanced_group_split(counts, groups, FRACTIONS, 3)
    shuffled = balanced_group_split(counts[order], groups[order], FRACTIONS, 3)
    np.testing.assert_array_equal(straight[order], shuffled)


def test_seeds_draw_independently_also_for_the_largest_groups(data):
    counts, groups = data
    splits = [balanced_group_split(counts, groups, FRACTIONS, seed) for seed in range(60)]
    first = np.unique(groups, return_index=True)[1]
    in_test = np.array([split[first] == 2 for split in splits])
    overlap = np.mean([(a & b).sum() / a.sum() for a, b in itertools.pairwise(in_test)])
    assert overlap == pytest.approx(0.2, abs=0.02)
    # 60 fair draws of 20 groups have a mean within 0.05 of 0.2 but for 4 standard deviations.
    largest = np.argsort(-np.bincount(groups))[:20]
    assert in_test[:, largest].mean() == pytest.approx(0.2, abs=0.05)


def test_few_groups_move_away_from_their_draw(data):
    counts, groups = data
    fair = balanced_group_split(np.zeros((len(groups), 0), int), groups, FRACTIONS, 0)
    balanced = balanced_group_split(counts, groups, FRACTIONS, 0)
    first = np.unique(groups, return_index=True)[1]
    assert 0 < (fair[first] != balanced[first]).mean() < 0.1


def test_draw_is_pinned_to_sha256_of_seed_and_group():
    """With nothing to balance the split is the draw: the order of SHA-256('seed/group'), computed here by hand."""
    groups = np.arange(5)
    order = sorted(range(5), key=lambda group: hashlib.sha256(f"7/{group}".encode()).hexdigest())
    subset = balanced_group_split(np.zeros((5, 1), int), groups, (0.6, 0.4), 7)
    assert [group for group in order if subset[group] == 0] == order[:3]


@pytest.mark.parametrize("fractions", [(0.5, 0.6), (1.0, 0.0), (1.2, -0.2)])
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(ValueError, match="positive numbers that sum to 1"):
        balanced_group_split(np.ones((4, 1), int), np.arange(4), fractions, 0)


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="4 rows of counts but 3 groups"):
        balanced_group_split(np.ones((4, 1), int), np.arange(3), (0.5, 0.5), 0)

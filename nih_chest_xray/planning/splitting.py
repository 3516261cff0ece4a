"""Splitting: a random split that keeps groups whole and balances many counts at once: draw, then swap.

Groups (patients) are put in a random order and dealt out to the subsets, to each as many as its fraction asks for. Such
a draw is fair, but its counts of a rare class are off by chance. So pairs of groups in different subsets are then
swapped, each time the pair that brings the counts closest to their targets, until no pair helps. A few dozen swaps are
enough for tens of thousands of groups: the result is nearly the draw, and its counts are as close to the targets as
whole numbers allow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np

_CANDIDATES = 256
"""Groups per subset that are considered for the next swap: those whose own move helps most."""


def balanced_group_split(
    counts: np.ndarray, groups: Sequence[Hashable] | np.ndarray, fractions: Sequence[float], seed: int
) -> np.ndarray:
    """Splits samples into subsets so that each group is in one subset and all columns of `counts` are balanced.

    The objective is the sum, over subsets and columns, of the squared deviation of a subset's count from its target,
    as a share of the column's sum. The number of groups in each subset is exact to one.

    The draw orders groups by SHA-256 of seed and group, and the swaps are chosen in whole numbers that float64 holds
    exactly. So the result depends on seed, groups, counts and fractions alone: not on the order of the samples, the
    machine, or a library's random numbers.

    Args:
      counts: (samples, columns), non-negative whole numbers: what each sample adds to each column, such as 1 where it
        has a class. A column of ones balances the number of samples.
      groups: (samples,), the group of each sample, as in scikit-learn's splitters.
      fractions: (subsets,), positive, summing to 1: each subset's share of every column.
      seed: Any whole number.

    Returns:
      (samples,) int64: the subset of each sample, an index into `fractions`.

    Raises:
      ValueError: The fractions are not positive or do not sum to 1, or the lengths differ.
    """
    counts, shares = np.asarray(counts), np.asarray(fractions, np.float64)
    if (shares <= 0).any() or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(f"fractions {shares.tolist()}: expected positive numbers that sum to 1")
    if len(counts) != len(groups):
        raise ValueError(f"{len(counts)} rows of counts but {len(groups)} groups: expected as many of both")
    names, group_of_sample = np.unique(np.asarray(groups), return_inverse=True)
    totals = np.zeros((len(names), counts.shape[1]), np.int64)
    np.add.at(totals, group_of_sample, counts)
    keys = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in names.tolist()]
    order = np.array(sorted(range(len(names)), key=keys.__getitem__), np.int64)
    last_of_subset = np.rint(np.cumsum(shares)[:-1] * len(names))
    subset = np.empty(len(names), np.int64)
    subset[order] = np.searchsorted(last_of_subset, np.arange(len(names)), side="right")
    _swap_until_balanced(totals, subset, order, shares)
    return subset[group_of_sample]


def _swap_until_balanced(totals: np.ndarray, subset: np.ndarray, order: np.ndarray, fractions: np.ndarray) -> None:
    """Changes `subset` (groups,) in place. Groups with equal `totals` are alike, so kinds of groups are swapped."""
    totals = totals[:, totals.any(axis=0)]
    if not totals.size:
        return
    kinds, kind_of_group = np.unique(totals, axis=0, return_inverse=True)
    kind_of_group = kind_of_group.ravel()
    x = kinds * _scale(totals)
    # members[kind][subset] lists the groups of a kind in a subset, in the order of the draw; a swap takes the last.
    members: list[list[list[int]]] = [[[] for _ in fractions] for _ in kinds]
    for group in order:
        members[kind_of_group[group]][subset[group]].append(group)
    number = np.array([[len(groups) for groups in kind] for kind in members])

    square = (x * x).sum(axis=1)
    excess = number.T @ x - np.rint(np.outer(fractions, number.sum(axis=1) @ x))
    pairs = [(a, b) for a in range(len(fractions)) for b in range(a + 1, len(fractions))]
    while True:
        overlap = x @ excess.T
        leave, enter = square[:, None] - 2 * overlap, square[:, None] + 2 * overlap
        best, swap = 0.0, None
        for a, b in pairs:
            to_b, gain_to_b = _candidates(number[:, a], leave[:, a] + enter[:, b])
            to_a, gain_to_a = _candidates(number[:, b], leave[:, b] + enter[:, a])
            gain = gain_to_b[:, None] + gain_to_a - 4 * (x[to_b] @ x[to_a].T)
            if gain.size and gain.min() < best:
                i, j = np.unravel_index(np.argmin(gain), gain.shape)
                best, swap = gain[i, j], (a, b, to_b[i], to_a[j])
        if swap is None:
            return
        a, b, kind, other = swap
        for moved, source, target in ((kind, a, b), (other, b, a)):
            group = members[moved][source].pop()
            members[moved][target].append(group)
            subset[group] = target
            number[moved, source] -= 1
            number[moved, target] += 1
        excess[a] += x[other] - x[kind]
        excess[b] -= x[other] - x[kind]


def _scale(totals: np.ndarray) -> np.ndarray:
    """Returns an integer factor per column that makes column sums equal, and products of two such sums exact."""
    bits = (50 - int(np.ceil(np.log2(totals.shape[1])))) // 2
    return np.rint(2.0**bits / totals.sum(axis=0))


def _candidates(number: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns kinds with a member, and their gains: the `_CANDIDATES` best, and all that tie with the last of them."""
    kinds = np.flatnonzero(number)
    gains = gain[kinds]
    if len(kinds) > _CANDIDATES:
        good = gains <= np.partition(gains, _CANDIDATES)[_CANDIDATES]
        kinds, gains = kinds[good], gains[good]
    return kinds, gains

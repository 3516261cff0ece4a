"""Splitters for scikit-learn: folds and random splits that keep groups whole and balance every label.

A module of its own, since importing scikit-learn takes a second.
"""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import BaseCrossValidator, BaseShuffleSplit
from sklearn.utils import check_array, check_random_state, column_or_1d, indexable
from sklearn.utils.multiclass import type_of_target

from nih_chest_xray.planning.splitting import balanced_group_split

_TARGETS = ("binary", "multiclass", "multilabel-indicator")


class BalancedGroupKFold(BaseCrossValidator):
    """K folds that keep groups whole and balance every class, or every label column, and the number of samples.

    Each sample is in the test fold once. The groups are drawn at random into folds of as many groups each, to one. Then
    pairs of groups are swapped until the counts of all folds are as equal as whole groups allow.

    It differs from scikit-learn's `StratifiedGroupKFold`:

    - `y` may be an indicator matrix, such as the 14 findings of each image. Every column is balanced at once.
    - Folds have the same number of groups too, to one.
    - It always shuffles, and all groups take part in the draw. `random_state` is 0 unless told otherwise, so that two
      runs have the same folds.
    - The folds do not depend on the order of the samples, the names of the classes, the order of the columns, or the
      machine: each group stays in its fold.
    - Parameters are checked by `split`, not by the constructor.

    `groups` is requested by default, so `cross_validate` and `GridSearchCV` pass it on as to scikit-learn's own.

    Args:
      n_splits: Number of folds, at least 2.
      random_state: An int gives the same folds in every call, on any machine. None or a RandomState draws other folds
        in each call.

    Example:
      >>> import numpy as np
      >>> from nih_chest_xray import BalancedGroupKFold
      >>> patients = np.array([1, 1, 2, 2, 2, 3, 4, 4, 5, 6, 6, 6])
      >>> nodule, mass = [0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]
      >>> X, y = np.zeros((12, 1)), np.column_stack([nodule, mass])
      >>> folds = BalancedGroupKFold(n_splits=2)
      >>> folds
      BalancedGroupKFold(n_splits=2, random_state=0)
      >>> for train, test in folds.split(X, y, groups=patients):
      ...     print(f"test patients {np.unique(patients[test])}, images {len(test)}, findings {y[test].sum(axis=0)}")
      test patients [3 4 6], images 6, findings [2 1]
      test patients [1 2 5], images 6, findings [2 1]
    """

    __metadata_request__split = {"groups": True}  # How scikit-learn's metadata routing is told.

    def __init__(self, n_splits: int = 5, *, random_state: int | np.random.RandomState | None = 0) -> None:
        self.n_splits = n_splits
        self.random_state = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Returns the number of folds. The arguments are ignored; scikit-learn passes them."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the indices of the training and the test samples of each fold.

        Args:
          X: (samples, …). Only its length matters: `np.zeros(samples)` does.
          y: (samples,), two or more classes as whole numbers or strings, or (samples, columns), a dense or sparse
            indicator matrix of 0 and 1.
          groups: (samples,), the group of each sample, such as its patient.

        Yields:
          train: (training samples,) int64, ascending.
          test: (test samples,) int64, ascending.

        Warns:
          UserWarning: A class or column is in fewer groups than there are folds, so that folds lack it.

        Raises:
          ValueError: `n_splits` is not a whole number of at least 2, or exceeds the number of groups or the number of
            samples of every class; `y` or `groups` is None; lengths differ; or `y` is continuous or has more than
            0 and 1 in several columns.
        """
        n_splits = self.n_splits
        if not isinstance(n_splits, numbers.Integral):
            raise ValueError(
                f"The number of folds must be of Integral type. {n_splits} of type {type(n_splits)} was passed."
            )
        if n_splits < 2:
            raise ValueError(
                "k-fold cross-validation requires at least one train/test split by setting n_splits=2 or more, "
                f"got n_splits={n_splits}."
            )
        counts, groups = _counts_and_groups(X, y, groups, int(n_splits), f"n_splits={n_splits}")
        seed = self.random_state
        if not isinstance(seed, numbers.Integral):
            [seed] = _draw_seeds(seed, 1)
        fold = balanced_group_split(counts, groups, [1 / n_splits] * n_splits, int(seed))
        for number in range(n_splits):
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


class BalancedGroupShuffleSplit(BaseShuffleSplit):
    """Random splits into train and test that keep groups whole and balance every class, or every label column.

    Each split is a draw of its own: the test sets of several splits overlap by chance. Within a split, every class or
    column and the number of samples have the share `test_size` in test, as closely as whole groups allow.

    It differs from scikit-learn's `GroupShuffleSplit`, which leaves classes and the number of samples to chance. And as
    `BalancedGroupKFold` does, it takes an indicator matrix, does not depend on the order of the samples, and has a
    `random_state` of 0 unless told otherwise.

    Args:
      n_splits: Number of splits.
      test_size: The test subset's share of groups, samples and each class, above 0 and below 1; an int is a number of
        groups.
      random_state: An int gives the same splits in every call, on any machine. None or a RandomState draws other splits
        in each call.

    Example:
      >>> import numpy as np
      >>> from nih_chest_xray import BalancedGroupShuffleSplit
      >>> patients = np.array([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
      >>> nodule = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0])
      >>> splits = BalancedGroupShuffleSplit(n_splits=3, test_size=1 / 3)
      >>> for train, test in splits.split(np.zeros(12), nodule, groups=patients):
      ...     print(f"test patients {np.unique(patients[test])}, images {len(test)}, nodules {nodule[test].sum()}")
      test patients [3 5], images 4, nodules 1
      test patients [3 5], images 4, nodules 1
      test patients [3 4], images 4, nodules 1
    """

    __metadata_request__split = {"groups": True}  # How scikit-learn's metadata routing is told.

    def __init__(
        self,
        n_splits: int = 5,
        *,
        test_size: float | int = 0.2,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_splits = n_splits
        self.test_size = test_size
        self.random_state = random_state

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the indices of the training and the test samples of each split.

        Args:
          X: As `BalancedGroupKFold.split` takes it.
          y: As `BalancedGroupKFold.split` takes it.
          groups: As `BalancedGroupKFold.split` takes it.

        Yields:
          train: (training samples,) int64, ascending.
          test: (test samples,) int64, ascending.

        Warns:
          UserWarning: A class or column is in one group only, or in none, so that train or test lacks it.

        Raises:
          ValueError: `test_size` leaves train or test without a group; or as `BalancedGroupKFold.split`.
        """
        counts, groups = _counts_and_groups(X, y, groups, 2, "2 (train and test)")
        n_groups = len(np.unique(groups))
        share = self.test_size / n_groups if isinstance(self.test_size, numbers.Integral) else self.test_size
        if not 0 < np.rint((1 - share) * n_groups) < n_groups:
            raise ValueError(
                f"test_size={self.test_size} should be either positive and smaller than the number of groups {n_groups}"
                " or a float in the (0, 1) range that leaves a group for train and for test"
            )
        for seed in _draw_seeds(self.random_state, self.n_splits):
            subset = balanced_group_split(counts, groups, [1 - share, share], seed)
            yield np.flatnonzero(subset == 0), np.flatnonzero(subset == 1)


def _draw_seeds(random_state: Any, number: int) -> list[int]:
    """Returns seeds, the same for an int on any machine: NumPy keeps the stream of RandomState as it is."""
    return check_random_state(random_state).randint(2**31, size=number, dtype=np.int64).tolist()


def _counts_and_groups(X: Any, y: Any, groups: Any, subsets: int, said: str) -> tuple[np.ndarray, np.ndarray]:
    """Checks what `split` is given; see there.

    Args:
      X: As `split` takes it.
      y: As `split` takes it.
      groups: As `split` takes it.
      subsets: How many subsets samples are split into.
      said: The same in words, for messages.

    Returns:
      (samples, columns) int64, what `balanced_group_split` has to balance, and (samples,), the groups.
    """
    for name, value in (("y", y), ("groups", groups)):
        if value is None:
            raise ValueError(f"The '{name}' parameter should not be None.")
    X, y, groups = indexable(X, y, groups)
    groups = column_or_1d(check_array(groups, input_name="groups", ensure_2d=False, dtype=None))
    names, group_of_sample = np.unique(groups, return_inverse=True)
    if subsets > len(names):
        raise ValueError(f"Cannot have number of splits {said} greater than the number of groups: {len(names)}.")
    labels = _indicators(y)
    if (labels.sum(axis=0) < subsets).all():
        raise ValueError(f"{said} cannot be greater than the number of members in each class.")
    totals = np.zeros((len(names), labels.shape[1]), np.int64)
    np.add.at(totals, group_of_sample, labels)
    least = (totals > 0).sum(axis=0).min()
    if least < subsets:
        warnings.warn(
            f"The least populated class in y has only {least} groups, which is less than {said}.",
            UserWarning,
            stacklevel=3,
        )
    # Swaps that are equally good are made in the order of columns, which is to depend on what is in them alone.
    labels = labels[:, np.lexsort(totals)]
    return np.column_stack([labels, np.ones(len(labels), np.int64)]), groups


def _indicators(y: Any) -> np.ndarray:
    """Returns (samples, classes or columns) int64: whether a sample is of a class, or has a column's label."""
    target = type_of_target(y, input_name="y")
    if target not in _TARGETS:
        raise ValueError(f"Supported target types are: {_TARGETS}. Got {target!r} instead.")
    values = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    if target != "multilabel-indicator":
        classes, class_of_sample = np.unique(column_or_1d(values), return_inverse=True)
        return np.eye(len(classes), dtype=np.int64)[class_of_sample]
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"y of several columns has the values {np.unique(values)}: expected 0 and 1.")
    return values.astype(np.int64)

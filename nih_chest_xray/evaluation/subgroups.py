"""Subgroups: which images belong to a group: by a column, by age, by the kind of a positive, by readers' votes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nih_chest_xray.evaluation.inputs import MISSING


@dataclasses.dataclass(frozen=True)
class Group:
    """A group of images.

    Attributes:
      by: What the groups differ in, such as 'patient_sex'.
      name: The group's name, such as 'F'.
      rows: (images,) bool, whether each image belongs to it.
      finding: The only finding that the group is for; None if it is for all.
    """

    by: str
    name: str
    rows: np.ndarray
    finding: str | None = None


def groups_by(values: pd.Series) -> list[Group]:
    """Returns a group for each value of a column, in sorted order.

    Args:
      values: (images,), named by what the groups differ in. An image whose value is missing is in no group.

    Example:
      >>> import pandas as pd
      >>> from nih_chest_xray.evaluation.subgroups import groups_by
      >>> for group in groups_by(pd.Series(["M", "F", None, "M"], name="patient_sex")):
      ...     print(group.by, group.name, group.rows)
      patient_sex F [False  True False False]
      patient_sex M [ True False False  True]
    """
    known = sorted(values.dropna().unique())
    return [Group(str(values.name), str(value), (values == value).to_numpy(bool, na_value=False)) for value in known]


def age_bands(ages: pd.Series, starts: Sequence[int] = (0, 40, 60)) -> pd.Series:
    """Returns the band of each age, None for an unknown one.

    Args:
      ages: (images,), years; below the first start unknown, as -1 is in the package's records.
      starts: The first year of each band, in rising order. The last band has no end.

    Example:
      >>> import pandas as pd
      >>> from nih_chest_xray.evaluation.subgroups import age_bands
      >>> age_bands(pd.Series([39, 40, 95, -1])).tolist()
      ['00-39', '40-59', '60+', None]
    """
    ends = [f"-{end - 1:02d}" for end in starts[1:]] + ["+"]
    names = np.array([None, *(f"{start:02d}{end}" for start, end in zip(starts, ends, strict=True))], object)
    return pd.Series(names[np.searchsorted(starts, ages, side="right")], ages.index, object, ages.name)


def groups_of_positives(kinds: pd.Series, y_true: pd.Series) -> list[Group]:
    """Returns a group for each kind of positive image: the positives of that kind, and all negatives.

    So the kinds are compared on the same negatives, such as nodules of several sizes.

    Args:
      kinds: (images,), named by what the positives differ in. A positive image whose kind is missing is in no group;
        those of negatives do not matter.
      y_true: (images,), 0 or 1, or missing, named by its finding.

    Example:
      >>> import pandas as pd
      >>> from nih_chest_xray.evaluation.subgroups import groups_of_positives
      >>> sizes = pd.Series(["small", None, "large", None], name="nodule_size")
      >>> for group in groups_of_positives(sizes, pd.Series([1, 0, 1, 1], name="Nodule")):
      ...     print(group.finding, group.name, group.rows)
      Nodule large [False  True  True False]
      Nodule small [ True  True False False]
    """
    truth = y_true.to_numpy(float, na_value=np.nan)
    of_positives = groups_by(kinds[truth == 1].reindex(kinds.index))
    return [
        dataclasses.replace(group, rows=group.rows | (truth == 0), finding=str(y_true.name)) for group in of_positives
    ]


def by_votes(votes: pd.DataFrame, finding: str) -> tuple[pd.Series, list[Group]]:
    """Returns the truth by readers' votes, and a group for each number of readers who say yes.

    An image is positive if a reader says yes, and negative if all say no; where nobody says yes but somebody hedges,
    the truth is missing. Each group has the positives with as many votes, and all negatives. Only images with the most
    common number of readers count, since one vote of two is not one of three.

    Args:
      votes: A row for each image, with `yes` and `readers`, and `hedge` if readers may hedge (numbers of readers), as
        `readers.count_votes` gives them.
      finding: Name of the finding.

    Returns:
      The truth, (images,) int64, 1, 0 or `MISSING`, named by the finding and indexed as `votes`, and the groups.

    Example:
      >>> import pandas as pd
      >>> from nih_chest_xray.evaluation.subgroups import by_votes
      >>> votes = pd.DataFrame({"yes": [0, 3, 1, 0, 2], "hedge": [0, 0, 1, 1, 0], "readers": [3, 3, 3, 3, 2]})
      >>> truth, groups = by_votes(votes, "Nodule")
      >>> truth.tolist(), [group.name for group in groups]
      ([0, 1, 1, -1, -1], ['1 of 3', '3 of 3'])
    """
    readers = votes["readers"].mode().iloc[0]
    hedges = votes.get("hedge", 0)
    counted = votes["readers"] == readers
    truth = pd.Series(MISSING, votes.index, name=finding)
    truth[counted & (votes["yes"] > 0)] = 1
    truth[counted & (votes["yes"] == 0) & (hedges == 0)] = 0
    kinds = (votes["yes"].astype(str) + f" of {readers}").rename(index="votes")
    return truth, groups_of_positives(kinds, truth)

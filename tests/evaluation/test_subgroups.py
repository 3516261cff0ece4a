"""Tests of subgroups: which images are in a group, and what is in none."""

import numpy as np
import pandas as pd
import pytest

from nih_chest_xray.evaluation.subgroups import age_bands, by_votes, groups_by, groups_of_positives


def rows(groups):
    return {group.name: np.flatnonzero(group.rows).tolist() for group in groups}


def test_each_value_is_a_group_and_a_missing_one_is_in_none():
    assert rows(groups_by(pd.Series(["PA", None, "AP", "PA"], name="view_position"))) == {"AP": [2], "PA": [0, 3]}


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_any_missing_value_is_in_no_group(missing):
    assert rows(groups_by(pd.Series([1, missing], dtype=object, name="nodule_size"))) == {"1": [0]}


def test_age_bands_begin_where_they_say_and_an_unknown_age_has_none():
    ages = pd.Series([-1, 0, 17, 18, 64, 65, 99])
    names = [None, "00-17", "00-17", "18-64", "18-64", "65+", "65+"]
    assert age_bands(ages, starts=(0, 18, 65)).tolist() == names


def test_kinds_of_positives_are_compared_on_all_negatives_and_for_their_finding_alone():
    kinds = pd.Series(["small", "large", "small", None, None], name="nodule_size")
    groups = groups_of_positives(kinds, pd.Series([1, 1, 0, 0, 1], name="Nodule"))
    assert rows(groups) == {"large": [1, 2, 3], "small": [0, 2, 3]}
    assert {group.finding for group in groups} == {"Nodule"}


def test_an_image_of_unknown_truth_is_in_no_group_of_positives():
    groups = groups_of_positives(pd.Series(["small", "small"], name="size"), pd.Series([1, -1], name="Nodule"))
    assert rows(groups) == {"small": [0]}


def test_votes_split_the_positives_and_negatives_are_those_that_all_deny():
    votes = pd.DataFrame({"yes": [0, 1, 2, 3, 0, 2], "hedge": [0, 0, 0, 0, 1, 0], "readers": [3, 3, 3, 3, 3, 2]})
    truth, groups = by_votes(votes, "Nodule")
    assert truth.tolist() == [0, 1, 1, 1, -1, -1]
    assert rows(groups) == {"1 of 3": [0, 1], "2 of 3": [0, 2], "3 of 3": [0, 3]}

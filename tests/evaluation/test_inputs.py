"""Tests of the inputs: what is wrong is named by image and finding, and the order of a table makes no difference."""

import re

import numpy as np
import pandas as pd
import pytest

from nih_chest_xray.errors import TableError
from nih_chest_xray.evaluation.inputs import check_patients, check_tables

TRUTH = pd.DataFrame({"Mass": [0, 1, -1], "Nodule": [1, np.nan, 0]}, ["a.png", "b.png", "c.png"])
SCORES = pd.DataFrame({"Mass": [0.1, 0.2, 0.3], "Nodule": [0.4, 0.5, 0.6]}, TRUTH.index)


def changed(table, image, finding, value):
    table = table.astype(object)
    table.loc[image, finding] = value
    return table


def test_scores_come_in_the_order_of_the_truth_and_an_unknown_truth_is_nan():
    truth, scores = check_tables(TRUTH, {"one": SCORES.iloc[::-1, ::-1]})
    assert list(truth) == ["Mass", "Nodule"]
    assert truth["Mass"].tolist()[:2] == [0, 1]
    assert np.isnan([truth["Mass"][2], truth["Nodule"][1]]).all()
    assert scores["one"]["Mass"].tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        (TRUTH, changed(SCORES, "b.png", "Mass", np.nan), "The score of one of b.png for Mass is nan"),
        (TRUTH, changed(SCORES, "b.png", "Mass", np.inf), "The score of one of b.png for Mass is inf"),
        (TRUTH, changed(SCORES, "c.png", "Nodule", "high"), "The score of one of c.png for Nodule is 'high'"),
        (changed(TRUTH, "a.png", "Nodule", 2), SCORES, "The truth of a.png for Nodule is 2"),
        (changed(TRUTH, "a.png", "Nodule", "yes"), SCORES, "The truth of a.png for Nodule is 'yes'"),
        (TRUTH, SCORES.drop("b.png"), "differ in 1 images: b.png is only in the truth"),
        (TRUTH.drop("c.png"), SCORES, "differ in 1 images: c.png is only in the scores"),
        (TRUTH, SCORES[["Mass"]], "differ in 1 findings: Nodule is only in the truth"),
        (TRUTH, pd.concat([SCORES, SCORES]), "The scores of one has the image a.png twice"),
        (TRUTH[:0], SCORES[:0], "There is nothing to evaluate"),
    ],
)
def test_a_wrong_table_is_refused_and_the_message_says_where(truth, scores, message):
    with pytest.raises(TableError, match=re.escape(message)):
        check_tables(truth, {"one": scores})


def test_patients_are_numbered_in_their_own_order():
    patients = pd.Series([7, 30, 7], ["c.png", "a.png", "b.png"])
    assert check_patients(patients, TRUTH.index).tolist() == [1, 0, 0]


def test_an_image_without_a_patient_is_refused():
    with pytest.raises(TableError, match=r"The patient of b.png is nan"):
        check_patients(pd.Series([1, np.nan, 2], TRUTH.index), TRUTH.index)
    with pytest.raises(TableError, match="expected one for each image"):
        check_patients(pd.Series([1, 2], TRUTH.index[:2]), TRUTH.index)

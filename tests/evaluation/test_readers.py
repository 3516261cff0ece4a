"""Tests of readers: the majority of the others, ties, hedges, second readings, and n."""

import numpy as np
import pandas as pd
import pytest

from nih_chest_xray.errors import TableError
from nih_chest_xray.evaluation.readers import count_votes, evaluate_readers


def readings(answers):
    """A table of readings: for each image, what readers a, b, c … say; a blank is no reading."""
    rows = [
        {"image_name": image, "patient_id": image, "reader": reader, "answer": answer}
        for image, said in enumerate(answers)
        for reader, answer in zip("abcde", said.split(","), strict=False)
        if answer
    ]
    return pd.DataFrame(rows)


def of_reader(table, reader="a"):
    return table[table["network"] == reader].set_index("metric")


def test_a_reader_is_compared_with_the_majority_of_the_others():
    table = of_reader(
        evaluate_readers(readings(["YES,YES,YES", "NO,YES,YES", "YES,NO,NO", "NO,NO,NO", "NO,NO,NO"]), "Nodule")
    )
    assert table.loc["sensitivity", "estimate"] == 1 / 2
    assert table.loc["specificity", "estimate"] == 2 / 3
    assert table.loc["sensitivity", ["images", "patients", "positives"]].tolist() == [5, 5, 2]


@pytest.mark.parametrize("said", ["YES,YES,NO", "YES", "YES,HEDGE,HEDGE", "YES,YES,YES,NO,NO"])
def test_an_image_on_which_the_others_tie_is_left_out(said):
    table = of_reader(evaluate_readers(readings([said, "YES,YES,YES"]), "Nodule"))
    assert table["images"].tolist() == [1, 1]


def test_a_hedge_of_the_others_does_not_count():
    table = of_reader(evaluate_readers(readings(["NO,YES,HEDGE", "NO,NO,HEDGE"]), "Nodule"))
    assert table["estimate"].tolist() == [0, 1]


@pytest.mark.parametrize(("hedge", "sensitivity", "specificity"), [("YES", 1, 0), ("NO", 0, 1)])
def test_a_hedge_of_the_reader_counts_as_is_said(hedge, sensitivity, specificity):
    table = evaluate_readers(readings(["HEDGE,YES,YES", "HEDGE,NO,NO"]), "Nodule", hedge=hedge)
    assert of_reader(table)["estimate"].tolist() == [sensitivity, specificity]


def test_of_two_readings_of_a_reader_the_first_counts():
    once = readings(["NO,YES,YES", "YES,NO,NO"])
    again = once.iloc[:1].assign(answer="YES")
    twice = pd.concat([once, again], ignore_index=True)
    assert evaluate_readers(twice, "Nodule").equals(evaluate_readers(once, "Nodule"))
    assert count_votes(twice).equals(count_votes(once))


def test_without_a_positive_there_is_no_sensitivity_and_the_note_says_so():
    table = of_reader(evaluate_readers(readings(["NO,NO,NO"] * 20), "Nodule"))
    assert np.isnan(table.loc["sensitivity", "estimate"])
    assert table.loc["sensitivity", "note"] == "no positive images"
    assert table.loc["specificity", "high"] == 1


def test_intervals_are_of_patients():
    """Four copies of each image leave the interval as it is if they are one patient's."""
    rng = np.random.default_rng(0)
    table = readings([",".join(rng.choice(["YES", "NO"], 3)) for _ in range(300)])
    copies = pd.concat([table.assign(image_name=table["image_name"] + 1000 * copy) for copy in range(4)])
    once, four_times = (of_reader(evaluate_readers(one, "Nodule")) for one in (table, copies))
    assert four_times["low"].tolist() == pytest.approx(once["low"].tolist())
    assert four_times["images"].tolist() == [4 * images for images in once["images"]]
    assert four_times["patients"].tolist() == once["patients"].tolist()


def test_another_answer_is_refused_with_its_row():
    table = readings(["YES,NO,MAYBE"])
    with pytest.raises(TableError, match=r"The reading of 0 in row 2 is 'MAYBE'; expected one of YES, NO, HEDGE"):
        evaluate_readers(table, "Nodule")
    with pytest.raises(ValueError, match="hedge is 'HEDGE'"):
        evaluate_readers(table, "Nodule", hedge="HEDGE")

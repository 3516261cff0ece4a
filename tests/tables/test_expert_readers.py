"""Tests of the readers: what each said is counted, and their agreement is Fleiss' kappa."""

import numpy as np
import pandas as pd
import pytest

from nih_chest_xray.errors import TableError
from nih_chest_xray.tables.expert_labels import all_that_was_said, read_all_findings, read_expert_labels
from nih_chest_xray.tables.expert_readers import agreement_of_sets, fleiss_kappa, kappas, read_readings, votes
from nih_chest_xray.vocabulary import FINDINGS

FLEISS_1971 = """
0 0 0 6 0
0 3 0 0 3
0 1 4 0 1
0 0 0 0 6
0 3 0 3 0
2 0 4 0 0
0 0 4 0 2
2 0 3 1 0
2 0 0 4 0
0 0 0 0 6
1 0 0 5 0
1 1 0 4 0
0 3 3 0 0
1 0 0 5 0
0 2 0 3 1
0 0 5 0 1
3 0 0 1 2
5 1 0 0 0
0 2 0 4 0
1 0 2 0 3
0 0 0 0 6
0 1 0 5 0
0 2 0 1 3
2 0 0 4 0
1 0 0 4 1
0 5 0 1 0
4 0 0 0 2
0 2 0 4 0
1 0 5 0 0
0 0 0 0 6
"""
"""Table 1 of Fleiss (1971): how many of six psychiatrists gave each of 30 patients each of five diagnoses."""


def test_kappa_of_fleiss_own_table_is_his():
    table = np.array([line.split() for line in FLEISS_1971.split("\n") if line], int)
    assert (table.sum(axis=1) == 6).all()
    assert table.sum(axis=0).tolist() == [26, 26, 30, 55, 43]  # As he sums up its columns.
    assert fleiss_kappa(table) == pytest.approx(0.430, abs=0.0005)


def test_kappa_of_numbers_of_readings_that_differ_is_that_of_the_book():
    """For two categories it is 1 - sum(x (n - x) / n) / (images (mean n - 1) p q), with x of n readings positive."""
    x, n = np.array([2, 0, 1, 3, 4, 1]), np.array([3, 2, 3, 3, 5, 1])
    # 2/3 + 0 + 2/3 + 0 + 4/5 + 0 = 32/15; six images of 17/6 readings each; 11 of 17 positive.
    expected = 1 - (32 / 15) / (6 * (17 / 6 - 1) * (11 / 17) * (6 / 17))
    assert fleiss_kappa(np.stack([x, n - x], axis=1)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        ([[3, 0], [0, 3]], 1.0),
        ([[1, 1], [1, 1]], -1.0),
        ([[3, 0], [2, 0]], None),  # Nobody ever says the other.
        ([[1, 0], [0, 1]], None),  # No image has a pair of readings.
        (np.zeros((0, 2), int), None),
    ],
)
def test_kappa_at_its_limits(counts, kappa):
    assert fleiss_kappa(np.array(counts)) == (None if kappa is None else pytest.approx(kappa))


def test_kappa_is_told_by_subset_and_finding():
    rows = [("a", "test", "YES"), ("a", "test", "YES"), ("b", "test", "NO"), ("b", "test", "NO")]
    rows += [("c", "validation", answer) for answer in ("YES", "NO")]
    readings = pd.DataFrame(rows, columns=["image_name", "subset", "Fracture"])
    assert kappas(readings, ["Fracture"]) == {"test": {"Fracture": 1.0}, "validation": {"Fracture": -1.0}}


READINGS = """Patient ID,Image ID,Reader ID,Fracture,Pneumothorax,Airspace opacity,Nodule/mass,Set ID
1,00000001_000.png,7,NO,HEDGE,NO,YES,val
1,00000001_000.png,8,NO,NO,NO,HEDGE,val
2,00000002_000.png,7,YES,NO,NO,NO,test
2,00000002_000.png,7,YES,NO,YES,NO,test
"""


def test_votes_count_every_reading():
    """A reader who read an image twice counts twice, as in the published file."""
    readings = read_readings(READINGS.encode(), "readers", "four")
    assert list(readings["subset"]) == ["validation", "validation", "test", "test"]
    counted = votes(readings, "Nodule or mass")
    assert counted.loc["00000001_000.png"].to_dict() == {"YES": 1, "NO": 0, "HEDGE": 1}
    assert counted.loc["00000002_000.png"].to_dict() == {"YES": 0, "NO": 2, "HEDGE": 0}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HEDGE,val", "MAYBE,val", "readers.csv, row 3: Nodule or mass is 'MAYBE'.*expected YES, NO or HEDGE"),
        ("NO,test", "NO,train", "readers.csv, row 4: set_id is 'train'.*expected val or validation or test"),
        ("00000001_000", "1", "readers.csv, row 2: image_name is '1.png'"),
        ("Nodule/mass", "Lesion", "readers.csv has 0 columns for Nodule or mass"),
    ],
)
def test_a_mistake_is_an_error_with_file_and_row(old, new, message):
    with pytest.raises(TableError, match=message):
        read_readings(READINGS.replace(old, new, 1).encode(), "readers.csv", "four")


def test_the_sets_are_compared_on_nodule_or_mass():
    names = [f"{patient:08d}_000.png" for patient in range(1, 6)]
    header = "Image Index,Fracture,Pneumothorax,Airspace opacity,Nodule or mass"
    answers = dict(zip(names, ("YES", "YES", "NO", "NO", "NO"), strict=True))
    four = "\n".join([header, *(f"{name},NO,NO,NO,{answer}" for name, answer in answers.items())])
    found = [("Nodule",), ("Hernia",), ("Mass", "Nodule"), ()]  # Of the last image only four findings are known.
    rows = [
        f"{name},1,NO,{','.join('YES' if finding in yes else 'NO' for finding in FINDINGS)},NO"
        for name, yes in zip(names, found, strict=False)
    ]
    every = "\n".join([f"Image ID,Patient ID,Abnormal,{','.join(FINDINGS)},Other", *rows])
    expert = all_that_was_said(
        read_expert_labels({"test": (four.encode(), "four")}), read_all_findings(every.encode(), "all")
    )
    assert agreement_of_sets(expert) == {
        "No nodule or mass": {"No nodule or mass": 1, "Nodule or mass": 1},
        "Nodule or mass": {"No nodule or mass": 1, "Nodule or mass": 1},
    }

"""Tests of label files: every spelling gives the same table, and every mistake an error that names file and row."""

import csv
import gzip
import io
import random
import warnings

import numpy as np
import pandas as pd
import pytest

from nih_chest_xray.errors import TableError
from nih_chest_xray.tables.labels import read_labels
from nih_chest_xray.vocabulary import FINDINGS, label_string

FILE = "some/folder/labels.csv"
OFFICIAL = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
GENDER = OFFICIAL.replace("Patient Sex", "Patient Gender")
KAGGLE_SAMPLE = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y"
)

ROWS = (
    "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143",
    "00000001_001.png,No Finding,1,1,58,M,PA,2894,2729,0.143,0.143",
    "00000013_005.png,Mass|Atelectasis,5,13,0,F,AP,2500,2048,0.168,0.171",
    "00030805_000.png,Nodule,0,30805,0,F,AP,2048,2500,0.171,0.168",
)


def expected_table() -> pd.DataFrame:
    """What ROWS say, typed by hand in the documented types."""
    table = pd.DataFrame(
        {
            "image_name": ["00000001_000.png", "00000001_001.png", "00000013_005.png", "00030805_000.png"],
            "patient_id": np.array([1, 1, 13, 30805], np.int32),
            "follow_up": np.array([0, 1, 5, 0], np.int32),
            "patient_age": np.array([57, 58, 0, 0], np.int32),
            "patient_sex": ["M", "M", "F", "F"],
            "view_position": ["PA", "PA", "AP", "AP"],
            "original_width": np.array([2682, 2894, 2500, 2048], np.int32),
            "original_height": np.array([2749, 2729, 2048, 2500], np.int32),
            "pixel_spacing_x": np.array([0.143, 0.143, 0.168, 0.171], np.float32),
            "pixel_spacing_y": np.array([0.143, 0.143, 0.171, 0.168], np.float32),
            "findings": [("Cardiomegaly",), (), ("Atelectasis", "Mass"), ("Nodule",)],
        }
    )
    texts = ["image_name", "patient_sex", "view_position", "findings"]
    return table.astype(dict.fromkeys(texts, object))


def text(header: str, rows, row_end: str = "", newline: str = "\n") -> bytes:
    return newline.join([header, *(row + row_end for row in rows), ""]).encode()


def aged(*ages: str) -> list[str]:
    """ROWS with other ages."""
    return [
        ",".join([*cells[:4], age, *cells[5:]])
        for cells, age in zip((row.split(",") for row in ROWS), ages, strict=True)
    ]


def with_cell(row: int, column: int, value: str) -> bytes:
    """A file in which one cell is another; rows are counted from 2, behind the header, columns from 0."""
    rows = [row.split(",") for row in ROWS]
    rows[row - 2][column] = value
    return text(OFFICIAL, [",".join(cells) for cells in rows])


def with_row(number: int, row: str, header: str = OFFICIAL) -> bytes:
    """A file in which one row is another; rows are counted from 2, behind the header."""
    return text(header, [*ROWS[: number - 2], row, *ROWS[number - 1 :]])


def read_silently(content: bytes) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_labels(content, FILE)


PAIRS = OFFICIAL.replace("OriginalImage[Width,Height]", '"OriginalImage[Width,Height]"').replace(
    "OriginalImagePixelSpacing[x,y]", '"OriginalImagePixelSpacing[x,y]"'
)
R = (
    "Image.Index,Finding.Labels,Follow.up..,Patient.ID,Patient.Age,Patient.Gender,View.Position,"
    "OriginalImage.Width,Height.,OriginalImagePixelSpacing.x,y."
)


def indexed(cell: str, header: str) -> bytes:
    """ROWS behind a column that counts them."""
    return text(f"{cell},{header}", [f"{number},{row}" for number, row in enumerate(ROWS)])


SPELLINGS = {
    "official v2020": text(OFFICIAL, ROWS),
    "Patient Gender": text(GENDER, ROWS),
    "2017, comma behind each row": text(GENDER, ROWS, ","),
    "2017, comma behind header and rows": text(GENDER + ",", ROWS, ","),
    # Kaggle's sample pads ages to three digits and gives infants' in months or days.
    "Kaggle's sample": text(KAGGLE_SAMPLE, aged("057Y", "058Y", "011M", "003D")),
    "columns in another order": text(
        ",".join(reversed(OFFICIAL.split(","))), [",".join(reversed(row.split(","))) for row in ROWS]
    ),
    "every cell in quotes": text(
        '"' + OFFICIAL.replace(",", '","') + '"', ['"' + row.replace(",", '","') + '"' for row in ROWS]
    ),
    "byte order mark": b"\xef\xbb\xbf" + text(OFFICIAL, ROWS),
    "CRLF": text(OFFICIAL, ROWS, newline="\r\n"),
    "CRLF, comma and byte order mark": b"\xef\xbb\xbf" + text(GENDER, ROWS, ",", "\r\n"),
    "pair in one cell of the header": text(PAIRS, ROWS),
    "pair in one cell, comma behind each row": text(PAIRS, ROWS, ","),
    "_ for a blank": text(GENDER.replace(" ", "_"), ROWS),
    "R's header": text(R, ROWS),
    "index of pandas": indexed("", OFFICIAL),
    "index of pandas, read and written again": indexed("Unnamed: 0", OFFICIAL),
    "index of pandas and pair in one cell": indexed("", PAIRS),
    "comma behind each row, read and written by pandas": text(GENDER + ",Unnamed: 11", ROWS, ","),
    # What they say is left out, whatever it is.
    "one-hot columns behind": text(OFFICIAL + ",No Finding,Nodule,Pleural Thickening", ROWS, ",1,0,1"),
    "spacings as binary fractions": text(
        OFFICIAL, [row.replace("0.143", "0.14300000000000002").replace("0.171", "0.17100000000000001") for row in ROWS]
    ),
    "whole numbers with a point": text(OFFICIAL, [row.replace("2500", "2500.0") for row in ROWS]),
    "gzip": gzip.compress(text(OFFICIAL, ROWS)),
    "no newline at the end": text(OFFICIAL, ROWS).rstrip(),
    "blank lines at the end": text(OFFICIAL, ROWS) + b"\n\n",
}


@pytest.mark.parametrize("content", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_every_spelling_gives_the_same_table(content):
    pd.testing.assert_frame_equal(read_silently(content), expected_table())


@pytest.mark.parametrize("seed", range(3))
def test_rows_in_any_order_give_the_same_table(seed):
    rows = random.Random(seed).sample(ROWS, len(ROWS))
    pd.testing.assert_frame_equal(read_silently(text(OFFICIAL, rows)), expected_table())


@pytest.mark.parametrize(
    ("cell", "findings"),
    [
        ("No Finding", ()),
        ("Nodule", ("Nodule",)),
        ("Nodule|Mass|Atelectasis", ("Atelectasis", "Mass", "Nodule")),
        ("Pneumothorax|Pneumonia|Pleural_Thickening", ("Pleural_Thickening", "Pneumonia", "Pneumothorax")),
        ("Nodule | Effusion", ("Effusion", "Nodule")),
        ("|".join(reversed(FINDINGS)), FINDINGS),
        ("No_Finding", ()),
        ("no finding", ()),
        ("Pleural Thickening|Mass", ("Mass", "Pleural_Thickening")),
        ("Pleural_thickening", ("Pleural_Thickening",)),
        ("nodule|EFFUSION", ("Effusion", "Nodule")),
    ],
)
def test_findings_become_an_alphabetical_tuple(cell, findings):
    assert read_silently(with_cell(4, 1, cell))["findings"][2] == findings


def test_findings_are_spelt_alphabetically_and_their_absence_in_words():
    assert label_string(("Nodule", "Effusion", "Mass")) == "Effusion|Mass|Nodule"
    assert label_string(()) == "No Finding"


@pytest.mark.parametrize(
    ("cell", "years"),
    # A year has 12 months, 52 weeks, 365 days; an age is in whole years, rounded down.
    [
        ("0", 0),
        ("058Y", 58),
        ("58Y", 58),
        ("120", 120),
        ("011M", 0),
        ("012M", 1),
        ("025M", 2),
        ("051W", 0),
        ("104W", 2),
        ("003D", 0),
        ("364D", 0),
        ("730D", 2),
    ],
)
def test_ages_are_whole_years(cell, years):
    assert read_silently(with_cell(2, 4, cell))["patient_age"][0] == years


def test_rounded_spacings_are_taken_as_they_are():
    table = read_silently(text(OFFICIAL, [row.replace("0.143", "0.14") for row in ROWS]))
    assert table["pixel_spacing_x"].tolist() == pytest.approx([0.14, 0.14, 0.168, 0.171])


def test_impossible_ages_are_unknown_and_one_warning_counts_them():
    content = text(GENDER, aged("57", "413", "", "121"))
    with pytest.warns(UserWarning, match="no possible age in 3 rows") as warned:
        table = read_labels(content, FILE)
    assert table["patient_age"].tolist() == [57, -1, -1, -1]
    [warning] = warned
    for part in (FILE, "'413' in row 3", "patient_age is -1"):
        assert part in str(warning.message)


# More are in bad_inputs.py.
ERRORS = {
    "finding of the box list": (with_cell(3, 1, "Infiltrate"), ["row 3", "'Infiltrate'"]),
    "finding beside a typing error": (with_cell(3, 1, "Nodule,Mass"), ["row 3", "12 cells; expected 11"]),
    "pair in one cell of the rows too": (
        text(PAIRS, [row.replace("2682,2749", '"2682,2749"') for row in ROWS]),
        ["row 2: 10 cells; expected 11"],
    ),
    "bad patient": (with_cell(2, 3, "one"), ["row 2", "patient_id is 'one'", "a whole number of at least 0"]),
    "bad follow-up": (with_cell(3, 2, "1.5"), ["row 3", "follow_up is '1.5'", "a whole number of at least 0"]),
    "bad width": (with_cell(4, 7, "0"), ["row 4", "original_width is '0'", "a whole number of at least 1"]),
    "bad height": (with_cell(4, 8, "3e12"), ["row 4", "original_height is '3e12'"]),
    "bad spacing x": (with_cell(4, 9, "nan"), ["row 4", "pixel_spacing_x is 'nan'", "a number of mm"]),
    "bad spacing y": (with_cell(4, 10, "0"), ["row 4", "pixel_spacing_y is '0'"]),
    "wrong image name": (with_cell(3, 0, "1_1.png"), ["row 3", "image_name is '1_1.png'", "00000013_005.png"]),
    "image of another format": (with_cell(3, 0, "00000001_001.jpg"), ["row 3", "'00000001_001.jpg'"]),
    "row cut after the name": (with_row(5, "00030805_000.png"), ["row 5: 1 cells; expected 11"]),
    "extra cell in the first row": (with_row(2, ROWS[0] + ",hello"), ["row 2: 12 cells; expected 11"]),
    "extra cell among rows without": (with_row(4, ROWS[2] + ",hello"), ["row 4: 12 cells; expected 11"]),
    "extra cell among rows with a comma": (
        text(OFFICIAL, [ROWS[0] + ",", ROWS[1] + ",hello", ROWS[2] + ","]),
        ["row 3: 12 cells; expected 11"],
    ),
    "extra cell under a header with a comma": (
        text(OFFICIAL + ",", [ROWS[0] + ",", ROWS[1] + ",hello"]),
        ["row 3: 12 cells; expected 11"],
    ),
    "only white space": (b"\r\n \n", ["is empty"]),
    "only a byte order mark": (b"\xef\xbb\xbf", ["is empty"]),
    "header and newline": (text(OFFICIAL, ()), ["a header but no rows"]),
    "another table": (b"a,b\n1,2\n", ["has 0 columns for image_name", "'a,b'"]),
    "no header": (text(ROWS[0], ROWS[1:]), ["has 0 columns for", ROWS[0]]),
}


@pytest.mark.parametrize(("content", "parts"), ERRORS.values(), ids=ERRORS.keys())
def test_mistake_is_named_with_file_row_and_expectation(content, parts):
    with pytest.raises(TableError) as caught:
        read_silently(content)
    message = str(caught.value)
    assert message.startswith(FILE)
    for part in parts:
        assert part in message


def test_rows_are_counted_as_a_text_editor_counts_lines():
    content = text(OFFICIAL, [ROWS[0], "", ROWS[1].replace("PA", "LL")])
    with pytest.raises(TableError, match="row 4: view_position is 'LL'"):
        read_labels(content, FILE)


def test_first_bad_row_is_named_and_the_others_are_counted():
    rows = [ROWS[0], *(row.replace(",F,", ",?,") for row in ROWS[2:]), ROWS[1].replace(",M,", ",,")]
    with pytest.raises(TableError, match=r"row 3: patient_sex is '\?'.* 2 more such rows"):
        read_labels(text(OFFICIAL, rows), FILE)


# The counts below are the NIH's own, as its paper and its page list them.
REAL_COUNTS = {
    "Infiltration": 19_894,
    "Effusion": 13_317,
    "Atelectasis": 11_559,
    "Nodule": 6_331,
    "Mass": 5_782,
    "Pneumothorax": 5_302,
    "Consolidation": 4_667,
    "Pleural_Thickening": 3_385,
    "Cardiomegaly": 2_776,
    "Emphysema": 2_516,
    "Edema": 2_303,
    "Fibrosis": 1_686,
    "Pneumonia": 1_431,
    "Hernia": 227,
}


@pytest.mark.real
def test_real_table_has_the_published_counts(real_labels):
    assert len(real_labels) == 112_120
    assert real_labels["patient_id"].nunique() == 30_805
    assert real_labels["view_position"].value_counts().to_dict() == {"PA": 67_310, "AP": 44_810}
    assert (real_labels["findings"].str.len() == 0).sum() == 60_361
    assert real_labels["findings"].explode().dropna().value_counts().to_dict() == REAL_COUNTS
    assert (real_labels["findings"] == ("Nodule",)).sum() == 2_705
    assert real_labels["patient_age"].min() == 0
    assert real_labels["patient_age"].max() == 95


@pytest.mark.real
def test_real_rows_keep_their_findings_also_where_they_stood_in_another_order(real_dir, real_labels):
    content = (real_dir / "Data_Entry_2017_v2020.csv").read_text(encoding="utf-8")
    cells = {row[0]: row[1] for row in list(csv.reader(io.StringIO(content)))[1:]}
    read = dict(zip(real_labels["image_name"], real_labels["findings"], strict=True))
    assert all({*findings} == {*cells[name].split("|")} - {"No Finding"} for name, findings in read.items())
    unordered = {name for name, cell in cells.items() if cell.split("|") != sorted(cell.split("|"))}
    assert "Mass|Atelectasis" in {cells[name] for name in unordered}
    assert {name for name, findings in read.items() if label_string(findings) != cells[name]} == unordered

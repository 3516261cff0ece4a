"""Tests of scores: what is read, in which forms, and that what is wrong gets one error that names it."""

import numpy as np
import pandas as pd
import pytest

from nih_chest_xray.errors import ScoreError
from nih_chest_xray.evaluation.scores import check_scores, read_scores, table_of
from nih_chest_xray.vocabulary import FINDINGS

NAMES = [f"0000000{number}_000.png" for number in range(1, 8)]
IMAGES = pd.Index(NAMES[:5], name="image_name")
OTHERS = dict.fromkeys(NAMES, "test") | {"00000009_000.png": "validation"}


def check(table, classes=("Nodule",), single="Nodule"):
    return check_scores(table, IMAGES, classes, single, "test", OTHERS)


def scored(**columns):
    return pd.DataFrame({"image_name": NAMES, "score": np.linspace(0, 1, 7)} | columns)


def refused(table, **options):
    with pytest.raises(ScoreError) as raised:
        check(table, **options)
    return str(raised.value)


@pytest.mark.parametrize("name", ["s.csv", "s.CSV", "s.csv.gz", "s.parquet"])
def test_files_are_read_by_their_ending(name, tmp_path):
    table = scored()
    if name.endswith("parquet"):
        table.to_parquet(tmp_path / name)
    else:
        table.to_csv(tmp_path / name, index=False, compression="gzip" if name.endswith("gz") else None)
    pd.testing.assert_frame_equal(read_scores(tmp_path / name), table)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("s.csv", b"", "is not a table in .csv"),
        ("s.csv", bytes(range(256)), "is not a table in .csv"),
        ("s.csv.gz", b"image_name,score\n", "is not a table in .gz"),
        ("s.parquet", b"image_name,score\n", "is not a table in .parquet"),
        ("s.xlsx", b"", "expected a name that ends with .csv, .csv.gz, .parquet"),
        ("s.csv", None, "does not exist"),
    ],
)
def test_a_file_that_is_no_table_is_named(name, content, expected, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ScoreError, match=expected) as raised:
        read_scores(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_images_come_in_the_subsets_order_and_more_of_them_are_fine():
    found = check(scored().iloc[::-1])
    assert list(found.index) == NAMES[:5]
    assert found["Nodule"].tolist() == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table[2:], (NAMES[0], NAMES[1], "2 images", "of the 5 images of test", "images of test")),
        (lambda table: table.replace(NAMES[6], NAMES[0]), (NAMES[0], "more than one score")),
        (lambda table: table.replace(NAMES[6], "00000001_000_aug1.png"), ("00000001_000_aug1.png", "augmented copies")),
        (lambda table: table.rename(columns={"image_name": "id"}), ("id, score", "expected image_name")),
        (lambda table: table.assign(label=1), ("score, label", "expected score and no other column")),
        (lambda table: table.rename(columns={"score": "Tumour"}), ("'Tumour' is no class", "columns of Nodule")),
        (lambda table: table[["image_name"]], ("expected each class once",)),
        (lambda table: table[:0], ("no scores", "5 images of test")),
        (lambda table: table.assign(image_name="00000009_000.png")[:1], ("The scores are of images of validation",)),
        (lambda table: table.assign(image_name="other")[:1], ("The scores are of others, such as other",)),
    ],
)
def test_what_does_not_fit_the_images_is_named(change, words):
    error = refused(change(scored()))
    assert all(word in error for word in words), error


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), ("high", "'high'"), (None, "None")]
)
def test_a_score_that_is_no_finite_number_is_named_with_its_image(value, said):
    table = scored().astype({"score": object})
    table.loc[3, "score"] = value
    assert f"{NAMES[3]}: Nodule is {said}; expected a finite number" in refused(table)
    table.loc[3, "score"], table.loc[6, "score"] = 0.5, value
    check(table)  # Not an image of the subset.


def test_one_score_does_not_do_for_several_classes():
    assert "expected a column for each class, of Atelectasis" in refused(scored(), classes=FINDINGS, single=None)


def test_columns_of_classes_are_found_by_their_readable_names_and_by_number():
    table = pd.DataFrame({"image_name": NAMES, "pleural thickening": 0.1, "Mass": 0.2})
    found = check(table, FINDINGS, None)
    assert found.iloc[0].to_dict() == {"Mass": 0.2, "Pleural_Thickening": 0.1}
    twice = table.assign(**{"Pleural_Thickening": 0.3})
    assert "expected each class once" in refused(twice, classes=FINDINGS, single=None)
    numbered = table_of(np.arange(28.0).reshape(2, 14), lambda: NAMES[:2])
    found = check_scores(numbered, IMAGES[:2], FINDINGS, None, "test", OTHERS)
    assert found.loc[NAMES[1], "Hernia"] == 14 + FINDINGS.index("Hernia")


def test_python_gives_scores_as_a_frame_a_dict_or_an_array():
    expected = check(scored())
    series = scored().set_index("image_name")
    for given in (scored(), series, dict(zip(NAMES, series["score"], strict=True))):
        pd.testing.assert_frame_equal(check(table_of(given, list)), expected)
    by_bytes = {name.encode(): [score] for name, score in series["score"].items()}
    pd.testing.assert_frame_equal(check(table_of(by_bytes, list)), expected)
    for shape in ((7,), (7, 1)):
        array = series["score"].to_numpy().reshape(shape)
        pd.testing.assert_frame_equal(check(table_of(array, lambda: NAMES)), expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.1, 0.2], "2 scores for 7 images"),
        (0.5, "1 scores for 7 images"),
        (["a"] * 7, "no array of numbers"),
        ({NAMES[0]: [1, 2], NAMES[1]: [1]}, "no array of numbers"),
    ],
)
def test_arrays_of_another_length_or_kind_are_refused(given, expected):
    with pytest.raises(ScoreError, match=expected):
        table_of(given, lambda: NAMES)


def test_an_empty_dict_has_no_scores():
    assert "no scores" in refused(table_of({}, list))

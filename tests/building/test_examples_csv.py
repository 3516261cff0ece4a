"""Tests of examples.csv: it says of each example what its record holds, without TensorFlow."""

import csv
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import build

from nih_chest_xray.verification.command import verify
from nih_chest_xray.vocabulary import FINDINGS, label_string


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return tfds.builder_from_directory(build(None, folder, phantom_patients=20, image_size=16, augmented_copies=1))


def rows(builder) -> dict[str, dict[str, str]]:
    text = (builder.data_path / "examples.csv").read_text()
    return {row["image_name"]: row for row in csv.DictReader(text.splitlines())}


def test_a_row_holds_every_feature_of_its_record(built):
    listed, seen, boxed = rows(built), 0, 0
    for subset in built.info.splits:
        for example in tfds.as_numpy(built.as_dataset(split=subset)):
            row = listed[example["image_name"].decode()]
            seen += 1
            assert row["subset"] == subset
            assert row["label"] == built.info.features["label"].int2str(int(example["label"]))
            assert row["findings"] == label_string([FINDINGS[code] for code in np.flatnonzero(example["findings"])])
            for name in ("augmentation", "patient_sex", "view_position"):
                assert row[name] == built.info.features[name].int2str(int(example[name]))
            for name in ("patient_id", "follow_up", "patient_age"):
                assert int(row[name]) == example[name]
            for name, ends in (
                ("original_size", ("width", "height")),
                ("pixel_spacing", ("x", "y")),
                ("mm_per_pixel", ("x", "y")),
            ):
                stored = [np.float32(row[f"{name}_{end}"]) for end in ends]
                np.testing.assert_array_equal(stored, example[name].astype(np.float32))
            filled = example["bboxes"]["finding"] >= 0
            found = json.loads(row["bboxes"])
            codes = example["bboxes"]["finding"][filled]
            assert [finding for _, finding in found] == [FINDINGS[code] for code in codes]
            for (box, _), stored in zip(found, example["bboxes"]["bbox"][filled], strict=True):
                np.testing.assert_array_equal(np.float32(box), stored)
            boxed += len(found)
    assert seen == len(listed)
    assert boxed > 0


def test_its_first_columns_are_those_of_metadata_csv_in_the_same_order(built):
    first, all_of_them = (
        (built.data_path / name).read_text().splitlines() for name in ("metadata.csv", "examples.csv")
    )
    assert [row[:3] for row in csv.reader(all_of_them)] == list(csv.reader(first))


def test_mm_per_pixel_is_the_detectors_width_in_mm_over_the_stored_pixels(built):
    for row in rows(built).values():
        for axis, length in (("x", "width"), ("y", "height")):
            millimetres = float(row[f"pixel_spacing_{axis}"]) * int(row[f"original_size_{length}"])
            assert float(row[f"mm_per_pixel_{axis}"]) == pytest.approx(millimetres / 16, rel=1e-6)


def test_verify_names_a_changed_and_a_missing_row(built, tmp_path):
    path = built.data_path / "examples.csv"
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    changed = lines[1].replace(",F,", ",X,").replace(",M,", ",F,")
    path.write_text("".join([lines[0], changed, *lines[3:]]))
    try:
        [check] = [check for check in verify(built.data_path) if check.status == "FAILED"]
    finally:
        path.write_text(whole)
    names = [line.partition(",")[0] for line in lines[1:3]]
    assert check.name == "examples.csv"
    assert [offender.partition(":")[0] for offender in check.offenders] == names
    assert "missing" in check.offenders[1]

"""Tests of exports to folders: Keras reads subsets and classes, and the tables name every file."""

import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest
from expected import assert_digests, assert_same_image, builder_of, examples_of, table_of
from tensorflow.keras.preprocessing.image import ImageDataGenerator

from nih_chest_xray.catalog.datasets import open_dataset
from nih_chest_xray.formats.folder import caveats, write
from nih_chest_xray.formats.stored import Reader
from nih_chest_xray.vocabulary import FINDINGS


@pytest.mark.parametrize("name", ["drawn", "listed", "expert", "folded", "many"])
def test_each_example_is_a_file_of_the_stored_bytes_that_the_table_names_with_its_label(name, exported):
    dataset, out = exported(name, "folder")
    info = builder_of(dataset).info
    rows = {row["image_name"]: row for row in table_of(out / "metadata.csv")}
    listed = {row["image_name"]: row for row in table_of(dataset / "metadata.csv")}
    assert list(rows) == list(listed)
    extension = ".jpg" if name == "folded" else ".png"
    for subset in info.splits:
        for example in examples_of(dataset, subset):
            row = rows[example["image_name"].decode()]
            assert {key: row[key] for key in ("image_name", "label", "subset")} == listed[row["image_name"]]
            parts = [subset] if name == "many" else [subset, row["label"]]
            file = row["image_name"].removesuffix(".png") + extension
            assert row["file_name"] == "/".join([*parts, file])
            assert_same_image((out / row["file_name"]).read_bytes(), example["image"], is_raw=name == "listed")
            if name == "many":
                assert [int(row[finding]) for finding in FINDINGS] == example["label"].tolist()
    images = [path for path in out.rglob("*") if path.suffix == extension]
    assert len(images) == len(rows) == info.splits.total_num_examples
    assert (out / "examples.csv").read_bytes() == (dataset / "examples.csv").read_bytes()
    assert_digests(out)


def test_image_dataset_from_directory_has_the_labels_and_pixels_of_the_dataset(exported):
    dataset, out = exported("drawn", "folder")
    builder = builder_of(dataset)
    batches = keras.utils.image_dataset_from_directory(
        out / "train", label_mode="binary", color_mode="grayscale", image_size=(64, 64), shuffle=False, verbose=False
    )
    assert batches.class_names == builder.info.features["label"].names
    found = sorted((int(label[0]), image.tobytes()) for image, label in batches.unbatch().as_numpy_iterator())
    expected = builder.as_dataset(split="train", as_supervised=True).as_numpy_iterator()
    assert found == sorted((int(label), image.astype(np.float32).tobytes()) for image, label in expected)


def test_flow_from_directory_reads_jpegs_and_every_fold_has_a_folder_for_each_class(exported):
    dataset, out = exported("folded", "folder")
    builder = builder_of(dataset)
    names = builder.info.features["label"].names
    for subset, split in builder.info.splits.items():
        batches = ImageDataGenerator().flow_from_directory(
            out / subset, classes=names, class_mode="binary", color_mode="grayscale", target_size=(64, 64)
        )
        assert batches.samples == split.num_examples
        labels = [int(example["label"]) for example in examples_of(dataset, subset)]
        assert sorted(batches.classes) == sorted(labels)


def test_classes_that_sort_otherwise_than_they_count_are_told(exported):
    for name, told in (("folded", True), ("drawn", False), ("expert", False), ("many", False)):
        built = open_dataset(exported(name, "folder")[0])
        assert ("give Keras class_names=['No Finding', 'Effusion or Nodule']" in " ".join(caveats(built))) == told


def test_a_subset_without_a_class_has_its_folder_so_that_the_other_keeps_its_number(sound, tmp_path):
    built = open_dataset(sound)
    counts = built.metadata["counts"] | {"test": {"No Finding": 0, "Nodule": 5}}
    part = dataclasses.replace(built, metadata={**built.metadata, "counts": counts})
    [told] = caveats(part)
    assert told.startswith("No image is in test/No Finding: give torchvision's ImageFolder allow_empty=True.")

    class Nodules:
        def examples(self, subset):
            return (example for example in Reader(built, lambda: None).examples(subset) if example.label == "Nodule")

    write(part, Nodules(), tmp_path)
    batches = keras.utils.image_dataset_from_directory(tmp_path / "test", label_mode="int", verbose=False)
    assert {int(label) for _, labels in batches for label in labels} == {1}


def test_flow_from_dataframe_reads_several_findings(exported):
    dataset, out = exported("many", "folder")
    table = pd.read_csv(out / "metadata.csv")
    test = table[table["subset"] == "test"]
    batches = ImageDataGenerator().flow_from_dataframe(
        test, str(out), "file_name", list(FINDINGS), class_mode="raw", color_mode="grayscale", target_size=(64, 64),
        shuffle=False, batch_size=1000,
    )  # fmt: skip
    images, labels = next(batches)
    stored = {example["image_name"].decode(): example for example in examples_of(dataset, "test")}
    assert images.shape == (len(stored), 64, 64, 1)
    np.testing.assert_array_equal(labels, [stored[name]["label"] for name in test["image_name"]])

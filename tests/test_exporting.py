"""Tests of the guide to exporting: each of its blocks runs as it stands there, on a small dataset."""

import functools
import shlex

import pytest
from blocks import blocks

from nih_chest_xray.__main__ import main


@pytest.fixture(scope="module")
def place(catalog_data, tmp_path_factory):
    """Where the guide's commands have exported a dataset of two classes, and the last of them one of findings."""
    out = tmp_path_factory.mktemp("out")
    [commands] = blocks("exporting", "bash")
    install, *exports = commands.splitlines()
    assert install == "pip install -e '.[export]'"
    for name, lines in (("drawn", exports), ("many", exports[-1:])):
        for line in lines:
            program, *arguments = shlex.split(line)
            assert program == "nih-chest-xray"
            dataset = str(catalog_data / "nih_chest_xray" / name)
            arguments = [text.replace("DATASET", dataset).replace("OUT/", f"{out / name}/") for text in arguments]
            assert main(arguments) == 0
    return out


def run(code: str, place, name: str = "drawn") -> dict:
    left: dict = {}
    exec(code.replace("OUT/", f"{place / name}/"), left)
    return left


@pytest.fixture
def code():
    found = blocks("exporting", "python")
    words = ("load_dataset", "webdataset", "image_dataset_from_directory", "flow_from_dataframe")
    assert len(found) == len(words)
    return {word: text for word, text in zip(words, found, strict=True) if word in text}


def test_hugging_faces_lines_give_an_image_and_the_name_of_its_class(code, place, monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", functools.partial(datasets.load_dataset, cache_dir=tmp_path))
    left = run(code["load_dataset"], place)
    assert list(left["dataset"]) == ["train", "validation", "test"]
    assert left["image"].size == (64, 64)
    assert left["label"] in ("No Finding", "Nodule")


def test_webdatasets_lines_give_every_example_once(code, place):
    left = run(code["webdataset"] + "    seen = globals().setdefault('seen', []); seen.append(example)\n", place)
    names = [example["image_name"] for example in left["seen"]]
    rows = (place / "drawn/folder/metadata.csv").read_text().splitlines()
    assert sorted(names) == sorted(row.split(",")[1] for row in rows if row.endswith(",train"))
    assert (left["label"], left["name"]) in ((0, "No Finding"), (1, "Nodule"))


def test_keras_lines_read_folders_of_classes(code, place):
    left = run(code["image_dataset_from_directory"], place)
    assert left["train"].class_names == left["validation"].class_names == ["No Finding", "Nodule"]
    images, labels = next(iter(left["train"]))
    assert images.shape[1:] == (512, 512, 1)
    assert set(labels.numpy().ravel()) <= {0, 1}


def test_keras_lines_read_several_findings_by_the_table(code, place):
    left = run(code["flow_from_dataframe"], place, "many")
    images, labels = next(left["batches"])
    assert labels.shape == (len(images), 14)
    assert left["batches"].samples == sum(left["table"]["subset"] == "train")

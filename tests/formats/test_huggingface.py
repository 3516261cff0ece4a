"""Tests of exports for Hugging Face: `datasets.load_dataset` has every feature, its type, and the stored bytes."""

import io
import os
import subprocess
import sys

import datasets
import numpy as np
import PIL.Image
import pyarrow.parquet
import pytest
import tensorflow_datasets as tfds
import yaml
from expected import assert_digests, assert_same_features, assert_same_image, builder_of, examples_of

from nih_chest_xray.catalog.datasets import open_dataset
from nih_chest_xray.formats import huggingface
from nih_chest_xray.formats.stored import Reader

NAMES = ["drawn", "many", "listed", "expert", "folded"]


@pytest.fixture
def load(tmp_path):
    return lambda out: datasets.load_dataset(str(out), cache_dir=str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_load_dataset_has_every_subset_and_in_it_every_feature_of_every_example(name, exported, load):
    dataset, out = exported(name, "huggingface")
    info = builder_of(dataset).info
    loaded = load(out)
    assert list(loaded) == list(open_dataset(dataset).subsets)
    for subset, table in loaded.items():
        examples = examples_of(dataset, subset)
        rows = table.cast_column("image", datasets.Image(decode=False))
        assert [row["image_name"] for row in rows] == [example["image_name"].decode() for example in examples]
        for row, example in zip(rows, examples, strict=True):
            assert row["image"]["path"] == row["image_name"]
            assert_same_image(row["image"]["bytes"], example["image"], is_raw=name == "listed")
            assert_same_features(info.features, row, example)
    assert_digests(out)


@pytest.mark.parametrize("name", ["many", "expert"])
def test_the_types_are_those_of_the_dataset(name, exported, load):
    dataset, out = exported(name, "huggingface")
    features = builder_of(dataset).info.features
    found = load(out)["train"].features
    assert set(found) == set(features)
    for key, feature in features.items():
        if isinstance(feature, tfds.features.ClassLabel):
            assert found[key].names == feature.names
        elif isinstance(feature, tfds.features.Tensor) and feature.shape:
            assert (found[key].feature.dtype, found[key].length) == (np.dtype(feature.np_dtype).name, feature.shape[0])
        elif isinstance(feature, tfds.features.Scalar):
            assert found[key].dtype == np.dtype(feature.np_dtype).name
    assert isinstance(found["image"], datasets.Image)
    assert found["image_name"] == datasets.Value("string")
    assert found["bboxes"]["finding"].feature.names == features["bboxes"]["finding"].names
    assert found["bboxes"]["bbox"].feature == datasets.List(datasets.Value("float32"), length=4)


@pytest.mark.parametrize(("name", "kind"), [("drawn", "PNG"), ("folded", "JPEG")])
def test_images_decode_to_grey_radiographs(name, kind, exported, load):
    dataset, out = exported(name, "huggingface")
    subset, table = next(iter(load(out).items()))
    image = table[0]["image"]
    assert (image.format, image.mode, image.size) == (kind, "L", (64, 64))
    [first, *_] = examples_of(dataset, subset)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(PIL.Image.open(io.BytesIO(first["image"]))))


def test_boxes_and_copies_are_among_what_was_compared(exported, load):
    _, out = exported("drawn", "huggingface")
    train = load(out)["train"]
    assert any(max(boxes["finding"]) >= 0 for boxes in train["bboxes"])
    assert any("_aug2" in name for name in train["image_name"])


@pytest.mark.parametrize("name", ["drawn", "folded"])
def test_the_card_says_to_the_hub_what_the_files_hold(name, exported):
    dataset, out = exported(name, "huggingface")
    built = open_dataset(dataset)
    _, front, _ = (out / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(front)
    splits = {split["name"]: split["num_examples"] for split in card["dataset_info"]["splits"]}
    assert splits == {subset: built.metadata["examples"][subset] for subset in built.subsets}
    assert [files["split"] for files in card["configs"][0]["data_files"]] == built.subsets
    sizes = [path.stat().st_size for path in (out / "data").iterdir()]
    assert card["dataset_info"]["download_size"] == sum(sizes)
    assert card["size_categories"] == ["n<1K"]
    assert card["license"] == ("apache-2.0" if built.synthetic else "other")
    assert ("license_link" in card) != built.synthetic
    assert "image-classification" in card["task_categories"]


def test_large_subsets_are_cut_into_files_of_like_numbers_of_examples(sound, tmp_path, monkeypatch, load):
    built = open_dataset(sound)
    monkeypatch.setattr(huggingface, "SHARD", built.builder.info.splits["train"].num_bytes // 3)
    monkeypatch.setattr(huggingface, "ROWS", 7)
    front = huggingface.write(built, Reader(built, lambda: None), tmp_path)
    (tmp_path / "README.md").write_text(front)
    names = sorted(path.name for path in (tmp_path / "data").glob("train-*"))
    assert names == [f"train-{number:05d}-of-00004.parquet" for number in range(4)]
    rows = [pyarrow.parquet.read_metadata(tmp_path / "data" / name) for name in names]
    assert max(part.num_rows for part in rows) - min(part.num_rows for part in rows) <= 1
    assert all(part.row_group(number).num_rows <= 7 for part in rows for number in range(part.num_row_groups))
    found = load(tmp_path)["train"]["image_name"]
    assert list(found) == [example["image_name"].decode() for example in examples_of(sound, "train")]


@pytest.mark.slow
def test_the_libraries_are_imported_without_network_or_cache_and_the_environment_is_put_back(tmp_path):
    code = (
        "import os, nih_chest_xray.formats.huggingface, datasets.config\n"
        "assert {name: value for name, value in os.environ.items() if name[:3] == 'HF_'} == {'HF_HUB_OFFLINE': '0'}\n"
        "assert datasets.config.HF_HUB_OFFLINE\n"
        "import huggingface_hub.constants as hub; assert hub.HF_HUB_OFFLINE and hub.HF_HUB_DISABLE_TELEMETRY\n"
        "assert not os.path.exists(datasets.config.HF_CACHE_HOME)\n"
    )
    alone = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = alone | {"HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*huggingface*"))

"""Tests of exports for WebDataset: `webdataset` has every feature, names beside numbers, and the stored bytes."""

import io
import json
import tarfile

import numpy as np
import pytest
import webdataset
from expected import assert_digests, assert_same_features, assert_same_image, builder_of, examples_of

from nih_chest_xray.catalog.datasets import open_dataset
from nih_chest_xray.formats import webdataset as writer
from nih_chest_xray.formats.stored import Reader
from nih_chest_xray.vocabulary import FINDINGS


def samples(out, subset):
    shards = sorted(map(str, out.glob(f"{subset}-[0-9]*.tar")))
    return list(webdataset.WebDataset(shards, shardshuffle=False))


@pytest.mark.parametrize("name", ["drawn", "many", "listed", "expert", "folded"])
def test_webdataset_has_every_subset_and_in_it_every_feature_of_every_example_in_order(name, exported):
    dataset, out = exported(name, "webdataset")
    info = builder_of(dataset).info
    extension = "jpg" if name == "folded" else "png"
    for subset in info.splits:
        examples = examples_of(dataset, subset)
        for sample, example in zip(samples(out, subset), examples, strict=True):
            stem = example["image_name"].decode().removesuffix(".png")
            assert sample["__key__"] == stem
            assert {key for key in sample if not key.startswith("__")} == {extension, "json"}
            assert_same_image(sample[extension], example["image"], is_raw=name == "listed")
            assert_same_features(info.features, json.loads(sample["json"]), example)
    assert {path.name.rpartition("-")[0] for path in out.glob("*.tar")} == set(info.splits)
    assert_digests(out)


def test_classes_and_findings_have_their_names_beside_their_numbers(exported):
    dataset, out = exported("expert", "webdataset")
    features = builder_of(dataset).info.features
    boxed = 0
    for sample in samples(out, "train"):
        example = json.loads(sample["json"])
        for name in ("label", "augmentation", "patient_sex", "view_position", "text_mined_label"):
            assert example[f"{name}_name"] == features[name].names[example[name]]
        assert example["findings_names"] == [FINDINGS[code] for code in np.flatnonzero(example["findings"])]
        codes = example["bboxes"]["finding"]
        assert example["bboxes"]["finding_name"] == [FINDINGS[code] if code >= 0 else None for code in codes]
        boxed += codes[0] >= 0
        assert {name for name in example if name.endswith("_names")} == {"findings_names"}
    assert boxed


def test_a_label_of_several_findings_has_their_names(exported):
    _, out = exported("many", "webdataset")
    for sample in samples(out, "train"):
        example = json.loads(sample["json"])
        assert example["label_names"] == example["findings_names"]
        assert "label_name" not in example


def test_webdatasets_own_decoding_gives_pixels_and_fields(exported):
    _, out = exported("drawn", "webdataset")
    shard = str(next(out.glob("train-*.tar")))
    pairs = webdataset.WebDataset(shard, shardshuffle=False).decode("pil").to_tuple("png", "json")
    image, example = next(iter(pairs))
    assert image.size == (64, 64)
    assert example["label_name"] in ("No Finding", "Nodule")


def test_the_same_dataset_gives_the_same_bytes_owned_by_nobody(sound, tmp_path):
    built = open_dataset(sound)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        writer.write(built, Reader(built, lambda: None), tmp_path / name)
    [shard] = (tmp_path / "a").glob("train-*.tar")
    assert shard.read_bytes() == (tmp_path / "b" / shard.name).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(shard.read_bytes())) as tar:
        owners = {(member.mtime, member.uname, member.gname, member.uid, member.gid) for member in tar}
    assert owners == {(0, "", "", 0, 0)}


def test_large_subsets_are_cut_into_shards_of_like_numbers_of_examples(sound, tmp_path, monkeypatch):
    built = open_dataset(sound)
    monkeypatch.setattr(writer, "SHARD", built.builder.info.splits["train"].num_bytes // 3)
    writer.write(built, Reader(built, lambda: None), tmp_path)
    shards = sorted(tmp_path.glob("train-*.tar"))
    assert [path.name for path in shards] == [f"train-{number:06d}.tar" for number in range(4)]
    lengths = [len(list(webdataset.WebDataset(str(path), shardshuffle=False))) for path in shards]
    assert max(lengths) - min(lengths) <= 1
    assert sum(lengths) == built.metadata["examples"]["train"]
    assert 'WebDataset("OUT/train-{000000..000003}.tar"' in writer.reading(built, "OUT")

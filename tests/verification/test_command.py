"""Tests of `nih-chest-xray verify`: a sound dataset passes, and each kind of damage fails its check, by name."""

import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.scripts.cli.convert_format_utils import convert_dataset

import nih_chest_xray
from nih_chest_xray.__main__ import main
from nih_chest_xray.config import NAMED_CONFIGS
from nih_chest_xray.errors import UsageError
from nih_chest_xray.images import codec
from nih_chest_xray.phantom.release import Phantom
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.verification import checks
from nih_chest_xray.verification.command import verify
from nih_chest_xray.verification.records import Records, digest_image, read_shard
from nih_chest_xray.verification.report import as_text

FRAME = 16
"""Bytes of a TFRecord file for each record: its length and that one's checksum (12) before it, its own (4) behind."""


def build(config, manual_dir, data_dir, file_format=None):
    builder = nih_chest_xray.Builder(config=config, data_dir=data_dir, file_format=file_format)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return epath.Path(builder.data_dir)


@pytest.fixture(scope="module")
def built(phantom_dir, tmp_path_factory):
    """A build with two copies of each training nodule, at 64 pixels."""
    config = nih_chest_xray.NihChestXrayConfig(
        name="built", validation_fraction=0.2, test_fraction=0.2, augmented_copies=2, image_size=64, healthy_stride=4
    )
    return build(config, phantom_dir, tmp_path_factory.mktemp("data"))


@pytest.fixture
def folder(built, tmp_path):
    """A copy of the build, to be damaged."""
    return epath.Path(shutil.copytree(built, tmp_path / "nih_chest_xray" / "built" / "1.0.0"))


def shard(folder, subset):
    return folder / f"nih_chest_xray-{subset}.tfrecord-00000-of-00001"


def read(path):
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def value(record, name):
    """The list of a feature's values, which can be changed."""
    feature = record.features.feature[name]
    return getattr(feature, feature.WhichOneof("kind")).value


def name_of(record):
    return value(tf.train.Example.FromString(record), "image_name")[0].decode()


def change(folder, subset, number, function):
    """Writes a shard anew, with its checksums, after a function has changed one of its examples. Returns the name."""
    records = read(shard(folder, subset))
    example = tf.train.Example.FromString(records[number])
    function(example)
    records[number] = example.SerializeToString(deterministic=True)
    write(shard(folder, subset), records)
    return name_of(records[number])


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 0x01
    path.write_bytes(bytes(content))


def edit_metadata(folder, function):
    """Lets a function change the lines of metadata.csv, of which the first is the header."""
    path = folder / "metadata.csv"
    lines = path.read_text().splitlines()
    function(lines)
    path.write_text("\n".join(lines) + "\n")


def outcome(folder, *arguments):
    """Returns the checks by name, those that failed, and all that they name."""
    done = {check.name: check for check in verify(folder, *arguments)}
    failed = {name for name, check in done.items() if check.status == "FAILED"}
    assert all(bool(check.offenders) == (check.name in failed) for check in done.values())
    return done, failed


def test_a_sound_dataset_passes_every_check(built, phantom_dir):
    done, failed = outcome(built, phantom_dir)
    assert failed == set()
    assert [check.name for check in done.values() if check.status == "skipped"] == ["splits"]
    assert done["splits"].seen == "a custom config"
    number = len((built / "metadata.csv").read_text().splitlines()) - 1
    assert done["records"].seen == f"{number} found, 0 broken"
    assert done["pixels"].seen == f"{number} of {number} images, {number} with the bytes of a fresh encode"


def test_without_a_release_the_dataset_is_checked_by_itself(built):
    done, failed = outcome(built)
    assert failed == set()
    assert [name for name, check in done.items() if check.status == "skipped"] == [
        "splits",
        "tables",
        "labels",
        "pixels",
    ]
    assert "--release" in done["pixels"].seen


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "findings", "split": "official", "healthy_stride": 1, "image_format": "jpeg", "image_size": 64},
        {"task": "nodule_expert", "split": "expert", "image_size": 16, "augmented_copies": 1},
        {"image_size": None},
    ],
    ids=["findings", "nodule_expert", "the NIH's bytes"],
)
def test_every_task_and_encoding_passes(fields, phantom_dir, tmp_path, make_config):
    done, failed = outcome(build(make_config(**fields), phantom_dir, tmp_path), phantom_dir, 20)
    assert failed == set()
    assert done["pixels"].seen.startswith("20 of ")
    assert done["pixels"].seen.endswith(" 20 with the bytes of a fresh encode")


def test_a_phantoms_dataset_needs_no_release(tmp_path, make_config):
    config = make_config(phantom_patients=12, image_size=16, augmented_copies=1)
    done, failed = outcome(build(config, None, tmp_path), None, 5)
    assert failed == set()
    assert [done[name].status for name in ("tables", "labels", "pixels")] == ["ok"] * 3


# Damage to the records. What else fails beside the check that finds it follows from the record's absence.


def test_a_flipped_byte_is_named_by_shard_and_record_and_the_others_are_read(folder):
    records = read(shard(folder, "validation"))
    flip(shard(folder, "validation"), sum(len(record) + FRAME for record in records[:2]) + 12 + 100)
    done, failed = outcome(folder)
    assert failed == {"records", "counts", "names"}
    [broken] = done["records"].offenders
    assert broken.startswith("nih_chest_xray-validation.tfrecord-00000-of-00001, record 2: its bytes do not match")
    [absent] = done["names"].offenders
    assert absent.startswith(f"{name_of(records[2])}: is in row ")
    assert absent.endswith("but in no sound record")


def test_two_flipped_bytes_in_a_shard_are_both_named(folder):
    sizes = [len(record) + FRAME for record in read(shard(folder, "test"))]
    for number in (1, 4):
        flip(shard(folder, "test"), sum(sizes[:number]) + 12 + 50)
    done, _ = outcome(folder)
    assert [text.split(":")[0][-8:] for text in done["records"].offenders] == ["record 1", "record 4"]


def test_a_flipped_length_loses_the_rest_of_its_shard(folder):
    records = read(shard(folder, "test"))
    flip(shard(folder, "test"), sum(len(record) + FRAME for record in records[:3]))
    done, _ = outcome(folder)
    [broken] = done["records"].offenders
    assert "test.tfrecord-00000-of-00001, record 3: its length does not match its checksum" in broken
    assert {text.split(":")[0] for text in done["names"].offenders} == {name_of(record) for record in records[3:]}


@pytest.mark.parametrize("cut", [3, 7, 40], ids=["in a checksum", "in a record", "in a record's image"])
def test_a_truncated_shard_is_named_with_the_record_that_is_cut(folder, cut):
    path = shard(folder, "test")
    last = len(read(path)) - 1
    path.write_bytes(path.read_bytes()[:-cut])
    done, failed = outcome(folder)
    assert failed == {"files", "records", "counts", "names"}
    assert done["records"].offenders == (f"{path.name}, record {last}: the shard ends in the midst of it",)


def test_a_shard_cut_within_a_records_header_is_named(folder):
    records = read(shard(folder, "test"))
    content = shard(folder, "test").read_bytes()
    shard(folder, "test").write_bytes(content[: len(records[0]) + FRAME + 5])
    done, _ = outcome(folder)
    [broken] = done["records"].offenders
    assert broken.endswith("record 1: the shard ends in the midst of it")


def test_a_broken_image_in_a_sound_record_is_named(folder):
    def damage(example):
        content = bytearray(value(example, "image")[0])
        content[len(content) // 2] ^= 0x01
        value(example, "image")[0] = bytes(content)

    name = change(folder, "train", 5, damage)
    done, failed = outcome(folder)
    # The record's fields are sound, so that its name and label still count.
    assert failed == {"records"}
    [broken] = done["records"].offenders
    assert f"train.tfrecord-00000-of-00001, record 5 ({name}): the PNG of " in broken


def test_an_image_of_another_size_is_named(folder):
    def shrink(example):
        value(example, "image")[0] = codec.encode(np.zeros((32, 64), np.uint8), "png")

    change(folder, "test", 0, shrink)
    done, _ = outcome(folder)
    [broken] = done["records"].offenders
    assert broken.endswith("the image has 64 x 32 pixels; features.json declares 64 x 64")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("label", [2], "Class label 2 greater than configured num_classes 2"),
        ("label", [-1], "class -1"),  # TFDS itself lets it pass.
        ("original_size", [1, 2, 3], "original_size"),
        ("label", None, "no label"),
    ],
)
def test_a_record_that_does_not_fit_the_schema_is_named(folder, name, values, message):
    def damage(example):
        if values is None:
            del example.features.feature[name]
        else:
            value(example, name)[:] = values

    change(folder, "test", 1, damage)
    done, failed = outcome(folder)
    assert "records" in failed
    [broken] = done["records"].offenders
    assert "test.tfrecord-00000-of-00001, record 1: does not fit the schema" in broken
    assert message in broken


def test_a_removed_record_is_named(folder):
    records = read(shard(folder, "validation"))
    write(shard(folder, "validation"), records[:3] + records[4:])
    done, failed = outcome(folder)
    assert failed == {"files", "counts", "names"}
    [absent] = done["names"].offenders
    assert absent.startswith(f"{name_of(records[3])}: is in row ")
    counts = " ".join(done["counts"].offenders)
    assert (
        f"{shard(folder, 'validation').name}: {len(records) - 1} records; by dataset_info.json {len(records)}" in counts
    )
    assert "metadata.json: examples.validation is" in counts


def test_a_record_that_is_there_twice_is_named(folder):
    records = read(shard(folder, "test"))
    write(shard(folder, "test"), [*records[:-1], records[0]])
    done, _ = outcome(folder)
    name = shard(folder, "test").name
    twice = f"{name_of(records[0])}: is in 2 records ({name}, record 0, {name}, record {len(records) - 1})"
    assert twice in done["names"].offenders


def test_a_record_in_another_split_puts_its_patient_in_two(folder):
    """The first training image of a patient who has more than one, not a nodule, so that no copy misses its source."""
    train = read(shard(folder, "train"))
    examples = [tf.train.Example.FromString(record) for record in train]
    patients = [value(example, "patient_id")[0] for example in examples]
    number = next(
        number
        for number, example in enumerate(examples)
        if patients.count(patients[number]) > 1 and value(example, "label")[0] == 0
    )
    write(shard(folder, "train"), train[:number] + train[number + 1 :])
    write(shard(folder, "test"), [*read(shard(folder, "test")), train[number]])
    done, failed = outcome(folder)
    assert failed == {"files", "counts", "names", "patients"}
    [shared] = done["patients"].offenders
    assert shared.startswith(f"patient {patients[number]}: is in train (")
    assert f"and test ({name_of(train[number])} in {shard(folder, 'test').name}" in shared
    assert any("subset is 'test'" in text for text in done["names"].offenders)


def test_a_label_changed_in_a_record_is_named_with_both_labels(folder):
    def relabel(example):
        value(example, "label")[0] = 1 - value(example, "label")[0]

    name = change(folder, "validation", 0, relabel)
    done, failed = outcome(folder)
    assert failed == {"counts", "names"}
    [wrong] = done["names"].offenders
    assert wrong.startswith(f"{name}: label is '")
    assert "'Nodule'" in wrong
    assert "'No Finding'" in wrong


def test_a_patients_number_that_is_not_the_names_is_named(folder):
    def renumber(example):
        value(example, "patient_id")[0] = 77

    name = change(folder, "validation", 0, renumber)
    done, failed = outcome(folder)
    assert "patients" in failed
    assert f"{name} in {shard(folder, 'validation').name}, record 0: has patient_id 77" in done["patients"].offenders


def first_copy(folder):
    records = read(shard(folder, "train"))
    return next(number for number, record in enumerate(records) if "_aug1" in name_of(record))


def test_a_copy_in_the_test_split_is_named(folder):
    train, number = read(shard(folder, "train")), first_copy(folder)
    write(shard(folder, "train"), train[:number] + train[number + 1 :])
    write(shard(folder, "test"), [*read(shard(folder, "test")), train[number]])
    done, failed = outcome(folder)
    assert failed == {"files", "counts", "names", "patients", "augmentation"}
    [wrong] = done["augmentation"].offenders
    assert wrong.startswith(f"{name_of(train[number])} in {shard(folder, 'test').name}, record ")
    assert wrong.endswith("an augmented copy in test")


def test_a_missing_copy_and_a_copy_too_many_are_named(folder):
    def rename(example):
        value(example, "image_name")[0] = value(example, "image_name")[0].replace(b"_aug1", b"_aug3")

    name = change(folder, "train", first_copy(folder), rename)
    done, _ = outcome(folder)
    missing, too_many = done["augmentation"].offenders
    assert missing.startswith(f"{name.replace('_aug3', '_aug1')}: a copy of {name[:12]}.png")
    assert too_many.startswith(name)
    assert too_many.endswith("the config asks for 2 copies of an image")


def test_a_copy_of_an_image_without_a_nodule_is_named(folder):
    number = first_copy(folder)
    source = f"{name_of(read(shard(folder, 'train'))[number])[:12]}.png"
    names = [name_of(record) for record in read(shard(folder, "train"))]
    change(folder, "train", names.index(source), lambda example: value(example, "findings").__delitem__(slice(None)))
    done, failed = outcome(folder)
    assert failed == {"files", "augmentation"}  # A finding less: the shard is shorter, the label is as it was.
    assert [text.split(": ")[1] for text in done["augmentation"].offenders] == [
        f"a copy of {source}, which has no nodule"
    ] * 2


# Damage to the files beside the records.


def test_a_changed_label_in_metadata_csv_is_named(folder):
    lines = []

    def relabel(rows):
        other = {"Nodule": "No Finding", "No Finding": "Nodule"}
        name, label, subset = rows[4].split(",")
        lines.append((name, label, other[label]))
        rows[4] = f"{name},{other[label]},{subset}"

    edit_metadata(folder, relabel)
    done, failed = outcome(folder)
    assert failed == {"names"}
    [(name, label, other)] = lines
    [wrong] = done["names"].offenders
    assert wrong.startswith(f"{name}: label is {label!r} in ")
    assert wrong.endswith(f"{other!r} in row 5 of metadata.csv")  # The header is row 1.


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows.pop(3), r", but not in metadata.csv"),
        (
            lambda rows: rows.append("00099999_000.png,Nodule,test"),
            "00099999_000.png: is in row .*, but in no sound record",
        ),
        (lambda rows: rows.append(rows[1]), "is in rows 2 and .* of metadata.csv"),
        (
            lambda rows: rows.__setitem__(1, rows[1].rsplit(",", 1)[0] + ",holdout"),
            "subset is '[a-z]+' in .*, 'holdout' in row 2 of metadata.csv",
        ),
    ],
    ids=["removed", "added", "twice", "another subset"],
)
def test_a_changed_row_of_metadata_csv_is_named(folder, edit, message):
    edit_metadata(folder, edit)
    done, failed = outcome(folder)
    assert failed == {"counts", "names"}
    [wrong] = done["names"].offenders
    assert re.search(message, wrong)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,label,subset\n", "the header is 'name,label,subset'; expected image_name,label,subset"),
        (b"image_name,label,subset\n00000001_000.png,Nodule\n", "row 2 has 2 cells; expected 3"),
        (b"\xff\xfe", "metadata.csv: is no CSV in UTF-8"),
        (b"", "the header is ''"),
        (None, "metadata.csv: is not there"),
    ],
)
def test_a_metadata_csv_that_cannot_be_read_is_a_failure_not_an_exception(folder, content, message):
    (folder / "metadata.csv").unlink() if content is None else (folder / "metadata.csv").write_bytes(content)
    done, failed = outcome(folder)
    assert failed == {"files"}
    [wrong] = done["files"].offenders
    assert message in wrong
    assert done["names"].status == "skipped"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "metadata.json: is not there"),
        ("{", "metadata.json: is no JSON"),
        ("[]", "metadata.json: is a list; expected an object"),
        ({"augmentations": ["darker"]}, "augmentation 'darker' is not registered"),
        ({"invented": 1}, "metadata.json: config has a key 'invented', which the package does not write"),
    ],
)
def test_a_metadata_json_that_cannot_be_read_fails_and_what_needs_it_is_skipped(folder, phantom_dir, content, message):
    path = folder / "metadata.json"
    if isinstance(content, dict):  # Fields of the config.
        metadata = json.loads(path.read_text())
        content = json.dumps(metadata | {"config": metadata["config"] | content})
    path.unlink() if content is None else path.write_text(content)
    done, failed = outcome(folder, phantom_dir)
    assert failed == {"files"}
    assert message in done["files"].offenders[0]
    assert {name for name, check in done.items() if check.status == "skipped"} == {
        "augmentation", "splits", "tables", "labels", "pixels"
    }  # fmt: skip


def test_a_removed_shard_is_named(folder):
    shard(folder, "test").unlink()
    done, failed = outcome(folder)
    assert failed == {"files", "counts", "names"}
    assert done["files"].offenders == (f"{shard(folder, 'test').name}: is named by dataset_info.json, but not there",)


def test_an_extra_shard_is_named(folder):
    extra = folder / "nih_chest_xray-test.tfrecord-00001-of-00002"
    shutil.copy(shard(folder, "test"), extra)
    done, failed = outcome(folder)
    assert failed == {"files"}
    assert done["files"].offenders == (f"{extra.name}: is there, but not named by dataset_info.json",)


def test_a_size_that_is_not_recorded_is_named(folder):
    """An image of other length in a sound record, which no other check without a release can see."""
    noise = np.random.RandomState(0).randint(0, 256, (64, 64)).astype(np.uint8)
    change(folder, "test", 0, lambda example: value(example, "image").__setitem__(0, codec.encode(noise, "png")))
    done, failed = outcome(folder)
    assert failed == {"files"}
    [wrong] = done["files"].offenders
    assert wrong.startswith(
        f"the shards of test have {shard(folder, 'test').stat().length:,} bytes; by dataset_info.json"
    )


def test_labels_in_another_order_than_the_configs_are_named(folder):
    (folder / "label.labels.txt").write_text("Nodule\nNo Finding\n")
    done, _ = outcome(folder)
    assert "label is ClassLabel () int64 ['Nodule', 'No Finding'], by the config" in done["files"].offenders[0]


@pytest.mark.parametrize("name", ["label", "bboxes-finding"])
def test_a_missing_file_of_class_names_is_named(folder, name):
    (folder / f"{name}.labels.txt").unlink()
    done, _ = outcome(folder)
    assert done["files"].offenders[0] == f"{name}.labels.txt: is not there"


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_dataset_that_tfds_cannot_open_fails(folder, name):
    (folder / name).write_text("{")
    done, failed = outcome(folder)
    assert failed == {"files"}
    assert {check.status for name, check in done.items() if name != "files"} == {"skipped"}


def test_features_without_an_image_fail(folder):
    path = folder / "features.json"
    features = json.loads(path.read_text())
    del features["featuresDict"]["features"]["image"]
    path.write_text(json.dumps(features))
    done, failed = outcome(folder)
    assert failed == {"files", "records"}
    assert done["files"].offenders[0].startswith("features.json and the labels.txt files: image is None, by the config")
    assert "KeyError: 'image'" in done["records"].offenders[0]


# Against the release.


def test_another_release_is_told_by_its_tables(built, phantom, tmp_path):
    for name, content in Phantom(40, seed=1).tables().items():
        (tmp_path / name).write_bytes(content)
    done, failed = outcome(built, tmp_path)
    assert failed == {"tables"}
    assert [text.split(": ")[0].rsplit("/", 1)[1] for text in done["tables"].offenders] == [
        "Data_Entry_2017_v2020.csv",
        "BBox_List_2017.csv",
    ]
    assert done["labels"].status == done["pixels"].status == "skipped"


def test_the_label_file_is_known_by_its_bytes_whatever_it_is_called(built, phantom_dir, tmp_path):
    release = shutil.copytree(phantom_dir, tmp_path / "release")
    (release / "Data_Entry_2017_v2020.csv").rename(release / "Data_Entry_2017.csv")
    done, failed = outcome(built, release)
    assert failed == set()
    assert {done[name].status for name in ("tables", "labels", "pixels")} == {"ok"}


def test_a_table_that_the_release_lacks_is_named(built, phantom, tmp_path):
    (tmp_path / "BBox_List_2017.csv").write_bytes(phantom.tables()["BBox_List_2017.csv"])
    done, failed = outcome(built, tmp_path)
    assert failed == {"tables"}
    assert done["tables"].offenders[0].startswith("Data_Entry_2017_v2020.csv: is not in ")


@pytest.mark.parametrize(
    ("name", "new", "told"),
    [
        ("patient_age", 3, "patient_age is 3 in"),
        ("bboxes/bbox", 0.015, "bboxes is"),
        ("follow_up", 99, "follow_up is 99"),
    ],
)
def test_a_field_that_is_not_the_releases_is_named(folder, phantom, name, new, told):
    """One that nothing but the release can tell. Of the images, the one that the first box is on."""
    records = read(shard(folder, "test"))
    number = next(n for n, record in enumerate(records) if value(tf.train.Example.FromString(record), "bboxes/finding"))
    changed = change(folder, "test", number, lambda example: value(example, name).__setitem__(0, new))
    release = folder.parent / "tables"
    release.mkdir()
    for table, content in phantom.tables().items():
        (release / table).write_bytes(content)
    done, failed = outcome(folder, release)
    assert failed == {"labels"}
    [wrong] = done["labels"].offenders
    assert wrong.startswith(f"{changed}: {told}")
    assert done["pixels"].status == "skipped"
    assert "has none of the " in done["pixels"].seen


def test_changed_pixels_in_a_sound_record_are_named(folder, phantom_dir):
    def brighten(example):
        pixels = codec.decode_stored(value(example, "image")[0], "png")
        pixels[10, 10] ^= 1
        value(example, "image")[0] = codec.encode(pixels, "png")

    name = change(folder, "train", first_copy(folder), brighten)
    done, failed = outcome(folder, phantom_dir)
    assert failed - {"files"} == {"pixels"}  # The PNG may be longer or shorter.
    [wrong] = done["pixels"].offenders
    assert wrong.startswith(f"{name} in {shard(folder, 'train').name}, record {first_copy(folder)}: its pixels are not")


def test_the_same_pixels_in_other_bytes_pass_and_are_said(folder, phantom_dir):
    def encode_otherwise(example):
        pixels = codec.decode_stored(value(example, "image")[0], "png")
        value(example, "image")[0] = cv2.imencode(".png", pixels, (cv2.IMWRITE_PNG_COMPRESSION, 9))[1].tobytes()

    change(folder, "test", 0, encode_otherwise)
    done, failed = outcome(folder, phantom_dir)
    assert failed == {"files"}  # Of another size.
    assert "1 with other bytes for the same picture" in done["pixels"].seen


def test_images_that_the_release_lacks_are_counted(built, phantom, phantom_dir, tmp_path):
    for name, content in phantom.tables().items():
        (tmp_path / name).write_bytes(content)
    rows = [line.split(",") for line in (built / "metadata.csv").read_text().splitlines()[1:]]
    kept = [name for name, _, subset in rows if subset == "test"]
    (tmp_path / "images").mkdir()
    for name in kept:
        shutil.copy(phantom_dir / "images" / name, tmp_path / "images")
    done, failed = outcome(built, tmp_path)
    assert failed == set()
    assert done["pixels"].seen.startswith(f"{len(kept)} of {len(rows)} images")
    assert f"; of {len(rows) - len(kept)} more {tmp_path} lacks the source" in done["pixels"].seen


def test_an_image_of_the_release_that_is_broken_is_named(built, phantom, phantom_dir, tmp_path):
    for name, content in phantom.tables().items():
        (tmp_path / name).write_bytes(content)
    name = (built / "metadata.csv").read_text().splitlines()[1].split(",")[0]
    (tmp_path / name).write_bytes((phantom_dir / "images" / name).read_bytes()[:5000])
    done, failed = outcome(built, tmp_path)
    assert failed == {"pixels"}
    assert f"{name} in {tmp_path}: the PNG of 5000 bytes is cut or corrupt" in done["pixels"].offenders[0]


def test_a_build_from_a_part_knows_what_was_missing(phantom, phantom_dir, tmp_path, make_config):
    part = tmp_path / "part"
    part.mkdir()
    for name, content in phantom.tables().items():
        (part / name).write_bytes(content)
    for name in sorted(phantom.names)[::2]:
        shutil.copy(phantom_dir / "images" / name, part)
    folder = build(make_config(image_size=16, allow_missing_images=True, augmented_copies=1), part, tmp_path / "data")
    assert outcome(folder, phantom_dir, 1)[1] == set()
    metadata = json.loads((folder / "metadata.json").read_text())
    missing = metadata["missing_images"]
    (folder / "metadata.json").write_text(json.dumps(metadata | {"missing_images": missing - 1}))
    done, failed = outcome(folder, phantom_dir, 1)
    assert failed == {"labels"}
    assert done["labels"].offenders[0].startswith(f"{missing} images of the config's cohort are in no sound record; ")


def build_capped(cap, phantom_dir, tmp_path, make_config):
    config = make_config(image_size=16, augmented_copies=3)
    builder = nih_chest_xray.Builder(config=config, data_dir=tmp_path)
    capped = tfds.download.DownloadConfig(manual_dir=phantom_dir, max_examples_per_split=cap)
    builder.download_and_prepare(download_config=capped)
    return epath.Path(builder.data_dir)


def edit_metadata_json(folder, **values):
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_trial_build_passes_and_is_called_one(phantom_dir, tmp_path, make_config):
    """At 4, training ends in the midst of an image's three copies."""
    folder = build_capped(4, phantom_dir, tmp_path, make_config)
    done, failed = outcome(folder, phantom_dir)
    assert failed == set()
    assert done["counts"].seen == (
        "train 4, validation 4, test 4; a trial build of at most 4 examples a subset (--max_examples_per_split)"
    )
    # Without the word of the cap, all that it left out is missing.
    edit_metadata_json(folder, max_examples_per_split=None)
    assert outcome(folder, phantom_dir)[1] == {"augmentation", "labels"}
    edit_metadata_json(folder, max_examples_per_split=3)
    done, failed = outcome(folder)
    assert failed == {"counts"}
    assert done["counts"].offenders[0] == "train: 4 sound records; by metadata.json's max_examples_per_split 3"


def test_a_record_that_a_trial_build_lost_is_named(phantom_dir, tmp_path, make_config):
    folder = build_capped(6, phantom_dir, tmp_path, make_config)
    records = read(shard(folder, "test"))
    write(shard(folder, "test"), records[1:])
    done, failed = outcome(folder)
    assert {"counts", "names"} <= failed
    assert done["names"].offenders[0].startswith(f"{name_of(records[0])}: is in row ")


def test_a_cap_explains_only_what_the_subsets_lack_that_it_has_cut(phantom_dir, tmp_path, make_config):
    """At 40 only training is cut; an image that test lacks is missing for another reason."""
    folder = build_capped(40, phantom_dir, tmp_path, make_config)
    done, failed = outcome(folder, phantom_dir, 1)
    assert failed == set()
    assert done["counts"].seen.startswith("train 40, ")
    records = read(shard(folder, "test"))
    assert len(records) < 40
    write(shard(folder, "test"), records[1:])
    done, _ = outcome(folder, phantom_dir, 1)
    assert done["labels"].offenders == (
        f"1 images of the config's cohort are in no sound record, such as {name_of(records[0])}; 0 were missing at the"
        " build",
    )


@pytest.mark.parametrize("file_format", ["array_record", "parquet"])
def test_other_formats_pass_and_a_flipped_byte_is_named(file_format, built, phantom_dir, tmp_path, make_config):
    folder = build(make_config(image_size=64), phantom_dir, tmp_path, file_format)
    done, failed = outcome(folder, phantom_dir, 10)
    assert failed == set()
    assert f"3 {file_format} shards" in done["files"].seen
    path = next(path for path in folder.iterdir() if path.name.startswith("nih_chest_xray-test"))
    flip(path, len(b"".join(read_shard(path, file_format))) // 2)
    done, failed = outcome(folder)
    assert "records" in failed
    assert done["records"].offenders[0].startswith(f"{path.name}, record ")


@pytest.mark.parametrize("file_format", ["array_record", "parquet"])
def test_a_shard_of_another_format_that_is_cut_fails(file_format, tmp_path):
    (tmp_path / "shard").write_bytes(b"PAR1 or what else")
    [broken] = read_shard(epath.Path(tmp_path / "shard"), file_format)
    assert broken.startswith("the shard cannot be read from here on")


# A folder that holds the same examples in several formats.

FORMATS = ("tfrecord", "array_record", "parquet")


@pytest.fixture(scope="module")
def converted(tmp_path_factory, built_small):
    """A build to which `tfds convert_format` has added the two other formats."""
    folder = tmp_path_factory.mktemp("converted") / "1.0.0"
    shutil.copytree(built_small, folder)
    for file_format in FORMATS[1:]:
        convert_dataset(out_dir=None, out_file_format=file_format, dataset_version_dir=[folder], num_workers=1)
    return epath.Path(folder)


@pytest.fixture(scope="module")
def built_small(tmp_path_factory):
    config = nih_chest_xray.NihChestXrayConfig(
        name="small", phantom_patients=12, image_size=16, validation_fraction=0.3, test_fraction=0.3
    )
    return build(config, None, tmp_path_factory.mktemp("small"))


@pytest.fixture
def several(converted, tmp_path):
    """A copy of it, to be damaged."""
    return epath.Path(shutil.copytree(converted, tmp_path / "1.0.0"))


def in_format(folder, subset, file_format):
    return folder / f"nih_chest_xray-{subset}.{file_format}-00000-of-00001"


def rewrite(path, file_format, function):
    """Writes a shard anew, with its checksums, after a function has changed the list of its records."""
    records = list(read_shard(path, file_format))
    function(records)
    path.unlink()
    file_adapters.ADAPTER_FOR_FORMAT[tfds.core.FileFormat(file_format)].write_examples(path, list(enumerate(records)))


def say_formats(folder, first, named):
    """Makes dataset_info.json give one of the formats as the first, and name the others, or forget them."""
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    others = [other for other in FORMATS if other != first] if named else []
    path.write_text(json.dumps(info | {"fileFormat": first, "alternativeFileFormats": others}))


def test_what_tfds_converts_is_read_whole(converted):
    """The first format and the two that TFDS names; all shards and all records of each."""
    done, failed = outcome(converted, None, 1)
    assert failed == set()
    number = len((converted / "metadata.csv").read_text().splitlines()) - 1
    assert re.match("3 tfrecord shards of [0-9,]+ bytes, 3 array_record shards .*, 3 parquet", done["files"].seen)
    assert done["records"].seen == (
        f"{number} found, 0 broken; {number} in array_record, 0 differences from tfrecord;"
        f" {number} in parquet, 0 differences from tfrecord"
    )


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_whole_formats_pass_whichever_is_the_first_and_whether_or_not_the_others_are_named(several, first, named):
    say_formats(several, first, named)
    done, failed = outcome(several, None, 1)
    assert failed == set()
    assert done["files"].seen.startswith(f"3 {first} shards")
    assert done["files"].seen.count("not named by dataset_info.json, so that TFDS does not read them") == 2 * (
        not named
    )
    assert all(
        f" in {other}, 0 differences from {first}" in done["records"].seen for other in FORMATS if other != first
    )


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_a_flipped_byte_of_any_format_is_named(several, first, named):
    say_formats(several, first, named)
    for other in FORMATS:
        path = in_format(several, "test", other)
        sound = path.read_bytes()
        flip(path, len(b"".join(read_shard(path, other))) // 2)
        done, failed = outcome(several)
        assert "records" in failed
        assert any(text.startswith(f"{path.name}, record ") for text in done["records"].offenders)
        path.write_bytes(sound)


@pytest.mark.parametrize(("other", "first"), [("array_record", "tfrecord"), ("parquet", "tfrecord"), FORMATS[:2]])
@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_a_missing_and_a_surplus_shard_of_a_second_format_are_named(several, other, first, named):
    say_formats(several, first, named)
    path = in_format(several, "validation", other)
    names = [name_of(record) for record in read_shard(path, other)]
    surplus = several / f"nih_chest_xray-validation.{other}-00001-of-00002"
    path.rename(surplus)
    done, failed = outcome(several)
    assert failed == {"files", "records", "counts"}
    missing, extra = done["files"].offenders
    assert missing.startswith(f"{path.name}: is ")
    assert "not there" in missing
    assert extra == f"{surplus.name}: is there, but not named by dataset_info.json"
    assert f"{path.name}: 0 records; by dataset_info.json {len(names)}" in done["counts"].offenders
    assert [text.split(":")[0] for text in done["records"].offenders] == names
    assert all(text.endswith(f"but in no sound {other} record") for text in done["records"].offenders)


def changed(record, name, *values):
    example = tf.train.Example.FromString(record)
    value(example, name)[:] = values
    return example.SerializeToString()


def reordered(record):
    """Another record of the same example: its columns in reverse."""
    columns = tf.train.Example.FromString(record).features.feature
    parts = [tf.train.Features(feature={name: columns[name]}) for name in sorted(columns, reverse=True)]
    # Protobuf joins messages that are joined as bytes.
    return b"".join(tf.train.Example(features=part).SerializeToString() for part in parts)


NOISE = codec.encode(np.random.RandomState(0).randint(0, 256, (16, 16)).astype(np.uint8), "png")


@pytest.mark.parametrize("other", ["array_record", "parquet"])
@pytest.mark.parametrize(
    ("function", "told", "more"),
    [
        (lambda records: records.pop(1), "{name}: is in {first}, record 1, but in no sound", {"counts"}),
        (
            lambda records: records.append(records[1]),
            "{other}, record {last} ({name}): is in {other}, record 1",
            {"counts"},
        ),
        (
            lambda records: records.__setitem__(1, changed(records[1], "patient_age", 3)),
            "{other}, record 1 ({name}): patient_age is 3; in {first}, record 1 ",
            set(),
        ),
        (
            lambda records: records.__setitem__(1, changed(records[1], "image", NOISE)),
            "{other}, record 1 ({name}): its image is not that of {first}, record 1",
            set(),
        ),
        (
            lambda records: records.__setitem__(1, changed(records[1], "image", b"no PNG")),
            "{other}, record 1 ({name}): ",
            set(),
        ),
        (
            lambda records: records.__setitem__(1, changed(records[1], "image_name", b"00000099_000.png")),
            "{other}, record 1 (00000099_000.png): is in no sound tfrecord record",
            set(),
        ),
        (lambda records: records.__setitem__(1, b"no example"), "{other}, record 1: does not fit the schema", set()),
    ],
    ids=["removed", "twice", "field", "image", "no image", "name", "no example"],
)
def test_a_record_of_a_second_format_that_is_not_the_firsts_is_named(several, other, function, told, more):
    path, first = in_format(several, "test", other), in_format(several, "test", "tfrecord")
    records = read(first)
    rewrite(path, other, function)
    done, failed = outcome(several)
    assert failed == {"records"} | more
    told = told.format(name=name_of(records[1]), other=path.name, first=first.name, last=len(records))
    assert any(text.startswith(told) for text in done["records"].offenders)


def test_a_record_of_a_second_format_in_another_subset_is_named(several):
    moved = read(in_format(several, "train", "tfrecord"))[2]
    rewrite(in_format(several, "train", "array_record"), "array_record", lambda records: records.pop(2))
    rewrite(in_format(several, "test", "array_record"), "array_record", lambda records: records.append(moved))
    done, failed = outcome(several)
    assert failed == {"records", "counts"}
    [wrong] = done["records"].offenders
    assert f"({name_of(moved)}): subset is 'test'; in {in_format(several, 'train', 'tfrecord').name}, record 2" in wrong


def test_a_second_format_may_have_other_bytes_and_another_order_for_the_same_examples(several):
    def otherwise(records):
        records[:] = [reordered(record) for record in reversed(records)]

    before = read(in_format(several, "test", "tfrecord"))
    rewrite(in_format(several, "test", "parquet"), "parquet", otherwise)
    assert not set(before) & set(read_shard(in_format(several, "test", "parquet"), "parquet"))
    assert outcome(several)[1] == set()


def test_a_record_that_is_broken_in_the_first_format_alone_is_named(several):
    records = read(in_format(several, "test", "tfrecord"))
    flip(in_format(several, "test", "tfrecord"), 12 + 50)
    done, failed = outcome(several)
    assert failed == {"records", "counts", "names", "labels"}
    other = in_format(several, "test", "array_record").name
    assert f"{other}, record 0 ({name_of(records[0])}): is in no sound tfrecord record" in done["records"].offenders


# Parts that a whole build would be slow to reach.


def sample_dataset(**changes):
    """The sample config's manifest as if it had been built, and what its metadata.json would say."""
    config = next(config for config in NAMED_CONFIGS if config.name == "sample")
    tables = read_tables(Phantom(config.phantom_patients).as_release(), config, {})
    table = make_plan(tables, config).manifest
    metadata = tables.origin | {"missing_images": 0} | changes.pop("metadata", {})
    config = nih_chest_xray.NihChestXrayConfig(**{"name": "sample", **config.choices} | changes)
    return checks.Dataset(None, None, metadata, config, None, ()), Records(table, {}, {})


def test_the_splits_of_a_named_config_are_the_pinned_ones():
    dataset, records = sample_dataset()
    assert checks.check_splits(dataset, records).status == "ok"
    fewer = Records(records.table.drop(records.table.index[records.table["subset"] == "test"][0]), {}, {})
    check = checks.check_splits(dataset, fewer)
    assert check.status == "FAILED"
    [wrong] = check.offenders
    assert wrong.startswith("test: 21 names of SHA-256 ")  # splits.tsv: 22.
    assert "pinned 22 names" in wrong


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seed": 1}, "a custom config"),
        ({"metadata": {"missing_images": 29000}}, "29,000 images were missing when it was built"),
        (
            {"metadata": {"max_examples_per_split": 24, "examples": {"train": 24, "validation": 24, "test": 22}}},
            "a trial build of at most 24 examples a subset (--max_examples_per_split)",
        ),
    ],
)
def test_splits_that_nothing_is_pinned_for_are_skipped(changes, why):
    check = checks.check_splits(*sample_dataset(**changes))
    assert (check.status, check.seen) == ("skipped", why)


def test_splits_that_a_cap_did_not_cut_are_compared():
    examples = {"train": 101, "validation": 24, "test": 22}
    dataset, records = sample_dataset(metadata={"max_examples_per_split": 102, "examples": examples})
    assert checks.check_splits(dataset, records).status == "ok"


def test_splits_from_an_unofficial_label_file_are_skipped():
    config = nih_chest_xray.NihChestXrayConfig(name="nodule_224", image_size=224)  # Named like no config, split as one.
    metadata = {"label_file": "sample_labels.csv", "tables": {"sample_labels.csv": {"official": False}}}
    check = checks.check_splits(checks.Dataset(None, None, metadata, config, None, ()), Records(None, {}, {}))
    assert (check.status, check.seen) == ("skipped", "built from sample_labels.csv, which is not the NIH's own")


def test_jpegs_are_the_same_picture_whatever_the_encoder_and_another_picture_is_not():
    shades = np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8) // 2 + 60
    ours = digest_image(codec.encode(shades, "jpeg"), "jpeg")
    other_encoder = cv2.imencode(".jpg", shades, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes()
    assert ours.sha256 != digest_image(other_encoder, "jpeg").sha256
    assert ours.same_pixels(digest_image(other_encoder, "jpeg"), "jpeg")
    flipped = digest_image(codec.encode(np.ascontiguousarray(shades[:, ::-1]), "jpeg"), "jpeg")
    assert not ours.same_pixels(flipped, "jpeg")


def test_a_cut_jpeg_is_refused():
    content = codec.encode(np.zeros((64, 64), np.uint8), "jpeg")
    with pytest.raises(codec.ImageError, match=r"not a JPEG, or cut or corrupt: \d+ bytes"):
        digest_image(content[:-20], "jpeg")


def test_the_command_exits_with_0_and_reports_a_line_a_check(built, capsys):
    assert main(["verify", str(built)]) == 0
    folder, *lines = capsys.readouterr().out.splitlines()
    assert folder == str(built)
    assert [line.split()[1] for line in lines[:-1]] == [
        *("files", "records", "counts", "names", "patients", "augmentation", "splits", "tables", "labels", "pixels")
    ]
    assert lines[-1] == "6 ok, 0 FAILED, 4 skipped"


def test_the_command_exits_with_1_and_names_the_first_offenders(folder, capsys):
    edit_metadata(folder, lambda lines: lines.__delitem__(slice(1, 8)))
    assert main(["verify", str(folder)]) == 1
    out = capsys.readouterr().out
    assert out.count("but not in metadata.csv") == 5
    assert "         … 7 in all\n" in out


def test_json_holds_all_offenders(folder, capsys):
    edit_metadata(folder, lambda lines: lines.__delitem__(slice(1, 8)))
    assert main(["verify", "--json", str(folder)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    [dataset] = document["datasets"]
    assert (dataset["dataset"], dataset["ok"]) == (str(folder), False)
    names = next(check for check in dataset["checks"] if check["name"] == "names")
    assert names["status"] == "FAILED"
    assert len(names["offenders"]) == 7


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (lambda built: built / "nowhere", "nowhere does not exist. Name the data_dir in which datasets were built"),
        (lambda built: built / "metadata.csv", "metadata.csv is not a directory. Name the data_dir"),
        (lambda built: built.parents[2] / "empty", "empty holds no built dataset of nih_chest_xray. Name the data_dir"),
    ],
)
def test_a_folder_that_is_no_dataset_is_said_in_one_line(built, capsys, place, message):
    (built.parents[2] / "empty").mkdir(exist_ok=True)
    assert main(["verify", str(place(built))]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert message in line


def test_of_a_data_dir_each_config_is_checked_in_its_newest_version(built, tmp_path, capsys):
    home = tmp_path / "nih_chest_xray"
    for place in ("one/1.0.0", "one/1.0.10", "one/1.0.9", "two/1.0.0"):
        shutil.copytree(built, home / place)
    shutil.copytree(built, tmp_path / "mnist" / "1.0.0")
    path = tmp_path / "mnist" / "1.0.0" / "dataset_info.json"
    path.write_text(path.read_text().replace('"name": "nih_chest_xray"', '"name": "mnist"'))
    (home / "two/1.0.0" / "dataset_info.json").write_text("{")
    assert main(["verify", "--json", str(tmp_path)]) == 1
    datasets = json.loads(capsys.readouterr().out)["datasets"]
    assert [each["dataset"] for each in datasets] == [str(home / "one/1.0.10"), str(home / "two/1.0.0")]
    assert not datasets[1]["ok"]


def test_a_dataset_of_another_name_is_refused(folder):
    path = folder / "dataset_info.json"
    path.write_text(path.read_text().replace('"name": "nih_chest_xray"', '"name": "mnist"'))
    with pytest.raises(UsageError, match="holds the dataset 'mnist', which is not of this package"):
        verify(folder)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_file_without_which_tfds_opens_nothing_is_named(folder, name):
    path = folder / name
    path.write_text(path.read_text()[:100])
    done, failed = outcome(folder)
    assert failed == {"files"}
    [wrong] = done["files"].offenders
    assert wrong.startswith(f"{name}: is no JSON (")
    path.unlink()
    if name == "features.json":
        assert outcome(folder)[0]["files"].offenders == ("features.json: is not there",)


def test_a_pipe_in_a_shards_place_is_a_failure_and_not_waited_for(folder):
    shard = next(folder.glob("*-train.tfrecord-*"))
    shard.unlink()
    os.mkfifo(shard)
    done, failed = outcome(folder)
    assert failed == {"files"}
    [wrong] = done["files"].offenders
    assert wrong == f"{shard.name}: is a pipe; expected a plain file in the dataset's own folder"


def test_ctrl_c_is_told_in_one_line(monkeypatch, capsys, built):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("nih_chest_xray.verification.command.verify", interrupt)
    assert main(["verify", str(built)]) == 130
    assert capsys.readouterr().err == "nih-chest-xray: interrupted\n"


def test_a_release_folder_without_a_release_is_refused(built, tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert main(["verify", str(built), "--release", str(folder)]) == 2
        assert str(folder) in capsys.readouterr().err


def test_modules_with_augmentations_are_imported(built, capsys):
    assert main(["verify", str(built), "--imports", "no_such_module"]) == 2
    assert "No module named 'no_such_module'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--images", "0"], ["--images", "few"], []])
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["verify", *arguments])
    assert stopped.value.code == 2


def test_the_module_runs_as_a_command(tmp_path):
    command = [sys.executable, "-m", "nih_chest_xray", "verify", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"nih-chest-xray verify: {tmp_path} holds no built dataset" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_shows_a_check_that_could_not_be_finished(built, monkeypatch):
    """An error that no check foresaw is a failure, not the end of the report."""

    def stop(_dataset, _records):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(checks, "check_patients", stop)
    text = as_text(verify(built))
    assert "FAILED   patients      the check could not be finished\n         RuntimeError: unforeseen\n" in text
    assert "ok       augmentation" in text

"""Tests of verify on other formats than TFRecord, and on a folder that holds the same examples in several."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from conftest import build
from etils import epath
from shards import flip, name_of, read, shard, value
from tensorflow_datasets.core import file_adapters
from tensorflow_datasets.scripts.cli.convert_format_utils import convert_dataset

from nih_chest_xray.images import codec
from nih_chest_xray.verification.command import verify
from nih_chest_xray.verification.shards import read_shard

FORMATS = ("tfrecord", "array_record", "parquet")
SMALL = {"name": "small", "phantom_patients": 12, "image_size": 16, "validation_fraction": 0.3, "test_fraction": 0.3}


def outcome(folder, *arguments):
    """Returns the checks by name, and those that failed."""
    done = {check.name: check for check in verify(epath.Path(folder), *arguments)}
    failed = {name for name, check in done.items() if check.status == "FAILED"}
    return done, failed - {"examples.csv"}  # It fails whatever is damaged in records.


@pytest.mark.parametrize("file_format", FORMATS[1:])
def test_another_format_passes_and_a_flipped_byte_in_it_is_named(file_format, tmp_path):
    folder = build(None, tmp_path, file_format, **SMALL)
    done, failed = outcome(folder, None, 5)
    assert failed == set()
    assert f"3 {file_format} shards" in done["files"].seen
    path = shard(folder, "test", file_format)
    flip(path, len(b"".join(read_shard(epath.Path(path), file_format))) // 2)
    done, failed = outcome(folder)
    assert "records" in failed
    assert done["records"].offenders[0].startswith(f"{path.name}, record ")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A build to which `tfds convert_format` has added the two other formats."""
    folder = build(None, tmp_path_factory.mktemp("converted"), **SMALL)
    for file_format in FORMATS[1:]:
        convert_dataset(out_dir=None, out_file_format=file_format, dataset_version_dir=[folder], num_workers=1)
    return folder


@pytest.fixture
def several(converted, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(converted, tmp_path / "2.0.0")


@pytest.mark.parametrize("file_format", ["array_record", "parquet"])
def test_a_shard_of_another_format_that_is_cut_fails(file_format, tmp_path):
    (tmp_path / "shard").write_bytes(b"PAR1 or what else")
    [broken] = read_shard(epath.Path(tmp_path / "shard"), file_format)
    assert broken.startswith("the shard cannot be read from here on")


def rewrite(path, file_format, function):
    """Writes a shard anew, with its checksums, after a function has changed the list of its records."""
    records = list(read_shard(epath.Path(path), file_format))
    function(records)
    path.unlink()
    adapter = file_adapters.ADAPTER_FOR_FORMAT[tfds.core.FileFormat(file_format)]
    adapter.write_examples(epath.Path(path), list(enumerate(records)))


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


@pytest.mark.parametrize(("first", "named"), [("tfrecord", False), ("array_record", True), ("parquet", False)])
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


@pytest.mark.parametrize("other", FORMATS[1:])
def test_a_flipped_byte_of_a_second_format_is_named(several, other):
    path = shard(several, "test", other)
    flip(path, len(b"".join(read_shard(epath.Path(path), other))) // 2)
    done, failed = outcome(several)
    assert "records" in failed
    assert any(text.startswith(f"{path.name}, record ") for text in done["records"].offenders)


@pytest.mark.parametrize(("other", "named"), [("array_record", True), ("parquet", False)])
def test_a_missing_and_a_surplus_shard_of_a_second_format_are_named(several, other, named):
    say_formats(several, "tfrecord", named)
    path = shard(several, "validation", other)
    names = [name_of(record) for record in read_shard(epath.Path(path), other)]
    surplus = several / f"nih_chest_xray-validation.{other}-00001-of-00002"
    path.rename(surplus)
    done, failed = outcome(several)
    assert failed == {"files", "records", "counts"}
    missing, extra = done["files"].offenders
    assert missing.startswith(f"{path.name}: ")
    assert "does not exist" in missing
    assert extra == f"{surplus.name}: exists, but is not named by dataset_info.json"
    assert f"{path.name}: 0 records; {len(names)} in dataset_info.json" in done["counts"].offenders
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


@pytest.mark.parametrize(
    ("other", "function", "told", "more"),
    [
        (
            "array_record",
            lambda records: records.pop(1),
            "{name}: is in {first}, record 1, but in no sound",
            {"counts"},
        ),
        ("parquet", lambda records: records.pop(1), "{name}: is in {first}, record 1, but in no sound", {"counts"}),
        (
            "array_record",
            lambda records: records.append(records[1]),
            "{other}, record {last} ({name}): is in {other}, record 1",
            {"counts"},
        ),
        (
            "parquet",
            lambda records: records.append(records[1]),
            "{other}, record {last} ({name}): is in {other}, record 1",
            {"counts"},
        ),
        (
            "parquet",
            lambda records: records.__setitem__(1, changed(records[1], "patient_age", 3)),
            "{other}, record 1 ({name}): patient_age is 3; in {first}, record 1 ",
            set(),
        ),
        (
            "array_record",
            lambda records: records.__setitem__(1, changed(records[1], "image", NOISE)),
            "{other}, record 1 ({name}): its image is not that of {first}, record 1",
            set(),
        ),
        (
            "parquet",
            lambda records: records.__setitem__(1, changed(records[1], "image", b"no PNG")),
            "{other}, record 1 ({name}): ",
            set(),
        ),
        (
            "array_record",
            lambda records: records.__setitem__(1, changed(records[1], "image_name", b"00000099_000.png")),
            "{other}, record 1 (00000099_000.png): is in no sound tfrecord record",
            set(),
        ),
        (
            "parquet",
            lambda records: records.__setitem__(1, b"no example"),
            "{other}, record 1: does not fit the schema",
            set(),
        ),
    ],
    ids=[
        "removed, array_record",
        "removed, parquet",
        "twice, array_record",
        "twice, parquet",
        "field",
        "image",
        "no image",
        "name",
        "no example",
    ],
)
def test_a_record_of_a_second_format_that_is_not_the_firsts_is_named(several, other, function, told, more):
    path, first = shard(several, "test", other), shard(several, "test", "tfrecord")
    records = read(first)
    rewrite(path, other, function)
    done, failed = outcome(several)
    assert failed == {"records"} | more
    told = told.format(name=name_of(records[1]), other=path.name, first=first.name, last=len(records))
    assert any(text.startswith(told) for text in done["records"].offenders)


def test_a_record_of_a_second_format_in_another_subset_is_named(several):
    moved = read(shard(several, "train", "tfrecord"))[2]
    rewrite(shard(several, "train", "array_record"), "array_record", lambda records: records.pop(2))
    rewrite(shard(several, "test", "array_record"), "array_record", lambda records: records.append(moved))
    done, failed = outcome(several)
    assert failed == {"records", "counts"}
    [wrong] = done["records"].offenders
    assert f"({name_of(moved)}): subset is 'test'; in {shard(several, 'train', 'tfrecord').name}, record 2" in wrong


def test_a_second_format_may_have_other_bytes_and_another_order_for_the_same_examples(several):
    def otherwise(records):
        records[:] = [reordered(record) for record in reversed(records)]

    before = read(shard(several, "test", "tfrecord"))
    rewrite(shard(several, "test", "parquet"), "parquet", otherwise)
    assert not set(before) & set(read_shard(epath.Path(shard(several, "test", "parquet")), "parquet"))
    assert outcome(several)[1] == set()


def test_a_record_that_is_broken_in_the_first_format_alone_is_named(several):
    records = read(shard(several, "test", "tfrecord"))
    flip(shard(several, "test", "tfrecord"), 12 + 50)
    done, failed = outcome(several)
    assert failed == {"records", "counts", "names", "labels"}
    other = shard(several, "test", "array_record").name
    assert f"{other}, record 0 ({name_of(records[0])}): is in no sound tfrecord record" in done["records"].offenders

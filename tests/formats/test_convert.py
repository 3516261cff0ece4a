"""Tests of convert: a second format beside the first has the same records, and half of one is never taken for it."""

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from conftest import build
from etils import epath
from tensorflow_datasets.scripts.cli.convert_format_utils import convert_dataset

import nih_chest_xray
from nih_chest_xray.__main__ import main
from nih_chest_xray.building.locking import only_build
from nih_chest_xray.errors import BuildInProgressError, ConversionError, NoRoomError, UsageError
from nih_chest_xray.formats import convert as module
from nih_chest_xray.formats.convert import convert
from nih_chest_xray.system import disk_space
from nih_chest_xray.verification.command import verify
from nih_chest_xray.verification.report import failed
from nih_chest_xray.verification.shards import read_shard

FORMATS = ("tfrecord", "array_record", "parquet")
OTHERS = [(ours, theirs) for ours in FORMATS for theirs in FORMATS if ours != theirs]
FIELDS = {"name": "small", "phantom_patients": 12, "image_size": 16, "validation_fraction": 0.3, "test_fraction": 0.3}
SUBSETS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Builds in each format, by the format."""
    return {name: build(None, tmp_path_factory.mktemp(name), name, **FIELDS) for name in FORMATS}


@pytest.fixture
def fresh(made, tmp_path):
    """Copies a build into a data_dir of the test's own."""

    def copy(file_format="tfrecord") -> Path:
        return shutil.copytree(made[file_format], tmp_path / "data" / "nih_chest_xray" / "small" / "2.0.0")

    return copy


def content_of(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).iterdir()}


def records(folder, subset, file_format):
    [path] = Path(folder).glob(f"nih_chest_xray-{subset}.{file_format}-*")
    return list(read_shard(epath.Path(path), file_format))


def shard(folder, subset, file_format):
    [path] = Path(folder).glob(f"nih_chest_xray-{subset}.{file_format}-*")
    return path


def names_of(examples):
    return [example["image_name"] for example in examples]


# What a conversion adds.


@pytest.mark.parametrize(("ours", "theirs"), OTHERS)
def test_each_format_is_made_of_each_with_the_same_bytes_in_the_same_order(ours, theirs, fresh):
    folder = fresh(ours)
    before = content_of(folder)
    built, added = convert(folder, theirs)
    assert added == [f"nih_chest_xray-{subset}.{theirs}-00000-of-00001" for subset in built.builder.info.splits]
    after = content_of(folder)
    assert {name for name in after if after[name] != before.get(name)} == {*added, "dataset_info.json", "metadata.json"}
    for subset in SUBSETS:
        assert records(folder, subset, theirs) == records(folder, subset, ours)
    if ours == "array_record":
        assert not failed(verify(folder))
    assert sorted(path.name for path in folder.parent.iterdir()) == [".2.0.0.lock", "2.0.0"]


def test_dataset_info_says_what_tfds_writes_there(fresh, tmp_path):
    folder = fresh()
    theirs = shutil.copytree(folder, tmp_path / "theirs")
    convert(folder, "array_record")
    convert_dataset(out_dir=None, out_file_format="array_record", dataset_version_dir=[theirs], num_workers=1)
    assert (folder / "dataset_info.json").read_bytes() == (theirs / "dataset_info.json").read_bytes()


@pytest.mark.parametrize("ours", ["tfrecord", "array_record", "parquet"])
def test_tfds_load_reads_the_first_format_or_tfrecord_and_data_source_another(ours, fresh):
    folder = fresh(ours)
    for theirs in FORMATS:
        built, _ = convert(folder, theirs)
    assert built.file_format == "tfrecord"
    assert set(built.file_formats) == {*FORMATS}
    data_dir = folder.parents[2]
    loaded = names_of(tfds.as_numpy(tfds.load("nih_chest_xray/small", data_dir=data_dir, split="test")))
    assert names_of(tfds.data_source("nih_chest_xray/small", data_dir=data_dir, split="test")) == loaded
    assert names_of(tfds.builder_from_directory(folder).as_data_source("test")) == loaded


SAME = """
import sys
import tensorflow_datasets as tfds
name = "nih_chest_xray/sample"
by_index = tfds.builder(name).as_data_source("test")
in_order = tfds.as_numpy(tfds.load(name, split="test"))
pairs = list(zip(by_index, in_order, strict=True))
assert len(pairs) == 3
assert all((a["image"] == b["image"]).all() and a["image_name"] == b["image_name"] for a, b in pairs)
assert "nih_chest_xray" not in sys.modules or type(by_index._records).__module__.startswith("array_record")
assert "nih_chest_xray" not in sys.modules or len(tfds.data_source(name, split="test")) == 3
"""


def test_a_named_config_is_read_both_ways_where_the_package_is_imported(sample_in_two_formats, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(sample_in_two_formats))
    exec(SAME, {})


def test_the_packages_builder_reads_array_record_before_parquet(fresh):
    folder = fresh("parquet")
    convert(folder, "array_record")
    config = nih_chest_xray.NihChestXrayConfig(**FIELDS)
    builder = nih_chest_xray.Builder(config=config, data_dir=folder.parents[2])

    def library(source):
        return type(source._records).__module__.partition(".")[0]

    assert library(builder.as_data_source("test", file_format="parquet")) != "array_record"
    assert library(builder.as_data_source("test")) == "array_record"
    # TFDS by itself leaves the builder with array_record, which `as_dataset` refuses.
    assert len(list(builder.as_dataset("test"))) == len(builder.as_data_source("test"))


@pytest.mark.slow
@pytest.mark.parametrize("first", ["import nih_chest_xray", "pass"])
def test_a_named_config_is_read_both_ways_in_a_process_of_its_own(first, sample_in_two_formats, tmp_path):
    """By a named config TFDS takes the package's builder where it is imported, and reads files where it is not."""
    environment = os.environ | {"TFDS_DATA_DIR": str(sample_in_two_formats)}
    command = [sys.executable, "-c", first + SAME]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def sample_in_two_formats(tmp_path_factory):
    """A data_dir with three examples of each subset of the config `sample`, as a trial."""
    data_dir = tmp_path_factory.mktemp("trial")
    builder = nih_chest_xray.Builder(config="sample", data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(max_examples_per_split=3))
    with pytest.warns(UserWarning, match=r"sample/2\.0\.0 is a trial build of at most 3 examples a subset"):
        convert(builder, "array_record")
    with pytest.warns(UserWarning, match="is a trial build"):
        convert(builder, "parquet")
    return data_dir


def test_several_shards_keep_their_records_each(tmp_path):
    config = nih_chest_xray.NihChestXrayConfig(**FIELDS)
    builder = nih_chest_xray.Builder(config=config, data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    folder = Path(builder.data_dir)
    _, added = convert(folder, "array_record")
    assert len(added) == 9
    for path in sorted(folder.glob("*.tfrecord-*")):
        other = epath.Path(str(path).replace(".tfrecord-", ".array_record-"))
        assert list(read_shard(other, "array_record")) == list(read_shard(epath.Path(path), "tfrecord"))
    # tfds.load reads of several shards in turn, data_source does not, so an array of scores has two meanings.
    scores = [0.5] * builder.info.splits["test"].num_examples
    with pytest.raises(nih_chest_xray.errors.ScoreError, match="different orders; expected scores with image names"):
        nih_chest_xray.evaluate(scores, folder)


def test_what_a_build_wrote_keeps_the_day_and_the_mode_of_the_build(fresh):
    folder = fresh()
    path = folder / "dataset_info.json"
    os.utime(path, (1_000_000_000, 1_000_000_000))
    path.chmod(0o640)
    built, _ = convert(folder, "array_record")
    assert str(built.built_on) == "2001-09-09"
    assert path.stat().st_mode & 0o777 == 0o640


# What is there already.


@pytest.mark.parametrize("theirs", FORMATS)
def test_a_format_that_is_there_is_left_as_it_is(theirs, fresh, capsys):
    folder = fresh()
    convert(folder, theirs)
    before = {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}
    assert main(["convert", str(folder), "--to", theirs]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith(f"Exists: {theirs} in {folder}, with the same records\n")
    assert {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()} == before


@pytest.mark.parametrize("theirs", FORMATS[1:])
def test_shards_that_are_missing_are_added_and_those_that_are_there_kept(theirs, fresh):
    folder = fresh()
    convert(folder, theirs)
    expected, kept = content_of(folder), shard(folder, "test", theirs).stat().st_ino
    lost = shard(folder, "train", theirs)
    lost.unlink()
    _, added = convert(folder, theirs)
    assert added == [lost.name]
    assert content_of(folder) == expected
    assert shard(folder, "test", theirs).stat().st_ino == kept


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    """Flips a bit of an image."""
    at = content.index(b"IDAT") + 50
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("theirs", FORMATS[1:])
@pytest.mark.parametrize("change", [cut, flip, lambda _: b""], ids=["cut", "flipped", "empty"])
def test_a_damaged_shard_is_named_and_nothing_is_changed(change, theirs, fresh, capsys):
    folder = fresh()
    convert(folder, theirs)
    path = shard(folder, "train", theirs)
    path.write_bytes(change(path.read_bytes()))
    before = content_of(folder)
    assert main(["convert", str(folder), "--to", theirs]) == 1
    _, error = capsys.readouterr()
    [line] = [line for line in error.splitlines() if line.startswith("nih-chest-xray convert: ")]
    assert f"has shards of {theirs} already, but not those of its tfrecord: {path.name}" in line
    assert line.endswith("and convert again")
    assert content_of(folder) == before


def test_a_shard_of_another_number_of_shards_is_named(fresh):
    folder = fresh()
    (folder / "nih_chest_xray-test.array_record-00001-of-00002").write_bytes(b"old")
    with pytest.raises(ConversionError, match=r"test\.array_record-00001-of-00002 is not a shard that the dataset has"):
        convert(folder, "array_record")


# What stops a conversion.


def require_as_before(folder, before):
    assert content_of(folder) == before
    assert sorted(path.name for path in folder.parent.iterdir()) in ([".2.0.0.lock", "2.0.0"], ["2.0.0"])


@pytest.mark.parametrize("theirs", FORMATS[1:])
def test_a_broken_record_stops_it_and_is_named(theirs, fresh):
    folder = fresh()
    path = shard(folder, "train", "tfrecord")
    path.write_bytes(flip(path.read_bytes()))
    before = content_of(folder)
    told = rf"{path}, record 0: its bytes do not match .*\. `nih-chest-xray verify` names all"
    with pytest.raises(ConversionError, match=told):
        convert(folder, theirs)
    require_as_before(folder, before)


def test_a_writer_that_loses_a_record_is_found_out(fresh, monkeypatch):
    folder = fresh()
    before = content_of(folder)
    whole = module.write_shard
    monkeypatch.setattr(module, "write_shard", lambda path, form, records: whole(path, form, list(records)[:-1]))
    with pytest.raises(ConversionError, match=r"ends after \d+ of \d+ records, although it was just written"):
        convert(folder, "array_record")
    require_as_before(folder, before)


def test_a_shard_with_fewer_records_than_dataset_info_says_is_refused(fresh):
    """An older dataset has no sizes of shards in metadata.json, so that nothing else tells."""
    folder = fresh()
    path = shard(folder, "train", "tfrecord")
    kept = records(folder, "train", "tfrecord")[:-1]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in kept:
            writer.write(record)
    metadata = folder / "metadata.json"
    metadata.write_text(json.dumps({k: v for k, v in json.loads(metadata.read_text()).items() if k != "shard_sizes"}))
    told = rf"{path} has {len(kept)} records; dataset_info.json says {len(kept) + 1}"
    with pytest.raises(ConversionError, match=told):
        convert(folder, "array_record")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_leaves_the_dataset_as_it_was(code, fresh, monkeypatch, capsys):
    folder = fresh()
    before = content_of(folder)

    def fail(path, _format, _records):
        path.write_bytes(b"half")
        raise OSError(code, os.strerror(code), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_shard", fail)
        assert main(["convert", str(folder), "--to", "parquet"]) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nih-chest-xray convert: ")]
    assert os.strerror(code) in line
    assert ("The conversion of" in line) == (code == errno.ENOSPC)
    require_as_before(folder, before)
    assert convert(folder, "parquet")[1]


def test_too_little_room_is_said_before_anything_is_written(fresh, monkeypatch):
    folder = fresh()
    before = content_of(folder)
    sizes = [path.stat().st_size for path in folder.glob("*.tfrecord-*")]
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _path: usage._replace(free=sum(sizes)))
    monkeypatch.setattr(module, "write_shard", None)
    with pytest.raises(NoRoomError, match=r"the shards of array_record need .* are free there.* Free some, or use"):
        convert(folder, "array_record")
    require_as_before(folder, before)


@pytest.mark.parametrize(("library", "theirs"), [("array_record", "array_record"), ("pyarrow", "parquet")])
def test_a_library_that_is_not_installed_is_named_with_the_line_that_installs_it(library, theirs, fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConversionError, match=rf"^{library} is not installed.*: `pip install {library}`$"):
        convert(fresh(), theirs)


def test_a_conversion_beside_a_build_or_another_conversion_is_refused(fresh):
    folder = fresh()
    with only_build(epath.Path(folder)), pytest.raises(BuildInProgressError, match="build or conversion of .* under"):
        convert(folder, "array_record")


UNTIL = """
import os, signal, sys
from etils import epath
from nih_chest_xray.formats import convert, same_records
folder, name, number = epath.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
place = {"records_of": same_records, "remove": convert}.get(name, type(folder))
whole, calls = getattr(place, name), iter(range(99))
def counted(*arguments, **more):
    if next(calls) == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*arguments, **more)
setattr(place, name, counted)
convert.convert(folder, "array_record")
"""
MOMENTS = [("records_of", 0), ("rename", 1)]
LATER = (("rename", 2), ("replace", 0), ("replace", 1), ("remove", 0))
SLOW_MOMENTS = [pytest.param(moment, marks=pytest.mark.slow) for moment in LATER]


@pytest.mark.parametrize("moment", MOMENTS + SLOW_MOMENTS)
def test_a_killed_conversion_leaves_a_dataset_that_loads_and_the_next_one_completes(moment, fresh):
    folder = fresh()
    before = content_of(folder)
    command = [sys.executable, "-c", UNTIL, folder, *map(str, moment)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    after = content_of(folder)
    named = json.loads((folder / "dataset_info.json").read_text()).get("alternativeFileFormats", [])
    assert bool(named) == (moment[0] == "remove")
    changed = {name for name in before if after[name] != before[name]}
    assert changed <= ({"metadata.json", "dataset_info.json"} if named else {"metadata.json"})
    for path in folder.glob("*.array_record-*"):  # Whatever has its final name is whole.
        first = epath.Path(str(path).replace("array_record", "tfrecord"))
        assert list(read_shard(epath.Path(path), "array_record")) == list(read_shard(first, "tfrecord"))
    assert len(list(tfds.load("nih_chest_xray/small", data_dir=folder.parents[2], split="test"))) > 0
    convert(folder, "array_record")
    assert not failed(verify(folder))
    assert sorted(path.name for path in folder.parent.iterdir()) == [".2.0.0.lock", "2.0.0"]


# What is no dataset to convert.


def no_dataset(folder):
    return folder.parents[2].joinpath("empty"), "holds no built nih_chest_xray dataset"


def several(folder):
    shutil.copytree(folder, folder.parents[1] / "second" / "2.0.0")
    for name in ("dataset_info.json", "metadata.json"):
        path = folder.parents[1] / "second" / "2.0.0" / name
        path.write_text(path.read_text().replace('"small"', '"second"'))
    return folder.parents[2], "has the datasets second, small; name one's folder"


def half(folder):
    shard(folder, "train", "tfrecord").unlink()
    return folder, "is not a whole dataset: nih_chest_xray-train.tfrecord-00000-of-00001 does not exist"


def cut_short(folder):
    path = shard(folder, "train", "tfrecord")
    path.write_bytes(cut(path.read_bytes()))
    return folder, "is not a whole dataset: nih_chest_xray-train.tfrecord-00000-of-00001 has"


def version_1(folder):
    path = folder / "dataset_info.json"
    path.write_text(path.read_text().replace('"version": "2.0.0"', '"version": "1.0.0"'))
    return folder, "version 1.0.0; this package reads version 2"


def foreign(folder):
    path = folder / "dataset_info.json"
    path.write_text(path.read_text().replace('"name": "nih_chest_xray"', '"name": "mnist"'))
    return folder, "holds no built nih_chest_xray dataset"


@pytest.mark.parametrize("make", [no_dataset, several, half, cut_short, version_1, foreign])
def test_what_is_no_dataset_to_convert_is_said_in_one_line(make, fresh, capsys):
    folder = fresh()
    (folder.parents[2] / "empty").mkdir()
    dataset, told = make(folder)
    before = content_of(folder)
    assert main(["convert", str(dataset), "--to", "array_record"]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    [line] = error.splitlines()
    assert line.startswith("nih-chest-xray convert: ")
    assert re.search(re.escape(told), line)
    assert content_of(folder) == before


@pytest.mark.parametrize("place", ["gs://bucket/nih_chest_xray/nodule/2.0.0", "s3://bucket/data"])
def test_a_dataset_in_a_bucket_is_refused_without_a_look_at_it(place):
    with pytest.raises(UsageError, match=f"^{place} is not on this machine; convert a copy"):
        convert(place, "parquet")


def test_an_unknown_format_is_refused(fresh):
    with pytest.raises(UsageError, match="the format is 'riegeli'; expected one of tfrecord, array_record, parquet"):
        convert(fresh(), "riegeli")


# What it prints, and what other commands make of the folder.


def test_the_line_that_it_prints_loads_the_new_format(fresh, capsys, tmp_path, monkeypatch):
    folder = fresh()
    moved = shutil.copytree(folder, tmp_path / "moved by hand")
    monkeypatch.chdir(tmp_path)
    for place, argument in ((folder, folder.parents[2]), (moved, "moved by hand")):
        assert main(["convert", str(argument), "--to", "array_record"]) == 0
        added, load, code = capsys.readouterr().out.splitlines()
        assert re.fullmatch(rf"Added: array_record \(3 shards, [\d.]+ kB\) in {place}", added)
        assert load == "Load it in Python:"
        pasted = {}
        exec(code, pasted)
        counts = {name: len(split) for name, split in pasted["datasets"].items()}
        assert counts == {name: len(records(place, name, "tfrecord")) for name in counts}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".2.0.0.lock", "data", "moved by hand"]


def test_build_reuses_a_format_that_was_added_and_says_which_command_adds_another(fresh, capsys):
    folder = fresh()
    convert(folder, "array_record")
    config = json.dumps(FIELDS)
    arguments = ["build", "--config", config, "--data-dir", str(folder.parents[2]), "--file-format"]
    assert main([*arguments, "array_record"]) == 0
    where, _, _, code = capsys.readouterr().out.splitlines()
    assert where == f"Exists and is reused: {folder}"
    pasted = {}
    exec(code, pasted)
    assert pasted["datasets"]["test"][0]["image"].shape == (16, 16, 1)
    assert main([*arguments, "parquet"]) == 1
    told = f"exists in the format array_record and tfrecord. To add parquet, use `nih-chest-xray convert {folder} --to"
    assert told in capsys.readouterr().err

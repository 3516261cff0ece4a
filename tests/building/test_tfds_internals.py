"""Tests of what is touched of TFDS's internals: it still exists, does what it did, and is touched nowhere else."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import example_serializer, file_adapters, naming, writer

import nih_chest_xray
from nih_chest_xray.building.tfds_internals import (
    DeterministicWriter,
    bars_are_on,
    builds_are_mocked,
    fields_of,
    place_in_subset,
    shard_lengths,
    write_shard,
)
from nih_chest_xray.verification.metadata_schema import FILE_NAMES
from nih_chest_xray.verification.shards import read_shard

CHANGED = "TFDS {version} has changed {what}: see building/tfds_internals.py, which relies on it"


def require(kept: bool, what: str) -> None:
    assert kept, CHANGED.format(version=tfds.__version__, what=what)


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_tfds_still_prepares_and_writes_by_the_methods_that_are_surrounded():
    base = tfds.core.GeneratorBasedBuilder
    expected = ["self", "dl_manager", "download_config"]
    require(parameters(base._download_and_prepare) == expected, "_download_and_prepare")
    require(parameters(base._generate_splits) == expected, "_generate_splits")
    require("self._generate_splits(dl_manager" in inspect.getsource(base._download_and_prepare), "_generate_splits")
    require(parameters(base._get_filename_template) == ["self", "split_name"], "_get_filename_template")
    require(parameters(base._example_writer) == ["self"], "_example_writer")
    require(parameters(writer.ExampleWriter) == ["file_format"], "ExampleWriter")
    require(parameters(writer.ExampleWriter.write) == ["self", "path", "examples"], "ExampleWriter.write")
    source = inspect.getsource(tfds.core.DatasetBuilder.download_and_prepare)
    require(source.index("incomplete_dir(") < source.index("self._download_and_prepare("), "the incomplete folder")


def test_tfds_still_needs_to_be_told_of_the_formats_beside_the_first(tmp_path):
    """Where this fails, `HookedBuilder` need not restore them, or choose array_record."""
    base = tfds.core.DatasetBuilder
    require("alternative_file_formats" not in inspect.getsource(tfds.core.DatasetInfo.read_from_directory), "formats")
    require("suitable_formats.pop()" in inspect.getsource(base.as_data_source), "the choice of a format")
    require("file_format" in parameters(base.as_data_source), "as_data_source")
    require(parameters(tfds.core.DatasetInfo.set_file_format)[1:3] == ["file_format", "override"], "set_file_format")


def test_tfds_still_knows_whether_its_bars_are_on():
    before = bars_are_on()
    try:
        for on in (True, False):
            tfds.display_progress_bar(on)
            require(bars_are_on() is on, "tqdm_utils._active")
    finally:
        tfds.display_progress_bar(before)


def test_mock_data_is_noticed():
    require(not builds_are_mocked(), "DatasetBuilder.download_and_prepare")
    with tfds.testing.mock_data():
        require(builds_are_mocked(), "tfds.testing.mock_data")
    assert not builds_are_mocked()


def test_tfds_still_names_shards_as_a_dataset_may_say():
    require(naming.DEFAULT_FILENAME_TEMPLATE == FILE_NAMES, "the names of shards")


def test_tfds_still_loses_records_of_an_iterator_in_parquet(tmp_path):
    """Where this fails, `_Resumed` can go."""
    adapter = file_adapters.ADAPTER_FOR_FORMAT[file_adapters.FileFormat.PARQUET]
    adapter.write_examples(tmp_path / "shard", iter([(None, b"a")] * 250))
    stored = pyarrow.parquet.read_table(tmp_path / "shard").num_rows
    require(stored == 150, "its Parquet writer, which wrote 150 of 250 records")


def internals(path: Path) -> set[str]:
    """What a module touches of TFDS that is not public: imports of its inner modules, and names with an underscore."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            found |= {name for name in names if name.startswith("tensorflow_datasets.")}
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            owner = ast.unparse(node.value)
            if owner.startswith(("tfds.", "tqdm_utils", "writer")) or owner == "super()":
                found.add(f"{owner}.{node.attr}")
    return {name for name in found if not name.endswith("__")}


def test_no_other_module_touches_tfds_internals():
    package = Path(nih_chest_xray.__file__).parent
    touched = {path.relative_to(package).as_posix(): internals(path) for path in package.rglob("*.py")}
    touching = {name: found for name, found in touched.items() if found}
    assert touching == {
        "building/tfds_internals.py": {
            "tensorflow_datasets.core",
            "tensorflow_datasets.core.utils",
            "tensorflow_datasets.proto",
            "tqdm_utils._active",
            "super()._download_and_prepare",
            "super()._generate_splits",
        }
    }


def test_tfds_still_parses_records_without_tensorflow():
    parsed = fields_of(record(7))
    require(sorted(parsed) == list("abcxyz") and list(parsed["x"].int64_list.value) == [7], "its messages")
    require(list(parsed["none"].int64_list.value) == [], "what a record lacks")


# Shards: what TFDS's own writer would have put where, by the writer itself.


@pytest.mark.parametrize("count", [1, 7, 150])
def test_examples_are_in_the_shards_and_the_order_of_tfds(count, tmp_path):
    shard_config = tfds.download.DownloadConfig(min_shard_size=1000).get_shard_config()
    template = naming.ShardedFileTemplate(
        data_dir=tmp_path, dataset_name="dataset", split="train", filetype_suffix="tfrecord"
    )
    features = tfds.features.FeaturesDict({"number": tfds.features.Scalar(dtype=np.int64)})
    tfds_writer = writer.Writer(
        example_serializer.ExampleSerializer(features.get_serialized_info()),
        template,
        hash_salt="train",
        disable_shuffling=False,
        example_writer=writer.ExampleWriter(file_adapters.FileFormat.TFRECORD),
        shard_config=shard_config,
    )
    for number in range(count):
        tfds_writer.write(f"{number}.png", features.encode_example({"number": number}))
    lengths, size = tfds_writer.finalize()
    require(shard_lengths(shard_config, count, size) == lengths, "the sizes of shards")
    paths = sorted(str(path) for path in tmp_path.iterdir())
    stored = [tf.train.Example.FromString(each) for each in tf.data.TFRecordDataset(paths).as_numpy_iterator()]
    numbers = [example.features.feature["number"].int64_list.value[0] for example in stored]
    expected = sorted(range(count), key=lambda number: place_in_subset("train", f"{number}.png"))
    require(numbers == expected, "the order of examples")


# Beam's writer: every record is stored, in its order, with the same bytes.


def record(number):
    columns = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=[number])) for name in "zyxabc"}
    return tf.train.Example(features=tf.train.Features(feature=columns)).SerializeToString()


# TFDS writes Parquet in batches of 100: none, one that is not full, one, and several, the last one full or not.
@pytest.mark.parametrize("count", [0, 1, 100, 101, 200, 357])
@pytest.mark.parametrize("by_beam", [False, True])
def test_a_shard_of_parquet_holds_every_example_in_order(count, by_beam, tmp_path):
    file_format = file_adapters.FileFormat.PARQUET
    if by_beam:
        keyed = ((number, record(number)) for number in range(count))
        DeterministicWriter(file_format).write(tmp_path / "shard", keyed)
    else:
        write_shard(tmp_path / "shard", file_format, map(record, range(count)))
    stored = pyarrow.parquet.read_table(tmp_path / "shard")["data"].to_pylist()
    numbers = [tf.train.Example.FromString(content).features.feature["a"].int64_list.value[0] for content in stored]
    assert numbers == list(range(count))


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record", "parquet"])
def test_records_that_are_written_as_they_are_are_all_there(file_format, tmp_path):
    records = [bytes([number % 256]) * (number + 1) for number in range(257)]
    write_shard(tmp_path / "shard", file_adapters.FileFormat(file_format), iter(records))
    assert list(read_shard(epath.Path(tmp_path / "shard"), file_format)) == records


def test_columns_are_stored_in_the_order_of_their_names(tmp_path):
    writer = DeterministicWriter(file_adapters.FileFormat.TFRECORD)
    writer.write(tmp_path / "shard", iter([(0, record(7))]))
    [stored] = tf.data.TFRecordDataset(str(tmp_path / "shard")).as_numpy_iterator()
    places = [stored.index(b"\n\x01" + name.encode()) for name in "abcxyz"]  # A key of one byte in a map's entry.
    assert places == sorted(places)

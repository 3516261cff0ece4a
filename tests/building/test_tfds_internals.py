"""Tests of the writer: every record is stored, in its order, with the same bytes."""

import pyarrow.parquet
import pytest
import tensorflow as tf
from tensorflow_datasets.core import file_adapters

from nih_chest_xray.building.tfds_internals import DeterministicWriter


def record(number):
    columns = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=[number])) for name in "zyxabc"}
    return tf.train.Example(features=tf.train.Features(feature=columns)).SerializeToString()


# TFDS writes Parquet in batches of 100: none, one that is not full, one, and several, the last one full or not.
@pytest.mark.parametrize("count", [0, 1, 100, 101, 200, 357])
def test_a_shard_of_parquet_holds_every_example_in_order(count, tmp_path):
    writer = DeterministicWriter(file_adapters.FileFormat.PARQUET)
    writer.write(tmp_path / "shard", ((number, record(number)) for number in range(count)))
    stored = pyarrow.parquet.read_table(tmp_path / "shard")["data"].to_pylist()
    numbers = [tf.train.Example.FromString(content).features.feature["a"].int64_list.value[0] for content in stored]
    assert numbers == list(range(count))


def test_columns_are_stored_in_the_order_of_their_names(tmp_path):
    writer = DeterministicWriter(file_adapters.FileFormat.TFRECORD)
    writer.write(tmp_path / "shard", iter([(0, record(7))]))
    [stored] = tf.data.TFRecordDataset(str(tmp_path / "shard")).as_numpy_iterator()
    places = [stored.index(b"\n\x01" + name.encode()) for name in "abcxyz"]  # A key of one byte in a map's entry.
    assert places == sorted(places)

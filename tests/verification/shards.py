"""Shards of a small built dataset, read, changed and written anew, for tests of verify."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

FRAME = 16
"""Bytes of a TFRecord file for each record: its length and that one's checksum (12) before it, its own (4) behind."""


def shard(folder: Path, subset: str, file_format: str = "tfrecord") -> Path:
    return folder / f"nih_chest_xray-{subset}.{file_format}-00000-of-00001"


def read(path: Path) -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def write(path: Path, records: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def value(record: tf.train.Example, name: str) -> Any:
    """The list of a feature's values, which can be changed."""
    feature = record.features.feature[name]
    return getattr(feature, feature.WhichOneof("kind")).value


def name_of(record: bytes) -> str:
    return value(tf.train.Example.FromString(record), "image_name")[0].decode()


def change(folder: Path, subset: str, number: int, function: Callable[[tf.train.Example], object]) -> str:
    """Writes a shard anew, with its checksums, after a function has changed one of its examples. Returns the name."""
    records = read(shard(folder, subset))
    example = tf.train.Example.FromString(records[number])
    function(example)
    records[number] = example.SerializeToString(deterministic=True)
    write(shard(folder, subset), records)
    return name_of(records[number])


def first_copy(folder: Path) -> int:
    """The number of the first augmented copy in the training shard."""
    return next(number for number, record in enumerate(read(shard(folder, "train"))) if "_aug1" in name_of(record))


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x01
    path.write_bytes(bytes(content))

"""Shards: finds the shards of a dataset, and reads the bytes of each record, past broken ones, or of some."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.building.tfrecord import masked_crc32c
from nih_chest_xray.errors import one_line
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.vocabulary import MAX_SIZE

_NAME = re.compile(r"nih_chest_xray-\w+\.(\w+)-\d{5}-of-\d{5}")
"""The name of a shard. The group is the format's suffix."""


def formats(info: tfds.core.DatasetInfo) -> list[tfds.core.FileFormat]:
    """Returns the formats of a dataset's shards: the first, then those that dataset_info.json names or a shard has.

    `tfds convert_format` does not always name the formats that it adds, so the names of the shards are checked too.
    """
    held = {match[1] for path in epath.Path(info.data_dir).iterdir() if (match := _NAME.fullmatch(path.name))}
    others = [
        other
        for other in tfds.core.FileFormat
        if other != info.file_format and (other in info.alternative_file_formats or other.file_suffix in held)
    ]
    return [info.file_format, *others]


def shards(
    info: tfds.core.DatasetInfo, file_format: tfds.core.FileFormat | None = None
) -> list[tuple[str, epath.Path]]:
    """Returns the subset and path of each shard in dataset_info.json, in its own format or another."""
    suffix = (file_format or info.file_format).file_suffix
    templates = {name: split.filename_template.replace(filetype_suffix=suffix) for name, split in info.splits.items()}
    return [
        (name, epath.Path(path))
        for name, template in templates.items()
        for path in template.sharded_filepaths(info.splits[name].num_shards)
    ]


def read_shard(path: epath.Path, file_format: str) -> Iterator[bytes | str]:
    """Yields the bytes of each record of a shard; for a broken record, a text that says what is wrong.

    Args:
      path: The shard's path.
      file_format: The format's name in TFDS: 'tfrecord', 'array_record' or 'parquet'.
    """
    readers = {"tfrecord": _read_tfrecord, "array_record": _read_array_record, "parquet": _read_parquet}
    if file_format not in readers:
        yield f"records in the format {file_format} cannot be checked; expected {', '.join(readers)}"
        return
    try:
        yield from readers[file_format](path)
    except Exception as error:  # A damaged file can cause any error in TensorFlow, Arrow or the system.
        yield f"the shard cannot be read from here on ({one_line(error)})"


_HEADER, _CHECKSUM = 12, 4
"""Bytes before a record in a TFRecord file (its length and the length's checksum), and after it (its checksum)."""
_CUT = "the shard ends in the middle of it"


def _read_tfrecord(path: epath.Path) -> Iterator[bytes | str]:
    """Reads on after a broken record, unlike TensorFlow. After a broken length nothing can be found."""
    left = path.stat().length
    with path.open("rb") as file:
        while header := file.read(_HEADER):
            if len(header) < _HEADER:
                yield _CUT
                return
            if (size := _size(header)) is None:
                yield "its length does not match its checksum (CRC32C), so that nothing after it can be found"
                return
            left -= _HEADER + size + _CHECKSUM
            if left < 0:
                yield _CUT
                return
            record = file.read(size)
            intact = masked_crc32c(record) == file.read(_CHECKSUM)
            yield record if intact else "its bytes do not match their checksum (CRC32C)"


def claims_too_much(path: epath.Path) -> bool:
    """Returns whether a record of a TFRecord file claims a length that no record has, with a matching checksum.

    TensorFlow allocates as much memory as the length says, and ends the whole process if there is not enough. A shard
    on a server is not checked, because that would take too many reads.
    """
    if is_remote(path):
        return False
    with path.open("rb") as file:
        while len(header := file.read(_HEADER)) == _HEADER and (size := _size(header)) is not None:
            if size > MAX_SIZE:
                return True
            file.seek(size + _CHECKSUM, os.SEEK_CUR)
    return False


def _size(header: bytes) -> int | None:
    """Returns the size in bytes of the record after a header; None if the header's checksum does not match."""
    return struct.unpack("<Q", header[:8])[0] if masked_crc32c(header[:8]) == header[8:] else None


def _read_array_record(path: epath.Path) -> Iterator[bytes | str]:
    """Reads ArrayRecord. Its reader compares the format's own checksum of each record."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource  # Not available on all platforms.

    source = ArrayRecordDataSource([os.fspath(path)])
    for number in range(len(source)):
        try:
            yield source[number]
        except RuntimeError as error:
            yield one_line(error)


def _read_parquet(path: epath.Path) -> Iterator[bytes | str]:
    """Reads Parquet. TFDS writes it without checksums, so a flipped byte shows only if it breaks the image."""
    import pyarrow.parquet

    with path.open("rb") as file:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=16):
            yield from batch.column(0).to_pylist()


def chosen_records(path: epath.Path, file_format: str, numbers: Sequence[int]) -> Iterator[bytes]:
    """Yields some records of a shard without reading the others.

    Args:
      path: The shard's path.
      file_format: The format's name in TFDS: 'tfrecord', 'array_record' or 'parquet'.
      numbers: The records' numbers in the shard, from 0, ascending.

    Raises:
      Exception: Whatever the format's reader raises for a damaged file or a record that it does not have.
    """
    readers = {"tfrecord": _seek_tfrecord, "array_record": _seek_array_record, "parquet": _seek_parquet}
    return readers[file_format](path, numbers)


def _seek_tfrecord(path: epath.Path, numbers: Sequence[int]) -> Iterator[bytes]:
    at = 0
    with path.open("rb") as file:
        for number in numbers:
            for _ in range(number - at):
                file.seek(_next_size(file, path) + _CHECKSUM, os.SEEK_CUR)
            record = file.read(_next_size(file, path))
            if masked_crc32c(record) != file.read(_CHECKSUM):
                raise ValueError(f"record {number} of {path.name} does not match its checksum (CRC32C)")
            at = number + 1
            yield record


def _next_size(file: Any, path: epath.Path) -> int:
    size = _size(file.read(_HEADER).ljust(_HEADER, b"\0"))
    if size is None or size > MAX_SIZE:
        raise ValueError(f"truncated or corrupt record in {path.name}")
    return size


def _seek_array_record(path: epath.Path, numbers: Sequence[int]) -> Iterator[bytes]:
    from array_record.python.array_record_data_source import ArrayRecordDataSource  # Not available on all platforms.

    source = ArrayRecordDataSource([os.fspath(path)])
    return (source[number] for number in numbers)


def _seek_parquet(path: epath.Path, numbers: Sequence[int]) -> Iterator[bytes]:
    import pyarrow.parquet

    with path.open("rb") as file:
        table = pyarrow.parquet.ParquetFile(file)
        start, left = 0, list(numbers)
        for group in range(table.num_row_groups):
            end = start + table.metadata.row_group(group).num_rows
            inside = [number - start for number in left if number < end]
            if inside:
                yield from table.read_row_group(group).column(0).take(inside).to_pylist()
                left = left[len(inside) :]
            start = end
        if left:
            raise ValueError(f"{path.name} has {start:,} records; expected record {left[0]:,}")

"""Convert: adds the shards of another format to a built dataset, so that one folder is read in several ways.

The new shards are made in a folder `incomplete.…` beside the dataset, as a build's are, read back, and moved in when
all are whole. Only then does dataset_info.json name their format, and until it does TFDS does not read them. So a
conversion that is killed at any moment leaves a dataset that loads as before, and the next one, or the next build,
removes what it left.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import string
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.building.completeness import missing_parts
from nih_chest_xray.building.locking import flush, full_disk_explained, only_build
from nih_chest_xray.building.parallel import map_in_order, worker_count
from nih_chest_xray.building.tfds_internals import write_shard
from nih_chest_xray.catalog.datasets import Built, open_dataset
from nih_chest_xray.errors import ConversionError, UsageError
from nih_chest_xray.formats.same_records import Pair, difference, records_of
from nih_chest_xray.planning.summary import cap_of
from nih_chest_xray.system.bars import bar
from nih_chest_xray.system.disk_space import Need, require_room
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.system.removal import UNFINISHED, remove
from nih_chest_xray.verification.dataset_folder import INFO
from nih_chest_xray.verification.metadata_schema import FILE_FORMATS
from nih_chest_xray.verification.shards import shards

_LIBRARIES = {"array_record": "array_record", "parquet": "pyarrow"}
"""The library that each format needs besides TensorFlow."""
_OF_RECORD, _OF_SHARD = 300, 256 << 10
"""Bytes that a format adds to each record and to each shard, at most. Parquet and TFRecord add less than array_record,
which stores 500 records of 5,000 bytes in 243 bytes more for each, and fills blocks of 64 KiB."""
_DRAWN = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt} of {total_fmt} records, {remaining} left"
_LINE = "{desc}: {percentage:3.0f} %, {n_fmt} of {total_fmt} records, {remaining} left"


def convert(dataset: Any, to: str) -> tuple[Built, list[str]]:
    """Adds the shards of a format to a built dataset. Shards of it that are there and right are kept.

    Each shard has the records of the dataset's first format, byte for byte and in the same order. What becomes of the
    first format: `tfds.load` reads the first one alone, and array_record not at all, so tfrecord comes first from now
    on where it is added; any other format comes after those that are there.

    Args:
      dataset: A builder of TFDS, or the folder of a dataset or of a data_dir with one config.
      to: 'array_record', 'parquet' or 'tfrecord'.

    Returns:
      The dataset as it is now, and the names of the shards that were written. There are none if the format was there.

    Raises:
      CatalogError, UsageError: There is no such dataset, or several, or it is not whole, not on this machine, or not
        of this version of the package.
      ConversionError: A library is not installed; a record of the dataset is broken; or shards of that format are
        there, but have other records. Nothing was changed.
      BuildInProgressError: Another process builds or converts the dataset.
      NoRoomError, OSError: The disk is too small, or the system refuses something. Nothing was changed.
    """
    if to not in FILE_FORMATS:
        raise UsageError(f"the format is {to!r}; expected one of {', '.join(FILE_FORMATS)}")
    folder = dataset.data_dir if isinstance(dataset, tfds.core.DatasetBuilder) else dataset
    if not isinstance(dataset, Built) and is_remote(folder):
        raise UsageError(f"{folder} is not on this machine; convert a copy that is, and copy the new files there")
    built = open_dataset(dataset)
    # A copy may have any name; a build, and what it leaves, is known by the version.
    place = built.path.with_name(built.version)
    with full_disk_explained(built.path, "conversion", "convert on another disk"), only_build(place):
        _require_whole(built.path)
        built = open_dataset(built.path)  # Again: by now another process may have converted it.
        added = _add(built, tfds.core.FileFormat(to))
    if (cap := cap_of(built.metadata)) is not None:
        warnings.warn(f"{built.path} is a trial build of at most {cap:,} examples a subset.", stacklevel=2)
    return open_dataset(built.path), added


def _require_whole(folder: epath.Path) -> None:
    if missing := missing_parts(folder):
        more = f" (and {len(missing) - 1} more)" if missing[1:] else ""
        raise UsageError(f"{folder} is not a whole dataset: {missing[0]}{more}. Copy it again, or build it again")


def _add(built: Built, file_format: tfds.core.FileFormat) -> list[str]:
    """Adds a format, and returns the names of the shards that were written."""
    info, folder = built.builder.info, built.path
    if file_format == info.file_format:
        return []
    _require_libraries(info.file_format.value, file_format.value)
    counts = [count for split in info.splits.values() for count in split.shard_lengths]
    pairs = [
        Pair(ours, theirs, info.file_format.value, file_format.value, count)
        for (_, ours), (_, theirs), count in zip(shards(info), shards(info, file_format), counts, strict=True)
    ]
    there = [pair for pair in pairs if pair.theirs.exists()]
    _refuse_others(folder, file_format, pairs)
    if problems := _each(difference, there, f"{built.full_name}, comparing {file_format.value}"):
        raise ConversionError(
            f"{folder} has shards of {file_format.value} already, but not those of its {info.file_format.value}:"
            f" {problems[0]}{f' (and {len(problems) - 1} more)' if problems[1:] else ''}. Remove all files of"
            f" {folder / f'*.{file_format.file_suffix}-*'}, and convert again"
        )
    lacking = [pair for pair in pairs if pair not in there]
    if not lacking and file_format in info.alternative_file_formats:
        return []
    require_room([Need(folder, _size(info, lacking), f"the shards of {file_format.value}")], "use another disk")
    with _work_folder(built) as work:
        made = [pair.with_theirs(work / pair.theirs.name) for pair in lacking]
        if problems := _each(_write, made, f"{built.full_name}, {file_format.value}"):
            raise ConversionError(f"{problems[0]}, although it was just written. Is the disk in order?")
        flush(work)
        for pair, new in zip(lacking, made, strict=True):
            new.theirs.rename(pair.theirs)
        sizes = {pair.theirs.name: pair.theirs.stat().length for pair in pairs}
        _replace(folder / "metadata.json", work, lambda content: _with_sizes(content, sizes))
        flush(folder)
        _replace(folder / INFO, work, lambda content: _with_format(content, file_format), indent=2, sort_keys=True)
        flush(folder)
    return [pair.theirs.name for pair in lacking]


def _size(info: tfds.core.DatasetInfo, lacking: list[Pair]) -> int:
    """Estimates the bytes of shards to write."""
    # array_record and Parquet compress; dataset_info.json has the bytes of all records as they are.
    records = int(info.dataset_size) / max(1, info.splits.total_num_examples)
    return sum(
        max(pair.ours.stat().length, int(records * pair.count)) + _OF_RECORD * pair.count + _OF_SHARD
        for pair in lacking
    )


def _require_libraries(*file_formats: str) -> None:
    for file_format in file_formats:
        library = _LIBRARIES.get(file_format)
        if library and importlib.util.find_spec(library) is None:
            raise ConversionError(f"{library} is not installed, which {file_format} needs: `pip install {library}`")


def _refuse_others(folder: epath.Path, file_format: tfds.core.FileFormat, pairs: list[Pair]) -> None:
    """Refuses shards of the format that TFDS would not read, such as those of a build with another number of them."""
    expected = {pair.theirs.name for pair in pairs}
    others = sorted(
        path.name for path in folder.glob(f"*.{file_format.file_suffix}-*-of-*") if path.name not in expected
    )
    if others:
        raise ConversionError(
            f"{folder / others[0]} is not a shard that the dataset has in {file_format.value}. Move it away, and"
            " convert again"
        )


def _each(function: Callable[..., str | None], pairs: list[Pair], what: str) -> list[str]:
    """Calls a function for each pair of shards, on all cores and with a bar. Returns what it says is wrong."""
    lock = threading.Lock()
    with bar(_DRAWN, _LINE, desc=what, total=sum(pair.count for pair in pairs), disable=not pairs) as shown:

        def on_record() -> None:
            with lock:
                shown.update()

        results = map_in_order(lambda pair: function(pair, on_record), pairs, worker_count())
        return list(filter(None, results))


def _write(pair: Pair, on_record: Callable[[], None]) -> str | None:
    """Writes the other shard, counts its records, and returns how what is on the disk differs."""

    def counted() -> Iterator[bytes]:
        for record in records_of(pair):
            yield record
            on_record()

    write_shard(pair.theirs, tfds.core.FileFormat(pair.their_format), counted())
    return difference(pair)


@contextlib.contextmanager
def _work_folder(built: Built) -> Iterator[epath.Path]:
    """Makes a folder beside a dataset, with a name that the next build or conversion removes, and removes it."""
    unique = "".join(random.choices(string.ascii_uppercase + string.digits, k=6))
    work = built.path.with_name(f"incomplete.{unique}_{built.version}")
    work.mkdir()
    try:
        yield work
    finally:
        remove(work, UNFINISHED, within=work.parent)


def _replace(path: epath.Path, work: epath.Path, change: Callable[[dict[str, Any]], object], **style: Any) -> None:
    """Replaces a JSON file by a changed one, whole or not at all. It keeps its mode and the time of the build."""
    content, before = json.loads(path.read_text()), Path(path).stat()
    change(content)
    new = work / path.name
    new.write_text(json.dumps(content, **style))
    Path(new).chmod(before.st_mode)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    flush(work)
    new.replace(path)


def _with_sizes(metadata: dict[str, Any], sizes: Mapping[str, int]) -> None:
    if "shard_sizes" in metadata:  # Datasets of an earlier version lack it.
        metadata["shard_sizes"] |= sizes


def _with_format(info: dict[str, Any], file_format: tfds.core.FileFormat) -> None:
    others = [name for name in info.get("alternativeFileFormats", []) if name != file_format.value]
    if file_format == tfds.core.FileFormat.TFRECORD:
        info["fileFormat"], others = file_format.value, [info["fileFormat"], *others]
    else:
        others.append(file_format.value)
    info["alternativeFileFormats"] = others

"""Source: the examples of a subset by index, for PyTorch's DataLoader and Grain."""

from __future__ import annotations

import functools
import operator
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, SupportsIndex

import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.reading.examples import ExampleParser

_DECODE = tfds.decode.DeserializeMethod.DESERIALIZE_AND_DECODE
_THREADS = 4
"""Threads of a process that read while it decodes."""
_first_reader: list[int] = []
"""The process that was the first to read array_record; a fork of it inherits the list."""


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "example_reader")


if hasattr(os, "register_at_fork"):  # Windows has no forks.
    os.register_at_fork(after_in_child=_threads.cache_clear)  # A fork has none of its parent's threads.


class ExampleSource(Sequence[dict[str, Any]]):
    """The examples of a subset, as `tfds.data_source` gives them, read and decoded faster.

    It can be sent to other processes.
    """

    def __init__(self, records: Any, parser: ExampleParser, dataset_info: tfds.core.DatasetInfo, split: Any) -> None:
        """Takes what the examples are made of.

        Args:
          records: The records by index, with `__getitem__`, of any thread.
          parser: What makes examples of them.
          dataset_info: The dataset's info.
          split: The subset that these records are, as the user named it.
        """
        self.dataset_info, self.split = dataset_info, split
        self._records, self._parser = records, parser
        self._of_threads = type(records).__module__.partition(".")[0] == "array_record"

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, key: SupportsIndex) -> dict[str, Any]:  # type: ignore[override]
        """Returns an example.

        Raises:
          IndexError: There is no such example.
          ImageError, ValueError: The record is damaged.
          RuntimeError: This is a fork of a process that has read array_record.
        """
        self._refuse_forks()
        return self._parser.parse(self._records[self._place(key)])

    def __getitems__(self, keys: Iterable[SupportsIndex]) -> list[dict[str, Any]]:
        """Returns examples, for which PyTorch's DataLoader asks a batch at a time; reads while it decodes.

        Raises:
          IndexError, ImageError, ValueError, RuntimeError: As `__getitem__`.
        """
        self._refuse_forks()
        places = [self._place(key) for key in keys]
        parts = [places[start::_THREADS] for start in range(_THREADS)]
        read = [_threads().submit(_read, self._records, part) for part in parts]
        return [
            self._parser.parse(read[number % _THREADS].result()[number // _THREADS]) for number in range(len(places))
        ]

    def _refuse_forks(self) -> None:
        if not self._of_threads:
            return
        if not _first_reader:
            _first_reader.append(os.getpid())
        if _first_reader[0] != os.getpid():
            raise RuntimeError(
                "the process that this one was forked from has read array_record already, whose threads are not here:"
                ' start workers with multiprocessing_context="forkserver"'
            )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        """Says what it reads: Grain compares it when it goes on where it stopped."""
        return f"{type(self).__name__}(name={self.dataset_info.full_name}, split={self.split!r})"

    def _place(self, key: SupportsIndex) -> int:
        place = operator.index(key)
        if not -len(self) <= place < len(self):
            raise IndexError(f"{self!r} has {len(self):,} examples, none at {place}")
        return place % len(self)


def _read(records: Any, places: list[int]) -> list[Any]:
    return [records[place] for place in places]


def data_source(
    dataset: str | tfds.core.DatasetBuilder,
    split: Any = None,
    *,
    data_dir: epath.PathLike | None = None,
    decoders: Any = None,
) -> Any:
    """Opens a built dataset by index, as `tfds.data_source` does, and reads it faster.

    `tfds.data_source` returns the same for the named configs where this package is imported; a config of your own, and
    a folder, TFDS reads with its own code, which takes twice as long.

    Args:
      dataset: A name such as `nih_chest_xray/my_config`, or a builder, such as `tfds.builder_from_directory` returns.
      split: As TFDS names it: 'train', 'train[:10]', what `tfds.even_splits` returns, or a list or dictionary of such;
        None for a dictionary of all subsets.
      data_dir: Where the dataset of a name is; None for TFDS's default.
      decoders: A `tfds.decode.PartialDecoding` of some features; or decoders of features, which TFDS then reads itself.

    Returns:
      An `ExampleSource`, or as many as `split` names.

    Raises:
      ValueError: The dataset is not built, or not stored as array_record or Parquet.
    """
    builder = tfds.builder(dataset, data_dir=data_dir) if isinstance(dataset, str) else dataset
    more = {}
    if tfds.core.FileFormat.ARRAY_RECORD in builder.info.available_file_formats():
        more["file_format"] = "array_record"  # Of this and Parquet, TFDS 4.9.10 takes one by chance.
    return open_sources(builder.as_data_source, builder.info, split, decoders, **more)


def open_sources(read: Callable[..., Any], info: tfds.core.DatasetInfo, split: Any, decoders: Any, **more: Any) -> Any:
    """Opens subsets by index.

    Args:
      read: TFDS's method of the builder that does so.
      info: The dataset's info.
      split: The subsets, as `read` takes them.
      decoders: The decoders, as `read` takes them.
      more: More that `read` takes.

    Raises:
      ValueError: The dataset is not built, or not in a format that is read by index.
    """
    _require_by_index(info)
    parser = _parser(info.features, decoders)
    if parser is None or more.get("deserialize_method", _DECODE) != _DECODE:
        return read(split, decoders=decoders, **more)
    more["deserialize_method"] = tfds.decode.DeserializeMethod.RAW_BYTES

    def each(records: Any) -> Any:
        if isinstance(records, dict):
            return {name: each(inner) for name, inner in records.items()}
        if isinstance(records, list | tuple):
            return type(records)(map(each, records))
        return ExampleSource(records.data_source, parser, info, records.split)

    return each(read(split, **more))


def _require_by_index(info: tfds.core.DatasetInfo) -> None:
    """Raises an error that says what to do; TFDS's says to delete the data."""
    if not epath.Path(info.data_dir).is_dir():
        raise ValueError(f"{info.full_name} is not built in {info.data_dir}; build it with `nih-chest-xray build`")
    there = info.available_file_formats()
    if not there & {tfds.core.FileFormat.ARRAY_RECORD, tfds.core.FileFormat.PARQUET}:
        raise ValueError(
            f"{info.data_dir} exists in the format {' and '.join(each.value for each in there)}, which is not read by"
            f" index; add one that is with `nih-chest-xray convert {shlex.quote(str(info.data_dir))} --to array_record`"
        )


def _parser(features: tfds.features.FeaturesDict, decoders: Any) -> ExampleParser | None:
    """Returns what parses records; None if TFDS has to, since it was given decoders or features of another kind."""
    if isinstance(decoders, tfds.decode.PartialDecoding) and not decoders.decoders:
        features, decoders = decoders.extract_features(features), None
    try:
        return ExampleParser(features) if not decoders else None
    except NotImplementedError:
        return None

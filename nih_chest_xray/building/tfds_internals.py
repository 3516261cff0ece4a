"""TFDS's internals: every private part of TFDS that the package uses, each with the reason why no public part serves.

No other module uses any. `tests/building/test_tfds_internals.py` fails if TFDS changes one.
"""

from __future__ import annotations

import abc
import functools
import itertools
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import file_adapters, hashing, writer
from tensorflow_datasets.core.utils import shard_utils, tqdm_utils
from tensorflow_datasets.proto import tf_example_pb2

from nih_chest_xray.building.tfrecord import write_tfrecord


def bars_are_on() -> bool:
    """Returns whether TFDS shows its bars.

    Why: `tfds.disable_progress_bar` and `tfds.display_progress_bar` switch them, but nothing public reads their state.
    """
    return tqdm_utils._active


def builds_are_mocked() -> bool:
    """Returns whether `tfds.testing.mock_data` has replaced the method that builds with one that does nothing.

    Why: under it a builder must do nothing either, and nothing public says whether it is active.
    """
    base = tfds.core.DatasetBuilder
    return base.download_and_prepare.__module__ != base.__module__


def uses_beam(download_config: tfds.download.DownloadConfig) -> bool:
    """Returns whether the user asks for Beam."""
    return bool(download_config.beam_options or download_config.beam_runner)


def new_example() -> Any:
    """Returns an empty `tf.train.Example`.

    Why: TensorFlow's, the public one, takes seconds to import. This is TFDS's copy of it.
    """
    return tf_example_pb2.Example()


@functools.cache
def _hasher(subset: str) -> hashing.Hasher:
    return hashing.Hasher(subset)


def place_in_subset(subset: str, key: str) -> int:
    """Returns the number of 128 bits by which TFDS orders the examples of a subset, given an example's key.

    Why: that order is part of a dataset, also of one that Beam or an older version of the package built.
    """
    return _hasher(subset).hash_key(key)


def shard_lengths(shard_config: Any, examples: int, size: int) -> list[int]:
    """Returns how many examples each shard of a subset holds.

    Why: as for the order of examples.

    Args:
      shard_config: What the user asks for: `DownloadConfig.get_shard_config()`.
      examples: Number of examples.
      size: Bytes of their records.
    """
    shards = shard_config.get_number_shards(size, examples)
    ends = [0, *shard_utils.get_shard_boundaries(examples, shards)]
    return [end - begin for begin, end in itertools.pairwise(ends)]


def write_shard(path: epath.Path, file_format: tfds.core.FileFormat, records: Iterable[bytes]) -> None:
    """Writes a shard: TFRecords by the package's own writer, array_record uncompressed, Parquet by TFDS's.

    TFDS has array_record compress each record. Encoded images become no smaller by it, and raw pixels 24 %, but a
    record of 512 x 512 raw pixels then takes 2.3 ms to write and 0.44 ms to read, instead of 0.24 and 0.13.

    Why: nothing public writes a single shard, or sets the options of its file.

    Raises:
      OSError: The disk is full, or the system refuses something else.
      ImportError: The library of the format is not installed.
    """
    if file_format == tfds.core.FileFormat.TFRECORD:
        write_tfrecord(path, records)
        return
    if file_format == tfds.core.FileFormat.ARRAY_RECORD:
        from array_record.python import array_record_module  # Not at the top: few builds are in this format.

        shard = array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1,uncompressed")
        for record in records:
            shard.write(record)
        shard.close()
        return
    adapter = file_adapters.ADAPTER_FOR_FORMAT[file_format]
    adapter.write_examples(path, _Resumed((None, record) for record in records))


StoreSubset = Callable[[str, Iterator[bytes], int, int], tfds.core.SplitInfo]
"""Writes the shards of a subset, given its name, its records in their order, their number and their bytes."""


class HookedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """TFDS's builder with hooks around the making of a dataset, and for the making of its examples without Beam.

    It also reads a dataset in each format that its folder holds.
    """

    def __init__(self, *, file_format: str | tfds.core.FileFormat | None = None, **kwargs: Any) -> None:
        """Takes TFDS's arguments. If the dataset exists, `file_format` may be any format that it has.

        Why: a builder from code does not restore the formats that dataset_info.json gives beside the first one, so that
        `tfds.data_source` finds none of them. And it refuses any `file_format` but the first one, although
        `tfds.data_source` asks for array_record by itself. A builder from files restores them.

        Raises:
          ValueError: The dataset exists, but not in this format.
        """
        super().__init__(**kwargs)
        others = self.info.alternative_file_formats
        # `add_alternative_file_format` would name them once more in the content of the file.
        others.extend(
            other
            for other in map(tfds.core.FileFormat, self.info.as_proto.alternative_file_formats)
            if other not in others
        )
        if file_format and self.info.initialized and tfds.core.FileFormat(file_format) in others:
            self.info.set_file_format(file_format, override=True, override_if_initialized=True)
        elif file_format and self.info.initialized and tfds.core.FileFormat(file_format) != self.info.file_format:
            there = " and ".join(sorted(each.value for each in self.info.available_file_formats()))
            asked = tfds.core.FileFormat(file_format).value
            raise ValueError(
                f"{self.data_dir} exists in the format {there}. To add {asked}, use `nih-chest-xray convert"
                f" {shlex.quote(str(self.data_dir))} --to {asked}`, or build in another data_dir."
            )
        elif file_format:
            self.info.set_file_format(file_format, override=not self.info.initialized)

    def as_data_source(self, split: Any = None, *, file_format: Any = None, **more: Any) -> Any:
        """Reads array_record if the dataset has it, unless another format is asked for.

        Why: of array_record and Parquet, TFDS 4.9.10 takes one by chance, and reads a whole shard of Parquet at once.
        And it leaves the builder with that format, which `as_dataset` may not read.
        """
        if file_format is None and tfds.core.FileFormat.ARRAY_RECORD in self.info.available_file_formats():
            file_format = tfds.core.FileFormat.ARRAY_RECORD
        before = self.info.file_format
        try:
            return super().as_data_source(split, file_format=file_format, **more)
        finally:
            if self.info.file_format != before:
                self.info.set_file_format(before, override=True, override_if_initialized=True)

    @abc.abstractmethod
    def preparing(self, download_config: tfds.download.DownloadConfig) -> AbstractContextManager[None]:
        """Returns a context for the making of a dataset, in the folder that TFDS renames at the end."""

    @abc.abstractmethod
    def make_subsets(self, dl_manager: tfds.download.DownloadManager, store: StoreSubset) -> list[tfds.core.SplitInfo]:
        """Makes all examples without Beam.

        Args:
          dl_manager: TFDS's download manager.
          store: Writes a subset's shards. It may be called in any thread, for several subsets at once.

        Returns:
          What `store` returned for each subset, in the order of subsets.
        """

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        """Wraps TFDS's method in `preparing`.

        Why: `tfds.core.Metadata.save_metadata` is public and runs in the same folder, but only after success. What a
        failed Beam pipeline recorded about broken images must be read before TFDS removes the folder.
        """
        with self.preparing(download_config):
            super()._download_and_prepare(dl_manager, download_config)

    def _generate_splits(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> Sequence[tfds.core.SplitInfo]:
        """Has all subsets made at once, unless Beam makes them.

        Why: TFDS asks for one subset after another, and serialises, sorts and writes in the thread that asks. Nothing
        public accepts records that are made elsewhere.
        """
        if uses_beam(download_config):
            return super()._generate_splits(dl_manager, download_config)
        return self.make_subsets(dl_manager, functools.partial(self._store, download_config.get_shard_config()))

    def _store(
        self, shard_config: Any, subset: str, records: Iterator[bytes], examples: int, size: int
    ) -> tfds.core.SplitInfo:
        template = self._get_filename_template(split_name=subset)
        lengths = shard_lengths(shard_config, examples, size)
        for number, length in enumerate(lengths):
            path = template.sharded_filepath(shard_index=number, num_shards=len(lengths))
            write_shard(path, self.info.file_format, itertools.islice(records, length))
        return tfds.core.SplitInfo(name=subset, shard_lengths=lengths, num_bytes=size, filename_template=template)

    def _example_writer(self) -> writer.ExampleWriter:
        """Returns Beam's writer, which makes the bytes of a dataset the same in every build.

        Why: nothing public accepts a writer, or sets the order of a record's columns.
        """
        return DeterministicWriter(self.info.file_format)


class DeterministicWriter(writer.ExampleWriter):
    """TFDS's writer, with the columns of each record sorted by name, as `records.Serializer` has them."""

    def write(self, path: epath.PathLike, examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Writes a shard.

        Args:
          path: The shard's path.
          examples: Keys and serialised `tf.train.Example`s.
        """
        write_shard(epath.Path(path), self.file_format, (_in_order(record) for _, record in examples))


class _Resumed:
    """Items that each new iteration continues, after a None for every item that was already read.

    TFDS 4.9.10 writes Parquet in batches of 100 and takes each with `itertools.islice(items, start, start + 100)`. An
    iterator does not start again, so each batch skips another `start` items. A list would start again, but a list of
    one shard's records takes a gigabyte. This minimal example prints 150:

        from tensorflow_datasets.core import file_adapters
        adapter = file_adapters.ADAPTER_FOR_FORMAT[file_adapters.FileFormat.PARQUET]
        adapter.write_examples("/tmp/x.parquet", iter([(None, b"a")] * 250))
        print(len(list(adapter.make_tf_data("/tmp/x.parquet"))))
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self._read = 0

    def __iter__(self) -> Iterator[Any]:
        yield from itertools.repeat(None, self._read)
        for item in self._items:
            self._read += 1
            yield item


def _in_order(record: bytes) -> bytes:
    return tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True)


def fields_of(record: bytes) -> Any:
    """Returns the fields of a record: a mapping from names to `tf.train.Feature`s; an empty one for a name it lacks.

    Why: `tf.train.Example.FromString` is public, but importing TensorFlow takes each process that reads seconds and
    0.4 GB. TFDS has the same messages without it.
    """
    return tf_example_pb2.Example.FromString(record).features.feature

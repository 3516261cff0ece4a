"""TFDS's internals: every private part of TFDS that the package uses, each with the reason why no public part serves.

No other module uses any. `tests/building/test_tfds_internals.py` fails if TFDS changes one.
"""

from __future__ import annotations

import abc
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import writer
from tensorflow_datasets.core.utils import tqdm_utils
from tensorflow_datasets.proto import tf_example_pb2


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


class HookedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """TFDS's builder with two hooks: one around the making of a dataset, and one for each record."""

    @abc.abstractmethod
    def preparing(self, download_config: tfds.download.DownloadConfig) -> AbstractContextManager[None]:
        """Returns a context for the making of a dataset, in the folder that TFDS renames at the end."""

    @abc.abstractmethod
    def on_record(self) -> Callable[[], None] | None:
        """Returns a function to call for each record stored in its shard, or None."""

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        """Wraps TFDS's method in `preparing`.

        Why: `tfds.core.Metadata.save_metadata` is public and runs in the same folder, but only after success. What a
        failed Beam pipeline recorded about broken images must be read before TFDS removes the folder.
        """
        with self.preparing(download_config):
            super()._download_and_prepare(dl_manager, download_config)

    def _example_writer(self) -> writer.ExampleWriter:
        """Returns a writer that makes the bytes of a dataset the same in every build.

        Why: nothing public accepts a writer, or sets the order of a record's columns.
        """
        return DeterministicWriter(self.info.file_format, self.on_record())


class UncompressedWriter(writer.ExampleWriter):
    """TFDS's writer, with records as they are in array_record, too.

    TFDS has them compressed there. Encoded images become no smaller by it, and raw pixels 24 %, but a record of 512 x
    512 raw pixels then takes 2.3 ms to write and 0.44 ms to read, instead of 0.24 and 0.13.

    Why: nothing public sets the options of the file.
    """

    def write(self, path: epath.PathLike, examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Writes a shard.

        Args:
          path: The shard's path.
          examples: Keys and serialised `tf.train.Example`s.
        """
        if self.file_format != tfds.core.FileFormat.ARRAY_RECORD:
            return super().write(path, examples)
        from array_record.python import array_record_module  # Not at the top: few builds are in this format.

        shard = array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1,uncompressed")
        for _, record in examples:
            shard.write(record)
        shard.close()
        return None


class DeterministicWriter(UncompressedWriter):
    """A writer of records whose columns are sorted by name.

    TFDS serialises the columns in an order that changes from process to process, because protobuf's maps are unordered.
    Two builds of the same examples would then differ in their bytes, and so in the digests of their files.
    """

    def __init__(self, file_format: tfds.core.FileFormat, on_record: Callable[[], None] | None = None) -> None:
        """Takes the file format, and a function to call for each record."""
        super().__init__(file_format)
        self._on_record = on_record

    def write(self, path: epath.PathLike, examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Writes a shard.

        Args:
          path: The shard's path.
          examples: Keys and serialised `tf.train.Example`s.
        """
        return super().write(path, _Resumed(self._records(examples)))

    def _records(self, examples: Iterable[tuple[Any, bytes]]) -> Iterator[tuple[Any, bytes]]:
        for key, record in examples:
            yield key, _in_order(record)
            if self._on_record:
                self._on_record()


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
    import tensorflow as tf  # Not at the top: importing TensorFlow takes seconds.

    return tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def fields_of(record: bytes) -> Any:
    """Returns the fields of a record: a mapping from names to `tf.train.Feature`s; an empty one for a name it lacks.

    Why: `tf.train.Example.FromString` is public, but importing TensorFlow takes each process that reads seconds and
    0.4 GB. TFDS has the same messages without it.
    """
    return tf_example_pb2.Example.FromString(record).features.feature

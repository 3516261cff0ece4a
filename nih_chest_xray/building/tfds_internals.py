"""TFDS's internals: every private part of TFDS that the package uses, each with the reason why no public part serves.

No other module uses any. `tests/building/test_tfds_internals.py` fails if TFDS changes one.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import writer
from tensorflow_datasets.core.utils import tqdm_utils


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
    """TFDS's builder with two hooks: one around the making of a dataset, and one for each record.

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
        elif file_format:
            self.info.set_file_format(file_format, override=not self.info.initialized)

    def as_data_source(self, *arguments: Any, file_format: Any = None, **more: Any) -> Any:
        """Reads array_record if the dataset has it, unless another format is asked for.

        Why: of array_record and Parquet, TFDS 4.9.10 takes one by chance, and reads a whole shard of Parquet at once.
        """
        if file_format is None and tfds.core.FileFormat.ARRAY_RECORD in self.info.available_file_formats():
            file_format = tfds.core.FileFormat.ARRAY_RECORD
        return super().as_data_source(*arguments, file_format=file_format, **more)

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


class DeterministicWriter(writer.ExampleWriter):
    """TFDS's writer, with the columns of each record sorted by name.

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


def write_shard(path: epath.PathLike, file_format: tfds.core.FileFormat, records: Iterable[bytes]) -> None:
    """Writes a shard of records as they are.

    Why: TFDS has a writer for each format, but none of them is public, and that of Parquet needs `_Resumed`.

    Args:
      path: The shard's path.
      file_format: The shard's format.
      records: Serialised `tf.train.Example`s.
    """
    writer.ExampleWriter(file_format).write(path, _Resumed((None, record) for record in records))


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

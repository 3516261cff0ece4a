"""TFDS's internals: everything of TFDS that is touched and not public, each with the reason why no public way does.

Nothing else in the package touches any. `tests/building/test_tfds_internals.py` fails where TFDS has changed one.
"""

from __future__ import annotations

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

    Why: `tfds.disable_progress_bar` and `tfds.display_progress_bar` switch them; nothing public says how they are.
    """
    return tqdm_utils._active


def builds_are_mocked() -> bool:
    """Returns whether `tfds.testing.mock_data` has replaced the method that builds by one that does nothing.

    Why: under it a builder has to do nothing too, and nothing public says that it is at work.
    """
    base = tfds.core.DatasetBuilder
    return base.download_and_prepare.__module__ != base.__module__


class HookedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """TFDS's builder, with one hook around the making of a dataset and one for each record."""

    def preparing(self, download_config: tfds.download.DownloadConfig) -> AbstractContextManager[None]:
        """Returns what surrounds the making of a dataset, in the folder that TFDS renames when all is done."""
        raise NotImplementedError

    def on_record(self) -> Callable[[], None] | None:
        """Returns what is called for each record that is in its shard, if anything."""
        raise NotImplementedError

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        """Surrounds TFDS's method.

        Why: `tfds.core.Metadata.save_metadata` is public and runs in the same folder, but only when all went well. What
        a failed Beam pipeline has written down of broken images has to be read before TFDS removes the folder.
        """
        with self.preparing(download_config):
            super()._download_and_prepare(dl_manager, download_config)

    def _example_writer(self) -> writer.ExampleWriter:
        """Returns the writer that makes the bytes of a dataset the same in every build.

        Why: nothing public takes a writer, or says in which order the columns of a record are written.
        """
        return DeterministicWriter(self.info.file_format, self.on_record())


class DeterministicWriter(writer.ExampleWriter):
    """TFDS's writer, with the columns of each record in the order of their names.

    TFDS serialises the columns in an order that changes from process to process, since protobuf's maps have no order of
    their own. Two builds of the same examples then differ in bytes, and so in every digest of their files.
    """

    def __init__(self, file_format: tfds.core.FileFormat, on_record: Callable[[], None] | None = None) -> None:
        """Takes the format, and what to call for each record."""
        super().__init__(file_format)
        self._on_record = on_record

    def write(self, path: epath.PathLike, examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Writes a shard.

        Args:
          path: Of the shard.
          examples: Keys and serialised `tf.train.Example`s.
        """
        return super().write(path, _Resumed(self._records(examples)))

    def _records(self, examples: Iterable[tuple[Any, bytes]]) -> Iterator[tuple[Any, bytes]]:
        for key, record in examples:
            yield key, _in_order(record)
            if self._on_record:
                self._on_record()


class _Resumed:
    """Items that go on where the last reader left them, behind as many places as were read.

    TFDS 4.9.10 writes Parquet in batches of 100 and takes each with `itertools.islice(items, start, start + 100)`. Of
    an iterator, which does not begin anew, that skips `start` items more each time; of a list it does not, but a list
    of a shard is a gigabyte. The least that shows it prints 150:

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
    import tensorflow as tf  # Not at the top: importing the package is to take no seconds.

    return tf.train.Example.FromString(record).SerializeToString(deterministic=True)

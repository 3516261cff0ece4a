"""Writer: stores records whose bytes are the same in every build.

TFDS serialises the columns of an example in an order that changes from process to process, since protobuf's maps have
no order of their own. Two builds of the same examples then differ in bytes, and so in every digest of their files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from etils import epath
from tensorflow_datasets.core import file_adapters, writer


class DeterministicWriter(writer.ExampleWriter):
    """TFDS's writer, with the columns of each record in the order of their names."""

    def __init__(self, file_format: file_adapters.FileFormat, on_record: Callable[[], None] | None = None) -> None:
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

    TFDS writes Parquet in batches of 100 and takes each with `itertools.islice(items, start, start + 100)`. Of an
    iterator, which does not begin anew, that loses all batches but the first; of a list it does not, but a list of a
    shard is a gigabyte.
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

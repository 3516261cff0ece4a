"""Writer: stores records whose bytes are the same in every build.

TFDS serialises the columns of an example in an order that changes from process to process, since protobuf's maps have
no order of their own. Two builds of the same examples then differ in bytes, and so in every digest of their files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from etils import epath
from tensorflow_datasets.core import writer


class DeterministicWriter(writer.ExampleWriter):
    """TFDS's writer, with the columns of each record in the order of their names."""

    def write(self, path: epath.PathLike, examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Writes a shard.

        Args:
          path: Of the shard.
          examples: Keys and serialised `tf.train.Example`s.
        """
        return super().write(path, ((key, _in_order(record)) for key, record in examples))


def _in_order(record: bytes) -> bytes:
    import tensorflow as tf  # Not at the top: importing the package is to take no seconds.

    return tf.train.Example.FromString(record).SerializeToString(deterministic=True)

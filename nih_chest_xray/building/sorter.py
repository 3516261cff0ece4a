"""Sorter: takes the records of a subset in any order, and gives them back in the order of their keys."""

from __future__ import annotations

import contextlib
import struct
import tempfile
from collections.abc import Iterator
from typing import IO

from etils import epath

from nih_chest_xray.system.paths import is_remote

_BUCKET = 128 << 20
"""Bytes of records that are sorted at a time, in memory."""
_MOST = 64
"""Buckets at most, each a file that is open: some systems allow a process 256. So a subset of 40 GB takes 640 MB."""
_KEY_BITS = 128
_HEAD = struct.Struct("=16sQ")
"""A record's key and size, before it in its file."""


class Sorter:
    """Sorts records in files: each holds those of a range of keys, and is read whole when its turn comes.

    The files have no name, so they disappear with the process, whatever ends it. Each is closed, which frees its space,
    before its records are given back: whoever writes them needs no more of the disk than the records did.
    """

    def __init__(self, folder: epath.Path, expected: int) -> None:
        """Takes the folder that the records are for, and about how many bytes they will have.

        The files lie on that folder's disk, which has to have space; on the local one if the folder is remote.
        """
        self._folder = None if is_remote(folder) else str(folder)
        self._buckets: list[IO[bytes] | None] = [None] * min(_MOST, 1 + expected // _BUCKET)
        self.count = 0
        self.size = 0

    def add(self, key: int, record: bytes) -> None:
        """Adds a record.

        Args:
          key: Where it belongs; 128 bits, spread evenly.
          record: Its bytes.
        """
        number = key * len(self._buckets) >> _KEY_BITS
        if (bucket := self._buckets[number]) is None:
            bucket = self._buckets[number] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        bucket.write(_HEAD.pack(key.to_bytes(16, "big"), len(record)))
        bucket.write(record)
        self.count += 1
        self.size += len(record)

    def drain(self) -> Iterator[bytes]:
        """Yields and removes all records, in the order of their keys.

        Raises:
          AssertionError: Two records have the same key.
        """
        last = b""
        for number, bucket in enumerate(self._buckets):
            if bucket is None:
                continue
            records = sorted(_read(bucket))
            self._buckets[number] = None
            bucket.close()
            records.reverse()
            while records:
                key, record = records.pop()
                if key == last:
                    raise AssertionError("two examples have the same key")
                last = key
                yield record

    def close(self) -> None:
        """Closes the files, which removes them."""
        for bucket in self._buckets:
            if bucket is not None:
                with contextlib.suppress(OSError):  # Of a full disk, as it writes what it still holds.
                    bucket.close()


def _read(bucket: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    bucket.seek(0)
    while head := bucket.read(_HEAD.size):
        key, size = _HEAD.unpack(head)
        yield key, bucket.read(size)

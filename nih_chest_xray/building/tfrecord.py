"""TFRecord: the format of TensorFlow's records, without TensorFlow, which takes seconds to import."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import google_crc32c
from etils import epath


def write_tfrecord(path: epath.Path, records: Iterable[bytes]) -> None:
    """Writes a file of records: of each its length, the length's checksum, its bytes, and their checksum.

    Args:
      path: The file's path.
      records: The records, taken one at a time.

    Raises:
      OSError: The disk is full, or the system refuses something else.
    """
    with path.open("wb") as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            file.write(b"".join((length, masked_crc32c(length), record, masked_crc32c(record))))


def masked_crc32c(data: bytes) -> bytes:
    """Returns the checksum that a TFRecord file has for these bytes: CRC32C, rotated, plus a constant.

    From TensorFlow's `lib/hash/crc32c.h`.
    """
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

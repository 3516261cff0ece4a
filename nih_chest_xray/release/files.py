"""Files: opens the release's files, takes no more of them into memory than they should have, and tells what is wrong.

Every error names the file, says what was expected, and what to do.
"""

from __future__ import annotations

import contextlib
import pathlib
import struct
import tarfile
import zipfile
import zlib
from typing import IO

from etils import epath
from isal import isal_zlib

from nih_chest_xray.errors import OPEN_THE_PAGE, ReleaseError, unreadable
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.vocabulary import MAX_SIZE

CHUNK = 1 << 20
"""Bytes that are read at a time."""
READERS_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError, zlib.error, isal_zlib.error),
    # These are no errors by the readers' intention, but what a number leads to, or a chain of headers, that they took
    # as it is.
    *(struct.error, LookupError, OverflowError, RuntimeError),
)
"""What the readers of archives raise for bytes that are not what they should be, or when a disk does not answer."""


def read_file(path: epath.Path) -> bytes:
    """Returns the bytes of a file that is an image or a table of the release.

    Raises:
      ReleaseError: It cannot be read, or is far too large.
    """
    pieces, size = [], 0
    try:
        with open_file(path) as file:
            while size <= MAX_SIZE and (piece := file.read(CHUNK)):
                pieces.append(piece)
                size += len(piece)
    except OSError as error:
        raise unreadable(path, error) from error
    if size > MAX_SIZE:
        size = path.stat().length
    require_small(str(path), size)
    return b"".join(pieces)


def open_file(path: epath.Path) -> IO[bytes]:
    """Opens a plain file: a pipe would wait for its writer for ever, and a device may have no end.

    Raises:
      ReleaseError: It is not a plain file, or cannot be opened.
    """
    if not is_remote(path) and path.exists() and not pathlib.Path(path).is_file():
        raise ReleaseError(
            f"{path} is a folder, a pipe or a device. Expected a plain file: move it away and get the file again."
        )
    try:
        return path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error


def require_small(place: str, size: int) -> None:
    """Refuses what has more bytes than a file of the release.

    Raises:
      ReleaseError: It has too many.
    """
    if size > MAX_SIZE:
        raise ReleaseError(
            f"{place} has {size:,} bytes, or claims to; an image or table of the release has less than"
            f" {MAX_SIZE:,}. It is not what it seems to be: delete it and get it again."
        )


def no_archive(path: epath.Path, error: Exception) -> ReleaseError:
    """Returns the error that tells of an archive that a reader could not read: often it is a web page."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(1) == b"<":
            return ReleaseError(f"{path} is a web page, not an archive. {OPEN_THE_PAGE}")
    return unreadable(path, error)

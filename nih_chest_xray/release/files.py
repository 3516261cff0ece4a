"""Files: opens and reads the release's files, with a limit on their size.

Every error names the file and says what was expected and what to do.
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
"""Bytes per read."""
READERS_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError, zlib.error, isal_zlib.error),
    # Not raised on purpose: they follow from numbers, or chains of headers, that the readers do not check.
    *(struct.error, LookupError, OverflowError, RuntimeError),
)
"""What the readers of archives raise for invalid bytes or a failing disk."""


def read_file(path: epath.Path) -> bytes:
    """Returns the bytes of an image or a table of the release.

    Raises:
      ReleaseError: The file cannot be read, or is far too large.
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
    """Opens a plain file, and nothing else: a pipe would wait for its writer forever, and a device may never end.

    Raises:
      ReleaseError: The path is not a plain file, or cannot be opened.
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
    """Raises an error if a file is larger than any image or table of the release.

    Raises:
      ReleaseError: The file is too large.
    """
    if size > MAX_SIZE:
        raise ReleaseError(
            f"{place} has {size:,} bytes, or claims to; an image or table of the release has less than"
            f" {MAX_SIZE:,}. It is not what it seems to be: delete it and get it again."
        )


def no_archive(path: epath.Path, error: Exception) -> ReleaseError:
    """Returns the error for a file that could not be read as an archive; often it is a web page."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(1) == b"<":
            return ReleaseError(f"{path} is a web page, not an archive. {OPEN_THE_PAGE}")
    return unreadable(path, error)

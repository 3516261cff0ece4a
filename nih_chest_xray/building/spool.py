"""Spool: keeps examples that have to wait, in a temporary file without a name."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

from etils import epath


class Spool:
    """A stack of objects on disk.

    The file has no name, so that it is gone when the process is, whatever ends it; and it shrinks as objects are taken
    from it, so that what TFDS writes of them takes their room.
    """

    def __init__(self, folder: epath.Path) -> None:
        """Takes the folder in which the dataset is made, whose disk has room; a remote one is not used."""
        local = str(folder) if folder.is_dir() and "://" not in str(folder) else None
        self._file = tempfile.TemporaryFile(dir=local)  # noqa: SIM115
        self._starts: list[int] = []

    def push(self, item: Any) -> None:
        """Adds an object that pickle can store."""
        self._starts.append(self._file.tell())
        pickle.dump(item, self._file, pickle.HIGHEST_PROTOCOL)

    def drain(self) -> Iterator[Any]:
        """Yields and removes all objects, the last first."""
        while self._starts:
            start = self._starts.pop()
            self._file.seek(start)
            item = pickle.load(self._file)  # Of our own making, in a file that nobody else can open.
            self._file.seek(start)
            self._file.truncate()
            yield item

    def close(self) -> None:
        """Removes the file."""
        self._file.close()

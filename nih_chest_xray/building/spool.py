"""Spool: keeps waiting examples in a temporary file without a name."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

from etils import epath


class Spool:
    """A stack of objects on disk.

    The file has no name, so it disappears with the process, whatever ends it. It shrinks as objects are taken from it,
    so that TFDS can write them in the space that they leave.
    """

    def __init__(self, folder: epath.Path) -> None:
        """Takes the folder in which the dataset is made, whose disk has space. A remote folder is not used."""
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
            item = pickle.load(self._file)  # Safe: push wrote it, to a file that nobody else can open.
            self._file.seek(start)
            self._file.truncate()
            yield item

    def close(self) -> None:
        """Closes the file, which removes it."""
        self._file.close()

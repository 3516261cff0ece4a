"""Digests: lists a dataset's files with their sizes and SHA-256, in formats that other programs read."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import urllib.parse

from etils import epath

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.verification.dataset_folder import plain_files

_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class DataFile:
    """A file of a dataset.

    Attributes:
      name: The file's name in the dataset's folder.
      size: The file's size in bytes.
      sha256: The file's SHA-256 in hexadecimal digits.
      place: The file's URL, or its path relative to the page.
    """

    name: str
    size: int
    sha256: str
    place: str

    @property
    def link(self) -> str:
        """The place as the target of a link."""
        return self.place if "://" in self.place else urllib.parse.quote(self.place)


def list_files(built: Built, page: os.PathLike, url: str | None) -> list[DataFile]:
    """Reads every file of a dataset once, in chunks, and returns the files sorted by name.

    Args:
      built: The dataset.
      page: The folder of the dataset's page. Relative places start there.
      url: The address at which the folder that was searched is served; None if it is not.
    """
    base = location(built, url)
    if not url and "://" not in base:
        base = os.path.relpath(os.path.realpath(base), os.path.realpath(page))
    return [
        DataFile(path.name, path.stat().length, _sha256(path), f"{base}/{path.name}")
        for path in plain_files(built.path)
    ]


def location(built: Built, url: str | None) -> str:
    """Returns where a dataset's folder is: its address below the URL, or its absolute path without one."""
    if url:
        return url.rstrip("/") + ("" if built.place == "." else f"/{urllib.parse.quote(built.place)}")
    path = os.fspath(built.path)
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100


def sha256sums(files: list[DataFile]) -> str:
    """Returns a list for `sha256sum -c`, to run in the dataset's folder."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in files)


def manifest_tsv(files: list[DataFile]) -> str:
    """Returns a table of the files: URL or path, bytes, SHA-256 and name, the column order of TFDS's checksums."""
    rows = "".join(f"{file.place}\t{file.size}\t{file.sha256}\t{file.name}\n" for file in files)
    return f"url\tbytes\tsha256\tname\n{rows}"


def _sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()

"""Sources: where images lie (a folder, a zip, a tar.gz), read without extracting anything to disk.

A source has `place` (for messages), `names` (the images in it, in the order in which it gives them fastest) and
`read(wanted)`, which yields the name and bytes of each wanted image in that order.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Set
from pathlib import PurePosixPath
from typing import Protocol

from etils import epath

IMAGE_NAME = re.compile(r"\d{8}_\d{3}\.png")
_CHUNK = 1 << 20


class ReleaseError(ValueError):
    """Files of the release that are missing, cut or not what they should be. The message says what to do."""


class Source(Protocol):
    """A place that holds images."""

    place: str
    names: tuple[str, ...]

    def read(self, wanted: Set[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and bytes of each wanted image in this source, in the order of `names`."""
        ...


class Folder:
    """Images in one folder."""

    def __init__(self, path: epath.Path, names: Iterable[str]) -> None:
        """Takes the names of images that are known to lie in `path`."""
        self.place = str(path)
        self.names = tuple(sorted(names))
        self._path = path

    def read(self, wanted: Set[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and bytes of each wanted image, in the order of names."""
        for name in self.names:
            if name in wanted:
                yield name, (self._path / name).read_bytes()


class Zip:
    """Images, and perhaps tables, anywhere in a zip file."""

    def __init__(self, path: epath.Path) -> None:
        """Reads the zip's directory.

        Raises:
          ReleaseError: The file is cut, or no zip.
        """
        self.place = str(path)
        self._path = path
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as archive:
                members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ReleaseError(_corrupt(path, error)) from error
        # Where a name is there twice, the first member in the file counts.
        self._members = {PurePosixPath(m.filename).name: m for m in reversed(members) if not m.is_dir()}
        self.files = frozenset(self._members)
        images = [name for name in self._members if IMAGE_NAME.fullmatch(name)]
        self.names = tuple(sorted(images, key=lambda name: self._members[name].header_offset))

    def read(self, wanted: Set[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and bytes of each wanted file, in the order in which they lie in the zip."""
        return self._read([name for name in self.names if name in wanted])

    def read_file(self, name: str) -> bytes:
        """Returns the bytes of one file, such as a table."""
        [(_, content)] = self._read([name])
        return content

    def _read(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        if not names:
            return
        with self._path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for name in names:
                try:
                    yield name, archive.read(self._members[name])
                except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
                    raise ReleaseError(_corrupt(f"{self._path}, member {name}", error)) from error


class TarGz:
    """Images in a tar.gz file, which can only be read from its beginning."""

    def __init__(self, path: epath.Path) -> None:
        """Reads the whole file once, to its end, for the names in it and for its digest.

        Raises:
          ReleaseError: The file is cut or corrupt.
        """
        self.place = str(path)
        self._path = path
        digest = hashlib.sha256()
        self.names = tuple(dict.fromkeys(name for name, _ in self._images(frozenset(), digest)))
        self.sha256 = digest.hexdigest()

    def read(self, wanted: Set[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and bytes of each wanted image, in the order in which they lie in the file."""
        left = set(self.names) & wanted
        if not left:
            return
        for name, content in self._images(left):
            if content is not None:
                yield name, content
                left.remove(name)
                if not left:
                    return

    def _images(self, wanted: Set[str], digest: hashlib._Hash | None = None) -> Iterator[tuple[str, bytes | None]]:
        """Yields names, with the bytes of those wanted. Taken to its end, it has checked the file's CRC."""
        try:
            with self._path.open("rb") as file:
                raw = _Hashing(file, digest) if digest else file
                with gzip.open(raw) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as archive:
                    for member in archive:
                        name = PurePosixPath(member.name).name
                        if member.isfile() and IMAGE_NAME.fullmatch(name):
                            yield name, archive.extractfile(member).read() if name in wanted else None
                    # The tar ends before the file does; gzip compares its CRC only at the end of the file.
                    while unzipped.read(_CHUNK):
                        pass
                    # A tar ends with blocks of zeros; tarfile takes one that was cut before it was zipped as it is.
                    if unzipped.tell() < archive.offset + tarfile.BLOCKSIZE:
                        raise tarfile.ReadError("the tar in it ends too early")
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ReleaseError(_corrupt(self._path, error)) from error


class _Hashing(io.RawIOBase):
    """A file that feeds a digest with what is read from it."""

    def __init__(self, file: io.BufferedIOBase, digest: hashlib._Hash) -> None:
        self._file = file
        self._digest = digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        content = self._file.read(len(buffer))
        self._digest.update(content)
        buffer[: len(content)] = content
        return len(content)


def _corrupt(path: object, error: Exception) -> str:
    return f"{path} is cut or corrupt ({error or type(error).__name__}). Delete it and get it again."

"""Sources: places that hold images (a folder, a zip, a tar.gz), read without extracting anything to disk.

A folder and a zip allow random access. A tar.gz can only be read from its beginning, so a build reads it once.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import stat
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Set

from etils import epath

from nih_chest_xray.errors import ReleaseError, printable, unreadable
from nih_chest_xray.release.files import READERS_ERRORS, no_archive, open_file, read_file, require_small
from nih_chest_xray.vocabulary import MAX_SIZE, image_name

HEAD = 4096
"""Bytes that are read of an image to find its size."""
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Python decompresses other methods in one go, however large the result."""
_ENCRYPTED = 1
"""Flag bit of an encrypted member of a zip."""


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """An image of a source.

    Attributes:
      name: The NIH's name, such as 00000013_005.png.
      place: The source's path, for messages.
      read: Returns the file's bytes. It may be called in any thread.
    """

    name: str
    place: str
    read: Callable[[], bytes]


class Source(abc.ABC):
    """A place that holds images.

    Attributes:
      place: Its path, for messages.
      one_pass: Whether it can only be read from its beginning. A build then reads it once.
      certain: Whether its contents are known before it is read.
      names: Names of the images that it holds, if they are known.
      sha256: Digest of an archive that was read to its end.
      expected_sha256: Digest of the NIH's archive that it stands for.
    """

    place: str
    one_pass: bool = False
    certain: bool = True
    names: Set[str] = frozenset()
    sha256: str | None = None
    expected_sha256: str | None = None

    def held(self, names: Set[str]) -> Set[str]:
        """Returns which of the names the source holds, as far as is known without reading it."""
        return self.names & names

    @abc.abstractmethod
    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image that the source holds, in the order that is fastest to read."""

    def heads(self, _names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the first bytes of images; nothing for a source that is read in one pass.

        An image that cannot be read yields no bytes: the error is raised where the image is needed.
        """
        return iter(())

    @abc.abstractmethod
    def part(self, names: Collection[str]) -> Source:
        """Returns a source with only these images, small enough to be sent to another process."""


class Folder(Source):
    """Images in one folder."""

    def __init__(self, path: epath.Path, file_names: Iterable[str]) -> None:
        """Takes the names of the files in `path` and uses the images; a PNG before a JPEG of the same image."""
        self.place = str(path)
        self._path = path
        self._files = _by_image(sorted(file_names, reverse=True))
        self.names = frozenset(self._files)

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image, in the order of names."""
        for name in sorted(self.held(wanted)):
            yield StoredImage(name, self.place, functools.partial(read_file, self._path / self._files[name]))

    def heads(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the first bytes of images."""
        for name in names:
            yield name, or_nothing(functools.partial(self._head, name))

    def _head(self, name: str) -> bytes:
        with open_file(self._path / self._files[name]) as file:
            return file.read(HEAD)

    def part(self, names: Collection[str]) -> Folder:
        """Returns the same folder with only these images."""
        return Folder(self._path, [self._files[name] for name in names])


def or_nothing(read: Callable[[], bytes]) -> bytes:
    """Returns the bytes read, or none if they cannot be read: the error is raised where the image is needed."""
    try:
        return read()
    except (ReleaseError, OSError):
        return b""


def _by_image(file_names: Iterable[str]) -> dict[str, str]:
    """Maps image names to the names of their files; the last one if an image has several."""
    return {image: name for name in file_names if (image := image_name(base_name(name))) is not None}


def base_name(name: str) -> str:
    """Returns the last part of a member's name; some programs write Windows' separator into a zip."""
    return name.replace("\\", "/").rpartition("/")[2]


class Zip(Source):
    """Images, and perhaps tables, anywhere in a zip file."""

    def __init__(self, path: epath.Path, names: Collection[str] | None = None) -> None:
        """Reads the zip's directory.

        Args:
          path: The zip's path.
          names: Names of the images to use; None for all.

        Raises:
          ReleaseError: The file is truncated, or not a zip.
        """
        self.place = str(path)
        self._path = path
        self.files = frozenset(self._open()[1])
        self.names = frozenset(_by_image(self.files) if names is None else names)

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image, in the order of the zip."""
        here = self.held(wanted)
        if not here:
            return
        archive, members = self._open()
        files = _by_image(sorted(members, reverse=True))
        for name in sorted(here, key=lambda name: members[files[name]].header_offset):
            yield StoredImage(name, self.place, functools.partial(self._read, archive, members[files[name]]))

    def heads(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the first bytes of images."""
        archive, members = self._open()
        files = _by_image(sorted(members, reverse=True))
        with contextlib.closing(archive):
            for name in names:
                yield name, or_nothing(functools.partial(self._read, archive, members[files[name]], HEAD))

    def part(self, names: Collection[str]) -> Zip:
        """Returns the same zip with only these images."""
        return Zip(self._path, names)

    def read_file(self, name: str) -> bytes:
        """Returns the bytes of one file, such as a table."""
        archive, members = self._open()
        return self._read(archive, members[name])

    def _open(self) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
        """Returns the zip, which closes with its last reference, and its files by name, without their folders."""
        file = open_file(self._path)
        try:
            archive = zipfile.ZipFile(file)
        except READERS_ERRORS as error:
            raise no_archive(self._path, error) from error
        # zipfile cuts a name at its first NUL: it would differ from what other programs see, or be empty.
        if any(not member.filename or "\0" in member.orig_filename for member in archive.infolist()):
            raise no_archive(self._path, zipfile.BadZipFile("a member's name in it is empty or holds NUL"))
        # Of several members with the same name the largest wins, since others may be resized copies; then the first.
        members = sorted(archive.infolist(), key=lambda member: (member.file_size, -member.header_offset))
        return archive, {base_name(member.filename): member for member in members if _is_file(member)}

    def _read(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int = MAX_SIZE + 1) -> bytes:
        place = f"{self._path}, member {printable(member.filename)}"
        require_small(place, member.file_size)
        if member.flag_bits & _ENCRYPTED:
            raise ReleaseError(f"{place} is encrypted; expected a zip without a password. Unpack it into a folder.")
        if member.compress_type not in _ZIP_METHODS:
            raise ReleaseError(
                f"{place} is packed by method {member.compress_type}; expected one that is stored or deflated. Get the"
                " zip again, or unpack it into a folder."
            )
        try:
            with archive.open(member) as file:
                # The size that a member claims may be wrong.
                content = file.read(most)
        except READERS_ERRORS as error:
            raise unreadable(place, error) from error
        require_small(place, len(content))
        return content


def _is_file(member: zipfile.ZipInfo) -> bool:
    """Returns whether a zip's member is a plain file: the bytes of a link are a path, not an image."""
    kind = stat.S_IFMT(member.external_attr >> 16)  # Zero if the zip was not packed on Unix.
    return not member.is_dir() and kind in (0, stat.S_IFREG)

"""Sources: where images lie (a folder, a zip, a tar.gz), read without extracting anything to disk.

A folder and a zip give any image at any time. A tar.gz can only be read from its beginning, so a build reads it once.
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
"""Bytes of an image in which its size is looked for."""
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others are unpacked by Python in one go, however large what comes out is."""
_ENCRYPTED = 1
"""The bit of a member's flags in a zip."""


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """An image of a source.

    Attributes:
      name: The NIH's, such as 00000013_005.png.
      place: Of the source, for messages.
      read: Returns the PNG's bytes. It may be called in any thread.
    """

    name: str
    place: str
    read: Callable[[], bytes]


class Source(abc.ABC):
    """A place that holds images.

    Attributes:
      place: For messages.
      one_pass: Whether it has to be read from its beginning, so that it is read but once.
      certain: Whether what it holds is known before it is read.
      names: The images that it holds, where that is known name by name.
      sha256: Of an archive that was read to its end.
      expected_sha256: Of the NIH's archive for which it is taken.
    """

    place: str
    one_pass: bool = False
    certain: bool = True
    names: Set[str] = frozenset()
    sha256: str | None = None
    expected_sha256: str | None = None

    def held(self, names: Set[str]) -> Set[str]:
        """Returns those of the names that are here, as far as can be known without reading the source."""
        return self.names & names

    @abc.abstractmethod
    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image that is here, in the order in which the source gives them fastest."""

    def heads(self, _names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the first bytes of images, of a source that is not read in one pass.

        Those that cannot be read have none: what is wrong with them is said where they are needed.
        """
        return iter(())

    @abc.abstractmethod
    def part(self, names: Collection[str]) -> Source:
        """Returns a source of these images alone, small enough to be sent to another process."""


class Folder(Source):
    """Images in one folder."""

    def __init__(self, path: epath.Path, file_names: Iterable[str]) -> None:
        """Takes the names of files in `path`, of which those of images count; a PNG before a JPEG of the same image."""
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
        """Returns the same folder, with these images alone."""
        return Folder(self._path, [self._files[name] for name in names])


def or_nothing(read: Callable[[], bytes]) -> bytes:
    """Returns what is read, or no bytes where it cannot be: what is wrong is said where the image is needed."""
    try:
        return read()
    except (ReleaseError, OSError):
        return b""


def _by_image(file_names: Iterable[str]) -> dict[str, str]:
    """Returns the files that hold images, by the image's name; of several for one image the last."""
    return {image: name for name in file_names if (image := image_name(base_name(name))) is not None}


def base_name(name: str) -> str:
    """Returns the last part of a member's name; some programs write Windows' separator into a zip."""
    return name.replace("\\", "/").rpartition("/")[2]


class Zip(Source):
    """Images, and perhaps tables, anywhere in a zip file."""

    def __init__(self, path: epath.Path, names: Collection[str] | None = None) -> None:
        """Reads the zip's directory.

        Args:
          path: Of the file.
          names: The images that count, if not all do.

        Raises:
          ReleaseError: The file is cut, or no zip.
        """
        self.place = str(path)
        self._path = path
        self.files = frozenset(self._open()[1])
        self.names = frozenset(_by_image(self.files) if names is None else names)

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image, in the order in which they lie in the zip."""
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
        """Returns the same zip, with these images alone."""
        return Zip(self._path, names)

    def read_file(self, name: str) -> bytes:
        """Returns the bytes of one file, such as a table."""
        archive, members = self._open()
        return self._read(archive, members[name])

    def _open(self) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
        """Returns the zip, closed when nobody refers to it any more, and its files by name, without their folders."""
        file = open_file(self._path)
        try:
            archive = zipfile.ZipFile(file)
        except READERS_ERRORS as error:
            raise no_archive(self._path, error) from error
        # Zipfile cuts a name at its first NUL: it would be another one than other programs see, or none.
        if any(not member.filename or "\0" in member.orig_filename for member in archive.infolist()):
            raise no_archive(self._path, zipfile.BadZipFile("a member's name in it is empty or holds NUL"))
        # Of several members with a name the largest counts, since others may be resized copies, and the first of these.
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
                # What a member claims to have need not be what is in it.
                content = file.read(most)
        except READERS_ERRORS as error:
            raise unreadable(place, error) from error
        require_small(place, len(content))
        return content


def _is_file(member: zipfile.ZipInfo) -> bool:
    """Returns whether a zip's member is a plain file: the bytes of a link are another file's name, and no image."""
    kind = stat.S_IFMT(member.external_attr >> 16)  # Zero where the zip was not packed on Unix.
    return not member.is_dir() and kind in (0, stat.S_IFREG)

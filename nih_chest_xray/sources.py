"""Sources: where images lie (a folder, a zip, a tar.gz), read without extracting anything to disk.

A folder and a zip give any image at any time. A tar.gz can only be read from its beginning, so a build reads it once.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Set
from typing import Any, Protocol

from etils import epath
from isal import igzip

from nih_chest_xray.files import (
    CHUNK,
    MAX_SIZE,
    READERS_ERRORS,
    ReleaseError,
    no_archive,
    open_file,
    printable,
    read_file,
    require_small,
    unreadable,
)

IMAGE_NAME = re.compile(r"[0-9]{8}_[0-9]{3}\.png")
_FILE_NAME = re.compile(r"([0-9]{8}_[0-9]{3})\.(png|jpg|jpeg)")
_HEAD = 4096
"""Bytes of an image in which its size is looked for."""
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others are unpacked by Python in one go, however large what comes out is."""
_ENCRYPTED = 1
"""The bit of a member's flags in a zip."""
_TAR_EXTENSIONS = b"LKxgX"
"""Types of a tar's headers that hold a long name or fields of the member behind them; they are read whole."""
_MAX_EXTENSION = 1 << 20
_SPARSE = "a sparse member in it"


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


def image_name(file_name: str) -> str | None:
    """Returns the NIH's name of the image that a file holds, by the file's name; None for any other file.

    Resized copies are often JPEG files, and some systems write `.PNG`.

    >>> image_name("00000013_005.PNG"), image_name("00000013_005.jpeg"), image_name("mask.png")
    ('00000013_005.png', '00000013_005.png', None)
    """
    match = _FILE_NAME.fullmatch(file_name.lower())
    return f"{match[1]}.png" if match else None


class Source(Protocol):
    """A place that holds images.

    Attributes:
      place: For messages.
      one_pass: Whether it has to be read from its beginning, so that it is read but once.
      certain: Whether what it holds is known before it is read.
      names: The images that it holds, where that is known name by name.
    """

    place: str
    one_pass: bool
    certain: bool
    names: Set[str]

    def held(self, names: Set[str]) -> Set[str]:
        """Returns those of the names that are here, as far as can be known without reading the source."""
        ...

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image that is here, in the order in which the source gives them fastest."""
        ...

    def heads(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the first bytes of images, of a source that is not read in one pass.

        Those that cannot be read have none: what is wrong with them is told where they are needed.
        """
        ...

    def part(self, names: Collection[str]) -> Source:
        """Returns a source of these images alone, small enough to be sent to another process."""
        ...


class Folder:
    """Images in one folder."""

    one_pass = False
    certain = True

    def __init__(self, path: epath.Path, file_names: Iterable[str]) -> None:
        """Takes the names of files in `path`, of which those of images count; a PNG before a JPEG of the same image."""
        self.place = str(path)
        self._path = path
        self._files = _by_image(sorted(file_names, reverse=True))
        self.names = frozenset(self._files)

    def held(self, names: Set[str]) -> Set[str]:
        """Returns those of the names that are here."""
        return self.names & names

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image, in the order of names."""
        for name in sorted(self.held(wanted)):
            yield StoredImage(name, self.place, functools.partial(read_file, self._path / self._files[name]))

    def heads(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the first bytes of images."""
        for name in names:
            yield name, _or_nothing(functools.partial(self._head, name))

    def _head(self, name: str) -> bytes:
        with open_file(self._path / self._files[name]) as file:
            return file.read(_HEAD)

    def part(self, names: Collection[str]) -> Folder:
        """Returns the same folder, with these images alone."""
        return Folder(self._path, [self._files[name] for name in names])


def _or_nothing(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except (ReleaseError, OSError):
        return b""


def _by_image(file_names: Iterable[str]) -> dict[str, str]:
    """Returns the files that hold images, by the image's name; of several for one image the last."""
    return {image: name for name in file_names if (image := image_name(_base(name))) is not None}


def _base(name: str) -> str:
    """Returns the last part of a member's name; some programs write Windows' separator into a zip."""
    return name.replace("\\", "/").rpartition("/")[2]


class Zip:
    """Images, and perhaps tables, anywhere in a zip file."""

    one_pass = False
    certain = True

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

    def held(self, names: Set[str]) -> Set[str]:
        """Returns those of the names that are here."""
        return self.names & names

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
        with archive.fp:
            for name in names:
                yield name, _or_nothing(functools.partial(self._read, archive, members[files[name]], _HEAD))

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
        return archive, {_base(member.filename): member for member in members if _is_file(member)}

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


class Tar:
    """Images in a tar file: one of the NIH's archives that somebody has unzipped."""

    one_pass = False
    certain = True

    def __init__(self, path: epath.Path) -> None:
        """Reads the headers of all members, and skips what is between them.

        Raises:
          ReleaseError: The file is cut, or no tar.
        """
        self.place = str(path)
        self._path = path
        self._members: dict[str, tuple[int, int]] = {}
        try:
            with (
                open_file(path) as file,
                tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive,
            ):
                for member in archive:
                    name = image_name(_base(member.name))
                    if member.isfile() and name is not None:
                        self._members.setdefault(name, (member.offset_data, member.size))
                end = file.seek(0, io.SEEK_END)
        except ReleaseError:
            raise
        except READERS_ERRORS as error:
            raise no_archive(path, error) from error
        if any(start + size > end for start, size in self._members.values()):
            raise no_archive(path, tarfile.ReadError("the file ends within a member"))
        self.names = frozenset(self._members)

    def held(self, names: Set[str]) -> Set[str]:
        """Returns those of the names that are here."""
        return self.names & names

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image, in the order in which they lie in the file."""
        for name in sorted(self.held(wanted), key=self._members.__getitem__):
            yield StoredImage(name, self.place, functools.partial(self._read, name))

    def heads(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the first bytes of images."""
        for name in names:
            yield name, _or_nothing(functools.partial(self._read, name))[:_HEAD]

    def part(self, names: Collection[str]) -> Tar:
        """Returns the same tar, with these images alone."""
        part = copy.copy(self)
        part.names = frozenset(names)
        return part

    def _read(self, name: str) -> bytes:
        start, size = self._members[name]
        place = f"{self._path}, member {name}"
        require_small(place, size)
        with open_file(self._path) as file:
            try:
                file.seek(start)
                content = file.read(size)
            except OSError as error:
                raise unreadable(place, error) from error
        if len(content) < size:
            raise unreadable(place, EOFError("the file ends within it"))
        return content


class TarGz:
    """Images in a tar.gz file."""

    one_pass = True

    def __init__(
        self,
        path: epath.Path,
        sha256: str | None = None,
        contents: tuple[str, str] | None = None,
        refuse_others: bool = False,
    ) -> None:
        """Opens nothing: what is in a tar.gz, and whether it is whole, shows when it is read.

        Args:
          path: Of the file.
          sha256: What its digest should be, if that is known.
          contents: The name of the first image in it, and one behind that of the last; None if that is not known.
          refuse_others: Whether a file with another digest is an error.
        """
        self.place = str(path)
        self.expected_sha256 = sha256
        self.sha256: str | None = None  # Of what was read, once all of it was.
        self.certain = contents is not None
        self._path = path
        self._contents = contents
        self._refuse_others = refuse_others

    def held(self, names: Set[str]) -> Set[str]:
        """Returns those of the names that may be here: all, for an archive of which nothing is known."""
        if self._contents is None:
            return names
        first, end = self._contents
        return {name for name in names if first <= name < end}

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image once, in the order in which they lie in the file, which is read to its end.

        Raises:
          ReleaseError: The file is cut or corrupt, or has another digest than it should.
        """
        digest = hashlib.sha256()
        left = set(wanted)
        try:
            with (
                open_file(self._path) as file,
                igzip.open(_Hashing(file, digest)) as unzipped,
                tarfile.open(fileobj=_Endless(unzipped), mode="r|", tarinfo=_Header, pax_headers=_Fields()) as archive,
            ):
                for member in archive:
                    # Only a name's last part counts, and nothing is written: '..' or '/etc' in it do no harm.
                    name = image_name(_base(member.name))
                    if member.isfile() and name in left:
                        require_small(f"{self._path}, member {printable(member.name)}", member.size)
                        content = archive.extractfile(member).read()
                        left.remove(name)
                        yield StoredImage(name, self.place, functools.partial(bytes, content))
                # The tar ends before the file does; gzip compares its CRC only at the end of the file.
                while unzipped.read(CHUNK):
                    pass
        except ReleaseError:
            raise
        except READERS_ERRORS as error:
            raise no_archive(self._path, error) from error
        self.sha256 = digest.hexdigest()
        if self._refuse_others and self.sha256 != self.expected_sha256:
            raise ReleaseError(
                f"{self._path} has SHA-256 {self.sha256}; the NIH's has {self.expected_sha256}. {REPACKED_ADVICE}"
            )

    def part(self, _names: Collection[str]) -> TarGz:
        """Returns the same archive: there is no way to have a part of it."""
        return self


REPACKED_ADVICE = (
    "If it is not your own packing, get it again from the NIH's page. If it is, build a config with"
    ' "allow_missing_images": true.'
)


class _Header(tarfile.TarInfo):
    """A member's header that is refused where tarfile would take it for the archive's end, or read it without limit."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> _Header:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise tarfile.ReadError(f"a member's header in it: {error}") from error
            raise  # Zeros, or nothing: the end.
        if header.type in _TAR_EXTENSIONS and header.size > _MAX_EXTENSION:
            raise tarfile.ReadError(f"a member's header in it claims {header.size:,} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(_SPARSE)
        return header


class _Fields(dict[str, str]):
    """Fields of a PAX header, of which those of a sparse member are refused.

    The member's content then is not what stands in the archive; and a list of holes that stands before it tarfile takes
    into memory, however long it is, once these fields were read.
    """

    def __setitem__(self, field: str, value: str) -> None:
        if field.startswith("GNU.sparse."):
            raise tarfile.ReadError(_SPARSE)
        super().__setitem__(field, value)

    def copy(self) -> _Fields:
        """Returns what tarfile fills with the fields of one member."""
        return _Fields(self)


class _Endless:
    """A tar that has to end before its file does.

    It ends with blocks of zeros, and tarfile reads no further. One that was cut before it was zipped tarfile would take
    as it is, and skip a member that claims an exabyte, of which nothing is there, for years.
    """

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if not (content := self._file.read(size)):
            raise tarfile.ReadError("the tar in it ends too early")
        return content


class _Hashing(io.RawIOBase):
    """A file that feeds a digest with what is read from it."""

    def __init__(self, file: io.BufferedIOBase, digest: Any) -> None:
        self._file = file
        self._digest = digest

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True  # It is never asked to seek, but igzip tells its position only of a file that says it could.

    def readinto(self, buffer: memoryview) -> int:
        content = self._file.read(len(buffer))
        self._digest.update(content)
        buffer[: len(content)] = content
        return len(content)


def _is_file(member: zipfile.ZipInfo) -> bool:
    """Returns whether a zip's member is a plain file: the bytes of a link are another file's name, and no image."""
    kind = stat.S_IFMT(member.external_attr >> 16)  # Zero where the zip was not packed on Unix.
    return not member.is_dir() and kind in (0, stat.S_IFREG)

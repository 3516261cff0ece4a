"""Tars: images in a tar file, or in a tar.gz, which can only be read from its beginning."""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import tarfile
from collections.abc import Collection, Iterable, Iterator, Set
from typing import IO, Any, cast

from etils import epath
from isal import igzip

from nih_chest_xray.errors import ReleaseError, printable, unreadable
from nih_chest_xray.release.files import CHUNK, READERS_ERRORS, no_archive, open_file, require_small
from nih_chest_xray.release.sources import HEAD, Source, StoredImage, base_name, or_nothing
from nih_chest_xray.vocabulary import image_name

_TAR_EXTENSIONS = b"LKxgX"
"""Types of a tar's headers that hold a long name or fields of the member behind them; they are read whole."""
_MAX_EXTENSION = 1 << 20
_SPARSE = "a sparse member in it"


class Tar(Source):
    """Images in a tar file: one of the NIH's archives that somebody has unzipped."""

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
                    name = image_name(base_name(member.name))
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

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image, in the order in which they lie in the file."""
        for name in sorted(self.held(wanted), key=self._members.__getitem__):
            yield StoredImage(name, self.place, functools.partial(self._read, name))

    def heads(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the first bytes of images."""
        for name in names:
            yield name, or_nothing(functools.partial(self._read, name))[:HEAD]

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


class TarGz(Source):
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
                tarfile.open(mode="r|", fileobj=_Endless(unzipped), tarinfo=_Header, pax_headers=_Fields()) as archive,
            ):
                for member in archive:
                    # Only a name's last part counts, and nothing is written: '..' or '/etc' in it do no harm.
                    name = image_name(base_name(member.name))
                    if member.isfile() and name in left:
                        require_small(f"{self._path}, member {printable(member.name)}", member.size)
                        content = cast(IO[bytes], archive.extractfile(member)).read()
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
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
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


class _Endless(io.RawIOBase):
    """A tar that has to end before its file does.

    It ends with blocks of zeros, and tarfile reads no further. One that was cut before it was zipped tarfile would take
    as it is, and skip a member that claims an exabyte, of which nothing is there, for years.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not (content := self._file.read(size)):
            raise tarfile.ReadError("the tar in it ends too early")
        return content


class _Hashing(io.RawIOBase):
    """A file that feeds a digest with what is read from it."""

    def __init__(self, file: IO[bytes], digest: Any) -> None:
        self._file = file
        self._digest = digest

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True  # It is never asked to seek, but igzip tells its position only of a file that says it could.

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        self._digest.update(content)
        buffer[: len(content)] = content
        return len(content)

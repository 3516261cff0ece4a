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
"""Types of tar headers that hold a long name or fields of the next member; tarfile reads them whole."""
_MAX_EXTENSION = 1 << 20
_SPARSE = "a sparse member in it"


class Tar(Source):
    """Images in a tar file: one of the NIH's archives after gunzip."""

    def __init__(self, path: epath.Path) -> None:
        """Reads the headers of all members and skips their contents.

        Raises:
          ReleaseError: The file is truncated, or not a tar.
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
        """Yields each wanted image, in the order of the file."""
        for name in sorted(self.held(wanted), key=self._members.__getitem__):
            yield StoredImage(name, self.place, functools.partial(self._read, name))

    def heads(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the first bytes of images."""
        for name in names:
            yield name, or_nothing(functools.partial(self._read, name))[:HEAD]

    def part(self, names: Collection[str]) -> Tar:
        """Returns the same tar with only these images."""
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
        """Does not open the file: its contents, and whether it is whole, are only known once it is read.

        Args:
          path: The file's path.
          sha256: Its expected digest, if known.
          contents: The range of image names in it: the first, and an exclusive upper bound. None if unknown.
          refuse_others: Whether another digest is an error.
        """
        self.place = str(path)
        self.expected_sha256 = sha256
        self.certain = contents is not None
        self._path = path
        self._contents = contents
        self._refuse_others = refuse_others

    def held(self, names: Set[str]) -> Set[str]:
        """Returns which of the names the archive may hold: all, if its contents are unknown."""
        if self._contents is None:
            return names
        first, end = self._contents
        return {name for name in names if first <= name < end}

    def images(self, wanted: Set[str]) -> Iterator[StoredImage]:
        """Yields each wanted image once, in the order of the file, and reads the file to its end.

        Raises:
          ReleaseError: The file is truncated or corrupt, or its digest is not the expected one.
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
                    # Only a name's last part is used, and nothing is written, so '..' or '/etc' in it do no harm.
                    name = image_name(base_name(member.name))
                    if member.isfile() and name in left:
                        require_small(f"{self._path}, member {printable(member.name)}", member.size)
                        content = cast(IO[bytes], archive.extractfile(member)).read()
                        left.remove(name)
                        yield StoredImage(name, self.place, functools.partial(bytes, content))
                # The tar ends before the file does; gzip checks its CRC only at the end of the file.
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
        """Returns the whole archive: it cannot be read in part."""
        return self


REPACKED_ADVICE = (
    "If you did not repack it yourself, get it again from the NIH's page. If you did, build a config with"
    ' "allow_missing_images": true.'
)


class _Header(tarfile.TarInfo):
    """A member's header. Rejects what tarfile would take for the end of the archive, or read without limit."""

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
    """Fields of a PAX header. Rejects those of a sparse member.

    The archive does not store such a member's content as it is. Once tarfile has read these fields, it reads the list
    of holes before the content into memory, however long the list is.
    """

    def __setitem__(self, field: str, value: str) -> None:
        if field.startswith("GNU.sparse."):
            raise tarfile.ReadError(_SPARSE)
        super().__setitem__(field, value)

    def copy(self) -> _Fields:
        """Returns the copy that tarfile fills with the fields of one member."""
        return _Fields(self)


class _Endless(io.RawIOBase):
    """A tar that has to end before its file does.

    A whole tar ends with blocks of zeros, where tarfile stops reading. Tarfile would accept a tar that was truncated
    before it was gzipped, and would spend years skipping a member that claims to have an exabyte.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not (content := self._file.read(size)):
            raise tarfile.ReadError("the tar in it ends too early")
        return content


class _Hashing(io.RawIOBase):
    """A file that updates a digest with all bytes read from it."""

    def __init__(self, file: IO[bytes], digest: Any) -> None:
        self._file = file
        self._digest = digest

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True  # Nothing seeks, but igzip reports its position only for a seekable file.

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        self._digest.update(content)
        buffer[: len(content)] = content
        return len(content)

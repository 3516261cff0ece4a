"""Release: the files of the NIH's release that were found, and where each official one comes from."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Set

from etils import epath

from nih_chest_xray.release.files import read_file
from nih_chest_xray.release.sources import Source, StoredImage
from nih_chest_xray.release.tars import TarGz
from nih_chest_xray.tables.csv_table import table_bytes
from nih_chest_xray.vocabulary import ARCHIVES, FIRST_IMAGES, LABEL_FILES, archive_of


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """A file of the official release.

    Attributes:
      url: Where the NIH serves it.
      size: Bytes.
      sha256: Hexadecimal digest.
    """

    url: str
    size: int
    sha256: str


def known_files() -> dict[str, KnownFile]:
    """Returns the official files by name: checksums.tsv, which TFDS reads too."""
    lines = (epath.resource_path("nih_chest_xray") / "checksums.tsv").read_text().splitlines()
    rows = (line.split("\t") for line in lines)
    return {name: KnownFile(url, int(size), sha256) for url, size, sha256, name in rows}


@dataclasses.dataclass(frozen=True)
class TableFile:
    """One of the release's small files.

    Attributes:
      place: Where it is, for messages.
      read: Returns its bytes.
    """

    place: str
    read: Callable[[], bytes]


@dataclasses.dataclass(frozen=True)
class Release:
    """The files that were found.

    Attributes:
      place: Where they were searched, for messages.
      tables: The tables, by file name.
      sources: Where images are. An image that several have is read from the first of them.
      archives: Official names of the archives that are there.
      refused: Why an archive with an official name was not taken, by that name. It matters if it would hold an image
        that is nowhere else.
      aside: What looks like a file of the release but was not taken, and why, a sentence or two each.
    """

    place: str
    tables: Mapping[str, TableFile] = dataclasses.field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    archives: frozenset[str] = frozenset()
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    aside: tuple[str, ...] = ()

    @property
    def label_file(self) -> str | None:
        """The name of the best label file there is."""
        return next((name for name in LABEL_FILES if name in self.tables), None)

    def held(self, names: Set[str]) -> Set[str]:
        """Returns those of the names that are in some source, as far as can be known without reading archives."""
        return frozenset().union(*(source.held(names) for source in self.sources))

    def images(self, wanted: Set[str], one_pass: bool | None = None) -> Iterator[StoredImage]:
        """Yields each wanted image that is there, once, source after source.

        Args:
          wanted: Names.
          one_pass: If given, only of sources of this kind: those that have to be read in one pass, or the others.

        Raises:
          ReleaseError: A source is cut or corrupt.
        """
        seen: set[str] = set()
        for source, here in self.shares(wanted):
            if one_pass is None or source.one_pass == one_pass:
                for image in source.images(here - seen):
                    seen.add(image.name)
                    yield image

    def shares(self, wanted: Set[str]) -> Iterator[tuple[Source, Set[str]]]:
        """Yields the sources that may give a wanted image, with the names of these images.

        No image is in two shares, but for archives of which nothing is known until they are read.
        """
        left = set(wanted)
        for source in self.sources:
            if here := source.held(left):
                yield source, here
            if source.certain:
                left -= here

    def not_taken(self) -> str:
        """Returns a sentence for an error that misses something: what was found, and why it was not taken."""
        if not self.aside:
            return ""
        more = f" (and {len(self.aside) - 5} more)" if len(self.aside) > 5 else ""
        return f" Found, but not taken: {' '.join(self.aside[:5])}{more}"

    def repacked(self, digests: Mapping[str, str]) -> dict[str, str]:
        """Returns which archives are not the NIH's, byte for byte.

        Args:
          digests: SHA-256 of archives that were read, by their places.

        Returns:
          Paths below `place`, and digests.
        """
        archives = {source.place: source for source in self.sources if source.one_pass}
        return {
            place.removeprefix(self.place).lstrip("/"): digest
            for place, digest in sorted(digests.items())
            if digest != archives[place].expected_sha256
        }


def file_table(path: epath.Path) -> TableFile:
    """Returns a table that is a file of its own, plain or gzipped."""
    return TableFile(str(path), functools.partial(_read_table, path))


def _read_table(path: epath.Path) -> bytes:
    return table_bytes(read_file(path), str(path))


def official_archive(path: epath.Path, name: str, known: Mapping[str, KnownFile], refuse_others: bool) -> TarGz:
    """Returns a file that is taken for the NIH's archive of this name until its digest shows otherwise."""
    return TarGz(path, known[name].sha256, _contents(name), refuse_others)


def held_by(archive: str, names: Set[str]) -> Set[str]:
    """Returns those of the image names that are in the NIH's archive of this name."""
    return {name for name in names if archive_of(name) == ARCHIVES.index(archive) + 1}


def _contents(archive: str) -> tuple[str, str]:
    """Returns the name of the first image in one of the NIH's archives, and one behind that of the last."""
    number = ARCHIVES.index(archive)
    return FIRST_IMAGES[number], FIRST_IMAGES[number + 1] if number + 1 < len(ARCHIVES) else "99999999_999.png"

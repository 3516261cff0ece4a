"""Release: the files of the NIH's release that were found, and the official files that they may be."""

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
      url: Its address on the NIH's server.
      size: Size in bytes.
      sha256: Hexadecimal digest.
    """

    url: str
    size: int
    sha256: str


def known_files() -> dict[str, KnownFile]:
    """Returns the official files by name, from checksums.tsv, which TFDS reads too."""
    lines = (epath.resource_path("nih_chest_xray") / "checksums.tsv").read_text().splitlines()
    rows = (line.split("\t") for line in lines)
    return {name: KnownFile(url, int(size), sha256) for url, size, sha256, name in rows}


@dataclasses.dataclass(frozen=True)
class TableFile:
    """One of the release's small files.

    Attributes:
      place: Its path, for messages.
      read: Returns its bytes.
    """

    place: str
    read: Callable[[], bytes]


@dataclasses.dataclass(frozen=True)
class Release:
    """The files that were found.

    Attributes:
      place: The searched folder, for messages.
      tables: The tables, by file name.
      sources: The places that hold images. An image that several hold is read from the first of them.
      archives: Official names of the archives found.
      refused: Why an archive with an official name was refused, by that name. This matters only if no other source has
        an image of that archive.
      aside: Files that look like the release's but were not used: for each the reason, in a sentence or two.
    """

    place: str
    tables: Mapping[str, TableFile] = dataclasses.field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    archives: frozenset[str] = frozenset()
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    aside: tuple[str, ...] = ()

    @property
    def label_file(self) -> str | None:
        """The name of the best label file found; None without any."""
        return next((name for name in LABEL_FILES if name in self.tables), None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the release was found, not even an archive that was refused."""
        return not (self.tables or self.sources or self.refused)

    def held(self, names: Set[str]) -> Set[str]:
        """Returns which of the names some source holds, as far as is known without reading archives."""
        return frozenset().union(*(source.held(names) for source in self.sources))

    def images(self, wanted: Set[str], one_pass: bool | None = None) -> Iterator[StoredImage]:
        """Yields each wanted image that exists, once, source after source.

        Args:
          wanted: Image names.
          one_pass: True reads only sources that have to be read in one pass, False only the others, None all.

        Raises:
          ReleaseError: A source is truncated or corrupt.
        """
        seen: set[str] = set()
        for source, here in self.shares(wanted):
            if one_pass is None or source.one_pass == one_pass:
                for image in source.images(here - seen):
                    seen.add(image.name)
                    yield image

    def passes(self, wanted: Set[str]) -> list[Iterator[StoredImage]]:
        """Returns iterators, which may be read at once, over the wanted images in sources to be read in one pass.

        There is one for each source. If the contents of any are unknown until it is read, there is one for all: an
        image that several of them hold is taken from the first.
        """
        shares = [(source, here) for source, here in self.shares(wanted) if source.one_pass]
        if all(source.certain for source, _ in shares):
            return [source.images(here) for source, here in shares]
        return [self.images(wanted, one_pass=True)]

    def shares(self, wanted: Set[str]) -> Iterator[tuple[Source, Set[str]]]:
        """Yields the sources that may hold wanted images, each with the names of these images.

        Each image is in one share only, except if it may be in an archive whose contents are unknown until it is read.
        """
        left = set(wanted)
        for source in self.sources:
            if here := source.held(left):
                yield source, here
            if source.certain:
                left -= here

    def not_taken(self) -> str:
        """Returns a sentence for an error about missing files: what was found but not used, and why."""
        if not self.aside:
            return ""
        more = f" (and {len(self.aside) - 5} more)" if len(self.aside) > 5 else ""
        return f" Found, but not taken: {' '.join(self.aside[:5])}{more}"

    def repacked(self, digests: Mapping[str, str]) -> dict[str, str]:
        """Returns the archives that differ from the NIH's.

        Args:
          digests: SHA-256 of the archives that were read, by place.

        Returns:
          SHA-256 by path, relative to `place`.
        """
        archives = {source.place: source for source in self.sources if source.one_pass}
        return {
            place.removeprefix(self.place).lstrip("/"): digest
            for place, digest in sorted(digests.items())
            if digest != archives[place].expected_sha256
        }


def file_table(path: epath.Path) -> TableFile:
    """Returns the table in a file, plain or gzipped."""
    return TableFile(str(path), functools.partial(_read_table, path))


def _read_table(path: epath.Path) -> bytes:
    return table_bytes(read_file(path), str(path))


def official_archive(path: epath.Path, name: str, known: Mapping[str, KnownFile], refuse_others: bool) -> TarGz:
    """Returns a file as the NIH's archive of this name; whether its digest matches is known once it has been read."""
    return TarGz(path, known[name].sha256, _contents(name), refuse_others)


def held_by(archive: str, names: Set[str]) -> Set[str]:
    """Returns which of the image names are in the NIH's archive of this name."""
    return {name for name in names if archive_of(name) == ARCHIVES.index(archive) + 1}


def _contents(archive: str) -> tuple[str, str]:
    """Returns the range of image names in one of the NIH's archives: the first, and an exclusive upper bound."""
    number = ARCHIVES.index(archive)
    return FIRST_IMAGES[number], FIRST_IMAGES[number + 1] if number + 1 < len(ARCHIVES) else "99999999_999.png"

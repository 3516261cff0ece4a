"""Release: finds the NIH's files in the layouts that people have, verifies them and reads them.

Nothing has to be renamed or extracted: `find_release` walks a folder and takes what it knows by name. Tables are known
by their file names, images by theirs (`00000013_005.png`), archives by the NIH's two ways of naming them.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Set

from etils import epath

from nih_chest_xray.files import ReleaseError, read_file
from nih_chest_xray.sources import IMAGE_NAME, REPACKED_ADVICE, Folder, Source, StoredImage, TarGz, Zip

LABEL_FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv")
"""Names of the label file, the best first."""
BOX_FILE = "BBox_List_2017.csv"
OFFICIAL_LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
EXPERT_FILES = {"validation": "validation_labels.csv", "test": "test_labels.csv"}
"""The radiologists' files, by the subset that each becomes. They come in a folder `four_findings_expert_labels`."""
ARCHIVES = tuple(f"images_{number:03d}.tar.gz" for number in range(1, 13))
"""The NIH's archives as its site names them; its download script drops one zero (`images_01.tar.gz`)."""
_FIRST_IMAGES = (
    *("00000001_000.png", "00001336_000.png", "00003923_014.png", "00006585_007.png", "00009232_004.png"),
    *("00011558_008.png", "00013774_026.png", "00016051_010.png", "00018387_035.png", "00020945_050.png"),
    *("00024718_000.png", "00028173_003.png"),
)
"""The first image of each archive: they hold all images in the order of names, the first 4,999, the others 10,000."""

_ARCHIVE = re.compile(r"images_([0-9]{2,3})\.tar\.gz")
_TABLES = (*LABEL_FILES, BOX_FILE, *OFFICIAL_LISTS.values(), *EXPERT_FILES.values())
_DEPTH = 3
"""Folders below the one that is given, such as `images_001/images` or `nih/images_001/images`."""


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
    lines = epath.Path(__file__).with_name("checksums.tsv").read_text().splitlines()
    rows = (line.split("\t") for line in lines)
    return {name: KnownFile(url, int(size), sha256) for url, size, sha256, name in rows}


@dataclasses.dataclass(frozen=True)
class Table:
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
    """

    place: str
    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    archives: frozenset[str] = frozenset()

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


def find_release(folder: epath.Path, known: Mapping[str, KnownFile], allow_repacked: bool) -> Release:
    """Finds tables, images and archives in a folder and below it; tables also in the folder above.

    Args:
      folder: Where to look. Any layout, also several mixed.
      known: The official files by name, to verify archives with.
      allow_repacked: Whether an archive that bears an official name, but not its size or digest, is taken.

    Returns:
      What is there. Archives have not been read: whether they have the official digest shows when they are.

    Raises:
      ReleaseError: A zip is cut, an archive has not the official size, or the folder is no folder.
    """
    if not folder.is_dir():
        raise ReleaseError(f"{folder} is not a folder. Give the folder in which the NIH's files are.")
    tables: dict[str, Table] = {}
    images: list[Folder] = []
    zips: list[Zip] = []
    archives: list[epath.Path] = []
    for directory, names in _walk(folder):
        for name in _TABLES:
            if name in names:
                tables.setdefault(name, file_table(directory / name))
        if found := [name for name in names if IMAGE_NAME.fullmatch(name)]:
            images.append(Folder(directory, found))
        zips += [Zip(directory / name) for name in sorted(names) if name.endswith(".zip")]
        archives += [directory / name for name in sorted(names) if _ARCHIVE.fullmatch(name)]
    for archive in zips:
        for name in archive.files.intersection(_TABLES):
            tables.setdefault(name, Table(f"{archive.place}/{name}", functools.partial(archive.read_file, name)))
    for name in _TABLES:
        if name not in tables and (folder.parent / name).exists():
            tables[name] = file_table(folder.parent / name)
    return Release(
        place=str(folder),
        tables=tables,
        sources=(
            *images,
            *(archive for archive in zips if any(map(IMAGE_NAME.fullmatch, archive.files))),
            *(_archive(path, known, allow_repacked) for path in archives),
        ),
        archives=frozenset(_official_name(path.name) for path in archives),
    )


def file_table(path: epath.Path) -> Table:
    """Returns a table that is a file of its own."""
    return Table(str(path), functools.partial(read_file, path))


def _walk(folder: epath.Path) -> Iterator[tuple[epath.Path, Set[str]]]:
    """Yields each folder with the names of the files in it, the nearest folders first, in the order of names."""
    level = [folder]
    for _ in range(_DEPTH + 1):
        below = []
        for directory in level:
            # Hidden are trash, caches, and what a Mac writes beside each file on a foreign disk.
            paths = [path for path in sorted(directory.iterdir()) if not path.name.startswith(".")]
            # Whether it is a folder is not asked of 112,120 images: on a remote file system that takes minutes.
            folders = [path for path in paths if not IMAGE_NAME.fullmatch(path.name) and path.is_dir()]
            yield directory, {path.name for path in paths} - {path.name for path in folders}
            below += folders
        level = below


def _official_name(name: str) -> str:
    return f"images_{int(_ARCHIVE.fullmatch(name)[1]):03d}.tar.gz"


def official_archive(path: epath.Path, name: str, known: Mapping[str, KnownFile], refuse_others: bool) -> TarGz:
    """Returns a file that is taken for the NIH's archive of this name until its digest shows otherwise."""
    return TarGz(path, known[name].sha256, _contents(name), refuse_others)


def held_by(archive: str, names: Set[str]) -> Set[str]:
    """Returns those of the image names that are in the NIH's archive of this name."""
    first, end = _contents(archive)
    return {name for name in names if first <= name < end}


def _contents(archive: str) -> tuple[str, str]:
    """Returns the name of the first image in one of the NIH's archives, and one behind that of the last."""
    number = ARCHIVES.index(archive)
    return _FIRST_IMAGES[number], _FIRST_IMAGES[number + 1] if number + 1 < len(ARCHIVES) else "99999999_999.png"


def _archive(path: epath.Path, known: Mapping[str, KnownFile], allow_repacked: bool) -> TarGz:
    name = _official_name(path.name)
    official = known.get(name)
    try:
        size = path.stat().length if official else 0
    except OSError as error:  # A link to nothing.
        raise ReleaseError(f"{path} cannot be read ({error.strerror or error}). Delete it and get it again.") from error
    if official and size == official.size:
        return official_archive(path, name, known, refuse_others=not allow_repacked)
    if allow_repacked:
        return TarGz(path, official.sha256 if official else None)
    if official:
        raise ReleaseError(
            f"{path} has {size:,} bytes; the NIH's {name} has {official.size:,}. It is cut, damaged or repacked."
            f" {REPACKED_ADVICE}"
        )
    raise ReleaseError(f"{path} is none of the NIH's twelve archives. {REPACKED_ADVICE}")


def read_official_lists(contents: Mapping[str, tuple[bytes, str]]) -> dict[str, frozenset[str]]:
    """Reads the NIH's lists of image names.

    Args:
      contents: The bytes of each list and its place, for messages.

    Returns:
      The names, under the same keys.

    Raises:
      ReleaseError: A list holds something else than image names, a line each.
    """
    lists = {}
    for subset, (content, place) in contents.items():
        lines = content.decode("utf-8-sig", errors="replace").split()
        if not lines:
            raise ReleaseError(f"{place} is empty. Download the list again.")
        for number, line in enumerate(lines, start=1):
            if not IMAGE_NAME.fullmatch(line):
                raise ReleaseError(
                    f"{place}, entry {number}: {line[:80]!r}; expected an image name such as 00000013_005.png."
                    " Download the list again."
                )
        lists[subset] = frozenset(lines)
    return lists

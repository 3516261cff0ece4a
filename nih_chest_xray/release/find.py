"""Find: searches a folder for the NIH's tables, images and archives, in all layouts and names that are in use.

Nothing has to be renamed or extracted. A file that looks like one of the release's but cannot be used is skipped, with
the reason. It stops a build only if no other file has what the config needs.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set

from etils import epath

from nih_chest_xray.errors import ReleaseError, TableError, unreadable
from nih_chest_xray.images.codec import copied_side
from nih_chest_xray.release.release import KnownFile, Release, TableFile, file_table, official_archive
from nih_chest_xray.release.sources import Folder, Source, Zip
from nih_chest_xray.release.tars import REPACKED_ADVICE, Tar, TarGz
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.tables.csv_table import read_header, strip, table_bytes
from nih_chest_xray.tables.expert_labels import (
    ALL_FINDINGS,
    ALL_READERS,
    FOUR_FINDINGS,
    FOUR_READERS,
    expert_file_kind,
)
from nih_chest_xray.tables.official_lists import read_official_lists
from nih_chest_xray.vocabulary import (
    ALL_FINDINGS_FILE,
    BOTH_EXPERT_FILES,
    BOX_FILE,
    EXPERT_FILES,
    LABEL_FILES,
    OFFICIAL_LISTS,
    READER_FILES,
    SOURCE_SIZE,
    image_name,
)

_EXPERT_KINDS = {
    **dict.fromkeys((*EXPERT_FILES.values(), BOTH_EXPERT_FILES), FOUR_FINDINGS),
    ALL_FINDINGS_FILE: ALL_FINDINGS,
    READER_FILES["four"]: FOUR_READERS,
    READER_FILES["all"]: ALL_READERS,
}
"""What the header of each of the radiologists' files has to say."""
TABLES = (*LABEL_FILES, BOX_FILE, *OFFICIAL_LISTS.values(), *_EXPERT_KINDS)
_SECONDS = 120
"""Time limit of the search: a home folder, or a bucket, may hold millions of folders."""
_TABLES_BY_NAME: dict[str, tuple[str, ...]] = {name.lower(): (name,) for name in TABLES}
_TABLES_BY_NAME |= dict.fromkeys(("test_labels.csv", ALL_FINDINGS_FILE), ("test_labels.csv", ALL_FINDINGS_FILE))
_EXPERT_FOLDERS = re.compile(r"(four|all)_findings_expert_labels_")
_ARCHIVE = re.compile(r"images_([0-9]{2,3})\.(tar\.gz|tgz|tar)")
# What browsers and desktops add to the name of a second copy.
_COPY_MARK = re.compile(r" ?\([0-9]+\)| - copy")
_SAMPLED = 3
"""Images per folder whose size is checked first. If these agree, all images of the folder have that size."""


@dataclasses.dataclass
class _Folder:
    """A searched folder: its depth below the first one, and the names of its files."""

    path: epath.Path
    depth: int
    names: Set[str]


@dataclasses.dataclass
class _Candidate:
    """A file that may be a table, judging by its name.

    Attributes:
      name: The table's official name.
      table: The file.
      distance: Distance from the folder where the search began; the nearest candidate comes first.
      exact: Whether the file has exactly the official name.
    """

    name: str
    table: TableFile
    distance: int
    exact: bool


def find_release(
    folder: epath.Path,
    known: Mapping[str, KnownFile],
    allow_repacked: bool,
    tables: Collection[str] = TABLES,
    resized_to: int | None = None,
) -> Release:
    """Finds tables, images and archives in a folder and its subfolders.

    The nearest copy of each table is used. The parent folder is searched for tables only if the folder holds nothing
    but images.

    Args:
      folder: The folder to search, in any layout or a mix of several.
      known: The official files by name, to verify archives.
      allow_repacked: Whether to use an archive that has an official name, but not the official size or digest.
      tables: Names of the tables that are needed; others are not opened.
      resized_to: Pixels per side. Resized copies with at least this size are used for images whose originals are
        missing. None: no copies are used.

    Returns:
      The files found. Archives have not been read, so their digests have not been checked.

    Raises:
      ReleaseError: The folder is not a directory.
    """
    if not folder.is_dir():
        raise ReleaseError(f"{folder} is not a directory. Name the folder that holds the NIH's files.")
    aside: list[str] = []
    searched = list(_walk(folder, aside))
    zips = list(_zips(searched, aside))
    archives, tars, refused = _archives(searched, known, allow_repacked, aside)
    holders: list[Source] = [Folder(each.path, each.names) for each in searched]
    holders += [archive for archive, _ in zips] + tars
    images = _originals_first([each for each in holders if each.names], resized_to, aside)
    return Release(
        place=str(folder),
        tables=_tables(folder, searched, zips, tables, aside),
        sources=(*images, *archives.values()),
        archives=frozenset(archives),
        refused=refused,
        aside=tuple(aside),
    )


def _walk(folder: epath.Path, aside: list[str]) -> Iterator[_Folder]:
    """Yields each folder once, the nearest first, then by name. Skips hidden folders and circular links."""
    end = time.monotonic() + _SECONDS
    level, depth, seen = [folder], 0, set()
    while level:
        below = []
        for directory in level:
            if time.monotonic() > end:
                aside.append(
                    f"{directory} and what is left below {folder}: not searched, since the search took more than"
                    f" {_SECONDS} seconds; name the folder that holds the images"
                )
                return
            try:
                if (identity := _identity(directory)) in seen:
                    continue
                seen.add(identity)
                # Hidden files are trash, caches, and what macOS writes next to each file on a foreign disk.
                paths = [path for path in sorted(directory.iterdir()) if not path.name.startswith(".")]
            except OSError as error:
                aside.append(str(unreadable(directory, error)))
                continue
            # No is_dir() for 112,120 images: on a remote file system that takes minutes.
            folders = [path for path in paths if image_name(path.name) is None and path.is_dir()]
            yield _Folder(directory, depth, {path.name for path in paths} - {path.name for path in folders})
            below += folders
        level, depth = below, depth + 1


def _identity(directory: epath.Path) -> object:
    if is_remote(directory):
        return str(directory)
    status = pathlib.Path(directory).stat()
    return status.st_dev, status.st_ino


def _plain(name: str) -> str:
    """Returns a file's name in lower case and without the marks of a second copy.

    >>> _plain("images_001.tar (1).GZ"), _plain("Data_Entry_2017 - Copy.csv")
    ('images_001.tar.gz', 'data_entry_2017.csv')
    """
    return _COPY_MARK.sub("", name.lower())


# Images.


def _zips(searched: Iterable[_Folder], aside: list[str]) -> Iterator[tuple[Zip, int]]:
    """Yields each zip that can be opened, and the depth of its folder."""
    for each in searched:
        for name in sorted(each.names):
            if name.lower().endswith(".zip"):
                try:
                    yield Zip(each.path / name), each.depth
                except ReleaseError as error:
                    aside.append(str(error))


def _archives(
    searched: Iterable[_Folder], known: Mapping[str, KnownFile], allow_repacked: bool, aside: list[str]
) -> tuple[dict[str, TarGz], list[Source], dict[str, str]]:
    """Returns archives by official name, decompressed ones, and by official name why an archive was refused."""
    found: dict[str, TarGz] = {}
    doubtful: list[tuple[str, epath.Path, str]] = []
    tars: list[Source] = []
    for each in searched:
        # Official names before those of second copies.
        for name in sorted(each.names, key=lambda name: (name != _plain(name), name)):
            if not (match := _ARCHIVE.fullmatch(_plain(name))):
                continue
            path, official = each.path / name, f"images_{int(match[1]):03d}.tar.gz"
            try:
                if match[2] == "tar":
                    tars.append(Tar(path))
                elif official in known and path.stat().length == known[official].size:
                    found.setdefault(official, official_archive(path, official, known, not allow_repacked))
                else:
                    doubtful.append((official, path, _why_doubtful(path, official, known)))
            except ReleaseError as error:
                aside.append(str(error))
            except OSError as error:  # A broken link.
                aside.append(str(unreadable(path, error)))
    refused: dict[str, str] = {}
    for official, path, why in doubtful:
        if official in found:
            continue
        if allow_repacked:
            found[official] = TarGz(path, known[official].sha256 if official in known else None)
        else:
            refused.setdefault(official, why)
    aside += refused.values()
    return dict(sorted(found.items())), tars, refused


def _why_doubtful(path: epath.Path, official: str, known: Mapping[str, KnownFile]) -> str:
    if official not in known:
        return f"{path} is not one of the NIH's twelve archives. {REPACKED_ADVICE}"
    return (
        f"{path} has {path.stat().length:,} bytes; the NIH's {official} has {known[official].size:,}. It is cut,"
        f" damaged or repacked. {REPACKED_ADVICE}"
    )


def _originals_first(sources: Iterable[Source], resized_to: int | None, aside: list[str]) -> list[Source]:
    """Returns the sources of originals, then those of resized copies, the largest first; skips unusable copies.

    So an image is read from a copy only if no source has the original.
    """
    originals: list[Source] = []
    copies: list[tuple[int, Source]] = []
    for source in sources:
        for side, names in _by_size(source).items():
            part = source if len(names) == len(source.names) else source.part(names)
            if side is None:
                originals.append(part)
            elif resized_to is not None and side >= resized_to:
                copies.append((side, part))
            else:
                aside.append(_why_no_copies(source, side, len(names), resized_to))
    copies.sort(key=lambda each: -each[0])
    return originals + [source for _, source in copies]


def _by_size(source: Source) -> dict[int | None, Sequence[str]]:
    """Groups the names of a source's images by the side in pixels of resized copies; the key of all others is None."""
    names = sorted(source.names)
    step = max(1, (len(names) - 1) // (_SAMPLED - 1))
    sampled = dict.fromkeys([*names[::step][:_SAMPLED], names[-1]])
    sides = {copied_side(head) for _, head in source.heads(sampled)}
    if len(sides) == 1:
        return {sides.pop(): names}
    by_size: dict[int | None, list[str]] = {}
    for name, head in source.heads(names):
        by_size.setdefault(copied_side(head), []).append(name)
    return dict(by_size)


def _why_no_copies(source: Source, side: int, number: int, resized_to: int | None) -> str:
    size = f"{source.place} has {number:,} images with {side} pixels a side; the NIH's have {SOURCE_SIZE}."
    if resized_to is None:
        return f'{size} To build from resized copies, use a config with "allow_resized_images": true.'
    return f"{size} They are too small for image_size {resized_to}."


# Tables.


def _tables(
    folder: epath.Path,
    searched: Sequence[_Folder],
    zips: Iterable[tuple[Zip, int]],
    wanted: Collection[str],
    aside: list[str],
) -> dict[str, TableFile]:
    """Returns the nearest file of each table that is what its name says; only one label file."""
    candidates = list(_candidates(searched, zips))
    if not candidates and _holds_images_alone(searched):
        candidates = list(_candidates([_above(folder, aside)], []))
    found: dict[str, TableFile] = {}
    refused: list[tuple[str, str]] = []
    for names in (LABEL_FILES, *((name,) for name in TABLES if name not in LABEL_FILES)):
        near = [each for each in candidates if each.name in names and each.name in wanted]
        near.sort(key=lambda each: (each.distance, names.index(each.name), not each.exact, each.table.place))
        if (chosen := _choose(near, refused)) is not None:
            found[chosen.name] = chosen.table
    # Two of the radiologists' files are called test_labels.csv: what one table refused may be the other, or neither.
    taken = {table.place for table in found.values()}
    problems: dict[str, str] = {}
    for place, problem in refused:
        if place not in taken:
            problems.setdefault(place, problem)
    aside += problems.values()
    return found


def _candidates(searched: Iterable[_Folder], zips: Iterable[tuple[Zip, int]]) -> Iterator[_Candidate]:
    for each in searched:
        for file_name in sorted(each.names):
            for name in _table_names(file_name):
                yield _Candidate(name, file_table(each.path / file_name), 2 * each.depth, file_name == name)
    for archive, depth in zips:
        for file_name in sorted(archive.files):
            for name in _table_names(file_name):
                place = f"{archive.place}/{file_name}"
                table = TableFile(place, functools.partial(_read_from_zip, archive, file_name, place))
                yield _Candidate(name, table, 2 * depth + 1, file_name == name)


def _read_from_zip(archive: Zip, file_name: str, place: str) -> bytes:
    return table_bytes(archive.read_file(file_name), place)


def _table_names(file_name: str) -> tuple[str, ...]:
    """Returns the tables that a file name may stand for; it may be gzipped, a copy, or include its folder's name.

    >>> _table_names("Data_Entry_2017_v2020 (1).csv"), _table_names("all_findings_expert_labels_test_labels.csv.gz")
    (('Data_Entry_2017_v2020.csv',), ('test_labels.csv', 'all_findings_expert_labels_test_labels.csv'))
    """
    return _TABLES_BY_NAME.get(_EXPERT_FOLDERS.sub("", _plain(file_name).removesuffix(".gz")), ())


def _holds_images_alone(searched: Sequence[_Folder]) -> bool:
    return len(searched) == 1 and all(image_name(name) for name in searched[0].names) and bool(searched[0].names)


def _above(folder: epath.Path, aside: list[str]) -> _Folder:
    above = folder.parent if is_remote(folder) else epath.Path(pathlib.Path(folder).absolute().parent)
    try:
        return _Folder(above, 0, {path.name for path in above.iterdir()})
    except OSError as error:
        aside.append(str(unreadable(above, error)))
        return _Folder(above, 0, frozenset())


def _choose(candidates: Sequence[_Candidate], aside: list[tuple[str, str]]) -> _Candidate | None:
    """Returns the first candidate that is what its name says; adds place and problem of those that are not to `aside`.

    If none is, a label file or box list with exactly the official name is returned anyway: its reader says what is
    wrong with it. Other names, such as `test_labels.csv`, may be of an unrelated file.
    """
    refused: list[tuple[str, str]] = []
    for candidate in candidates:
        if (problem := _problem(candidate)) is None:
            aside += refused
            return candidate
        refused.append((candidate.table.place, problem))
    own = [each for each in candidates if each.exact and each.name in (*LABEL_FILES, BOX_FILE)]
    if own:
        return own[0]
    aside += refused
    return None


def _problem(candidate: _Candidate) -> str | None:
    name, place = candidate.name, candidate.table.place
    try:
        content = strip(candidate.table.read(), place)
        if name in OFFICIAL_LISTS.values():
            read_official_lists({name: (content, place)})
            return None
        if kind := _EXPERT_KINDS.get(name):
            good, expected = expert_file_kind(content) == kind, f"the radiologists' file of {kind}, by its header"
        else:
            wanted = {"imageindex", "findinglabel" if name == BOX_FILE else "findinglabels"}
            good, expected = wanted <= set(read_header(content)), f"a table with the header of {name}"
    except (ReleaseError, TableError) as error:
        return str(error)
    return None if good else f"{place} is not {expected}."

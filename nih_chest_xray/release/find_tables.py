"""Find tables: chooses the file of each table among the files of the searched folders, by name and by header."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
from collections.abc import Collection, Iterable, Iterator, Sequence, Set

from etils import epath

from nih_chest_xray.errors import ReleaseError, TableError, unreadable
from nih_chest_xray.release.release import TableFile, file_table
from nih_chest_xray.release.sources import Zip
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
_TABLES_BY_NAME: dict[str, tuple[str, ...]] = {name.lower(): (name,) for name in TABLES}
_TABLES_BY_NAME |= dict.fromkeys(("test_labels.csv", ALL_FINDINGS_FILE), ("test_labels.csv", ALL_FINDINGS_FILE))
_EXPERT_FOLDERS = re.compile(r"(four|all)_findings_expert_labels_")
# What browsers and desktops add to the name of a second copy.
_COPY_MARK = re.compile(r" ?\([0-9]+\)| - copy")


@dataclasses.dataclass
class SearchedFolder:
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


def plain_name(name: str) -> str:
    """Returns a file's name in lower case and without the marks of a second copy.

    >>> plain_name("images_001.tar (1).GZ"), plain_name("Data_Entry_2017 - Copy.csv")
    ('images_001.tar.gz', 'data_entry_2017.csv')
    """
    return _COPY_MARK.sub("", name.lower())


def find_tables(
    folder: epath.Path,
    searched: Sequence[SearchedFolder],
    zips: Iterable[tuple[Zip, int]],
    wanted: Collection[str],
    aside: list[str],
) -> dict[str, TableFile]:
    """Returns the nearest file of each table that is what its name says; only one label file.

    Args:
      folder: The folder where the search began. If it holds nothing but images, the one above is searched too.
      searched: The searched folders.
      zips: Each zip file in them, with the depth of its folder.
      wanted: Names of the tables that are needed; others are not opened.
      aside: Why files were not taken is added here, a text for each file.
    """
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


def _candidates(searched: Iterable[SearchedFolder], zips: Iterable[tuple[Zip, int]]) -> Iterator[_Candidate]:
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
    return _TABLES_BY_NAME.get(_EXPERT_FOLDERS.sub("", plain_name(file_name).removesuffix(".gz")), ())


def _holds_images_alone(searched: Sequence[SearchedFolder]) -> bool:
    return len(searched) == 1 and all(image_name(name) for name in searched[0].names) and bool(searched[0].names)


def _above(folder: epath.Path, aside: list[str]) -> SearchedFolder:
    above = folder.parent if is_remote(folder) else epath.Path(pathlib.Path(folder).absolute().parent)
    try:
        return SearchedFolder(above, 0, {path.name for path in above.iterdir()})
    except OSError as error:
        aside.append(str(unreadable(above, error)))
        return SearchedFolder(above, 0, frozenset())


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

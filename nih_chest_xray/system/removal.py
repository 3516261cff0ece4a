"""Removal: the only module that deletes from disk, and only what this package made for a build or a site.

Every file to delete must match the names that the package and TFDS give their files. If a single entry has another name
or is a link, it counts as the user's, and nothing at all is deleted.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator

from etils import epath

from nih_chest_xray.errors import RemovalRefusedError
from nih_chest_xray.system.paths import is_remote


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file or folder that the package makes, and may delete again.

    Attributes:
      noun: Its name in messages.
      name: Pattern of its file name.
      contents: Pattern of the relative paths of the files that it may hold. None if it is a file itself.
    """

    noun: str
    name: re.Pattern[str]
    contents: re.Pattern[str] | None


_SHARD = r"nih_chest_xray-[a-z0-9_]+\.(tfrecord|array_record|parquet)-\d{5}-of-\d{5}"
_DATASET = (
    r"(dataset_info\.json|features\.json|metadata\.json|metadata\.csv|examples\.csv|LICENSE|[\w-]+\.labels\.txt|[\w-]+\.image\.json"
    rf"|{_SHARD})"
)
# TFDS's buckets, and what it and this package write for Beam's workers.
_WORK = (
    rf"(bucket_[0-9a-f-]{{36}}_\d{{3}}\.tmp|{_SHARD}_index\.json|incomplete\.[A-Z0-9]{{6}}\.{_SHARD}"
    r"|(incomplete\.[A-Z0-9]{6}\.)?nih_chest_xray-[a-z0-9_]+\.[\w.]*split_info\.json"
    r"|beam/((source|rows)-\d{5}\.pickle|(names|archives|broken_\d{5})\.json))"
)
_VERSION = r"\d+\.\d+\.\d+"
UNFINISHED = Kind(
    "an unfinished build", re.compile(rf"incomplete\.[A-Z0-9]{{6}}_{_VERSION}"), re.compile(rf"{_DATASET}|{_WORK}")
)
REPLACED = Kind("a replaced dataset", re.compile(rf"replaced\.[A-Z0-9]{{6}}_{_VERSION}"), re.compile(_DATASET))
UNFINISHED_DOWNLOAD = Kind("a partial download", re.compile(r"[\w.-]+\.part"), None)
_EXAMPLE = r"\d{8}_\d{3}(_aug\d+)?"
_PICTURE = rf"images/({_EXAMPLE}\.(jpg|webp)|chart-[a-z]+(-dark)?\.svg)"
_BROWSER = rf"examples/({_EXAMPLE}\.(png|jpg|webp)|sheet-\d+\.webp|(examples|rows)\.js)"
_PAGE = rf"(index\.html|croissant\.json|SHA256SUMS|manifest\.tsv|metadata\.csv|{_PICTURE}|{_BROWSER})"
# Sites of an earlier version, which may be replaced, hold metadata.csv, charts or nih_chest_xray.md.
_SITE = rf"(([A-Za-z0-9][A-Za-z0-9_.-]*/)?{_PAGE}|nih_chest_xray\.md|catalog\.json)"
SITE_WORK = "nih-chest-xray-catalog"
"""Part of the name of the folder in which a site is written, `.<site>.nih-chest-xray-catalog.<eight characters>`."""
UNFINISHED_SITE = Kind(
    "an unfinished site", re.compile(rf"\..+\.{SITE_WORK}\.[a-z0-9_]{{8}}"), re.compile(rf"((new|old)/)?{_SITE}")
)
REPLACED_SITE = Kind("a replaced site", re.compile("old"), re.compile(_SITE))
EXPORT_WORK = "nih-chest-xray-export"
"""Part of the name of the folder in which an export is written, as `SITE_WORK` is of a site's."""
_IMAGE = r"[a-z0-9_]+/([A-Za-z_ ]+/)?\d{8}_\d{3}(_aug\d+)?\.(png|jpg)"
_EXPORT = (
    r"new/(README\.md|SHA256SUMS|metadata\.csv|examples\.csv|data/[a-z0-9_]+-\d{5}-of-\d{5}\.parquet"
    rf"|[a-z0-9_]+-\d{{6}}\.tar|{_IMAGE})"
)
UNFINISHED_EXPORT = Kind(
    "an unfinished export", re.compile(rf"\..+\.{EXPORT_WORK}\.[a-z0-9_]{{8}}"), re.compile(_EXPORT)
)
BEAM_TASKS = Kind("the tasks of a Beam build", re.compile("beam"), re.compile(r"(source|rows)-\d{5}\.pickle|\w+\.json"))


def foreign(path: epath.Path, kind: Kind) -> list[str]:
    """Returns the relative paths in a folder that do not fit a kind: unknown names, and anything but plain files."""
    return [name for name, entry, is_folder in _walk(path, "") if not is_folder and not _is_made(name, entry, kind)]


def remove(path: epath.Path, kind: Kind, within: epath.Path) -> None:
    """Deletes a file or folder that the package made.

    Args:
      path: The file or folder to delete.
      kind: The kind that it must be of.
      within: The folder in which the package put it.

    Raises:
      RemovalRefusedError: It is not directly in that folder, has another name, or holds something that the package did
        not make. Nothing was deleted.
      OSError: The system refuses.
    """
    if path.parent != within or not kind.name.fullmatch(path.name) or _is_link(path):
        raise RemovalRefusedError(f"{path} is not {kind.noun}; it is left as it is.")
    if kind.contents is None:
        if path.exists() and not _is_plain(path):
            raise RemovalRefusedError(f"{path} is not a file; it is left as it is.")
        path.unlink(missing_ok=True)
        return
    if others := foreign(path, kind):
        raise RemovalRefusedError(
            f"{path} is left as it is: it holds {others[0]!r}, which is not of {kind.noun}. Move that away, or delete"
            " the folder yourself."
        )
    # File by file, so that a file that appears in the meantime is kept and stops the removal of its folder.
    folders = [path]
    for _, entry, is_folder in _walk(path, ""):
        if is_folder:
            folders.append(entry)
        else:
            entry.unlink(missing_ok=True)
    for folder in reversed(folders):
        _remove_empty(folder)


def _walk(folder: epath.Path, above: str) -> Iterator[tuple[str, epath.Path, bool]]:
    """Yields each entry's path relative to the first folder, its path, and whether it is a folder; a link never is."""
    for entry in sorted(folder.iterdir()):
        is_folder = not _is_link(entry) and entry.is_dir()
        yield above + entry.name, entry, is_folder
        if is_folder:
            yield from _walk(entry, f"{above}{entry.name}/")


def _is_made(name: str, entry: epath.Path, kind: Kind) -> bool:
    return kind.contents is not None and kind.contents.fullmatch(name) is not None and _is_plain(entry)


def _is_link(path: epath.Path) -> bool:
    return not is_remote(path) and pathlib.Path(path).is_symlink()


def _is_plain(path: epath.Path) -> bool:
    return is_remote(path) or (not _is_link(path) and pathlib.Path(path).is_file())


def _remove_empty(folder: epath.Path) -> None:
    if is_remote(folder):
        if folder.exists() and not any(folder.iterdir()):
            folder.rmtree()  # In a bucket only the folder's marker is left, which some systems keep.
    else:
        pathlib.Path(folder).rmdir()

"""Find: searches a folder for the NIH's tables, images and archives, in all layouts and names that are in use.

Nothing has to be renamed or extracted. A file that looks like one of the release's but cannot be used is skipped, with
the reason. It stops a build only if no other file has what the config needs.
"""

from __future__ import annotations

import pathlib
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from etils import epath

from nih_chest_xray.errors import ReleaseError, unreadable
from nih_chest_xray.images.codec import copied_side
from nih_chest_xray.release.find_tables import TABLES, SearchedFolder, find_tables, plain_name
from nih_chest_xray.release.release import KnownFile, Release, official_archive
from nih_chest_xray.release.sources import Folder, Source, Zip
from nih_chest_xray.release.tars import REPACKED_ADVICE, Tar, TarGz
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.vocabulary import SOURCE_SIZE, image_name

_SECONDS = 120
"""Time limit of the search: a home folder, or a bucket, may hold millions of folders."""
_ARCHIVE = re.compile(r"images_([0-9]{2,3})\.(tar\.gz|tgz|tar)")
_SAMPLED = 3
"""Images per folder whose size is checked first. If these agree, all images of the folder have that size."""


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
        tables=find_tables(folder, searched, zips, tables, aside),
        sources=(*images, *archives.values()),
        archives=frozenset(archives),
        refused=refused,
        aside=tuple(aside),
    )


def _walk(folder: epath.Path, aside: list[str]) -> Iterator[SearchedFolder]:
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
            yield SearchedFolder(directory, depth, {path.name for path in paths} - {path.name for path in folders})
            below += folders
        level, depth = below, depth + 1


def _identity(directory: epath.Path) -> object:
    if is_remote(directory):
        return str(directory)
    status = pathlib.Path(directory).stat()
    return status.st_dev, status.st_ino


# Images.


def _zips(searched: Iterable[SearchedFolder], aside: list[str]) -> Iterator[tuple[Zip, int]]:
    """Yields each zip that can be opened, and the depth of its folder."""
    for each in searched:
        for name in sorted(each.names):
            if name.lower().endswith(".zip"):
                try:
                    yield Zip(each.path / name), each.depth
                except ReleaseError as error:
                    aside.append(str(error))


def _archives(
    searched: Iterable[SearchedFolder], known: Mapping[str, KnownFile], allow_repacked: bool, aside: list[str]
) -> tuple[dict[str, TarGz], list[Source], dict[str, str]]:
    """Returns archives by official name, decompressed ones, and by official name why an archive was refused."""
    found: dict[str, TarGz] = {}
    doubtful: list[tuple[str, epath.Path, str]] = []
    tars: list[Source] = []
    for each in searched:
        # Official names before those of second copies.
        for name in sorted(each.names, key=lambda name: (name != plain_name(name), name)):
            if not (match := _ARCHIVE.fullmatch(plain_name(name))):
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

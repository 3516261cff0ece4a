"""Downloads: what the release on disk lacks is fetched, or an error tells how to get it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Set

from etils import epath

from nih_chest_xray.release import ARCHIVES, LABEL_FILES, OFFICIAL_LISTS, KnownFile, Release, Table
from nih_chest_xray.sources import ReleaseError, TarGz

Fetch = Callable[[dict[str, str]], dict[str, epath.Path]]
"""Downloads URLs, checks their digests and returns paths: `dl_manager.download`."""


def complete_tables(found: Release, official_split: bool, known: Mapping[str, KnownFile], fetch: Fetch) -> Release:
    """Downloads the label file, and for the official split the NIH's lists, if they were not found.

    Raises:
      ReleaseError: A table is neither there nor to be had.
    """
    needed = [] if found.label_file else [LABEL_FILES[0]]
    needed += [name for name in OFFICIAL_LISTS.values() if official_split and name not in found.tables]
    if not needed:
        return found
    try:
        paths = fetch({name: known[name].url for name in needed})
    except Exception as error:  # The downloader raises what its HTTP library does, and TFDS's own errors.
        raise ReleaseError(
            f"{' and '.join(needed)}: not found in {found.place}, and the download failed ({_first_line(error)})."
            f" Download by hand from https://nihcc.app.box.com/v/ChestXray-NIHCC into the manual_dir."
        ) from error
    tables = {name: Table(str(path), path.read_bytes) for name, path in paths.items()}
    return dataclasses.replace(found, tables={**found.tables, **tables})


def complete_images(found: Release, wanted: Set[str], known: Mapping[str, KnownFile], fetch: Fetch) -> Release:
    """Downloads the archives that were not found, if an image is missing.

    Args:
      found: What is there.
      wanted: Image names that the build needs.
      known: URLs of the archives.
      fetch: Downloads.

    Raises:
      ReleaseError: Images are missing and the download fails, or the archives do not hold them.
    """
    if wanted <= found.image_names():
        return found
    urls = {name: known[name].url for name in ARCHIVES if name not in found.archives}
    try:
        paths = fetch(urls) if urls else {}
    except Exception as error:  # As above.
        reason = f"The archives that are not there could not be downloaded ({_first_line(error)})."
        raise ReleaseError(_missing(found, wanted, reason)) from error
    archives = tuple(TarGz(path) for path in paths.values())
    found = dataclasses.replace(found, sources=found.sources + archives, archives=found.archives | frozenset(paths))
    if not wanted <= found.image_names():
        raise ReleaseError(_missing(found, wanted, "All twelve archives are there, but do not hold them."))
    return found


def _missing(found: Release, wanted: Set[str], reason: str) -> str:
    missing = sorted(wanted - found.image_names())
    examples = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
    return (
        f"{len(missing):,} of the {len(wanted):,} images that this config needs are not in {found.place} ({examples})."
        f" {reason} There are two ways out: put the missing images there (the folders, zip or archives that you lack;"
        " https://nihcc.app.box.com/v/ChestXray-NIHCC has them), or build from those that you have with a config of"
        ' your own: --config \'{"name": "my_part", "allow_missing_images": true}\'.'
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]

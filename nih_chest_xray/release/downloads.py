"""Downloads: fetches what the release on disk lacks, or says how to get it."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Callable, Mapping, Set

from etils import epath

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import ReleaseError, TransferError
from nih_chest_xray.release.release import KnownFile, Release, file_table, held_by, official_archive
from nih_chest_xray.release.sources import Source
from nih_chest_xray.tables.csv_table import strip
from nih_chest_xray.vocabulary import (
    ALL_FINDINGS_FILE,
    ARCHIVES,
    BOTH_EXPERT_FILES,
    BOX_FILE,
    EXPERT_FILES,
    LABEL_FILES,
    OFFICIAL_LISTS,
)

RELEASE_PAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
EXPERT_PAGE = "https://cloud.google.com/healthcare-api/docs/resources/public-datasets/nih-chest"

Fetch = Callable[[dict[str, KnownFile]], dict[str, epath.Path]]
"""Downloads files by name and returns their paths: `transfer.fetch` into some folder. Raises TransferError."""


def complete_tables(
    found: Release, config: NihChestXrayConfig, known: Mapping[str, KnownFile], fetch: Fetch
) -> Release:
    """Downloads the tables that the config needs and that were not found.

    A build from part of the images continues without boxes: Kaggle's sample, for example, has none.

    Raises:
      ReleaseError: A table was not found and cannot be downloaded.
      TableError: A table that was found is empty or a web page. This is checked before anything is downloaded.
    """
    for table in found.tables.values():
        strip(table.read(), table.place)
    require_expert_files(found, config)
    needed, boxes = missing_tables(found, config)
    if not needed and not boxes:
        return found
    try:
        paths = fetch({name: known[name] for name in needed + boxes})
    except TransferError as error:
        problem = f"not found in {found.place}, and the download failed ({error})."
        if needed or not config.allow_missing_images:
            raise ReleaseError(
                f"{' and '.join(needed + boxes)}: {problem} Get them with your browser from"
                f" {RELEASE_PAGE}, and name the folder where they are as the manual_dir.{found.not_taken()}"
            ) from error
        warnings.warn(f"{BOX_FILE}: {problem} No image has bounding boxes.", stacklevel=2)
        return found
    tables = {name: file_table(path) for name, path in paths.items()}
    return dataclasses.replace(found, tables={**found.tables, **tables})


def require_expert_files(found: Release, config: NihChestXrayConfig) -> None:
    """Raises an error if the config needs radiologists' labels that were not found: they cannot be downloaded.

    Raises:
      ReleaseError: The message says how to request them.
    """
    absent = [name for name in EXPERT_FILES.values() if name not in found.tables]
    if config.split == "expert" and absent and BOTH_EXPERT_FILES not in found.tables:
        what = (
            "four_findings_expert_labels, with test_labels.csv and validation_labels.csv, into the manual_dir;"
            f" torchxrayvision's {BOTH_EXPERT_FILES}.gz, which has both, works too."
        )
        if other := found.tables.get(ALL_FINDINGS_FILE):
            what += f" {other.place} is the file of all findings, by its header."
    elif config.split == "expert_all" and ALL_FINDINGS_FILE not in found.tables:
        absent = ["test_labels.csv of all findings"]
        what = "all_findings_expert_labels, with test_labels.csv, into the manual_dir."
        if other := found.tables.get(EXPERT_FILES["test"]):
            what += f" {other.place} is the file of four findings, by its header."
    else:
        return
    raise ReleaseError(
        f"{' and '.join(absent)}: not found in {found.place}. You must request the radiologists' labels yourself: fill"
        f" in the form at {EXPERT_PAGE} (under 'Additional labels') and put the folder {what}{found.not_taken()}"
    )


def missing_tables(found: Release, config: NihChestXrayConfig) -> tuple[list[str], list[str]]:
    """Returns the names of the tables that a build would download: those that it needs, and the list of boxes."""
    needed = [] if found.label_file else [LABEL_FILES[0]]
    needed += [name for name in OFFICIAL_LISTS.values() if config.split == "official" and name not in found.tables]
    return needed, [] if BOX_FILE in found.tables else [BOX_FILE]


def missing_archives(found: Release, missing: Set[str]) -> dict[str, Set[str]]:
    """Returns the archives to download, by official name: those not found, each with the missing images it holds."""
    shares = {name: held_by(name, missing) for name in ARCHIVES if name not in found.archives}
    return {name: share for name, share in shares.items() if share}


def complete_images(found: Release, wanted: Set[str], known: Mapping[str, KnownFile], fetch: Fetch) -> Release:
    """Downloads the archives that hold images that were not found.

    Args:
      found: The release on disk.
      wanted: Names of the images that the build needs.
      known: The official files by name.
      fetch: Downloads files.

    Raises:
      ReleaseError: Images are missing and the download fails, or no archive holds them.
    """
    missing = wanted - found.held(wanted)
    if not missing:
        return found
    shares = missing_archives(found, missing)
    if missing - frozenset().union(*shares.values()):
        raise ReleaseError(_missing(found, wanted, "No archive that could be downloaded holds all of them."))
    needed = {name: known[name] for name in shares}
    if refused := [found.refused[name] for name in needed if name in found.refused]:
        raise ReleaseError(_missing(found, wanted, " ".join(refused)))
    # Printed, not logged: users who have some of the images should see this before the download begins.
    print(
        f"{len(missing):,} of the {len(wanted):,} images that this config needs are not in {found.place}. They are in"
        f" {len(needed)} of the NIH's archives ({sum(file.size for file in needed.values()) / 1e9:.1f} GB).",
        file=sys.stderr,
    )
    try:
        paths = fetch(needed)
    except TransferError as error:
        raise ReleaseError(_missing(found, wanted, f"The archives could not be downloaded ({error}).")) from error
    archives: tuple[Source, ...] = tuple(
        official_archive(path, name, known, refuse_others=True) for name, path in paths.items()
    )
    return dataclasses.replace(found, sources=found.sources + archives, archives=found.archives | frozenset(paths))


def _missing(found: Release, wanted: Set[str], reason: str) -> str:
    missing = sorted(wanted - found.held(wanted))
    aside = "" if reason in found.aside else found.not_taken()
    examples = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
    return (
        f"{len(missing):,} of the {len(wanted):,} images that this config needs are not in {found.place} ({examples})."
        f" {reason} Either put the missing images there (the folders, zip or archives that you lack; {RELEASE_PAGE} has"
        " them), or build from the images that you have, with a custom config:"
        ' --config \'{"name": "my_part", "allow_missing_images": true}\'.' + aside
    )

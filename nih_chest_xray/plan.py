"""Plan: reads the tables that a config needs from a release, and makes its cohort."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
from etils import epath

from nih_chest_xray.boxes import Box, read_boxes
from nih_chest_xray.cohort import SUBSETS, CohortError, empty_classes, make_cohort
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.expert_labels import KNOWN_FILES, read_expert_labels, require_known_images
from nih_chest_xray.files import ReleaseError, is_remote
from nih_chest_xray.labels import UNKNOWN_AGE, read_labels
from nih_chest_xray.official_lists import check_known_images, read_official_lists, read_split_lists
from nih_chest_xray.release import (
    BOTH_EXPERT_FILES,
    BOX_FILE,
    EXPERT_FILES,
    LABEL_FILES,
    OFFICIAL_LISTS,
    KnownFile,
    Release,
    archive_of,
    file_table,
)

_OFFICIAL_NAMES = {"train_val": 86_524, "test": 25_596}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be built, as far as tables tell.

    Attributes:
      cohort: The images that the config keeps, with label and subset.
      boxes: The boxes of each image that has any.
      origin: Where it comes from, for metadata.json: the label file's name, SHA-256 of the tables (unpacked) and
        whether each is, byte for byte, as it was published, unknown ages.
    """

    cohort: pd.DataFrame
    boxes: Mapping[str, tuple[Box, ...]]
    origin: dict[str, Any]


def needed_tables(config: NihChestXrayConfig) -> tuple[str, ...]:
    """Returns the names of the tables that a config may read; of label files, and of the radiologists', any will do."""
    return (
        *LABEL_FILES,
        BOX_FILE,
        *(OFFICIAL_LISTS.values() if config.split == "official" else ()),
        *((*EXPERT_FILES.values(), BOTH_EXPERT_FILES) if config.split == "expert" else ()),
    )


def make_plan(found: Release, config: NihChestXrayConfig, known: Mapping[str, KnownFile]) -> Plan:
    """Reads tables and makes the cohort.

    Args:
      found: A release that has the tables; the images need not be there. Without a list of boxes no image has any.
      config: Says which tables are read.
      known: The official files, to tell whether a table is the official one.

    Raises:
      TableError, ReleaseError, CohortError: A table is not what it should be.
    """
    found = with_split_lists(found, config)
    digests = {}

    def read(name: str) -> tuple[bytes, str]:
        content = found.tables[name].read()
        digest = hashlib.sha256(content).hexdigest()
        digests[name] = {"sha256": digest, "official": digest in _official_digests(name, known)}
        return content, found.tables[name].place

    def tell_if_unofficial(name: str, official: str, rows: str, what_follows: str) -> None:
        if not config.phantom_patients and not digests[name]["official"]:
            place = found.tables[name].place
            warnings.warn(f"{place} {rows}is not byte for byte {official}. {what_follows}", stacklevel=3)

    labels = read_labels(*read(found.label_file))
    tell_if_unofficial(
        found.label_file,
        f"the NIH's {LABEL_FILES[0]}, which has 112,120",
        f"has {len(labels):,} rows and ",
        "Which images are kept, and in which subset, follows from it.",
    )
    boxes = read_boxes(*read(BOX_FILE)) if BOX_FILE in found.tables else {}
    official = expert = lists = None
    if config.split == "official":
        official = read_official_lists({subset: read(name) for subset, name in OFFICIAL_LISTS.items()})
        for subset, name in OFFICIAL_LISTS.items():
            tell_if_unofficial(
                name,
                f"the NIH's {name}, which has {_OFFICIAL_NAMES[subset]:,}",
                f"has {len(official[subset]):,} names and ",
                "Which images are in the test subset follows from it.",
            )
    if config.split == "lists":
        lists = read_split_lists({subset: read(_require(found, path)) for subset, path in _list_paths(found, config)})
        check_known_images(lists, frozenset(labels["image_name"]), digests[found.label_file]["official"])
    if config.split == "expert":
        pair = all(name in found.tables for name in EXPERT_FILES.values())
        names = EXPERT_FILES if pair else {"both": BOTH_EXPERT_FILES}
        expert = read_expert_labels({key: read(name) for key, name in names.items()})
        require_known_images(expert, labels)
        for name in names.values():
            tell_if_unofficial(
                name, "a file that the radiologists published", "", "The labels of validation and test follow from it."
            )
    origin = {
        "label_file": found.label_file,
        "tables": digests,
        "unknown_ages": int((labels["patient_age"] == UNKNOWN_AGE).sum()),
    }
    return Plan(in_archives(make_cohort(labels, config, official, expert, lists), config), boxes, origin)


def in_archives(cohort: pd.DataFrame, config: NihChestXrayConfig) -> pd.DataFrame:
    """Returns the images of a cohort that the config's archives hold, with the subsets that they have in the whole.

    Raises:
      CohortError: The archives hold none.
    """
    if not config.archives:
        return cohort
    rows = cohort[cohort["image_name"].map(archive_of).isin(config.archives)].reset_index(drop=True)
    what = f"config {config.name!r}, archives={list(config.archives)}"
    if rows.empty:
        raise CohortError(f"{what}: none of the config's images is in these. Name other archives.")
    if absent := [subset for subset in SUBSETS if subset in {*cohort["subset"]} - {*rows["subset"]}]:
        warnings.warn(f"{what}: the dataset will have no subset {' and no '.join(absent)}.", stacklevel=3)
    if lacking := empty_classes(rows, config):
        warnings.warn(f"{what}: {lacking}", stacklevel=3)
    return rows


def with_split_lists(found: Release, config: NihChestXrayConfig) -> Release:
    """Returns the release with those of the config's `split_lists` that exist among its tables, by their file names.

    They take the place of what was found under the same name, such as the NIH's own `test_list.txt`.
    """
    paths = [path for _, path in _list_paths(found, config)]
    names = {path.name for path in paths}
    tables = {name: table for name, table in found.tables.items() if name not in names}
    return dataclasses.replace(found, tables=tables | {path.name: file_table(path) for path in paths if path.exists()})


def _list_paths(found: Release, config: NihChestXrayConfig) -> list[tuple[str, epath.Path]]:
    paths = ((subset, epath.Path(path).expanduser()) for subset, path in (config.split_lists or {}).items())
    return [
        (subset, path if path.is_absolute() or is_remote(path) else epath.Path(found.place) / path)
        for subset, path in paths
    ]


def _require(found: Release, path: epath.Path) -> str:
    if path.name not in found.tables:
        raise ReleaseError(
            f"{path} does not exist. Paths in split_lists are below the manual_dir, here {found.place}, or absolute:"
            " correct the path, or put the list there."
        )
    return path.name


def _official_digests(name: str, known: Mapping[str, KnownFile]) -> Collection[str]:
    """Returns the SHA-256 of what is published under this name; of label files that of the best, whatever the name."""
    if name in (*EXPERT_FILES.values(), BOTH_EXPERT_FILES):
        return KNOWN_FILES
    official = known.get(LABEL_FILES[0] if name in LABEL_FILES else name)
    return {official.sha256} if official else ()

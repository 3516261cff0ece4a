"""Tables of a release: says which ones a config needs, reads them, and warns of each that is not as published."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from etils import epath

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import ReleaseError
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.release import KnownFile, Release, file_table
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.tables.boxes import read_boxes
from nih_chest_xray.tables.expert_labels import (
    KNOWN_FILES,
    all_that_was_said,
    read_all_findings,
    read_expert_labels,
    require_known_images,
)
from nih_chest_xray.tables.expert_readers import measured, read_readings
from nih_chest_xray.tables.labels import read_labels
from nih_chest_xray.tables.official_lists import check_known_images, read_official_lists, read_split_lists
from nih_chest_xray.tables.tables import Tables
from nih_chest_xray.vocabulary import (
    ALL_FINDINGS_FILE,
    BOTH_EXPERT_FILES,
    BOX_FILE,
    EXPERT_FILES,
    LABEL_FILES,
    OFFICIAL_LISTS,
    READER_FILES,
    UNKNOWN_AGE,
)

_OFFICIAL_NAMES = {"train_val": 86_524, "test": 25_596}
_DECIDING = {"expert": (*EXPERT_FILES.values(), BOTH_EXPERT_FILES), "expert_all": (ALL_FINDINGS_FILE,)}
"""The radiologists' files that decide labels and subsets, by split. Others only give features, where they exist."""
_EXPERT_TABLES = (*EXPERT_FILES.values(), BOTH_EXPERT_FILES, ALL_FINDINGS_FILE, *READER_FILES.values())


def needed_tables(config: NihChestXrayConfig) -> tuple[str, ...]:
    """Returns the names of the tables that a config may read, including alternatives to each other."""
    return (
        *LABEL_FILES,
        BOX_FILE,
        *(OFFICIAL_LISTS.values() if config.uses_official_lists else ()),
        *(_EXPERT_TABLES if config.split in _DECIDING else ()),
    )


def features_without_file(found: Release, config: NihChestXrayConfig) -> dict[str, str]:
    """Returns the features that hold -1 alone because the optional file that they come from was not found, by file."""
    if config.split not in _DECIDING:
        return {}
    features = {
        READER_FILES["four"]: "reader_votes",
        ALL_FINDINGS_FILE: "expert_findings",
        READER_FILES["all"]: "nodule_votes",
    }
    absent = {name: feature for name, feature in features.items() if name not in found.tables}
    if not _four_findings(found):
        absent = {"validation_labels.csv and test_labels.csv of four findings": "expert_labels"} | absent
    return absent


def _four_findings(found: Release) -> dict[str, str]:
    """Returns the files of four findings to read, by the key that `read_expert_labels` takes."""
    pair = {subset: name for subset, name in EXPERT_FILES.items() if name in found.tables}
    if len(pair) < len(EXPERT_FILES) and BOTH_EXPERT_FILES in found.tables:
        return {"both": BOTH_EXPERT_FILES}
    return pair


def find_for_config(folder: epath.Path, config: NihChestXrayConfig, known: Mapping[str, KnownFile]) -> Release:
    """Finds the files that a config may use; repacked archives and resized copies only if the config allows them.

    Raises:
      ReleaseError: The folder is not a directory.
    """
    resized_to = config.image_size if config.allow_resized_images else None
    return find_release(folder, known, config.allow_missing_images, needed_tables(config), resized_to)


def read_tables(found: Release, config: NihChestXrayConfig, known: Mapping[str, KnownFile]) -> Tables:
    """Reads the tables that a config needs.

    Args:
      found: A release that has the tables; it needs no images. Without a list of boxes no image has any.
      config: The config, which decides which tables are read.
      known: The official files, to tell whether a table is the official one.

    Raises:
      TableError, ReleaseError: A table is not what it should be.
    """
    found = with_split_lists(found, config)
    if (label_file := found.label_file) is None:
        raise ReleaseError(f"No label file is in {found.place}; expected {LABEL_FILES[0]}.")
    digests: dict[str, dict[str, Any]] = {}

    def read(name: str) -> tuple[bytes, str]:
        content = found.tables[name].read()
        digest = hashlib.sha256(content).hexdigest()
        digests[name] = {"sha256": digest, "official": digest in _official_digests(name, known)}
        return content, found.tables[name].place

    def warn_if_unofficial(name: str, official: str, rows: str, what_follows: str) -> None:
        if not config.phantom_patients and not digests[name]["official"]:
            place = found.tables[name].place
            warnings.warn(f"{place} {rows}is not byte for byte {official}. {what_follows}", stacklevel=3)

    labels = read_labels(*read(label_file))
    warn_if_unofficial(
        label_file,
        f"the NIH's {LABEL_FILES[0]}, which has 112,120",
        f"has {len(labels):,} rows and ",
        "It decides which images are kept, and in which subset.",
    )
    boxes = read_boxes(*read(BOX_FILE)) if BOX_FILE in found.tables else {}
    official = expert = lists = None
    if config.uses_official_lists:
        official = read_official_lists({subset: read(name) for subset, name in OFFICIAL_LISTS.items()})
        for subset, name in OFFICIAL_LISTS.items():
            warn_if_unofficial(
                name,
                f"the NIH's {name}, which has {_OFFICIAL_NAMES[subset]:,}",
                f"has {len(official[subset]):,} names and ",
                "It decides which images are in the test subset.",
            )
    if config.split == "lists":
        lists = read_split_lists({subset: read(_require(found, path)) for subset, path in _list_paths(found, config)})
        check_known_images(lists, frozenset(labels["image_name"]), digests[label_file]["official"])
    radiologists: Mapping[str, Any] = {}
    if config.split in _DECIDING:
        four = {key: read(name) for key, name in _four_findings(found).items()}
        readings = {of: read_readings(*read(name), of) for of, name in READER_FILES.items() if name in found.tables}
        expert = all_that_was_said(
            read_expert_labels(four) if four else None,
            read_all_findings(*read(ALL_FINDINGS_FILE)) if ALL_FINDINGS_FILE in found.tables else None,
            readings.get("four"),
            readings.get("all"),
        )
        require_known_images(expert, labels)
        radiologists = measured(expert, readings.get("four"), readings.get("all"))
        for name in (name for name in _EXPERT_TABLES if name in digests):
            decides = f"the labels of {' and '.join(config.definition.read_by_radiologists)}"
            warn_if_unofficial(
                name,
                "a file that the radiologists published",
                "",
                f"It decides {decides if name in _DECIDING[config.split] else 'features of the examples'}.",
            )
    origin = {
        "label_file": label_file,
        "tables": digests,
        "unknown_ages": int((labels["patient_age"] == UNKNOWN_AGE).sum()),
        **({"radiologists": radiologists} if radiologists else {}),
    }
    return Tables(labels, boxes, official, expert, lists, origin)


def with_split_lists(found: Release, config: NihChestXrayConfig) -> Release:
    """Returns the release with the existing files of the config's `split_lists` added to its tables, by file name.

    They replace tables of the same name, such as the NIH's own `test_list.txt`.
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
            f"{path} does not exist. Paths in split_lists are relative to the manual_dir, here {found.place}, or"
            " absolute. Correct the path, or put the list there."
        )
    return path.name


def _official_digests(name: str, known: Mapping[str, KnownFile]) -> Collection[str]:
    """Returns the SHA-256 of the files published under this name; for all label files, that of the best one."""
    if name in _EXPERT_TABLES:
        return KNOWN_FILES
    official = known.get(LABEL_FILES[0] if name in LABEL_FILES else name)
    return {official.sha256} if official else ()

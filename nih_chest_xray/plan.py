"""Plan: reads the tables that a config needs from a release, and makes its cohort."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Mapping
from typing import Any

import pandas as pd

from nih_chest_xray.boxes import Box, read_boxes
from nih_chest_xray.cohort import make_cohort
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.expert_labels import read_expert_labels, require_known_images
from nih_chest_xray.labels import UNKNOWN_AGE, read_labels
from nih_chest_xray.release import (
    BOX_FILE,
    EXPERT_FILES,
    LABEL_FILES,
    OFFICIAL_LISTS,
    KnownFile,
    Release,
    read_official_lists,
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be built, as far as tables tell.

    Attributes:
      cohort: The images that the config keeps, with label and subset.
      boxes: The boxes of each image that has any.
      origin: Where it comes from, for metadata.json: the label file's name, digests of the tables, unknown ages.
    """

    cohort: pd.DataFrame
    boxes: Mapping[str, tuple[Box, ...]]
    origin: dict[str, Any]


def make_plan(found: Release, config: NihChestXrayConfig, known: Mapping[str, KnownFile]) -> Plan:
    """Reads tables and makes the cohort.

    Args:
      found: A release that has the tables; the images need not be there. Without a list of boxes no image has any.
      config: Says which tables are read.
      known: The official files, to tell whether a table is the official one.

    Raises:
      TableError, ReleaseError, CohortError: A table is not what it should be.
    """
    digests = {}

    def read(name: str) -> tuple[bytes, str]:
        content = found.tables[name].read()
        digest = hashlib.sha256(content).hexdigest()
        official = known.get(LABEL_FILES[0] if name in LABEL_FILES else name)  # Whatever name the label file bears.
        digests[name] = {"sha256": digest, "official": official is not None and digest == official.sha256}
        return content, found.tables[name].place

    labels = read_labels(*read(found.label_file))
    if not config.phantom_patients and not digests[found.label_file]["official"]:
        warnings.warn(
            f"{found.tables[found.label_file].place} has {len(labels):,} rows and is not byte for byte the NIH's"
            f" {LABEL_FILES[0]}, which has 112,120. Which images are kept, and in which subset, follows from it.",
            stacklevel=2,
        )
    boxes = read_boxes(*read(BOX_FILE)) if BOX_FILE in found.tables else {}
    official = expert = None
    if config.split == "official":
        official = read_official_lists({subset: read(name) for subset, name in OFFICIAL_LISTS.items()})
    if config.split == "expert":
        expert = read_expert_labels({subset: read(name) for subset, name in EXPERT_FILES.items()})
        require_known_images(expert, labels)
    origin = {
        "label_file": found.label_file,
        "tables": digests,
        "unknown_ages": int((labels["patient_age"] == UNKNOWN_AGE).sum()),
    }
    return Plan(make_cohort(labels, config, official, expert), boxes, origin)

"""Plan: what to build, from the tables alone: the images that the config keeps, and a row for each example."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Container, Mapping

import numpy as np
import pandas as pd

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import CohortError
from nih_chest_xray.planning.cohort import empty_classes, make_cohort
from nih_chest_xray.planning.manifest import make_manifest
from nih_chest_xray.planning.matching import matched_cutoffs
from nih_chest_xray.tables.tables import Tables
from nih_chest_xray.vocabulary import BOX_FILE, Box, archive_of


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to build.

    Attributes:
      cohort: The images that the config keeps, as `cohort.make_cohort` returns them, from the config's archives only.
      config: The config.
      boxes: The boxes of each image that has any.
      cutoffs: Which training negatives are augmented in place; see `matching.matched_cutoffs`.
    """

    cohort: pd.DataFrame
    config: NihChestXrayConfig
    boxes: Mapping[str, tuple[Box, ...]]
    cutoffs: Mapping[str, float]

    @functools.cached_property
    def manifest(self) -> pd.DataFrame:
        """A row for each example that the cohort gives, as `manifest.make_manifest` returns it."""
        return make_manifest(self.cohort, self.config, self.boxes, self.cutoffs)

    def of(self, images: Container[str], cutoffs: Mapping[str, float] | None = None) -> Plan:
        """Returns the plan of a part: the same subsets and copies, and augmentation that is matched within the part.

        Args:
          images: Names of images; those that are not in the cohort make no difference.
          cutoffs: Those of a dataset that is built; None for those of the part.
        """
        held = np.array([name in images for name in self.cohort["image_name"]], bool)
        if held.all() and cutoffs is None:
            return self
        rows = self.cohort[held].reset_index(drop=True)
        return Plan(rows, self.config, self.boxes, matched_cutoffs(rows, self.config) if cutoffs is None else cutoffs)


def make_plan(tables: Tables, config: NihChestXrayConfig) -> Plan:
    """Plans a build. The images need not exist yet.

    Raises:
      CohortError: The tables do not give what the config asks for.
    """
    cohort = make_cohort(tables.labels, config, tables.official, tables.expert, tables.lists)
    cohort = _in_archives(cohort, config)
    _require_room_for_boxes(cohort, tables, config)
    return Plan(cohort, config, tables.boxes, matched_cutoffs(cohort, config))


def _require_room_for_boxes(cohort: pd.DataFrame, tables: Tables, config: NihChestXrayConfig) -> None:
    wanted = set(cohort["image_name"])
    most, name = max(((len(boxes), name) for name, boxes in tables.boxes.items() if name in wanted), default=(0, ""))
    if most > config.max_boxes:
        raise CohortError(
            f"{name} has {most} bounding boxes; config {config.name!r} has room for max_boxes={config.max_boxes}. Build"
            f' with "max_boxes": {most}, or correct {BOX_FILE}.'
        )


def _in_archives(cohort: pd.DataFrame, config: NihChestXrayConfig) -> pd.DataFrame:
    """Returns the images of a cohort in the config's archives, with the subsets that they have in the whole release.

    Raises:
      CohortError: The archives hold none of them.
    """
    if not config.archives:
        return cohort
    rows = cohort[cohort["image_name"].map(archive_of).isin(config.archives)].reset_index(drop=True)
    what = f"config {config.name!r}, archives={list(config.archives)}"
    if rows.empty:
        raise CohortError(f"{what}: these hold none of the config's images. Name other archives.")
    lost = {*cohort["subset"]} - {*rows["subset"]}
    if absent := [subset for subset in config.image_subsets if subset in lost]:
        warnings.warn(f"{what}: the dataset will have no subset {' and no '.join(absent)}.", stacklevel=3)
    if lacking := empty_classes(rows, config):
        warnings.warn(f"{what}: {lacking}", stacklevel=3)
    return rows

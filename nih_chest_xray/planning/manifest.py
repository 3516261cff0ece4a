"""Manifest: a row for each example of a build, made before any image is read. `metadata.csv` is a part of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.images.augmentation import draw_augmentations
from nih_chest_xray.planning.matching import matched_augmentations, matched_cutoffs
from nih_chest_xray.vocabulary import NO_AUGMENTATION, NOT_SAID, Box, copy_name


def make_manifest(
    cohort: pd.DataFrame,
    config: NihChestXrayConfig,
    boxes: Mapping[str, tuple[Box, ...]],
    cutoffs: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Adds a row for each augmented copy of a training image with a nodule.

    The copies of a fold's images are in a subset of their own, since a fold also validates. With `matched_augmentation`
    it also says which training images without one are augmented in place.

    Args:
      cohort: A table as `cohort.make_cohort` returns it, or some of its rows.
      config: The config, which gives the number of copies and the augmentations.
      boxes: The boxes of each source image that has any.
      cutoffs: Those of `matching.matched_cutoffs`; None for those of this cohort.

    Returns:
      The cohort's columns and `source_name` (the image that a row is made from), `augmentation` (its name, or 'none'),
      `draw` (float in [0, 1), 0 for 'none') and `boxes` (a tuple, in coordinates of the source), in the order of
      `image_name`, which is unique. The k-th copy of `<stem>.png` is called `<stem>_aug<k>.png`; an image that is
      augmented in place keeps its name.
    """
    manifest = cohort.assign(
        source_name=cohort["image_name"],
        augmentation=NO_AUGMENTATION,
        draw=0.0,
        boxes=pd.Series([boxes.get(name, ()) for name in cohort["image_name"]], cohort.index, object),
    )
    cutoffs = matched_cutoffs(cohort, config) if cutoffs is None else cutoffs
    if in_place := list(matched_augmentations(cohort, config, cutoffs)):
        index, augmentation, draw = zip(*in_place, strict=True)
        manifest.loc[list(index), "augmentation"] = augmentation
        manifest.loc[list(index), "draw"] = draw
    sources = cohort[cohort["subset"].isin(config.copy_subsets) & cohort["positive"]]
    drawn = [
        (index, copy, name, draw)
        for index, source in sources["image_name"].items()
        for copy, (name, draw) in enumerate(
            draw_augmentations(config.augmentations, config.seed, source, config.augmented_copies), start=1
        )
    ]
    if drawn:
        index, number, augmentation, draw = zip(*drawn, strict=True)
        copies = manifest.loc[list(index)].assign(augmentation=augmentation, draw=draw)
        copies["subset"] = copies["subset"].map(config.copy_subsets)
        names = zip(copies["source_name"], number, strict=True)
        copies["image_name"] = [copy_name(name, k) for name, k in names]
        manifest = pd.concat([manifest, copies])
    return manifest.sort_values("image_name", ignore_index=True)


class Row(NamedTuple):
    """A row of a manifest.

    The attributes are the columns of a manifest; see `make_manifest`. The last ones, from `text_mined_label` on, exist
    only for a task with radiologists' labels; those of `UNREAD` are what radiologists said, -1 for nothing.
    """

    image_name: str
    patient_id: int
    follow_up: int
    patient_age: int
    patient_sex: str
    view_position: str
    original_width: int
    original_height: int
    pixel_spacing_x: float
    pixel_spacing_y: float
    findings: tuple[str, ...]
    positive: bool
    label: str
    subset: str
    source_name: str
    augmentation: str
    draw: float
    boxes: tuple[Box, ...]
    text_mined_label: str | None = None
    expert_labels: tuple[int, ...] = ()
    reader_votes: tuple[int, ...] = ()
    expert_findings: tuple[int, ...] = ()
    nodule_votes: int = NOT_SAID


def rows_of(manifest: pd.DataFrame) -> Iterator[Row]:
    """Yields the rows of a manifest, in their order."""
    return itertools.starmap(Row, zip(*_columns(manifest), strict=True))


def _columns(manifest: pd.DataFrame) -> list[list[Any]]:
    """Returns the columns of a `Row`, as far as the manifest has them: the last are optional."""
    return [manifest[column].to_list() for column in Row._fields if column in manifest]


class RowsOfSource(Mapping[str, list[Row]]):
    """The rows of a manifest, by source image."""

    def __init__(self, manifest: pd.DataFrame) -> None:
        """Makes tuples on demand: for 112,120 images they would take more memory than the manifest."""
        self._columns = _columns(manifest)
        self._positions: dict[str, list[int]] = {}
        for position, name in enumerate(manifest["source_name"]):
            self._positions.setdefault(name, []).append(position)

    def __getitem__(self, source_name: str) -> list[Row]:
        """Returns the rows of an image, the image itself before its copies."""
        return [Row(*(column[at] for column in self._columns)) for at in self._positions[source_name]]

    def __iter__(self) -> Iterator[str]:
        """Yields source names."""
        return iter(self._positions)

    def __len__(self) -> int:
        """Returns the number of source images."""
        return len(self._positions)


def metadata_csv(manifest: pd.DataFrame) -> str:
    """Returns the text of metadata.csv: `image_name,label,subset`, a row an example, in the order of image names."""
    return manifest[["image_name", "label", "subset"]].to_csv(index=False, lineterminator="\n")

"""Manifest: the plan of a build, a row an example, made before the first image is read; and what is written of it.

`metadata.csv` is the manifest written down; `metadata.json` holds counts, class weights and where the data came from.
"""

from __future__ import annotations

import collections
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from nih_chest_xray.augmentation import NO_AUGMENTATION, draw_augmentations
from nih_chest_xray.boxes import Box, boxes_of
from nih_chest_xray.cohort import CLASSES, SUBSETS, class_indicators, shared_patients
from nih_chest_xray.config import NihChestXrayConfig

_NAME = re.compile(r"(?P<stem>\d{8}_\d{3})(_aug\d+)?\.png")


def make_manifest(cohort: pd.DataFrame, config: NihChestXrayConfig, boxes: dict[str, tuple[Box, ...]]) -> pd.DataFrame:
    """Adds a row for each augmented copy of a training image with a nodule.

    Args:
      cohort: A table as `cohort.make_cohort` returns it, or some of its rows.
      config: Says how many copies, by which augmentations.
      boxes: The boxes of each source image that has any.

    Returns:
      The cohort's columns and `source_name` (the image that a row is made from), `augmentation` (its name, or 'none'),
      `draw` (float in [0, 1), 0 for 'none') and `boxes` (a tuple, as they lie in the source), in the order of
      `image_name`, which is unique. The k-th copy of `<stem>.png` is called `<stem>_aug<k>.png`.
    """
    manifest = cohort.assign(
        source_name=cohort["image_name"],
        augmentation=NO_AUGMENTATION,
        draw=0.0,
        boxes=boxes_of(cohort["image_name"], boxes),
    )
    sources = cohort[(cohort["subset"] == "train") & cohort["positive"]]
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
        names = zip(copies["source_name"], number, strict=True)
        copies["image_name"] = [f"{PurePosixPath(name).stem}_aug{k}.png" for name, k in names]
        manifest = pd.concat([manifest, copies])
    return manifest.sort_values("image_name", ignore_index=True)


class RowsOfSource(Mapping):
    """The rows of a manifest by the image that they are made from: {source name: list of named tuples}."""

    def __init__(self, manifest: pd.DataFrame) -> None:
        """Makes no tuple before it is asked for: of 112,120 images they would take more memory than the manifest."""
        self._columns = [manifest[column].to_list() for column in manifest.columns]
        self._row = collections.namedtuple("Row", manifest.columns)
        self._positions: dict[str, list[int]] = {}
        for position, name in enumerate(manifest["source_name"]):
            self._positions.setdefault(name, []).append(position)

    def __getitem__(self, source_name: str) -> list[Any]:
        """Returns the rows of an image, the image itself before its copies."""
        return [self._row(*(column[at] for column in self._columns)) for at in self._positions[source_name]]

    def __iter__(self) -> Iterator[str]:
        """Yields source names."""
        return iter(self._positions)

    def __len__(self) -> int:
        """Returns the number of source images."""
        return len(self._positions)


def source_of(image_name: str) -> str | None:
    """Returns the name of the image that an example was made from; None for what is no example's name.

    >>> source_of("00000013_005_aug1.png"), source_of("00000013_005.png"), source_of("holiday.png")
    ('00000013_005.png', '00000013_005.png', None)
    """
    match = _NAME.fullmatch(image_name)
    return f"{match['stem']}.png" if match else None


def metadata_csv(manifest: pd.DataFrame) -> str:
    """Returns the text of metadata.csv: `image_name,label,subset`, a row an example, in the order of image names."""
    return manifest[["image_name", "label", "subset"]].to_csv(index=False, lineterminator="\n")


def summarise(manifest: pd.DataFrame, config: NihChestXrayConfig) -> dict[str, Any]:
    """Returns what a trainer needs to know of a dataset, for metadata.json.

    Returns:
      `classes` (names, in the order of the label's numbers), `counts` ({subset: {class: examples}}, for the task
      'findings' also No Finding), `examples`, `augmented` and `patients` ({subset: number}). For the tasks with two
      classes `class_weights` ({class: weight}), which give each class of the training subset the same sum, as scikit-
      learn's 'balanced' does; for 'findings' `positive_weights` ({finding: weight}), examples without a finding for one
      with it, as a weighted binary cross-entropy takes them. A class without a training example has None. For
      'nodule_expert' `agreement` ({subset: {radiologists' class: {text-mined class: examples}}}). Where patients may be
      shared, `shared_patients`, how many are in several subsets.
    """
    classes = CLASSES[config.task]
    indicators = class_indicators(manifest, config)
    summary: dict[str, Any] = {"classes": list(classes), "counts": {}, "examples": {}, "augmented": {}, "patients": {}}
    for subset in SUBSETS:
        rows = manifest[manifest["subset"] == subset]
        summary["counts"][subset] = {name: int(number) for name, number in indicators.loc[rows.index].sum().items()}
        summary["examples"][subset] = len(rows)
        summary["augmented"][subset] = int((rows["augmentation"] != NO_AUGMENTATION).sum())
        summary["patients"][subset] = int(rows["patient_id"].nunique())
    if config.allow_shared_patients:
        summary["shared_patients"] = shared_patients(manifest)
    train, total = summary["counts"]["train"], summary["examples"]["train"]
    if config.task == "findings":
        weights = {name: (total - train[name]) / train[name] if train[name] else None for name in classes}
        summary["positive_weights"] = weights
    else:
        weights = {name: total / (len(classes) * train[name]) if train[name] else None for name in classes}
        summary["class_weights"] = weights
    if config.task == "nodule_expert":
        summary["agreement"] = {
            subset: {
                expert: {
                    mined: int(((rows["label"] == expert) & (rows["text_mined_label"] == mined)).sum())
                    for mined in classes
                }
                for expert in classes
            }
            for subset, rows in manifest.groupby("subset")
            if subset != "train"
        }
    return summary


def cap_of(metadata: Mapping[str, Any]) -> int | None:
    """Returns how many examples a subset has at most (`--max_examples_per_split`); None for all, as by default.

    Args:
      metadata: Of metadata.json.
    """
    cap = metadata.get("max_examples_per_split")
    return cap if isinstance(cap, int) and not isinstance(cap, bool) else None


def cut_subsets(metadata: Mapping[str, Any]) -> list[str]:
    """Returns the subsets from which the cap of a trial build may have taken examples: those that have as many as it.

    Args:
      metadata: Of metadata.json.
    """
    cap = cap_of(metadata)
    return [] if cap is None else [subset for subset in SUBSETS if metadata["examples"][subset] >= cap]


def split_digests(manifest: pd.DataFrame) -> dict[str, tuple[int, str]]:
    """Returns each subset's number of examples, and the SHA-256 of their names, sorted, each with a newline."""
    names = {subset: sorted(manifest.loc[manifest["subset"] == subset, "image_name"]) for subset in SUBSETS}
    return {
        subset: (len(rows), hashlib.sha256("".join(f"{name}\n" for name in rows).encode()).hexdigest())
        for subset, rows in names.items()
    }

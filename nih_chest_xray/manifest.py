"""Manifest: the plan of a build, a row an example, made before the first image is read; and what is written of it.

`metadata.csv` is the manifest written down; `metadata.json` holds counts, class weights and where the data came from.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from nih_chest_xray.augmentation import NO_AUGMENTATION, draw_augmentations
from nih_chest_xray.cohort import CLASSES, NODULE, SUBSETS
from nih_chest_xray.config import NihChestXrayConfig


def make_manifest(cohort: pd.DataFrame, config: NihChestXrayConfig) -> pd.DataFrame:
    """Adds a row for each augmented copy of a training image with a nodule.

    Args:
      cohort: A table as `cohort.make_cohort` returns it, or some of its rows.
      config: Says how many copies, by which augmentations.

    Returns:
      The cohort's columns and `source_name` (the image that a row is made from), `augmentation` (its name, or 'none')
      and `draw` (float in [0, 1), 0 for 'none'), in the order of `image_name`, which is unique. The k-th copy of
      `<stem>.png` is called `<stem>_aug<k>.png`.
    """
    manifest = cohort.assign(source_name=cohort["image_name"], augmentation=NO_AUGMENTATION, draw=0.0)
    sources = cohort[(cohort["subset"] == "train") & (cohort["label"] == NODULE)]
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


def metadata_csv(manifest: pd.DataFrame) -> str:
    """Returns the text of metadata.csv: `image_name,label,subset`, a row an example, in the order of image names."""
    return manifest[["image_name", "label", "subset"]].to_csv(index=False, lineterminator="\n")


def summarise(manifest: pd.DataFrame) -> dict[str, Any]:
    """Returns what a trainer needs to know of a dataset, for metadata.json.

    Returns:
      `classes` (names, in the order of the label's numbers), `counts` ({subset: {class: examples}}), `patients`
      ({subset: patients}), `augmented` ({subset: augmented examples}) and `class_weights` ({class: weight}): weights
      that give each class of the training subset the same sum, as scikit-learn's 'balanced' does.
    """
    by_subset = {subset: manifest[manifest["subset"] == subset] for subset in SUBSETS}
    counts = {
        subset: {name: int((rows["label"] == name).sum()) for name in CLASSES} for subset, rows in by_subset.items()
    }
    train = counts["train"]
    return {
        "classes": list(CLASSES),
        "counts": counts,
        "patients": {subset: int(rows["patient_id"].nunique()) for subset, rows in by_subset.items()},
        "augmented": {
            subset: int((rows["augmentation"] != NO_AUGMENTATION).sum()) for subset, rows in by_subset.items()
        },
        "class_weights": {
            name: sum(train.values()) / (len(CLASSES) * train[name]) if train[name] else None for name in CLASSES
        },
    }


def split_digests(manifest: pd.DataFrame) -> dict[str, tuple[int, str]]:
    """Returns each subset's number of examples, and the SHA-256 of their names, sorted, each with a newline."""
    names = {subset: sorted(manifest.loc[manifest["subset"] == subset, "image_name"]) for subset in SUBSETS}
    return {
        subset: (len(rows), hashlib.sha256("".join(f"{name}\n" for name in rows).encode()).hexdigest())
        for subset, rows in names.items()
    }

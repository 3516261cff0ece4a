"""Augmentation check: whether each image of a dataset is augmented as its config asks, and whether classes match."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.planning.manifest import make_manifest
from nih_chest_xray.planning.summary import cut_subsets
from nih_chest_xray.verification.checks import NO_CONFIG, Dataset
from nih_chest_xray.verification.records import Records
from nih_chest_xray.verification.report import SKIPPED, Check, conclude
from nih_chest_xray.vocabulary import NO_AUGMENTATION, images_of, is_copy, source_of


def check_augmentation(dataset: Dataset, records: Records) -> Check:
    """Checks that each image is augmented as the config asks, that no copy is missing, and that classes match."""
    if dataset.config is None:
        return Check("augmentation", SKIPPED, NO_CONFIG)
    config = dataset.config
    table = records.table.drop_duplicates("image_name")
    copied = table["image_name"].map(is_copy).astype(bool)
    nodules = [not config.definition.positive.isdisjoint(findings) for findings in table["findings"]]
    table = table.assign(positive=pd.Series(nodules, table.index, bool)).drop(columns="bboxes")
    copies, originals = table[copied], table[~copied]
    planned = make_manifest(originals, config, {}, cutoffs_of(dataset)).set_index("image_name")
    planned_copies = planned[planned.index != planned["source_name"]]
    # A trial build may end between an image and its copies.
    cut = cut_subsets(dataset.metadata)
    absent = planned_copies.index[~planned_copies["subset"].isin(cut)].difference(copies["image_name"])
    problems = [
        f"{name}: a copy of {planned.at[name, 'source_name']} that the config asks for is in no sound record"
        for name in absent
    ]
    sources = originals.set_index("image_name")
    for row in table.itertuples(index=False):
        if images_of(row.subset) in cut and source_of(row.image_name) not in sources.index:
            continue  # The trial build has cut the subset of its source, which is another one.
        asked = planned["augmentation"].get(row.image_name)
        if asked == row.augmentation and row.subset == planned.at[row.image_name, "subset"]:
            continue
        problems.append(f"{row.image_name} in {row.record}: {_why_not(row, asked, sources, config)}")
    seen = f"{len(copies):,} copies, {config.augmented_copies} of each training image with a nodule"
    if config.matched_augmentation:
        shares = _augmented_shares(table[table["subset"] == "train"], config)
        in_place = int((originals["augmentation"] != NO_AUGMENTATION).sum())
        told = ", ".join(f"{name} {100 * ours:.2f} % and {100 * theirs:.2f} %" for name, ours, theirs, _ in shares)
        seen += f"; {in_place:,} images augmented in place; shares of images with and without one: {told}"
        problems += [] if "train" in cut else _mismatches(dataset, shares)
    return conclude("augmentation", seen, problems)


def cutoffs_of(dataset: Dataset) -> dict[str, float]:
    """Returns the cutoffs by which the build augmented training negatives; see `matching.matched_cutoffs`.

    Raises:
      ValueError: metadata.json has none although the config asks for them, or those of other augmentations.
    """
    config = dataset.require_config()
    cutoffs = dataset.metadata.get("matched_augmentation", {})
    expected = config.augmentations if config.matched_augmentation else ()
    if cutoffs.keys() != set(expected):
        raise ValueError(f"metadata.json: matched_augmentation has {sorted(cutoffs)}; expected {sorted(expected)}")
    return {name: cutoffs[name] for name in expected}


def _augmented_shares(train: pd.DataFrame, config: NihChestXrayConfig) -> list[tuple[str, float, float, int]]:
    """Returns each augmentation, its shares of positives and of negatives, and how many the smaller of them are."""
    classes = [train.loc[train["positive"] == positive, "augmentation"] for positive in (True, False)]
    size = min(map(len, classes))
    if not size:
        return []
    with_nodule, without = ([float((rows == name).mean()) for name in config.augmentations] for rows in classes)
    return list(zip(config.augmentations, with_nodule, without, [size] * len(with_nodule), strict=True))


def _mismatches(dataset: Dataset, shares: list[tuple[str, float, float, int]]) -> list[str]:
    """Returns the augmentations whose shares differ by more than 0.5 points or one image."""
    # The build matches the images that it finds. Some of these may have turned out broken, or not to be in an archive
    # that is not the NIH's own.
    lost = len(dataset.metadata.get("broken_images", ()))
    if dataset.metadata["repacked_archives"]:
        lost = max(lost, dataset.metadata["missing_images"])
    return [
        f"{name}: is {100 * ours:.2f} % of the training images with a nodule, {100 * theirs:.2f} % of the others;"
        " expected the same share"
        for name, ours, theirs, size in shares
        if abs(ours - theirs) > max(0.005, (1 + lost) / size)
    ]


def _why_not(row: Any, asked: str | None, sources: pd.DataFrame, config: NihChestXrayConfig) -> str:
    """Returns why a record should not be there, or should be augmented otherwise."""
    source = source_of(row.image_name)
    if source == row.image_name:
        if config.matched_augmentation and row.subset == "train":
            return f"is {row.augmentation!r}; the seed drew {asked!r}"
        return f"augmentation {row.augmentation!r} does not match this name"
    if row.augmentation == NO_AUGMENTATION or source is None:
        return f"augmentation {row.augmentation!r} does not match this name"
    if row.subset not in config.copy_subsets.values():
        return f"an augmented copy in {row.subset}"
    if source not in sources.index:
        return f"a copy whose source {source} is in no sound record"
    if config.copy_subsets.get(sources.at[source, "subset"]) != row.subset:
        return f"in {row.subset}, a copy of {source}, which is in {sources.at[source, 'subset']}"
    if not sources.at[source, "positive"]:
        return f"a copy of {source}, which has no nodule"
    if asked is None:
        return f"the config asks for {config.augmented_copies} copies of an image"
    return f"is {row.augmentation!r}; the seed drew {asked!r}"

"""Cohort: the images that a config's task keeps, each with its label and its subset. From table to table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nih_chest_xray import labels as labels_lib
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.splitting import balanced_group_split

SUBSETS = ("train", "validation", "test")
NODULE = "Nodule"
CLASSES = (labels_lib.NO_FINDING, NODULE)
AGE_BAND = 20
"""Years. Ages are balanced over the subsets in bands of this width."""


class CohortError(ValueError):
    """A table from which the cohort, or one of its subsets, cannot be made."""


def make_cohort(
    labels: pd.DataFrame, config: NihChestXrayConfig, official: dict[str, frozenset[str]] | None = None
) -> pd.DataFrame:
    """Selects images and assigns each to a subset.

    Args:
      labels: A table as `labels.read_labels` returns it, with rows in any order.
      config: Says what to select and how to split.
      official: Image names of the NIH's lists, under 'train_val' and 'test'. Needed for the official split only.

    Returns:
      The selected rows in the order of image names, with `label` ('Nodule' or 'No Finding') and `subset` ('train',
      'validation' or 'test'). The index is 0, 1, 2, ….

    Raises:
      CohortError: A subset would be without one of the classes, or the official lists do not fit the table.
    """
    cohort = select(labels, config)
    if config.split == "official":
        subset = _official_subsets(cohort, config, official or {})
    else:
        fractions = (
            1 - config.validation_fraction - config.test_fraction,
            config.validation_fraction,
            config.test_fraction,
        )
        subset = balanced_subsets(cohort, SUBSETS, fractions, config.seed)
    cohort = cohort.assign(subset=subset)
    _require_classes(cohort)
    return cohort


def select(labels: pd.DataFrame, config: NihChestXrayConfig) -> pd.DataFrame:
    """Returns the images of the config's views and task, thinned, in the order of image names, with their `label`."""
    rows = labels[labels["view_position"].isin(config.views)].sort_values("image_name", ignore_index=True)
    healthy = rows["findings"].str.len() == 0
    nodule = rows["findings"].map(lambda findings: NODULE in findings)
    rows = rows.assign(label=np.where(nodule, NODULE, labels_lib.NO_FINDING))
    kept_healthy = healthy & ((healthy.cumsum() - 1) % config.healthy_stride == 0)
    return rows[nodule | kept_healthy].reset_index(drop=True)


def balanced_subsets(
    cohort: pd.DataFrame, subsets: tuple[str, ...], fractions: tuple[float, ...], seed: int
) -> np.ndarray:
    """Assigns patients to subsets so that labels, views, sexes, ages and the number of images are balanced.

    Args:
      cohort: The selected images, with their `label`.
      subsets: Names.
      fractions: Each subset's share, summing to 1.
      seed: The config's seed.

    Returns:
      (images,) object: the name of each image's subset.
    """
    ages = cohort["patient_age"] // AGE_BAND
    strata = [cohort["label"], cohort["view_position"], cohort["patient_sex"], ages, cohort["label"].notna()]
    counts = [stratum == value for stratum in strata for value in sorted(stratum.unique())]
    if not counts:
        return np.empty(0, object)
    counts = np.stack([count.to_numpy(np.int64) for count in counts], axis=1)
    return np.array(subsets, object)[balanced_group_split(counts, cohort["patient_id"], fractions, seed)]


def _official_subsets(
    cohort: pd.DataFrame, config: NihChestXrayConfig, official: dict[str, frozenset[str]]
) -> np.ndarray:
    in_test = cohort["image_name"].isin(official.get("test", ())).to_numpy()
    in_train_val = cohort["image_name"].isin(official.get("train_val", ())).to_numpy()
    if (wrong := in_test == in_train_val).any():
        name = cohort.loc[wrong, "image_name"].iloc[0]
        raise CohortError(
            f"{int(wrong.sum())} images, such as {name}, stand in {'both' if in_test[wrong][0] else 'neither'} of"
            " train_val_list.txt and test_list.txt; expected each image in one. Download the two lists again."
        )
    shared = set(cohort.loc[in_test, "patient_id"]) & set(cohort.loc[~in_test, "patient_id"])
    if shared:
        raise CohortError(
            f"{len(shared)} patients, such as {min(shared)}, have images in train_val_list.txt and in test_list.txt;"
            " expected each patient in one. Download the two lists again."
        )
    subset = np.full(len(cohort), "test", object)
    fractions = (1 - config.validation_fraction, config.validation_fraction)
    subset[~in_test] = balanced_subsets(cohort[~in_test], SUBSETS[:2], fractions, config.seed)
    return subset


def _require_classes(cohort: pd.DataFrame) -> None:
    """A subset without one of the classes cannot train or measure anything, so it is refused here."""
    counts = cohort.groupby(["subset", "label"]).size()
    for subset in SUBSETS:
        for name in reversed(CLASSES):
            if counts.get((subset, name), 0) == 0:
                patients = cohort.loc[cohort["label"] == name, "patient_id"].nunique()
                raise CohortError(
                    f"the {subset} subset would have no {name} image: of the {len(cohort)} images of"
                    f" {cohort['patient_id'].nunique()} patients in the table, those with {name} belong to"
                    f" {patients} patients. Use a larger table, larger fractions or another seed."
                )

"""Cohort: the images that a config's task keeps, each with its label and its subset. From table to table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.labels import FINDINGS, NO_FINDING, label_string
from nih_chest_xray.splitting import balanced_group_split

SUBSETS = ("train", "validation", "test")
CLASSES = {
    "nodule": (NO_FINDING, "Nodule"),
    "nodule_expert": ("No nodule or mass", "Nodule or mass"),
    "findings": FINDINGS,
}
"""Names of each task's classes, in the order of their numbers."""
POSITIVE = {
    "nodule": frozenset({"Nodule"}),
    "nodule_expert": frozenset({"Nodule", "Mass"}),
    "findings": frozenset({"Nodule"}),
}
"""Findings that make an image one with a nodule, for the task: it is kept, and augmented in training."""
AGE_BAND = 20
"""Years. Ages are balanced over the subsets in bands of this width."""


class CohortError(ValueError):
    """A table from which the cohort, or one of its subsets, cannot be made."""


def make_cohort(
    labels: pd.DataFrame,
    config: NihChestXrayConfig,
    official: dict[str, frozenset[str]] | None = None,
    expert: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Selects images and assigns each to a subset.

    Args:
      labels: A table as `labels.read_labels` returns it, with rows in any order.
      config: Says what to select and how to split.
      official: Image names of the NIH's lists, under 'train_val' and 'test'. Needed for the official split only.
      expert: A table as `expert_labels.read_expert_labels` returns it. Needed for the expert split only.

    Returns:
      The selected rows in the order of image names, with `positive` (bool, whether the image has a nodule, for the
      task), `label` (a class of `CLASSES`; for the task 'findings' all of the image's, joined by |) and
      `subset` ('train', 'validation' or 'test'); for the expert split also `text_mined_label`. The index is 0, 1, 2, ….

    Raises:
      CohortError: A subset would have no image with a nodule, or none without, or the official lists do not fit.
    """
    cohort = select(labels, config)
    if config.split == "expert":
        cohort = _expert_subsets(labels, cohort, config, expert)
    elif config.split == "official":
        cohort = cohort.assign(subset=_official_subsets(cohort, config, official or {}))
    else:
        rest = config.validation_fraction + config.test_fraction
        fractions = (1 - rest, config.validation_fraction, config.test_fraction)
        cohort = cohort.assign(subset=balanced_subsets(cohort, config, SUBSETS, fractions))
    _require_both_kinds(cohort, config)
    return cohort


def select(labels: pd.DataFrame, config: NihChestXrayConfig) -> pd.DataFrame:
    """Returns the images that the config's views, task and thinning keep, in the order of image names.

    They have `positive` and `label`, see `make_cohort`.
    """
    rows = _with_label(labels, config)
    healthy = rows["findings"].str.len() == 0
    kept = ((healthy.cumsum() - 1) % config.healthy_stride == 0) & healthy
    kept |= ~healthy if config.task == "findings" else rows["positive"]
    return rows[kept].reset_index(drop=True)


def class_indicators(table: pd.DataFrame, config: NihChestXrayConfig) -> pd.DataFrame:
    """Returns a bool column for each class of the task, and for No Finding: whether a row's `label` has it."""
    classes = dict.fromkeys((*CLASSES[config.task], NO_FINDING)) if config.task == "findings" else CLASSES[config.task]
    codes, labels = pd.factorize(table["label"])
    has = np.array([[name in label.split("|") for name in classes] for label in labels], bool)
    return pd.DataFrame(has.reshape(len(labels), len(classes))[codes], table.index, list(classes))


def balanced_subsets(
    cohort: pd.DataFrame, config: NihChestXrayConfig, subsets: tuple[str, ...], fractions: tuple[float, ...]
) -> np.ndarray:
    """Assigns patients to subsets so that classes, views, sexes, ages and the number of images are balanced.

    Args:
      cohort: The selected images.
      config: Its task says which classes there are, its seed how patients are drawn.
      subsets: Names.
      fractions: Each subset's share, summing to 1.

    Returns:
      (images,) object: the name of each image's subset.
    """
    ages = cohort["patient_age"] // AGE_BAND
    counts = class_indicators(cohort, config).assign(images=True)
    for stratum in (cohort["view_position"], cohort["patient_sex"], ages):
        for value in sorted(stratum.unique()):
            counts[f"{stratum.name} {value}"] = stratum == value
    return np.array(subsets, object)[
        balanced_group_split(counts.to_numpy(np.int64), cohort["patient_id"], fractions, config.seed)
    ]


def _with_label(labels: pd.DataFrame, config: NihChestXrayConfig) -> pd.DataFrame:
    rows = labels[labels["view_position"].isin(config.views)].sort_values("image_name", ignore_index=True)
    codes, findings = pd.factorize(rows["findings"].map(label_string))
    positive = np.array([not POSITIVE[config.task].isdisjoint(label.split("|")) for label in findings], bool)[codes]
    if config.task == "findings":
        label = findings.to_numpy(object)[codes]
    else:
        label = np.array(CLASSES[config.task], object)[positive.astype(int)]
    return rows.assign(positive=positive, label=pd.Series(label, rows.index, object))


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
    subset[~in_test] = balanced_subsets(cohort[~in_test], config, SUBSETS[:2], fractions)
    return subset


def _expert_subsets(
    labels: pd.DataFrame, cohort: pd.DataFrame, config: NihChestXrayConfig, expert: pd.DataFrame
) -> pd.DataFrame:
    """Trains on text-mined labels, validates and tests on radiologists', and keeps their patients out of training."""
    read = _with_label(labels, config).merge(expert, on="image_name")
    train = cohort[~cohort["patient_id"].isin(expert["image_name"].str[:8].astype(np.int32))].assign(subset="train")
    both = pd.concat([train.assign(text_mined_label=train["label"]), read.assign(text_mined_label=read["label"])])
    answer = both["nodule_or_mass"].map({True: CLASSES[config.task][1], False: CLASSES[config.task][0]})
    both["label"] = answer.where(both["subset"] != "train", both["label"]).astype(object)
    both["positive"] = both["label"] == CLASSES[config.task][1]
    return both.drop(columns="nodule_or_mass").sort_values("image_name", ignore_index=True)


def _require_both_kinds(cohort: pd.DataFrame, config: NihChestXrayConfig) -> None:
    """A subset without a nodule, or with nothing else, cannot train or measure anything, so it is refused here."""
    for subset in SUBSETS:
        rows = cohort[cohort["subset"] == subset]
        for positive, kind in ((True, "with a nodule"), (False, "without a nodule")):
            if not (rows["positive"] == positive).any():
                advice = "Use a larger table, larger fractions or another seed."
                if config.split == "expert":
                    advice = "Look into the radiologists' files: they decide these subsets."
                patients = cohort.loc[cohort["positive"] == positive, "patient_id"].nunique()
                raise CohortError(
                    f"the {subset} subset would have no image {kind}: of the {cohort['patient_id'].nunique()} patients"
                    f" in the cohort, {patients} have one. {advice}"
                )

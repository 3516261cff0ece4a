"""Cohort: selects the images that a config keeps, and gives each its label and subset. Tables in, table out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import CohortError
from nih_chest_xray.planning.splitting import balanced_group_split
from nih_chest_xray.tables.expert_labels import nodules_of_all_findings
from nih_chest_xray.tasks import REST
from nih_chest_xray.vocabulary import NOT_SAID, UNREAD, images_of, label_string, patient_of

AGE_BAND = 20
"""Width in years of the age bands that are balanced over the subsets."""


def make_cohort(
    labels: pd.DataFrame,
    config: NihChestXrayConfig,
    official: Mapping[str, frozenset[str]] | None = None,
    expert: pd.DataFrame | None = None,
    lists: Mapping[str, frozenset[str]] | None = None,
) -> pd.DataFrame:
    """Selects images and assigns each to a subset.

    Args:
      labels: A table as `labels.read_labels` returns it, with rows in any order.
      config: The config, which says what to select and how to split.
      official: Image names of the NIH's lists, under 'train_val' and 'test'. Needed if the config uses them.
      expert: A table as `expert_labels.all_that_was_said` returns it. Needed for 'expert' and 'expert_all' only.
      lists: Image names of the user's own lists, by subset. Needed for the split 'lists' only.

    Returns:
      The selected rows in the order of image names, with `positive` (bool, whether the image is positive for the task),
      `label` (a class of the task; for a multi-label task all classes of the image, joined by |) and `subset` (one of
      `config.image_subsets`); where radiologists read a subset also `text_mined_label` and the columns of `UNREAD`.
      The index is 0, 1, 2, ….

    Raises:
      CohortError: A subset would have no image, or no image of one of two classes (allowed if images may be missing).
        Or the official lists do not fit, or lists share a patient.
    """
    cohort = select(labels, config)
    if config.definition.read_by_radiologists:
        cohort = _expert_subsets(labels, cohort, config, expert)
    elif config.uses_official_lists:
        cohort = cohort.assign(subset=_official_subsets(cohort, config, official or {}))
    elif config.split == "lists":
        cohort = _listed_subsets(cohort, config, lists or {})
    else:
        fractions = _fractions(config, config.test_fraction)
        cohort = cohort.assign(subset=balanced_subsets(cohort, config, config.image_subsets, fractions))
    _require_classes(cohort, config)
    return cohort


def select(labels: pd.DataFrame, config: NihChestXrayConfig) -> pd.DataFrame:
    """Returns the images that the config's task, views and `healthy_stride` keep, in the order of image names.

    The table has `positive` and `label`; see `make_cohort`.
    """
    rows = _with_label(labels, config)
    healthy = rows["findings"].str.len() == 0
    kept = ((healthy.cumsum() - 1) % config.healthy_stride == 0) & healthy
    kept |= ~healthy if config.definition.negative == REST else rows["positive"]
    return rows[kept].reset_index(drop=True)


def shared_patients(table: pd.DataFrame) -> int:
    """Returns how many patients have rows in several subsets."""
    subset_of_images = table["subset"].map(images_of)
    return int((subset_of_images.groupby(table["patient_id"]).nunique() > 1).sum())


def empty_classes(table: pd.DataFrame, config: NihChestXrayConfig) -> str:
    """Returns a sentence that names the classes without a row in a subset that is not empty; '' if there are none."""
    indicators = class_indicators(table, config)[list(config.definition.classes)]
    lacks = []
    for subset in config.image_subsets:
        rows = indicators[table["subset"] == subset]
        if len(rows) and (empty := list(rows.columns[~rows.any()])):
            lacks.append(f"{subset} has no image of {', '.join(empty)}")
    return f"{'; '.join(lacks)}: AUROC is undefined there." if lacks else ""


def class_indicators(table: pd.DataFrame, config: NihChestXrayConfig) -> pd.DataFrame:
    """Returns a bool column for each class of the task, and for No Finding: whether a row's `label` includes it."""
    classes = config.definition.counted
    codes, labels = pd.factorize(table["label"])
    has = np.array([[name in label.split("|") for name in classes] for label in labels], bool)
    return pd.DataFrame(has.reshape(len(labels), len(classes))[codes], table.index, list(classes))


def _fractions(config: NihChestXrayConfig, test: float) -> list[float]:
    """Returns the share of each of `config.image_subsets`; a test subset that takes nothing is left out.

    Args:
      config: The config.
      test: The share of the test subset; 0 if it is taken out already.
    """
    if config.split == "folds":
        shares = [(1 - test) / config.folds] * config.folds
    else:
        shares = [1 - (config.validation_fraction + test), config.validation_fraction]
    return [*shares, test] if test else shares


def balanced_subsets(
    cohort: pd.DataFrame, config: NihChestXrayConfig, subsets: Sequence[str], fractions: Sequence[float]
) -> np.ndarray:
    """Assigns patients to subsets so that classes, views, sexes, ages and the number of images are balanced.

    Args:
      cohort: The selected images.
      config: The config; its task gives the classes, its seed determines the draw of patients.
      subsets: The subsets' names.
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
    if config.one_image_per_patient == "first":
        rows = rows.drop_duplicates("patient_id", ignore_index=True)
    codes, findings = pd.factorize(rows["findings"].map(label_string))
    task = config.definition
    positive = np.array([not task.positive.isdisjoint(label.split("|")) for label in findings], bool)[codes]
    if task.multi_label:
        label = findings.to_numpy(object)[codes]
    else:
        label = np.array(task.classes, object)[positive.astype(int)]
    return rows.assign(positive=positive, label=pd.Series(label, rows.index, object))


def _official_subsets(
    cohort: pd.DataFrame, config: NihChestXrayConfig, official: Mapping[str, frozenset[str]]
) -> np.ndarray:
    in_test = cohort["image_name"].isin(official.get("test", ())).to_numpy()
    in_train_val = cohort["image_name"].isin(official.get("train_val", ())).to_numpy()
    if (wrong := in_test == in_train_val).any():
        name = cohort.loc[wrong, "image_name"].iloc[0]
        raise CohortError(
            f"{int(wrong.sum())} images, such as {name}, are in {'both' if in_test[wrong][0] else 'neither'} of"
            " train_val_list.txt and test_list.txt; expected each image in one. Download the two lists again, or, if"
            " they are not meant to be the NIH's, name them in split_lists, with the split 'lists'."
        )
    shared = set(cohort.loc[in_test, "patient_id"]) & set(cohort.loc[~in_test, "patient_id"])
    if shared:
        raise CohortError(
            f"{len(shared)} patients, such as {min(shared)}, have images in train_val_list.txt and in test_list.txt;"
            " expected each patient in one. Download the two lists again."
        )
    subset = np.full(len(cohort), "test", object)
    others = [name for name in config.image_subsets if name != "test"]
    subset[~in_test] = balanced_subsets(cohort[~in_test], config, others, _fractions(config, 0))
    return subset


def _expert_subsets(
    labels: pd.DataFrame, cohort: pd.DataFrame, config: NihChestXrayConfig, expert: pd.DataFrame
) -> pd.DataFrame:
    """Evaluates on what radiologists said. None of the patients whom they decide on is in a text-mined subset."""
    if config.split == "expert":
        decided = expert[expert["subset"].notna()].set_index("image_name")
        answers, subset_of = decided["expert_labels"].str[-1].astype(int), decided["subset"]
    else:
        answers = nodules_of_all_findings(expert)
        answers = answers[answers != NOT_SAID]
        subset_of = pd.Series("test", answers.index, object)
    rest = cohort[~cohort["patient_id"].isin(answers.index.map(patient_of))]
    rest = rest.assign(subset="train", text_mined_label=rest["label"])
    if config.split == "expert_all":
        rest["subset"] = balanced_subsets(rest, config, ["train", "validation"], _fractions(config, 0))
    read = _with_label(labels, config)
    read = read[read["image_name"].isin(answers.index)]
    answer = read["image_name"].map(answers)
    read = read.assign(
        subset=read["image_name"].map(subset_of),
        text_mined_label=read["label"],
        label=answer.map(dict(enumerate(config.definition.classes))).astype(object),
        positive=answer.astype(bool),
    )
    both = pd.concat([rest, read]).sort_values("image_name", ignore_index=True)
    for column, unread in UNREAD.items():
        said = dict(zip(expert["image_name"], expert[column], strict=True))
        both[column] = pd.Series([said.get(name, unread) for name in both["image_name"]], both.index, object)
    return both


def _listed_subsets(
    cohort: pd.DataFrame, config: NihChestXrayConfig, lists: Mapping[str, frozenset[str]]
) -> pd.DataFrame:
    subset_of = {name: subset for subset, names in lists.items() for name in names}
    subset = cohort["image_name"].map(subset_of)
    if left_out := int(subset.isna().sum()):
        warnings.warn(
            f"{left_out:,} of the {len(cohort):,} images that config {config.name!r} would keep, such as"
            f" {cohort.loc[subset.isna(), 'image_name'].iloc[0]}, are in no list of split_lists. They are left out.",
            stacklevel=3,
        )
    cohort = cohort.assign(subset=subset.astype(object))[subset.notna()].reset_index(drop=True)
    if (shared := shared_patients(cohort)) and not config.allow_shared_patients:
        subsets = cohort.groupby("patient_id")["subset"].unique()
        several = subsets[subsets.map(len) > 1]
        raise CohortError(
            f"{shared:,} patients, such as {several.index[0]} in {' and '.join(several.iloc[0])}, have images in"
            " several lists of split_lists; expected each patient in one subset, or a network is scored on patients"
            ' that it was trained on. Correct the lists, or build with "allow_shared_patients": true: the metadata'
            " will say how many patients are shared."
        )
    return cohort


def _require_classes(cohort: pd.DataFrame, config: NihChestXrayConfig) -> None:
    """Raises an error if a subset has no image, or only one of two classes: it can neither train nor score a model.

    Only warns if a multi-label task lacks a class, since a small table always lacks some of the 14 findings, and if the
    build is from part of the images.
    """
    part, noun = config.allow_missing_images and len(cohort) > 0, config.definition.noun
    for subset in config.image_subsets if config.split_lists is None else config.split_lists:
        positive = cohort.loc[cohort["subset"] == subset, "positive"]
        present = {f"with {noun}": positive.any(), f"without {noun}": not positive.all()}
        if config.definition.multi_label or part:
            present = {"at all": len(positive) > 0}
        if absent := [kind for kind, some in present.items() if not some]:
            problem = f"the {subset} subset would have no image {absent[0]}"
            if not part:
                raise CohortError(f"{problem}: {_why_absent(cohort, config, absent[0])}")
            warnings.warn(f"{problem}. It is left out.", stacklevel=3)
    if lacking := empty_classes(cohort, config):
        warnings.warn(lacking, stacklevel=3)


def _why_absent(cohort: pd.DataFrame, config: NihChestXrayConfig, kind: str) -> str:
    noun = config.definition.noun
    of_kind = {f"with {noun}": cohort["positive"], f"without {noun}": ~cohort["positive"]}.get(kind, slice(None))
    have = cohort.loc[of_kind, "patient_id"].nunique()
    advice = {
        "expert": "Check the radiologists' files: they decide these subsets.",
        "expert_all": "Check the radiologists' file of all findings, which decides test, or use larger fractions.",
        "lists": "Check the lists of split_lists: they decide the subsets.",
    }.get(config.split, "Use a larger table, larger fractions or another seed.")
    return f"of the {cohort['patient_id'].nunique()} patients in the cohort, {have} have one. {advice}"

"""Summary: what training code needs to know about a manifest, and digests to compare manifests by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.planning.cohort import class_indicators, shared_patients
from nih_chest_xray.vocabulary import NO_AUGMENTATION, SUBSETS, images_of


def summarise(manifest: pd.DataFrame, config: NihChestXrayConfig) -> dict[str, Any]:
    """Returns what training code needs to know about a dataset, for metadata.json.

    Returns:
      `classes` (names, in the order of the label's numbers), `counts` ({subset: {class: examples}}, for the task
      'findings' also No Finding), `examples`, `augmented` (copies, and images augmented in place) and `patients`
      ({subset: number}), `augmentations` ({class: {augmentation: training examples}}). For the tasks with two
      classes `class_weights` ({class: weight}), which give each class of the training subset the same total weight, as
      scikit-learn's 'balanced' does; for 'findings' `positive_weights` ({finding: weight}), the number of examples
      without a finding per example with it, as a weighted binary cross-entropy takes them. A class without a training
      example has None. For the split 'folds' these are called `fold_class_weights` and `fold_positive_weights`
      ({fold: weights}): where a fold validates, the other folds and their copies are the training set. For subsets that
      radiologists read `agreement` ({subset: {radiologists' class: {text-mined class: examples}}}). If patients may be
      shared, `shared_patients`, the number of patients in several subsets.
    """
    task = config.definition
    classes = task.classes
    indicators = class_indicators(manifest, config)
    summary: dict[str, Any] = {"classes": list(classes), "counts": {}, "examples": {}, "augmented": {}, "patients": {}}
    for subset in config.subsets:
        rows = manifest[manifest["subset"] == subset]
        summary["counts"][subset] = {name: int(number) for name, number in indicators.loc[rows.index].sum().items()}
        summary["examples"][subset] = len(rows)
        summary["augmented"][subset] = int((rows["augmentation"] != NO_AUGMENTATION).sum())
        summary["patients"][subset] = int(rows["patient_id"].nunique())
    train_rows = manifest[manifest["subset"].isin(config.training_subsets)]
    summary["augmentations"] = {
        name: {how: int(number) for how, number in of_class.groupby("augmentation").size().items()}
        for name in indicators
        for of_class in [train_rows[indicators.loc[train_rows.index, name]]]
    }
    if config.allow_shared_patients:
        summary["shared_patients"] = shared_patients(manifest)
    kind = "positive_weights" if task.multi_label else "class_weights"
    weigh = _positive_weights if task.multi_label else _class_weights
    if config.split == "folds":
        fold_of = manifest["subset"].map(images_of)
        summary[f"fold_{kind}"] = {
            fold: weigh(indicators.loc[fold_of.isin(config.copy_subsets) & (fold_of != fold), list(classes)])
            for fold in config.copy_subsets
        }
    else:
        summary[kind] = weigh(indicators.loc[manifest["subset"] == "train", list(classes)])
    if task.read_by_radiologists:
        summary["agreement"] = {
            subset: {
                expert: {
                    mined: int(((rows["label"] == expert) & (rows["text_mined_label"] == mined)).sum())
                    for mined in classes
                }
                for expert in classes
            }
            for subset, rows in manifest.groupby("subset")
            if subset in task.read_by_radiologists
        }
    return summary


def _positive_weights(has: pd.DataFrame) -> dict[str, float | None]:
    """Returns the weight of each finding, a column of (examples, findings) bool."""
    numbers = {name: int(number) for name, number in has.sum().items()}
    return {name: (len(has) - number) / number if number else None for name, number in numbers.items()}


def _class_weights(has: pd.DataFrame) -> dict[str, float | None]:
    """Returns the weight of each class, a column of (examples, classes) bool."""
    from sklearn.utils.class_weight import compute_class_weight  # Not at the top: it takes a second.

    present = has.columns[has.any()].to_numpy(object)
    weights = compute_class_weight("balanced", classes=present, y=has.idxmax(axis=1)) if len(present) else ()
    return dict.fromkeys(has.columns) | dict(zip(present.tolist(), map(float, weights), strict=True))


def cap_of(metadata: Mapping[str, Any]) -> int | None:
    """Returns the limit of examples per subset (`--max_examples_per_split`); None, the default, for no limit.

    Args:
      metadata: The content of metadata.json.
    """
    cap = metadata.get("max_examples_per_split")
    return cap if isinstance(cap, int) and not isinstance(cap, bool) else None


def cut_subsets(metadata: Mapping[str, Any]) -> list[str]:
    """Returns the subsets that the cap of a trial build may have cut: those with as many examples as the cap.

    Args:
      metadata: The content of metadata.json.
    """
    cap = cap_of(metadata)
    return [] if cap is None else [subset for subset, number in metadata["examples"].items() if number >= cap]


def split_digests(manifest: pd.DataFrame, subsets: Sequence[str] = SUBSETS) -> dict[str, tuple[int, str]]:
    """Returns each subset's number of examples, and the SHA-256 of their names, sorted, each with a newline."""
    names = {subset: sorted(manifest.loc[manifest["subset"] == subset, "image_name"]) for subset in subsets}
    return {
        subset: (len(rows), hashlib.sha256("".join(f"{name}\n" for name in rows).encode()).hexdigest())
        for subset, rows in names.items()
    }

"""Compares ways to split by patients: how far counts are off their targets, and seconds.

    python tests/benchmarks/splits.py DIR

DIR holds the NIH's label file. The first table is of the nodule cohort, split 80 / 10 / 10, the second of all images in
five folds. Each way splits with five seeds; a row gives the worst deviation over seeds and subsets, in per cent of the
target, and the median time of the split itself. The ways take turns.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from etils import epath
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.planning.cohort import balanced_subsets, select
from nih_chest_xray.planning.splitters import BalancedGroupKFold
from nih_chest_xray.release import find, release
from nih_chest_xray.tables import labels
from nih_chest_xray.vocabulary import FINDINGS, SUBSETS

FRACTIONS = (0.8, 0.1, 0.1)
SEEDS = range(5)


def draw_and_swap(cohort: pd.DataFrame, seed: int) -> np.ndarray:
    return balanced_subsets(cohort, NihChestXrayConfig(name="benchmark", seed=seed), SUBSETS, FRACTIONS)


def stratified_group_k_fold(cohort: pd.DataFrame, seed: int) -> np.ndarray:
    subset = np.full(len(cohort), SUBSETS[0], object)
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=seed)
    for name, (_, test) in zip(SUBSETS[1:], folds.split(cohort, cohort["label"], cohort["patient_id"]), strict=False):
        subset[test] = name
    return subset


def train_test_split_of_patients(cohort: pd.DataFrame, seed: int) -> np.ndarray:
    has_nodule = (cohort["label"] == "Nodule").groupby(cohort["patient_id"]).max()
    train, rest = train_test_split(has_nodule, train_size=0.8, stratify=has_nodule, random_state=seed)
    validation, test = train_test_split(rest, train_size=0.5, stratify=rest, random_state=seed)
    of_patient = {p: name for name, part in zip(SUBSETS, (train, validation, test), strict=True) for p in part.index}
    return cohort["patient_id"].map(of_patient).to_numpy()


def deviations(cohort: pd.DataFrame, subset: np.ndarray) -> dict[str, float]:
    """The largest deviation from a subset's target, in per cent, for each kind of count."""
    images = cohort.assign(images="all", ages=cohort["patient_age"] // 20, subset=subset)
    patients = images.drop_duplicates("patient_id").assign(patients="all")
    worst = {}
    for column in ("images", "label", "view_position", "patient_sex", "ages", "patients"):
        rows = patients if column == "patients" else images
        counts = pd.crosstab(rows[column], rows["subset"])[list(SUBSETS)]
        target = np.outer(counts.sum(axis=1), FRACTIONS)
        worst[column] = float((abs(counts - target) / target).to_numpy().max() * 100)
    return worst


def balanced_group_k_fold(images: pd.DataFrame, seed: int) -> list[np.ndarray]:
    folds = BalancedGroupKFold(5, random_state=seed)
    return [test for _, test in folds.split(images, images[list(FINDINGS)], images["patient_id"])]


def stratified_group_k_fold_of_sets(images: pd.DataFrame, seed: int) -> list[np.ndarray]:
    """It takes one label an image: here each set of findings that occurs is a class."""
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    sets = images["findings"].str.join("|")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Most sets have fewer members than there are folds.
        return [test for _, test in folds.split(images, sets, images["patient_id"])]


def stratified_group_k_fold_of_nodules(images: pd.DataFrame, seed: int) -> list[np.ndarray]:
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    return [test for _, test in folds.split(images, images["Nodule"], images["patient_id"])]


def deviations_of_folds(images: pd.DataFrame, folds: list[np.ndarray]) -> dict[str, float]:
    """The largest deviation of a fold from an equal share, in per cent; of findings, that of their share of images."""
    findings = images[list(FINDINGS)]
    shares = np.array([findings.iloc[test].mean() for test in folds]) / findings.mean().to_numpy()
    off = pd.Series(abs(shares - 1).max(axis=0) * 100, FINDINGS)
    sizes = np.array([len(test) for test in folds]) / len(images) * len(folds)
    patients = np.array([images["patient_id"].iloc[test].nunique() for test in folds])
    return {
        "nodule": off["Nodule"],
        "hernia": off["Hernia"],
        "other findings": off.drop(["Nodule", "Hernia"]).max(),
        "images": abs(sizes - 1).max() * 100,
        "patients": abs(patients / patients.mean() - 1).max() * 100,
    }


def compare(ways: tuple[Callable, ...], table: pd.DataFrame, measure: Callable) -> str:
    results: dict[str, list[dict[str, float]]] = {way.__name__: [] for way in ways}
    for seed in SEEDS:
        for way in ways:
            start = time.perf_counter()
            split = way(table, seed)
            seconds = time.perf_counter() - start
            results[way.__name__].append({**measure(table, split), "seconds": seconds})
    summary = pd.DataFrame({name: pd.DataFrame(rows).max() for name, rows in results.items()}).T
    summary["seconds"] = [statistics.median(row["seconds"] for row in rows) for rows in results.values()]
    return summary.round(3).to_string()


if __name__ == "__main__":
    found = find.find_release(epath.Path(sys.argv[1]), release.known_files(), allow_repacked=True)
    label_file = found.tables[found.label_file]
    start = time.perf_counter()
    parsed = labels.read_labels(label_file.read(), label_file.place)
    print(f"read_labels: {len(parsed):,} rows in {time.perf_counter() - start:.2f} s")
    nodules = select(parsed, NihChestXrayConfig(name="benchmark"))
    print(compare((draw_and_swap, stratified_group_k_fold, train_test_split_of_patients), nodules, deviations))
    has = {finding: [finding in found for found in parsed["findings"]] for finding in FINDINGS}
    in_folds = (balanced_group_k_fold, stratified_group_k_fold_of_sets, stratified_group_k_fold_of_nodules)
    print(compare(in_folds, parsed.assign(**has), deviations_of_folds))

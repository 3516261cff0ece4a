"""Truths: what a built dataset says of a subset's images: the truth to evaluate against, patients, and groups."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from etils import epath

from nih_chest_xray.building.examples_csv import column_of
from nih_chest_xray.catalog.datasets import Built, open_dataset
from nih_chest_xray.errors import UsageError
from nih_chest_xray.evaluation.examples import read_examples
from nih_chest_xray.evaluation.inputs import MISSING
from nih_chest_xray.evaluation.subgroups import Group, age_bands, by_votes, groups_by, groups_of_positives
from nih_chest_xray.vocabulary import EXPERT_FINDINGS, FINDINGS, READER_ANSWERS, SOURCE_SIZE, patient_of

AGAINST = ("label", "findings", "expert_labels", "expert_findings", "reader_votes", "nodule_votes")
"""What scores may be evaluated against: features of the dataset."""
BY = ("patient_sex", "view_position", "age", "nodule_size")
"""What groups of images may differ in."""
NODULE_OR_MASS = EXPERT_FINDINGS[-1]
_READERS_OF_NODULES = 5
_LARGE, _MEDIUM = 20, 10
"""Diameters in mm from which a nodule is large or medium."""


def truth_of(built: Built, images: pd.DataFrame, against: str) -> tuple[pd.DataFrame, str | None]:
    """Returns the truth of images.

    Args:
      built: The dataset.
      images: As `read_images` returns them.
      against: One of `AGAINST`.

    Returns:
      (images, classes) int64, 1, 0, or `MISSING` where nothing was said, and the class that a single score is of; None
      if a single score does not do.

    Raises:
      UsageError: The dataset does not have that feature, or no image of the subset has it.
    """
    task = built.task
    nodule_or_mass = NODULE_OR_MASS if task.positive <= {"Nodule", "Mass"} else None
    single: str | None
    if against == "label" and not task.multi_label:
        single = task.classes[1]
        truth = pd.DataFrame({single: (images["label"] == single).astype(np.int64)})
    elif against in ("label", "findings"):
        has = images["findings"].str.split("|").map(set)
        truth = pd.DataFrame({name: has.map(lambda names, name=name: int(name in names)) for name in FINDINGS})
        single = None if task.multi_label else _any_of(truth, task.positive)
    elif against in AGAINST and built.task.read_by_radiologists:
        if against == "expert_labels":
            truth, single = _columns(images, against, EXPERT_FINDINGS), nodule_or_mass
        elif against == "expert_findings":
            truth = _columns(images, against, FINDINGS)
            single = _any_of(truth, task.positive)
        else:
            truth, _ = _votes(images, against)
            single = str(truth.columns[0])
    elif against in AGAINST:
        raise UsageError(
            f"{built.full_name} has no {against}; configs that radiologists evaluate have, such as nodule_expert"
        )
    else:
        raise UsageError(f"--against is {against!r}; expected one of {', '.join(AGAINST)}")
    if (truth == MISSING).all(axis=None):
        raise UsageError(f"No image of the subset has {against}: {built.full_name} was built without the file of it")
    return truth, single


def _any_of(truth: pd.DataFrame, positive: frozenset[str]) -> str:
    """Adds a column for any of several findings, and returns its name; one alone has a column already."""
    name = " or ".join(sorted(positive, reverse=True))
    of = truth[sorted(positive)]
    truth[name] = of.max(axis=1).where((of != MISSING).all(axis=1), MISSING)
    return name


def _columns(images: pd.DataFrame, feature: str, names: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({name: images[column_of(feature, name)].astype(np.int64) for name in names})


def _votes(images: pd.DataFrame, against: str) -> tuple[pd.DataFrame, list[Group]]:
    """Returns the truth by readers' votes, and a group for each number of votes."""
    if against == "nodule_votes":
        yes = images["nodule_votes"].astype(np.int64)
        votes = pd.DataFrame({"yes": yes, "readers": _READERS_OF_NODULES})
        finding = "Nodule"
    else:
        votes = _columns(images, against, READER_ANSWERS).rename(columns=str.lower)
        votes = votes.assign(readers=votes.sum(axis=1))
        finding = NODULE_OR_MASS
    read = votes["yes"] >= 0
    if not read.any():
        return pd.DataFrame({finding: pd.Series(MISSING, images.index)}), []
    truth, groups = by_votes(votes[read], finding)
    rows = [np.zeros(len(images), bool) for _ in groups]
    for row, group in zip(rows, groups, strict=True):
        row[read.to_numpy()] = group.rows
    spread = [Group(group.by, group.name, row, group.finding) for group, row in zip(groups, rows, strict=True)]
    return pd.DataFrame({finding: truth.reindex(images.index, fill_value=MISSING)}), spread


def groups_of(built: Built, images: pd.DataFrame, truth: pd.DataFrame, against: str, by: Sequence[str]) -> list[Group]:
    """Returns the groups of images to evaluate apart.

    Args:
      built: The dataset.
      images: As `read_images` returns them.
      truth: As `truth_of` returns it.
      against: What the truth is; readers' votes are groups of their own.
      by: What groups are to differ in, of `BY`.

    Raises:
      UsageError: A name is another one.
    """
    if unknown := [name for name in by if name not in BY]:
        raise UsageError(f"--by has {unknown[0]!r}; expected some of {', '.join(BY)}")
    groups: list[Group] = _votes(images, against)[1] if against.endswith("_votes") else []
    for name in by:
        if name == "age":
            groups += groups_by(age_bands(images["patient_age"].astype(np.int64).rename(index="age")))
        elif name == "nodule_size":
            sizes = images.apply(_nodule_size, axis=1, args=(built.config["image_size"] or SOURCE_SIZE,))
            for finding in truth.columns.intersection(["Nodule", NODULE_OR_MASS, *built.task.classes]):
                groups += groups_of_positives(sizes.rename(index="nodule_size"), truth[finding])
        else:
            groups += groups_by(images[name])
    return groups


def _nodule_size(image: pd.Series, side: int) -> str | None:
    """Returns the size of an image's largest nodule with a box: the longer side of the box. None without such a box."""
    boxes = [box for box, finding in json.loads(image["bboxes"]) if finding == "Nodule"]
    if not boxes:
        return None
    across, down = float(image["mm_per_pixel_x"]) * side, float(image["mm_per_pixel_y"]) * side
    mm = max(max((xmax - xmin) * across, (ymax - ymin) * down) for ymin, xmin, ymax, xmax in boxes)
    if mm >= _LARGE:
        return f"{_LARGE} mm or more"
    return f"{_MEDIUM} to {_LARGE} mm" if mm >= _MEDIUM else f"below {_MEDIUM} mm"


def names_in_order(built: Built, subset: str) -> Callable[[], list[str]]:
    """Returns a function that reads a subset's image names in the order in which TFDS reads its examples."""
    return lambda: [name for name, _ in read_examples(built, subset)]


def training_patients(dataset: epath.PathLike) -> tuple[Built, frozenset[int]]:
    """Returns a dataset and the patients of its training subset, with those of all folds."""
    built = open_dataset(dataset)
    names = built.table.loc[built.table["subset"].isin(built.made.training_subsets), "image_name"]
    return built, frozenset(map(patient_of, names))

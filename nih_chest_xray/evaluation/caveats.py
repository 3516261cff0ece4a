"""Caveats: refuses evaluations that cannot mean what they seem to, and says what a reader must know of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from etils import epath

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.errors import UsageError
from nih_chest_xray.evaluation.images import patients_of
from nih_chest_xray.evaluation.sampled import ALL
from nih_chest_xray.evaluation.truths import training_patients
from nih_chest_xray.planning.summary import cut_subsets
from nih_chest_xray.tasks import NO_FINDINGS_ALONE
from nih_chest_xray.vocabulary import images_of

FEW_RESAMPLES = 500
"""Fewer resamples than this give intervals that depend on the seed."""


def refuse_training(built: Built, subset: str) -> None:
    """Raises an error for a subset that a network is trained on, or that holds copies.

    Raises:
      UsageError: It is such a subset.
    """
    if subset == "train" or images_of(subset) != subset:
        others = [name for name in built.subsets if name != "train" and images_of(name) == name]
        raise UsageError(
            f"{subset} is for training: scores on it say what a network remembers, not how well it will do. Evaluate"
            f" on {' or '.join(others) or 'another dataset'}"
        )


def refuse_shared_patients(images: pd.DataFrame, subset: str, trained_on: epath.PathLike) -> str:
    """Raises an error if patients of a subset are in the training subset of another dataset.

    Returns:
      That none is, in words.

    Raises:
      UsageError: Some are.
      CatalogError: The folder holds no dataset.
    """
    other, training = training_patients(trained_on)
    if not training:
        raise UsageError(f"{other.path} has no training subset; name the dataset that the network was trained on")
    patients = set(patients_of(images))
    if shared := patients & training:
        raise UsageError(
            f"{len(shared):,} of the {len(patients):,} patients of {subset}, such as {min(shared)}, are in the training"
            f" subset of {other.full_name}: a network that was trained on it has seen them. Evaluate it on the test"
            " subset of its own dataset, or train on one without these patients"
        )
    missing = other.metadata["missing_images"]
    without = f" It was built without {missing:,} images of its config, which were not compared." if missing else ""
    return (
        f"No patient of {subset} is in the training subset of {other.full_name}, {len(training):,} patients.{without}"
    )


def is_text_mined(built: Built, subset: str, against: str) -> bool:
    """Returns whether a truth comes from radiology reports, and not from radiologists who read the images again."""
    return against == "findings" or (against == "label" and subset not in built.task.read_by_radiologists)


def of_scores(
    scores: Mapping[str, pd.DataFrame],
    figures: pd.DataFrame,
    thresholds: Mapping[tuple[str, str, float], float],
    bootstrap: int,
) -> Iterator[str]:
    """Yields what is odd about scores, so that the figures may not be of what they seem to be.

    Args:
      scores: (images, classes) of each network.
      figures: As `figures.figures` returns them.
      thresholds: The threshold of each network, finding and specificity, where they were given.
      bootstrap: Number of resamples.
    """
    for network, table in scores.items():
        if table.to_numpy().min() < 0 or table.to_numpy().max() > 1:
            yield (
                f"{network}: scores outside 0 to 1 are no probabilities, so there is no Brier score and no calibration."
                " Apply a sigmoid to logits, or divide per cents by 100."
            )
        if equal := [name for name in table if table[name].nunique() == 1]:
            yield f"{network}: all scores of {', '.join(equal)} are equal."
        apart = {
            finding: threshold
            for (of, finding, _), threshold in thresholds.items()
            if of == network and not table[finding].min() <= threshold <= table[finding].max()
        }
        for finding, threshold in apart.items():
            yield (
                f"{network}: the threshold of {finding} that was chosen on validation, {threshold:.4g}, is outside the"
                " scores that are evaluated. Are both of the same network, on the same scale?"
            )
    whole = figures[(figures["metric"] == "roc_auc") & (figures["group"] == ALL) & ~figures["is_difference"]]
    for row in whole[whole["high"] < 0.5].itertuples(index=False):
        yield f"{row.network}: the AUROC of {row.finding} is below that of chance. Are the scores inverted?"
    if bootstrap < FEW_RESAMPLES:
        yield f"{bootstrap} resamples are few: intervals would differ with another seed. {2000:,} are usual."


def caveats(built: Built, subset: str, truth: pd.DataFrame, against: str, checked: bool) -> Iterator[str]:
    """Yields what a reader of the figures must know, a sentence or two each.

    Args:
      built: The dataset.
      subset: The subset.
      truth: As `truths.truth_of` returns it.
      against: What the truth is.
      checked: Whether the patients were compared with those of a training subset.
    """
    if built.synthetic:
        yield "Drawn images: these figures say that code works, and nothing about patients."
    mined = is_text_mined(built, subset, against)
    if mined and not built.synthetic:
        yield (
            "The truth is text-mined from radiology reports, not read from the images: of the images that radiologists"
            " call nodule or mass it has 256 of 605. A network that learns its mistakes scores better than it should."
        )
    if against.endswith("_votes"):
        yield (
            "An image is positive if a reader says yes, and negative if all say no: that is less than what they would"
            " agree on. The groups show how many said yes."
        )
    if built.task.read_by_radiologists and not checked and not built.synthetic:
        yield (
            "Radiologists read images of patients who are in the training subset of nodule (617 of 860): a network that"
            " was trained on nodule must not be evaluated here. The option trained_on compares the patients."
        )
    thinned = built.config["healthy_stride"] > 1 or built.task.negative == NO_FINDINGS_ALONE
    thinned = thinned and subset not in built.task.read_by_radiologists
    if mined and thinned and not built.task.multi_label and not built.synthetic:
        left_out = (
            "other findings are left out" if built.task.negative == NO_FINDINGS_ALONE else "No Finding is thinned"
        )
        yield (
            f"The share of positives is not that of the release, since {left_out}: average precision and calibration"
            " depend on it."
        )
    if built.made.split == "folds" and subset != "test":
        yield f"{subset} is a fold: the figures hold for a network that was trained without it and its copies."
    if subset == "validation" or (built.made.split == "folds" and subset != "test"):
        yield f"If {subset} chose the epoch or the settings of the network, it scores better here than on new patients."
    if shared := built.metadata.get("shared_patients"):
        yield f"{shared:,} patients are in several subsets of this dataset: scores are better than on new patients."
    if subset in cut_subsets(built.metadata):
        yield "A trial build: these are the first images that the build made, not a random sample."
    if missing := built.metadata["missing_images"]:
        yield f"{missing:,} images of the config, in all subsets, were missing when the dataset was built."
    for name, values in truth.items():
        if not {0, 1} <= set(values):
            lacking = "positive" if 1 not in set(values) else "negative"
            yield f"{name}: no image of {subset} is {lacking}, so that most figures are undefined."

"""Evaluate: scores and a built dataset in, figures with intervals out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from nih_chest_xray.catalog.datasets import Built, open_dataset
from nih_chest_xray.errors import ScoreError, UsageError
from nih_chest_xray.evaluation import caveats, truths
from nih_chest_xray.evaluation.figures import figures, thresholds_of
from nih_chest_xray.evaluation.images import patients_of, read_images
from nih_chest_xray.evaluation.scores import check_scores, table_of
from nih_chest_xray.vocabulary import IMAGES, IMAGES_WITH

NETWORK, OTHER = "network", "other"
"""Names of the networks in the table of figures, if the caller gives none."""
MOST_RESAMPLES = 100_000
"""More would take memory and change no figure's second place."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An evaluation.

    Attributes:
      built: The dataset.
      subset: The subset that was evaluated.
      against: What the truth is.
      images: What the dataset says of each image, as `images.read_images` returns it.
      truth: (images, classes) int64, 1, 0, or -1 where it is not known.
      scores: (images, classes) float64 of each network.
      figures: The table of figures, as `sampled.to_table` describes it.
      caveats: What a reader of the figures must know.
      bootstrap: Number of resamples.
      seed: Seed of the resamples.
    """

    built: Built
    subset: str
    against: str
    images: pd.DataFrame
    truth: pd.DataFrame
    scores: dict[str, pd.DataFrame]
    figures: pd.DataFrame
    caveats: tuple[str, ...]
    bootstrap: int
    seed: int


def evaluate(
    scores: Any,
    dataset: Any,
    *,
    split: str = "test",
    against: str = "label",
    by: Sequence[str] = (),
    compare: Any = None,
    validation: Sequence[Any] = (),
    trained_on: epath.PathLike | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns figures of a network's scores on a subset of a built dataset, each with a 95 % interval.

    The intervals are of a bootstrap of patients: images of one patient are alike, and a bootstrap of images would take
    them for independent (Field and Welsh, Journal of the Royal Statistical Society B 69, 2007).

    Args:
      scores: The scores of the subset's images; higher means more likely positive. A DataFrame with `image_name`, and
        `score` or a column for each class; a dict from image name to score; or (images,) or (images, classes) in the
        order in which `tfds.load`, or `tfds.data_source` for array_record, reads the subset. More images are fine.
      dataset: A builder of TFDS, or the folder of a built dataset.
      split: The subset to evaluate on, not one for training.
      against: What to take for the truth, of `truths.AGAINST`.
      by: What groups are to be evaluated apart, of `truths.BY`.
      compare: Scores of another network on the same images, for the paired difference.
      validation: Scores of the validation subset, of each network in turn, of which thresholds are chosen. Without them
        thresholds are chosen on the same images, and the figures say so.
      trained_on: The folder of the dataset that the network was trained on, to check that no patient is in both.
      bootstrap: Number of resamples of the patients, from 2 to `MOST_RESAMPLES`.
      seed: Seed of the resamples.

    Returns:
      A row for each figure, with the columns network, finding, by, group, metric and method (str), estimate, low and
      high (float64), is_difference (bool), holds (whether the interval of a difference leaves out 0; None of other
      figures and without an interval), images, patients and positives (int64), and note (str).

    Warns:
      UserWarning: What a reader of the figures must know, such as that labels are text-mined.

    Raises:
      ScoreError: An image has no score, or several, or one that is not a number; or it is an augmented copy.
      UsageError: The evaluation could not mean what it seems to, or an option is not valid.
      CatalogError: There is no such dataset.
    """
    done = run(
        scores,
        dataset,
        split=split,
        against=against,
        by=by,
        compare=compare,
        validation=validation,
        trained_on=trained_on,
        bootstrap=bootstrap,
        seed=seed,
    )
    for caveat in done.caveats:
        warnings.warn(caveat, stacklevel=2)
    return done.figures


def run(
    scores: Any,
    dataset: Any,
    *,
    split: str = "test",
    against: str = "label",
    by: Sequence[str] = (),
    compare: Any = None,
    validation: Sequence[Any] = (),
    trained_on: epath.PathLike | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    names: tuple[str, str] = (NETWORK, OTHER),
) -> Evaluation:
    """Evaluates scores, and keeps what the figures were made of, for a report.

    Its arguments are those of `evaluate`, and `names`, what the network and the other one are called in the figures.

    Raises:
      ScoreError, UsageError, CatalogError: As `evaluate`.
    """
    if not 2 <= bootstrap <= MOST_RESAMPLES or seed < 0:
        raise UsageError(
            f"bootstrap is {bootstrap} and seed {seed}; expected from 2 to {MOST_RESAMPLES:,} resamples, and a seed of"
            " at least 0"
        )
    built = open_dataset(dataset)
    caveats.refuse_training(built, split)
    images = read_images(built, split)
    truth, single = truths.truth_of(built, images, against)
    by = [by] if isinstance(by, str) else list(by)
    validation = list(validation) if isinstance(validation, list | tuple) else [validation]
    if validation and split == "validation":
        raise UsageError("validation is evaluated: thresholds that are chosen on it say nothing of new patients")
    told = [caveats.refuse_shared_patients(images, split, trained_on)] if trained_on is not None else []
    given = {names[0]: scores} | ({} if compare is None else {names[1]: compare})
    if compare is not None and names[0] == names[1]:
        raise ScoreError(f"both networks are called {names[0]}; expected two names")
    checked = {name: _scores_of(one, name, built, images, truth, single, split) for name, one in given.items()}
    classes = [name for name in truth if all(name in table for table in checked.values())]
    if len({tuple(table) for table in checked.values()}) > 1:
        raise ScoreError(
            f"the networks score other classes; both score {', '.join(classes) or 'none'}. Leave others out"
        )
    truth = truth[classes]
    if len(validation) not in (0, len(checked)):
        raise ScoreError(f"{len(validation)} scores of validation for {len(checked)} networks; expected one for each")
    thresholds = _thresholds(dict(zip(checked, validation, strict=False)), built, against, classes)
    table = figures(
        truth,
        checked,
        patients_of(images),
        groups=truths.groups_of(built, images, truth, against, by),
        thresholds=thresholds,
        prevalence=_prevalence(built, split, against, classes),
        bootstrap=bootstrap,
        seed=seed,
    )
    told += caveats.caveats(built, split, truth, against, trained_on is not None)
    told += caveats.of_scores(checked, table, thresholds, bootstrap)
    if built.task.multi_label and 1 < len(classes) < len(built.task.classes):
        told.append(f"{len(classes)} of the {len(built.task.classes)} findings are scored: the mean is of these alone.")
    return Evaluation(built, split, against, images, truth, checked, table, tuple(told), bootstrap, seed)


def _scores_of(
    scores: Any, name: str, built: Built, images: pd.DataFrame, truth: pd.DataFrame, single: str | None, subset: str
) -> pd.DataFrame:
    others = dict(zip(built.table["image_name"], built.table["subset"], strict=True))
    try:
        table = table_of(scores, truths.names_in_order(built, subset))
        return check_scores(table, images.index, list(truth), single, subset, others)
    except ScoreError as error:
        raise ScoreError(f"scores of {name}, {subset}: {error}") from error


def _thresholds(
    validation: Mapping[str, Any], built: Built, against: str, classes: Sequence[str]
) -> dict[tuple[str, str, float], float]:
    """Returns the thresholds that each network's scores of validation give; none without such scores."""
    if not validation:
        return {}
    images = read_images(built, "validation")
    truth, single = truths.truth_of(built, images, against)
    scores = {
        network: _scores_of(given, network, built, images, truth, single, "validation")
        for network, given in validation.items()
    }
    for table in scores.values():
        if lacking := [name for name in classes if name not in table]:
            raise ScoreError(
                f"the scores of validation have no {', '.join(lacking)}; expected the classes of the others"
            )
    return thresholds_of(truth[list(classes)], {name: table[list(classes)] for name, table in scores.items()})


def _prevalence(built: Built, subset: str, against: str, classes: Sequence[str]) -> dict[str, float]:
    """Returns the share of the release's images that have each finding, where the truth is text-mined."""
    if built.synthetic or not caveats.is_text_mined(built, subset, against):
        return {}
    return {name: IMAGES_WITH[name] / IMAGES for name in classes if name in IMAGES_WITH}

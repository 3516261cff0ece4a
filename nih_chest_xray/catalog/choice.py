"""Choice: chooses the examples that a page shows. The same dataset gives the same choice, in the same order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.statistics import finding_counts, originals
from nih_chest_xray.vocabulary import FINDINGS, NO_AUGMENTATION, is_copy, source_of

BROWSED = 1000
"""Number of examples that a page has pictures of."""
_COPIES = 0.2
"""Largest share of augmented copies among them. Their sources are shown too."""
_OF_TWO_CLASSES = 4
_OF_MANY_CLASSES = 1
_PAIRS = 4


@dataclasses.dataclass(frozen=True)
class Choice:
    """The examples that a page shows.

    Attributes:
      singles: The image names of the featured examples of each class.
      pairs: The image names of the featured images with their augmented copies.
      examples: The rows of all chosen examples, featured ones among them, in the order in which they are shown.
    """

    singles: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    examples: pd.DataFrame

    @property
    def featured(self) -> tuple[str, ...]:
        """The image names of all featured examples."""
        return (*self.singles, *(name for pair in self.pairs for name in pair))


def choose(built: Built, examples: pd.DataFrame, number: int = BROWSED) -> Choice:
    """Chooses the examples of a page.

    Args:
      built: The dataset.
      examples: The table of examples that `statistics.read_examples` returns.
      number: How many to choose; all if there are fewer.
    """
    pairs = _choose_pairs(examples)
    paired = {name for pair in pairs for name in pair}
    patients = examples.loc[examples["image_name"].isin(paired), "patient_id"]
    singles = _choose_singles(built, examples[~examples["patient_id"].isin(patients)])
    featured = paired | set(singles)
    return Choice(tuple(singles), tuple(pairs), choose_browsed(built, examples, number, featured))


def choose_browsed(built: Built, examples: pd.DataFrame, number: int, first: set[str] | frozenset[str]) -> pd.DataFrame:
    """Chooses examples to browse: all, or a stratified part.

    The number is dealt equally to the subsets; what a subset has, to its classes; and so on to augmentations, to
    findings (an example counts for its rarest one), and to images with and without boxes. A part that has fewer
    examples leaves the rest to the others. So rare findings and each augmentation are there. A copy comes with its
    source.

    Args:
      built: The dataset.
      examples: The table of examples that `statistics.read_examples` returns.
      number: How many to choose.
      first: Image names that are chosen in any case.

    Returns:
      Their rows: one of each stratum in turn.
    """
    strata = _strata(built, examples)
    if len(examples) <= number:
        return _in_turn(examples, strata)
    names = examples["image_name"]
    copied = names.map(is_copy).to_numpy(bool)
    chosen = names.isin(first).to_numpy(copy=True)
    chosen |= _deal(strata, copied & ~chosen, round(_COPIES * number))
    sources = set(names[chosen & copied].map(source_of))
    chosen |= names.isin(sources).to_numpy()
    chosen |= _deal(strata, ~copied & ~chosen, number - int(chosen.sum()))
    return _in_turn(examples[chosen], strata[chosen])


def _strata(built: Built, examples: pd.DataFrame) -> pd.DataFrame:
    """Returns the levels by which examples are dealt out, the first one first."""
    rarest = finding_counts(examples, built.subsets).sum(axis=1).sort_values(kind="stable").index.tolist()
    return pd.DataFrame(
        {
            "subset": examples["subset"].map(built.subsets.index),
            # The label of several findings is all of them, which are dealt out by the rarest.
            "label": "" if built.task.multi_label else examples["label"],
            "augmentation": examples["augmentation"],
            "finding": [min(map(rarest.index, findings), default=len(FINDINGS)) for findings in examples["findings"]],
            "boxed": examples["boxes"] > 0,
        },
        examples.index,
    )


def _deal(strata: pd.DataFrame, among: np.ndarray, number: int) -> np.ndarray:
    """Chooses the first examples of each stratum.

    Args:
      strata: The levels of each example.
      among: Which of them may be chosen, as booleans.
      number: How many to choose; fewer if there are fewer.

    Returns:
      (examples,) bool.
    """
    chosen = np.zeros(len(strata), bool)

    def deal(places: np.ndarray, levels: Sequence[str], quota: int) -> None:
        if len(places) <= quota or not levels:
            chosen[places[: max(0, quota)]] = True
            return
        codes, _ = pd.factorize(strata[levels[0]].to_numpy()[places], sort=True)
        parts = sorted((places[codes == code] for code in range(codes.max() + 1)), key=len)
        for left, part in zip(range(len(parts), 0, -1), parts, strict=True):
            share = min(len(part), quota // left)
            deal(part, levels[1:], share)
            quota -= share

    deal(np.flatnonzero(among), list(strata), number)
    return chosen


def _in_turn(examples: pd.DataFrame, strata: pd.DataFrame) -> pd.DataFrame:
    """Orders examples so that each stratum has its turn, the first ones therefore are of all kinds."""
    levels = list(strata)
    turn = strata.groupby(levels, sort=False).cumcount()
    ordered = strata.assign(turn=turn, place=np.arange(len(strata))).sort_values(["turn", *levels, "place"])
    return examples.loc[ordered.index]


def _choose_pairs(examples: pd.DataFrame) -> list[tuple[str, str]]:
    """Chooses copies of each augmentation in turn, those with boxes first, and each patient once."""
    names = set(examples["image_name"])
    copies = examples[examples["image_name"].map(is_copy).astype(bool)]
    copies = copies.assign(source=copies["image_name"].map(source_of))
    copies = copies[copies["source"].isin(names)].assign(boxed=copies["boxes"] > 0)
    copies = copies.sort_values(["boxed", "number"], ascending=[False, True]).drop_duplicates("patient_id")
    copies = copies.assign(turn=copies.groupby("augmentation").cumcount())
    chosen = copies.sort_values(["turn", "augmentation"]).head(_PAIRS)
    return list(zip(chosen["source"], chosen["image_name"], strict=True))


def _choose_singles(built: Built, examples: pd.DataFrame) -> list[str]:
    """Chooses the same number of images of each class from each subset in turn, those with boxes first.

    Images that are augmented in place come last. The rarest class chooses first. Each patient is shown once, unless a
    class has no other patient left.
    """
    number = _OF_TWO_CLASSES if len(built.classes) == 2 else _OF_MANY_CLASSES
    left = originals(examples)
    left = left.assign(boxed=left["boxes"] > 0, changed=left["augmentation"] != NO_AUGMENTATION)
    left = left.sort_values(["changed", "boxed", "number"], ascending=[True, False, True])
    labels = left["label"].unique()
    having = {
        name: left[left["label"].isin([label for label in labels if name in built.labels(label)])]
        for name in built.classes
    }
    chosen: dict[str, list[str]] = {}
    shown: set[str] = set()
    patients: set[int] = set()
    for name in sorted(having, key=lambda name: len(having[name])):
        of_class = having[name][~having[name]["image_name"].isin(shown)]
        new = of_class[~of_class["patient_id"].isin(patients)]
        of_class = (of_class if new.empty else new).drop_duplicates("patient_id")
        turn = of_class.groupby("subset").cumcount()
        picked = of_class.assign(turn=turn).sort_values("turn", kind="stable").head(number)
        chosen[name] = picked["image_name"].tolist()
        shown.update(chosen[name])
        patients.update(picked["patient_id"])
    return [image for name in built.classes for image in chosen[name]]

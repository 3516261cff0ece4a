"""Matching: which training negatives are augmented in place, so that augmentation says nothing of the class."""

from __future__ import annotations

import bisect
import collections
from collections.abc import Iterator, Mapping

import pandas as pd

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.images.augmentation import draw_augmentations, first_draw, uniform


def matched_cutoffs(cohort: pd.DataFrame, config: NihChestXrayConfig) -> dict[str, float]:
    """Returns which numbers in [0, 1), one a training negative, belong to each augmentation.

    A negative's number is a hash of the config's seed and of its name. The first augmentation has the numbers below its
    cutoff, the next those from there to its own, and so on; negatives above the last are not augmented. With these
    cutoffs each augmentation has the same share of the training negatives as of the examples that training positives
    give (originals and copies), to one image.

    Args:
      cohort: Rows of a table as `cohort.make_cohort` returns it: the images that are there.
      config: The config.

    Returns:
      The upper end of each augmentation's numbers, in the order of the config; empty if the config matches nothing.
    """
    if not config.matched_augmentation:
        return {}
    train = cohort[cohort["subset"] == "train"]
    numbers = sorted(_number(name, config) for name in train.loc[~train["positive"], "image_name"])
    positives = train.loc[train["positive"], "image_name"]
    copies = collections.Counter(
        augmentation
        for source in positives
        for augmentation, _ in draw_augmentations(config.augmentations, config.seed, source, config.augmented_copies)
    )
    examples = len(positives) * (1 + config.augmented_copies)
    cutoffs, below = {}, 0
    for name in config.augmentations:
        below += copies[name]
        # Sums are rounded, not shares: rounded shares may add up to more negatives than there are.
        end = round(len(numbers) * below / examples) if examples else 0
        cutoffs[name] = numbers[end] if end < len(numbers) else 1.0
    return cutoffs


def matched_augmentations(
    cohort: pd.DataFrame, config: NihChestXrayConfig, cutoffs: Mapping[str, float]
) -> Iterator[tuple[int, str, float]]:
    """Yields the index of each training negative that is augmented in place, the augmentation and its draw.

    Args:
      cohort: As in `matched_cutoffs`, or some of its rows.
      config: The config.
      cutoffs: As `matched_cutoffs` returns them.
    """
    names, ends = list(cutoffs), list(cutoffs.values())
    negatives = cohort.loc[(cohort["subset"] == "train") & ~cohort["positive"], "image_name"]
    for index, image in negatives.items() if names else ():
        place = bisect.bisect_right(ends, _number(image, config))
        if place < len(names):
            yield index, names[place], first_draw(names[place], config.seed, image)


def _number(image_name: str, config: NihChestXrayConfig) -> float:
    return uniform(config.seed, image_name, "matched augmentation")

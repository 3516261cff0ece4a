"""Metadata: makes the content of metadata.json, and warns of images that are missing, broken or not the NIH's."""

from __future__ import annotations

import collections
import json
import platform
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nih_chest_xray.building.examples import BrokenImage, Report
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.planning.cohort import empty_classes
from nih_chest_xray.planning.summary import summarise


def make_metadata(
    config: NihChestXrayConfig,
    version: str,
    origin: Mapping[str, Any],
    written: pd.DataFrame,
    cutoffs: Mapping[str, float],
    missing: int,
    broken: Sequence[BrokenImage],
    resized: Mapping[int, int],
    repacked: Mapping[str, str],
    cap: int | None,
    shard_sizes: Mapping[str, int],
) -> dict[str, Any]:
    """Returns the content of metadata.json, computed from the examples that were made.

    Args:
      config: The config that was built.
      version: The dataset's version.
      origin: Where the tables come from, see `Tables`.
      written: The manifest rows of the examples that were made.
      cutoffs: Which training negatives are augmented in place; see `matching.matched_cutoffs`.
      missing: Number of images of the cohort that were missing or broken.
      broken: The images that could not be read.
      resized: Number of source images that were resized copies, by their side in pixels.
      repacked: The SHA-256 of each archive that is not the NIH's own, by its path relative to the release's folder.
      cap: The largest number of examples in a subset, for a trial build; None for all.
      shard_sizes: The size of each shard in bytes, by file name.
    """
    return {
        **summarise(written, config),
        **({"matched_augmentation": dict(cutoffs)} if config.matched_augmentation else {}),
        **origin,
        "config": {"name": config.name, **config.choices},
        "missing_images": missing,
        "broken_images": sorted(image.source_name for image in broken),
        "resized_images": {str(side): number for side, number in sorted(resized.items())},
        "max_examples_per_split": cap,
        "shard_sizes": dict(shard_sizes),
        "repacked_archives": dict(repacked),
        "versions": {
            "nih_chest_xray": version,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pandas": pd.__version__,
        },
    }


def resized_sides(written: pd.DataFrame, report: Report) -> collections.Counter[int]:
    """Returns the number of source images that were resized copies, by their side in pixels."""
    sources = written["source_name"].unique()
    return collections.Counter(report.copied_sides[name] for name in sources if name in report.copied_sides)


def warn_of_resized(sides: Mapping[int, int]) -> None:
    """Warns of images that were made from resized copies."""
    if sides:
        listed = ", ".join(f"{number:,} from copies of {side} pixels a side" for side, number in sorted(sides.items()))
        warnings.warn(
            f"{sum(sides.values()):,} images were made from resized copies ({listed}), not from the NIH's pixels.",
            stacklevel=2,
        )


def warn_of_broken(report: Report, written: pd.DataFrame, config: NihChestXrayConfig) -> None:
    """Warns of broken images that were left out."""
    if report.broken:
        shown = "; ".join(image.problem for image in report.broken[:3])
        warnings.warn(
            f"{'1 broken image is' if len(report.broken) == 1 else f'{len(report.broken):,} broken images are'} left"
            " out, augmented copies too:"
            f" {shown}{'; …' if report.broken[3:] else ''}. All are listed in metadata.json's broken_images. Without"
            f" them there are: {json.dumps(summarise(written, config)['counts'])}.",
            stacklevel=2,
        )


def warn_of_repacked(repacked: Mapping[str, str], place: str) -> None:
    """Warns of archives that are not byte for byte the NIH's."""
    for name, digest in repacked.items():
        warnings.warn(
            f"{place}/{name} has SHA-256 {digest}, which is not that of an archive of the NIH's. It was read to its end"
            " without errors and used as it is.",
            stacklevel=2,
        )


def warn_of_missing(
    present: pd.DataFrame, cohort: pd.DataFrame, place: str, config: NihChestXrayConfig, broken: int = 0
) -> None:
    """Warns of images of the cohort that the release does not hold.

    Args:
      present: The rows of the manifest whose images the release holds.
      cohort: All images that the config keeps.
      place: The release's folder.
      config: The config that is built.
      broken: Number of images that are broken rather than missing.
    """
    if missing := len(cohort) - broken - present["source_name"].nunique():
        summary = summarise(present, config)
        absent = [subset for subset, number in summary["examples"].items() if not number]
        without = f" The dataset will have no subset {' and no '.join(absent)}." if absent else ""
        warnings.warn(
            f"{missing:,} of the {len(cohort):,} images of config {config.name!r} are not in {place}. Without them"
            f" there are: {json.dumps(summary['counts'])}.{without} {empty_classes(present, config)}".rstrip(),
            stacklevel=2,
        )

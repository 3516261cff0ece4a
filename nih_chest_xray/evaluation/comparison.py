"""Comparison: differences between networks on the same images, and between groups of images, with intervals."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from nih_chest_xray.evaluation.bootstrap import LEVEL, Interval, too_few
from nih_chest_xray.evaluation.delong import delong_covariance
from nih_chest_xray.evaluation.sampled import Figure, Sampled, Subject, difference, with_interval

DELONG = "DeLong, for patients (Obuchowski 1997)"


def between_groups(sampled: Sequence[Sampled]) -> Iterator[Sampled]:
    """Yields the difference of each group from the largest one of its kind, for each network, finding and metric.

    Args:
      sampled: Estimates with resamples of the same draws.
    """
    kinds: dict[Subject, list[Sampled]] = {}
    for one in sampled:
        if one.subject.by:
            kinds.setdefault(dataclasses.replace(one.subject, group=""), []).append(one)
    for groups in kinds.values():
        largest = max(groups, key=lambda one: int(one.images.rows.sum()))
        for one in groups:
            if one is not largest:
                yield difference(one, largest, group=f"{one.subject.group} - {largest.subject.group}")


def between_networks(sampled: Sequence[Sampled]) -> Iterator[tuple[Sampled, Sampled, Sampled]]:
    """Yields the paired difference of each network from each earlier one, for each finding, group and metric.

    Args:
      sampled: Estimates with resamples of the same draws.

    Yields:
      The difference, the later network's estimate, and the earlier one's.
    """
    of_network: dict[str, dict[Subject, Sampled]] = {}
    for one in sampled:
        key = dataclasses.replace(one.subject, network="")
        of_network.setdefault(one.subject.network, {})[key] = one
    for first, second in itertools.combinations(of_network, 2):
        for key, later in of_network[second].items():
            if earlier := of_network[first].get(key):
                yield difference(later, earlier, network=f"{second} - {first}"), later, earlier


def delong_difference(sampled: Sampled, y_true: np.ndarray, y_first: np.ndarray, y_second: np.ndarray) -> Figure:
    """Returns the difference of two AUROCs with DeLong's interval, which needs no resampling.

    Args:
      sampled: The same difference with its resamples, from `between_networks`.
      y_true: (images,) of the whole table, 0 or 1.
      y_first: (images,), the scores of the earlier network.
      y_second: (images,), the scores of the later network.
    """
    if not np.isfinite(sampled.estimate) or too_few(sampled.effective):
        return with_interval(sampled, Interval.none(too_few(sampled.effective)), DELONG)
    rows = sampled.images.rows
    scores = np.column_stack([y_first, y_second])[rows]
    _, covariance = delong_covariance(y_true[rows], scores, sampled.images.patients[rows])
    error = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0)))
    margin = stats.norm.ppf((1 + LEVEL) / 2) * error
    made = Interval(sampled.estimate - margin, sampled.estimate + margin)
    return with_interval(sampled, made, DELONG)

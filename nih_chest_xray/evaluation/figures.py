"""Figures: scores and truths in, a table of figures out, each with its interval and its n."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nih_chest_xray.errors import TableError
from nih_chest_xray.evaluation.bootstrap import draw_patients, resample
from nih_chest_xray.evaluation.comparison import between_groups, between_networks, delong_difference
from nih_chest_xray.evaluation.inputs import check_patients, check_tables
from nih_chest_xray.evaluation.measures import Measures
from nih_chest_xray.evaluation.metrics import threshold_at_specificity
from nih_chest_xray.evaluation.sampled import (
    ALL,
    MEAN,
    Images,
    Sampled,
    Subject,
    mean_over_findings,
    to_figure,
    to_table,
)
from nih_chest_xray.evaluation.subgroups import Group

SPECIFICITIES = (0.90, 0.95)


def figures(
    y_true: pd.DataFrame,
    y_scores: Mapping[str, pd.DataFrame],
    patients: pd.Series,
    *,
    groups: Sequence[Group] = (),
    specificities: Sequence[float] = SPECIFICITIES,
    thresholds: Mapping[tuple[str, str, float], float] | None = None,
    prevalence: Mapping[str, float] | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns the figures of one or more networks on the same images.

    They are, for each finding, their mean, all images and each group: `roc_auc`, `average_precision`,
    `average_precision_at_prevalence` where a prevalence is given, `sensitivity_at_90_specificity` and at 95,
    `specificity_at_90_threshold` and at 95 where thresholds are given, `brier_score`, `expected_calibration_error` and
    `calibration_slope`. Then come the differences of each group from the largest one of its kind, and those of each
    network from each earlier one. All share the same resamples of the patients.

    A threshold that is not given is chosen on the same images, anew in every resample, so that the interval knows of
    the choice; the note says so.

    Args:
      y_true: (images, findings), 1 or 0, and -1 or NaN where the truth is not known: such an image is left out for that
        finding. The index names the images, the columns the findings.
      y_scores: (images, findings) of each network, finite, with the same index and columns in any order. Higher means
        more likely positive. The Brier score and calibration need probabilities.
      patients: (images,), the patient of each image, with the same index.
      groups: Groups of images, from `subgroups`, whose rows are in the order of `y_true`.
      specificities: Specificities for the sensitivity, above 0 and below 1.
      thresholds: The threshold of a network, finding and specificity, from `thresholds_of` the validation subset.
      prevalence: Share of positives of each finding, above 0 and below 1, at which to state the average precision too,
        such as the release's where the cohort has been thinned.
      bootstrap: Number of resamples of the patients, at least 2.
      seed: Seed of the resamples, at least 0.

    Returns:
      A table, as `sampled.to_table` describes.

    Raises:
      TableError: A score is not a finite number, a truth is another value, a patient is missing, or tables do not have
        the same images and findings.
      ValueError: A parameter is out of its range.

    Example:
      >>> import numpy as np
      >>> import pandas as pd
      >>> from nih_chest_xray.evaluation.figures import figures
      >>> rng = np.random.default_rng(0)
      >>> truth = pd.DataFrame({"Nodule": rng.integers(0, 2, 600)})
      >>> scores = {"a": truth + rng.normal(size=(600, 1)), "b": truth + 2 * rng.normal(size=(600, 1))}
      >>> table = figures(truth, scores, patients=truth.index.to_series() // 3)
      >>> of_auroc = table[(table["metric"] == "roc_auc") & (table["method"] == "patient bootstrap")]
      >>> columns = ["network", "estimate", "low", "high", "holds", "images", "patients", "positives"]
      >>> print(of_auroc[columns].round(2).to_string(index=False))
      network  estimate   low  high holds  images  patients  positives
            a      0.82  0.78  0.85  None     600       200        322
            b      0.62  0.58  0.66  None     600       200        322
        b - a     -0.19 -0.25 -0.14  True     600       200        322
    """
    thresholds, prevalence = thresholds or {}, prevalence or {}
    truth, scores = check_tables(y_true, y_scores)
    _check_shares("specificities", specificities)
    _check_shares("prevalence", prevalence.values())
    _check_names("thresholds", thresholds, itertools.product(scores, truth, specificities))
    _check_names("prevalence", prevalence, truth)
    _check_names("groups", [group.finding for group in groups if group.finding], truth)
    for group in groups:
        if len(group.rows) != len(y_true):
            raise ValueError(
                f"The group {group.name} of {group.by} is of {len(group.rows)} images; expected {len(y_true)}, those of"
                " the truth."
            )
    if bootstrap < 2 or seed < 0:
        raise ValueError(f"bootstrap is {bootstrap} and seed {seed}; expected at least 2, and at least 0.")
    codes = check_patients(patients, y_true.index)
    weights = draw_patients(int(codes.max()) + 1, bootstrap, seed)
    sampled: list[Sampled] = []
    # One group after the other, since what is prepared for the slopes is large.
    for network, group in itertools.product(scores, (Group("", ALL, np.ones(len(codes), bool)), *groups)):
        subjects, measures = [], []
        for finding in [group.finding] if group.finding else truth:
            rows = ~np.isnan(truth[finding]) & group.rows
            subject = Subject(network, finding, group.by, group.name, metric="")
            subjects.append((subject, Images(rows, rows & (truth[finding] == 1), codes)))
            measures.append(
                Measures.of(
                    truth[finding][rows],
                    scores[network][finding][rows],
                    codes[rows],
                    len(weights),
                    specificities=specificities,
                    thresholds={at: t for (*of, at), t in thresholds.items() if of == [network, finding]},
                    prevalence=prevalence.get(finding),
                )
            )
        sampled += _sampled(subjects, measures, weights)
    made = [to_figure(one) for of_kind in (sampled, [*between_groups(sampled)]) for one in _with_means(of_kind)]
    differences = list(between_networks(sampled))
    made += [to_figure(one) for one in _with_means([difference for difference, _, _ in differences])]
    for difference, later, earlier in differences:
        if difference.subject.metric == "roc_auc":
            finding = difference.subject.finding
            first, second = (scores[of.subject.network][finding] for of in (earlier, later))
            made.append(delong_difference(difference, truth[finding], first, second))
    return to_table(made)


def thresholds_of(
    y_true: pd.DataFrame, y_scores: Mapping[str, pd.DataFrame], specificities: Sequence[float] = SPECIFICITIES
) -> dict[tuple[str, str, float], float]:
    """Returns the threshold of each network, finding and specificity, chosen on these images.

    Given the validation subset, it returns the `thresholds` for `figures` of the test subset.

    Args:
      y_true: (images, findings), as for `figures`.
      y_scores: (images, findings) of each network, as for `figures`.
      specificities: Specificities, above 0 and below 1.

    Raises:
      TableError: A table is not as `figures` needs it, or a finding has no negative image.
    """
    truth, scores = check_tables(y_true, y_scores)
    chosen = {}
    for network, finding, specificity in itertools.product(scores, truth, specificities):
        known = ~np.isnan(truth[finding])
        if not (truth[finding] == 0).any():
            raise TableError(f"No image is negative for {finding}; expected some, of which a threshold can be chosen.")
        of_finding = truth[finding][known], scores[network][finding][known]
        chosen[network, finding, specificity] = threshold_at_specificity(*of_finding, specificity)
    return chosen


def _sampled(
    subjects: Sequence[tuple[Subject, Images]], measures: Sequence[Measures], weights: np.ndarray
) -> list[Sampled]:
    """Returns the estimate and the resamples of each metric of each subject."""
    estimates, resampled = resample(measures, weights, max(one.ranking.levels for one in measures))
    return [
        Sampled(
            subject=dataclasses.replace(subject, metric=measure.metric),
            images=images,
            estimate=float(estimate),
            resampled=values,
            effective=of_subject.effective,
            scale=measure.scale,
            note=measure.note,
        )
        for (subject, images), of_subject, *metrics in zip(subjects, measures, estimates, resampled, strict=True)
        for measure, estimate, values in zip(of_subject.measures, *metrics, strict=True)
    ]


def _with_means(sampled: Sequence[Sampled]) -> list[Sampled]:
    """Returns these, and their means over findings where several findings have the same metric.

    The mean of a difference is that of the findings' differences, so that both sides have the same findings.
    """
    parts: dict[Subject, list[Sampled]] = {}
    for one in sampled:
        parts.setdefault(dataclasses.replace(one.subject, finding=MEAN), []).append(one)
    return [*sampled, *(mean_over_findings(of_findings) for of_findings in parts.values() if len(of_findings) > 1)]


def _check_shares(name: str, shares: Iterable[float]) -> None:
    """Raises an error if a parameter has a share that is out of range."""
    if wrong := [share for share in shares if not 0 < share < 1]:
        raise ValueError(f"{name} has {wrong[0]!r}; expected numbers above 0 and below 1.")


def _check_names(name: str, given: Iterable[Any], known: Iterable[Any]) -> None:
    """Raises an error if a parameter is for something that is not evaluated, and would have no effect."""
    known = list(known)
    if wrong := [key for key in given if key not in known]:
        raise ValueError(f"{name} has {wrong[0]!r}; expected one of {', '.join(map(repr, known))}.")

"""Counts how many 95 % intervals hold the true value, of scores that are drawn so that it is known.

    python tests/benchmarks/interval_coverage.py [--draws 500] [--resamples 1000]

Patients have a random number of images, one to dozens. A patient's images share a part of what makes them positive, and
a part of their scores; the share of variance that is the patient's is given. Over all images the scores of negatives
are normal, N(0, 1), those of positives N(d, 1), so that the AUROC is Phi(d / sqrt 2), and the other metrics are
integrals. A second network has another d and its own noise besides the patients'. Rows are metrics; columns are the
package's intervals, percentiles of the same resamples, and the package's intervals with every image taken for a patient
of its own; a cell is the share of draws whose interval holds the true value, of those that have an interval, in per
cent, and the median width.
"""

import argparse

import numpy as np
from scipy.stats import norm

from nih_chest_xray.evaluation.bootstrap import Scale, draw_patients, interval, resample
from nih_chest_xray.evaluation.delong import delong_covariance
from nih_chest_xray.evaluation.measures import Measures

DESIGNS = (
    # Patients, mean images of a patient, share of positives, d of both networks, the patient's share of variance.
    (300, 9, 0.10, (1.2, 1.0), 0.5),
    (1000, 9, 0.06, (1.2, 1.0), 0.5),
    (1000, 9, 0.06, (3.0, 2.5), 0.5),
    (300, 3, 0.10, (1.2, 1.0), 0.5),
    (300, 9, 0.06, (3.0, 2.5), 0.7),
    (150, 1, 0.10, (3.0, 2.5), 0.0),
)
METRICS = ("roc_auc", "average_precision", "sensitivity_at_90_specificity")


def true_values(prevalence: float, d: float) -> np.ndarray:
    """AUROC, average precision and sensitivity at a specificity of 90 %."""
    threshold = np.linspace(-8, 12, 400_001)
    tpr, fpr = norm.sf(threshold - d), norm.sf(threshold)
    precision = tpr * prevalence / (tpr * prevalence + fpr * (1 - prevalence))
    average = np.sum((precision[1:] + precision[:-1]) / 2 * -np.diff(tpr))
    return np.array([norm.cdf(d / np.sqrt(2)), average, norm.sf(norm.isf(0.1) - d)])


def drawn(rng, patients, images, prevalence, ds, shared):
    sizes = 1 + (rng.negative_binomial(0.5, 0.5 / (images - 0.5), patients) if images > 1 else np.zeros(patients, int))
    groups = np.repeat(np.arange(patients), sizes)

    def normal() -> np.ndarray:
        own = rng.normal(size=len(groups))
        return np.sqrt(shared) * rng.normal(size=patients)[groups] + np.sqrt(1 - shared) * own

    y_true = (normal() > norm.isf(prevalence)).astype(int)
    common = normal()
    return y_true, [d * y_true + np.sqrt(0.5) * common + np.sqrt(0.5) * normal() for d in ds], groups


def measured(y_true, y_scores, groups, n_resamples):
    """The estimates and resamples of both networks' metrics, (metrics, …), and of their difference's."""
    n_groups = groups.max() + 1
    plain = {"specificities": (0.9,), "thresholds": {}, "prevalence": None}
    both = [Measures.of(y_true, y_score, groups, n_groups, **plain) for y_score in y_scores]
    estimates, resampled = resample(both, draw_patients(n_groups, n_resamples, seed=0), levels=len(y_true))
    scales = [measure.scale for measure in both[0].measures[: len(METRICS)]]
    rows = [*zip(estimates[0], resampled[0], scales, strict=False)]
    rows += [(b - a, y - x, Scale.PLAIN) for a, b, x, y in zip(*estimates, *resampled, strict=True)][: len(METRICS)]
    return rows, both[0].effective


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    for design in DESIGNS:
        patients, images, prevalence, ds, shared = design
        rng = np.random.default_rng(0)
        first, second = (true_values(prevalence, d) for d in ds)
        truth = dict(
            zip(
                [*METRICS, *(f"difference of {metric}" for metric in METRICS)], [*first, *(second - first)], strict=True
            )
        )
        ends: dict[tuple[str, str], list[tuple[float, float]]] = {}
        effective = []
        for _ in range(arguments.draws):
            y_true, y_scores, groups = drawn(rng, *design)
            if len(np.unique(y_true)) < 2:
                continue
            for way, units in (("patients", groups), ("images", np.arange(len(groups)))):
                rows, n = measured(y_true, y_scores, units, arguments.resamples)
                for metric, (estimate, resampled, scale) in zip(truth, rows, strict=True):
                    made = interval(float(estimate), resampled, n, scale)
                    ends.setdefault((metric, way), []).append((made.low, made.high))
                    if way == "patients":
                        percentiles = (
                            np.nanquantile(resampled, (0.025, 0.975)) if made.low == made.low else (np.nan,) * 2
                        )
                        ends.setdefault((metric, "percentiles"), []).append(tuple(percentiles))
                if way == "patients":
                    effective.append(n)
                    aurocs, covariance = delong_covariance(y_true, np.column_stack(y_scores), groups)
                    margin = 1.96 * np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
                    gap = aurocs[1] - aurocs[0]
                    ends.setdefault(("difference of roc_auc", "DeLong"), []).append((gap - margin, gap + margin))
        print(
            f"\n{patients} patients, {images} images each on average, {prevalence:.0%} positive, {shared:.0%} of the"
            f" variance the patient's; effective patients of the smaller class {np.median(effective):.0f} (median)\n"
        )
        ways = ("patients", "percentiles", "images", "DeLong")
        print("| metric | true value | " + " | ".join(ways) + " |\n| --- | --- |" + " --- |" * len(ways))
        for metric, value in truth.items():
            cells = []
            for way in ways:
                low, high = np.array(ends.get((metric, way), [(np.nan, np.nan)])).T
                made = ~np.isnan(low)
                held = (low <= value) & (value <= high)
                cells.append(f"{held[made].mean():.1%}, {np.median((high - low)[made]):.3f}" if made.any() else "")
            print(f"| {metric} | {value:.3f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

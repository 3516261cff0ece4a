"""Times the figures of a network on the official test subset, against a loop that calls scikit-learn.

    python tests/benchmarks/evaluation.py [--rounds 3]

Scores and truths are drawn: 25,596 images of 2,797 patients, 14 findings as frequent as the NIH's, 2,000 resamples.
Each run is a process of its own, and the two ways take turns. The package's time is that of the whole process, imports
and drawing included. The loop is timed on few resamples, and its time for 2,000 is extrapolated, without imports. It
computes AUROC, average precision, Brier score and, by a ROC curve, the sensitivities; scikit-learn has no calibration
error and no calibration slope, so it does less.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import pandas as pd

IMAGES, PATIENTS, RESAMPLES, OF_LOOP = 25_596, 2_797, 2_000, 4
POSITIVES = (3279, 1069, 1815, 925, 4658, 1093, 435, 86, 6112, 1748, 1623, 1143, 555, 2665)
"""Positive images of each finding in the official test list."""


def drawn() -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Truths, probabilities and patients; some patients have many images, as in the release."""
    from nih_chest_xray.vocabulary import FINDINGS

    rng = np.random.default_rng(0)
    share = rng.gamma(0.3, size=PATIENTS)
    extra = rng.choice(PATIENTS, size=IMAGES - PATIENTS, p=share / share.sum())
    patients = np.concatenate([np.arange(PATIENTS), extra])
    truth, scores = {}, {}
    for finding, count in zip(FINDINGS, POSITIVES, strict=True):
        liability = rng.normal(size=PATIENTS)[patients] + rng.normal(size=IMAGES)
        truth[finding] = (liability > np.partition(liability, -count)[-count - 1]).astype(int)
        scores[finding] = 1 / (1 + np.exp(4 - liability - rng.normal(size=IMAGES)))
    return pd.DataFrame(truth), pd.DataFrame(scores), pd.Series(patients)


def package() -> int:
    from nih_chest_xray.evaluation.figures import figures

    truth, scores, patients = drawn()
    figures(truth, {"network": scores}, patients, bootstrap=RESAMPLES)
    return RESAMPLES


def loop() -> int:
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

    truth, scores, patients = drawn()
    rows_of = pd.Series(range(IMAGES)).groupby(patients.to_numpy()).indices
    rng = np.random.default_rng(0)
    global started
    started = time.perf_counter()
    for _ in range(OF_LOOP):
        rows = np.concatenate([rows_of[patient] for patient in rng.integers(PATIENTS, size=PATIENTS)])
        for finding in truth:
            y_true, y_score = truth[finding].to_numpy()[rows], scores[finding].to_numpy()[rows]
            roc_auc_score(y_true, y_score)
            average_precision_score(y_true, y_score)
            brier_score_loss(y_true, y_score)
            fpr, tpr, _ = roc_curve(y_true, y_score)
            for specificity in (0.90, 0.95):
                tpr[1 - fpr >= specificity].max()
    return OF_LOOP


if __name__ == "__main__":
    started = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=("package", "loop"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        resamples = {"package": package, "loop": loop}[arguments.way]()
        seconds = (time.perf_counter() - started) * RESAMPLES / resamples
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "memory": memory}))
        sys.exit()
    ratios = []
    print("| round | package, s | package, MiB | scikit-learn in a loop, s | ratio |\n| --- | --- | --- | --- | --- |")
    for number in range(arguments.rounds):
        ours, theirs = (
            json.loads(subprocess.run([sys.executable, __file__, "--way", way], check=True, capture_output=True).stdout)
            for way in ("package", "loop")
        )
        ratios.append(theirs["seconds"] / ours["seconds"])
        print(
            f"| {number + 1} | {ours['seconds']:.1f} | {ours['memory']:.0f} | {theirs['seconds']:.0f}"
            f" | {ratios[-1]:.0f} |",
            flush=True,
        )
    print(f"ratio: {statistics.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f})")

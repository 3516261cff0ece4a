"""Fixtures: scores of patients with several images each, and what a resample of them is to scikit-learn."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def drawn():
    """Truth, probabilities with many ties, and the number of each image's patient; 60 patients with 1 to 12 images."""
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(60), rng.integers(1, 13, 60)))
    y_true = (rng.normal(size=60)[groups] + rng.normal(size=len(groups)) > 1).astype(int)
    y_prob = 1 / (1 + np.exp(1.5 - y_true - rng.normal(size=60)[groups] - rng.normal(size=len(groups))))
    return y_true, y_prob.round(2), groups


@pytest.fixture(scope="session")
def weights():
    """(patients, resamples): each patient once; then three resamples of the 60 patients."""
    rng = np.random.default_rng(1)
    return np.column_stack([np.ones(60), rng.multinomial(60, np.full(60, 1 / 60), size=3).T])


@pytest.fixture(scope="session")
def two_findings():
    """Tables of 240 images of 80 patients: truth with gaps, scores of two networks, patients and a column of groups."""
    rng = np.random.default_rng(2)
    images = pd.Index([f"{number:08d}_000.png" for number in range(240)], name="image_name")
    patients = pd.Series(np.arange(240) // 3, images, name="patient_id")
    signal = rng.normal(size=(240, 2)) + rng.normal(size=(80, 2))[patients]
    truth = pd.DataFrame((signal > 0.8).astype(int), images, ["Mass", "Nodule"])
    truth.loc[images[::10], "Nodule"] = -1
    scores = {
        name: pd.DataFrame(1 / (1 + np.exp(1 - signal - noise * rng.normal(size=(240, 2)))), images, truth.columns)
        for name, noise in (("good", 1), ("poor", 3))
    }
    sex = pd.Series(rng.choice(["F", "M"], 80)[patients], images, name="patient_sex")
    return truth, scores, patients, sex

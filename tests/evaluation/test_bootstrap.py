"""Tests of the bootstrap: which patients are drawn, in how much memory, and the intervals."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from nih_chest_xray.evaluation import bootstrap
from nih_chest_xray.evaluation.bootstrap import (
    FEWEST,
    Scale,
    chunk_size,
    draw_patients,
    effective_number,
    interval,
    resample,
)


def test_each_resample_draws_as_many_patients_as_there_are_with_replacement():
    weights = draw_patients(30, 20, seed=0)
    assert weights.shape == (30, 20)
    assert (weights.sum(axis=0) == 30).all()
    assert (weights == 0).any(axis=0).all()
    assert weights.max() > 1


def test_draws_depend_on_the_seed():
    weights = draw_patients(30, 20, seed=0)
    assert (weights == draw_patients(30, 20, seed=0)).all()
    assert (weights != draw_patients(30, 20, seed=1)).any()


def test_every_patient_is_drawn_about_equally_often():
    weights = draw_patients(5, 4000, seed=0)
    assert weights.mean(axis=1) == pytest.approx(1, abs=0.06)  # Four standard errors: 4 * sqrt(0.8 / 4000).
    assert weights.var(axis=1) == pytest.approx(0.8, abs=0.1)  # Binomial, 5 draws of 1/5.


@pytest.mark.parametrize(("n_groups", "levels"), [(1, 1), (2_797, 12_000), (28_008, 90_000)])
def test_a_chunk_fits_into_memory(n_groups, levels, monkeypatch):
    size = chunk_size(n_groups, levels)
    assert size >= 1
    assert 8 * size * (n_groups + levels) <= bootstrap.MEMORY
    monkeypatch.setattr(bootstrap, "MEMORY", 10)
    assert chunk_size(n_groups, levels) == 1


def test_measures_see_the_weights_in_chunks(monkeypatch):
    monkeypatch.setattr(bootstrap, "chunk_size", lambda *_: 4)
    weights, shapes = draw_patients(30, 10, seed=0), []

    def first(chunk):
        shapes.append(chunk.shape)
        return chunk[0]

    estimates, resampled = resample([first, lambda chunk: chunk[:2]], weights)
    assert sorted(shapes) == [(30, 1), (30, 2), (30, 4), (30, 4)]
    assert estimates[0] == 1
    assert (resampled[0] == weights[0]).all()
    assert (resampled[1] == weights[:2]).all()


def test_the_effective_number_is_that_of_patients_with_equally_many_images():
    assert effective_number(np.repeat(np.arange(12), 3)) == 12
    assert effective_number(np.array([0] * 98 + [1, 2])) == pytest.approx(100**2 / (98**2 + 2))
    assert effective_number(np.zeros(0, int)) == 0


RESAMPLED = np.random.default_rng(0).normal(0.8, 0.02, 2000)


def test_an_interval_is_students_around_the_estimate_on_the_metrics_scale():
    margin = stats.t.ppf(0.975, 24) * np.sqrt(25 / 24) * RESAMPLED.std()
    made = interval(0.8, RESAMPLED, 25, Scale.PLAIN)
    assert (made.low, made.high) == pytest.approx((0.8 - margin, 0.8 + margin))
    made = interval(0.8, RESAMPLED, 25, Scale.LOGIT)
    assert (made.low, made.high) == pytest.approx(expit(logit(0.8) + np.array([-1, 1]) * margin / 0.16))


def test_of_many_patients_the_interval_is_that_of_percentiles():
    made = interval(0.8, RESAMPLED, 10_000, Scale.LOGIT)
    percentiles = np.quantile(RESAMPLED, [0.025, 0.975])
    assert (made.low, made.high) == pytest.approx(percentiles, abs=0.1 * np.ptp(percentiles))


def test_fewer_patients_have_a_wider_interval():
    few, many = (interval(0.8, RESAMPLED, n, Scale.LOGIT) for n in (FEWEST, 100))
    assert few.low < many.low < many.high < few.high


def test_near_1_the_interval_stays_below_1():
    made = interval(0.995, np.random.default_rng(0).normal(0.995, 0.01, 2000), 20, Scale.LOGIT)
    assert 0 < made.low < 0.995 < made.high < 1


def test_too_few_patients_have_no_interval_and_the_note_says_so():
    made = interval(0.8, RESAMPLED, FEWEST - 0.1, Scale.LOGIT)
    assert np.isnan([made.low, made.high]).all()
    assert made.note == "too few patients for an interval: worth 9.9 with equally many images, of at least 10"


def test_a_metric_that_many_resamples_lack_has_no_interval():
    lacking = np.where(np.arange(2000) < 90, np.nan, RESAMPLED)
    assert interval(0.8, lacking, 50, Scale.LOGIT).note == ""
    lacking = np.where(np.arange(2000) < 110, np.nan, RESAMPLED)
    assert interval(0.8, lacking, 50, Scale.LOGIT).note == "no interval: undefined in 110 of 2000 resamples"


def test_an_estimate_that_is_undefined_has_no_interval_and_no_second_reason():
    made = interval(np.nan, RESAMPLED, 50, Scale.LOGIT)
    assert np.isnan(made.low)
    assert made.note == ""


@pytest.mark.parametrize("estimate", [0.0, 1.0])
def test_a_proportion_of_all_or_none_has_the_exact_binomial_interval(estimate):
    exact = stats.binomtest(int(40 * estimate), 40).proportion_ci(0.95, method="exact")
    made = interval(estimate, np.full(2000, estimate), 40, Scale.PROPORTION)
    assert (made.low, made.high) == pytest.approx((exact.low, exact.high))
    assert made.note == "exact binomial interval"
    assert interval(estimate, np.full(2000, estimate), 40, Scale.LOGIT).note.startswith("no interval")


def test_what_noise_adds_to_a_distance_is_subtracted():
    """Noise of as much as the estimate makes resamples sqrt(2) times as large: the truth may well be 0."""
    noise = np.random.default_rng(0).normal(0, 0.002, 2000)
    made = interval(0.02, 0.02 * np.sqrt(2) + noise, 50, Scale.DISTANCE)
    assert made.low == 0
    assert made.high == pytest.approx(0.02)
    far = interval(0.2, 0.2 + noise, 50, Scale.DISTANCE)
    assert (far.low, far.high) == pytest.approx((0.2 - 0.0041, 0.2 + 0.0041), abs=0.0003)

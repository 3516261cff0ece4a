"""Tests of the figures: scikit-learn's estimates, a plain loop's intervals, n, notes, groups and comparisons."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from nih_chest_xray.errors import TableError
from nih_chest_xray.evaluation.bootstrap import Scale, draw_patients, effective_number, interval
from nih_chest_xray.evaluation.comparison import DELONG
from nih_chest_xray.evaluation.delong import delong_covariance
from nih_chest_xray.evaluation.figures import figures, thresholds_of
from nih_chest_xray.evaluation.sampled import PATIENT_BOOTSTRAP
from nih_chest_xray.evaluation.subgroups import Group, by_votes, groups_by, groups_of_positives

RESAMPLES = 200
METRICS = [
    *("roc_auc", "average_precision", "sensitivity_at_90_specificity", "sensitivity_at_95_specificity"),
    *("brier_score", "expected_calibration_error", "calibration_slope"),
]


def evaluate(two_findings, networks=("good",), **options):
    truth, scores, patients, _ = two_findings
    chosen = {name: scores[name] for name in networks}
    return figures(truth, chosen, patients, **{"bootstrap": RESAMPLES} | options)


def row(table, **of):
    of = {"network": "good", "by": "", "group": "all", "method": PATIENT_BOOTSTRAP} | of
    found = table[np.logical_and.reduce([table[name] == value for name, value in of.items()])]
    assert len(found) == 1, found
    return found.iloc[0]


@pytest.fixture(scope="module")
def table(two_findings):
    sex = groups_by(two_findings[3])
    return evaluate(two_findings, networks=("good", "poor"), groups=sex, prevalence={"Nodule": 0.05})


def known(two_findings, finding):
    truth, scores, patients, _ = two_findings
    rows = truth[finding] >= 0
    return truth[finding][rows], {name: of[finding][rows] for name, of in scores.items()}, patients[rows]


@pytest.mark.parametrize("finding", ["Mass", "Nodule"])
def test_estimates_are_scikit_learns_of_the_images_whose_truth_is_known(two_findings, table, finding):
    y_true, scores, _ = known(two_findings, finding)
    for network, y_score in scores.items():
        made = row(table, network=network, finding=finding, metric="roc_auc")
        assert made["estimate"] == pytest.approx(roc_auc_score(y_true, y_score), abs=1e-12)
        made = row(table, network=network, finding=finding, metric="average_precision")
        assert made["estimate"] == pytest.approx(average_precision_score(y_true, y_score), abs=1e-12)


def plain_loop(two_findings, measure):
    """What a measure of tables of images gives for each resample, one after the other."""
    _, _, patients, _ = two_findings
    rows_of = [np.flatnonzero(patients == patient) for patient in range(80)]
    weights = draw_patients(80, RESAMPLES, seed=0)
    resamples = [np.concatenate([rows_of[i] for i in np.repeat(np.arange(80), w.astype(int))]) for w in weights.T]
    return np.array([measure(rows) for rows in resamples])


def auroc_of(two_findings, finding, network):
    truth, scores, _, _ = two_findings

    def measure(rows):
        y_true, y_score = truth[finding].to_numpy()[rows], scores[network][finding].to_numpy()[rows]
        return roc_auc_score(y_true[y_true >= 0], y_score[y_true >= 0])

    return measure


def smaller_class(two_findings, finding):
    y_true, _, patients = known(two_findings, finding)
    return min(effective_number(patients[y_true == value].to_numpy()) for value in (0, 1))


def test_an_interval_is_that_of_a_plain_loop_over_the_same_resamples(two_findings, table):
    made = row(table, finding="Nodule", metric="roc_auc")
    looped = plain_loop(two_findings, auroc_of(two_findings, "Nodule", "good"))
    expected = interval(made["estimate"], looped, smaller_class(two_findings, "Nodule"), Scale.LOGIT)
    assert (made["low"], made["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_means_interval_is_that_of_the_means_of_resamples(two_findings, table):
    made = row(table, finding="mean", metric="roc_auc")
    looped = [plain_loop(two_findings, auroc_of(two_findings, finding, "good")) for finding in ("Mass", "Nodule")]
    numbers = [smaller_class(two_findings, finding) for finding in ("Mass", "Nodule")]
    effective = 2 / (1 / numbers[0] + 1 / numbers[1])
    expected = interval(made["estimate"], np.mean(looped, axis=0), effective, Scale.LOGIT)
    assert (made["low"], made["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    parts = [row(table, finding=finding, metric="roc_auc")["estimate"] for finding in ("Mass", "Nodule")]
    assert made["estimate"] == pytest.approx(np.mean(parts), abs=1e-15)


def test_two_networks_differ_by_the_differences_of_the_same_resamples(two_findings, table):
    made = row(table, network="poor - good", finding="Mass", metric="roc_auc")
    good, poor = (plain_loop(two_findings, auroc_of(two_findings, "Mass", name)) for name in ("good", "poor"))
    expected = interval(made["estimate"], poor - good, smaller_class(two_findings, "Mass"), Scale.PLAIN)
    assert (made["low"], made["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert made["estimate"] < made["high"] < 0
    assert made["holds"] is True


def test_a_network_does_not_differ_from_itself(two_findings):
    truth, scores, patients, _ = two_findings
    table = figures(truth, {"a": scores["good"], "b": scores["good"]}, patients, bootstrap=RESAMPLES)
    differences = table[table["network"] == "b - a"]
    assert (differences["estimate"] == 0).all()
    assert not differences["holds"].eq(True).any()


def test_delongs_interval_for_patients_stands_beside_the_bootstraps(two_findings, table):
    made = row(table, network="poor - good", finding="Nodule", metric="roc_auc", method=DELONG)
    y_true, scores, patients = known(two_findings, "Nodule")
    both = np.column_stack([scores["good"], scores["poor"]])
    _, covariance = delong_covariance(y_true.to_numpy(), both, patients.to_numpy())
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert made["high"] - made["low"] == pytest.approx(2 * 1.959964 * error, rel=1e-6)
    beside = row(table, network="poor - good", finding="Nodule", metric="roc_auc")
    assert made["estimate"] == beside["estimate"]
    assert (table["method"] == DELONG).sum() == 2 * 3  # Two findings, of all images and both sexes.


def test_the_mean_of_a_difference_is_over_findings_that_both_sides_have(two_findings):
    """Without it, a group that has no Mass would be compared by its Nodule alone with a mean of both."""
    truth, scores, patients, sex = two_findings
    larger, smaller = sex.value_counts().index
    without = truth.assign(Mass=truth["Mass"].where(sex == larger, 0))
    table = figures(without, {"good": scores["good"]}, patients, groups=groups_by(sex), bootstrap=RESAMPLES)
    of = {"metric": "roc_auc", "by": "patient_sex", "group": f"{smaller} - {larger}"}
    mean, nodule = (row(table, finding=finding, **of) for finding in ("mean", "Nodule"))
    assert mean[["estimate", "low", "high"]].tolist() == nodule[["estimate", "low", "high"]].tolist()
    assert "without Mass" in mean["note"]


def test_every_figure_has_its_n(two_findings, table):
    truth, _, patients, sex = two_findings
    made = row(table, finding="Nodule", metric="roc_auc", by="patient_sex", group="F")
    rows = (sex == "F") & (truth["Nodule"] >= 0)
    expected = [rows.sum(), patients[rows].nunique(), (truth["Nodule"][rows] == 1).sum()]
    assert made[["images", "patients", "positives"]].tolist() == expected
    made = row(table, finding="mean", metric="roc_auc")
    assert made[["images", "patients", "positives"]].tolist() == [240, 80, (truth == 1).any(axis=1).sum()]
    assert table[["images", "patients", "positives"]].notna().all(axis=None)


def test_groups_differ_from_the_largest_one(two_findings, table):
    larger, smaller = two_findings[3].value_counts().index
    of = {"finding": "Mass", "metric": "roc_auc", "by": "patient_sex"}
    made = row(table, group=f"{smaller} - {larger}", **of)
    estimates = [row(table, group=group, **of)["estimate"] for group in (smaller, larger)]
    assert made["estimate"] == pytest.approx(estimates[0] - estimates[1], abs=1e-15)
    assert made["images"] == 240
    assert made["low"] < made["estimate"] < made["high"]


def test_all_metrics_are_there_for_findings_their_mean_and_groups(table):
    cells = table[(table["network"] == "good") & (table["metric"] != "average_precision_at_prevalence")]
    assert (cells.groupby(["finding", "by", "group"])["metric"].apply(list).map(tuple) == tuple(METRICS)).all()
    assert len(cells) == len(METRICS) * 3 * 4  # Mass, Nodule and mean; all, F, M and their difference.


def test_a_prevalence_lowers_the_average_precision_of_its_finding(table):
    made = row(table, finding="Nodule", metric="average_precision_at_prevalence")
    assert made["estimate"] < row(table, finding="Nodule", metric="average_precision")["estimate"]
    assert made["note"] == "at 5.00% positives"
    assert not ((table["finding"] == "Mass") & (table["metric"] == "average_precision_at_prevalence")).any()


def test_a_threshold_comes_from_other_images_or_the_note_says_that_it_does_not(two_findings, table):
    truth, scores, patients, _ = two_findings
    assert row(table, finding="Mass", metric="sensitivity_at_90_specificity")["note"] == (
        "threshold chosen on the same data"
    )
    half = patients < 40
    thresholds = thresholds_of(truth[half], {"good": scores["good"][half]})
    made = figures(truth[~half], {"good": scores["good"][~half]}, patients[~half], thresholds=thresholds, bootstrap=50)
    threshold, called = thresholds["good", "Mass", 0.9], scores["good"]["Mass"][~half]
    y_true = truth["Mass"][~half]
    found = row(made, finding="Mass", metric="sensitivity_at_90_specificity")
    assert found["estimate"] == (called[y_true == 1] >= threshold).mean()
    assert found["note"].startswith(f"threshold {threshold:.4g}, given")
    found = row(made, finding="Mass", metric="specificity_at_90_threshold")
    assert found["estimate"] == (called[y_true == 0] < threshold).mean()


def test_scores_outside_0_to_1_have_no_calibration_and_the_same_ranks(two_findings, table):
    truth, scores, patients, _ = two_findings
    logits = np.log(scores["good"] / (1 - scores["good"]))
    made = figures(truth, {"good": logits}, patients, bootstrap=RESAMPLES)
    for metric in ("brier_score", "expected_calibration_error", "calibration_slope"):
        found = row(made, finding="Mass", metric=metric)
        assert np.isnan(found[["estimate", "low", "high"]].astype(float)).all()
        assert found["note"] == "scores outside 0 to 1"
    numbers = ["estimate", "low", "high"]
    of_logits, of_scores = (row(one, finding="Mass", metric="roc_auc")[numbers] for one in (made, table))
    assert of_logits.tolist() == pytest.approx(of_scores.tolist(), abs=1e-12)


def test_the_order_of_rows_and_findings_makes_no_difference(two_findings):
    truth, scores, patients, _ = two_findings
    order = np.random.default_rng(0).permutation(240)
    shuffled = figures(
        truth.iloc[order], {"good": scores["good"].iloc[::-1, ::-1]}, patients.sample(frac=1), bootstrap=RESAMPLES
    )
    numbers = ["estimate", "low", "high"]
    np.testing.assert_allclose(shuffled[numbers], evaluate(two_findings)[numbers], rtol=1e-9)


def test_the_same_seed_gives_the_same_figures_and_another_gives_other_intervals(two_findings):
    first = evaluate(two_findings)
    assert first.equals(evaluate(two_findings))
    other = evaluate(two_findings, seed=1)
    assert (first["estimate"] == other["estimate"]).all()
    of_auroc = first["metric"] == "roc_auc"
    assert (first["low"] != other["low"])[of_auroc].all()


def test_kinds_of_positives_are_for_their_finding_alone(two_findings):
    truth, _, _, _ = two_findings
    sizes = pd.Series(np.where(np.arange(240) % 2, "large", "small"), truth.index, name="nodule_size")
    table = evaluate(two_findings, groups=groups_of_positives(sizes, truth["Nodule"]))
    of_sizes = table[table["by"] == "nodule_size"]
    assert set(of_sizes["finding"]) == {"Nodule"}
    assert set(of_sizes["group"]) >= {"small", "large"}


def test_auroc_by_votes_is_that_of_positives_with_as_many_against_images_that_nobody_calls_positive(two_findings):
    _, scores, patients, _ = two_findings
    yes = pd.Series(np.arange(240) // 7 % 4, scores["good"].index)
    truth, groups = by_votes(pd.DataFrame({"yes": yes, "readers": 3}), "Nodule")
    of_nodule = scores["good"][["Nodule"]]
    table = figures(truth.to_frame(), {"good": of_nodule}, patients, groups=groups, bootstrap=RESAMPLES)
    for votes in (1, 2, 3):
        rows = yes.isin([0, votes])
        expected = roc_auc_score(yes[rows] > 0, of_nodule["Nodule"][rows])
        made = row(table, finding="Nodule", metric="roc_auc", by="votes", group=f"{votes} of 3")
        assert made["estimate"] == pytest.approx(expected, abs=1e-12)
        assert made["positives"] == (yes == votes).sum()


def one_row_each(y_true, y_score, patients):
    table = figures(
        pd.DataFrame({"Nodule": y_true}), {"good": pd.DataFrame({"Nodule": y_score})}, pd.Series(patients), bootstrap=50
    )
    return table.set_index("metric")


@pytest.mark.parametrize(("truth", "note"), [(0, "no positive images"), (1, "no negative images")])
def test_one_class_has_a_brier_score_and_no_other_figure(truth, note):
    table = one_row_each([truth] * 20, np.linspace(0, 1, 20), range(20))
    assert np.isnan(table.loc["roc_auc", "estimate"])
    assert table.loc["roc_auc", "note"] == note
    assert table.loc["calibration_slope", "note"] == note
    assert np.isfinite(table.loc["brier_score", "estimate"])
    assert table["low"].isna().all()


def test_one_patient_has_no_interval():
    table = one_row_each([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.8], [7] * 4)
    assert table.loc["roc_auc", "estimate"] == 0.75
    assert table["low"].isna().all()
    assert table.loc["roc_auc", "note"].startswith("too few patients for an interval: worth 1.0")


def test_equal_scores_have_no_slope_and_separated_ones_neither():
    y_true = [0, 1] * 20
    equal = one_row_each(y_true, [0.5] * 40, range(40))
    assert equal.loc["roc_auc", "estimate"] == 0.5
    assert equal.loc["roc_auc", "note"] == "no interval: the same in every resample"
    assert equal.loc["calibration_slope", "note"] == "all scores are equal"
    separated = one_row_each(y_true, [0.2, 0.9] * 20, range(40))
    assert separated.loc["calibration_slope", "note"] == "no slope: the scores separate the classes"
    assert separated.loc["sensitivity_at_90_specificity", "high"] == 1


def test_the_mean_leaves_out_what_is_undefined_and_says_so():
    rng = np.random.default_rng(0)
    truth = pd.DataFrame({"Hernia": 0, "Mass": rng.integers(0, 2, 60)})
    scores = {"good": pd.DataFrame(rng.uniform(size=(60, 2)), columns=truth.columns)}
    table = figures(truth, scores, truth.index.to_series(), bootstrap=50)
    made = row(table, finding="mean", metric="roc_auc")
    assert made["estimate"] == row(table, finding="Mass", metric="roc_auc")["estimate"]
    assert made["note"] == "without Hernia"
    truth.loc[:3, "Hernia"] = 1
    made = row(figures(truth, scores, truth.index.to_series(), bootstrap=50), finding="mean", metric="roc_auc")
    assert np.isnan(made["low"])
    assert made["note"].startswith("too few patients of Hernia; too few patients for an interval: worth 4.0")


def test_a_group_without_images_says_so(two_findings):
    table = evaluate(two_findings, groups=[Group("age", "80+", np.zeros(240, bool))])
    made = table[table["group"] == "80+"]
    assert made["estimate"].isna().all()
    assert set(made["note"]) <= {"no images", "without Mass, Nodule"}
    assert made["images"].tolist() == [0] * len(made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bootstrap": 1}, "bootstrap is 1"),
        ({"seed": -1}, "seed -1"),
        ({"specificities": [90]}, "specificities has 90"),
        ({"prevalence": {"Nodule": 0}}, "prevalence has 0"),
        ({"prevalence": {"Tumour": 0.1}}, "prevalence has 'Tumour'; expected one of 'Mass', 'Nodule'"),
        ({"thresholds": {("best", "Mass", 0.9): 0.5}}, r"thresholds has \('best', 'Mass', 0.9\)"),
        ({"groups": [Group("size", "small", np.zeros(240, bool), "Hernia")]}, "groups has 'Hernia'"),
        ({"groups": [Group("age", "80+", np.zeros(3, bool))]}, "group 80\\+ of age is of 3 images; expected 240"),
    ],
)
def test_a_wrong_parameter_is_refused(two_findings, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(two_findings, **options)


def test_a_threshold_needs_negatives(two_findings):
    truth, scores, _, _ = two_findings
    with pytest.raises(TableError, match="No image is negative for Mass"):
        thresholds_of(truth.assign(Mass=1), {"good": scores["good"]})

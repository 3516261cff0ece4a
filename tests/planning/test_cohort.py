"""Tests of the cohort: what is selected, and how it is split."""

import itertools

import numpy as np
import pandas as pd
import pytest

from nih_chest_xray.errors import CohortError
from nih_chest_xray.planning.cohort import class_indicators, make_cohort, select, shared_patients
from nih_chest_xray.vocabulary import FINDINGS, OFFICIAL_LISTS, SUBSETS, label_string


def table(*rows):
    """A label table from (image name, findings, view) or (image name, findings)."""
    rows = [(*row, "PA")[:3] for row in rows]
    return pd.DataFrame(
        {
            "image_name": [name for name, _, _ in rows],
            "patient_id": [int(name[:8]) for name, _, _ in rows],
            "follow_up": [int(name[9:12]) for name, _, _ in rows],
            "patient_age": 50,
            "patient_sex": "F",
            "view_position": [view for _, _, view in rows],
            "findings": [findings for _, findings, _ in rows],
        }
    )


def image(patient, number=0):
    return f"{patient:08d}_{number:03d}.png"


def test_nodule_task_keeps_every_nodule_and_leaves_out_other_findings(make_config):
    labels = table((image(1), ("Nodule",)), (image(2), ("Mass", "Nodule")), (image(3), ("Mass",)), (image(4), ()))
    kept = select(labels, make_config(healthy_stride=1))
    assert dict(zip(kept["image_name"], kept["label"], strict=True)) == {
        image(1): "Nodule",
        image(2): "Nodule",
        image(4): "No Finding",
    }


@pytest.mark.parametrize(("stride", "kept"), [(1, [1, 3, 4, 6, 7]), (2, [1, 4, 7]), (3, [1, 6])])
def test_thinning_keeps_every_nth_healthy_image_by_name_from_the_first(make_config, stride, kept):
    healthy = [(image(patient), ()) for patient in (7, 1, 6, 3, 4)]
    rows = select(table(*healthy, (image(2), ("Nodule",))), make_config(healthy_stride=stride))
    assert list(rows.loc[rows["label"] == "No Finding", "image_name"]) == [image(patient) for patient in kept]


def test_any_findings_are_told_from_all_other_images_of_which_healthy_ones_are_thinned(make_config):
    labels = table(
        (image(1), ("Mass", "Pneumothorax")),
        (image(2), ("Mass",)),
        (image(3), ()),
        (image(4), ()),
        (image(5), ("Edema",)),
    )
    config = make_config(positive=["Pneumothorax", "Edema"], negative="rest", healthy_stride=2)
    kept = select(labels, config)
    assert dict(zip(kept["image_name"], kept["label"], strict=True)) == {
        image(1): "Edema or Pneumothorax",
        image(2): "No Edema or Pneumothorax",
        image(3): "No Edema or Pneumothorax",
        image(5): "Edema or Pneumothorax",
    }
    assert list(kept["positive"]) == [True, False, False, True]


def test_the_first_image_of_each_patient_is_kept_of_the_views_that_are(make_config):
    labels = table((image(1, 0), (), "AP"), (image(1, 2), ()), (image(1, 1), ("Nodule",)), (image(2, 3), ()))
    config = make_config(views=("PA",), one_image_per_patient="first", healthy_stride=1)
    assert list(select(labels, config)["image_name"]) == [image(1, 1), image(2, 3)]


def test_which_image_is_first_says_the_follow_up_number_not_the_name(make_config):
    labels = table((image(1, 0), ()), (image(1, 1), ()), (image(2, 0), ())).assign(follow_up=[13, 2, 5])
    config = make_config(one_image_per_patient="first", healthy_stride=1)
    assert list(select(labels, config)["image_name"]) == [image(1, 1), image(2, 0)]


def test_views_are_chosen_before_thinning(make_config):
    labels = table((image(1), (), "AP"), (image(2), (), "PA"), (image(3), (), "AP"), (image(4), (), "PA"))
    rows = select(labels, make_config(views=("PA",), healthy_stride=2))
    assert list(rows["image_name"]) == [image(2)]


def test_order_of_the_rows_does_not_matter(phantom_labels, make_config):
    shuffled = phantom_labels.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(make_cohort(shuffled, make_config()), make_cohort(phantom_labels, make_config()))


def test_patients_are_in_one_subset_and_images_in_exactly_one(phantom_labels, make_config):
    cohort = make_cohort(phantom_labels, make_config())
    assert set(cohort["subset"]) == set(SUBSETS)
    assert cohort.groupby("patient_id")["subset"].nunique().max() == 1
    assert cohort["image_name"].is_unique
    assert set(cohort["image_name"]) == set(select(phantom_labels, make_config())["image_name"])


def official_lists(labels):
    test = labels["patient_id"] <= labels["patient_id"].max() * 0.3
    names = labels["image_name"]
    return {"test": frozenset(names[test]), "train_val": frozenset(names[~test])}


def test_official_split_takes_the_nihs_test_list_and_carves_validation_from_the_rest(phantom_labels, make_config):
    lists = official_lists(phantom_labels)
    cohort = make_cohort(phantom_labels, make_config(split="official", validation_fraction=0.3), lists)
    in_test = cohort["image_name"].isin(lists["test"])
    assert (cohort.loc[in_test, "subset"] == "test").all()
    rest = cohort[~in_test]
    assert set(rest["subset"]) == {"train", "validation"}
    assert rest.groupby("patient_id")["subset"].nunique().max() == 1
    patients = rest.loc[rest["subset"] == "validation", "patient_id"].nunique()
    assert abs(patients - 0.3 * rest["patient_id"].nunique()) <= 1


def test_images_in_neither_or_both_official_lists_are_refused(phantom_labels, make_config):
    lists = official_lists(phantom_labels)
    config = make_config(split="official")
    name = select(phantom_labels, config)["image_name"].iloc[-1]
    neither = {**lists, "train_val": lists["train_val"] - {name}}
    with pytest.raises(CohortError, match=f"1 images, such as {name}, are in neither"):
        make_cohort(phantom_labels, config, neither)
    both = {**lists, "test": lists["test"] | {name}}
    with pytest.raises(CohortError, match=f"such as {name}, are in both"):
        make_cohort(phantom_labels, config, both)


def test_a_patient_in_both_official_lists_is_refused(make_config):
    labels = table((image(1, 0), ("Nodule",)), (image(1, 1), ("Nodule",)), (image(2), ()))
    lists = {"test": frozenset([image(1, 0)]), "train_val": frozenset([image(1, 1), image(2)])}
    with pytest.raises(CohortError, match="1 patients, such as 1, have images in"):
        make_cohort(labels, make_config(split="official"), lists)


def test_a_subset_without_a_nodule_is_an_error_that_says_so(make_config):
    healthy = [(image(patient), ()) for patient in range(10, 60)]
    labels = table((image(1), ("Nodule",)), (image(2), ("Nodule",)), *healthy)
    with pytest.raises(CohortError, match=r"no image with a nodule: of the 27 patients.*, 2 have one.*larger table"):
        make_cohort(labels, make_config())


LISTS = {"split": "lists", "split_lists": {"train": "a.txt", "test": "b.txt"}, "healthy_stride": 1}


def test_lists_give_their_subsets_and_leave_out_what_is_in_none(make_config):
    labels = table(*((image(patient), ("Nodule",) if patient % 2 else ()) for patient in range(1, 9)))
    lists = {"train": frozenset(map(image, (1, 2, 7))), "test": frozenset(map(image, (3, 4, 99)))}
    with pytest.warns(
        UserWarning, match=f"^3 of the 8 images .*such as {image(5)}, are in no list.* They are left out"
    ):
        cohort = make_cohort(labels, make_config(**LISTS), lists=lists)
    assert dict(zip(cohort["image_name"], cohort["subset"], strict=True)) == {
        image(1): "train",
        image(2): "train",
        image(3): "test",
        image(4): "test",
        image(7): "train",
    }
    assert list(cohort.index) == [0, 1, 2, 3, 4]


def test_a_patient_in_two_lists_is_refused_unless_the_config_allows_it(make_config):
    labels = table(
        *((image(patient, number), ("Nodule",) if number else ()) for patient in (1, 2, 3) for number in (0, 1))
    )
    lists = {
        "train": frozenset([image(1, 0), image(1, 1), image(2, 0)]),
        "test": frozenset([image(2, 1), image(3, 0), image(3, 1)]),
    }
    with pytest.raises(CohortError, match=r"1 patients, such as 2 in train and test, .*allow_shared_patients"):
        make_cohort(labels, make_config(**LISTS), lists=lists)
    cohort = make_cohort(labels, make_config(**LISTS, allow_shared_patients=True), lists=lists)
    assert shared_patients(cohort) == 1
    assert len(cohort) == 6


def test_lists_that_leave_a_subset_empty_are_refused(make_config):
    labels = table((image(1), ("Nodule",)), (image(2), ()), (image(3), ("Nodule",)))
    lists = {"train": frozenset(map(image, (1, 2))), "test": frozenset([image(3)])}
    with pytest.raises(CohortError, match="test subset would have no image without a nodule: .* Check the lists"):
        make_cohort(labels, make_config(**LISTS), lists=lists)
    with (
        pytest.warns(UserWarning, match="are in no list"),
        pytest.raises(CohortError, match="test subset would have no image at all: .* Check the lists"),
    ):
        make_cohort(labels, make_config(**LISTS, task="findings"), lists=lists | {"test": frozenset([image(9)])})


def test_findings_without_a_nodule_or_another_finding_are_built_and_the_empty_classes_named(make_config):
    labels = table(*((image(patient), ("Mass",) if patient % 2 else ()) for patient in range(1, 41)))
    with pytest.warns(UserWarning, match="AUROC is undefined there") as warned:
        cohort = make_cohort(labels, make_config(task="findings", healthy_stride=1))
    assert set(cohort["subset"]) == set(SUBSETS)
    [said] = {str(warning.message) for warning in warned}
    without_mass = ", ".join(finding for finding in FINDINGS if finding != "Mass")
    assert said == (
        f"train has no image of {without_mass}; validation has no image of {without_mass};"
        f" test has no image of {without_mass}: AUROC is undefined there."
    )


def test_a_part_may_lack_a_class_and_a_subset_of_which_it_says_so(make_config):
    lists = {"train": frozenset(map(image, range(1, 5))), "test": frozenset([image(5)])}
    labels = table(*((image(patient), ("Nodule",) if patient % 2 else ()) for patient in range(1, 6)))
    part = make_config(**LISTS, allow_missing_images=True)
    with pytest.warns(UserWarning, match="^test has no image of No Finding: AUROC is undefined there.$"):
        assert len(make_cohort(labels, part, lists=lists)) == 5
    with pytest.warns(UserWarning, match="the test subset would have no image at all. It is left out"):
        assert len(make_cohort(labels[:4], part, lists=lists)) == 4


def test_a_part_without_any_image_is_an_error(make_config):
    with pytest.raises(CohortError, match="no image with a nodule"):
        make_cohort(table((image(1), ("Mass",))), make_config(allow_missing_images=True))


def test_an_empty_table_is_an_error(make_config):
    with pytest.raises(CohortError, match="no image with a nodule"):
        make_cohort(table((image(1), ("Mass",))), make_config())


FRACTIONS = [(0.1, 0.1), (0.15, 0.15), (0.05, 0.05), (0.2, 0.2), (0.33, 0.33), (0.03, 0.12), (0.25, 0.1), (0.125, 0.2)]


@pytest.mark.real
@pytest.mark.parametrize(("validation", "test"), FRACTIONS)
def test_counts_of_the_real_nodule_cohort_are_on_target(real_labels, make_config, validation, test):
    """Within 0.2 % of the target, or within one image where 0.2 % is less; age bands within 1.5 %, or one image."""
    config = make_config(validation_fraction=validation, test_fraction=test)
    cohort = make_cohort(real_labels, config)
    assert len(cohort) == 36_512  # (60,361 + 1) // 2 healthy and 6,331 nodule images, by the release's own counts.
    assert cohort.groupby("patient_id")["subset"].nunique().max() == 1
    tolerances = {"label": 0.002, "view_position": 0.002, "patient_sex": 0.002, "band": 0.015, "all": 0.002}
    cohort = cohort.assign(band=cohort["patient_age"] // 20, all=1)
    fractions = pd.Series({"train": 1 - validation - test, "validation": validation, "test": test})
    for column, tolerance in tolerances.items():
        for _, rows in cohort.groupby(column):
            target = fractions * len(rows)
            deviation = (rows["subset"].value_counts().reindex(SUBSETS, fill_value=0) - target).abs()
            assert (deviation <= np.maximum(tolerance * target, 1.2)).all(), (column, deviation)
    patients = cohort.groupby("subset")["patient_id"].nunique()
    assert ((patients - fractions * cohort["patient_id"].nunique()).abs() <= 1).all()


@pytest.mark.real
def test_test_sets_of_two_seeds_overlap_as_by_chance(real_labels, make_config):
    """A tenth of 18,614 patients drawn twice has a tenth in common, with a standard deviation of 0.7 points."""
    config = {"validation_fraction": 0.1, "test_fraction": 0.1}
    cohorts = [make_cohort(real_labels, make_config(**config, seed=seed)) for seed in range(4)]
    patients = [set(cohort.loc[cohort["subset"] == "test", "patient_id"]) for cohort in cohorts]
    overlaps = [len(a & b) / len(a) for a, b in itertools.pairwise(patients)]
    assert np.mean(overlaps) == pytest.approx(0.1, abs=0.02)


def test_findings_task_keeps_all_images_with_the_nihs_string_as_label(phantom_labels, make_config):
    cohort = make_cohort(phantom_labels, make_config(task="findings", healthy_stride=1))
    assert list(cohort["image_name"]) == list(phantom_labels["image_name"])
    assert list(cohort["label"]) == [label_string(findings) for findings in phantom_labels["findings"]]
    assert list(cohort["positive"]) == ["Nodule" in findings for findings in phantom_labels["findings"]]
    assert cohort.groupby("patient_id")["subset"].nunique().max() == 1


def test_indicators_have_a_column_for_each_of_the_14_findings_and_for_none(phantom_labels, make_config):
    config = make_config(task="findings", healthy_stride=1)
    cohort = make_cohort(phantom_labels, config)
    indicators = class_indicators(cohort, config)
    assert list(indicators) == [*FINDINGS, "No Finding"]
    for finding in FINDINGS:
        assert list(indicators[finding]) == [finding in findings for findings in phantom_labels["findings"]]
    assert list(indicators["No Finding"]) == [not findings for findings in phantom_labels["findings"]]


@pytest.mark.real
@pytest.mark.parametrize("split", ["official", "stratified"])
def test_findings_of_the_real_release_are_balanced_all_at_once(real_dir, real_labels, make_config, split):
    """Shares in a subset within 0.5 % of those in the whole, Hernia 2.5 %, views, sexes and ages 0.6 %, sizes 0.05."""
    config = make_config(task="findings", healthy_stride=1, split=split, validation_fraction=0.125, test_fraction=0.125)
    lists = {subset: frozenset((real_dir / name).read_text().split()) for subset, name in OFFICIAL_LISTS.items()}
    cohort = make_cohort(real_labels, config, lists)
    assert len(cohort) == 112_120
    assert cohort.groupby("patient_id")["subset"].nunique().max() == 1
    if split == "official":
        in_test = cohort["subset"] == "test"
        assert set(cohort.loc[in_test, "image_name"]) == lists["test"]
        cohort = cohort[~in_test]
    columns = class_indicators(cohort, config)
    for column in ("view_position", "patient_sex"):
        columns = columns.join(pd.get_dummies(cohort[column]))
    columns = columns.join(pd.get_dummies(cohort["patient_age"] // 20, prefix="age"))
    tolerance = pd.Series(0.006, columns.columns)
    tolerance[[*FINDINGS]], tolerance["Hernia"] = 0.005, 0.025
    for subset in {*cohort["subset"]} - {"train"}:
        inside = cohort["subset"] == subset
        ratio = columns[inside].mean() / columns.mean()
        assert ((ratio - 1).abs() <= tolerance).all(), ratio
        patients = cohort.loc[inside, "patient_id"].nunique() / cohort["patient_id"].nunique()
        assert (inside.mean(), patients) == (pytest.approx(0.125, abs=0.0005), pytest.approx(0.125, abs=0.0005))

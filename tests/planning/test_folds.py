"""Tests of folds: patients whole, balanced as subsets are, copies apart, and weights of each training set."""

import pytest

from nih_chest_xray.planning.cohort import class_indicators, make_cohort
from nih_chest_xray.planning.manifest import make_manifest
from nih_chest_xray.planning.summary import split_digests, summarise
from nih_chest_xray.tables.official_lists import read_official_lists
from nih_chest_xray.vocabulary import FINDINGS, OFFICIAL_LISTS

FOLDS = [f"fold_{number}" for number in range(5)]


@pytest.fixture
def folds(make_config):
    def make(**fields):
        return make_config(**{"split": "folds", "folds": 5} | fields)

    return make


def official_lists(phantom):
    tables = phantom.tables()
    return read_official_lists({subset: (tables[name], name) for subset, name in OFFICIAL_LISTS.items()})


@pytest.mark.parametrize(("number", "share"), [(5, 0.2), (2, 0.5), (3, 0)])
def test_each_patient_is_in_one_fold_or_in_test_and_all_folds_have_as_many(phantom_labels, folds, number, share):
    cohort = make_cohort(phantom_labels, folds(folds=number, test_fraction=share))
    names = [f"fold_{fold}" for fold in range(number)]
    assert set(cohort["subset"]) == {*names, *(["test"] if share else [])}
    assert (cohort.groupby("patient_id")["subset"].nunique() == 1).all()
    patients = cohort.groupby("subset")["patient_id"].nunique()
    assert patients[names].max() - patients[names].min() <= 1
    total = cohort["patient_id"].nunique()
    assert patients.get("test", 0) == pytest.approx(share * total, abs=1)


def test_with_the_official_test_list_only_the_other_images_are_divided(phantom, phantom_labels, folds):
    official = official_lists(phantom)
    config = folds(task="findings", healthy_stride=1, official_test=True, test_fraction=0)
    cohort = make_cohort(phantom_labels, config, official)
    assert set(cohort.loc[cohort["subset"] == "test", "image_name"]) == official["test"]
    assert set(cohort.loc[cohort["subset"].isin(FOLDS), "image_name"]) == official["train_val"]


def test_copies_of_a_fold_are_in_a_subset_of_their_own_and_test_has_none(phantom_labels, folds):
    config = folds(augmented_copies=2)
    cohort = make_cohort(phantom_labels, config)
    manifest = make_manifest(cohort, config, {})
    fold_of = dict(zip(cohort["image_name"], cohort["subset"], strict=True))
    copies = manifest[manifest["augmentation"] != "none"]
    assert list(copies["subset"]) == [f"{fold_of[name]}_augmented" for name in copies["source_name"]]
    nodules = cohort[(cohort["label"] == "Nodule") & (cohort["subset"] != "test")]
    assert sorted(copies["source_name"]) == sorted([*nodules["image_name"]] * 2)
    originals = manifest[manifest["augmentation"] == "none"]
    assert list(originals["subset"]) == list(cohort["subset"])


def test_the_weights_of_a_training_set_are_of_the_other_folds_and_their_copies(phantom_labels, folds):
    config = folds(augmented_copies=1)
    manifest = make_manifest(make_cohort(phantom_labels, config), config, {})
    summary = summarise(manifest, config)
    assert "class_weights" not in summary
    for fold in FOLDS:
        others = [name for other in FOLDS if other != fold for name in (other, f"{other}_augmented")]
        train = manifest.loc[manifest["subset"].isin(others), "label"]
        # Both classes get the same total: half of the examples each.
        expected = {name: len(train) / 2 / (train == name).sum() for name in ("No Finding", "Nodule")}
        assert summary["fold_class_weights"][fold] == pytest.approx(expected)


def test_several_findings_have_a_positive_weight_in_each_training_set(phantom, phantom_labels, folds):
    config = folds(task="findings", healthy_stride=1, official_test=True)
    cohort = make_cohort(phantom_labels, config, official_lists(phantom))
    weights = summarise(make_manifest(cohort, config, {}), config)["fold_positive_weights"]
    assert list(weights) == FOLDS
    train = cohort[cohort["subset"].isin(FOLDS) & (cohort["subset"] != "fold_2")]
    for finding in FINDINGS:
        number = sum(finding in findings for findings in train["findings"])
        assert weights["fold_2"][finding] == (pytest.approx((len(train) - number) / number) if number else None)


def test_folds_do_not_depend_on_the_order_of_rows_and_change_with_the_seed(phantom_labels, folds):
    digests = [
        split_digests(make_cohort(table, folds(seed=seed)), FOLDS)
        for table, seed in ((phantom_labels, 0), (phantom_labels[::-1], 0), (phantom_labels, 1))
    ]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


@pytest.mark.parametrize("fields", [{"official_test": True}, {"test_fraction": 0}, {"folds": 10, "test_fraction": 0.2}])
def test_on_the_real_table_every_findings_share_is_within_a_percent_or_an_image(real_dir, real_labels, folds, fields):
    config = folds(task="findings", healthy_stride=1, **fields)
    lists = {subset: ((real_dir / name).read_bytes(), name) for subset, name in OFFICIAL_LISTS.items()}
    cohort = make_cohort(real_labels, config, read_official_lists(lists))
    cohort = cohort[cohort["subset"] != "test"]
    counts = class_indicators(cohort, config)[list(FINDINGS)].groupby(cohort["subset"]).sum()
    assert len(counts) == config.folds
    fair = counts.sum() / config.folds
    within = (0.01 * fair).clip(lower=1)  # Hernia has 14 to 45 images a fold.
    assert ((counts - fair).abs() < within).all(axis=None)
    # In five folds an image of Hernia is 2.2 or 3.5 % of the share, so that no split comes closer than this.
    hernia = (counts["Hernia"] / fair["Hernia"] - 1).abs().max()
    assert hernia <= 0.03 or config.folds == 10

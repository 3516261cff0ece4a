"""Tests of evaluate: scores and a built dataset in, figures out, and what an evaluation refuses or tells."""

import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import tensorflow_datasets as tfds
from conftest import build
from sklearn.metrics import average_precision_score, roc_auc_score

import nih_chest_xray
from nih_chest_xray.errors import ScoreError, UsageError
from nih_chest_xray.evaluation import caveats
from nih_chest_xray.evaluation.evaluate import run
from nih_chest_xray.vocabulary import FINDINGS, IMAGES, IMAGES_WITH, LABEL_FILES

FEW = {"bootstrap": 20}


def figure(table, metric="roc_auc", finding="Nodule", network="network", group="all"):
    """The one figure of the bootstrap that has this subject."""
    keys = {"metric": metric, "finding": finding, "network": network, "group": group, "method": "patient bootstrap"}
    [row] = table[(table[list(keys)] == list(keys.values())).all(axis=1)].to_dict("records")
    return row


def caveats_of(scores, dataset, **options):
    return " ".join(run(scores, dataset, **FEW, **options).caveats)


def test_figures_are_scikit_learns_with_their_n(sound, made, rows_of):
    scores, rows = made(sound), rows_of(sound, "test")
    truth = [int(row["label"] == "Nodule") for row in rows]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        table = nih_chest_xray.evaluate(scores, sound, **FEW)
    assert "text-mined" in str(told[0].message)
    auroc = figure(table)
    assert auroc["estimate"] == pytest.approx(roc_auc_score(truth, scores["score"]))
    precision = figure(table, "average_precision")
    assert precision["estimate"] == pytest.approx(average_precision_score(truth, scores["score"]))
    patients = {row["patient_id"] for row in rows}
    assert (auroc["images"], auroc["patients"], auroc["positives"]) == (len(rows), len(patients), sum(truth))
    assert table[["images", "patients", "positives"]].notna().all(axis=None)
    at_release = figure(table, "average_precision_at_prevalence")
    assert at_release["note"].startswith(f"at {IMAGES_WITH['Nodule'] / IMAGES:.2%} positives")


def test_arrays_in_the_order_of_the_dataset_give_the_same_figures(sound, made):
    scores = made(sound).set_index("image_name")["score"]
    test = tfds.builder_from_directory(sound).as_dataset(split="test")
    in_order = [scores[example["image_name"].decode()] for example in tfds.as_numpy(test)]
    expected = run(scores.to_dict(), sound, **FEW).figures
    builder = tfds.builder_from_directory(sound)
    named = (scores, scores.to_frame(), scores.rename("other"))
    for given in (*named, in_order, np.array(in_order)[:, None], np.array(in_order, np.float32).astype(float)):
        found = run(given, builder, **FEW).figures
        np.testing.assert_allclose(found["estimate"], expected["estimate"], atol=1e-6)


def test_the_paired_difference_is_of_the_same_images(sound, made):
    done = run(made(sound), sound, compare=made(sound, seed=1), names=("old", "new"), by=["patient_sex"], **FEW)
    table = done.figures
    old, new, difference = (figure(table, network=name) for name in ("old", "new", "new - old"))
    assert difference["estimate"] == pytest.approx(new["estimate"] - old["estimate"])
    assert "DeLong, for patients (Obuchowski 1997)" in set(table["method"])
    assert (table["is_difference"] == table["network"].eq("new - old") | table["group"].str.contains(" - ")).all()
    assert table.loc[~table["is_difference"], "holds"].isna().all()


def test_thresholds_are_chosen_on_validation_if_its_scores_are_given(sound, made, rows_of):
    validation = made(sound, "validation")
    table = run(made(sound), sound, validation=[validation], **FEW).figures
    truth = np.array([row["label"] == "Nodule" for row in rows_of(sound, "validation")])
    negatives = validation["score"][~truth]
    fits = [score for score in sorted(validation["score"]) if (negatives < score).mean() >= 0.9]
    assert f"threshold {fits[0]:.4g}, given" in figure(table, "sensitivity_at_90_specificity")["note"]
    test = np.array([row["label"] == "Nodule" for row in rows_of(sound, "test")])
    at = (made(sound)["score"] >= fits[0]).to_numpy()
    assert figure(table, "specificity_at_90_threshold")["estimate"] == pytest.approx(1 - at[~test].mean())
    with pytest.raises(ScoreError, match="2 scores of validation for 1 network"):
        run(made(sound), sound, validation=[validation] * 2, **FEW)


def test_several_classes_have_a_mean_and_one_alone_may_be_scored(catalog_data, rows_of):
    folder = catalog_data / "nih_chest_xray/many/2.0.0"
    rng = np.random.default_rng(0)
    names = [row["image_name"] for row in rows_of(folder, "test")]
    scores = pd.DataFrame(rng.uniform(size=(len(names), 14)), index=names, columns=FINDINGS)
    table = run(scores, folder, **FEW).figures
    assert set(table["finding"]) == {*FINDINGS, "mean"}
    table = run(scores[["Nodule"]], folder, **FEW).figures
    assert set(table["finding"]) == {"Nodule"}
    with pytest.raises(ScoreError, match="the networks score other classes; both score Nodule"):
        run(scores, folder, compare=scores[["Nodule"]], **FEW)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"split": "train"}, "train is for training.*Evaluate on validation or test"),
        ({"split": "fold_0_augmented"}, "is for training"),
        ({"split": "fold_0"}, "has no subset 'fold_0'; expected one of train, validation, test"),
        ({"split": "x\x1b"}, r"has no subset 'x\\x1b'"),
        ({"against": "truth"}, "--against is 'truth'; expected one of label, findings"),
        ({"against": "expert_labels"}, "has no expert_labels; configs that radiologists evaluate have"),
        ({"by": ["height"]}, "--by has 'height'; expected some of patient_sex"),
        ({"bootstrap": 1}, "bootstrap is 1 and seed 0; expected from 2"),
        ({"bootstrap": 10**9}, "expected from 2 to 100,000"),
        ({"seed": -1}, "a seed of at least 0"),
        ({"names": ("a", "a"), "compare": {}}, "both networks are called a"),
    ],
)
def test_options_that_cannot_mean_anything_are_refused(sound, made, options, expected):
    with pytest.raises(UsageError, match=expected):
        run(made(sound), sound, **options)


def test_a_folder_with_several_datasets_is_refused(catalog_data, made, sound):
    with pytest.raises(UsageError, match="has the datasets drawn, listed, many; name one's folder"):
        run(made(sound), catalog_data)


def test_a_network_must_not_have_seen_the_patients(sound, expert, made, rows_of):
    trained = {row["patient_id"] for row in rows_of(sound, "train")}
    shared = {row["patient_id"] for row in rows_of(expert, "test")} & trained
    assert shared
    with pytest.raises(UsageError, match=f"{len(shared)} of the .* are in the training subset of nih_chest_xray/built"):
        run(made(expert), expert, trained_on=sound)
    told = caveats_of(made(sound), sound, trained_on=sound)
    assert f"No patient of test is in the training subset of nih_chest_xray/built, {len(trained)} patients." in told


def test_a_dataset_without_training_cannot_show_that_patients_are_others(sound, made, phantom_dir, tmp_path):
    """With the images of one test patient alone nothing is left that a network could have been trained on."""
    name = made(sound)["image_name"].iloc[0]
    part = tmp_path / "part"
    shutil.copytree(phantom_dir, part, ignore=shutil.ignore_patterns("*.png"))
    shutil.copy(next(phantom_dir.rglob(name)), part / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = build(part, tmp_path / "data", image_size=16, healthy_stride=4, allow_missing_images=True)
    with pytest.raises(UsageError, match="has no training subset"):
        run(made(sound), sound, trained_on=folder)


def test_what_is_odd_about_scores_is_told(sound, made):
    scores = made(sound)
    assert "are no probabilities" in caveats_of(scores.assign(score=100 * scores["score"]), sound)
    assert "all scores of Nodule are equal" in caveats_of(scores.assign(score=0.5), sound)
    validation = made(sound, "validation")
    told = caveats_of(scores, sound, validation=[validation.assign(score=100 * validation["score"])])
    assert "is outside the scores that are evaluated" in told
    assert "20 resamples are few" in caveats_of(scores, sound)
    plain = " ".join(run(scores, sound, validation=validation, bootstrap=500).caveats)
    assert all(word not in plain for word in ("no probabilities", "equal", "outside", "resamples", "inverted"))


def test_scores_that_are_inverted_are_told():
    figures = pd.DataFrame(
        {
            "metric": "roc_auc",
            "group": "all",
            "is_difference": False,
            "network": "a",
            "finding": ["Nodule", "Mass"],
            "high": [0.49, 0.51],
        }
    )
    scores = {"a": pd.DataFrame({"Nodule": [0.1, 0.2], "Mass": [0.1, 0.2]})}
    [told] = caveats.of_scores(scores, figures, {}, 2000)
    assert told == "a: the AUROC of Nodule is below that of chance. Are the scores inverted?"


def test_thresholds_are_not_chosen_on_what_is_evaluated(sound, made):
    validation = made(sound, "validation")
    with pytest.raises(UsageError, match="validation is evaluated: thresholds"):
        run(validation, sound, split="validation", validation=[validation])


def test_a_reader_is_told_what_the_truth_is(sound, expert, made, catalog_data):
    assert "text-mined" in caveats_of(made(sound), sound)
    assert "other findings are left out" in caveats_of(made(sound), sound)
    assert "text-mined" not in caveats_of(made(expert), expert)
    assert "617 of 860" in caveats_of(made(expert), expert)
    assert "text-mined" in caveats_of(made(expert), expert, against="findings")
    assert "if a reader says yes" in caveats_of(made(expert), expert, against="reader_votes")
    assert "scores better here than on new patients" in caveats_of(made(sound, "validation"), sound, split="validation")
    drawn = catalog_data / "nih_chest_xray/drawn/2.0.0"
    assert "nothing about patients" in caveats_of(made(drawn), drawn)
    assert "text-mined" not in caveats_of(made(drawn), drawn)


def test_a_trial_build_and_missing_images_are_told(phantom_dir, made, tmp_path):
    config = nih_chest_xray.NihChestXrayConfig(name="trial", image_size=16, test_fraction=0.3)
    builder = nih_chest_xray.Builder(config=config, data_dir=tmp_path)
    download = tfds.download.DownloadConfig(manual_dir=phantom_dir, max_examples_per_split=12)
    builder.download_and_prepare(download_config=download)
    assert "A trial build" in caveats_of(made(builder.data_path), builder)

    part = shutil.copytree(phantom_dir, tmp_path / "part")
    folder = build(phantom_dir, tmp_path / "whole", image_size=16)
    for name in made(folder)["image_name"][:2]:
        next(part.rglob(name)).unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = build(part, tmp_path / "data", image_size=16, allow_missing_images=True)
    assert "2 images of the config, in all subsets, were missing" in caveats_of(made(folder), folder)


def test_a_fold_is_evaluated_as_such(phantom_dir, tmp_path, made):
    folder = build(phantom_dir, tmp_path, split="folds", folds=3, augmented_copies=1, image_size=16)
    assert "fold_0 is a fold" in caveats_of(made(folder, "fold_0").pipe(without_copies), folder, split="fold_0")
    with pytest.raises(UsageError, match="fold_0_augmented is for training.*fold_0 or fold_1"):
        run({}, folder, split="fold_0_augmented")


def without_copies(scores):
    return scores[~scores["image_name"].str.contains("_aug")]


def test_no_positive_image_is_told(sound, made, rows_of, catalog_data):
    folder = catalog_data / "nih_chest_xray/many/2.0.0"
    absent = [
        name for name in FINDINGS if not any(name in row["findings"].split("|") for row in rows_of(folder, "test"))
    ]
    scores = pd.DataFrame(0.5, index=[row["image_name"] for row in rows_of(folder, "test")], columns=FINDINGS)
    told = caveats_of(scores, folder)
    assert absent
    assert all(f"{name}: no image of test is positive" in told for name in absent)


@pytest.mark.real
def test_the_releases_prevalences_are_those_of_its_table(real_dir):
    table = pd.read_csv(real_dir / LABEL_FILES[0])
    findings = table["Finding Labels"].str.split("|").explode().value_counts()
    assert len(table) == IMAGES
    assert {name: findings[name] for name in FINDINGS} == IMAGES_WITH

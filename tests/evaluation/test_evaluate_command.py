"""Tests of `nih-chest-xray evaluate`: what it prints, how it ends, and that a mistake writes nothing."""

import json
import re

import numpy as np
import pytest

from nih_chest_xray.__main__ import main


@pytest.fixture
def files(sound, made, tmp_path):
    """Files of scores of two networks, and a module with a function."""
    made(sound).to_csv(tmp_path / "old.csv", index=False)
    made(sound, seed=1).to_parquet(tmp_path / "new.parquet")
    made(sound, "validation").to_csv(tmp_path / "validation.csv", index=False)
    return tmp_path


def run(files, *arguments, monkeypatch):
    monkeypatch.chdir(files)
    return main(["evaluate", *map(str, arguments)])


def test_figures_are_printed_with_their_n_and_caveats_as_warnings(sound, files, capsys, monkeypatch):
    assert run(files, "old.csv", sound, "--bootstrap=20", monkeypatch=monkeypatch) == 0
    out, err = capsys.readouterr()
    assert re.search(r"nih_chest_xray/built 2.0.0, test, against label: \d+ images of \d+ patients", out)
    assert re.search(r"old, Nodule: \d+ images, \d+ patients, \d+ positive\n  AUROC +0\.\d{3}", out)
    assert "warning: The truth is text-mined" in err
    assert {path.name for path in files.iterdir()} == {"old.csv", "new.parquet", "validation.csv"}


def test_two_networks_with_all_options_make_a_report(sound, files, capsys, monkeypatch):
    (files / "my_model.py").write_text("def predict(images):\n    return (images < 3).mean(axis=(1, 2, 3))\n")
    arguments = ["old.csv", sound.parent, "--compare=new.parquet", "--by=patient_sex,age", "--shortcuts"]
    arguments += ["my_model:predict", "--bootstrap=20", "--out=report", "--trained_on", sound]
    assert (
        run(files, *arguments, "--validation=validation.csv", "--validation=validation.csv", monkeypatch=monkeypatch)
        == 0
    )
    out, err = capsys.readouterr()
    assert out.rstrip().endswith("Report: report/index.html")
    assert "Specificity at the threshold for 90 %" in out
    assert "corners blackened" in out
    assert "No patient of test is in the training subset" in err
    content = json.loads((files / "report/metrics.json").read_text())
    assert content["networks"] == ["old", "new"]


MISTAKES = {
    "no such file": (["none.csv"], "none.csv does not exist"),
    "no such dataset": (["old.csv", "nowhere"], "nowhere is not a directory"),
    "no dataset": (["old.csv", "."], "holds no built nih_chest_xray dataset"),
    "another subset": (["validation.csv"], "The scores are of images of validation"),
    "training": (["old.csv", "--split=train"], "train is for training"),
    "itself": (["old.csv", "--compare=old.csv"], "old.csv is compared with itself"),
    "the dataset's folder": (["old.csv", "--out=DATASET/report"], "is in a dataset"),
    "a folder that holds something": (["old.csv", "--out=."], "exists; name another folder"),
    "no module": (["old.csv", "--shortcuts=missing:predict"], "ModuleNotFoundError"),
    "one resample": (["old.csv", "--bootstrap=1"], "expected from 2 to"),
    "trained on no dataset": (["old.csv", "--trained-on=."], "holds no built"),
    "a function that fails": (["old.csv", "--shortcuts=math:sqrt"], "the function of --shortcuts failed"),
    "validation for nobody": (["old.csv", *["--validation=validation.csv"] * 2], "2 scores of validation for 1"),
}


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(sound, files, arguments, expected, capsys, monkeypatch):
    arguments = [argument.replace("DATASET", str(sound)) for argument in arguments]
    if len(arguments) < 2 or arguments[1].startswith("--"):
        arguments.insert(1, str(sound))
    if not any(argument.startswith("--out") for argument in arguments):
        arguments.append("--out=report")
    if not any(argument.startswith("--bootstrap") for argument in arguments):
        arguments.append("--bootstrap=2")
    before = {path.name for path in files.iterdir()}
    assert run(files, *arguments, monkeypatch=monkeypatch) == 2
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("nih-chest-xray evaluate: ")
    assert expected in line
    assert {path.name for path in files.iterdir()} == before
    assert not (sound / "report").exists()


def test_networks_with_files_of_one_name_are_told_apart(sound, files, made, capsys, monkeypatch):
    (files / "other").mkdir()
    made(sound, seed=2).to_csv(files / "other/old.csv", index=False)
    assert run(files, "old.csv", sound, "--compare=other/old.csv", "--bootstrap=2", monkeypatch=monkeypatch) == 0
    assert "other/old.csv - old.csv, Nodule: " in capsys.readouterr().out


def test_a_score_that_is_missing_is_named(sound, files, made, capsys, monkeypatch):
    table = made(sound)
    table["score"] = table["score"].where(np.arange(len(table)) != 3)
    table.to_csv(files / "gap.csv", index=False)
    assert run(files, "gap.csv", sound, monkeypatch=monkeypatch) == 2
    assert f"{table['image_name'][3]}: Nodule is nan" in capsys.readouterr().err


def test_text_mined_labels_are_scores_like_any_other(expert, rows_of, files, capsys, monkeypatch):
    """Of a score of 0 or 1 sensitivity and specificity follow from four counts."""
    counts = {}
    for subset in ("validation", "test"):
        rows = rows_of(expert, subset)
        lines = [f"{row['image_name']},{int(row['text_mined_label'] == 'Nodule or mass')}" for row in rows]
        (files / f"mined_{subset}.csv").write_text("\n".join(["image_name,score", *lines]))
        counts[subset] = [
            [sum((row["label"], row["text_mined_label"]) == (truth, mined) for row in rows) for mined in CLASSES]
            for truth in CLASSES
        ]
    arguments = ["mined_test.csv", expert, "--validation=mined_validation.csv", "--bootstrap=2", "--out=report"]
    assert run(files, *arguments, monkeypatch=monkeypatch) == 0
    figures = json.loads((files / "report/metrics.json").read_text())["figures"]
    found = {figure["metric"]: figure["estimate"] for figure in figures}
    (both_no, mined_only), (experts_only, both) = counts["test"]
    sensitivity, specificity = both / (both + experts_only), both_no / (both_no + mined_only)
    assert found["roc_auc"] == pytest.approx((sensitivity + specificity) / 2)


CLASSES = ("No nodule or mass", "Nodule or mass")

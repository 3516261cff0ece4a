"""Tests of the guide to evaluating: each of its blocks runs as it stands there, with small files in their places."""

import shlex

import blocks
import keras
import pytest

from nih_chest_xray.__main__ import main

COMMANDS = [line for code in blocks.blocks("evaluating", "bash") for line in code.splitlines()]
PYTHON = blocks.blocks("evaluating", "python")


@pytest.fixture
def place(sound, made, tmp_path, monkeypatch):
    """A folder with the files that the guide names."""
    made(sound).to_csv(tmp_path / "scores.csv", index=False)
    made(sound, seed=1).to_csv(tmp_path / "other.csv", index=False)
    made(sound, "validation").to_csv(tmp_path / "validation.csv", index=False)
    [code] = [code for code in PYTHON if "my_model.py" in code]
    (tmp_path / "my_model.py").write_text(code)
    images = keras.Input((64, 64, 1))
    score = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    keras.Model(images, score).save(tmp_path / "network.keras")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_guide_runs(command, place, sound, capsys):
    words = {"DATASET": str(sound), "TRAINED": str(sound), "CONFIG/baseline": "baseline"}
    program, *arguments = [words.get(word, word) for word in shlex.split(command)]
    assert program == "nih-chest-xray"
    assert main([*arguments, "--bootstrap=20"]) == 0
    assert "AUROC" in capsys.readouterr().out
    assert (place / "baseline").exists() == ("--out" in command)


@pytest.mark.filterwarnings("ignore")
def test_python_of_the_guide_evaluates_scores(sound, made, capsys):
    [code] = [code for code in PYTHON if "nih_chest_xray.evaluate(" in code]
    scores = made(sound).set_index("image_name")["score"].to_dict()
    exec(code.replace('"DATASET"', repr(str(sound))), {"scores": scores})
    assert {"all", "F", "M"} <= set(capsys.readouterr().out.split())


def test_python_of_the_guide_evaluates_readers(phantom_dir):
    [code] = [code for code in PYTHON if "evaluate_readers" in code]
    [file] = phantom_dir.rglob("individual_readers.csv")
    left: dict = {}
    exec(code.replace("DIR/four_findings_expert_labels/individual_readers.csv", str(file)), left)
    assert set(left["table"]["metric"]) == {"sensitivity", "specificity"}
    assert len(left["table"]) == 2 * left["readings"]["reader"].nunique()


def test_every_block_of_the_guide_is_run_above():
    assert len(PYTHON) == 3
    assert len(COMMANDS) == 6
    assert all(line.startswith("nih-chest-xray evaluate ") for line in COMMANDS)

"""Tests that `tfds.testing.mock_data` stands in for every config, where nothing was built, and writes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

import nih_chest_xray
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.vocabulary import SUBSETS

# In a process of its own, with a home of its own, since TFDS and what it imports look up the home but once.
PROGRAM = """
import json, sys
import tensorflow_datasets as tfds

names, place, mock, late = json.loads(sys.argv[1])
if not late:
    import nih_chest_xray
with tfds.testing.mock_data(num_examples=5, **mock):
    import nih_chest_xray

    for name in names:
        assert len(list(tfds.load(name, split="train", **place))) == 5
        validation, test = tfds.load(name, split=["validation", "test[:50%]"], **place)
        assert len(list(validation)) == len(list(test)) == 5
        pairs = tfds.load(name, split="train", as_supervised=True, **place)
        images, labels = next(iter(pairs.batch(2)))
        assert images.shape == (2, 512, 512, 1) and labels.shape[0] == 2
        [batch] = tfds.load(name, split="train", batch_size=5, **place)
        assert batch["image"].shape == (5, 512, 512, 1)
        source = tfds.data_source(name, split="train", **place)
        assert len(source) == 5 and source[4]["image"].shape == (512, 512, 1)
        builder = tfds.builder(name, **place)
        builder.download_and_prepare()
        assert len(list(builder.as_dataset(split="test"))) == 5
    print(json.dumps(sorted(tfds.load(name, **place))))
"""


@pytest.fixture
def run(tmp_path):
    """Runs the program in an empty home, which has to stay so, and returns the subsets that the last name has.

    TFDS's folder that takes the place of the data_dir has to stay as it is too.
    """
    home, caches = tmp_path / "home", tmp_path / "caches"
    home.mkdir()
    # Keras and Matplotlib, which TensorFlow brings in, have caches of their own.
    elsewhere = {name: str(caches / name) for name in ("KERAS_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME")}
    root = str(Path(__file__).parent.parent)
    environment = os.environ | elsewhere | {"HOME": str(home), "USERPROFILE": str(home), "PYTHONPATH": root}
    mocked = Path(tfds.testing.__file__).parent / "metadata"

    def run(names, place=None, mock=None, late=False):
        before = sorted(mocked.rglob("*nih_chest_xray*"))
        command = [sys.executable, "-c", PROGRAM, json.dumps([names, place or {}, mock or {}, late])]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert list(home.iterdir()) == []
        assert sorted(mocked.rglob("*nih_chest_xray*")) == before
        return json.loads(done.stdout)

    return run


def test_every_config_can_be_mocked_and_nothing_is_written(run):
    run([f"nih_chest_xray/{config.name}" for config in NAMED_CONFIGS])


@pytest.mark.slow
def test_also_with_a_data_dir_and_when_the_package_is_imported_late(run, tmp_path):
    run(["nih_chest_xray"], place={"data_dir": str(tmp_path / "data")}, late=True)
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_datasets_small_files_give_the_mock_its_subsets(run, phantom_dir, tmp_path):
    """As TFDS advises. Without its records the dataset is not whole, but nothing is said of that, or built."""
    builder = nih_chest_xray.Builder(config="nodule", data_dir=tmp_path / "data", file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=phantom_dir))
    for shard in builder.data_path.glob("*.array_record*"):
        shard.unlink()
    before = sorted((tmp_path / "data").rglob("*"))
    assert run(["nih_chest_xray/nodule"], mock={"data_dir": str(tmp_path / "data")}) == sorted(SUBSETS)
    assert sorted((tmp_path / "data").rglob("*")) == before

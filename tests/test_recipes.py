"""Tests of the guide to training: each of its blocks runs as it stands there, on the sample config."""

import functools
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import blocks
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn.metrics import roc_auc_score

from nih_chest_xray.catalog.datasets import find_datasets
from nih_chest_xray.catalog.loading import snippets

# They build the sample at its full size. CI builds it from the wheel, too.
pytestmark = pytest.mark.slow

TITLES = (
    *("Keras", "PyTorch", "Scores with PyTorch", "JAX", "Scores with JAX"),
    *("Some features only", "Throughput", "Several machines"),
)
TRAINING_EXAMPLES = 101
recipe = functools.partial(blocks.recipe, "training")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A home folder in which the guide's own commands have built the sample, and added a second format."""
    folder = tmp_path_factory.mktemp("home")
    [commands] = blocks.blocks("training", "bash")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HOME": str(folder)}
    environment.pop("TFDS_DATA_DIR", None)
    subprocess.run(["bash", "-ec", commands], cwd=folder, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
def run(home, monkeypatch, tmp_path):
    """Runs code in a namespace of its own, where its reader would; returns what it leaves there."""
    # TFDS has read TFDS_DATA_DIR by now, since it does so when it is imported.
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(home / "tensorflow_datasets"))
    assert Path(tfds.builder("nih_chest_xray/sample").data_dir).is_relative_to(home)
    monkeypatch.chdir(home)

    def run_code(code: str) -> dict:
        script = tmp_path / "recipe.py"
        script.write_text(code)
        return runpy.run_path(str(script), run_name="__main__")

    return run_code


def need(module: str, name: str) -> None:
    """Skips a test without what it needs: PyTorch is no dependency of the tests, since it brings gigabytes of CUDA."""
    try:
        __import__(module)
    except ImportError:
        pytest.skip(f"{name} is not installed")


def auroc_of(figures) -> float:
    """The AUROC in a table of figures, of all of the test subset's 22 images."""
    [row] = figures[(figures["metric"] == "roc_auc") & (figures["group"] == "all")].to_dict("records")
    assert row["images"] == 22
    return row["estimate"]


def names_of(dataset) -> list[bytes]:
    return [example["image_name"].numpy() for example in dataset]


def test_every_block_of_the_guide_is_run_by_a_test_below():
    assert blocks.blocks("training", "python") == [recipe(title) for title in TITLES]


def test_the_readmes_lines_load_batches(run):
    [code] = blocks.blocks("README", "python")
    left = run(code)
    assert left["image"].shape[1:] == (512, 512, 1)
    assert left["image"].dtype == tf.uint8
    assert set(left["label"].numpy()) <= {0, 1}
    assert len(left["train"]) == TRAINING_EXAMPLES


def test_keras_recipe_learns_to_find_nodules(run):
    left = run(recipe("Keras"))
    # A class with few examples weighs more; in the sample, copies make nodules the larger one.
    assert left["class_weight"] == {0: pytest.approx(101 / 2 / 35), 1: pytest.approx(101 / 2 / 66)}
    assert {"auroc", "val_auroc"} <= set(left["history"].history)
    assert all(0 <= value <= 1 for value in left["history"].history["val_auroc"])
    labels, scores = [], []
    for image, label in left["test"]:
        labels.extend(label.numpy())
        scores.extend(left["model"].predict(image, verbose=0).ravel())
    assert len(labels) == 22
    assert roc_auc_score(labels, scores) >= 0.9
    # Augmentation is for training only: a second look gives the same scores.
    again = left["model"].predict(left["test"], verbose=0).ravel()
    assert np.allclose(again, scores, atol=1e-4)
    assert auroc_of(left["figures"]) == pytest.approx(roc_auc_score(labels, left["scores"].ravel()))


def test_pytorch_recipe_gives_each_example_once_with_its_label(run):
    need("torch", "PyTorch")
    import torch

    left = run(recipe("PyTorch"))
    source, loader = left["source"], left["loader"]
    assert len(source) == TRAINING_EXAMPLES
    [images, labels] = left["collate"]([source[0], source[1]])
    assert images.shape == (2, 512, 512, 1)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert np.array_equal(images[1].numpy(), source[1]["image"])
    assert left["images"].shape == (5, 1, 512, 512)
    assert left["images"].dtype == torch.float32
    assert 0 <= left["images"].min() < left["images"].max() <= 1
    assert labels.tolist() == [source[0]["label"], source[1]["label"]]
    batches = [labels for _, labels in loader]
    assert [len(batch) for batch in batches] == [32, 32, 32, 5]
    assert torch.bincount(torch.cat(batches)).tolist() == [35, 66]


def test_scores_of_a_pytorch_network_are_in_the_order_of_the_dataset(run):
    need("torch", "PyTorch")
    left = run(recipe("Scores with PyTorch"))
    labels = [int(example["label"]) for example in left["source"]]
    assert list(left["scores"]) == [example["image_name"] for example in left["source"]]
    assert auroc_of(left["figures"]) == pytest.approx(roc_auc_score(labels, list(left["scores"].values())))


def test_scores_of_a_jax_network_are_in_the_order_of_the_dataset(run):
    need("jax", "JAX")
    need("grain", "Grain")
    left = run(recipe("Scores with JAX"))
    labels = [int(example["label"]) for example in left["source"]]
    assert list(left["scores"]) == [example["image_name"] for example in left["source"]]
    assert auroc_of(left["figures"]) == pytest.approx(roc_auc_score(labels, list(left["scores"].values())))


def test_jax_recipe_gives_whole_batches_on_the_device(run):
    need("jax", "JAX")
    need("grain", "Grain")
    import jax
    import jax.numpy as jnp

    left = run(recipe("JAX"))
    assert isinstance(left["images"], jax.Array)
    assert (left["images"].shape, left["images"].dtype) == ((32, 512, 512, 1), jnp.float32)
    assert 0 <= float(left["images"].min()) < float(left["images"].max()) <= 1
    assert left["labels"].shape == (32,)
    assert set(left["labels"].tolist()) == {0, 1}
    batches = list(left["batches"])
    assert len(batches) == TRAINING_EXAMPLES // 32
    # No image comes twice, and the order is not that of the files.
    images = [image.tobytes() for batch in batches for image in batch["image"]]
    assert len(set(images)) == len(images)
    assert images[:32] != [left["source"][number]["image"].tobytes() for number in range(32)]


def test_partial_reading_leaves_out_what_is_not_named(run):
    left = run(recipe("Some features only"))
    assert set(left["ages"].element_spec) == {"image_name", "patient_age", "bboxes"}
    assert set(left["ages"].element_spec["bboxes"]) == {"bbox"}
    assert len(set(names_of(left["ages"]))) == TRAINING_EXAMPLES
    assert left["png"].startswith(b"\x89PNG")
    first = next(iter(tfds.load("nih_chest_xray/sample", split="train")))
    assert np.array_equal(tf.io.decode_png(left["png"]), first["image"])


def test_read_config_recipe_reads_every_example_once(run):
    left = run(recipe("Throughput"))
    options = left["train"].options()
    assert options.deterministic is False
    labels = np.concatenate([labels.numpy() for _, labels in left["train"]])
    assert np.bincount(labels).tolist() == [35, 66]
    assert left["read_config"].try_autocache is False


def test_parts_for_several_machines_are_disjoint_and_complete(run):
    need("jax", "JAX")
    left = run(recipe("Several machines"))
    whole = names_of(tfds.load("nih_chest_xray/sample", split="train"))
    parts = [names_of(tfds.load("nih_chest_xray/sample", split=part)) for part in left["parts"]]
    assert sorted(len(part) for part in parts) == [25, 25, 25, 26]
    assert sorted(name for part in parts for name in part) == sorted(whole)
    assert names_of(left["first"]) == parts[0]
    assert names_of(left["mine"]) == whole  # one process only
    # What tf.distribute calls on each of three machines.
    read = [left["read"](tf.distribute.InputContext(3, number, 1)) for number in range(3)]
    assert [[len(labels) for _, labels in part] for part in read] == [[32], [32], [32]]
    images = [image.numpy().tobytes() for part in read for batch, _ in part.unbatch().batch(1) for image in batch]
    assert len(set(images)) == len(images) == 96
    assert next(iter(left["distributed"]))[0].shape == (32, 512, 512, 1)


def with_formats(data_dir: Path, first: str, *others: str) -> Path:
    """A data_dir with the sample in some of its formats, as links to its files."""
    folder, place = data_dir / "nih_chest_xray" / "sample" / "2.0.0", Path("nih_chest_xray", "sample", "2.0.0")
    new = data_dir.parent / "_".join((first, *others)) / place
    if not new.exists():
        new.mkdir(parents=True)
        for path in folder.iterdir():
            if "-of-" not in path.name or path.suffix.split("-")[0].lstrip(".") in (first, *others):
                os.link(path, new / path.name)
        info = json.loads((folder / "dataset_info.json").read_text())
        (new / "dataset_info.json").unlink()
        (new / "dataset_info.json").write_text(
            json.dumps(info | {"fileFormat": first, "alternativeFileFormats": others})
        )
    return new.parents[2]


@pytest.mark.parametrize("framework", ["tensorflow", "pytorch", "jax"])
@pytest.mark.parametrize("formats", [["tfrecord"], ["array_record"], ["tfrecord", "array_record"]], ids="+".join)
def test_code_on_the_catalog_page_runs(framework, formats, home, run):
    need({"pytorch": "torch"}.get(framework, framework), framework)
    [built] = find_datasets(with_formats(home / "tensorflow_datasets", *formats))
    assert built.file_formats == formats
    [code] = [snippet.code for snippet in snippets(built, None) if snippet.key == framework]
    left = run(code)
    images, labels = left["images"], left["labels"]
    channels_first = framework == "pytorch"
    assert tuple(images.shape[1:]) == ((1, 512, 512) if channels_first else (512, 512, 1))
    assert "uint8" in str(images.dtype)
    assert len(labels) == len(images) > 0
    assert {int(label) for label in labels} <= {0, 1}

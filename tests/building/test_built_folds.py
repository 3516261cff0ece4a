"""Tests of a dataset of folds: built from files and archives, with Beam and as a trial, loaded, verified and shown."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from blocks import blocks
from conftest import build
from pages import Page

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.phantom.release import tar_gz
from nih_chest_xray.verification.command import verify

FIELDS = {
    "split": "folds",
    "folds": 3,
    "test_fraction": 0.2,
    "augmented_copies": 2,
    "image_size": 32,
    "phantom_patients": 40,
}
SUBSETS = {*(f"fold_{number}{end}" for number in range(3) for end in ("", "_augmented")), "test"}


@pytest.fixture(scope="module")
def folder(once):
    return once("folds", lambda folder: build(None, folder, **FIELDS)) / "nih_chest_xray" / "test" / "2.0.0"


@pytest.fixture(scope="module")
def built(folder):
    return tfds.builder_from_directory(folder)


def names_of(builder, split) -> list[str]:
    return sorted(example["image_name"].decode() for example in tfds.as_numpy(builder.as_dataset(split=split)))


def failures(folder) -> dict[str, tuple[str, ...]]:
    return {check.name: check.offenders for check in verify(folder) if check.status == "FAILED"}


def test_a_fold_loads_with_the_others_and_their_copies(built):
    assert set(built.info.splits) == SUBSETS
    fold, copies = names_of(built, "fold_1"), names_of(built, "fold_1_augmented")
    assert not any("_aug" in name for name in fold)
    examples = tfds.as_numpy(built.as_dataset(split="fold_1"))
    stems = [example["image_name"].decode().removesuffix(".png") for example in examples if example["label"]]
    assert copies == sorted(f"{stem}_aug{number}.png" for stem in stems for number in (1, 2))
    assert names_of(built, "fold_1+fold_1_augmented") == sorted(fold + copies)


def test_metadata_csv_says_the_splits_names(folder, built):
    with (folder / "metadata.csv").open() as file:
        subset_of = {row["image_name"]: row["subset"] for row in csv.DictReader(file)}
    assert {name: subset for subset in SUBSETS for name in names_of(built, subset)} == subset_of


def test_verify_accepts_it(folder):
    assert failures(folder) == {}


def test_verify_names_a_fold_whose_copies_are_not_there(folder, tmp_path):
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    [shard] = damaged.glob("*-fold_0_augmented.*")
    [other] = damaged.glob("*-fold_1_augmented.*")
    shard.write_bytes(other.read_bytes())
    found = failures(damaged)
    assert {"counts", "names", "patients", "augmentation"} <= found.keys()
    [first, *_] = found["augmentation"]
    assert first.endswith("is in no sound record")
    assert "_aug" in first


def digests(folder) -> dict[str, list]:
    builder = tfds.builder_from_directory(folder)
    datasets = {subset: tfds.as_numpy(builder.as_dataset(split=subset)) for subset in builder.info.splits}
    return {
        subset: [(example["image_name"], example["image"].tobytes()) for example in examples]
        for subset, examples in datasets.items()
    }


@pytest.mark.parametrize("kind", ["files", "archive", "beam"])
def test_from_files_from_an_archive_and_with_beam_it_is_the_same(kind, folder, phantom, phantom_dir, tmp_path):
    fields = FIELDS | {"phantom_patients": 0, "name": "test"}
    manual_dir, beam = phantom_dir, None
    if kind == "archive":
        manual_dir = tmp_path / "manual"
        manual_dir.mkdir()
        for name, content in phantom.tables().items():
            (manual_dir / name).write_bytes(content)
        images = [(image.name, image.read()) for image in phantom.images(frozenset(phantom.names))]
        (manual_dir / "images_001.tar.gz").write_bytes(tar_gz(images))
        fields["allow_missing_images"] = True
    if kind == "beam":
        beam = PipelineOptions(["--runner=DirectRunner", "--direct_num_workers=1"])
    builder = Builder(config=NihChestXrayConfig(**fields), data_dir=tmp_path / "data")
    download_config = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_options=beam)
    builder.download_and_prepare(download_config=download_config)
    assert digests(builder.data_path) == digests(folder)


def test_a_trial_build_has_something_of_every_fold_and_verifies(tmp_path):
    builder = Builder(config=NihChestXrayConfig(name="trial", **FIELDS), data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(max_examples_per_split=3))
    assert {subset: split.num_examples for subset, split in builder.info.splits.items()} == dict.fromkeys(SUBSETS, 3)
    assert failures(builder.data_path) == {}


def test_the_page_counts_patients_once_and_its_code_trains_on_all_folds_but_the_first(folder, tmp_path, no_pictures):
    site = write_site(folder, tmp_path / "site")
    page = Page(site / "index.html")
    text = page.all("body")[0]["text"]
    metadata = json.loads((folder / "metadata.json").read_text())
    with (folder / "examples.csv").open() as file:
        patients = {row["patient_id"] for row in csv.DictReader(file)}
    assert f"{len(patients)} synthetic" in text
    assert "fold_1+fold_1_augmented+fold_2+fold_2_augmented" in text
    assert "copies of fold_0 are in fold_0_augmented and so on: leave out those of the fold that validates" in text
    assert metadata["fold_class_weights"].keys() == {"fold_0", "fold_1", "fold_2"}


def test_the_guides_loop_reads_each_example_but_tests_once_for_training_or_validation(tmp_path):
    [command] = [code for code in blocks("splits", "bash") if "five_folds" in code]
    fields = json.loads(command[command.index("{") : command.rindex("}") + 1])
    folder = build(None, tmp_path, **fields, phantom_patients=20, image_size=16)
    [code] = [code for code in blocks("splits", "python") if "five_folds" in code]
    code = code.replace("...", "print(fold, len(train), len(validation), *class_weights)")
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    examples = json.loads((folder / "metadata.json").read_text())["examples"]
    for number, line in enumerate(done.stdout.splitlines()[-5:]):
        fold = f"fold_{number}"
        train = sum(examples.values()) - examples["test"] - examples[fold] - examples[f"{fold}_augmented"]
        assert line == f"{fold} {train} {examples[fold]} No Finding Nodule"

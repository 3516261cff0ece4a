"""Tests of the manifest: a row an example, copies of training nodules only, and what is written of it."""

import csv
import hashlib
import io

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from nih_chest_xray.config import NAMED_CONFIGS
from nih_chest_xray.planning.cohort import make_cohort
from nih_chest_xray.planning.manifest import make_manifest, metadata_csv
from nih_chest_xray.planning.summary import split_digests, summarise
from nih_chest_xray.vocabulary import FINDINGS, SUBSETS, Box, source_of


@pytest.fixture
def cohort(phantom_labels, make_config):
    return make_cohort(phantom_labels, make_config())


def test_without_copies_the_manifest_is_the_cohort(cohort, make_config):
    manifest = make_manifest(cohort, make_config(), {})
    assert list(manifest["image_name"]) == list(cohort["image_name"])
    assert set(manifest["augmentation"]) == {"none"}


@pytest.mark.parametrize("copies", [1, 3])
def test_each_training_nodule_has_its_copies_and_nothing_else_has(cohort, make_config, copies):
    manifest = make_manifest(cohort, make_config(augmented_copies=copies), {})
    added = manifest[manifest["augmentation"] != "none"]
    assert set(added["subset"]) == {"train"}
    assert set(added["label"]) == {"Nodule"}
    sources = cohort.loc[(cohort["subset"] == "train") & (cohort["label"] == "Nodule"), "image_name"]
    expected = [name.replace(".png", f"_aug{k}.png") for name in sources for k in range(1, copies + 1)]
    assert sorted(added["image_name"]) == sorted(expected)
    assert all(
        row.image_name.startswith(row.source_name.removesuffix(".png")) for row in manifest.itertuples(index=False)
    )
    assert manifest["image_name"].is_unique
    assert manifest["image_name"].is_monotonic_increasing


def test_a_part_of_the_cohort_gives_that_part_of_the_manifest(cohort, make_config):
    config = make_config(augmented_copies=2)
    whole = make_manifest(cohort, config, {})
    part = make_manifest(cohort.iloc[::3], config, {})
    same = whole[whole["source_name"].isin(part["source_name"])].reset_index(drop=True)
    assert part.equals(same)


def test_metadata_csv_has_a_line_an_example_in_the_order_of_names(cohort, make_config):
    manifest = make_manifest(cohort, make_config(augmented_copies=1), {})
    rows = list(csv.reader(io.StringIO(metadata_csv(manifest))))
    assert rows[0] == ["image_name", "label", "subset"]
    assert rows[1:] == sorted(rows[1:])
    assert len(rows) - 1 == len(manifest)
    assert {(label, subset) for _, label, subset in rows[1:]} == {
        (label, subset) for label in ("Nodule", "No Finding") for subset in ("train", "validation", "test")
    }


def test_summary_counts_examples_and_weighs_classes_as_scikit_learn_does(cohort, make_config):
    manifest = make_manifest(cohort, make_config(augmented_copies=1), {})
    summary = summarise(manifest, make_config())
    for subset in ("train", "validation", "test"):
        for name in summary["classes"]:
            number = sum((manifest["subset"] == subset) & (manifest["label"] == name))
            assert summary["counts"][subset][name] == number
    train = manifest.loc[manifest["subset"] == "train", "label"].to_numpy()
    expected = compute_class_weight("balanced", classes=np.array(summary["classes"]), y=train)
    assert list(summary["class_weights"].values()) == pytest.approx(list(expected))
    nodules = (cohort["subset"] == "train") & (cohort["label"] == "Nodule")
    assert summary["augmented"] == {"train": sum(nodules), "validation": 0, "test": 0}
    drawn = manifest["augmentation"].value_counts()
    expected = {name: drawn[name] for name in ("rotation", "horizontal_flip")} | {"none": sum(nodules)}
    assert summary["augmentations"]["Nodule"] == expected
    assert summary["augmentations"]["No Finding"] == {"none": summary["counts"]["train"]["No Finding"]}


def test_summary_of_a_part_without_a_class_has_no_weight_for_it(cohort, make_config):
    healthy = make_manifest_of(cohort[cohort["label"] == "No Finding"])
    assert summarise(healthy, make_config())["class_weights"]["Nodule"] is None


def make_manifest_of(cohort):
    return cohort.assign(augmentation="none")


def test_digests_are_of_sorted_names_each_with_a_newline(cohort, make_config):
    manifest = make_manifest(cohort, make_config(), {})
    names = sorted(cohort.loc[cohort["subset"] == "test", "image_name"])
    digest = hashlib.sha256(("\n".join(names) + "\n").encode()).hexdigest()
    assert split_digests(manifest)["test"] == (len(names), digest)


def test_findings_are_counted_each_and_weighed_as_a_binary_cross_entropy_wants(phantom_labels, make_config):
    config = make_config(task="findings", healthy_stride=1)
    manifest = make_manifest(make_cohort(phantom_labels, config), config, {})
    summary = summarise(manifest, config)
    assert "class_weights" not in summary
    train = manifest[manifest["subset"] == "train"]
    for finding in summary["classes"]:
        number = sum(finding in findings for findings in train["findings"])
        assert summary["counts"]["train"][finding] == number
        expected = (len(train) - number) / number if number else None
        assert summary["positive_weights"][finding] == expected
    assert summary["counts"]["train"]["No Finding"] == sum(train["label"] == "No Finding")


def test_each_row_has_the_boxes_of_its_source(cohort, make_config):
    source = cohort.loc[(cohort["subset"] == "train") & cohort["positive"], "image_name"].iloc[0]
    boxes = {source: (Box("Nodule", 0.1, 0.2, 0.3, 0.4),)}
    manifest = make_manifest(cohort, make_config(augmented_copies=1), boxes)
    with_boxes = manifest[manifest["boxes"].str.len() > 0]
    assert list(with_boxes["source_name"]) == [source, source]
    assert set(with_boxes["boxes"]) == {boxes[source]}


def test_no_cell_of_metadata_csv_can_be_a_formula_for_a_spreadsheet(phantom_labels, make_config):
    """Names are digits, and the others come from closed lists, whatever the tables hold."""
    known = {*SUBSETS, *FINDINGS, *(name for config in NAMED_CONFIGS for name in config.definition.classes)}
    assert not [cell for cell in known if cell[0] in "=+-@\t\r" or set(cell) & set(',"\n\r\t')]
    config = make_config(task="findings", split="stratified", healthy_stride=1)
    written = metadata_csv(make_manifest(make_cohort(phantom_labels, config), config, {}))
    for row in written.splitlines()[1:]:
        name, label, subset = row.split(",")
        assert source_of(name)
        assert {*label.split("|"), subset} <= known

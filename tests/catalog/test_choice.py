"""Tests of the choice of examples that a page has pictures of."""

import types

import numpy as np
import pandas as pd
import pytest

from nih_chest_xray.catalog.choice import choose_browsed
from nih_chest_xray.vocabulary import FINDINGS, copy_name, source_of

SUBSETS = ["train", "validation", "test"]


def dataset(multi_label):
    return types.SimpleNamespace(subsets=SUBSETS, task=types.SimpleNamespace(multi_label=multi_label))


@pytest.fixture(scope="module")
def examples():
    """4,000 images, of which one has a hernia, and 1,000 copies of training nodules in two augmentations."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(4000):
        nodule = number % 8 == 0
        findings = (
            ("Hernia",) if number == 1234 else ("Nodule",) if nodule else ("Effusion",) if number % 8 == 1 else ()
        )
        subset = "train" if nodule or number < 3600 else SUBSETS[1 + number % 2]
        name = f"{number:08d}_000.png"
        row = {"image_name": name, "subset": subset, "findings": findings, "boxes": int(number % 400 == 0)}
        rows.append(row | {"label": "Nodule" if nodule else "No Finding", "augmentation": "none"})
        if nodule:
            for copy, change in enumerate(["rotation", "noise"], 1):
                rows.append(rows[-1] | {"image_name": copy_name(name, copy), "augmentation": change})
    table = pd.DataFrame([rows[place] for place in rng.permutation(len(rows))])
    return table.assign(number=table.groupby("subset").cumcount(), patient_id=0)


def test_all_are_chosen_where_there_are_few(examples):
    chosen = choose_browsed(dataset(False), examples, len(examples), set())
    assert sorted(chosen["image_name"]) == sorted(examples["image_name"])


@pytest.mark.parametrize("multi_label", [False, True])
def test_each_subset_class_finding_and_augmentation_is_there(multi_label, examples):
    chosen = choose_browsed(dataset(multi_label), examples, 300, set())
    assert len(chosen) == 300
    assert chosen["image_name"].is_unique
    for column in ("subset", "label", "augmentation", "findings"):
        assert set(chosen[column]) == set(examples[column])
    # A class, finding or augmentation has its share, however rare it is.
    originals = chosen[chosen["augmentation"] == "none"]
    assert originals["subset"].value_counts().min() > 50
    assert (chosen["boxes"] > 0).sum() >= 5
    if not multi_label:
        assert originals["label"].value_counts().min() >= 75


def test_copies_come_with_their_sources_and_are_a_fifth(examples):
    chosen = choose_browsed(dataset(False), examples, 300, set())
    copies = chosen[chosen["augmentation"] != "none"]
    assert copies["augmentation"].value_counts().to_dict() == {"rotation": 30, "noise": 30}
    assert set(copies["image_name"].map(source_of)) <= set(chosen["image_name"])


def test_what_is_featured_is_among_them(examples):
    first = set(examples["image_name"][100:120])
    chosen = choose_browsed(dataset(False), examples, 300, first)
    assert first <= set(chosen["image_name"])
    assert len(chosen) == 300


def test_the_first_ones_are_of_all_kinds(examples):
    chosen = choose_browsed(dataset(True), examples, 300, set()).head(20)
    for column in ("subset", "augmentation", "findings"):
        assert set(chosen[column]) == set(examples[column])


def test_the_choice_depends_on_the_examples_alone(examples):
    names = [choose_browsed(dataset(False), table, 300, set())["image_name"].tolist() for table in (examples, examples)]
    assert names[0] == names[1]
    again = examples.sample(frac=1, random_state=1).sort_values(["subset", "number"])
    assert set(choose_browsed(dataset(False), again, 300, set())["image_name"]) == set(
        choose_browsed(dataset(False), examples.sort_values(["subset", "number"]), 300, set())["image_name"]
    )


def test_an_example_counts_for_its_rarest_finding(examples):
    """Else 14 findings that mostly come together would be as many as the frequent ones among them."""
    both = examples.assign(findings=[("Effusion", *f) if f == ("Hernia",) else f for f in examples["findings"]])
    chosen = choose_browsed(dataset(True), both, 60, set())
    assert ("Effusion", "Hernia") in set(chosen["findings"])
    assert {name for findings in chosen["findings"] for name in findings} <= set(FINDINGS)

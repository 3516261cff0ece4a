"""Tests of the config: good values are taken, also from JSON, and each bad one gets an error that names it."""

import copy
import dataclasses
import json
import pickle

import pytest

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.named_configs import NAMED_CONFIGS


def test_json_gives_the_same_config_as_python():
    text = '{"name": "x", "views": ["PA"], "augmentations": ["rotation"], "augmented_copies": 3, "image_size": null}'
    config = NihChestXrayConfig(**json.loads(text))
    same = NihChestXrayConfig(name="x", views=("PA",), augmentations=("rotation",), augmented_copies=3, image_size=None)
    assert config.choices == same.choices
    assert config.views == ("PA",)


def test_archives_in_another_order_are_the_same_config():
    assert (
        NihChestXrayConfig(name="x", archives=[3, 1]).choices == NihChestXrayConfig(name="x", archives=(1, 3)).choices
    )


def test_first_archive_is_nodule_of_the_first_archive_alone():
    configs = {config.name: config.choices for config in NAMED_CONFIGS}
    assert configs["first_archive"] == configs["nodule"] | {"archives": (1,)}


def test_choices_are_json_and_hold_every_field_of_ours():
    choices = NihChestXrayConfig(name="x").choices
    assert json.loads(json.dumps(choices))["image_size"] == 512
    assert {"name", "version", "description"}.isdisjoint(choices)
    assert {"seed", "healthy_stride", "phantom_patients"} <= set(choices)


def test_every_field_of_ours_says_what_it_does():
    docs = {field.name: field.metadata.get("doc", "") for field in dataclasses.fields(NihChestXrayConfig)}
    for name in NihChestXrayConfig(name="x").choices:
        assert len(docs[name]) > 10, name


def test_named_configs_differ_as_the_readme_says():
    configs = {config.name: config for config in NAMED_CONFIGS}
    augmented = ["nodule_augmented", "nodule_augmented_matched"]
    others = ["findings", "first_archive", "sample", "nodule_expert", "nodule_expert_rest"]
    assert list(configs) == ["nodule", *augmented, *others]
    assert (configs["nodule"].augmented_copies, configs["nodule_augmented"].augmented_copies) == (0, 1)
    matched = {"matched_augmentation": True, "rotation_fill": "reflect"}
    assert configs[augmented[1]].choices == configs[augmented[0]].choices | matched
    assert all(config.description for config in NAMED_CONFIGS)


LISTS = {"split": "lists", "split_lists": {"train": "train.txt", "test": "test.txt"}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a/b"}, "name='a/b'; expected letters, digits"),
        ({"name": ".."}, "name='..'"),
        ({"name": ""}, "name=''"),
        ({"task": "hernia"}, "task='hernia'; expected 'binary' or 'findings'"),
        ({"views": ["LATERAL"]}, r"views=\['LATERAL'\]; expected a list of different names from PA, AP"),
        ({"views": []}, "views="),
        ({"views": "PA"}, "views='PA'; expected a list"),
        ({"healthy_stride": 0}, "healthy_stride=0; expected a whole number of at least 1"),
        ({"archives": 1}, r"archives=1; expected a list of different whole numbers from 1 to 12; \[\] for the whole"),
        ({"archives": [0]}, r"archives=\[0\]"),
        ({"archives": [13]}, r"archives=\[13\]"),
        ({"archives": [1, 1]}, r"archives=\[1, 1\]"),
        ({"archives": ["1"]}, r"archives=\['1'\]"),
        ({"archives": [True]}, r"archives=\[True\]"),
        (
            {"split": "random"},
            "split='random'; expected 'stratified' or 'official' or 'lists' or 'folds' or 'expert_all' or 'expert'",
        ),
        (
            {"split": "expert"},
            "expected 'stratified' or 'official' or 'lists' or 'folds' or 'expert_all' with task='binary'",
        ),
        (
            {"split": "expert_all", "positive": ["Mass"]},
            r"positive=\('Mass',\); expected \['Nodule'\] alone with split='expert_all'",
        ),
        (
            {"split": "expert_all", "positive": ["Nodule", "Mass"]},
            r"positive=\('Nodule', 'Mass'\); expected \['Nodule'",
        ),
        (
            {"split": "expert_all", "task": "findings"},
            "split='expert_all'; expected 'stratified' or 'official' or 'lists' or 'folds' with task='findings'",
        ),
        (LISTS | {"task": "nodule_expert"}, "split='lists'; expected 'expert' with task='nodule_expert'"),
        ({"folds": 3}, "folds=3; expected 5 unless split is 'folds'"),
        ({"split": "folds", "folds": 1}, "folds=1; expected a whole number from 2 to 20"),
        ({"split": "folds", "test_fraction": 1}, "test_fraction=1; expected a number of at least 0 and less than 1"),
        ({"split": "stratified", "test_fraction": 0}, "test_fraction=0; expected a number between 0 and 1"),
        ({"split": "official", "official_test": True}, "official_test=True; expected false unless split is 'folds'"),
        ({"task": "nodule_expert", "split": "folds"}, "split='folds'; expected 'expert' with task='nodule_expert'"),
        ({"split": "lists"}, "split_lists=None; expected the path of a list for 'train' and for 'validation', 'test'"),
        (LISTS | {"split_lists": ["a.txt", "b.txt"]}, "split_lists=.*; expected the path of a list for 'train'"),
        (LISTS | {"split_lists": {"train": "a.txt"}}, "split_lists=.*; expected the path of a list for 'train'"),
        (LISTS | {"split_lists": {"test": "a.txt", "validation": "b.txt"}}, "split_lists=.*; expected the path of"),
        (LISTS | {"split_lists": {"train": "a.txt", "val": "b.txt"}}, "split_lists=.*; expected the path of a list"),
        (LISTS | {"split_lists": {"train": "a.txt", "test": ""}}, "split_lists=.*; expected the path of a list"),
        (LISTS | {"split_lists": {"train": "a/l.txt", "test": "b/l.txt"}}, "expected files with different names"),
        ({"split_lists": LISTS["split_lists"]}, "split_lists=.*; expected null .None. unless split is 'lists'"),
        ({"allow_shared_patients": True}, "allow_shared_patients=True; expected false unless split is 'lists'"),
        (LISTS | {"allow_shared_patients": "yes"}, "allow_shared_patients='yes'; expected true or false"),
        ({"task": "nodule_expert"}, "split='stratified'; expected 'expert' with task='nodule_expert'"),
        ({"validation_fraction": 1.5}, "validation_fraction=1.5; expected a number between 0 and 1"),
        ({"test_fraction": 0}, "test_fraction=0; expected a number between 0 and 1"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "less than 1 together"),
        ({"validation_fraction": "0.1"}, "validation_fraction='0.1'"),
        ({"augmented_copies": -1}, "augmented_copies=-1; expected a whole number from 0"),
        ({"augmentations": ["blur"]}, "augmentation 'blur' is not registered; there are rotation, horizontal_flip"),
        ({"augmentations": ["rotation", "rotation"]}, "list of different names"),
        ({"augmentations": ["horizontal_flip"], "augmented_copies": 2}, "at most 1 different copies"),
        ({"rotation_degrees": 0}, "rotation_degrees=0; expected a number above 0, up to 180"),
        ({"translation_fraction": 0.6}, "translation_fraction=0.6; expected a number above 0, up to 0.5"),
        ({"zoom_fraction": -0.1}, "zoom_fraction=-0.1; expected a number above 0, up to 0.5"),
        ({"brightness_fraction": "0.1"}, "brightness_fraction='0.1'; expected a number above 0, up to 0.9"),
        ({"contrast_fraction": 1}, "contrast_fraction=1; expected a number above 0, up to 0.9"),
        ({"gamma_fraction": 1}, "gamma_fraction=1; expected a number above 0, up to 0.9"),
        ({"noise_stddev": float("nan")}, "noise_stddev=nan; expected a number above 0, up to 128"),
        ({"rotation_fill": "white"}, "rotation_fill='white'; expected 'black' or 'reflect'"),
        ({"augmentations": ["rotation+blur"]}, "augmentation 'blur' is not registered"),
        ({"augmentations": ["zoom+noise+zoom"]}, "augmentation 'zoom.noise.zoom' has a part twice"),
        ({"augmentations": ["rotation+"]}, "augmentation '' is not registered"),
        ({"matched_augmentation": 1, "augmented_copies": 1}, "matched_augmentation=1; expected true or false"),
        ({"matched_augmentation": True}, "augmented_copies=0; expected at least 1 with matched_augmentation"),
        ({"image_size": -1}, "image_size=-1; expected a whole number from 16 to 1024, or null"),
        ({"image_size": 512.0}, "image_size=512.0"),
        ({"image_size": True}, "image_size=True"),
        ({"image_format": "gif"}, "image_format='gif'; expected 'png' or 'jpeg' or 'raw'"),
        ({"image_format": "jpeg", "image_size": None}, "expected 'png' with image_size null"),
        ({"image_format": "raw", "image_size": None}, "expected 'png' with image_size null"),
        ({"seed": "0"}, "seed='0'; expected a whole number"),
        ({"allow_missing_images": "yes"}, "allow_missing_images='yes'; expected true or false"),
        ({"allow_resized_images": 1}, "allow_resized_images=1; expected true or false"),
        (
            {"allow_resized_images": True, "image_size": None},
            "allow_resized_images=True; expected false with image_size null",
        ),
    ],
)
def test_a_bad_value_is_refused_by_name_with_what_was_expected(fields, message):
    with pytest.raises(ValueError, match=message):
        NihChestXrayConfig(**{"name": "bad"} | fields)


def test_lists_are_a_split_of_the_tasks_that_are_split():
    for task in ("binary", "findings"):
        config = NihChestXrayConfig(name="x", task=task, allow_shared_patients=True, **LISTS)
        assert NihChestXrayConfig(name="x", **json.loads(json.dumps(config.choices))).choices == config.choices


def test_a_field_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(TypeError, match="no field 'augmented_copie'; did you mean 'augmented_copies'"):
        NihChestXrayConfig(name="bad", augmented_copie=1)
    with pytest.raises(TypeError, match="no field 'hue'; its fields are name, .*augmented_copies, .*seed"):
        NihChestXrayConfig(name="bad", hue=1)
    with pytest.raises(TypeError, match='needs a name: "name"'):
        NihChestXrayConfig(seed=3)
    config = NihChestXrayConfig(name="good", seed=3)
    assert pickle.loads(pickle.dumps(config)).choices == copy.copy(config).choices == config.choices


def test_official_split_does_not_look_at_the_test_fraction():
    assert NihChestXrayConfig(name="x", split="official", validation_fraction=0.6, test_fraction=0.6).test_fraction


def test_based_on_changes_what_is_given_and_nothing_else():
    named = {config.name: config.choices for config in NAMED_CONFIGS}
    config = NihChestXrayConfig(name="findings_224", based_on="findings", image_size=224)
    assert config.choices == named["findings"] | {"based_on": "findings", "image_size": 224}
    kept = NihChestXrayConfig(
        name="thin", based_on="findings", healthy_stride=2
    )  # Also where it is the class's default.
    assert kept.healthy_stride == 2
    again = NihChestXrayConfig(name="findings_224", **json.loads(json.dumps(config.choices)))
    assert again.choices == config.choices
    with pytest.raises(ValueError, match="based_on='finding'; expected one of nodule, nodule_augmented, .*findings, "):
        NihChestXrayConfig(name="x", based_on="finding")


@pytest.mark.parametrize(
    ("fields", "classes"),
    [
        ({}, ("No Finding", "Nodule")),
        ({"positive": ["Pneumothorax"], "negative": "rest"}, ("No Pneumothorax", "Pneumothorax")),
        ({"positive": ["Nodule", "Mass"]}, ("No Finding", "Mass or Nodule")),
        ({"positive": ["Mass", "Nodule"], "negative": "rest"}, ("No Mass or Nodule", "Mass or Nodule")),
    ],
)
def test_classes_are_named_for_the_findings(fields, classes):
    assert NihChestXrayConfig(name="x", **fields).definition.classes == classes

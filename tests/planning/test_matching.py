"""Tests of matching: training negatives are augmented in place, as often as positives, in the whole and in any part."""

import numpy as np
import pytest
from etils import epath

from nih_chest_xray.config import NAMED_CONFIGS
from nih_chest_xray.planning.cohort import make_cohort
from nih_chest_xray.planning.manifest import make_manifest
from nih_chest_xray.planning.matching import matched_cutoffs
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release import find, release
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.vocabulary import Box

CONFIGS = {
    "one copy": {"augmented_copies": 1},
    "three copies": {"augmented_copies": 3},
    "a chain": {"augmented_copies": 2, "augmentations": ["rotation+contrast", "noise", "horizontal_flip"]},
    "another seed": {"augmented_copies": 1, "seed": 7},
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def config(request, make_config):
    return make_config(**request.param, matched_augmentation=True)


@pytest.fixture
def cohort(phantom_labels, config):
    return make_cohort(phantom_labels, config)


def shares(manifest, config):
    """Each augmentation's share of the training examples of both classes, and the size of the smaller class."""
    train = manifest[manifest["subset"] == "train"]
    classes = [train.loc[train["positive"] == positive, "augmentation"] for positive in (True, False)]
    each = np.array([[(rows == name).mean() for rows in classes] for name in config.augmentations])
    return each, [len(rows) for rows in classes]


def require_match(manifest, config):
    each, (_, negatives) = shares(manifest, config)
    assert (abs(each[:, 0] - each[:, 1]) <= 1 / negatives).all()
    assert abs(each[:, 0].sum() - each[:, 1].sum()) <= 0.5 / negatives + 1e-9  # Their sum to half an image.


def test_each_augmentation_has_the_same_share_of_both_classes(cohort, config):
    manifest = make_manifest(cohort, config, {})
    require_match(manifest, config)
    assert set(manifest.loc[~manifest["positive"], "augmentation"]) == {"none", *config.augmentations}


@pytest.mark.parametrize("part", [slice(None, None, 2), slice(20, 60), slice(0, 30)], ids=str)
def test_shares_match_in_a_part_too(cohort, config, part):
    require_match(make_manifest(cohort.iloc[part], config, {}), config)


def test_negatives_keep_their_names_and_their_number(cohort, config, make_config):
    manifest = make_manifest(cohort, config, {})
    fields = {name: value for name, value in config.choices.items() if name != "matched_augmentation"}
    unmatched = make_manifest(cohort, make_config(**fields), {})
    kept = ["image_name", "source_name", "label", "subset"]
    assert manifest[kept].equals(unmatched[kept])
    others = manifest["positive"] | (manifest["subset"] != "train")
    assert manifest[others].equals(unmatched[others])
    assert set(unmatched.loc[~others, "augmentation"]) == {"none"}


def test_a_negatives_augmentation_says_nothing_of_its_draw(cohort, config):
    """The draw is that of a first copy, not the number that chose the augmentation."""
    negatives = make_manifest(cohort, config, {}).query("not positive and augmentation != 'none'")
    for _, rows in negatives.groupby("augmentation"):
        assert rows["draw"].between(0, 1, inclusive="left").all()
        assert len(rows) < 8 or rows["draw"].max() - rows["draw"].min() > 0.4


def test_with_stored_cutoffs_each_image_is_augmented_as_it_was_whatever_else_is_there(cohort, config):
    """So that `verify` can check any record on its own, though images may have turned out broken."""
    cutoffs = matched_cutoffs(cohort, config)
    whole = make_manifest(cohort, config, {}, cutoffs).set_index("image_name")
    part = make_manifest(cohort.iloc[::3], config, {}, cutoffs).set_index("image_name")
    assert part["augmentation"].equals(whole.loc[part.index, "augmentation"])
    assert part["draw"].equals(whole.loc[part.index, "draw"])
    assert list(cutoffs) == list(config.augmentations)
    assert sorted(cutoffs.values()) == list(cutoffs.values())


def test_boxes_of_negatives_are_kept_to_be_moved(cohort, config):
    negatives = cohort.loc[~cohort["positive"], "image_name"]
    boxes = {name: (Box("Mass", 0.1, 0.2, 0.3, 0.4),) for name in negatives}
    manifest = make_manifest(cohort, config, boxes)
    assert (manifest.loc[~manifest["positive"], "boxes"].str.len() == 1).all()


@pytest.mark.parametrize("of_class", [True, False], ids=["nodules", "others"])
def test_a_part_without_one_of_the_classes_is_planned(cohort, config, of_class):
    manifest = make_manifest(cohort[cohort["positive"] == of_class], config, {})
    assert (manifest.loc[~manifest["positive"], "augmentation"] == "none").all()


@pytest.mark.real
def test_shares_of_the_whole_release_agree_to_half_a_point(real_dir):
    config = next(config for config in NAMED_CONFIGS if config.matched_augmentation)
    found = find.find_release(epath.Path(real_dir), release.known_files(), allow_repacked=True)
    plan = make_plan(read_tables(found, config, release.known_files()), config)
    each, (positives, negatives) = shares(plan.manifest, config)
    for name, (ours, theirs) in zip(config.augmentations, each, strict=True):
        print(f"{name}: {ours:.3%} of {positives:,} examples with a nodule, {theirs:.3%} of {negatives:,} without")
    assert (positives, negatives) == (2 * 5065, 24145)
    assert abs(each[:, 0] - each[:, 1]).max() < 0.005
    held = found.held(frozenset(plan.cohort["image_name"]))
    part = plan.of(held)
    assert part.cutoffs != plan.cutoffs
    assert set(part.manifest["source_name"]) == held
    require_match(part.manifest, config)

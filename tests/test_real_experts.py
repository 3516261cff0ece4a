"""Tests on the radiologists' real files, and the NIH's real tables and some of its images; see `real_expert_dir`."""

import collections
import csv
import warnings

import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath
from print_counts import NODULES_ALONE, of_readers, plan_of

import nih_chest_xray
from nih_chest_xray.evaluation.figures import figures
from nih_chest_xray.images import png
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.release.tables import find_for_config
from nih_chest_xray.verification.command import verify
from nih_chest_xray.vocabulary import FINDINGS

pytestmark = pytest.mark.real

WORDS = ("No nodule or mass", "Nodule or mass")
CONFIGS = {config.name: config for config in (*NAMED_CONFIGS, *NODULES_ALONE)}


def crossed(agreement):
    """Both yes, radiologists only, text-mined only, neither."""
    no, yes = agreement
    return tuple(agreement[i][j] for i, j in ((yes, yes), (yes, no), (no, yes), (no, no)))


@pytest.fixture(scope="module")
def planned(real_expert_dir):
    return plan_of(real_expert_dir, CONFIGS["nodule_expert"])


def test_counts_of_nodule_expert(planned):
    """As Majkowska et al. published the files: 2,414 and 1,962 images, 310 and 295 of them positive."""
    _, summary, _ = planned
    assert summary["examples"] == {"train": 32_907, "validation": 2_414, "test": 1_962}
    assert summary["counts"]["train"] == dict(zip(WORDS, (24_953, 7_954), strict=True))
    assert (summary["counts"]["validation"][WORDS[1]], summary["counts"]["test"][WORDS[1]]) == (310, 295)
    assert (summary["patients"]["train"], summary["patients"]["test"]) == (17_866, 860)


def test_agreement_of_radiologists_with_the_text_mined_labels(planned):
    _, summary, _ = planned
    assert crossed(summary["agreement"]["test"]) == (134, 161, 103, 1_564)
    assert crossed(summary["agreement"]["validation"]) == (122, 188, 96, 2_008)


def test_text_mined_labels_as_scores_have_the_sensitivity_and_specificity_that_follow_from_the_counts(planned):
    """134 of 295 images that radiologists call nodule or mass, and 1,564 of the 1,667 others."""
    _, _, cohort = planned
    test = cohort[cohort["subset"] == "test"].set_index("image_name")
    of = {name: test[name].eq(WORDS[1]).astype(int).to_frame(WORDS[1]) for name in ("label", "text_mined_label")}
    at = {("mined", WORDS[1], specificity): 1.0 for specificity in (0.9, 0.95)}
    scores = {"mined": of["text_mined_label"].astype(float)}
    table = figures(of["label"], scores, test["patient_id"], thresholds=at, bootstrap=200).set_index("metric")
    assert (table["images"] == 1_962).all()
    assert (table["positives"] == 295).all()
    assert (table["patients"] == 860).all()
    sensitivity, specificity = 134 / (134 + 161), 1_564 / (1_564 + 103)
    for end in ("90", "95"):
        assert table.loc[f"sensitivity_at_{end}_specificity", "estimate"] == pytest.approx(sensitivity)
        assert table.loc[f"specificity_at_{end}_threshold", "estimate"] == pytest.approx(specificity)
    assert table.loc["roc_auc", "estimate"] == pytest.approx((sensitivity + specificity) / 2)
    assert table.loc["roc_auc", "low"] < (sensitivity + specificity) / 2 < table.loc["roc_auc", "high"]


def test_counts_of_the_set_of_all_findings(planned):
    tables, _, _ = planned
    counted = of_readers(tables)
    assert counted["images by readings of four findings"] == {1: 2, 2: 47, 3: 4_324, 4: 2, 5: 1}
    assert counted["readers who say Nodule"] == {0: 509, 1: 130, 2: 67, 3: 35, 4: 28, 5: 41}
    labelled = counted["of these labelled Nodule"]
    assert (labelled[2], counted["readers who say Nodule"][3] - labelled[3]) == (34, 8)
    assert counted["findings"] == {"images": 810, "Nodule": 130, "Mass": 99, "either": 180}


def test_agreement_of_radiologists_with_each_other(planned, real_expert_dir):
    """Kappas as counted here, reading by reading; no paper gives them."""
    tables, _, _ = planned
    said = tables.origin["radiologists"]
    sets = said["agreement_of_sets"]
    assert sets[WORDS[0]][WORDS[1]] + sets[WORDS[1]][WORDS[0]] == 79
    assert sum(sum(row.values()) for row in sets.values()) == 810
    four = rows_of(real_expert_dir, "four_findings_expert_labels/individual_readers.csv")
    of_set = {"val": "validation", "test": "test"}
    for subset in ("validation", "test"):
        readings = [row for row in four if of_set[row["Set ID"]] == subset]
        for finding, kappa in said["kappa_four_findings"][subset].items():
            column = "Nodule/mass" if finding == WORDS[1] else finding
            assert kappa == pytest.approx(kappa_by_pairs(readings, column), abs=5e-5)
    every = rows_of(real_expert_dir, "all_findings_expert_labels/test_individual_readers.csv")
    for finding, kappa in said["kappa_all_findings"]["test"].items():
        assert kappa == pytest.approx(kappa_by_pairs(every, finding.replace("_", " ")), abs=5e-5)
    assert [said["kappa_four_findings"][subset][WORDS[1]] for subset in ("validation", "test")] == [0.4378, 0.4133]
    assert (said["kappa_all_findings"]["test"]["Nodule"], said["kappa_all_findings"]["test"]["Mass"]) == (
        0.4542,
        0.5615,
    )


def kappa_by_pairs(rows, column):
    """Fleiss' kappa from every pair of readings of an image; an image of n readings weighs n - 1."""
    answers = collections.defaultdict(list)
    for row in rows:
        answers[row["Image ID"]].append(row[column])
    agreeing = weights = 0.0
    for said in answers.values():
        pairs = [(a, b) for i, a in enumerate(said) for b in said[i + 1 :]]
        if pairs:
            agreeing += (len(said) - 1) * sum(a == b for a, b in pairs) / len(pairs)
            weights += len(said) - 1
    shares = [number / len(rows) for number in collections.Counter(row[column] for row in rows).values()]
    chance = sum(share**2 for share in shares)
    return (agreeing / weights - chance) / (1 - chance)


@pytest.mark.parametrize(
    ("name", "counts", "patients"),
    [
        ("nodule_expert_rest", {"train": (52_335, 7_954), "validation": (2_104, 310), "test": (1_667, 295)}, 22_731),
        ("expert_all", {"train": (25_515, 5_030), "validation": (2_835, 559), "test": (680, 130)}, 16_343),
        ("expert_all_rest", {"train": (60_815, 5_030), "validation": (6_758, 559), "test": (680, 130)}, 21_458),
    ],
)
def test_counts_of_the_other_configs_that_need_radiologists(real_expert_dir, real_dir, name, counts, patients):
    """The sums of training and validation are counted from the label file; which patients validate, the seed says."""
    _, summary, cohort = plan_of(real_expert_dir, CONFIGS[name])
    assert {subset: tuple(numbers.values()) for subset, numbers in summary["counts"].items()} == counts
    assert summary["patients"]["train"] == patients
    every = {row["Image ID"]: row for row in rows_of(real_expert_dir, "all_findings_expert_labels/test_labels.csv")}
    four = {row["Image Index"] for row in four_findings(real_expert_dir)}
    held_out = {name[:8] for name in (every if name.startswith("expert_all") else four)}
    positive = {"Nodule"} if name.startswith("expert_all") else {"Nodule", "Mass"}
    with (real_dir / "Data_Entry_2017_v2020.csv").open() as file:
        found = sorted((row["Image Index"], row["Finding Labels"]) for row in csv.DictReader(file))
    healthy = [name for name, label in found if label == "No Finding"][::2]
    kept = {image: bool(positive & {*label.split("|")}) for image, label in found if label != "No Finding"}
    if name == "expert_all":
        kept = {image: yes for image, yes in kept.items() if yes}
    kept |= dict.fromkeys(healthy, False)
    rest = [yes for image, yes in kept.items() if image[:8] not in held_out]
    mined = [subset for subset in counts if (name.startswith("expert_all") and subset != "test") or subset == "train"]
    assert sum(sum(counts[subset]) for subset in mined) == len(rest)
    assert sum(counts[subset][1] for subset in mined) == sum(rest)
    assert cohort.groupby("patient_id")["subset"].nunique().max() == 1


def rows_of(folder, file):
    """The rows of a file of the radiologists, in the folder that its authors put it into."""
    places = (folder, folder / "expert_labels")  # The second may be a link, which `glob` does not follow.
    [path] = {path for place in places for path in place.resolve().glob(f"**/{file}")}
    with path.open() as opened:
        return list(csv.DictReader(opened))


def four_findings(folder):
    return [
        row
        for subset in ("validation", "test")
        for row in rows_of(folder, f"four_findings_expert_labels/{subset}_labels.csv")
    ]


@pytest.fixture(scope="module")
def said(real_expert_dir):
    """Returns what the files say of an image, in the features' order, read without the package."""
    four = {row["Image Index"]: row for row in four_findings(real_expert_dir)}
    every = {row["Image ID"]: row for row in rows_of(real_expert_dir, "all_findings_expert_labels/test_labels.csv")}
    votes, nodules = collections.defaultdict(list), collections.defaultdict(list)
    for row in rows_of(real_expert_dir, "four_findings_expert_labels/individual_readers.csv"):
        votes[row["Image ID"]].append(row["Nodule/mass"])
    for row in rows_of(real_expert_dir, "all_findings_expert_labels/test_individual_readers.csv"):
        nodules[row["Image ID"]].append(row["Nodule"])

    def of(image):
        first, second = four.get(image), every.get(image)
        columns = ("Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass")
        return {
            "expert_labels": [int(first[name] == "YES") for name in columns] if first else [-1] * 4,
            "reader_votes": [votes[image].count(answer) for answer in ("YES", "NO", "HEDGE")] if first else [-1] * 3,
            "expert_findings": [int(second[name.replace("_", " ")] == "YES") for name in FINDINGS]
            if second
            else [-1] * 14,
            "nodule_votes": nodules[image].count("YES") if second else -1,
        }

    of.every = sorted(every)
    of.validation = sorted(image for image, row in four.items() if row["Set Id"] == "val")
    return of


READ = {"nodule_expert_rest": ("expert_labels", -1), "expert_all_rest": ("expert_findings", FINDINGS.index("Nodule"))}
"""Where the radiologists' label of each config stands in what they said."""


@pytest.mark.parametrize("name", READ)
def test_a_plan_holds_what_the_files_say_of_every_image(real_expert_dir, said, name):
    _, _, cohort = plan_of(real_expert_dir, CONFIGS[name])
    feature, at = READ[name]
    for row in cohort.itertuples(index=False):
        expected = said(row.image_name)
        assert {key: list(v) if isinstance(v := getattr(row, key), tuple) else v for key in expected} == expected
        if row.subset in CONFIGS[name].definition.read_by_radiologists:
            assert row.positive == expected[feature][at]
        else:
            assert row.label == row.text_mined_label


@pytest.mark.parametrize("name", READ)
def test_a_slice_holds_what_the_files_say_of_its_images(real_expert_dir, said, tmp_path, name):
    """Of the real images hardly one was read by radiologists, so flat ones join them under the names of some that were.

    What was said of an image does not depend on its pixels.
    """
    for link in real_expert_dir.iterdir():
        (tmp_path / link.name).symlink_to(link)
    (tmp_path / "flat").mkdir()
    drawn = {*said.every[::20], *said.validation[::60]}
    for image in drawn:
        (tmp_path / "flat" / image).write_bytes(png.encode(np.zeros((1024, 1024), np.uint8)))
    fields = CONFIGS[name].choices | {"allow_missing_images": True, "image_size": 64}
    config = nih_chest_xray.NihChestXrayConfig(name="slice", **fields)
    builder = nih_chest_xray.Builder(config=config, data_dir=tmp_path / "data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tmp_path))
    feature, at = READ[name]
    stored = {}
    for subset in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=subset)):
            image = example["image_name"].decode()
            stored[image] = subset
            expected = said(image)
            assert {key: example[key].tolist() for key in expected} == expected
            if subset in config.definition.read_by_radiologists:
                assert example["label"] == expected[feature][at]
            else:
                assert example["label"] == example["text_mined_label"]
    assert {image for image, subset in stored.items() if subset == "test"} >= {*said.every[::20]}
    assert len(stored) > len(drawn)
    assert not [check for check in verify(builder.data_path, tmp_path) if check.status == "FAILED"]
    assert all(table["official"] for table in builder.info.metadata["tables"].values())


def test_no_file_of_the_radiologists_is_left_aside(real_expert_dir):
    found = find_for_config(epath.Path(real_expert_dir), NAMED_CONFIGS[-1], {})
    assert not found.aside

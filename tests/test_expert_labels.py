"""Tests of the radiologists' labels: both files are read, mistakes are named, no patient is shared with train."""

import pytest

from nih_chest_xray.cohort import make_cohort
from nih_chest_xray.expert_labels import read_expert_labels, require_known_images
from nih_chest_xray.manifest import make_manifest, summarise
from nih_chest_xray.release import EXPERT_FILES
from nih_chest_xray.tables import TableError

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    "Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id"
)


def row(name, answer):
    return f"{name},No Finding,0,{int(name[:8])},58,M,PA,2682,2749,0.143,0.143,NO,NO,NO,{answer},test"


def files(validation, test):
    return {
        "validation": ("\n".join([HEADER, *validation]).encode(), "validation_labels.csv"),
        "test": ("\n".join([HEADER, *test]).encode(), "test_labels.csv"),
    }


def test_both_files_are_read():
    validation = [row("00000001_000.png", "NO"), row("00000001_001.png", "YES")]
    table = read_expert_labels(files(validation, [row("00000002_000.png", "YES")]))
    assert table.to_numpy().tolist() == [
        ["00000001_000.png", "validation", False],
        ["00000001_001.png", "validation", True],
        ["00000002_000.png", "test", True],
    ]


GOOD = row("00000001_000.png", "NO")


@pytest.mark.parametrize(
    ("validation", "test", "message"),
    [
        ([GOOD], [row("00000002_000.png", "maybe")], "test_labels.csv, row 2: nodule_or_mass is 'maybe'.* YES or NO"),
        ([row("00000002_000.png", "")], [GOOD], "validation_labels.csv, row 2: nodule_or_mass is ''"),
        ([GOOD], [row("00000002_000.png", "NO"), GOOD], "test_labels.csv, row 3: .* not in the validation file too"),
        (
            [GOOD],
            [row("00000001_001.png", "NO")],
            "test_labels.csv, row 2: .* patient who has none in the validation",
        ),
        ([GOOD, GOOD], [row("00000002_000.png", "NO")], "validation_labels.csv, row 3: .* each image once"),
        ([row("00000001.png", "NO")], [GOOD], "validation_labels.csv, row 2: image_name is"),
    ],
)
def test_a_mistake_is_an_error_with_file_and_row(validation, test, message):
    with pytest.raises(TableError, match=message):
        read_expert_labels(files(validation, test))


def test_a_table_without_the_radiologists_column_is_refused():
    content = b"Image Index,Finding Labels\n00000001_000.png,Mass"
    with pytest.raises(TableError, match="test_labels.csv has 0 columns for nodule_or_mass"):
        read_expert_labels({"test": (content, "test_labels.csv")})


def test_images_that_the_label_file_lacks_are_an_error(phantom_labels):
    expert = read_expert_labels(files([row("99999999_000.png", "NO")], [GOOD]))
    with pytest.raises(TableError, match=r"1 images of the radiologists' files, such as 99999999_000.png"):
        require_known_images(expert, phantom_labels)


@pytest.fixture
def expert(phantom):
    return read_expert_labels({subset: (phantom.tables()[name], name) for subset, name in EXPERT_FILES.items()})


@pytest.fixture
def config(make_config):
    return make_config(task="nodule_expert", split="expert", augmented_copies=1)


def test_evaluation_is_what_radiologists_read_and_training_has_none_of_their_patients(
    phantom_labels, expert, config, make_config
):
    cohort = make_cohort(phantom_labels, config, expert=expert)
    for subset in ("validation", "test"):
        rows = cohort[cohort["subset"] == subset].set_index("image_name")
        answers = expert[expert["subset"] == subset].set_index("image_name")["nodule_or_mass"]
        assert set(rows.index) == set(answers.index)
        assert ((rows["label"] == "Nodule or mass") == answers.reindex(rows.index)).all()
    train = cohort[cohort["subset"] == "train"]
    read = {int(name[:8]) for name in expert["image_name"]}
    assert read.isdisjoint(train["patient_id"])
    mined = train["findings"].map(lambda findings: bool({"Nodule", "Mass"} & {*findings}))
    assert ((train["label"] == "Nodule or mass") == mined).all()
    healthy = make_cohort(phantom_labels, make_config()).query("label == 'No Finding'")["image_name"]
    expected = {name for name in healthy if int(name[:8]) not in read}
    assert set(train.loc[~mined, "image_name"]) == expected


def test_both_labels_are_kept_and_their_agreement_is_counted(phantom_labels, expert, config):
    cohort = make_cohort(phantom_labels, config, expert=expert)
    mined = cohort["findings"].map(lambda findings: bool({"Nodule", "Mass"} & {*findings}))
    assert ((cohort["text_mined_label"] == "Nodule or mass") == mined).all()
    summary = summarise(make_manifest(cohort, config, {}), config)
    test = cohort[cohort["subset"] == "test"]
    for said in summary["classes"]:
        for written in summary["classes"]:
            number = sum((test["label"] == said) & (test["text_mined_label"] == written))
            assert summary["agreement"]["test"][said][written] == number
    # The phantom's radiologists do not call a haze a mass, its label file does.
    assert summary["agreement"]["test"]["No nodule or mass"]["Nodule or mass"] > 0


def test_training_positives_are_augmented(phantom_labels, expert, config):
    manifest = make_manifest(make_cohort(phantom_labels, config, expert=expert), config, {})
    copies = manifest[manifest["augmentation"] != "none"]
    train = manifest[(manifest["subset"] == "train") & (manifest["augmentation"] == "none")]
    assert set(copies["source_name"]) == set(train.loc[train["label"] == "Nodule or mass", "image_name"])
    assert set(copies["subset"]) == {"train"}

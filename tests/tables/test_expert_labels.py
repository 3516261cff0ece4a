"""Tests of the radiologists' labels: both files are read, mistakes are named, no patient is shared with train."""

import functools
import gzip
import hashlib
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from etils import epath

from nih_chest_xray.errors import TableError
from nih_chest_xray.planning.cohort import make_cohort
from nih_chest_xray.planning.manifest import make_manifest
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.planning.summary import summarise
from nih_chest_xray.release.downloads import complete_tables
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.release import TableFile, known_files
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.tables.expert_labels import (
    ALL_FINDINGS,
    FOUR_FINDINGS,
    KNOWN_FILES,
    READERS,
    expert_file_kind,
    read_expert_labels,
)
from nih_chest_xray.vocabulary import BOTH_EXPERT_FILES, EXPERT_FILES, FINDINGS

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
    "Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id"
)


def row(name, answer, in_set=""):
    return f"{name},No Finding,0,{int(name[:8])},58,M,PA,2682,2749,0.143,0.143,NO,NO,NO,{answer},{in_set}"


def files(validation, test):
    """The two files; a row that does not say of which set it is gets its file's."""
    rows = {"validation": [HEADER, *(re.sub(",$", ",val", row) for row in validation)]}
    rows["test"] = [HEADER, *(re.sub(",$", ",test", row) for row in test)]
    return {subset: ("\n".join(lines).encode(), EXPERT_FILES[subset]) for subset, lines in rows.items()}


def in_one(*rows):
    """The file that holds both sets, as torchxrayvision packs it."""
    return {"both": (gzip.compress("\r\n".join([HEADER, *rows, ""]).encode()), f"{BOTH_EXPERT_FILES}.gz")}


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
        ([row("00000002_000.png", "")], [GOOD], "validation_labels.csv, row 2: nodule_or_mass is ''"),
        (
            [row("00000002_000.png", "NO", "test")],
            [GOOD],
            "validation_labels.csv, row 2: set_id is 'test'.* val or val",
        ),
        ([GOOD], [row("00000002_000.png", "NO", "train")], "test_labels.csv, row 2: set_id is 'train'.* expected test"),
        ([row("00000001.png", "NO")], [GOOD], "validation_labels.csv, row 2: image_name is"),
    ],
)
def test_a_mistake_is_an_error_with_file_and_row(validation, test, message):
    with pytest.raises(TableError, match=message):
        read_expert_labels(files(validation, test))


def test_one_file_of_both_sets_says_what_the_two_say():
    rng = np.random.default_rng(0)
    names = [f"{patient:08d}_{number:03d}.png" for patient in range(1, 21) for number in range(2)]
    rows = [row(name, rng.choice(["YES", "NO"]), "val" if int(name[:8]) % 3 else "test") for name in names]
    pair = read_expert_labels(files(*([row for row in rows if row.endswith(end)] for end in ("val", "test"))))
    one = read_expert_labels(in_one(*rng.permutation(rows)))
    expected, read = (table.sort_values("image_name", ignore_index=True) for table in (pair, one))
    pd.testing.assert_frame_equal(read, expected)
    assert set(one["subset"]) == {"validation", "test"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("00000001_000.png", "NO", "val"), row("00000002_000.png", "NO", "")], "row 3: set_id is ''.* test"),
        (
            [row("00000001_000.png", "NO", "val"), row("00000001_001.png", "NO", "test")],
            "row 3: .* patient who has none in the other subset",
        ),
        ([row("00000001_000.png", "1", "val")], "row 2: nodule_or_mass is '1'.* YES or NO"),
        ([row("00000001_000.png", "NO", "val")] * 2, "row 3: .* each image once"),
    ],
)
def test_a_mistake_in_the_one_file_is_an_error_with_its_row(rows, message):
    with pytest.raises(TableError, match=rf"^{BOTH_EXPERT_FILES}.gz, {message}"):
        read_expert_labels(in_one(*rows))


def test_the_one_file_needs_its_set_id():
    content = b"Image Index,Nodule or mass\n00000001_000.png,NO"
    with pytest.raises(TableError, match="both.csv has 0 columns for set_id"):
        read_expert_labels({"both": (content, "both.csv")})


ALL_HEADER = f"Image ID,Patient ID,Abnormal,{','.join(FINDINGS).replace('_', ' ')},Other"


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (HEADER, FOUR_FINDINGS),
        (HEADER.replace("OriginalImage[Width,Height]", '"OriginalImage[Width,Height]"'), FOUR_FINDINGS),
        (ALL_HEADER, ALL_FINDINGS),
        (ALL_HEADER.replace("Patient ID", "Patient ID,Reader ID"), READERS),
        ("Patient ID,Image ID,Reader ID,Fracture,Pneumothorax,Airspace opacity,Nodule/mass,Set ID", READERS),
        # CheXpert's file of this name, and the NIH's label file.
        ("Path,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation", None),
        (HEADER.partition(",Fracture")[0], None),
        ("", None),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_is_told_by_its_header(header, kind, pack):
    assert expert_file_kind(pack(f"{header}\n00000001_000.png,1,NO".encode())) == kind


def test_what_is_no_table_is_no_file_of_the_radiologists():
    assert expert_file_kind(b"\x1f\x8b cut") is None
    assert expert_file_kind(bytes(range(256))) is None


@pytest.mark.parametrize("header", [ALL_HEADER, ALL_HEADER.replace("Patient ID", "Patient ID,Reader ID")])
def test_another_file_of_the_radiologists_is_refused_by_what_it_is(header):
    kind = READERS if "Reader" in header else ALL_FINDINGS
    with pytest.raises(TableError, match=f"^test_labels.csv is, .* file of {kind}; expected .* four_findings_expert"):
        read_expert_labels({"test": (f"{header}\n00000001_000.png".encode(), "test_labels.csv")})


def test_a_table_without_the_radiologists_column_is_refused():
    content = b"Image Index,Finding Labels\n00000001_000.png,Mass"
    with pytest.raises(TableError, match="test_labels.csv has 0 columns for nodule_or_mass"):
        read_expert_labels({"test": (content, "test_labels.csv")})


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


def in_place_of_the_two(folder, content):
    """The phantom with the one file of both sets, and without the two."""
    found = find_release(epath.Path(folder), known_files(), allow_repacked=True)
    tables = {name: table for name, table in found.tables.items() if name not in EXPERT_FILES.values()}
    one = TableFile(BOTH_EXPERT_FILES, functools.partial(bytes, content))
    return type(found)(found.place, tables | {BOTH_EXPERT_FILES: one}, found.sources, found.archives)


def test_the_one_file_is_read_where_the_two_are_missing(phantom, phantom_dir, expert, config):
    rows = [line for name in EXPERT_FILES.values() for line in phantom.tables()[name].decode().splitlines()]
    header = rows[0]
    content = "\n".join([header, *(line for line in rows if line != header)]).encode()
    found = in_place_of_the_two(phantom_dir, content)
    assert complete_tables(found, config, known_files(), None).tables == found.tables  # Nothing is downloaded.
    with pytest.warns(UserWarning, match=f"{BOTH_EXPERT_FILES} is not byte for byte a file that the radiologists publ"):
        tables = read_tables(found, config, known_files())
    plan = make_plan(tables, config)
    read = plan.cohort[plan.cohort["subset"] != "train"]
    assert set(zip(read["image_name"], read["subset"], strict=True)) == set(
        zip(expert["image_name"], expert["subset"], strict=True)
    )
    assert tables.origin["tables"][BOTH_EXPERT_FILES]["official"] is False


def test_a_known_file_is_told_by_its_digest_without_a_warning(phantom_dir, config, monkeypatch):
    for name in EXPERT_FILES.values():
        monkeypatch.setitem(KNOWN_FILES, hashlib.sha256((phantom_dir / name).read_bytes()).hexdigest(), name)
    found = find_release(epath.Path(phantom_dir), known_files(), allow_repacked=True)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        tables = read_tables(found, config, known_files())
    assert not [warning for warning in warned if "radiologists" in str(warning.message)]
    assert all(tables.origin["tables"][name]["official"] for name in EXPERT_FILES.values())

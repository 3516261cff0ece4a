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

from nih_chest_xray.errors import ReleaseError, TableError
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
    ALL_READERS,
    FOUR_FINDINGS,
    FOUR_READERS,
    KNOWN_FILES,
    all_that_was_said,
    expert_file_kind,
    read_all_findings,
    read_expert_labels,
)
from nih_chest_xray.tables.expert_readers import read_readings
from nih_chest_xray.vocabulary import (
    ALL_FINDINGS_FILE,
    BOTH_EXPERT_FILES,
    EXPERT_FILES,
    FINDINGS,
    READER_FILES,
    UNREAD,
)

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
        ["00000001_000.png", "validation", (0, 0, 0, 0)],
        ["00000001_001.png", "validation", (0, 0, 0, 1)],
        ["00000002_000.png", "test", (0, 0, 0, 1)],
    ]


GOOD = row("00000001_000.png", "NO")


@pytest.mark.parametrize(
    ("validation", "test", "message"),
    [
        ([row("00000002_000.png", "")], [GOOD], "validation_labels.csv, row 2: Nodule or mass is ''"),
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
        ([row("00000001_000.png", "1", "val")], "row 2: Nodule or mass is '1'.* YES or NO"),
        ([row("00000001_000.png", "NO", "val")] * 2, "row 3: .* each image once"),
    ],
)
def test_a_mistake_in_the_one_file_is_an_error_with_its_row(rows, message):
    with pytest.raises(TableError, match=rf"^{BOTH_EXPERT_FILES}.gz, {message}"):
        read_expert_labels(in_one(*rows))


def test_the_one_file_needs_its_set_id():
    content = f"{HEADER.removesuffix(',Set Id')}\n{GOOD.rpartition(',')[0]}".encode()
    with pytest.raises(TableError, match="both.csv has 0 columns for set_id"):
        read_expert_labels({"both": (content, "both.csv")})


ALL_HEADER = f"Image ID,Patient ID,Abnormal,{','.join(FINDINGS).replace('_', ' ')},Other"


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (HEADER, FOUR_FINDINGS),
        (HEADER.replace("OriginalImage[Width,Height]", '"OriginalImage[Width,Height]"'), FOUR_FINDINGS),
        (ALL_HEADER, ALL_FINDINGS),
        (ALL_HEADER.replace("Patient ID", "Patient ID,Reader ID"), ALL_READERS),
        ("Patient ID,Image ID,Reader ID,Fracture,Pneumothorax,Airspace opacity,Nodule/mass,Set ID", FOUR_READERS),
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
    kind = ALL_READERS if "Reader" in header else ALL_FINDINGS
    with pytest.raises(TableError, match=f"^test_labels.csv is, .* file of {kind}; expected .* four_findings_expert"):
        read_expert_labels({"test": (f"{header}\n00000001_000.png".encode(), "test_labels.csv")})


def test_a_table_without_the_radiologists_column_is_refused():
    content = b"Image Index,Finding Labels\n00000001_000.png,Mass"
    with pytest.raises(TableError, match="test_labels.csv has 0 columns for Fracture"):
        read_expert_labels({"test": (content, "test_labels.csv")})


@pytest.fixture
def expert(phantom):
    """What the phantom's radiologists say, all files together."""
    tables = phantom.tables()
    return all_that_was_said(
        read_expert_labels({subset: (tables[name], name) for subset, name in EXPERT_FILES.items()}),
        read_all_findings(tables[ALL_FINDINGS_FILE], ALL_FINDINGS_FILE),
        *(read_readings(tables[name], name, of) for of, name in READER_FILES.items()),
    )


@pytest.fixture
def config(make_config):
    return make_config(task="nodule_expert", split="expert", augmented_copies=1)


def test_evaluation_is_what_radiologists_read_and_training_has_none_of_their_patients(
    phantom_labels, expert, config, make_config
):
    cohort = make_cohort(phantom_labels, config, expert=expert)
    for subset in ("validation", "test"):
        rows = cohort[cohort["subset"] == subset].set_index("image_name")
        answers = expert[expert["subset"] == subset].set_index("image_name")["expert_labels"].str[-1]
        assert set(rows.index) == set(answers.index)
        assert ((rows["label"] == "Nodule or mass") == (answers.reindex(rows.index) == 1)).all()
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
    names = [*EXPERT_FILES.values(), ALL_FINDINGS_FILE, *READER_FILES.values()]
    for name in names:
        monkeypatch.setitem(KNOWN_FILES, hashlib.sha256((phantom_dir / name).read_bytes()).hexdigest(), name)
    found = find_release(epath.Path(phantom_dir), known_files(), allow_repacked=True)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        tables = read_tables(found, config, known_files())
    assert not [warning for warning in warned if "radiologists" in str(warning.message)]
    assert all(tables.origin["tables"][name]["official"] for name in names)


ONE, TWO, THREE = "00000001_000.png", "00000002_000.png", "00000003_000.png"


def all_row(name, *yes, reader=""):
    answers = ["YES" if finding in yes else "NO" for finding in FINDINGS]
    return f"{name},{int(name[:8])},{reader}{'YES' if yes else 'NO'},{','.join(answers)},NO"


def test_what_all_the_files_say_of_an_image_is_in_one_row_and_the_rest_is_minus_one():
    four = read_expert_labels(files([row(ONE, "YES")], [row(TWO, "NO")]))
    content = "\n".join([ALL_HEADER, all_row(TWO, "Mass", "Hernia"), all_row(THREE)]).encode()
    readings = [
        "Patient ID,Image ID,Reader ID,Fracture,Pneumothorax,Airspace opacity,Nodule/mass,Set ID",
        *(f"1,{ONE},{reader},NO,NO,YES,{answer},val" for reader, answer in enumerate(["YES", "HEDGE", "YES"])),
        f"2,{TWO},0,NO,HEDGE,YES,NO,test",
    ]
    said = [all_row(TWO, *(["Nodule"] if reader < 3 else ["Mass"]), reader=f"{reader},") for reader in range(5)]
    of_all = "\n".join([ALL_HEADER.replace("Patient ID", "Patient ID,Reader ID"), *said]).encode()
    expert = all_that_was_said(
        four,
        read_all_findings(content, "all"),
        read_readings("\n".join(readings).encode(), "readers", "four"),
        read_readings(of_all, "all readers", "all"),
    )
    mass_and_hernia = tuple(int(finding in ("Mass", "Hernia")) for finding in FINDINGS)
    assert expert.to_numpy().tolist() == [
        [ONE, "validation", (0, 0, 0, 1), (2, 0, 1), (-1,) * 14, -1],
        [TWO, "test", (0, 0, 0, 0), (0, 1, 0), mass_and_hernia, 3],
        [THREE, None, (-1,) * 4, (-1,) * 3, (0,) * 14, -1],
    ]


def test_without_the_optional_files_their_features_are_minus_one(phantom):
    tables = phantom.tables()
    four = read_expert_labels({subset: (tables[name], name) for subset, name in EXPERT_FILES.items()})
    expert = all_that_was_said(four)
    assert list(expert["expert_labels"]) == list(four.sort_values("image_name")["expert_labels"])
    for name in ("reader_votes", "expert_findings", "nodule_votes"):
        assert set(expert[name]) == {UNREAD[name]}


def test_what_radiologists_said_is_stored_with_the_image_and_training_images_have_nothing(
    phantom_labels, expert, config
):
    cohort = make_cohort(phantom_labels, config, expert=expert).set_index("image_name")
    for name, unread in UNREAD.items():
        said = dict(zip(expert["image_name"], expert[name], strict=True))
        assert [said.get(image, unread) for image in cohort.index] == list(cohort[name])
        assert set(cohort.loc[cohort["subset"] == "train", name]) == {unread}
        assert {unread} < set(cohort[name])


ALL = {"split": "expert_all", "healthy_stride": 1}


def test_nodules_alone_are_evaluated_on_the_set_of_all_findings(phantom_labels, phantom, expert, make_config):
    config = make_config(**ALL)
    cohort = make_cohort(phantom_labels, config, expert=expert)
    test = cohort[cohort["subset"] == "test"]
    lines = phantom.tables()[ALL_FINDINGS_FILE].decode().splitlines()
    at = lines[0].split(",").index("Nodule")
    answers = {line.split(",")[0]: line.split(",")[at] for line in lines[1:]}
    assert {"YES", "NO"} == set(answers.values())
    labels = {"YES": "Nodule", "NO": "No Nodule"}
    assert dict(zip(test["image_name"], test["label"], strict=True)) == {
        name: labels[answer] for name, answer in answers.items()
    }
    assert list(test["positive"]) == list(test["label"] == "Nodule")
    assert (test["text_mined_label"] == "Nodule").tolist() == ["Nodule" in found for found in test["findings"]]
    rest = cohort[cohort["subset"] != "test"]
    assert set(test["patient_id"]).isdisjoint(rest["patient_id"])
    assert (rest["label"] == rest["text_mined_label"]).all()
    assert rest.groupby("patient_id")["subset"].nunique().max() == 1
    validation = rest.loc[rest["subset"] == "validation", "patient_id"].nunique()
    assert abs(validation - 0.2 * rest["patient_id"].nunique()) <= 1
    others = [bool(found) and "Nodule" not in found for found in rest["findings"]]
    assert not any(others)
    summary = summarise(make_manifest(cohort, config, {}), config)
    assert set(summary["agreement"]) == {"test"}
    assert sum(summary["agreement"]["test"]["Nodule"].values()) == list(answers.values()).count("YES")


@pytest.mark.parametrize("fields", [ALL, {"task": "nodule_expert", "split": "expert"}])
def test_negatives_of_training_may_show_other_findings(phantom_labels, expert, make_config, fields):
    cohort = make_cohort(phantom_labels, make_config(**fields, negative="rest"), expert=expert)
    train = cohort[(cohort["subset"] == "train") & ~cohort["positive"]]
    assert any(train["findings"].map(len) > 0)
    assert not any({"Nodule"} & {*found} for found in train["findings"])


def without(folder, *names):
    found = find_release(epath.Path(folder), known_files(), allow_repacked=True)
    tables = {name: table for name, table in found.tables.items() if name not in names}
    return type(found)(found.place, tables, found.sources, found.archives)


@pytest.mark.filterwarnings("ignore:.* is not byte for byte")
def test_nodules_alone_need_the_file_of_all_findings_and_no_other(phantom_dir, make_config):
    config = make_config(**ALL)
    others = [*EXPERT_FILES.values(), *READER_FILES.values()]
    found = without(phantom_dir, *others)
    assert complete_tables(found, config, known_files(), None).tables == found.tables
    tables = read_tables(found, config, known_files())
    cohort = make_plan(tables, config).cohort
    assert set(cohort["expert_labels"]) == {UNREAD["expert_labels"]}
    assert UNREAD["expert_findings"] not in set(cohort.loc[cohort["subset"] == "test", "expert_findings"])
    assert "radiologists" not in tables.origin
    assert {*tables.origin["tables"]} & {*others, ALL_FINDINGS_FILE} == {ALL_FINDINGS_FILE}
    with pytest.raises(
        ReleaseError,
        match="^test_labels.csv of all findings: not found in .*form at https://cloud.google.com/.* folder"
        " all_findings_expert_labels, .* is the file of four findings, by its header",
    ):
        complete_tables(without(phantom_dir, ALL_FINDINGS_FILE), config, known_files(), None)


@pytest.mark.filterwarnings("ignore:.* is not byte for byte")
def test_files_are_told_in_the_metadata_with_how_far_radiologists_agree(phantom_dir, config):
    tables = read_tables(without(phantom_dir), config, known_files())
    said = tables.origin["radiologists"]
    assert {*said["kappa_four_findings"]} == {"validation", "test"}
    assert {*said["kappa_all_findings"]} == {"test"}
    assert list(said["kappa_all_findings"]["test"]) == list(FINDINGS)
    in_both = tables.expert["expert_labels"].str[0].ne(-1) & tables.expert["expert_findings"].str[0].ne(-1)
    assert sum(sum(row.values()) for row in said["agreement_of_sets"].values()) == in_both.sum() > 0

"""Tests of check: it says what a build would find and do, changes nothing, and its exit code says whether to begin."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.__main__ import main
from nih_chest_xray.config import config_of
from nih_chest_xray.images import png
from nih_chest_xray.phantom.release import tar_gz
from nih_chest_xray.planning.cohort import make_cohort
from nih_chest_xray.system import disk_space
from nih_chest_xray.tables.labels import read_labels
from nih_chest_xray.verification import preflight
from nih_chest_xray.verification.preflight import check
from nih_chest_xray.verification.report import FAILED, OK, SKIPPED, Check

PART = '{"name": "part", "allow_missing_images": true, "validation_fraction": 0.2, "test_fraction": 0.2}'
WHOLE = '{"name": "whole", "validation_fraction": 0.2, "test_fraction": 0.2}'


@pytest.fixture
def release(phantom_dir, tmp_path) -> Path:
    return shutil.copytree(phantom_dir, tmp_path / "release")


def checked(folder: Path, config: str = WHOLE, **options) -> dict[str, Check]:
    done = check(folder, config_of(config), folder.parent / "data", **options)
    return {each.name: each for each in done}


def files_of(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_whole_release_passes_with_the_counts_that_a_build_then_has(release, tmp_path, capsys):
    before = files_of(tmp_path)
    assert main(["check", str(release), "--config", WHOLE, "--data_dir", str(tmp_path / "data"), "--all"]) == 0
    assert files_of(tmp_path) == before
    printed = capsys.readouterr().out
    builder = Builder(config=NihChestXrayConfig(**json.loads(WHOLE)), data_dir=tmp_path / "data")
    import tensorflow_datasets as tfds

    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=release))
    for subset, counts in builder.info.metadata["counts"].items():
        assert f"{subset}: {', '.join(f'{name} {number:,}' for name, number in counts.items())}" in printed
    assert "download      nothing" in printed
    assert "0 FAILED, 0 skipped" in printed


def test_missing_images_are_counted_by_archive_with_what_would_be_downloaded(release):
    missing = sorted((release / "images").glob("*.png"))[:3]
    for path in missing:
        path.unlink()
    done = checked(release)
    # The phantom's few patients are in the range of the NIH's first archive, which has 2,008,470,987 bytes.
    assert done["images"].status == FAILED
    assert any(line.startswith("images of archive 1: ") for line in done["images"].offenders)
    assert done["download"].status == FAILED
    assert done["download"].seen == "2.01 GB in archives: 1"
    assert done["download"].offenders == ("images_001.tar.gz: 2.01 GB",)


def test_part_that_is_allowed_passes(release, capsys):
    for path in sorted((release / "images").glob("*.png"))[:3]:
        path.unlink()
    done = checked(release, PART)
    assert done["images"].status == OK
    assert "the config allows missing ones" in done["images"].seen
    assert done["download"].seen == "nothing"
    assert main(["check", str(release), "--config", PART, "--data_dir", str(release.parent)]) == 0


def test_all_broken_images_are_named_and_only_where_all_are_decoded(release):
    names = [path.name for path in sorted((release / "images").glob("*.png"))[5:25:10]]
    for name in names:
        path = release / "images" / name
        path.write_bytes(path.read_bytes()[:-100])
    config = config_of(PART.replace('"name"', '"healthy_stride": 1, "name"'))
    assert {c.name: c for c in check(release, config, release)}["broken"].status == SKIPPED
    kept = checked(release, WHOLE.replace('"name"', '"task": "findings", "healthy_stride": 1, "name"'), decode_all=True)
    assert kept["broken"].status == FAILED
    assert [name in problem for name, problem in zip(names, kept["broken"].offenders, strict=True)] == [True, True]


def test_table_that_is_missing_or_bad_is_told_and_the_rest_skipped(release):
    label_file = release / "Data_Entry_2017_v2020.csv"
    label_file.write_text(label_file.read_text().replace(",PA,", ",XX,"))
    done = checked(release)
    assert done["tables"].status == FAILED
    assert "view_position is 'XX'" in done["tables"].offenders[0]
    label_file.unlink()
    done = checked(release)
    assert done["tables"].offenders == ("Data_Entry_2017_v2020.csv: not found; a build would download it (9.0 MB)",)
    assert {done[name].status for name in ("images", "broken", "download", "examples", "room")} == {SKIPPED}


def test_images_without_tables_are_counted_all_the_same(release):
    (release / "Data_Entry_2017_v2020.csv").unlink()
    images = len(list((release / "images").glob("*.png")))
    assert checked(release)["images"].seen.startswith(f"{images:,} outside archives")


def test_archive_of_unknown_contents_is_not_taken_for_all_images(release, phantom):
    shutil.rmtree(release / "images")
    phantom.write(release, "archives")
    unread = checked(release, PART)
    assert unread["images"].seen.startswith("0 of ")
    assert "images_001.tar.gz and " in unread["images"].seen
    assert unread["images"].status == OK
    read = checked(release, PART, decode_all=True)
    whole = cohort_size(release)
    assert read["images"].seen.startswith(f"{whole:,} of {whole:,};")


def test_a_subset_that_only_an_unofficial_archive_could_fill_fails_once_that_is_read(release, phantom):
    """A build has announced the subset by then, and TFDS stores no empty one."""
    labels = read_labels((release / "Data_Entry_2017_v2020.csv").read_bytes(), "labels")
    cohort = make_cohort(labels, config_of(PART))
    kept = set(cohort.loc[cohort["subset"] == "train", "image_name"][:5])
    members = [(image.name, image.read()) for image in phantom.images(kept)]
    shutil.rmtree(release / "images")
    (release / "images_001.tar.gz").write_bytes(tar_gz(members))
    assert checked(release, PART)["examples"].status == OK  # Nobody knows yet.
    read = checked(release, PART, decode_all=True)["examples"]
    assert (read.status, read.seen) == (FAILED, "no image of test and validation")
    assert "images_001.tar.gz would have to be extracted" in read.offenders[0]


def cohort_size(release: Path) -> int:
    """All nodule images and every second No Finding image, by the label file's lines."""
    rows = [line.split(",") for line in (release / "Data_Entry_2017_v2020.csv").read_text().splitlines()[1:]]
    findings = [row[1].split("|") for row in rows]
    return sum("Nodule" in each for each in findings) + -(-findings.count(["No Finding"]) // 2)


def test_lists_of_ones_own_are_read_as_a_build_reads_them(release):
    names = sorted(path.name for path in (release / "images").glob("*.png"))
    first = [name for name in names if int(name[:8]) % 2]
    for file, listed in (("tr.txt", first), ("te.txt", sorted(set(names) - set(first)))):
        (release / file).write_text("\n".join(listed))
    lists = '"split": "lists", "split_lists": {"train": "tr.txt", "test": "te.txt"}, "name"'
    done = checked(release, PART.replace('"name"', lists))
    assert done["tables"].status == OK
    assert f"{release}/tr.txt" in done["tables"].seen


def test_radiologists_files_that_are_missing_are_told_as_a_build_tells_it(release):
    for name in ("test_labels.csv", "validation_labels.csv"):
        for path in release.rglob(name):
            path.unlink()
    done = checked(release, "nodule_expert")
    assert "fill in the form at https://cloud.google.com/" in done["tables"].offenders[0]


def test_radiologists_files_that_only_give_features_are_told_where_they_lack_and_fail_nothing(release):
    whole = checked(release, "nodule_expert")["tables"]
    for name in ("individual_readers.csv", "test_individual_readers.csv", "all_findings_expert_labels_test_labels.csv"):
        assert f"/{name} (not as it was published)" in whole.seen
        for path in release.rglob(name):
            path.unlink()
    done = checked(release, "nodule_expert")["tables"]
    assert (done.status, [line for line in done.offenders if "not found" in line]) == (
        OK,
        [
            "individual_readers.csv: not found; reader_votes will hold -1",
            "all_findings_expert_labels_test_labels.csv: not found; expert_findings will hold -1",
            "test_individual_readers.csv: not found; nodule_votes will hold -1",
        ],
    )


def test_data_dir_in_which_nobody_may_write_fails(release, monkeypatch):
    monkeypatch.setattr(preflight.os, "access", lambda *_: False)
    assert "you may not write there" in checked(release)["room"].offenders[0]


def test_files_left_aside_are_named_and_fail_nothing(release):
    (release / "holiday.zip").write_bytes(b"PK")
    done = checked(release)
    assert done["left aside"].status == OK
    assert "holiday.zip is cut or corrupt" in done["left aside"].offenders[0]
    assert not any(each.status == FAILED for each in done.values())


def test_resized_copies_are_told_with_the_field_that_takes_them(release):
    for path in (release / "images").glob("*.png"):
        path.write_bytes(png.encode(np.zeros((512, 512), np.uint8)))
    assert '"allow_resized_images": true' in checked(release)["left aside"].offenders[0]
    taken = checked(release, WHOLE.replace('"name"', '"allow_resized_images": true, "name"'))
    assert taken["images"].status == OK


def test_disk_that_is_too_small_fails(release, monkeypatch):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 1000}))
    assert checked(release)["room"].status == FAILED


def test_room_for_downloads_is_needed_too(release, monkeypatch):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 10**9}))
    assert checked(release)["room"].status == OK
    for path in sorted((release / "images").glob("*.png"))[:3]:
        path.unlink()
    room = checked(release)["room"]
    assert room.status == FAILED
    assert "the files to download need 2.01 GB" in room.offenders[0]  # The NIH's first archive.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{folder}/nowhere"], "nowhere is not a directory"),
        (["{folder}", "--config", "nodul"], "expected one of nodule, nodule_augmented"),
        (["{folder}", "--config", '{"name": "x", "size": 1}'], "has no field 'size'"),
        (["{folder}", "--config", '{"name": "x", "image_size": 1}'], "image_size=1; expected a whole number"),
        (["{folder}", "--config", "sample"], "draws its images and reads no folder"),
        (["{folder}", "--config", '{"name": "nodule", "seed": 1}'], "'nodule' is that of a named config"),
        (["{folder}"], "Nothing of the NIH's release is in"),
    ],
)
def test_what_cannot_be_checked_is_one_line_and_exit_2(arguments, said, tmp_path, capsys):
    assert main(["check", *(argument.replace("{folder}", str(tmp_path)) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_json_has_the_same_outcomes(release, capsys):
    assert main(["check", str(release), "--config", WHOLE, "--data_dir", str(release.parent), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert [each["name"] for each in told["checks"]] == list(checked(release))


@pytest.mark.real
def test_real_slice_is_counted_as_its_files_are(real_dir, tmp_path):
    done = check(real_dir, config_of("findings"), tmp_path)
    images = len(list((real_dir / "images").glob("*.png")))
    assert next(each.seen for each in done if each.name == "images").startswith(f"{images:,} of 112,120")

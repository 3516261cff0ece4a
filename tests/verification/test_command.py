"""Tests of `nih-chest-xray verify`: a sound dataset passes, and each kind of damage fails its check, by name."""

import hashlib
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from conftest import build
from etils import epath
from shards import change, first_copy, name_of, read, shard, value, write

import nih_chest_xray
from nih_chest_xray.__main__ import main
from nih_chest_xray.errors import UsageError
from nih_chest_xray.images import codec
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.phantom.release import Phantom
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.verification import checks
from nih_chest_xray.verification.command import verify
from nih_chest_xray.verification.records import Records, digest_image
from nih_chest_xray.verification.report import as_text


@pytest.fixture
def folder(sound, tmp_path):
    """A copy of the build, to be damaged."""
    return epath.Path(shutil.copytree(sound, tmp_path / "nih_chest_xray" / "built" / "2.0.0"))


def outcome(folder, *arguments):
    """Returns the checks by name, those that failed, and all that they name."""
    done = {check.name: check for check in verify(epath.Path(folder), *arguments)}
    failed = {name for name, check in done.items() if check.status == "FAILED"}
    assert all(bool(check.offenders) == (check.name in failed) for check in done.values())
    return done, failed - {"examples.csv"}  # It fails whatever is damaged in records.


def test_a_sound_dataset_passes_every_check(sound, phantom_dir):
    done, failed = outcome(sound, phantom_dir)
    assert failed == set()
    assert [check.name for check in done.values() if check.status == "skipped"] == ["splits"]
    assert done["splits"].seen == "a custom config"
    number = len((sound / "metadata.csv").read_text().splitlines()) - 1
    assert done["records"].seen == f"{number} found, 0 broken"
    assert done["pixels"].seen == f"{number} of {number} images, {number} with the bytes of a fresh encode"


def test_without_a_release_the_dataset_is_checked_by_itself(sound):
    done, failed = outcome(sound)
    assert failed == set()
    assert [name for name, check in done.items() if check.status == "skipped"] == [
        "splits",
        "tables",
        "labels",
        "pixels",
    ]
    assert "--release" in done["pixels"].seen


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "findings", "split": "official", "healthy_stride": 1, "image_format": "jpeg", "image_size": 64},
        {"task": "nodule_expert", "split": "expert", "image_size": 16, "augmented_copies": 1},
        {"split": "expert_all", "image_size": 16, "augmented_copies": 1, "negative": "rest"},
        {"image_size": None},
    ],
    ids=["findings", "nodule_expert", "nodules alone", "the NIH's bytes"],
)
def test_every_task_and_encoding_passes(fields, phantom_dir, tmp_path):
    done, failed = outcome(build(phantom_dir, tmp_path, **fields), phantom_dir, 20)
    assert failed == set()
    assert done["pixels"].seen.startswith("20 of ")
    assert done["pixels"].seen.endswith(" 20 with the bytes of a fresh encode")


@pytest.fixture
def expert_dataset(phantom_dir, tmp_path):
    return build(phantom_dir, tmp_path / "data", task="nodule_expert", split="expert", image_size=16)


def test_a_file_of_the_radiologists_that_the_build_lacked_is_named(phantom_dir, tmp_path):
    release = shutil.copytree(phantom_dir, tmp_path / "release")
    (release / "individual_readers.csv").unlink()
    folder = build(release, tmp_path / "data", split="expert_all", image_size=16)
    assert outcome(folder, release, 1)[1] == set()
    done, failed = outcome(folder, phantom_dir, 1)
    assert failed == {"tables"}
    [told] = done["tables"].offenders
    assert told == f"individual_readers.csv: is in {phantom_dir}; the dataset was built without it"


def test_another_agreement_of_radiologists_than_that_of_their_files_is_named(expert_dataset, phantom_dir):
    path = expert_dataset / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["radiologists"]["kappa_all_findings"]["test"]["Nodule"] = 0.999
    path.write_text(json.dumps(metadata))
    done, failed = outcome(expert_dataset, phantom_dir, 1)
    assert failed == {"labels"}
    assert "radiologists is" in done["labels"].offenders[0]


def test_another_number_of_votes_than_the_readers_gave_is_named(expert_dataset, phantom_dir, tmp_path):
    release = shutil.copytree(phantom_dir, tmp_path / "release")
    path = release / "test_individual_readers.csv"
    lines = path.read_text().splitlines(keepends=True)
    at = lines[0].split(",").index("Nodule")
    cells = lines[1].split(",")
    cells[at] = {"YES": "NO", "NO": "YES"}[cells[at]]
    path.write_text("".join([lines[0], ",".join(cells), *lines[2:]]))
    metadata = expert_dataset / "metadata.json"
    digests = [hashlib.sha256((folder / path.name).read_bytes()).hexdigest() for folder in (phantom_dir, release)]
    metadata.write_text(metadata.read_text().replace(*digests))
    done, failed = outcome(expert_dataset, release, 1)
    assert failed == {"labels"}
    assert done["labels"].offenders[1].startswith(f"{cells[0]}: nodule_votes is ")


def test_a_phantoms_dataset_needs_no_release(tmp_path):
    done, failed = outcome(build(None, tmp_path, phantom_patients=12, image_size=16, augmented_copies=1), None, 5)
    assert failed == set()
    assert [done[name].status for name in ("tables", "labels", "pixels")] == ["ok"] * 3


@pytest.mark.parametrize(
    ("name", "skipped"),
    [
        ("metadata.csv", {"names"}),
        ("metadata.json", {"augmentation", "splits", "tables", "labels", "pixels"}),
        ("features.json", set()),
        ("dataset_info.json", set()),
    ],
)
def test_checks_that_need_a_file_that_cannot_be_read_are_skipped(name, skipped, folder, phantom_dir):
    (folder / name).write_bytes(b"{")
    done, failed = outcome(folder, phantom_dir, 1)
    assert failed == {"files"}
    rest = done.keys() - failed
    assert {each for each, check in done.items() if check.status == "skipped"} - {"splits"} == (skipped or rest) - {
        "splits"
    }


# Against the release.


def test_another_release_is_told_by_its_tables(sound, phantom, tmp_path):
    for name, content in Phantom(40, seed=1).tables().items():
        (tmp_path / name).write_bytes(content)
    done, failed = outcome(sound, tmp_path)
    assert failed == {"tables"}
    assert [text.split(": ")[0].rsplit("/", 1)[1] for text in done["tables"].offenders] == [
        "Data_Entry_2017_v2020.csv",
        "BBox_List_2017.csv",
    ]
    assert done["labels"].status == done["pixels"].status == "skipped"


def test_the_label_file_is_known_by_its_bytes_whatever_it_is_called(sound, phantom_dir, tmp_path):
    release = shutil.copytree(phantom_dir, tmp_path / "release")
    (release / "Data_Entry_2017_v2020.csv").rename(release / "Data_Entry_2017.csv")
    done, failed = outcome(sound, release)
    assert failed == set()
    assert {done[name].status for name in ("tables", "labels", "pixels")} == {"ok"}


def test_a_table_that_the_release_lacks_is_named(sound, phantom, tmp_path):
    (tmp_path / "BBox_List_2017.csv").write_bytes(phantom.tables()["BBox_List_2017.csv"])
    done, failed = outcome(sound, tmp_path)
    assert failed == {"tables"}
    assert done["tables"].offenders[0].startswith("Data_Entry_2017_v2020.csv: is not in ")


@pytest.mark.parametrize(
    ("name", "new", "told"),
    [
        ("patient_age", 3, "patient_age is 3 in"),
        ("bboxes/bbox", 0.015, "bboxes is"),
        ("follow_up", 99, "follow_up is 99"),
    ],
)
def test_a_field_that_is_not_the_releases_is_named(folder, phantom, name, new, told):
    """One that nothing but the release can tell. Of the images, the one that the first box is on."""
    records = read(shard(folder, "test"))
    number = next(n for n, record in enumerate(records) if value(tf.train.Example.FromString(record), "bboxes/finding"))
    changed = change(folder, "test", number, lambda example: value(example, name).__setitem__(0, new))
    release = folder.parent / "tables"
    release.mkdir()
    for table, content in phantom.tables().items():
        (release / table).write_bytes(content)
    done, failed = outcome(folder, release)
    assert failed == {"labels"}
    [wrong] = done["labels"].offenders
    assert wrong.startswith(f"{changed}: {told}")
    assert done["pixels"].status == "skipped"
    assert "has none of the " in done["pixels"].seen


def test_changed_pixels_in_a_sound_record_are_named(folder, phantom_dir):
    def brighten(example):
        pixels = codec.decode_stored(value(example, "image")[0], "png")
        pixels[10, 10] ^= 1
        value(example, "image")[0] = codec.encode(pixels, "png")

    name = change(folder, "train", first_copy(folder), brighten)
    done, failed = outcome(folder, phantom_dir)
    assert failed - {"files"} == {"pixels"}  # The PNG may be longer or shorter.
    [wrong] = done["pixels"].offenders
    assert wrong.startswith(f"{name} in {shard(folder, 'train').name}, record {first_copy(folder)}: its pixels are not")


def test_the_same_pixels_in_other_bytes_pass_and_are_said(folder, phantom_dir):
    def encode_otherwise(example):
        pixels = codec.decode_stored(value(example, "image")[0], "png")
        value(example, "image")[0] = cv2.imencode(".png", pixels, (cv2.IMWRITE_PNG_COMPRESSION, 9))[1].tobytes()

    change(folder, "test", 0, encode_otherwise)
    done, failed = outcome(folder, phantom_dir)
    assert failed == {"files"}  # Of another size.
    assert "1 with other bytes for the same picture" in done["pixels"].seen


def test_images_that_the_release_lacks_are_counted(sound, phantom, phantom_dir, tmp_path):
    for name, content in phantom.tables().items():
        (tmp_path / name).write_bytes(content)
    rows = [line.split(",") for line in (sound / "metadata.csv").read_text().splitlines()[1:]]
    kept = [name for name, _, subset in rows if subset == "test"]
    (tmp_path / "images").mkdir()
    for name in kept:
        shutil.copy(phantom_dir / "images" / name, tmp_path / "images")
    done, failed = outcome(sound, tmp_path)
    assert failed == set()
    assert done["pixels"].seen.startswith(f"{len(kept)} of {len(rows)} images")
    assert f"; for {len(rows) - len(kept)} more {tmp_path} lacks the source" in done["pixels"].seen


def test_an_image_of_the_release_that_is_broken_is_named(sound, phantom, phantom_dir, tmp_path):
    for name, content in phantom.tables().items():
        (tmp_path / name).write_bytes(content)
    name = (sound / "metadata.csv").read_text().splitlines()[1].split(",")[0]
    (tmp_path / name).write_bytes((phantom_dir / "images" / name).read_bytes()[:5000])
    done, failed = outcome(sound, tmp_path)
    assert failed == {"pixels"}
    assert f"{name} in {tmp_path}: the PNG of 5000 bytes is cut or corrupt" in done["pixels"].offenders[0]


def test_a_build_from_a_part_knows_what_was_missing(phantom, phantom_dir, tmp_path):
    part = tmp_path / "part"
    part.mkdir()
    for name, content in phantom.tables().items():
        (part / name).write_bytes(content)
    for name in sorted(phantom.names)[::2]:
        shutil.copy(phantom_dir / "images" / name, part)
    folder = build(part, tmp_path / "data", image_size=16, allow_missing_images=True, augmented_copies=1)
    assert outcome(folder, phantom_dir, 1)[1] == set()
    metadata = json.loads((folder / "metadata.json").read_text())
    missing = metadata["missing_images"]
    (folder / "metadata.json").write_text(json.dumps(metadata | {"missing_images": missing - 1}))
    done, failed = outcome(folder, phantom_dir, 1)
    assert failed == {"labels"}
    assert done["labels"].offenders[0].startswith(f"{missing} images of the config's cohort are in no sound record; ")


def build_capped(cap, phantom_dir, tmp_path, make_config):
    config = make_config(image_size=16, augmented_copies=3)
    builder = nih_chest_xray.Builder(config=config, data_dir=tmp_path)
    capped = tfds.download.DownloadConfig(manual_dir=phantom_dir, max_examples_per_split=cap)
    builder.download_and_prepare(download_config=capped)
    return epath.Path(builder.data_dir)


def edit_metadata_json(folder, **values):
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_trial_build_passes_and_is_called_one(phantom_dir, tmp_path, make_config):
    """At 4, training ends in the midst of an image's three copies."""
    folder = build_capped(4, phantom_dir, tmp_path, make_config)
    done, failed = outcome(folder, phantom_dir)
    assert failed == set()
    assert done["counts"].seen == (
        "train 4, validation 4, test 4; a trial build of at most 4 examples a subset (--max_examples_per_split);"
        " validation has no image of Nodule; test has no image of Nodule: AUROC is undefined there"
    )
    # Without the word of the cap, all that it left out is missing.
    edit_metadata_json(folder, max_examples_per_split=None)
    assert outcome(folder, phantom_dir)[1] == {"augmentation", "labels"}
    edit_metadata_json(folder, max_examples_per_split=3)
    done, failed = outcome(folder)
    assert failed == {"counts"}
    assert done["counts"].offenders[0] == "train: 4 sound records; metadata.json's max_examples_per_split is 3"


def test_a_record_that_a_trial_build_lost_is_named(phantom_dir, tmp_path, make_config):
    folder = build_capped(6, phantom_dir, tmp_path, make_config)
    records = read(shard(folder, "test"))
    write(shard(folder, "test"), records[1:])
    done, failed = outcome(folder)
    assert {"counts", "names"} <= failed
    assert done["names"].offenders[0].startswith(f"{name_of(records[0])}: is in row ")


def test_a_cap_explains_only_what_the_subsets_lack_that_it_has_cut(phantom_dir, tmp_path, make_config):
    """At 40 only training is cut; an image that test lacks is missing for another reason."""
    folder = build_capped(40, phantom_dir, tmp_path, make_config)
    done, failed = outcome(folder, phantom_dir, 1)
    assert failed == set()
    assert done["counts"].seen.startswith("train 40, ")
    records = read(shard(folder, "test"))
    assert len(records) < 40
    write(shard(folder, "test"), records[1:])
    done, _ = outcome(folder, phantom_dir, 1)
    assert done["labels"].offenders == (
        f"1 images of the config's cohort are in no sound record, such as {name_of(records[0])}; 0 were missing at the"
        " build",
    )


# Parts that a whole build would be slow to reach.


def sample_dataset(**changes):
    """The sample config's manifest as if it had been built, and what its metadata.json would say."""
    config = next(config for config in NAMED_CONFIGS if config.name == "sample")
    tables = read_tables(Phantom(config.phantom_patients).as_release(), config, {})
    table = make_plan(tables, config).manifest
    metadata = tables.origin | {"missing_images": 0} | changes.pop("metadata", {})
    config = nih_chest_xray.NihChestXrayConfig(**{"name": "sample", **config.choices} | changes)
    return checks.Dataset(None, None, metadata, config, None, ()), Records(table, {}, {})


def test_a_subset_without_a_class_is_told_and_is_no_failure(catalog_data):
    done = {check.name: check for check in verify(catalog_data / "nih_chest_xray/many/2.0.0", None)}
    assert done["counts"].status == "ok"
    assert "; train has no image of Emphysema, " in done["counts"].seen
    assert done["counts"].seen.endswith(": AUROC is undefined there")


def test_the_splits_of_a_named_config_are_the_pinned_ones():
    dataset, records = sample_dataset()
    assert checks.check_splits(dataset, records).status == "ok"
    fewer = Records(records.table.drop(records.table.index[records.table["subset"] == "test"][0]), {}, {})
    check = checks.check_splits(dataset, fewer)
    assert check.status == "FAILED"
    [wrong] = check.offenders
    assert wrong.startswith("test: 21 names of SHA-256 ")  # splits.tsv: 22.
    assert "pinned 22 names" in wrong


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seed": 1}, "a custom config"),
        ({"metadata": {"missing_images": 29000}}, "29,000 images were missing when it was built"),
        (
            {"metadata": {"max_examples_per_split": 24, "examples": {"train": 24, "validation": 24, "test": 22}}},
            "a trial build of at most 24 examples a subset (--max_examples_per_split)",
        ),
    ],
)
def test_splits_that_nothing_is_pinned_for_are_skipped(changes, why):
    check = checks.check_splits(*sample_dataset(**changes))
    assert (check.status, check.seen) == ("skipped", why)


def test_splits_that_a_cap_did_not_cut_are_compared():
    examples = {"train": 101, "validation": 24, "test": 22}
    dataset, records = sample_dataset(metadata={"max_examples_per_split": 102, "examples": examples})
    assert checks.check_splits(dataset, records).status == "ok"


def test_splits_from_an_unofficial_label_file_are_skipped():
    config = nih_chest_xray.NihChestXrayConfig(name="nodule_224", image_size=224)  # Named like no config, split as one.
    metadata = {"label_file": "sample_labels.csv", "tables": {"sample_labels.csv": {"official": False}}}
    check = checks.check_splits(checks.Dataset(None, None, metadata, config, None, ()), Records(None, {}, {}))
    assert (check.status, check.seen) == ("skipped", "built from sample_labels.csv, which is not the NIH's own")


def test_jpegs_are_the_same_picture_whatever_the_encoder_and_another_picture_is_not():
    shades = np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8) // 2 + 60
    ours = digest_image(codec.encode(shades, "jpeg"), "jpeg")
    other_encoder = cv2.imencode(".jpg", shades, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes()
    assert ours.sha256 != digest_image(other_encoder, "jpeg").sha256
    assert ours.same_pixels(digest_image(other_encoder, "jpeg"), "jpeg")
    flipped = digest_image(codec.encode(np.ascontiguousarray(shades[:, ::-1]), "jpeg"), "jpeg")
    assert not ours.same_pixels(flipped, "jpeg")


def test_a_cut_jpeg_is_refused():
    content = codec.encode(np.zeros((64, 64), np.uint8), "jpeg")
    with pytest.raises(codec.ImageError, match=r"not a JPEG, or cut or corrupt: \d+ bytes"):
        digest_image(content[:-20], "jpeg")


def test_the_command_exits_with_0_and_reports_a_line_a_check(sound, capsys):
    assert main(["verify", str(sound)]) == 0
    folder, *lines = capsys.readouterr().out.splitlines()
    assert folder == str(sound)
    assert [line.split()[1] for line in lines[:-1]] == [
        *("files", "records", "counts", "names", "examples.csv", "patients", "augmentation", "splits"),
        *("tables", "labels", "pixels"),
    ]
    assert lines[-1] == "7 ok, 0 FAILED, 4 skipped"


def lose_seven_rows(folder):
    header, *rows = (folder / "metadata.csv").read_text().splitlines()
    (folder / "metadata.csv").write_text("\n".join([header, *rows[7:]]) + "\n")


def test_the_command_exits_with_1_and_names_the_first_offenders(folder, capsys):
    lose_seven_rows(folder)
    assert main(["verify", str(folder)]) == 1
    out = capsys.readouterr().out
    assert out.count("but not in metadata.csv") == 5
    assert "         … 7 in all\n" in out


def test_json_holds_all_offenders(folder, capsys):
    lose_seven_rows(folder)
    assert main(["verify", "--json", str(folder)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    [dataset] = document["datasets"]
    assert (dataset["dataset"], dataset["ok"]) == (str(folder), False)
    names = next(check for check in dataset["checks"] if check["name"] == "names")
    assert names["status"] == "FAILED"
    assert len(names["offenders"]) == 7


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (lambda built: built / "nowhere", "nowhere does not exist. Name the data_dir in which datasets were built"),
        (lambda built: built / "metadata.csv", "metadata.csv is not a directory. Name the data_dir"),
        (lambda built: built.parents[2] / "empty", "empty holds no built dataset of nih_chest_xray. Name the data_dir"),
    ],
)
def test_a_folder_that_is_no_dataset_is_said_in_one_line(sound, capsys, place, message):
    (sound.parents[2] / "empty").mkdir(exist_ok=True)
    assert main(["verify", str(place(sound))]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert message in line


def test_of_a_data_dir_each_config_is_checked_in_its_newest_version(sound, tmp_path, capsys):
    home = tmp_path / "nih_chest_xray"
    for place in ("one/2.0.0", "one/2.0.10", "one/2.0.9", "two/2.0.0"):
        shutil.copytree(sound, home / place)
    shutil.copytree(sound, tmp_path / "mnist" / "2.0.0")
    path = tmp_path / "mnist" / "2.0.0" / "dataset_info.json"
    path.write_text(path.read_text().replace('"name": "nih_chest_xray"', '"name": "mnist"'))
    (home / "two/2.0.0" / "dataset_info.json").write_text("{")
    assert main(["verify", "--json", str(tmp_path)]) == 1
    datasets = json.loads(capsys.readouterr().out)["datasets"]
    assert [each["dataset"] for each in datasets] == [str(home / "one/2.0.10"), str(home / "two/2.0.0")]
    assert not datasets[1]["ok"]


def test_a_dataset_of_another_name_is_refused(folder):
    path = folder / "dataset_info.json"
    path.write_text(path.read_text().replace('"name": "nih_chest_xray"', '"name": "mnist"'))
    with pytest.raises(UsageError, match="holds the dataset 'mnist', which this package did not build"):
        verify(folder)


def test_ctrl_c_is_told_in_one_line(monkeypatch, capsys, sound):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("nih_chest_xray.verification.command.verify", interrupt)
    assert main(["verify", str(sound)]) == 130
    assert capsys.readouterr().err == "nih-chest-xray: interrupted\n"


def test_a_release_folder_without_a_release_is_refused(sound, tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert main(["verify", str(sound), "--release", str(folder)]) == 2
        assert str(folder) in capsys.readouterr().err


def test_modules_with_augmentations_are_imported(sound, capsys):
    assert main(["verify", str(sound), "--imports", "no_such_module"]) == 2
    assert "No module named 'no_such_module'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--images", "0"], ["--images", "few"], []])
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["verify", *arguments])
    assert stopped.value.code == 2


def test_the_module_runs_as_a_command(tmp_path):
    command = [sys.executable, "-m", "nih_chest_xray", "verify", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"nih-chest-xray verify: {tmp_path} holds no built dataset" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_shows_a_check_that_could_not_be_finished(sound, monkeypatch):
    """An error that no check foresaw is a failure, not the end of the report."""

    def stop(_dataset, _records):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(checks, "check_patients", stop)
    text = as_text(verify(sound))
    assert "FAILED   patients      the check could not be finished\n         RuntimeError: unforeseen\n" in text
    assert "ok       augmentation" in text

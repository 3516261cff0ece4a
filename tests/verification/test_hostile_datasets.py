"""Tests that a built dataset of somebody else's never decides a path, waits for ever, forges text or ends a command."""

import json
import os
import re
import shutil
import sys

import hostile_datasets as hostile
import pytest
import tensorflow_datasets as tfds
from etils import epath
from pages import Page

from nih_chest_xray.images.transforms import BUILT_IN
from nih_chest_xray.verification import dataset_folder
from nih_chest_xray.verification.metadata_schema import OPTIONAL_METADATA

CASES = hostile.cases()
ONE_OF_EACH_KIND = {
    "a path": "metadata.json: config.name far up, in both files",
    "a text that a terminal obeys": "dataset_info.json: name that a terminal obeys",
    "HTML": "metadata.json: classes of HTML",
    "code to import": "features.json: a class to import",
    "a text that is none": "dataset_info.json: not UTF-8",
    "JSON too deep": "features.json: nested 100,000 deep",
    "a file too large": "metadata.json: 20 MB of blanks",
    "a number too large": "metadata.json: examples more than 64 bits",
    "a list too long": "dataset_info.json: a million shards",
    "another type": "metadata.json: counts null",
    "a key that is missing": "metadata.json: no config",
    "a key that nobody knows": "dataset_info.json: an unknown key",
    "a template of paths": "dataset_info.json: filepathTemplate '/etc/passwd'",
    "names of classes": "tables: label.labels.txt that a terminal obeys",
    "a table": "tables: metadata.csv with a name that a terminal obeys",
    "a name in a record": "records: image_name up",
    "an image": "records: an image of a gigapixel",
    "a box": "records: a box that is none",
    "a record too large": "records: a record of a terabyte",
    "a file's name": "folder: a file's name with an escape",
    "a pipe": "tables: metadata.csv a pipe",
    "a link": "records: a shard a link to its own bytes",
    "a socket": "folder: a socket",
}
"""What runs each time; the other cases run with those that are slow."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return hostile.build(tmp_path_factory.mktemp("built"))


@pytest.fixture
def lay_out(built, tmp_path):
    """Makes a dataset of the sound one by a change. Returns its folder."""
    return lambda change: hostile.lay_out(hostile.Case("", change), built, tmp_path)


def catalog(folder, root):
    return hostile.run("catalog", str(folder), "--out", str(root / "site"))


def require_lines(said):
    """Every line of a text is one that the command wrote, and a terminal shows it as it is."""
    for line in (*said.out.split("\n"), *said.error.split("\n")):
        assert line.isprintable(), line
        assert len(line) < 5000
    assert "Traceback" not in said.out + said.error


EACH_TIME, SLOW = set(ONE_OF_EACH_KIND.values()), pytest.mark.slow


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in EACH_TIME else SLOW) for name in CASES])
def test_a_hostile_dataset_is_refused_and_nothing_is_written(name, built, tmp_path, monkeypatch):
    folder, site = hostile.lay_out(CASES[name], built, tmp_path), tmp_path / hostile.SITE
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "canary")])  # Where TFDS would find the module.
    before = hostile.written(tmp_path, site)

    verified = hostile.run("verify", str(folder))
    assert verified.code in (1, 2), verified
    require_lines(verified)
    if verified.code == 2:
        assert verified.error.startswith("nih-chest-xray verify: ")
        assert verified.error.count("\n") == 1
    else:
        assert verified.error == ""
        checks = [line for line in verified.out.split("\n") if re.match(r"(ok|FAILED|skipped) ", line)]
        assert len(checks) == 11
        assert any(line.startswith("FAILED ") for line in checks)

    catalogued = hostile.run("catalog", str(tmp_path / "data"), "--out", str(site))
    assert catalogued.code == 2, catalogued
    require_lines(catalogued)
    assert catalogued.error.startswith("nih-chest-xray catalog: ")
    assert (catalogued.out, catalogued.error.count("\n")) == ("", 1)

    assert hostile.written(tmp_path, site) == before
    assert not site.exists()


def test_one_case_of_each_kind_runs_each_time():
    assert len(CASES) >= 50
    assert set(CASES) >= EACH_TIME


def test_a_folder_that_may_not_be_listed_is_said_in_one_line(lay_out, tmp_path, monkeypatch):
    folder = lay_out(lambda _folder: None)

    def refuse(_path):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(dataset_folder.epath.Path, "iterdir", refuse, raising=False)
    monkeypatch.setattr(type(dataset_folder.epath.Path(folder)), "iterdir", refuse)
    for said in (hostile.run("verify", str(folder)), catalog(folder, tmp_path)):
        assert (said.code, said.error.count("\n")) == (2, 1)
        assert "Permission denied" in said.error


def test_a_pipe_called_as_the_sites_list_is_not_waited_for(lay_out, tmp_path):
    folder = lay_out(lambda _folder: None)
    (tmp_path / "site").mkdir()
    os.mkfifo(tmp_path / "site" / "catalog.json")
    said = catalog(folder, tmp_path)
    assert (said.code, said.error.count("\n")) == (2, 1)
    assert "is not a site of this command" in said.error


def test_a_dataset_in_a_bucket_is_read(lay_out, built):
    """TFDS's mock serves gs:// from a folder; the system knows no kinds of files there."""
    with tfds.testing.MockFs():
        folder = epath.Path("gs://bucket/2.0.0")
        folder.mkdir(parents=True)
        for path in built.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        assert len(dataset_folder.plain_files(folder)) == len(list(built.iterdir()))
        assert dataset_folder.read_dataset_info(folder)["configName"] == hostile.CONFIG
        assert dataset_folder.read_metadata(folder, hostile.CONFIG).problems == ()


def test_the_sound_one_passes(lay_out, tmp_path):
    folder = lay_out(lambda _folder: None)
    before = hostile.written(tmp_path, tmp_path / "site")
    assert hostile.run("verify", str(folder)).code == 0
    assert catalog(tmp_path / "data", tmp_path).code == 0
    assert hostile.written(tmp_path, tmp_path / "site") == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: [hostile.drop(hostile.METADATA, key)(folder) for key in OPTIONAL_METADATA if key in of(folder)],
        hostile.put(hostile.METADATA, "max_examples_per_split", None),
        hostile.put(hostile.METADATA, "max_examples_per_split", 100),
        hostile.put(hostile.METADATA, "broken_images", ["00000001_000.png"]),
        hostile.put(hostile.METADATA, "resized_images", {"512": 3}),
    ],
    ids=["no optional key", "no cap", "a cap", "names", "counts"],
)
def test_keys_that_only_some_versions_of_the_package_write_may_be_there_or_not(change, lay_out):
    said = hostile.run("verify", str(lay_out(change)))
    # What a version counts may be compared with the records, but is not refused for its shape.
    assert "FAILED   files" not in said.out


def of(folder):
    return json.loads((folder / hostile.METADATA).read_text())


def test_a_dataset_may_lie_behind_a_link_and_hold_folders_and_files_of_others(no_pictures, lay_out, tmp_path):
    folder = lay_out(lambda folder: [(folder / "@eaDir").mkdir(), (folder / ".DS_Store").touch()])
    away = tmp_path / "away"
    folder.rename(away)
    folder.symlink_to(away)
    assert hostile.run("verify", str(folder)).code == 0
    assert catalog(tmp_path / "data", tmp_path).code == 0
    (tmp_path / "to").symlink_to(tmp_path / "data")
    assert hostile.run("catalog", str(tmp_path / "to"), "--out", str(tmp_path / "other")).code == 0


def test_augmentations_that_this_process_does_not_know_are_catalogued_and_not_verified(no_pictures, lay_out, tmp_path):
    names = ["rotation", "horizontal_flip", "darker"]

    def change(folder):
        hostile.put(hostile.METADATA, "config", "augmentations", names)(folder)
        hostile.write("augmentation.labels.txt", "\n".join(["none", *BUILT_IN, "darker"]) + "\n")(folder)
        features = (folder / hostile.FEATURES).read_text()
        (folder / hostile.FEATURES).write_text(features.replace('"numClasses": "9"', '"numClasses": "10"', 1))

    folder = lay_out(change)
    said = hostile.run("verify", str(folder))
    assert said.code == 1
    assert "augmentation 'darker' is not registered" in said.out
    assert catalog(tmp_path / "data", tmp_path).code == 0
    assert "darker" in (tmp_path / "site" / "index.html").read_text()


TOLD = "<script>alert(1)</script> [x](javascript:alert(1)) ![](http://host.test/x) `code` $x$ | a\n\n# Heading\n\n```\n"


def test_texts_are_shown_and_not_obeyed(no_pictures, lay_out, tmp_path):
    def change(folder):
        for key in ("description", "citation", "configDescription"):
            hostile.put(hostile.INFO, key, TOLD)(folder)
        hostile.put(hostile.INFO, "redistributionInfo", {"license": TOLD})(folder)
        hostile.put(hostile.INFO, "releaseNotes", {"2.0.0": TOLD.replace("\n", " ")})(folder)
        doc = TOLD.replace("\n", " ")
        hostile.put(hostile.FEATURES, "featuresDict", "features", "label", "description", doc)(folder)
        hostile.put(hostile.METADATA, "versions", "numpy", "<b>1</b>")(folder)

    lay_out(change)
    assert catalog(tmp_path / "data", tmp_path).code == 0
    page = (tmp_path / "site" / "index.html").read_text()
    assert "<script>alert" not in page
    assert "<b>1" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert json.loads((tmp_path / "site" / "croissant.json").read_text())["citeAs"].startswith(TOLD[:20])


@pytest.mark.parametrize("name", ["a b", "q'u\"o", "$(touch x)", "-o", "ünï"])
def test_names_of_folders_are_quoted_in_code(no_pictures, name, lay_out, tmp_path):
    """The folder above a dataset may be called anything that can be written on a line."""
    folder = lay_out(lambda _folder: None)
    root = tmp_path / "data" / name
    shutil.move(folder.parents[1], root / "nih_chest_xray")
    assert catalog(root, tmp_path).code == 0
    code = Page(tmp_path / "site" / "index.html").by_id("tensorflow")["text"]
    found = {}
    exec(code.replace("    ...", "    break"), found)
    assert len(found["train"]) > 0


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x1bb", "a\u202eb", os.fsdecode(b"\xff")])
def test_a_folder_whose_name_cannot_stand_on_a_line_is_refused(name, lay_out, tmp_path):
    folder = lay_out(lambda _folder: None)
    away = folder.parents[1] / name
    folder.parent.rename(away)
    said = catalog(tmp_path / "data", tmp_path)
    assert (said.code, said.error.count("\n")) == (2, 1)
    require_lines(said)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["catalog.json", "INDEX.html"])
def test_a_config_called_as_a_file_of_the_site_has_a_site_of_its_own(no_pictures, name, lay_out, built, tmp_path):
    folder = lay_out(hostile.named(name))
    folder.parent.rename(folder.parents[1] / name)
    shutil.copytree(built, folder)
    said = catalog(tmp_path / "data", tmp_path)
    assert said.code == 2
    assert "make a site of it alone" in said.error
    assert catalog(folder.parents[1] / name, tmp_path).code == 0

"""Tests of removal: what a build or a site made goes, all else stays, and nothing else in the code deletes."""

import ast
import os
import re
from pathlib import Path

import pytest
from etils import epath

import nih_chest_xray
from nih_chest_xray.errors import RemovalRefusedError
from nih_chest_xray.system import removal
from nih_chest_xray.system.removal import REPLACED, REPLACED_SITE, UNFINISHED, UNFINISHED_DOWNLOAD, remove

SHARD = "nih_chest_xray-train.tfrecord-00000-of-00001"
BUCKET = "bucket_01234567-89ab-cdef-0123-456789abcdef_007.tmp"


def folder_of(place: Path, *names: str) -> epath.Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("")
    place.mkdir(parents=True, exist_ok=True)
    return epath.Path(place)


def names_in(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in Path(place).rglob("*"))


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("dataset_info.json", "features.json", "label.labels.txt", "metadata.csv", "metadata.json", SHARD),
        (BUCKET, "beam/names.json", "beam/source-00012.pickle", f"incomplete.AB12CD.{SHARD}"),
    ],
)
def test_unfinished_build_is_removed_with_all_that_builds_write(tmp_path, names):
    remove(folder_of(tmp_path / "incomplete.AB12CD_2.0.0", *names), UNFINISHED, within=epath.Path(tmp_path))
    assert names_in(tmp_path) == []


PICTURES = (
    *("images/00000013_005.jpg", "images/00000013_005_aug1.jpg"),
    *("images/chart-pairs.svg", "images/chart-pairs-dark.svg"),
)


@pytest.mark.parametrize("place", ["", "nodule/"])
def test_site_is_removed_with_all_that_this_version_and_earlier_ones_wrote(tmp_path, place):
    page = [f"{place}{name}" for name in ("index.html", "croissant.json", *PICTURES)]
    folder = folder_of(tmp_path / "old", *page, "catalog.json", "nih_chest_xray.md")
    remove(folder, REPLACED_SITE, within=epath.Path(tmp_path))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "foreign",
    ["images/mine.svg", "images/chart-.svg", "chart-pairs.svg", "images/chart-pairs-dark.svg.bak", "README.md"],
)
def test_site_with_one_file_of_somebody_else_is_left_with_all_that_is_in_it(tmp_path, foreign):
    folder = folder_of(tmp_path / "old", "index.html", *PICTURES, foreign)
    before = names_in(tmp_path)
    with pytest.raises(RemovalRefusedError, match=re.escape(repr(foreign))):
        remove(folder, REPLACED_SITE, within=epath.Path(tmp_path))
    assert names_in(tmp_path) == before


@pytest.mark.parametrize(
    "foreign",
    ["notes.txt", ".DS_Store", "beam/notes.txt", "mine/dataset_info.json", "Dataset_info.json", f"{SHARD}.bak"],
)
def test_folder_with_one_file_of_somebody_else_is_left_with_all_that_is_in_it(tmp_path, foreign):
    folder = folder_of(tmp_path / "incomplete.AB12CD_2.0.0", "dataset_info.json", SHARD, BUCKET, foreign)
    before = names_in(tmp_path)
    with pytest.raises(RemovalRefusedError, match=re.escape(repr(foreign))):
        remove(folder, UNFINISHED, within=epath.Path(tmp_path))
    assert names_in(tmp_path) == before
    assert removal.foreign(folder, REPLACED)


@pytest.mark.parametrize(
    "name", ["2.0.0", "incomplete.ab12cd_2.0.0", "incomplete.AB12CD_2.0.0.old", "incomplete.AB12CD_mine", "release"]
)
def test_folder_with_another_name_is_left(tmp_path, name):
    folder = folder_of(tmp_path / name, "metadata.csv")
    for kind in (UNFINISHED, REPLACED):
        with pytest.raises(RemovalRefusedError, match=f"{name} is not a"):
            remove(folder, kind, within=epath.Path(tmp_path))
    assert (tmp_path / name / "metadata.csv").exists()


def test_what_lies_in_another_folder_than_the_package_works_in_is_left(tmp_path):
    folder = folder_of(tmp_path / "elsewhere" / "incomplete.AB12CD_2.0.0", "metadata.csv")
    for path in (folder, epath.Path(tmp_path / "data" / ".." / "elsewhere" / folder.name)):
        with pytest.raises(RemovalRefusedError):
            remove(path, UNFINISHED, within=epath.Path(tmp_path / "data"))
    assert (folder / "metadata.csv").exists()


def test_links_are_neither_followed_nor_removed(tmp_path):
    mine = folder_of(tmp_path / "mine", "metadata.csv", SHARD)
    work = folder_of(tmp_path / "incomplete.AB12CD_2.0.0", "features.json")
    (tmp_path / "incomplete.EF34GH_2.0.0").symlink_to(mine)
    (tmp_path / work.name / "metadata.csv").symlink_to(mine / "metadata.csv")
    (tmp_path / "work" / "incomplete.IJ56KL_2.0.0").mkdir(parents=True)
    (tmp_path / "work" / "incomplete.IJ56KL_2.0.0" / "beam").symlink_to(mine)
    before = names_in(tmp_path)
    for path in (tmp_path / "incomplete.EF34GH_2.0.0", work, tmp_path / "work" / "incomplete.IJ56KL_2.0.0"):
        with pytest.raises(RemovalRefusedError):
            remove(epath.Path(path), UNFINISHED, within=epath.Path(path).parent)
    assert names_in(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among its files")
def test_pipe_with_the_name_of_a_shard_is_left(tmp_path):
    folder = folder_of(tmp_path / "incomplete.AB12CD_2.0.0")
    os.mkfifo(folder / SHARD)
    with pytest.raises(RemovalRefusedError):
        remove(folder, UNFINISHED, within=epath.Path(tmp_path))
    assert names_in(folder) == [SHARD]


def test_single_file_is_removed_by_its_name_only(tmp_path):
    folder_of(tmp_path, "images_001.tar.gz.part", "images_001.tar.gz")
    remove(epath.Path(tmp_path / "images_001.tar.gz.part"), UNFINISHED_DOWNLOAD, within=epath.Path(tmp_path))
    with pytest.raises(RemovalRefusedError):
        remove(epath.Path(tmp_path / "images_001.tar.gz"), UNFINISHED_DOWNLOAD, within=epath.Path(tmp_path))
    assert names_in(tmp_path) == ["images_001.tar.gz"]


def deletes(call: ast.Call) -> str | None:
    """Returns the name of what a call deletes or moves files by."""
    if not isinstance(call.func, ast.Attribute):
        return None
    owner, name = ast.unparse(call.func.value), call.func.attr
    if name in ("rmtree", "rmdir", "unlink", "removedirs", "truncate"):
        return name
    if owner in ("os", "shutil") and name in ("remove", "rename", "renames", "replace", "move"):
        return name
    # A path's take one argument; a table's `rename` takes names, and a text's `replace` two arguments.
    return name if name in ("rename", "replace") and len(call.args) == 1 and not call.keywords else None


def test_nothing_in_the_package_deletes_but_the_one_module_and_only_what_was_just_made_is_renamed():
    package = Path(nih_chest_xray.__file__).parent
    found = {
        (path.relative_to(package).as_posix(), name)
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and (name := deletes(node))
    }
    assert found == {
        *(("system/removal.py", name) for name in ("rmtree", "rmdir", "unlink")),
        ("building/locking.py", "rename"),  # Sets a dataset aside and brings it back.
        ("catalog/site.py", "rename"),  # Gives a new site its name.
        ("formats/whole.py", "rename"),  # Gives a new export its name.
        *(("formats/convert.py", name) for name in ("rename", "replace")),  # Moves whole shards in, then their mention.
        ("release/http_download.py", "truncate"),  # Of the part of a file that comes.
        ("release/transfer.py", "rename"),  # Gives a file that came its name.
    }

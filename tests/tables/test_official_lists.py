"""Tests of lists of image names: the NIH's and other people's are read, and what is no list is refused by its line."""

import codecs
import gzip
import hashlib
import re
import shutil

import pytest
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.errors import CohortError, ReleaseError, TableError
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.release import known_files
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.tables.official_lists import check_known_images, read_official_lists, read_split_lists
from nih_chest_xray.verification.command import verify
from nih_chest_xray.vocabulary import OFFICIAL_LISTS

NAMES = tuple(f"{patient:08d}_000.png" for patient in range(1, 9))


def with_lists(train_val: bytes, test: bytes) -> dict[str, tuple[bytes, str]]:
    contents = {"train_val": train_val, "test": test}
    return {subset: (content, f"here/{OFFICIAL_LISTS[subset]}") for subset, content in contents.items()}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_official_lists_are_read_with_and_without_a_newline_at_the_end(newline, end):
    train_val, test = NAMES[:5], NAMES[5:]
    release = with_lists((newline.join(train_val) + end).encode(), (newline.join(test) + end).encode())
    assert read_official_lists(release) == {"train_val": set(train_val), "test": set(test)}


SPELLINGS = {
    "14 digits behind each name": "\n".join(f"{name} 0 1 0 0 0 0 0 0 0 0 0 0 0 0" for name in NAMES).encode(),
    "a comma and findings": "\n".join(f"{name},Mass|Nodule,58" for name in NAMES).encode(),
    "a tab": "\n".join(f"{name}\t1" for name in NAMES).encode(),
    "a header": "\n".join(["Image Index", *NAMES]).encode(),
    "a table's header": "\n".join(["Image Index,Finding Labels", *(f"{name},Mass" for name in NAMES)]).encode(),
    "blank lines and comments": "\n\n# Fold 1\n".join(["# by hand", "", *NAMES, ""]).encode(),
    "byte order mark": codecs.BOM_UTF8 + "\r\n".join(NAMES).encode(),
    "blanks around": "\n".join(f"  {name}  " for name in NAMES).encode(),
    "gzip": gzip.compress("\n".join(NAMES).encode()),
}


@pytest.mark.parametrize("content", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_what_stands_beside_the_names_is_ignored(content):
    assert read_split_lists({"train": (content, "train.txt")}) == {"train": set(NAMES)}


BAD_LISTS = {
    "another name": (b"00000001_000.png\n00000001_001.jpg", ", line 2: '00000001_001.jpg'"),
    "cut in a name": (b"00000001_000.png\n00000013_0", ", line 2: '00000013_0'"),
    "another file's name": (b"00000001_000.png\n00000001_000.png.txt", ", line 2: '00000001_000.png.txt'"),
    "a header behind the first line": (b"00000001_000.png\nImage Index", ", line 2: 'Image Index'"),
    "a table's header alone": (b"Image Index,Finding Labels\n", " holds no image name"),
    "a picture": (b"\x89PNG\r\n\x1a\n", ", line 1: '.PNG'"),
    "cut in its gzip": (gzip.compress(b"00000001_000.png")[:-2], " is cut or corrupt"),
}


@pytest.mark.parametrize("subset", OFFICIAL_LISTS)
@pytest.mark.parametrize(("content", "expected"), BAD_LISTS.values(), ids=BAD_LISTS.keys())
def test_list_that_is_none_is_refused_by_place_and_line(content, expected, subset):
    release = with_lists(**({"train_val": b"00000001_000.png", "test": b"00000002_000.png"} | {subset: content}))
    with pytest.raises(TableError, match=f"^here/{OFFICIAL_LISTS[subset]}{expected}") as caught:
        read_official_lists(release)
    assert re.search("ownload|get it again", str(caught.value))


def test_an_image_in_two_lists_is_refused_with_its_name_and_both():
    lists = {"train": NAMES[:4], "validation": NAMES[4:6], "test": NAMES[2:4]}
    contents = {subset: ("\n".join(names).encode(), f"{subset}.txt") for subset, names in lists.items()}
    with pytest.raises(TableError, match=f"^{NAMES[2]} is in train.txt and in test.txt; .* So are 1 more"):
        read_split_lists(contents)


def test_unknown_names_are_a_mistake_beside_the_whole_label_file_and_a_warning_beside_a_part():
    lists = {"train": frozenset(NAMES[:4]), "test": frozenset(NAMES[4:])}
    check_known_images(lists, frozenset(NAMES), whole=True)
    expected = f"2 of the 8 images in split_lists, such as {NAMES[3]}, are not in the label file"
    with pytest.raises(TableError, match=f"^{expected}, which is the NIH's whole one"):
        check_known_images(lists, frozenset(NAMES) - {NAMES[3], NAMES[5]}, whole=True)
    with pytest.warns(UserWarning, match=f"^{expected}. They are left out"):
        check_known_images(lists, frozenset(NAMES) - {NAMES[3], NAMES[5]}, whole=False)


@pytest.mark.real
def test_real_lists_have_the_published_sizes_and_share_no_patient(real_dir):
    tables = find_release(epath.Path(real_dir), {}, False).tables
    lists = read_official_lists({subset: (tables[name].read(), name) for subset, name in OFFICIAL_LISTS.items()})
    patients = {subset: {name[:8] for name in names} for subset, names in lists.items()}
    # The numbers are the NIH's own.
    assert {subset: len(names) for subset, names in lists.items()} == {"train_val": 86_524, "test": 25_596}
    assert {subset: len(numbers) for subset, numbers in patients.items()} == {"train_val": 28_008, "test": 2_797}
    assert patients["train_val"].isdisjoint(patients["test"])


@pytest.fixture
def lists_dir(phantom_dir, phantom_labels, tmp_path):
    """A release whose folder has lists of a user's own: every image, every second patient in test, one in both."""
    folder = tmp_path / "release"
    shutil.copytree(phantom_dir, folder)
    in_test = phantom_labels["patient_id"] % 2 == 0
    several = phantom_labels.loc[phantom_labels["patient_id"].duplicated(), "image_name"].iloc[0]
    in_test[phantom_labels["image_name"] == several] ^= True
    (folder / "mine").mkdir()
    for subset, chosen in (("train", ~in_test), ("test", in_test)):
        names = phantom_labels.loc[chosen, "image_name"]
        # A name that the NIH's own list has in the same folder's root.
        (folder / "mine" / f"{subset}_list.txt").write_text("\n".join(f"{name} 0 1" for name in names))
    return folder


def built(folder, data_dir, **fields):
    lists = {"train": "mine/train_list.txt", "test": str(folder / "mine" / "test_list.txt")}
    fields = {"image_size": 16, "healthy_stride": 1, "split": "lists", "split_lists": lists} | fields
    builder = Builder(config=NihChestXrayConfig(name="mine", **fields), data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder))
    return builder


def test_a_build_of_lists_says_what_it_was_made_of_and_is_verified(no_pictures, lists_dir, tmp_path):
    with pytest.raises(CohortError, match="1 patients, such as .* in .*train.*, have images in several lists"):
        built(lists_dir, tmp_path / "data")
    builder = built(lists_dir, tmp_path / "data", allow_shared_patients=True)
    metadata = builder.info.metadata
    assert metadata["shared_patients"] == 1
    assert metadata["tables"]["test_list.txt"] == {
        "sha256": hashlib.sha256((lists_dir / "mine" / "test_list.txt").read_bytes()).hexdigest(),
        "official": False,
    }
    assert list(builder.info.splits) == ["train", "test"]

    checks = {check.name: check for check in verify(builder.data_path, lists_dir)}
    assert not [check for check in checks.values() if check.status == "FAILED"]
    assert checks["patients"].seen.endswith("patients, 1 of them in several subsets, as the config allows")
    for name in ("tables", "labels", "pixels"):
        assert checks[name].status == "ok"

    site = write_site(tmp_path / "data", tmp_path / "site")
    page = (site / "index.html").read_text()
    assert "1 patients are in several subsets" in page
    assert "Each patient is in one subset only" not in page
    assert "1 patients are in several subsets" in (site / "croissant.json").read_text()

    (lists_dir / "mine" / "test_list.txt").write_text(NAMES[0])
    [tables] = [check for check in verify(builder.data_path, lists_dir) if check.name == "tables"]
    assert tables.status == "FAILED"
    assert "mine/test_list.txt: has SHA-256" in tables.offenders[0]


def test_a_list_that_does_not_exist_is_named_with_what_its_path_is_taken_from(lists_dir, tmp_path):
    lists = {"train": "mine/train_list.txt", "validation": "nowhere/test_list.txt"}
    with pytest.raises(ReleaseError, match=f"^{lists_dir}/nowhere/test_list.txt does not exist.*relative to the"):
        built(lists_dir, tmp_path / "data", split_lists=lists)


def test_other_lists_under_the_nihs_names_are_told_of_and_used_if_they_fit(phantom_dir, make_config, tmp_path):
    shutil.copytree(phantom_dir, tmp_path / "release")
    path = tmp_path / "release" / OFFICIAL_LISTS["test"]
    names = path.read_text().split()
    path.write_text("\n".join(f"{name} 0 1 0 0 0 0 0 0 0 0 0 0 0 0" for name in names))
    found = find_release(epath.Path(tmp_path / "release"), known_files(), allow_repacked=True)
    config = make_config(split="official", validation_fraction=0.3)
    with pytest.warns(UserWarning, match=f"test_list.txt has {len(names)} names and is not .*, which has 25,596"):
        cohort = make_plan(read_tables(found, config, known_files()), config).cohort
    assert set(cohort.loc[cohort["subset"] == "test", "image_name"]) == {*names} & {*cohort["image_name"]}
    path.write_text("\n".join(names[:-5]))
    with pytest.raises(CohortError, match="are in neither .* name them in split_lists, with the split 'lists'"):
        make_plan(read_tables(found, config, known_files()), config)

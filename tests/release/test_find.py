"""Tests of finding: every layout gives the same images, and archives are the official ones or refused."""

import errno
import gzip
import hashlib
import os
import random
import re
import warnings
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from etils import epath

from nih_chest_xray.errors import ReleaseError
from nih_chest_xray.phantom.release import tar_gz
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.release import KnownFile, Release
from nih_chest_xray.vocabulary import ARCHIVES, LABEL_FILES

NAMES = tuple(f"{patient:08d}_{follow_up:03d}.png" for patient in (1, 2, 1400, 3900) for follow_up in (0, 1))
IMAGES = {name: random.Random(name).randbytes(700) for name in NAMES}
HALVES = (list(IMAGES.items())[:4], list(IMAGES.items())[4:])
V2020, V2017, SAMPLE = LABEL_FILES
ARCHIVE_BYTES = {name: tar_gz(half) for name, half in zip(ARCHIVES, HALVES, strict=False)}


def known_file(content: bytes) -> KnownFile:
    return KnownFile("https://example.org/archive.gz", len(content), hashlib.sha256(content).hexdigest())


KNOWN = {name: known_file(content) for name, content in ARCHIVE_BYTES.items()}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def in_folder(folder: str, images) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in dict(images).items()}


def find(folder: Path, allow_repacked: bool = False) -> Release:
    """Finds a release in which nothing is wrong: a warning fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return find_release(epath.Path(folder), KNOWN, allow_repacked)


def images_of(release: Release) -> dict[str, bytes]:
    """All images; one that is given twice fails the test."""
    images = [(image.name, image.read()) for image in release.images(frozenset(NAMES))]
    assert len(images) == len(dict(images))
    return dict(images)


def digests_of(release: Release) -> dict[str, str]:
    return {source.place: source.sha256 for source in release.sources if source.one_pass}


KAGGLE = in_folder("images_001/images", HALVES[0]) | in_folder("images_002/images", HALVES[1])
LAYOUTS = {
    "NIH's archives": ARCHIVE_BYTES | {V2020: b"table"},
    "archives named by the NIH's script": {
        "images_01.tar.gz": ARCHIVE_BYTES["images_001.tar.gz"],
        "images_02.tar.gz": ARCHIVE_BYTES["images_002.tar.gz"],
        V2020: b"table",
    },
    "Kaggle's folders": KAGGLE | {V2017: b"table"},
    "Kaggle's folders, one down": in_folder("nih", KAGGLE | {V2017: b"table"}),
    "one images folder": in_folder("images", IMAGES) | {V2020: b"table"},
    "images in the folder itself": IMAGES | {V2020: b"table"},
    "Kaggle's sample": in_folder("sample/images", IMAGES) | {"sample/sample_labels.csv": b"table"},
    "Kaggle's sample, one up": in_folder("images", IMAGES) | {SAMPLE: b"table"},
    "images in two folders": in_folder("first", HALVES[0]) | in_folder("second", HALVES[1]) | {V2020: b"table"},
    "an archive and a folder": {"images_001.tar.gz": ARCHIVE_BYTES["images_001.tar.gz"], V2020: b"table"}
    | in_folder("images", HALVES[1]),
    "an archive in a folder below": in_folder("downloads", ARCHIVE_BYTES) | {V2020: b"table"},
}
ZIPS = {
    "Kaggle's zip": KAGGLE | {V2017: b"table"},
    "Kaggle's zip of the sample": in_folder("sample/images", IMAGES) | {SAMPLE: b"table"},
    "a zip of a flat folder": IMAGES | {V2020: b"table"},
}


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_gives_the_same_images_and_table(tmp_path, files):
    write(tmp_path, files)
    found = find(tmp_path)
    assert images_of(found) == IMAGES
    assert found.tables[found.label_file].read() == b"table"
    assert found.repacked(digests_of(found)) == {}


@pytest.mark.parametrize("files", ZIPS.values(), ids=ZIPS.keys())
def test_zip_gives_the_same_images_and_the_table_in_it(tmp_path, files):
    write_zip(tmp_path / "archive.zip", files)
    found = find(tmp_path)
    assert images_of(found) == IMAGES
    table = found.tables[found.label_file]
    assert table.read() == b"table"
    assert table.place == f"{tmp_path}/archive.zip/{found.label_file}"


def test_archives_are_known_by_their_official_names(tmp_path):
    write(tmp_path, {"images_01.tar.gz": ARCHIVE_BYTES["images_001.tar.gz"]})
    assert find(tmp_path).archives == {"images_001.tar.gz"}


def test_an_image_in_several_places_is_read_once_and_from_a_folder_first(tmp_path):
    write(tmp_path, ARCHIVE_BYTES | in_folder("images", HALVES[0]))
    write_zip(tmp_path / "archive.zip", in_folder("images", dict(HALVES[0][:1] + HALVES[1][:1])))
    found = find(tmp_path)
    assert images_of(found) == IMAGES
    places = {image.name: image.place for image in found.images(frozenset(NAMES))}
    in_zip, in_archive = HALVES[1][0][0], HALVES[1][1][0]
    assert places[NAMES[0]] == str(tmp_path / "images")
    assert places[in_zip] == str(tmp_path / "archive.zip")
    assert places[in_archive] == str(tmp_path / "images_002.tar.gz")


def test_an_archive_under_both_of_its_names_is_read_once(tmp_path):
    content = ARCHIVE_BYTES["images_001.tar.gz"]
    write(tmp_path, {"images_001.tar.gz": content, "images_01.tar.gz": content})
    assert images_of(find(tmp_path)) == dict(HALVES[0])


def test_only_wanted_images_that_are_there_are_read(tmp_path):
    write(tmp_path, in_folder("images", IMAGES))
    wanted = [NAMES[5], NAMES[2], "00009999_000.png"]
    read = {image.name: image.read() for image in find(tmp_path).images(frozenset(wanted))}
    assert read == {name: IMAGES[name] for name in (NAMES[2], NAMES[5])}


@pytest.mark.parametrize("names", [(V2020, V2017, SAMPLE), (V2017, SAMPLE), (SAMPLE,), ()])
def test_the_best_label_file_is_taken(tmp_path, names):
    """v2020 corrects the 2017 file, and the sample's has 5,606 rows only."""
    write(tmp_path, {name: name.encode() for name in names} | IMAGES)
    assert find(tmp_path).label_file == (names[0] if names else None)


HEADER = b"Image Index,Finding Labels,"
"""The begin of a label file, by which it is known."""


def test_of_label_files_the_nearest_counts_and_of_those_as_near_the_best(tmp_path):
    near, far = HEADER + b"near", HEADER + b"far"
    write(tmp_path, {f"a/{SAMPLE}": far, f"b/{V2017}": near, f"nested/deep/{V2020}": far} | IMAGES)
    found = find(tmp_path)
    assert found.label_file == V2017
    assert found.tables[V2017].read() == near


def test_tables_one_folder_up_are_found_where_the_folder_holds_images_alone(tmp_path):
    write(tmp_path, in_folder("images", IMAGES) | {V2020: b"up", "test_list.txt": NAMES[0].encode()})
    found = find(tmp_path / "images")
    assert images_of(found) == IMAGES
    assert set(found.tables) == {V2020, "test_list.txt"}
    assert found.tables[V2020].place == str(tmp_path / V2020)


@pytest.mark.parametrize("beside", [{SAMPLE: HEADER}, {"notes.txt": b""}, {"more/notes.txt": b""}])
def test_nothing_above_a_folder_that_holds_more_than_images_is_looked_at(tmp_path, beside):
    write(tmp_path, in_folder("images", IMAGES) | in_folder("images", beside) | {V2020: HEADER})
    assert find(tmp_path / "images").tables.keys() == beside.keys() & {SAMPLE}


def test_the_nearest_of_several_tables_counts(tmp_path):
    write(tmp_path, {V2020: b"up", f"nih/{V2020}": b"here", f"nih/copy/{V2020}": b"below", "nih/x.txt": b""})
    write_zip(tmp_path / "nih/archive.zip", {V2020: b"in the zip"})
    assert find(tmp_path / "nih").tables[V2020].read() == b"here"


def test_official_lists_are_found_and_other_files_are_no_tables(tmp_path):
    files = {"train_val_list.txt": NAMES[0].encode(), "test_list.txt": NAMES[1].encode(), V2020: b"3"}
    write(tmp_path, files | {"README.txt": b"", "Data_Entry_2017_v2020.csv.bak": b"", "LOG_CHESTXRAY.pdf": b""})
    assert {name: table.read() for name, table in find(tmp_path).tables.items()} == files


def test_tables_that_a_config_does_not_need_are_not_opened(tmp_path):
    write(tmp_path, IMAGES | {V2020: b"table"})
    for name in ("test_list.txt", "test_labels.csv", "BBox_List_2017.csv"):
        os.mkfifo(tmp_path / name)  # Whoever reads it waits for ever.
    found = find_release(epath.Path(tmp_path), KNOWN, False, tables=[V2020])
    assert set(found.tables) == {V2020}
    assert found.aside == ()


FOREIGN = {
    "test_labels.csv": b"Path,Sex,Age,No Finding\nCheXpert-v1.0/valid/patient64541/study1/view1.jpg,Male,73,0\n",
    "validation_labels.csv": b"",
    "test_list.txt": b"case_17.nii.gz\ncase_18.nii.gz\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_table_of_something_else_under_a_common_name_is_left_aside_with_the_reason(tmp_path, name):
    write(tmp_path, IMAGES | {V2020: HEADER, name: FOREIGN[name]})
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert set(found.tables) == {V2020}
    [why] = found.aside
    assert why.startswith(f"{tmp_path / name} is empty" if not FOREIGN[name] else f"{tmp_path / name}")
    assert why in found.not_taken()


def test_good_table_further_away_is_taken_instead_of_a_bad_one(tmp_path):
    write(tmp_path, IMAGES | {V2020: b"", f"nih/{V2020}": HEADER, "test_list.txt": b"x", "nih/test_list.txt": b"y"})
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert found.tables[V2020].place == str(tmp_path / "nih" / V2020)
    assert found.aside[0] == f"{tmp_path / V2020} is empty. Download it again."


EXPERT = b"Image Index,Fracture,Pneumothorax,Airspace opacity,Nodule or mass\n"
ALL_FINDINGS = b"Image ID,Patient ID,Abnormal,Nodule,Mass,Other\n"
EXPERT_LAYOUTS = {
    "both folders": {
        "all_findings_expert_labels/test_labels.csv": ALL_FINDINGS,
        "four_findings_expert_labels/test_labels.csv": EXPERT,
        "four_findings_expert_labels/validation_labels.csv": EXPERT,
    },
    "flattened names": {
        "all_findings_expert_labels_test_labels.csv": ALL_FINDINGS,
        "four_findings_expert_labels_test_labels.csv": EXPERT,
        "four_findings_expert_labels_validation_labels.csv": EXPERT,
    },
    "a flat folder, as a browser saves them": {
        "test_labels.csv": ALL_FINDINGS,
        "test_labels (1).csv": EXPERT,
        "validation_labels.csv": EXPERT,
    },
    "a flat folder, in the other order, packed": {
        "test_labels.csv.gz": gzip.compress(EXPERT),
        "test_labels (1).csv.gz": gzip.compress(ALL_FINDINGS),
        "Validation_Labels.csv": EXPERT,
    },
    "the folders swapped": {
        "all_findings_expert_labels/test_labels.csv": EXPERT,
        "four_findings_expert_labels/test_labels.csv": ALL_FINDINGS,
        "validation_labels.csv": EXPERT,
    },
    "the other folder first": {
        "a/test_labels.csv": ALL_FINDINGS,
        "b/test_labels.csv": EXPERT,
        "b/validation_labels.csv": EXPERT,
    },
}


@pytest.mark.parametrize("files", EXPERT_LAYOUTS.values(), ids=EXPERT_LAYOUTS.keys())
def test_radiologists_files_of_four_findings_are_told_from_those_of_all(tmp_path, files):
    write(tmp_path, files)
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert {name: table.read() for name, table in found.tables.items()} == {
        "test_labels.csv": EXPERT,
        "validation_labels.csv": EXPERT,
        "all_findings_expert_labels_test_labels.csv": ALL_FINDINGS,
    }
    assert found.aside == ()


FOUR_READERS = b"Patient ID,Image ID,Reader ID,Fracture,Pneumothorax,Airspace opacity,Nodule/mass,Set ID\n"
ALL_READERS = b"Image ID,Patient ID,Reader ID,Abnormal,Nodule,Mass,Other\n"


def test_files_of_single_readers_are_told_by_their_headers(tmp_path):
    write(tmp_path, {"test_individual_readers.csv": ALL_READERS, "individual_readers (1).csv": FOUR_READERS})
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert {name: table.read() for name, table in found.tables.items()} == {
        "test_individual_readers.csv": ALL_READERS,
        "individual_readers.csv": FOUR_READERS,
    }


def test_a_foreign_file_under_a_name_of_the_radiologists_is_left_aside_once(tmp_path):
    write(tmp_path, {"test_labels.csv": FOREIGN["test_labels.csv"], "individual_readers.csv": ALL_READERS})
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert not found.tables
    assert [line.partition(" is not ")[0] for line in found.aside] == [
        str(tmp_path / "test_labels.csv"),
        str(tmp_path / "individual_readers.csv"),
    ]


def test_torchxrayvisions_one_file_of_radiologists_labels_is_found_packed(tmp_path):
    write(tmp_path, {"google2019_nih-chest-xray-labels.csv.gz": gzip.compress(EXPERT)})
    found = find(tmp_path)
    assert found.tables["google2019_nih-chest-xray-labels.csv"].read() == EXPERT


SAVED = {
    "saved twice": f"{V2020.removesuffix('.csv')} (1).csv",
    "a copy": "Data_Entry_2017 - Copy.csv",
    "lower case": V2017.lower(),
    "packed": f"{V2020}.gz",
    "packed, saved twice": f"{V2020} (2).gz",
}


@pytest.mark.parametrize("name", SAVED.values(), ids=SAVED.keys())
def test_label_file_under_a_name_that_browsers_and_people_make_is_taken_by_its_header(tmp_path, name):
    packed = gzip.compress if name.endswith(".gz") else bytes
    write(tmp_path, {name: packed(HEADER)} | IMAGES)
    found = find(tmp_path)
    assert found.tables[found.label_file].read() == HEADER
    (tmp_path / name).write_bytes(packed(b"name,grade\n"))
    other = find_release(epath.Path(tmp_path), KNOWN, False)
    assert other.label_file is None
    assert [why.startswith(str(tmp_path / name)) for why in other.aside] == [True]


def test_packed_table_in_a_zip_is_read(tmp_path):
    write_zip(tmp_path / "archive.zip", in_folder("images", IMAGES) | {f"nih/{V2017}.gz": gzip.compress(HEADER)})
    assert find(tmp_path).tables[V2017].read() == HEADER


HIDDEN = {
    "images in a hidden folder": in_folder(".cache", {NAMES[0]: b"old"}),
    "a table in a hidden folder": {f".ipynb_checkpoints/{V2020}": b"old"},
    "images in a Mac's folder of resource forks": in_folder("__MACOSX/images", {f"._{NAMES[0]}": b"fork"}),
    "a hidden archive": {".Trash-1000/images_001.tar.gz": b"half of an archive"},
    "a Mac's resource fork of a zip": {"._archive.zip": b"fork"},
}


@pytest.mark.parametrize("files", HIDDEN.values(), ids=HIDDEN.keys())
def test_hidden_files_and_folders_are_ignored(tmp_path, files):
    write(tmp_path, files)
    found = find(tmp_path)
    assert found.sources == ()
    assert found.tables == {}


UNRELATED = {
    "unfinished downloads": {"images_001.tar.gz.part": b"half", "archive.zip.crdownload": b"half"},
    "another archive": {"notes.tar.gz": b"not even an archive", "images.tar.gz": b"", "images_1.tar.gz": b""},
    "names that are nearly images": {"1_0.png": b"", f"{NAMES[0]}.txt": b"", f"x{NAMES[0]}": b"", "mask.png": b""},
    "nothing at all": {},
}


@pytest.mark.parametrize("files", UNRELATED.values(), ids=UNRELATED.keys())
def test_unrelated_files_are_ignored(tmp_path, files):
    write(tmp_path, files | in_folder("images", IMAGES))
    found = find(tmp_path)
    assert images_of(found) == IMAGES
    assert found.archives == set()


def test_zip_without_images_is_no_source(tmp_path):
    write_zip(tmp_path / "papers.zip", {"wang2017.pdf": b"pdf"})
    assert find(tmp_path).sources == ()


@pytest.mark.parametrize("name", ["archive.zip", "images_001.tar.gz"])
def test_folder_named_as_an_archive_is_searched_as_a_folder(tmp_path, name):
    """Some programs extract an archive into a folder of the archive's name."""
    write(tmp_path, in_folder(f"{name}/images", IMAGES))
    assert images_of(find(tmp_path)) == IMAGES


def damaged(content: bytes) -> bytes:
    """The same length and a tar.gz that reads cleanly, but other bytes: gzip's field of the time of packing."""
    return content[:4] + b"\1\2\3\4" + content[8:]


OTHER = tar_gz([(NAMES[0], random.Random(0).randbytes(5000))])
DOUBTFUL = {
    # Name: file name, bytes, and what the message says of them.
    "another size": (
        "images_001.tar.gz",
        OTHER,
        [f"has {len(OTHER):,} bytes", f"images_001.tar.gz has {KNOWN['images_001.tar.gz'].size:,}."],
    ),
    "another digest": (
        "images_002.tar.gz",
        damaged(ARCHIVE_BYTES["images_002.tar.gz"]),
        [
            hashlib.sha256(damaged(ARCHIVE_BYTES["images_002.tar.gz"])).hexdigest(),
            f"the NIH's has {KNOWN['images_002.tar.gz'].sha256}",
        ],
    ),
    "another digest under the script's name": (
        "images_02.tar.gz",
        damaged(ARCHIVE_BYTES["images_002.tar.gz"]),
        [f"the NIH's has {KNOWN['images_002.tar.gz'].sha256}"],
    ),
    "one archive named as another": (
        "images_002.tar.gz",
        ARCHIVE_BYTES["images_001.tar.gz"],
        ["the NIH's images_002.tar.gz has"],
    ),
    "a number that the NIH has not": ("images_13.tar.gz", OTHER, ["is not one of the NIH's twelve archives"]),
}


@pytest.mark.parametrize(("name", "content", "parts"), DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_archive_that_is_not_the_official_one_is_not_taken_and_both_figures_are_told(tmp_path, name, content, parts):
    write(tmp_path, {name: content})
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    message = "".join(found.aside)  # Another size shows at once, another digest when it is read.
    if not message:
        with pytest.raises(ReleaseError) as caught:
            images_of(found)
        message = str(caught.value)
    else:
        assert list(found.refused.values()) == [message]
        assert images_of(found) == {}
    assert message.startswith(str(tmp_path / name))
    for part in [*parts, "get it again from the NIH's page", '"allow_missing_images": true']:
        assert part in message


def test_archive_saved_twice_is_taken_where_its_size_is_right_and_named_where_it_is_not(tmp_path):
    good, again = "images_001 (1).tar.gz", "images_002.tar (1).gz"
    write(tmp_path, {good: ARCHIVE_BYTES[ARCHIVES[0]], again: ARCHIVE_BYTES[ARCHIVES[1]][:-9], ARCHIVES[0]: b"cut"})
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert images_of(found) == dict(HALVES[0])
    assert found.archives == {ARCHIVES[0]}
    assert found.refused.keys() == {ARCHIVES[1]}
    assert str(tmp_path / again) in found.not_taken()
    # Where others than the NIH's are allowed, a repacked one is read by any name, but none instead of a good one.
    allowed = find_release(epath.Path(tmp_path), KNOWN, True)
    assert allowed.archives == set(ARCHIVES[:2])
    assert [Path(source.place).name for source in allowed.sources] == [good, again]


def test_archive_in_capitals_is_taken(tmp_path):
    write(tmp_path, {"IMAGES_001.TAR.GZ": ARCHIVE_BYTES[ARCHIVES[0]]})
    assert images_of(find(tmp_path)) == dict(HALVES[0])


def test_archive_that_was_unzipped_is_read(tmp_path):
    write(tmp_path, {"images_001.tar": gzip.decompress(ARCHIVE_BYTES[ARCHIVES[0]])})
    found = find(tmp_path)
    assert images_of(found) == dict(HALVES[0])
    assert found.held(frozenset(NAMES)) == {name for name, _ in HALVES[0]}


@pytest.mark.parametrize("left", [0, 100, 0.5, -11_000])
def test_cut_tar_is_left_aside_with_the_reason(tmp_path, left):
    content = gzip.decompress(ARCHIVE_BYTES[ARCHIVES[0]])
    write(tmp_path, {"images_001.tar": content[: int(left * len(content)) if isinstance(left, float) else left]})
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert found.sources == ()
    assert [
        re.search(r"images_001\.tar (is cut or corrupt|is a web page)", why) is not None for why in found.aside
    ] == [True]


@pytest.mark.parametrize(("name", "content", "parts"), DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_archive_that_is_not_the_official_one_can_be_allowed_and_is_told_apart(tmp_path, name, content, parts):
    write(tmp_path, {name: content})
    found = find(tmp_path, allow_repacked=True)
    images_of(found)
    assert found.repacked(digests_of(found)) == {name: hashlib.sha256(content).hexdigest()}


def test_official_archives_are_no_repacked_ones_also_where_these_are_allowed(tmp_path):
    write(tmp_path, ARCHIVE_BYTES)
    found = find(tmp_path, allow_repacked=True)
    assert images_of(found) == IMAGES
    assert found.repacked(digests_of(found)) == {}
    assert found.archives == set(ARCHIVE_BYTES)


def test_an_image_in_two_archives_of_unknown_contents_is_read_from_the_first(tmp_path):
    name = NAMES[0]
    write(tmp_path, {f"images_{n:02d}.tar.gz": tar_gz([(name, content)]) for n, content in ((20, b"20"), (21, b"21"))})
    assert images_of(find(tmp_path, allow_repacked=True)) == {name: b"20"}


def test_an_archive_all_of_whose_images_lie_in_folders_is_not_read(tmp_path):
    write(tmp_path, ARCHIVE_BYTES | in_folder("images", HALVES[0]))
    found = find(tmp_path)
    assert images_of(found) == IMAGES
    assert [path for path, digest in digests_of(found).items() if digest] == [str(tmp_path / "images_002.tar.gz")]


@pytest.mark.parametrize("allow_repacked", [False, True])
@pytest.mark.parametrize("left", [0, 100, 0.5, -4])
def test_cut_archive_is_never_read_without_an_error(tmp_path, left, allow_repacked):
    content = ARCHIVE_BYTES["images_001.tar.gz"]
    content = content[: int(left * len(content)) if isinstance(left, float) else left]
    write(tmp_path, {"images_001.tar.gz": content})
    found = find_release(epath.Path(tmp_path), KNOWN, allow_repacked)
    if not allow_repacked:  # It has not the official size.
        assert re.search(r"images_001\.tar\.gz .* It is cut", found.refused[ARCHIVES[0]])
        return
    with pytest.raises(ReleaseError, match=r"images_001\.tar\.gz is cut"):
        images_of(found)


def test_cut_zip_is_left_aside_with_the_reason(tmp_path):
    write(tmp_path, in_folder("images", HALVES[0]))
    write_zip(tmp_path / "holiday.zip", IMAGES)
    content = (tmp_path / "holiday.zip").read_bytes()
    (tmp_path / "holiday.zip").write_bytes(content[:-100])
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert images_of(found) == dict(HALVES[0])
    assert re.search(r"holiday\.zip is cut or corrupt", found.not_taken())


def test_folder_that_may_not_be_read_is_left_aside_with_the_systems_words(tmp_path, monkeypatch):
    write(tmp_path, IMAGES | in_folder("lost+found", IMAGES))
    kind = type(epath.Path(tmp_path))
    listed = kind.iterdir

    def refuse(path):
        if path.name == "lost+found":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(kind, "iterdir", refuse)
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert images_of(found) == IMAGES
    assert [f"{tmp_path}/lost+found cannot be read (Permission denied)" in why for why in found.aside] == [True]


def test_images_at_any_depth_are_found(tmp_path):
    """As Kaggle mounts them now."""
    deep = "input/datasets/nih-chest-xrays/data/versions/3/images_001/images"
    write(tmp_path, in_folder(deep, IMAGES) | {V2020: b"table"})
    assert images_of(find(tmp_path)) == IMAGES


def test_links_in_a_circle_end_and_a_link_to_a_folder_is_followed(tmp_path):
    write(tmp_path, in_folder("elsewhere/images", IMAGES) | {f"nih/{V2020}": b"table"})
    (tmp_path / "nih" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "nih")
    assert images_of(find(tmp_path / "nih")) == IMAGES


def test_search_that_takes_too_long_ends_and_says_so(tmp_path, monkeypatch):
    write(tmp_path, in_folder("images", IMAGES))
    monkeypatch.setattr("nih_chest_xray.release.find._SECONDS", -1)
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert found.sources == ()
    assert "not searched, since the search took more than" in found.not_taken()


def test_images_with_an_ending_in_capitals_are_taken(tmp_path):
    write(tmp_path, {name.replace(".png", ".PNG"): content for name, content in IMAGES.items()})
    assert images_of(find(tmp_path)) == IMAGES


def test_zip_with_windows_separators_in_its_names_is_read(tmp_path):
    write_zip(tmp_path / "archive.zip", {f"images_001\\images\\{name}": content for name, content in IMAGES.items()})
    assert images_of(find(tmp_path)) == IMAGES


# Resized copies.


def png_of(side: int, shade: int = 0) -> bytes:
    return cv2.imencode(".png", np.full((side, side), shade, np.uint8))[1].tobytes()


def jpeg_of(side: int) -> bytes:
    return cv2.imencode(".jpg", np.zeros((side, side), np.uint8))[1].tobytes()


ORIGINALS = {name: png_of(1024, shade) for shade, name in enumerate(NAMES)}


def in_files(folder: Path, where: str, images: dict[str, bytes]) -> None:
    write(folder, in_folder(where, images))


def in_a_zip(folder: Path, where: str, images: dict[str, bytes]) -> None:
    write_zip(folder / f"{where}.zip", in_folder("images", images))


@pytest.mark.parametrize("make", [in_files, in_a_zip])
@pytest.mark.parametrize("resized_to", [None, 128, 512])
def test_copy_beside_an_original_never_shadows_it(tmp_path, resized_to, make):
    make(tmp_path, "a-images-224", dict.fromkeys(NAMES, png_of(224)))
    make(tmp_path, "images", ORIGINALS)
    found = find_release(epath.Path(tmp_path), KNOWN, False, resized_to=resized_to)
    assert images_of(found) == ORIGINALS


def test_copy_in_the_same_zip_as_the_original_never_shadows_it(tmp_path):
    copies = in_folder("a/images-224", dict.fromkeys(NAMES, png_of(224)))
    write_zip(tmp_path / "archive.zip", copies | in_folder("b/images", ORIGINALS))
    assert images_of(find_release(epath.Path(tmp_path), KNOWN, False)) == ORIGINALS


@pytest.mark.parametrize("make", [in_files, in_a_zip])
@pytest.mark.parametrize("copy", [png_of(224), jpeg_of(224)])
def test_copies_alone_are_taken_only_where_they_are_allowed_and_large_enough(tmp_path, copy, make):
    ending = "png" if copy[:1] == b"\x89" else "jpg"
    make(tmp_path, "images-224", {name.replace("png", ending): copy for name in NAMES})
    refused = find_release(epath.Path(tmp_path), KNOWN, False)
    assert refused.sources == ()
    [why] = refused.aside
    assert re.search(rf'{len(NAMES)} images with 224 pixels .* 1024\. .*"allow_resized_images": true', why)
    small = find_release(epath.Path(tmp_path), KNOWN, False, resized_to=256)
    assert "too small for image_size 256" in small.not_taken()
    taken = find_release(epath.Path(tmp_path), KNOWN, False, resized_to=224)
    assert images_of(taken) == dict.fromkeys(NAMES, copy)
    assert taken.aside == ()


def test_of_copies_the_largest_are_taken_and_only_where_the_original_is_nowhere(tmp_path):
    write(tmp_path, in_folder("224", dict.fromkeys(NAMES, png_of(224))))
    write(
        tmp_path,
        in_folder("512", dict.fromkeys(NAMES[:6], png_of(512))) | in_folder("images", {NAMES[0]: png_of(1024)}),
    )
    found = find_release(epath.Path(tmp_path), KNOWN, False, resized_to=128)
    sides = {
        name: cv2.imdecode(np.frombuffer(content, np.uint8), 0).shape[0] for name, content in images_of(found).items()
    }
    assert sides == dict(zip(NAMES, (1024, 512, 512, 512, 512, 512, 224, 224), strict=True))


def test_folder_of_originals_and_copies_is_told_apart_image_by_image(tmp_path):
    write(tmp_path, in_folder("images", ORIGINALS | {NAMES[3]: png_of(256)}))
    found = find_release(epath.Path(tmp_path), KNOWN, False)
    assert images_of(found).keys() == set(NAMES) - {NAMES[3]}
    assert "1 images with 256 pixels" in found.not_taken()


@pytest.mark.parametrize("name", ["nowhere", "file.csv"])
def test_folder_that_is_none_is_an_error(tmp_path, name):
    write(tmp_path, {"file.csv": b"x"})
    with pytest.raises(ReleaseError, match=f"{name} is not a directory. Name the folder that holds the NIH's files"):
        find(tmp_path / name)


@pytest.mark.real
def test_real_folder_gives_every_png_in_it(real_dir):
    found = find_release(epath.Path(real_dir), {}, False)
    assert found.label_file == V2020
    expected = {path.name: path.read_bytes() for path in (real_dir / "images").glob("*.png")}
    assert {image.name: image.read() for image in found.images(frozenset(expected))} == expected

"""Tests of the release: every layout gives the same images, and archives are the official ones or refused."""

import hashlib
import random
import warnings
import zipfile
from pathlib import Path

import pytest
from etils import epath

from nih_chest_xray.files import ReleaseError
from nih_chest_xray.find import find_release
from nih_chest_xray.phantom import tar_gz
from nih_chest_xray.release import (
    ARCHIVES,
    LABEL_FILES,
    KnownFile,
    Release,
)

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


@pytest.mark.parametrize("better", ["", "nested/deep/"])
def test_the_best_label_file_is_taken_wherever_it_lies(tmp_path, better):
    write(tmp_path, {f"{better}{V2020}": b"best", f"other/{V2017}": b"older"} | IMAGES)
    found = find(tmp_path)
    assert found.tables[found.label_file].read() == b"best"


def test_tables_one_folder_up_are_found(tmp_path):
    write(tmp_path, in_folder("images", IMAGES) | {V2020: b"up", "test_list.txt": b"up"})
    found = find(tmp_path / "images")
    assert images_of(found) == IMAGES
    assert {name: table.read() for name, table in found.tables.items()} == {V2020: b"up", "test_list.txt": b"up"}
    assert found.tables[V2020].place == str(tmp_path / V2020)


def test_the_nearest_of_several_tables_counts(tmp_path):
    write(tmp_path, {V2020: b"up", f"nih/{V2020}": b"here", f"nih/copy/{V2020}": b"below", "nih/x.txt": b""})
    write_zip(tmp_path / "nih/archive.zip", {V2020: b"in the zip"})
    assert find(tmp_path / "nih").tables[V2020].read() == b"here"


def test_official_lists_are_found_and_other_files_are_no_tables(tmp_path):
    files = {"train_val_list.txt": b"1", "test_list.txt": b"2", V2020: b"3"}
    write(tmp_path, files | {"README.txt": b"", "Data_Entry_2017_v2020.csv.bak": b"", "LOG_CHESTXRAY.pdf": b""})
    assert {name: table.read() for name, table in find(tmp_path).tables.items()} == files


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
    "a number that the NIH has not": ("images_13.tar.gz", OTHER, ["none of the NIH's twelve archives"]),
}


@pytest.mark.parametrize(("name", "content", "parts"), DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_archive_that_is_not_the_official_one_is_refused_with_both_figures(tmp_path, name, content, parts):
    write(tmp_path, {name: content})
    with pytest.raises(ReleaseError) as caught:
        images_of(find(tmp_path))  # Another digest shows when it is read, another size at once.
    message = str(caught.value)
    assert message.startswith(str(tmp_path / name))
    for part in [*parts, "get it again from the NIH's page", '"allow_missing_images": true']:
        assert part in message


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
def test_cut_archive_is_an_error_whatever_is_allowed(tmp_path, left, allow_repacked):
    content = ARCHIVE_BYTES["images_001.tar.gz"]
    content = content[: int(left * len(content)) if isinstance(left, float) else left]
    write(tmp_path, {"images_001.tar.gz": content})
    with pytest.raises(ReleaseError, match=r"images_001\.tar\.gz .*(is cut|It is cut)"):
        images_of(find(tmp_path, allow_repacked))


def test_cut_zip_is_an_error(tmp_path):
    write_zip(tmp_path / "archive.zip", IMAGES)
    content = (tmp_path / "archive.zip").read_bytes()
    (tmp_path / "archive.zip").write_bytes(content[:-100])
    with pytest.raises(ReleaseError, match=r"archive\.zip is cut or corrupt"):
        find(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "file.csv"])
def test_folder_that_is_none_is_an_error(tmp_path, name):
    write(tmp_path, {"file.csv": b"x"})
    with pytest.raises(ReleaseError, match=f"{name} is not a folder. Give the folder in which the NIH's files are"):
        find(tmp_path / name)


@pytest.mark.real
def test_real_folder_gives_every_png_in_it(real_dir):
    found = find_release(epath.Path(real_dir), {}, False)
    assert found.label_file == V2020
    expected = {path.name: path.read_bytes() for path in (real_dir / "images").glob("*.png")}
    assert {image.name: image.read() for image in found.images(frozenset(expected))} == expected

"""Tests of downloads: only what is missing is fetched, and where that fails the error tells what to do."""

import dataclasses
import hashlib
import random
from pathlib import Path

import pytest
from etils import epath

from nih_chest_xray.catalog.charts import Table
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import ReleaseError, TransferError
from nih_chest_xray.phantom.release import tar_gz
from nih_chest_xray.release.downloads import complete_images, complete_tables
from nih_chest_xray.release.release import KnownFile, Release, TableFile
from nih_chest_xray.release.sources import Folder
from nih_chest_xray.vocabulary import ARCHIVES

PAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
V2020 = "Data_Entry_2017_v2020.csv"
LISTS = ("train_val_list.txt", "test_list.txt")
BOXES = "BBox_List_2017.csv"
KNOWN = {name: KnownFile(f"https://example.org/{name}", 1, "0") for name in (*ARCHIVES, V2020, *LISTS, BOXES)}


def config(official_split: bool = False, **fields) -> NihChestXrayConfig:
    return NihChestXrayConfig(name="test", split="official" if official_split else "stratified", **fields)


class Server:
    """A stand-in for `transfer.fetch`: keeps what it is asked for and serves files that are made for a test."""

    def __init__(self, folder: Path, files: dict[str, bytes]) -> None:
        self.asked = []
        self._folder = folder
        self._files = files

    def __call__(self, files: dict[str, KnownFile]) -> dict[str, epath.Path]:
        self.asked.append(set(files))
        paths = {name: epath.Path(self._folder / name) for name in files}
        for name, path in paths.items():
            assert files[name].url == f"https://example.org/{name}"
            path.write_bytes(self._files[name])
        return paths


def refuse(files):
    raise TransferError("the server said no")


def never(files):
    raise AssertionError(f"{files} should not have been fetched")


def table(content: bytes) -> Table:
    return TableFile("here", lambda: content)


def images(numbers) -> list[str]:
    """Names of images, which begin with 00000001_000.png: the NIH has none before."""
    return [f"{number:08d}_000.png" for number in numbers]


def release_of(names=(), tables=(), archives=()) -> Release:
    folder = Folder(epath.Path("/data/nih/images"), names)
    return Release("/data/nih", {name: table(b"mine") for name in tables}, (folder,), frozenset(archives))


@pytest.mark.parametrize("official_split", [False, True])
@pytest.mark.parametrize("label_file", [V2020, "Data_Entry_2017.csv", "sample_labels.csv"])
def test_no_table_is_fetched_where_all_are_there(label_file, official_split):
    found = release_of(tables=(label_file, *LISTS, BOXES))
    assert complete_tables(found, config(official_split), KNOWN, never) == found


@pytest.mark.parametrize(
    ("there", "official_split", "fetched"),
    [
        ((), False, {V2020}),
        (LISTS, False, {V2020}),
        (LISTS, True, {V2020}),
        ((), True, {V2020, *LISTS}),
        ((V2020,), True, {*LISTS}),
        (("sample_labels.csv", "test_list.txt"), True, {"train_val_list.txt"}),
        ((V2020,), False, set()),
    ],
)
def test_only_the_tables_that_the_split_needs_and_that_are_missing_are_fetched(
    tmp_path, there, official_split, fetched
):
    server = Server(tmp_path, {name: f"served {name}".encode() for name in (V2020, *LISTS)})
    found = complete_tables(release_of(tables=(*there, BOXES)), config(official_split), KNOWN, server)
    assert server.asked == ([fetched] if fetched else [])
    expected = dict.fromkeys((*there, BOXES), b"mine") | {name: f"served {name}".encode() for name in fetched}
    assert {name: table.read() for name, table in found.tables.items()} == expected


def test_completing_tables_keeps_images_and_archives(tmp_path):
    found = release_of(images(range(3)), archives=ARCHIVES[:2])
    done = complete_tables(found, config(), KNOWN, Server(tmp_path, {V2020: b"x", BOXES: b"y"}))
    assert done.sources == found.sources
    assert done.archives == found.archives
    assert found.tables == {}


def test_tables_that_cannot_be_fetched_are_named_with_the_page_to_get_them_from():
    with pytest.raises(ReleaseError) as caught:
        complete_tables(release_of(tables=["test_list.txt"]), config(True), KNOWN, refuse)
    message = str(caught.value)
    for part in (V2020, "train_val_list.txt", "/data/nih", "failed (the server said no)", PAGE, "manual_dir"):
        assert part in message
    assert "test_list.txt" not in message
    assert isinstance(caught.value.__cause__, TransferError)


def test_no_archive_is_fetched_where_every_wanted_image_is_there():
    found = release_of(images(range(5)))
    assert complete_images(found, frozenset(images(range(1, 4))), KNOWN, never) == found
    assert complete_images(found, frozenset(), KNOWN, never) == found


def known_of(archives: dict[str, bytes]) -> dict[str, KnownFile]:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in archives.items()}
    return KNOWN | {name: KnownFile(f"https://example.org/{name}", 1, digest) for name, digest in digests.items()}


# By the NIH's order of names: the last archive begins with 00028173_003.png, the one before it with 00024718_000.png.
@pytest.mark.parametrize(
    ("missing", "fetched"),
    [
        ([1], {1}),
        ([1335], {1}),
        ([1336], {2}),
        ([24718, 28172], {11}),
        ([28174, 30805], {12}),
        ([24717, 28172, 28174], {10, 11, 12}),
    ],
)
def test_only_the_archives_that_hold_a_missing_image_are_fetched_and_give_it(missing, fetched, tmp_path):
    contents = {name: random.Random(name).randbytes(100) for name in images(missing)}
    archives = {ARCHIVES[number - 1]: tar_gz(list(contents.items())) for number in fetched}
    server = Server(tmp_path, archives)
    wanted = frozenset([*images(range(40_000, 40_005)), *contents])
    found = release_of(images(range(40_000, 40_005)), [V2020])
    found = complete_images(found, wanted, known_of(archives), server)
    assert server.asked == [set(archives)]
    assert found.held(wanted) == wanted
    assert found.archives == set(archives)
    assert {image.name: image.read() for image in found.images(frozenset(contents))} == contents
    assert found.tables[V2020].read() == b"mine"


def test_of_kaggles_folders_the_one_that_is_missing_is_fetched_as_an_archive(tmp_path):
    # A name of each archive, and all but that of the fourth in folders.
    names = images([1, 1336, 3924, 6586, 9233, 11559, 13775, 16052, 18388, 20946, 24718, 28174])
    folders = [Folder(epath.Path(f"/data/images_{number:03d}/images"), [name]) for number, name in enumerate(names, 1)]
    found = Release("/data", sources=tuple(folders[:3] + folders[4:]))
    server = Server(tmp_path, {ARCHIVES[3]: tar_gz([(names[3], b"png")])})
    complete_images(found, frozenset(names), known_of({}), server)
    assert server.asked == [{ARCHIVES[3]}]


def test_images_without_any_archive_fetch_all_twelve(tmp_path, capsys):
    names = images(range(1, 30_806))
    server = Server(tmp_path, dict.fromkeys(ARCHIVES, b""))
    known = {name: dataclasses.replace(file, size=3_750_000_000) for name, file in KNOWN.items()}
    complete_images(Release("nowhere"), frozenset(names), known, server)
    assert server.asked == [set(ARCHIVES)]
    assert (
        "30,805 of the 30,805 images that this config needs are not in nowhere. They are in 12 of the NIH's archives"
        " (45.0 GB)."
    ) in capsys.readouterr().err


def test_images_that_cannot_be_fetched_are_counted_with_examples_and_both_ways_out():
    wanted = images(range(1, 5_679))
    with pytest.raises(ReleaseError) as caught:
        complete_images(release_of(wanted[1_234:]), frozenset(wanted), KNOWN, refuse)
    message = str(caught.value)
    assert message.startswith("1,234 of the 5,678 images")
    for part in (
        "/data/nih",
        "(00000001_000.png, 00000002_000.png, 00000003_000.png, …)",
        "could not be downloaded (the server said no)",
        PAGE,
        '"allow_missing_images": true',
    ):
        assert part in message
    assert isinstance(caught.value.__cause__, TransferError)


@pytest.mark.parametrize(("lost", "named"), [(1, "(00000001_000.png)"), (3, "3_000.png)"), (4, "3_000.png, …)")])
def test_more_examples_are_promised_only_where_there_are_more(lost, named):
    wanted = images(range(1, 11))
    with pytest.raises(ReleaseError) as caught:
        complete_images(release_of(wanted[lost:]), frozenset(wanted), KNOWN, refuse)
    assert named in str(caught.value)


@pytest.mark.parametrize("archives", [ARCHIVES, ()])
def test_images_that_no_archive_can_hold_are_an_error_without_a_download(archives):
    found = release_of(images(range(1, 3)), archives=archives)
    with pytest.raises(ReleaseError, match=r"1 of the 3 images .*\(00000000_000.png\).* No archive") as caught:
        complete_images(found, frozenset(images(range(3))), KNOWN, never)
    assert "allow_missing_images" in str(caught.value)


def test_fetched_archive_that_is_cut_is_refused_when_it_is_read(tmp_path):
    content = tar_gz([("00000001_000.png", random.Random(0).randbytes(9000))])
    server = Server(tmp_path, {ARCHIVES[0]: content[:5000]})
    found = complete_images(release_of(archives=ARCHIVES[1:]), frozenset(images([1])), KNOWN, server)
    with pytest.raises(ReleaseError, match="is cut or corrupt"):
        list(found.images(frozenset(images([1]))))


def test_boxes_are_fetched_for_every_config(tmp_path):
    server = Server(tmp_path, {BOXES: b"boxes"})
    found = complete_tables(release_of(tables=(V2020,)), config(), KNOWN, server)
    assert found.tables[BOXES].read() == b"boxes"


def test_without_boxes_a_build_from_a_part_goes_on_with_a_warning_and_another_does_not():
    found = release_of(tables=(V2020,))
    with pytest.warns(UserWarning, match=f"{BOXES}: not found in /data/nih.* No image has bounding boxes"):
        assert complete_tables(found, config(allow_missing_images=True), KNOWN, refuse) == found
    with pytest.raises(ReleaseError, match=f"{BOXES}: not found in /data/nih.*the server said no.*{PAGE}"):
        complete_tables(found, config(), KNOWN, refuse)


@pytest.mark.parametrize(
    ("there", "absent"),
    [
        ((), "validation_labels.csv and test_labels.csv: not found in /data/nih"),
        (("test_labels.csv",), "^validation_labels.csv: not found in /data/nih"),
        (("validation_labels.csv",), "^test_labels.csv: not found in /data/nih"),
    ],
)
def test_radiologists_files_that_are_missing_are_named_with_the_place_of_the_form(there, absent):
    found = release_of(tables=(V2020, BOXES, *there))
    expert = NihChestXrayConfig(name="test", task="nodule_expert", split="expert")
    with pytest.raises(ReleaseError, match=f"{absent}.*form at https://cloud.google.com/.*four_findings_expert_labels"):
        complete_tables(found, expert, KNOWN, never)

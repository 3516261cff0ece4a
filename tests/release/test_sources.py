"""Tests of sources: the same bytes from a folder, a zip or a tar.gz, in the medium's order, and no damage unnoticed."""

import gzip
import hashlib
import io
import pickle
import random
import tarfile
import tempfile
import zipfile

import pytest
from etils import epath

from nih_chest_xray.errors import ReleaseError
from nih_chest_xray.release.sources import Folder, Zip
from nih_chest_xray.release.tars import TarGz

# Drawn in no order of names: what a zip or a tar.gz gives is the order in which it was packed.
NAMES = ("00000013_005.png", "00000001_001.png", "00030805_000.png", "00000001_000.png", "00000002_000.png")
IMAGES = {name: random.Random(name).randbytes(5000) for name in NAMES}
NOT_IMAGES = {
    "._00000001_000.png": b"a Mac's resource fork",
    "00000001_000.png.txt": b"text",
    "1_0.png": b"another name",
    "readme.txt": b"text",
}


def make_folder(path, members) -> Folder:
    path.mkdir()
    for name, content in members:
        (path / name).write_bytes(content)
    return Folder(epath.Path(path), [name for name, _ in members])


def make_zip(path, members, compression=zipfile.ZIP_STORED) -> Zip:
    write_zip(path, [(f"images_001/images/{name}", content) for name, content in members], compression)
    return Zip(epath.Path(path))


def write_zip(path, members, compression=zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)


def make_tar_gz(path, members) -> TarGz:
    write_tar_gz(path, [(f"images/{name}", content) for name, content in members])
    return TarGz(epath.Path(path))


def write_tar_gz(path, members) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def read(source, wanted=NAMES) -> list[tuple[str, bytes]]:
    return [(image.name, image.read()) for image in source.images(frozenset(wanted))]


MAKERS = {"folder": make_folder, "zip": make_zip, "tar.gz": make_tar_gz}


@pytest.fixture(params=MAKERS)
def medium(request):
    return request.param


@pytest.fixture
def source(medium, tmp_path):
    return MAKERS[medium](tmp_path / "images_001.tar.gz", IMAGES.items())


def test_all_images_come_with_their_bytes(source):
    assert dict(read(source, set(NAMES))) == IMAGES


def test_images_come_in_the_mediums_order_whatever_is_asked_for(medium, source):
    order = tuple(sorted(NAMES)) if medium == "folder" else NAMES
    assert tuple(name for name, _ in read(source)) == order


def test_only_wanted_images_are_given(source):
    wanted = {NAMES[3], NAMES[1], "00009999_000.png"}
    assert dict(read(source, wanted)) == {name: IMAGES[name] for name in (NAMES[1], NAMES[3])}
    assert read(source, set()) == []


def test_source_can_be_read_again(source):
    assert read(source) == read(source)


def test_place_is_the_path(source, tmp_path):
    assert source.place == str(tmp_path / "images_001.tar.gz")


def test_nothing_is_written_to_disk(medium, tmp_path, monkeypatch):
    """Reading extracts nothing: neither beside the medium nor where temporary files go."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    source = MAKERS[medium](tmp_path / "medium", IMAGES.items())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for _ in read(source, set(NAMES)):
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("make", [make_zip, make_tar_gz])
def test_what_is_not_named_as_an_image_is_skipped(tmp_path, make):
    source = make(tmp_path / "medium", [*NOT_IMAGES.items(), *IMAGES.items()])
    assert read(source) == list(IMAGES.items())


def test_directories_and_links_in_a_tar_gz_are_skipped(tmp_path):
    path = tmp_path / "images_001.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, kind in (
            ("images", tarfile.DIRTYPE),
            ("images/00000009_000.png", tarfile.DIRTYPE),
            ("images/00000009_001.png", tarfile.SYMTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "00000001_000.png" if kind == tarfile.SYMTYPE else ""
            archive.addfile(member)
        member = tarfile.TarInfo("images/00000001_000.png")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"png"))
    wanted = [f"00000009_00{number}.png" for number in (0, 1)] + ["00000001_000.png"]
    assert read(TarGz(epath.Path(path)), wanted) == [("00000001_000.png", b"png")]


def test_directories_in_a_zip_are_skipped(tmp_path):
    path = tmp_path / "archive.zip"
    write_zip(path, [("images/", b""), ("images/00000009_000.png/", b""), ("images/00000001_000.png", b"png")])
    source = Zip(epath.Path(path))
    assert source.files == {"00000001_000.png"}


@pytest.mark.parametrize("writer", [write_zip, write_tar_gz])
def test_image_that_is_there_twice_is_read_once_and_the_first_counts(tmp_path, writer):
    path = tmp_path / "medium"
    name, other = NAMES[0], NAMES[1]
    writer(path, [(f"b/{name}", b"first"), (f"b/{other}", b"other"), (f"a/{name}", b"again")])
    source = (Zip if writer is write_zip else TarGz)(epath.Path(path))
    assert read(source, {name, other}) == [(name, b"first"), (other, b"other")]


def test_zip_is_read_in_the_order_of_its_bytes_not_of_its_directory(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in IMAGES.items():
            archive.writestr(name, content)
        archive.filelist.reverse()  # The directory is written when the zip is closed.
    assert [name for name, _ in read(Zip(epath.Path(path)))] == list(NAMES)


def test_compressed_zip_gives_the_same_images(tmp_path):
    source = make_zip(tmp_path / "archive.zip", IMAGES.items(), zipfile.ZIP_DEFLATED)
    assert dict(read(source, set(NAMES))) == IMAGES


def test_table_in_a_zip_is_read_by_name(tmp_path):
    path = tmp_path / "archive.zip"
    write_zip(path, [("Data_Entry_2017.csv", b"a table"), (f"images/{NAMES[0]}", b"png")])
    source = Zip(epath.Path(path))
    assert source.read_file("Data_Entry_2017.csv") == b"a table"


def test_digest_of_a_tar_gz_is_that_of_the_file(tmp_path):
    path = tmp_path / "images_001.tar.gz"
    # More than one buffer, and zeros behind the tar's end, as GNU tar writes them.
    write_tar_gz(path, [*IMAGES.items(), ("00000003_000.png", random.Random(0).randbytes(300_000))])
    source = TarGz(epath.Path(path))
    read(source)
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_tar_gz_is_read_once_and_to_its_end_whatever_is_wanted(tmp_path):
    path = tmp_path / "images_001.tar.gz"
    source = make_tar_gz(path, IMAGES.items())
    path.write_bytes(path.read_bytes()[:-1])
    images = source.images(frozenset(NAMES[:1]))
    assert next(images).read() == IMAGES[NAMES[0]]
    with pytest.raises(ReleaseError, match="is cut or corrupt"):
        next(images)
    assert source.sha256 is None


@pytest.mark.parametrize("refuse", [False, True])
def test_a_tar_gz_with_another_digest_is_refused_where_that_was_asked_for(tmp_path, refuse):
    path = tmp_path / "images_001.tar.gz"
    write_tar_gz(path, IMAGES.items())
    source = TarGz(epath.Path(path), "0" * 64, refuse_others=refuse)
    if not refuse:
        assert dict(read(source)) == IMAGES
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ReleaseError, match=f"images_001.tar.gz has SHA-256 {digest}; the NIH's has 0000"):
        read(source)


def test_an_archive_of_known_contents_holds_these_and_another_may_hold_anything():
    names = frozenset(NAMES)
    known = TarGz(epath.Path("a.tar.gz"), contents=("00000001_001.png", "00000013_005.png"))
    assert known.held(names) == {"00000001_001.png", "00000002_000.png"}
    assert TarGz(epath.Path("b.tar.gz")).held(names) == names


@pytest.mark.parametrize("medium", MAKERS)
def test_a_part_of_a_source_survives_pickling_and_gives_the_same_bytes(medium, tmp_path):
    source = MAKERS[medium](tmp_path / "images_001.tar.gz", IMAGES.items())
    part = pickle.loads(pickle.dumps(source.part(NAMES[:2])))
    assert dict(read(part, NAMES[:2])) == {name: IMAGES[name] for name in NAMES[:2]}
    assert len(pickle.dumps(source.part(NAMES[:2]))) < 1000


def flip(content: bytes, place: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 0x10
    return bytes(damaged)


MEMBER = 512 + 5120  # A header, and 5,000 bytes filled up to whole blocks of 512.


@pytest.mark.parametrize("left", [200, MEMBER, MEMBER + 300, MEMBER + 512, 2 * MEMBER - 700, 5 * MEMBER])
def test_a_tar_that_was_cut_before_it_was_zipped_is_refused(tmp_path, left):
    """Its gzip is whole, with a right CRC; cut in a header, in an image, or between two."""
    path = tmp_path / "images_001.tar.gz"
    write_tar_gz(path, IMAGES.items())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:left]))
    with pytest.raises(ReleaseError, match="images_001.tar.gz is cut or corrupt"):
        read(TarGz(epath.Path(path)))


@pytest.mark.parametrize("place", range(0, 24_000, 3001))
def test_no_damage_to_the_bytes_of_a_tar_gz_goes_unnoticed(tmp_path, place):
    path = tmp_path / "images_007.tar.gz"
    write_tar_gz(path, IMAGES.items())
    # Behind gzip's header of 10 bytes and the file name in it, everything is covered by the checksum.
    path.write_bytes(flip(path.read_bytes(), 10 + len("images_007.tar") + 1 + place))
    with pytest.raises(ReleaseError):
        read(TarGz(epath.Path(path)))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_member_of_a_zip_is_refused_by_name_and_the_others_are_read(tmp_path, compression):
    path = tmp_path / "archive.zip"
    write_zip(path, IMAGES.items(), compression)
    with zipfile.ZipFile(path) as archive:
        second = archive.infolist()[1]
    path.write_bytes(flip(path.read_bytes(), second.header_offset + 30 + len(second.filename) + 2500))
    source = Zip(epath.Path(path))
    with pytest.raises(ReleaseError, match=f"archive.zip, member {NAMES[1]} is cut or corrupt"):
        read(source)
    others = set(NAMES) - {NAMES[1]}
    assert dict(read(source, others)) == {name: IMAGES[name] for name in others}

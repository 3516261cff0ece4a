"""Tests of bad inputs: each gives its error, with its place, in bounded memory; a name in an archive is no path."""

import io
import re
import sys
import tarfile
import tracemalloc
from pathlib import Path

import bad_inputs
import pytest
from bad_files import END as TAR_END
from bad_files import LINKS, NAME, NAMES, SUM, member, png, read_release, tar_gz, with_entry, zipped
from bad_files import MODE as ZIP_MODE
from bad_inputs import CASES
from etils import epath

from nih_chest_xray.release.sources import Zip
from nih_chest_xray.release.tars import TarGz

BOMBS = [name for name in CASES if re.search("bomb|160 MB|terabyte|8 GB|60,000|claims four", name)]


def require_error(case, folder):
    with pytest.raises(case.error) as caught:
        case.read(folder)
    assert type(caught.value) is case.error
    message = str(caught.value)
    assert re.search(case.message, message.replace(f"{folder}/", "")), message
    assert message.isprintable()
    assert len(message) < 1500


@pytest.mark.parametrize("name", [name for name in CASES if name not in BOMBS])
def test_bad_input_gives_the_error_that_tells_where_and_what(name, tmp_path):
    CASES[name].write(tmp_path)
    require_error(CASES[name], tmp_path)


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_gives_its_error_before_it_fills_the_memory(name, tmp_path):
    CASES[name].write(tmp_path)
    tracemalloc.start()
    try:
        require_error(CASES[name], tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Far less than the 160 megabytes that a bomb unpacks to; 32 are allowed, and may be there twice.
    assert peak < 100 << 20


def test_release_of_the_cases_has_no_fault_of_its_own(tmp_path):
    """Else a case could fail for another reason than its own."""
    path = tmp_path / "release"
    CASES["image: empty"].write(path)
    (path / "images" / NAME).write_bytes(png())
    for split in ("stratified", "official", "expert"):
        assert read_release(path, split) == {NAME: png()}
    for name, content in (("images_01.tar.gz", tar_gz()), ("archive.zip", zipped())):
        (path / "images" / NAME).unlink(missing_ok=True)
        (path / name).write_bytes(content)
        assert read_release(path) == {NAME: png()}
        (path / name).unlink()


HARMLESS = {
    "absolute": "/etc/{}",
    "up": "../../../{}",
    "up in the midst": "images/../../{}",
    "Windows's own": "C:\\images/{}",
    "control characters": "\x1b[31m/{}",
}


def tar_gz_of(names) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode())
            archive.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize("medium", [Zip, TarGz])
def test_member_is_read_by_the_last_part_of_its_name_and_nothing_is_written(medium, tmp_path, monkeypatch):
    paths = [path.format(name) for path, name in zip(HARMLESS.values(), NAMES, strict=False)]
    pack = (lambda: zipped({path: path.encode() for path in paths})) if medium is Zip else (lambda: tar_gz_of(paths))
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    (folder / "archive").write_bytes(pack())
    monkeypatch.chdir(folder)
    before = sorted(tmp_path.rglob("*"))
    images = medium(epath.Path(folder / "archive")).images(frozenset(NAMES))
    assert [(image.name, image.read().decode()) for image in images] == list(zip(NAMES, paths, strict=False))
    assert sorted(tmp_path.rglob("*")) == before
    assert not any(Path("/etc", name).exists() for name in NAMES)


@pytest.mark.parametrize("kind", LINKS)
def test_link_or_device_in_a_tar_gz_is_no_image(kind, tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tar_gz(member(NAME, kind=kind) + member(NAMES[1], b"image") + TAR_END))
    images = TarGz(epath.Path(tmp_path / "a.tar.gz")).images(frozenset(NAMES))
    assert [(image.name, image.read()) for image in images] == [(NAMES[1], b"image")]


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010666], ids=["link", "tty", "disk", "pipe"])
def test_link_or_device_in_a_zip_is_no_image(mode, tmp_path):
    content = zipped({NAMES[1]: b"image", NAME: b"/etc/hostname"})
    (tmp_path / "a.zip").write_bytes(with_entry(content, (ZIP_MODE, mode << 16)))
    assert Zip(epath.Path(tmp_path / "a.zip")).files == {NAMES[1]}


def test_error_shows_a_members_name_as_a_terminal_can_take_it(tmp_path):
    """A name may hold bytes that are no text, or codes that a terminal obeys."""
    name = f"\x1b[2J\udce4/{NAME}"
    (tmp_path / "archive.zip").write_bytes(with_entry(zipped({f"\x1b[2J/{NAME}": b"image"}), (SUM, 1)))
    (tmp_path / "a.tar.gz").write_bytes(tar_gz(member(name, size=1 << 40) + TAR_END))
    for source in (Zip(epath.Path(tmp_path / "archive.zip")), TarGz(epath.Path(tmp_path / "a.tar.gz"))):
        with pytest.raises(ValueError, match=r"member …'.*\\x1b\[2J") as caught:
            [image.read() for image in source.images(frozenset({NAME}))]
        assert str(caught.value).isprintable()


def test_cases_of_a_kind_can_be_printed(monkeypatch, capsys):
    kind = "radiologists' file: "
    monkeypatch.setattr(sys, "argv", ["bad_inputs.py", kind])
    bad_inputs.main()
    said = [line.split(": ")[:3] for line in capsys.readouterr().out.splitlines()]
    assert said == [[*name.split(": "), case.error.__name__] for name, case in CASES.items() if name.startswith(kind)]

"""Tests of room: what a build writes is foreseen, and a disk that is too small is told with what to do."""

import contextlib
import doctest
import shutil
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.building import size as building_size
from nih_chest_xray.building.progress import Progress
from nih_chest_xray.building.size import build_size
from nih_chest_xray.errors import NoRoomError
from nih_chest_xray.system import disk_space
from nih_chest_xray.system.disk_space import Need, require_room

GB = 10**9


def size(examples=1000, **fields) -> int:
    return build_size(NihChestXrayConfig(name="test", **fields), examples)


def test_examples_in_the_docstrings_are_right():
    assert doctest.testmod(building_size).failed == 0


@pytest.mark.parametrize(
    ("fields", "kilobytes"),
    [
        ({}, 110),  # Measured on the NIH's images: 107 to 113, by the filters of their rows.
        ({"image_format": "jpeg"}, 54),
        ({"image_size": None}, 410),
        ({"image_size": 1024}, 425),  # Means of 60 of the NIH's images.
        ({"image_size": 1024, "image_format": "jpeg"}, 200),
        ({"image_format": "raw"}, 262),
        ({"image_size": 224}, 25),
        ({"image_size": 224, "image_format": "jpeg"}, 13),
    ],
)
def test_an_example_has_about_the_bytes_that_were_measured(fields, kilobytes):
    assert size(1, **fields) / 1000 == pytest.approx(kilobytes, rel=0.25)


def test_the_whole_release_takes_what_it_took():
    assert size(112_120) == pytest.approx(12.4 * GB, rel=0.05)


def on_disk(folder: Path) -> int:
    """Bytes of a folder's files, and of those that this process has open there under no name any more."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if (name := str(handle.readlink())).startswith(str(folder)) and name.endswith("(deleted)"):
                total += handle.stat().st_size
    return total


@pytest.mark.parametrize("layout", ["folder", "archives"])
def test_a_build_never_has_more_on_the_disk_than_at_its_end(layout, phantom, tmp_path, make_config, monkeypatch):
    """Though all records are sorted there, and those of archives all wait until the last archive is read."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("there is no /proc to ask which files without a name are open")
    phantom.write(tmp_path / "release", layout)
    seen = []
    for owner, method in ((Progress, "stored"), (Builder, "_write_metadata")):
        usual = getattr(owner, method)

        def look(self, *arguments, usual=usual):
            seen.append(on_disk(tmp_path / "data"))
            usual(self, *arguments)

        monkeypatch.setattr(owner, method, look)
    builder = Builder(config=make_config(image_size=256, allow_missing_images=True), data_dir=tmp_path / "data")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tmp_path / "release"))
    written = sum(path.stat().st_size for path in Path(builder.data_path).glob("*tfrecord*"))
    assert 0.9 * written < max(seen) < 1.1 * written


def disks(monkeypatch, free: dict[str, int]) -> None:
    """Makes each of these folders a disk of its own, with so many bytes free."""

    class Disk(type(Path())):
        def stat(self):
            return type("Stat", (), {"st_dev": next(number for number, disk in enumerate(free) if disk in str(self))})

    monkeypatch.setattr(disk_space, "existing", Disk)
    usage = dict(enumerate(free.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": usage[path.stat().st_dev]}))


def needs(*folders_and_sizes) -> list[Need]:
    return [Need(epath.Path(folder), size, what) for folder, size, what in folders_and_sizes]


def test_needs_on_disks_of_their_own_are_compared_each_with_its_own(monkeypatch):
    disks(monkeypatch, {"/big": 45 * GB, "/small": 8 * GB})
    require_room(needs(("/big/downloads", 45 * GB, "files"), ("/small/data", 8 * GB, "the dataset")))
    with pytest.raises(NoRoomError) as error:
        require_room(needs(("/big/downloads", 45 * GB, "files"), ("/small/data", 9 * GB, "the dataset")))
    assert "files need 45.00 GB in /big/downloads; 45.00 GB are free there" in str(error.value)
    assert "the dataset need 9.00 GB in /small/data; 8.00 GB are free there" in str(error.value)
    assert "name a data_dir on another disk" in str(error.value)
    assert "--download_dir" in str(error.value)


def test_needs_on_one_disk_are_added_up(monkeypatch):
    disks(monkeypatch, {"/": 52 * GB})
    require_room(needs(("/downloads", 45 * GB, "files"), ("/data", 7 * GB, "the dataset")))
    with pytest.raises(NoRoomError, match=r"45\.00 GB in /downloads and .* 8\.00 GB in /data; 52\.00 GB are free on"):
        require_room(needs(("/downloads", 45 * GB, "files"), ("/data", 8 * GB, "the dataset")))


def test_a_folder_that_does_not_exist_yet_is_on_the_disk_of_the_one_above(tmp_path):
    require_room([Need(epath.Path(tmp_path / "a" / "b"), 1, "a byte")])
    with pytest.raises(NoRoomError, match=f"in {tmp_path}/a/b"):
        require_room([Need(epath.Path(tmp_path / "a" / "b"), 10**18, "an exabyte")])
    assert not (tmp_path / "a").exists()


def test_remote_folders_and_needs_of_nothing_are_not_asked(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: pytest.fail("nothing is to be asked"))
    require_room(needs(("gs://bucket/data", 10**18, "files"), ("/data", 0, "nothing")))

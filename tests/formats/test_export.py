"""Tests of export: a folder is written whole or not at all, and what cannot be exported is told in one line."""

import errno
import json
import shutil
import sys
from pathlib import Path

import filelock
import pytest
from conftest import build

from nih_chest_xray.__main__ import main
from nih_chest_xray.errors import CatalogError, NoRoomError, UsageError
from nih_chest_xray.formats import folder as folder_format
from nih_chest_xray.formats.export import FORMATS, export
from nih_chest_xray.formats.stored import Reader
from nih_chest_xray.system import disk_space

WORK = ".out.nih-chest-xray-export."


@pytest.fixture
def copied(sound, tmp_path) -> Path:
    return shutil.copytree(sound, tmp_path / "2.0.0")


def names_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def lines_of(out: Path) -> str:
    """The Python in a dataset card."""
    [code] = [text.partition("```")[0] for text in (out / "README.md").read_text().split("```python\n")[1:]]
    return code


@pytest.mark.parametrize("to", FORMATS)
def test_the_command_says_where_the_export_is_and_how_to_read_it(to, sound, tmp_path, capsys):
    assert main(["export", str(sound), "--to", to, str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    counts = json.loads((sound / "metadata.json").read_text())["examples"]
    expected = f"Examples: train {counts['train']}, validation {counts['validation']}, test {counts['test']}"
    assert printed.out.splitlines()[:2] == [f"Exported: {tmp_path / 'out'}", expected]
    assert printed.err == ""
    assert printed.out.endswith(lines_of(tmp_path / "out").replace("OUT", str(tmp_path / "out")))
    assert names_in(tmp_path) == [".out.lock", "out"]


@pytest.mark.parametrize("to", FORMATS)
def test_the_lines_of_the_card_read_the_export(to, exported):
    for name in ("drawn", "many", "folded"):
        _, out = exported(name, to)
        code = lines_of(out).replace('("OUT")', f'("OUT", cache_dir={str(out.parent / "hf")!r})')
        left: dict = {}
        exec(code.replace("OUT", str(out)), left)
        if to == "huggingface":
            assert left["example"]["image"].size == (64, 64)
        elif to == "webdataset":
            assert (left["image"].size, "label" in left["example"]) == ((64, 64), True)
        else:
            images, labels = next(iter(left["batches"]))
            assert images.shape[1:] == (64, 64, 1)
            assert len(labels) == len(images)


@pytest.mark.parametrize("to", FORMATS)
def test_an_interrupted_export_leaves_nothing_and_an_empty_folder_as_it_was(to, sound, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    calls = iter(range(30))

    def interrupted(self, record, parse=Reader.examples):
        for example in parse(self, record):
            if next(calls, None) is None:
                raise KeyboardInterrupt
            yield example

    monkeypatch.setattr(Reader, "examples", interrupted)
    assert main(["export", str(sound), "--to", to, str(tmp_path / "out")]) == 130
    assert names_in(tmp_path) == [".out.lock", "out"]
    assert names_in(tmp_path / "out") == []


def test_a_full_disk_in_the_middle_leaves_nothing(sound, tmp_path, monkeypatch, capsys):
    left = iter(range(20))

    def full(self, content):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return len(content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["export", str(sound), "--to", "folder", str(tmp_path / "out")]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert names_in(tmp_path) == [".out.lock"]


def test_what_a_killed_export_left_is_removed_by_the_next_and_what_is_somebody_elses_stays(sound, tmp_path):
    left = tmp_path / f"{WORK}abcd_123"
    (left / "new/train/No Finding").mkdir(parents=True)
    for name in ("train/No Finding/00000001_000_aug1.png", "train-000000.tar", "README.md"):
        (left / "new" / name).touch()
    mine = shutil.copytree(left, tmp_path / f"{WORK}abcd_456")
    (mine / "new/notes.txt").touch()
    other = shutil.copytree(left, tmp_path / ".other.nih-chest-xray-export.abcd_123")
    export(sound, "folder", tmp_path / "out")
    assert not left.exists()
    assert (mine / "new/train-000000.tar").exists()
    assert (other / "new/train-000000.tar").exists()


def test_two_exports_to_one_folder_do_not_mix(sound, tmp_path):
    with filelock.FileLock(tmp_path / ".out.lock"), pytest.raises(UsageError, match="another process writes"):
        export(sound, "folder", tmp_path / "out")
    assert names_in(tmp_path) == [".out.lock"]


def test_a_file_that_appears_in_the_folder_meanwhile_is_not_replaced(sound, tmp_path, monkeypatch, capsys):
    def write(built, reader, new):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/mine.txt").write_text("mine")
        return ""

    monkeypatch.setattr(folder_format, "write", write)
    assert main(["export", str(sound), "--to", "folder", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "out/mine.txt").read_text() == "mine"
    assert names_in(tmp_path) == [".out.lock", "out"]


def test_a_folder_that_holds_something_is_refused_and_left(sound, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    for out in (tmp_path / "out", tmp_path / "out/mine.txt", sound / "out", sound.parent / "3.0.0"):
        assert main(["export", str(sound), "--to", "folder", str(out)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert names_in(tmp_path) == ["out"]
    with pytest.raises(UsageError, match="not on this machine"):
        export(sound, "folder", "gs://bucket/out")


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(sound, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(NoRoomError, match=r"1\.0 kB are free there\. Free some, or name a folder on another disk\."):
        export(sound, "folder", tmp_path / "out")
    assert names_in(tmp_path) == []
    assert main(["export", str(sound), "--to", "folder", str(tmp_path / "out")]) == 2


@pytest.mark.parametrize(("library", "to"), [("datasets", "huggingface"), ("webdataset", "webdataset")])
def test_a_library_that_is_not_installed_is_named_with_the_line_that_installs_it(
    library, to, sound, tmp_path, monkeypatch, capsys
):
    monkeypatch.delitem(sys.modules, f"nih_chest_xray.formats.{to}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["export", str(sound), "--to", to, str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f"nih-chest-xray export: {library} is not installed; get what this export needs with `pip install"
        " 'nih_chest_xray[export]'`\n"
    )
    assert names_in(tmp_path) == []


def test_a_trial_build_is_exported_and_told(phantom_dir, tmp_path, capsys):
    import tensorflow_datasets as tfds

    import nih_chest_xray

    config = nih_chest_xray.NihChestXrayConfig(name="trial", image_size=16, validation_fraction=0.2, test_fraction=0.2)
    builder = nih_chest_xray.Builder(config=config, data_dir=tmp_path / "data")
    options = tfds.download.DownloadConfig(manual_dir=phantom_dir, max_examples_per_split=4)
    builder.download_and_prepare(download_config=options)
    assert main(["export", str(builder.data_dir), "--to", "folder", str(tmp_path / "out")]) == 0
    assert "A trial build of at most 4 examples a subset" in capsys.readouterr().err
    assert "A trial build of at most 4 examples a subset" in (tmp_path / "out/README.md").read_text()


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def test_broken_records_are_named_in_one_line_and_nothing_is_written(copied, tmp_path, capsys):
    [shard] = copied.glob("*-train.tfrecord-*")
    size = int.from_bytes(shard.read_bytes()[:8], "little")
    flip(shard, 100)
    flip(shard, 16 + size + 100)  # In the second record.
    for to in FORMATS:
        assert main(["export", str(copied), "--to", to, str(tmp_path / "out")]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert f"{shard.name}, record 0: its bytes do not match their checksum" in told
        assert f"{shard.name}, record 1: its bytes do not match their checksum" in told
        assert "nih-chest-xray verify" in told
    assert names_in(tmp_path) == [".out.lock", "2.0.0"]


def damage(kind: str, folder: Path) -> None:
    [train] = folder.glob("*-train.tfrecord-*")
    if kind == "half":
        train.write_bytes(train.read_bytes()[:-5000])
    elif kind == "no shard":
        train.unlink()
    elif kind == "no metadata":
        (folder / "metadata.json").unlink()
    elif kind == "version 1":
        info = json.loads((folder / "dataset_info.json").read_text()) | {"version": "1.0.0"}
        (folder / "dataset_info.json").write_text(json.dumps(info))
    elif kind == "foreign":
        info = json.loads((folder / "dataset_info.json").read_text()) | {"name": "mnist"}
        (folder / "dataset_info.json").write_text(json.dumps(info))
    elif kind == "another label":
        lines = (folder / "metadata.csv").read_text().splitlines()
        lines[1] = lines[1].replace(",No Finding,", ",Nodule,") if ",No F" in lines[1] else lines[1].replace(
            ",Nodule,", ",No Finding,"
        )  # fmt: skip
        (folder / "metadata.csv").write_text("\n".join([*lines, ""]))
    elif kind == "no dataset":
        shutil.rmtree(folder)
        folder.mkdir()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("half", "has .* bytes; expected"),
        ("no shard", "train.tfrecord-00000-of-00001 does not exist"),
        ("no metadata", "has no metadata.json"),
        ("version 1", "version 1.0.0; this package reads version 2"),
        ("foreign", "holds no built nih_chest_xray dataset"),
        ("another label", "is not what metadata.csv lists"),
        ("no dataset", "holds no built nih_chest_xray dataset"),
    ],
)
def test_a_dataset_that_is_not_whole_or_not_ours_is_refused_with_one_clear_error(kind, told, copied, tmp_path):
    damage(kind, copied)
    with pytest.raises(CatalogError, match=told):
        export(copied, "folder", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(f"{WORK}*"))


def test_a_folder_of_several_datasets_is_refused_with_their_names(catalog_data, tmp_path):
    with pytest.raises(UsageError, match="has the datasets drawn, listed, many; name one's folder"):
        export(catalog_data, "folder", tmp_path / "out")


def test_a_place_of_odd_characters_is_written_and_read(phantom_dir, tmp_path):
    import webdataset

    dataset = build(phantom_dir, tmp_path / "data", image_size=16)
    for to in FORMATS:
        export(dataset, to, tmp_path / f"50% {to} ü")
    [shard] = (tmp_path / "50% webdataset ü").glob("test-*.tar")
    assert list(webdataset.WebDataset([str(shard)], shardshuffle=False))

"""Tests of completeness: half a dataset is never taken for a whole one, and what is built anew loses nobody's file."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.building.completeness import missing_parts
from nih_chest_xray.building.local import LocalBuild


def builder_of(data_dir: Path, file_format: str = "tfrecord") -> Builder:
    config = NihChestXrayConfig(
        name="two", phantom_patients=12, image_size=16, validation_fraction=0.3, test_fraction=0.3
    )
    return Builder(config=config, data_dir=data_dir, file_format=file_format)


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).iterdir()}


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("array_record", "parquet")]


@pytest.fixture(scope="module", params=["tfrecord", *OTHERS])
def whole(request, tmp_path_factory):
    """A data_dir with a dataset, in each format."""
    data_dir = tmp_path_factory.mktemp("whole")
    builder_of(data_dir, request.param).download_and_prepare()
    return data_dir, request.param


def copied(whole, folder: Path) -> Builder:
    shutil.copytree(whole[0], folder)
    return builder_of(folder, whole[1])


def test_whole_dataset_lacks_nothing_and_is_reused(whole, tmp_path):
    builder = copied(whole, tmp_path / "data")
    assert missing_parts(builder.data_path) == []
    times = {path.name: path.stat().mtime for path in builder.data_path.iterdir()}
    builder.download_and_prepare()
    assert {path.name: path.stat().mtime for path in builder.data_path.iterdir()} == times


def one_of_each_kind(names):
    """One shard, one file of class names, and each of the others."""
    return {re.sub(r"^.*(-of-|\.labels\.)", "", name): name for name in names}.values()


def test_dataset_that_lacks_any_one_of_its_files_is_built_anew_and_says_so(whole, tmp_path):
    builder = copied(whole, tmp_path / "data")
    expected = files_of(builder.data_path)
    for name in one_of_each_kind(sorted(expected)):
        if name == "LICENSE":  # TFDS writes it for people to read.
            continue
        (builder.data_path / name).unlink()
        with pytest.warns(UserWarning, match=rf"not a complete dataset: .*{name} does not exist.* rebuilt"):
            builder_of(tmp_path / "data", whole[1]).download_and_prepare()
        assert files_of(builder.data_path) == expected
        assert [path.name for path in builder.data_path.parent.glob("*.*_2.0.0")] == []


@pytest.mark.parametrize("change", [-1, pytest.param(1, marks=pytest.mark.slow)], ids=["cut", "longer"])
def test_dataset_with_a_shard_of_another_size_is_built_anew(change, whole, tmp_path):
    builder = copied(whole, tmp_path / "data")
    expected = files_of(builder.data_path)
    shard = next(path for path in builder.data_path.iterdir() if "-test." in path.name)
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] if change < 0 else content + b"x")
    size = len(content)
    with pytest.warns(UserWarning, match=re.escape(f"{shard.name} has {size + change:,} bytes; expected {size:,}")):
        builder_of(tmp_path / "data", whole[1]).download_and_prepare()
    assert files_of(builder.data_path) == expected


def test_empty_folder_with_the_datasets_name_is_built_in(tmp_path):
    builder = builder_of(tmp_path)
    builder.data_path.mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"dataset_info.json does not exist; .* rebuilt"):
        builder.download_and_prepare()
    assert missing_parts(builder.data_path) == []


def test_half_a_dataset_with_a_file_of_somebody_else_is_refused_and_left_as_it_is(whole, tmp_path):
    builder = copied(whole, tmp_path / "data")
    (builder.data_path / "metadata.csv").unlink()
    (builder.data_path / "notes.txt").write_text("mine")
    before = files_of(builder.data_path)
    with pytest.raises(
        ValueError, match=r"metadata.csv does not exist\. It is not rebuilt, because it holds 'notes.txt'"
    ):
        builder_of(tmp_path / "data", whole[1]).download_and_prepare()
    assert files_of(builder.data_path) == before


def test_whole_dataset_with_a_file_of_somebody_else_is_reused(whole, tmp_path):
    builder = copied(whole, tmp_path / "data")
    (builder.data_path / "notes.txt").write_text("mine")
    builder.download_and_prepare()
    assert (builder.data_path / "notes.txt").read_text() == "mine"


def test_file_with_the_datasets_name_is_refused(tmp_path):
    builder = builder_of(tmp_path)
    builder.data_path.parent.mkdir(parents=True)
    builder.data_path.write_text("notes")
    with pytest.raises(ValueError, match=r"two/2\.0\.0 is not a directory\. Move it away"):
        builder.download_and_prepare()
    assert builder.data_path.read_text() == "notes"


def test_half_a_dataset_comes_back_if_it_cannot_be_built_anew(whole, tmp_path, monkeypatch):
    builder = copied(whole, tmp_path / "data")
    (builder.data_path / "metadata.csv").unlink()
    before = files_of(builder.data_path)

    def fail(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalBuild, "write", fail)
    again = builder_of(tmp_path / "data", whole[1])
    with pytest.warns(UserWarning, match="not a complete dataset"), pytest.raises(KeyboardInterrupt):
        again.download_and_prepare()
    assert files_of(builder.data_path) == before


def test_dataset_of_an_earlier_build_without_sizes_of_shards_is_whole(whole, tmp_path):
    builder = copied(whole, tmp_path / "data")
    path = epath.Path(builder.data_path / "metadata.json")
    path.write_text(path.read_text().replace("shard_sizes", "other_key"))
    assert missing_parts(builder.data_path) == []


@pytest.mark.slow
def test_of_two_command_lines_that_overwrite_at_once_one_wins_at_least(tmp_path):
    config = (
        '{"name": "two", "phantom_patients": 12, "image_size": 16, "validation_fraction": 0.3, "test_fraction": 0.3}'
    )
    command = [Path(sys.executable).with_name("tfds"), "build", "nih_chest_xray", "--imports", "nih_chest_xray"]
    command += ["--config", config, "--data_dir", str(tmp_path), "--overwrite"]
    builder_of(tmp_path).download_and_prepare()
    expected = files_of(builder_of(tmp_path).data_path)
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert 0 in [process.wait(timeout=120) for process in both]
    assert files_of(builder_of(tmp_path).data_path) == expected
    assert tfds.load("nih_chest_xray/two", split="train", data_dir=tmp_path)

"""Tests of what is installed: wheel and sdist are complete, and `tfds build` works where people run it."""

import csv
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from nih_chest_xray.phantom.__main__ import main as write_phantom

ROOT = Path(__file__).parent.parent
DATA_FILES = ("checksums.tsv", "splits.tsv", "README.md", "CITATIONS.bib", "TAGS.txt")


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    return folder


def test_wheel_holds_the_modules_the_catalog_files_the_guides_and_the_checksums(dist):
    [path] = dist.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / "nih_chest_xray").rglob("*.py")}
        templates = {str(path.relative_to(ROOT)) for path in (ROOT / "nih_chest_xray/catalog/templates").iterdir()}
        guides = {str(path.relative_to(ROOT)) for path in (ROOT / "nih_chest_xray/guides").iterdir()}
        assert len(guides) > 5
        assert "nih_chest_xray/guides/first_auroc.ipynb" in guides
        assert modules | templates | guides | {f"nih_chest_xray/{name}" for name in DATA_FILES} <= names
        assert wheel.read("nih_chest_xray/checksums.tsv") == (ROOT / "checksums" / "checksums.tsv").read_bytes()
        assert len(templates) >= 6  # Four pages and parts of pages, their style and their script.
        assert not {name for name in names if name.startswith(("tests/", "checksums/"))}


def test_sdist_holds_what_the_wheel_is_built_from(dist):
    [path] = dist.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        inside = {member.name.split("/", 1)[1] for member in sdist.getmembers() if "/" in member.name}
    needed = {"pyproject.toml", "README.md", "LICENSE", "checksums/checksums.tsv", "tests/conftest.py"}
    assert needed | {f"nih_chest_xray/{name}" for name in DATA_FILES} <= inside


@pytest.mark.slow
def test_a_wheel_built_from_the_sdist_is_complete_too(dist, tmp_path):
    [path] = dist.glob("*.tar.gz")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, path]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert wheel.read("nih_chest_xray/checksums.tsv") == (ROOT / "checksums" / "checksums.tsv").read_bytes()


@pytest.mark.parametrize("name", ["checksums.tsv", "splits.tsv"])
def test_the_packages_copy_is_the_one_in_checksums(name):
    assert (ROOT / "nih_chest_xray" / name).read_bytes() == (ROOT / "checksums" / name).read_bytes()


def test_the_repository_has_no_symbolic_link():
    """Where git makes none, as on most Windows machines, a link becomes a text file that names its target."""
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a clone: git ls-files fails here")
    assert "nih_chest_xray/checksums.tsv" in listed.stdout
    assert not [line for line in listed.stdout.splitlines() if line.startswith("120000")]


def test_checksums_list_the_twelve_archives_and_four_tables():
    with (ROOT / "checksums" / "checksums.tsv").open() as file:
        rows = list(csv.reader(file, delimiter="\t"))
    files = {name for _, _, _, name in rows}
    assert files == {f"images_{number:03d}.tar.gz" for number in range(1, 13)} | {
        "Data_Entry_2017_v2020.csv",
        "BBox_List_2017.csv",
        "train_val_list.txt",
        "test_list.txt",
    }
    assert all(int(size) > 0 and len(digest) == 64 and url.startswith("https://nihcc") for url, size, digest, _ in rows)


def tfds_build(*arguments, cwd):
    command = [Path(sys.executable).parent / "tfds", "build", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_tfds_build_works_in_the_checkout_from_json_and_publishes(phantom_dir, tmp_path):
    config = '{"name": "mine", "image_size": 32, "validation_fraction": 0.2, "test_fraction": 0.2}'
    paths = ("--manual_dir", phantom_dir, "--data_dir", tmp_path / "data", "--publish_dir", tmp_path / "published")
    done = tfds_build("nih_chest_xray", "--config", config, *paths, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    published = tmp_path / "published" / "nih_chest_xray" / "mine" / "2.0.0"
    rows = (published / "metadata.csv").read_text().splitlines()
    train = tfds.load("nih_chest_xray/mine", data_dir=tmp_path / "published", split="train")
    assert len(train) == sum(row.endswith(",train") for row in rows) > 0
    assert (published / "metadata.json").exists()


@pytest.mark.slow  # As .ci/run does with the wheel.
def test_tfds_build_works_elsewhere_with_imports(tmp_path):
    arguments = ("nih_chest_xray", "--imports", "nih_chest_xray", "--config", "sample", "--data_dir", "data")
    done = tfds_build(*arguments, "--max_examples_per_split", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(tfds.load("nih_chest_xray/sample", data_dir=tmp_path / "data", split="test")) == 2


@pytest.mark.slow
def test_a_bad_config_is_refused_on_the_command_line(tmp_path):
    done = tfds_build(
        "nih_chest_xray", "--config", '{"name": "bad", "image_size": -1}', "--data_dir", tmp_path, cwd=ROOT
    )
    assert done.returncode != 0
    assert "ValueError: config 'bad': image_size=-1; expected a whole number from 16 to 1024" in done.stderr


def test_importing_the_package_does_not_import_tensorflow():
    code = "import nih_chest_xray, sys; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_phantom_replaces_no_file_of_a_folder_that_holds_any(tmp_path, monkeypatch, capsys):
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["phantom", str(tmp_path), "--patients", "2"])
    with pytest.raises(SystemExit) as refused:
        write_phantom()
    assert refused.value.code == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "Data_Entry_2017_v2020.csv").unlink()
    write_phantom()
    assert list(tmp_path.rglob("*.png"))

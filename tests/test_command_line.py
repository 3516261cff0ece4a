"""Tests of the command line as users see it: what it prints where, how it ends, and what it leaves."""

import errno
import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import nih_chest_xray
from nih_chest_xray.__main__ import main
from nih_chest_xray.building.local import LocalBuild
from nih_chest_xray.errors import TransferError
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.phantom.release import Phantom
from nih_chest_xray.release import transfer
from nih_chest_xray.vocabulary import SUBSETS

COMMANDS = ("configs", "check", "build", "verify", "convert", "evaluate", "catalog")
PART = json.dumps(
    {
        "name": "part",
        "image_size": 32,
        "allow_missing_images": True,
        "validation_fraction": 0.3,
        "test_fraction": 0.3,
    }
)
DRAWN = PART.replace('"part"', '"drawn", "phantom_patients": 20')


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """A small release in Kaggle's layout, whose first image is broken."""
    folder = tmp_path_factory.mktemp("release")
    Phantom(16).write(folder, "kaggle")
    first = min(folder.glob("images_*/images/*.png"))
    first.write_bytes(first.read_bytes()[:1000])
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def built(release, home) -> subprocess.CompletedProcess:
    """A build in a process of its own, into `~/data`, as a user runs it. TensorFlow logs what it wants to."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF")} | {"HOME": str(home)}
    command = [sys.executable, "-m", "nih_chest_xray", "build", "--config", PART, "--manual-dir", release]
    return subprocess.run([*command, "--data-dir=~/data"], env=environment, capture_output=True, text=True)


def run(*arguments):
    """Runs a command, also one that ends in argparse, and returns its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code


def one_line(text):
    [line] = text.splitlines()
    return line


def files_below(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


# What a build prints.


def test_a_build_says_where_it_is_how_many_examples_it_has_and_how_to_load_it(built, home):
    where, examples, load, code = built.stdout.splitlines()
    folder = home / "data" / "nih_chest_xray" / "part" / "2.0.0"
    rows = [row.rsplit(",", 1)[1] for row in (folder / "metadata.csv").read_text().splitlines()[1:]]
    assert where == f"Built: {folder}"
    assert examples == f"Examples: {', '.join(f'{subset} {rows.count(subset)}' for subset in SUBSETS)}"
    assert load == "Load it in Python:"
    assert code.startswith("import tensorflow_datasets as tfds; datasets = tfds.load(")


def test_the_line_that_loads_a_dataset_works_as_it_is_in_another_folder(built, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pasted = {}
    exec(built.stdout.splitlines()[-1], pasted)
    counts = ", ".join(f"{name} {len(split)}" for name, split in pasted["datasets"].items())
    assert f"Examples: {counts}\n" in built.stdout


def test_the_stderr_of_a_build_has_its_warnings_and_its_bar_alone(built, release):
    """None of TensorFlow's log lines, and no file name and line number of the package."""
    lines = built.stderr.splitlines()
    warned = [line for line in lines if line.startswith("warning: ")]
    assert [line for line in lines if line not in warned and not line.startswith("nih_chest_xray/part: ")] == []
    assert len(warned) == 2
    assert "is not byte for byte the NIH's" in warned[0]
    assert "1 broken image is left out" in warned[1]
    assert ".py" not in built.stderr


def test_a_tilde_in_a_data_dir_is_the_home_folder(built, home):
    assert built.returncode == 0
    assert (home / "data" / "nih_chest_xray" / "part" / "2.0.0" / "metadata.csv").exists()
    assert not Path("~").exists()


def test_a_second_build_says_that_the_dataset_exists_and_is_reused(built, home, release, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    before = {path: path.stat().st_mtime_ns for path in (home / "data").rglob("2.0.0/*")}
    assert run("build", "--config", PART, "--manual_dir", release, "--data_dir", "~/data") == 0
    told = capsys.readouterr()
    assert told.out == built.stdout.replace("Built: ", "Exists and is reused: ")
    assert one_line(told.err).startswith("warning: ")
    assert {path: path.stat().st_mtime_ns for path in (home / "data").rglob("2.0.0/*")} == before


def test_another_format_of_a_dataset_that_exists_is_refused_with_the_command_that_adds_it(built, home, release, capsys):
    data_dir = home / "data"
    assert run("build", "--config", PART, "--data-dir", data_dir, "--file-format", "parquet") == 1
    error = one_line(capsys.readouterr().err)
    folder = data_dir / "nih_chest_xray" / "part" / "2.0.0"
    assert f"`nih-chest-xray convert {folder} --to parquet`" in error


def test_what_loads_a_dataset_of_array_records_is_data_source_and_without_a_data_dir_where_tfds_looks(
    tmp_path, capsys, monkeypatch
):
    """TFDS raises NotImplementedError for `tfds.load` of these."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(nih_chest_xray.Builder, "download_and_prepare", lambda self, download_config: None)
    assert run("build", "--config", "sample", "--file-format", "array_record") == 0
    assert capsys.readouterr().out.endswith('; datasets = tfds.data_source("nih_chest_xray/sample")\n')


# How a build fails.


def unrelated(folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda folder: None, "does not exist"),
        (Path.mkdir, "is empty"),
        (Path.touch, "is not a directory"),
        (unrelated, "Nothing of the NIH's release is in the manual_dir"),
    ],
)
def test_a_wrong_manual_dir_is_said_in_one_line_that_a_terminal_shows_whole(make, problem, tmp_path, capsys):
    folder = tmp_path / "DIR"
    make(folder)
    assert run("build", "--manual-dir", folder, "--data-dir", tmp_path / "data") == 1
    told = capsys.readouterr()
    assert told.out == ""
    error = one_line(told.err)
    assert error.startswith("nih-chest-xray build: ")
    assert problem in error
    assert str(folder) in error
    assert "`nih-chest-xray check DIR`" in error
    assert len(error) < 500 + len(str(folder))


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("nodul", "expected one of nodule, nodule_augmented, "),
        ("[1]", "or a JSON object"),
        ("{}", "or a JSON object"),
        ('{"name": "x"', "Expecting ',' delimiter"),
        ('{"name": "x", "sizes": 3}', "a config has no field 'sizes'"),
        ('{"name": "x", "image_size": 3}', "image_size=3; expected a whole number from 16 to 1024"),
        ('{"image_size": 64}', "a custom config needs a name"),
        ('{"name": "nodule", "seed": 1}', "'nodule' is that of a named config"),
    ],
)
def test_a_config_that_does_not_exist_is_a_fault_of_usage(config, problem, tmp_path, capsys):
    assert run("build", "--config", config, "--data-dir", tmp_path / "data") == 2
    error = one_line(capsys.readouterr().err)
    assert problem in error
    assert "__init__" not in error
    assert "argument after **" not in error
    assert not (tmp_path / "data").exists()


def test_a_broken_image_is_said_in_one_line_of_whole_sentences(release, tmp_path, capsys):
    config = PART.replace("true", "false")
    assert run("build", "--config", config, "--manual-dir", release, "--data-dir", tmp_path) == 1
    *before, error = capsys.readouterr().err.splitlines()
    assert error.startswith("nih-chest-xray build: 1 image is broken: ")
    assert "; get this image again. Get these images again, or build without them" in error
    assert [line for line in before if not line.startswith(("warning: ", "nih_chest_xray/part: "))] == []
    assert not list(tmp_path.rglob("*2.0.0"))


def test_without_a_manual_dir_and_a_network_the_error_says_what_to_do(tmp_path, capsys, monkeypatch):
    def fail(*_arguments, **_options):
        raise TransferError("the server cannot be reached")

    monkeypatch.setattr(transfer, "fetch", fail)
    assert run("build", "--config", "first_archive", "--data-dir", tmp_path) == 1
    error = one_line(capsys.readouterr().err)
    assert "(the server cannot be reached)" in error
    assert "with your browser from https://nihcc.app.box.com/v/ChestXray-NIHCC, and name the folder" in error


class RefusedError(Exception):
    """As TensorFlow's, which are no OSErrors."""


RefusedError.__module__ = "tensorflow.python.framework.errors_impl"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device. The build of"),
        (RefusedError("No space left on device"), "No space left on device. The build of"),
        (RefusedError("permission denied"), "permission denied"),
        (ImportError("No module named 'array_record'"), "No module named 'array_record'"),
    ],
)
def test_what_the_system_or_tensorflow_refuses_is_said_in_one_line(error, said, tmp_path, capsys, monkeypatch):
    def refuse(*_arguments):
        raise error

    monkeypatch.setattr(nih_chest_xray.Builder, "make_subsets", refuse)
    assert run("build", "--config", "sample", "--data-dir", tmp_path) == 1
    assert said in one_line(capsys.readouterr().err)
    assert files_below(tmp_path / "nih_chest_xray" / "sample") == {".2.0.0.lock"}


def test_a_fault_of_the_package_keeps_its_traceback(tmp_path, monkeypatch):
    def fail(*_arguments):
        raise KeyError("unforeseen")

    monkeypatch.setattr(nih_chest_xray.Builder, "make_subsets", fail)
    with pytest.raises(KeyError, match="unforeseen"):
        run("build", "--config", "sample", "--data-dir", tmp_path)


def test_ctrl_c_ends_a_build_in_one_line_and_leaves_nothing_half_made(tmp_path, capsys, monkeypatch):
    place = tmp_path / "nih_chest_xray" / "drawn"

    def interrupt(*_arguments):
        assert list(place.glob("incomplete.*"))  # What TFDS writes into.
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalBuild, "write", interrupt)
    assert run("build", "--config", DRAWN, "--data-dir", tmp_path) == 130
    *bar, last = capsys.readouterr().err.splitlines()
    assert last == "nih-chest-xray: interrupted"
    assert all(line.startswith("nih_chest_xray/drawn: ") for line in bar)
    assert [path.name for path in place.iterdir()] == [".2.0.0.lock"]


def test_warnings_go_to_their_old_place_after_a_command(capsys):
    before = warnings.showwarning
    assert run("configs") == 0
    assert warnings.showwarning is before


def test_a_closed_pipe_ends_a_command_without_a_word():
    command = f"{shlex.quote(sys.executable)} -m nih_chest_xray configs | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


# Help, version, names.


def test_the_version_is_the_packages(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"nih-chest-xray {nih_chest_xray.__version__}\n"


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_fits_the_terminal_and_ends_with_an_example(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(*filter(None, [command]), "--help") == 0
    text, _, examples = capsys.readouterr().out.partition("\nExample")
    assert max(map(len, text.splitlines())) <= columns
    assert not re.search("--[a-z]+_", text)  # TFDS's spelling of an option is taken and not shown.
    lines = examples.splitlines()[1:]
    assert lines
    assert all(line.startswith(f"  nih-chest-xray {command or ''}") and len(line) <= 80 for line in lines)


def test_every_example_of_the_help_is_taken(tmp_path, capsys, monkeypatch):
    """They name folders that do not exist here; no option or word of them is refused as such."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(nih_chest_xray.Builder, "download_and_prepare", lambda self, download_config: None)
    tried = set()
    for command in COMMANDS:
        run(command, "--help")
        for line in capsys.readouterr().out.partition("\nExample")[2].splitlines()[1:]:
            run(*shlex.split(line)[1:])
            assert "usage:" not in capsys.readouterr().err
            tried.add(command)
    assert tried == set(COMMANDS)


@pytest.mark.parametrize("command", ["check", "build"])
def test_options_are_taken_in_tfdss_spelling_too(command, tmp_path, capsys):
    for sign in "-_":
        place = [tmp_path / "nowhere"] if command == "check" else [f"--manual{sign}dir", tmp_path / "nowhere"]
        assert run(command, *place, f"--data{sign}dir", tmp_path) in (1, 2)
        assert f"{tmp_path / 'nowhere'} " in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "~/nowhere"],
        ["build", "--manual-dir=~/nowhere", "--data-dir=~/data"],
        ["verify", "~/nowhere"],
        ["evaluate", "~/scores.csv", "~/nowhere"],
        ["catalog", "~/nowhere", "--out=~/site"],
    ],
)
def test_a_tilde_is_the_home_folder_in_every_command(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) in (1, 2)
    assert str(tmp_path / "nowhere") in one_line(capsys.readouterr().err)
    assert not (tmp_path / "~").exists()


def test_the_table_of_configs_fits_80_columns_and_names_each_with_its_size(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("configs") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in lines if not line.startswith(" ")}
    assert list(rows)[1:-1] == [config.name for config in NAMED_CONFIGS]
    assert rows["config"] == ["train", "validation", "test", "disk"]
    assert rows["nodule"] == ["29,210", "3,651", "3,651", "4.05", "GB"]  # As the README has it.
    told = " ".join(" ".join(lines).split())
    assert all(" ".join(config.description.split()) in told for config in NAMED_CONFIGS)


@pytest.mark.parametrize("option", ["--manual-dir", "--data-dir"])
def test_an_empty_folder_name_is_refused(option, capsys):
    """As of a variable that is not set; it would stand for the default, and download everything."""
    with pytest.raises(SystemExit) as stopped:
        main(["build", "--config", "nodule", option, ""])
    assert stopped.value.code == 2
    assert "the name is empty; expected that of a folder" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_data_dir_is_named_without_a_number(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["build", "--config", "sample", "--data-dir", str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"nih-chest-xray build: {tmp_path / 'file'}")
    assert error.endswith(": Not a directory")

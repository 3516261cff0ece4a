"""Tests of interruption: whatever ends a build, there is a whole dataset or none, and the next build succeeds."""

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from etils import epath

from nih_chest_xray import Builder, NihChestXrayConfig, verify
from nih_chest_xray.interruption import BuildInProgressError, only_build, only_download, told

SCRIPT = Path(__file__).with_name("interrupted_builds.py")


def interrupted(*arguments: str) -> list[dict]:
    """Runs the script, which asserts itself that a build after the interruptions is what it would be without them."""
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_builds_killed_at_20_random_moments_leave_a_whole_dataset_or_none_and_nothing_for_good():
    (told,) = interrupted("kill", "--kills", "20")
    assert sum(told["left"].values()) == told["kills"] == 20
    # Else they were killed too early or too late to say much.
    assert told["left"].get("a folder with files", 0) + told["left"].get("a folder without files", 0) >= 5


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    return {name: error for line in interrupted("refuse") for name, error in line.items()}


STOPPED = r"{}: \[Errno {}\] {}. The build of .*/interrupted/1.0.0 was stopped; what it may have left is removed .*{}"
REFUSALS = {
    "a file may not grow, tfrecord": STOPPED.format("OSError", 27, "File too large", "ulimit -f"),
    "a file may not grow, array_record": STOPPED.format("OSError", 27, "File too large", "ulimit -f"),
    "a file may not grow, parquet": STOPPED.format("OSError", 27, "File too large", "ulimit -f"),
    "the disk is full": STOPPED.format("OSError", 28, "No space left on device", "Free some room there"),
    "no more files may be open": STOPPED.format("OSError", 24, "Too many open files", "ulimit -n"),
    "permission is taken away": STOPPED.format("PermissionError", 13, "Permission denied", "in which you may write"),
    "the folder may not be written to": STOPPED.format(
        "PermissionError", 13, "Permission denied", "in which you may write"
    ),
    "the source is gone": r"ReleaseError: .*/00000001_000.png cannot be read \(No such file.*during the whole build",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_build_to_which_the_system_refuses_something_says_so_and_leaves_no_dataset(name, refusals):
    assert refusals.keys() == REFUSALS.keys()
    if refusals[name].startswith("not tried"):
        pytest.skip(refusals[name])
    assert re.match(REFUSALS[name], refusals[name]), refusals[name]


def builder_of(data_dir: Path) -> Builder:
    config = NihChestXrayConfig(
        name="two", phantom_patients=12, image_size=16, validation_fraction=0.3, test_fraction=0.3
    )
    return Builder(config=config, data_dir=data_dir)


TWIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_interruption import builder_of

builder = builder_of(Path(sys.argv[1]))
made = type(builder)._record_stored
def wait(self):
    type(builder)._record_stored = made
    print("begun", flush=True)
    sys.stdin.readline()
type(builder)._record_stored = wait
builder.download_and_prepare()
"""


@contextlib.contextmanager
def begun(data_dir: Path):
    """Gives the process of a build that has stored something and waits for a line to go on."""
    command = [sys.executable, "-c", TWIN, str(data_dir), str(SCRIPT.parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        while process.stdout.readline() != "begun\n":
            assert process.poll() is None
        yield process


def test_second_build_of_the_same_dataset_says_that_there_is_one_and_disturbs_it_not(tmp_path):
    with begun(tmp_path / "data") as first:
        second = builder_of(tmp_path / "data")
        with pytest.raises(BuildInProgressError, match=r"Another build of .*/two/1\.0\.0 is .*lock\. Wait until"):
            second.download_and_prepare()
        assert not second.data_path.exists()
        first.communicate("go on\n", timeout=60)
    assert first.returncode == 0
    assert not verify.failed(verify.verify(second.data_path))
    builder_of(tmp_path / "data").download_and_prepare()  # Uses the first one's.


def test_first_build_that_was_killed_is_in_nobodys_way_and_what_it_left_is_removed(tmp_path):
    with begun(tmp_path / "data") as first:
        first.send_signal(signal.SIGKILL)
    builder = builder_of(tmp_path / "data")
    folder = builder.data_path.parent
    assert list(folder.glob("incomplete.*_1.0.0"))
    builder.download_and_prepare()
    assert sorted(path.name for path in folder.iterdir()) == [".1.0.0.lock", "1.0.0"]


def test_what_other_versions_and_configs_left_is_not_touched(tmp_path):
    there = [
        tmp_path / "a" / "incomplete.XYZ123_2.0.0",
        tmp_path / "b" / "incomplete.XYZ123_1.0.0",
        tmp_path / "a" / "x",
    ]
    for folder in there:
        folder.mkdir(parents=True)
    with only_build(epath.Path(tmp_path / "a" / "1.0.0")):
        assert all(folder.exists() for folder in there)


def test_leftover_that_cannot_be_removed_is_told_and_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "incomplete.XYZ123_1.0.0").mkdir()

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(epath.Path(tmp_path)), "rmtree", refuse)
    with (
        pytest.warns(UserWarning, match=r"incomplete.XYZ123_1.0.0, which .* not be removed \(Permission denied\)"),
        only_build(epath.Path(tmp_path / "1.0.0")),
    ):
        pass


def test_where_there_are_no_locks_a_build_goes_on_with_a_warning_and_removes_nothing(tmp_path, monkeypatch):
    left = tmp_path / "incomplete.XYZ123_1.0.0"
    left.mkdir()

    def refuse(*_arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with (
        pytest.warns(UserWarning, match="file system without locks .No locks available.: take care"),
        only_build(epath.Path(tmp_path / "1.0.0")),
    ):
        assert left.exists()


def test_disk_that_fails_when_it_is_asked_to_keep_the_files_ends_the_build_without_a_dataset(tmp_path, monkeypatch):
    """A server behind a folder may say only then that it is full."""

    def fail(handle):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    builder = builder_of(tmp_path)
    with pytest.raises(OSError, match=r"Input/output error\. The build of .* See whether the disk is still there"):
        builder.download_and_prepare()
    assert not builder.data_path.exists()
    assert not list(builder.data_path.parent.glob("incomplete.*"))


def test_records_are_on_the_disk_before_the_dataset_has_its_name_and_all_else_before_the_build_is_done(
    tmp_path, monkeypatch
):
    kept = []
    fsync = os.fsync

    def keep(handle):
        kept.append(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    if not Path("/proc/self/fd").exists():
        pytest.skip("there is no /proc to ask which files are meant")
    monkeypatch.setattr(os, "fsync", keep)
    builder = builder_of(tmp_path)
    builder.download_and_prepare()
    before = {path.name for path in kept if path.parent.name.startswith("incomplete.")}
    after = {path.name for path in kept if path.parent == Path(builder.data_path)}
    files = {path.name for path in builder.data_path.iterdir()}
    assert before >= {name for name in files if "tfrecord" in name or name == "metadata.csv"}
    assert after == files
    assert Path(builder.data_path.parent) in kept


def test_remote_folder_is_built_and_downloaded_to_without_a_lock(monkeypatch):
    entered = []
    monkeypatch.setattr("filelock.FileLock.acquire", lambda *_arguments: pytest.fail("there is no such lock"))
    bucket = epath.Path("gs://bucket/data")
    with only_build(bucket / "1.0.0"), only_download(bucket):
        entered.append(bucket)
    assert entered


def test_file_in_the_place_of_a_folder_is_told_with_what_to_do(tmp_path):
    (tmp_path / "nih_chest_xray").write_text("no folder")
    with pytest.raises(OSError, match=r"(Not a directory|File exists)\. The build of .*two/1\.0\.0 .*Move away"):
        builder_of(tmp_path).download_and_prepare()


def test_error_of_the_package_itself_or_of_a_program_is_left_as_it_is(tmp_path):
    for error in (ValueError("No space left on device"), RuntimeError("a bug"), FileNotFoundError(2, "gone")):
        with pytest.raises(type(error)) as caught, told(epath.Path(tmp_path)):
            raise error
        assert caught.value is error

"""Tests of interruption: whatever ends a build, there is a whole dataset or none, and the next build succeeds."""

import contextlib
import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from absl import logging as absl_logging
from etils import epath
from tensorflow_datasets.core.utils import tqdm_utils

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.building.local import LocalBuild
from nih_chest_xray.building.locking import full_disk_explained, old_kept, only_build
from nih_chest_xray.errors import BuildInProgressError
from nih_chest_xray.system import locks
from nih_chest_xray.verification.command import verify
from nih_chest_xray.verification.report import failed

SCRIPT = Path(__file__).parents[1] / "interrupted_builds.py"


def interrupted(*arguments: str) -> list[dict]:
    """Runs the script, which asserts itself that a build after the interruptions is what it would be without them."""
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    ["build", "overwrite", "replace", "catalog", "verify", "convert"],
)
def test_what_is_killed_at_12_random_moments_leaves_nothing_half_made_and_nobodys_files_changed(what):
    (told,) = interrupted("kill", "--what", what, "--kills", "12")
    assert sum(told["left"].values()) == told[what] == 12
    # Else they were killed too early or too late to say much.
    if what == "build":
        assert told["left"].get("a folder with files", 0) + told["left"].get("a folder without files", 0) >= 3
    if what == "replace":
        assert told["left"].get("the old dataset aside", 0) >= 3


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    return {name: error for line in interrupted("refuse") for name, error in line.items()}


REFUSALS = {
    "a file may not grow, tfrecord": r".*File too large",
    "a file may not grow, array_record": r".*File too large",
    "a file may not grow, parquet": r".*File too large",
    "the disk is full": r"OSError: \[Errno 28\] No space left on device. The build of .*/interrupted/2.0.0 was stopped."
    r" Free some space, or name another data_dir, and build again \(`tfds build` has --download_dir too\).",
    "no more files may be open": r".*Too many open files: .",
    "permission is taken away": r".*Permission denied: .",
    "the folder may not be written to": r".*Permission denied.*/interrupted/",
    "the source is gone": r"ReleaseError: .*/\d{8}_\d{3}.png cannot be read \(No such file.*during the whole build",
}


@pytest.mark.slow
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
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_locking import builder_of
from nih_chest_xray.building.progress import Progress

builder = builder_of(Path(sys.argv[1]))
stored, one, waited = Progress.stored, threading.Lock(), []
def wait(self):
    with one:
        if not waited:
            print("begun", flush=True)
            waited.append(sys.stdin.readline())
    stored(self)
Progress.stored = wait
builder.download_and_prepare()
"""


@contextlib.contextmanager
def begun(data_dir: Path):
    """Gives the process of a build that has stored something and waits for a line to go on."""
    command = [sys.executable, "-c", TWIN, str(data_dir), str(Path(__file__).parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        while process.stdout.readline() != "begun\n":
            assert process.poll() is None
        yield process


def require_refusal(data_dir):
    second = builder_of(data_dir)
    with pytest.raises(BuildInProgressError, match=r"Another build or .* of .*/two/2\.0\.0 is .*lock\. Wait until"):
        second.download_and_prepare()
    assert not second.data_path.exists()


@pytest.mark.slow
def test_second_build_of_the_same_dataset_does_not_disturb_the_first(tmp_path):
    with begun(tmp_path / "data") as first:
        require_refusal(tmp_path / "data")
        first.communicate("go on\n", timeout=60)
    assert first.returncode == 0
    builder = builder_of(tmp_path / "data")
    assert not failed(verify(builder.data_path))
    builder.download_and_prepare()  # Uses the first one's.


def test_second_build_of_the_same_dataset_is_refused_until_the_first_is_killed_and_removes_what_that_left(tmp_path):
    with begun(tmp_path / "data") as first:
        require_refusal(tmp_path / "data")
        first.send_signal(signal.SIGKILL)
    builder = builder_of(tmp_path / "data")
    folder = builder.data_path.parent
    assert list(folder.glob("incomplete.*_2.0.0"))
    builder.download_and_prepare()
    assert sorted(path.name for path in folder.iterdir()) == [".2.0.0.lock", "2.0.0"]


OTHERS = (
    "b/incomplete.XYZ123_2.0.0/dataset_info.json",  # Of another config.
    "a/incomplete.XYZ123_2.0.0/dataset_info.json",  # Of another version.
    "a/incomplete.XYZ123_2.0.0/notes.txt",
    "a/incomplete.ABC123_2.0.0/beam/notes.txt",
    "a/incomplete.mine_2.0.0/dataset_info.json",
    "a/incomplete.old_notes/notes.txt",
    "a/replaced.XYZ123_2.0.0/notes.txt",
    "a/notes/notes.txt",
)


@pytest.mark.filterwarnings("ignore:A.* was not removed")
def test_files_that_no_build_of_this_dataset_made_are_not_removed(tmp_path):
    for name in OTHERS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("somebody's")
    with only_build(epath.Path(tmp_path / "a" / "2.0.0")), old_kept(epath.Path(tmp_path / "a" / "2.0.0")):
        pass
    for name in OTHERS:
        assert (tmp_path / name).read_text() == "somebody's"


def test_leftover_that_cannot_be_removed_is_told_and_stops_nothing(tmp_path):
    left = tmp_path / "incomplete.XYZ123_2.0.0"
    left.mkdir()
    (left / "features.json").write_text("")
    (left / "mine.txt").write_text("")
    entered = []
    with (
        pytest.warns(UserWarning, match=r"incomplete.XYZ123_2.0.0 is left as it is: it holds 'mine.txt', which is not"),
        only_build(epath.Path(tmp_path / "2.0.0")),
    ):
        entered.append(sorted(path.name for path in left.iterdir()))
    assert entered == [["features.json", "mine.txt"]]


def test_dataset_that_is_replaced_stays_until_the_new_one_has_its_name_and_comes_back_if_that_fails(tmp_path):
    dataset = epath.Path(tmp_path / "2.0.0")
    dataset.mkdir()
    (dataset / "metadata.csv").write_text("old")

    def aside() -> list[str]:
        return [path.read_text() for path in tmp_path.glob("replaced.*_2.0.0/metadata.csv")]

    with contextlib.suppress(KeyboardInterrupt), old_kept(dataset):
        assert not dataset.exists()
        assert aside() == ["old"]
        raise KeyboardInterrupt
    assert (dataset / "metadata.csv").read_text() == "old"
    with old_kept(dataset):
        dataset.mkdir()
        (dataset / "metadata.csv").write_text("new")
        assert aside() == ["old"]
    assert (dataset / "metadata.csv").read_text() == "new"
    assert aside() == []


def test_where_there_are_no_locks_a_build_goes_on_with_a_warning_and_removes_nothing(tmp_path, monkeypatch):
    left = tmp_path / "incomplete.XYZ123_2.0.0"
    left.mkdir()

    def refuse(*_arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with (
        pytest.warns(UserWarning, match="file system without locks .No locks available.: take care"),
        only_build(epath.Path(tmp_path / "2.0.0")),
    ):
        assert left.exists()


def test_disk_that_fails_when_it_is_asked_to_keep_the_files_ends_the_build_without_a_dataset(tmp_path, monkeypatch):
    """A server behind a folder may say only then that it is full."""

    def fail(handle):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    builder = builder_of(tmp_path)
    with pytest.raises(OSError, match="Input/output error"):
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
    with only_build(bucket / "2.0.0"), locks.take(bucket / ".nih_chest_xray.lock"):
        entered.append(bucket)
    assert entered


def test_error_that_is_no_full_disk_is_left_as_it_is(tmp_path):
    for error in (
        ValueError("No space left on device"),  # The package's own says what to do already.
        RuntimeError("a bug"),
        FileNotFoundError(2, "gone"),
        PermissionError(errno.EACCES, "Permission denied", "lost+found"),
    ):
        with pytest.raises(type(error)) as caught, full_disk_explained(epath.Path(tmp_path)):
            raise error
        assert caught.value is error


# State of the process.


def state() -> dict[str, object]:
    return {
        "bars": tqdm_utils._active,
        "open files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "numpy": np.random.get_state()[1].tolist(),
        "threads of OpenCV": cv2.getNumThreads(),
        "verbosity": absl_logging.get_verbosity(),
    }


def test_overlapping_builds_leave_the_state_of_the_process_as_it_was(tmp_path, monkeypatch):
    barrier, write = threading.Barrier(2, timeout=60), LocalBuild.write

    def meet(build, *arguments):
        met.append(build)
        barrier.wait()  # Both builds are under way.
        if build is met[0]:
            time.sleep(0.5)  # They end one after the other.
        return write(build, *arguments)

    met = []
    monkeypatch.setattr(LocalBuild, "write", meet)
    first, second = builder_of(tmp_path / "one"), builder_of(tmp_path / "two")
    before = state()
    threads = [threading.Thread(target=builder.download_and_prepare) for builder in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(met) == 2
    assert state() == before

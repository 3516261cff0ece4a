"""Interrupts builds: kills them at random moments, or takes away what they need, and looks at what they leave.

    python tests/interrupted_builds.py kill [--kills 20] [--seed 0] [--format tfrecord] [--beam]
    python tests/interrupted_builds.py refuse

`kill`: each build begins on what the last one left. After each kill there has to be no dataset, or a whole one.

`refuse`: the system refuses something to each build, which has to say so and to leave no dataset.

In the end one build goes on to its end each time, and has to have the bytes of a build that nobody disturbed, with
nothing beside it.
"""

import argparse
import collections
import contextlib
import ctypes
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf  # noqa: F401 (imported here and now, and not by each build)
import tensorflow_datasets as tfds

from nih_chest_xray import Builder, NihChestXrayConfig, png, writer
from nih_chest_xray.phantom import Phantom

PATIENTS = 15
FORMATS = ("tfrecord", "array_record", "parquet")


class Stage:
    """A release, and builds of its images in processes of their own."""

    def __init__(self, folder: Path, layout: str) -> None:
        self.release = folder / "release"
        self.data_dir = folder / "data"
        self.config_dir = self.data_dir / "nih_chest_xray" / "interrupted"
        self.dataset = self.config_dir / "1.0.0"
        phantom = Phantom(PATIENTS)
        phantom.write(self.release, layout)
        # Loads the decoder of grey images, which takes most of a short build's time; the first image is none.
        for image in phantom.images(frozenset(phantom.names[:2])):
            png.decode(image.read())

    def start(self, file_format: str, beam: bool = False, before: Callable = lambda: None) -> int:
        """Forks, which spares each build the seconds that imports take, and returns the process's number."""
        if pid := os.fork():
            return pid
        status = 1
        try:
            with (self.data_dir.parent / "said").open("w") as said:
                os.dup2(said.fileno(), sys.stdout.fileno())
                os.dup2(said.fileno(), sys.stderr.fileno())
            before()
            self._build(file_format, beam)
            status = 0
        except Exception as error:
            (self.data_dir.parent / "error").write_text(f"{type(error).__name__}: {error}")
        finally:
            os._exit(status)  # What was registered for the parent's end is none of the child's business.

    def _build(self, file_format: str, beam: bool) -> None:
        config = NihChestXrayConfig(
            name="interrupted", image_size=128, validation_fraction=0.25, test_fraction=0.25, allow_missing_images=True
        )
        builder = Builder(config=config, data_dir=self.data_dir, file_format=file_format)
        download = {"manual_dir": self.release}
        if beam:
            from apache_beam.options.pipeline_options import PipelineOptions

            download["beam_options"] = PipelineOptions()
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(**download))

    def refused(self, file_format: str = "tfrecord", before: Callable = lambda: None) -> str:
        """Builds, and returns the error."""
        self._expect(file_format, False, 1, before)
        assert not self.dataset.exists(), "half a dataset has its final name"
        return (self.data_dir.parent / "error").read_text()

    def whole(
        self, file_format: str = "tfrecord", beam: bool = False, before: Callable = lambda: None
    ) -> dict[str, str]:
        """Builds, removes the dataset again, and returns the digests of its files."""
        self._expect(file_format, beam, 0, before)
        beside = sorted(path.name for path in self.config_dir.iterdir())
        assert beside == [".1.0.0.lock", "1.0.0"], f"there is something beside the dataset: {beside}"
        return self.take_away()

    def _expect(self, file_format: str, beam: bool, wanted: int, before: Callable = lambda: None) -> None:
        _, status = os.waitpid(self.start(file_format, beam, before), 0)
        assert os.waitstatus_to_exitcode(status) == wanted, (self.data_dir.parent / "said").read_text()[-3000:]

    def take_away(self) -> dict[str, str]:
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(self.dataset.iterdir())}
        shutil.rmtree(self.dataset)
        return digests


def kill(stage: Stage, options: argparse.Namespace) -> None:
    chance = random.Random(options.seed)
    start = time.monotonic()
    expected = stage.whole(options.format, options.beam)
    seconds = time.monotonic() - start
    left = collections.Counter()
    for number in range(options.kills):
        pid = stage.start(options.format, options.beam)
        # One moment in each of as many equal parts of a build, so that all of its parts are met.
        time.sleep((number + chance.random()) / options.kills * seconds)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        folders = list(stage.config_dir.glob("incomplete.*"))
        assert len(folders) <= 1, f"what an earlier build left is still there: {folders}"
        if stage.dataset.exists():
            assert stage.take_away() == expected, "half a dataset has its final name"
            left["a whole dataset"] += 1
        elif folders:
            left["a folder with files" if any(folders[0].iterdir()) else "a folder without files"] += 1
        else:
            left["no folder"] += 1
    assert stage.whole(options.format, options.beam) == expected
    print(json.dumps({"kills": options.kills, "seconds of a build": round(seconds, 2), "left": dict(left)}))


# What the system refuses.


def at_the_first_record(act: Callable[[Builder], None]) -> Callable[[], None]:
    """Returns what makes a build do something when the first record is stored."""

    def before() -> None:
        stored = Builder._record_stored
        acted = []

        def record_stored(builder: Builder) -> None:
            if not acted:
                acted.append(act(builder))
            stored(builder)

        Builder._record_stored = record_stored

    return before


def obey_permissions() -> None:
    """Takes from the superuser the right (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) to write and read anything."""
    if os.geteuid():
        return
    header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, rights) == 0, os.strerror(ctypes.get_errno())
    rights[0] &= ~0b110
    assert libc.capset(header, rights) == 0, os.strerror(ctypes.get_errno())


def take_permission(builder: Builder) -> None:
    obey_permissions()
    Path(builder.data_path).chmod(0o500)


def limit(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    """Mounts a file system of this size, and says whether it could: that takes a superuser."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def refuse(stage: Stage, options: argparse.Namespace) -> None:
    too_large = limit(resource.RLIMIT_FSIZE, 100_000)
    whole = {file_format: stage.whole(file_format) for file_format in FORMATS}
    for file_format in FORMATS:
        tell(f"a file may not grow, {file_format}", stage.refused(file_format, too_large))
        assert stage.whole(file_format) == whole[file_format]
    expected = whole["tfrecord"]
    fill_disks(stage, options.disks, expected)
    assert stage.whole(before=limit(resource.RLIMIT_NOFILE, 16)) == expected
    tell("no more files may be open", stage.refused(before=limit(resource.RLIMIT_NOFILE, 5)))
    tell("permission is taken away", stage.refused(before=at_the_first_record(take_permission)))
    # What the last build left may not be removed now either.
    stage.config_dir.chmod(0o500)
    tell("the folder may not be written to", stage.refused(before=obey_permissions))
    stage.config_dir.chmod(0o755)
    for folder in stage.config_dir.glob("incomplete.*"):
        folder.chmod(0o755)
    unmounted = stage.release.with_name("unmounted")
    gone = at_the_first_record(lambda _: stage.release.rename(unmounted))
    tell("the source is gone", stage.refused(before=gone))
    unmounted.rename(stage.release)
    assert stage.whole() == expected


def fill_disks(stage: Stage, disks: int, expected: dict[str, str]) -> None:
    """Builds on ever larger disks, the last of which are large enough."""
    outcomes = []
    for number in range(disks):
        kilobytes = 40 + 800 * number // disks
        with small_disk(stage.data_dir, kilobytes) as mounted:
            if not mounted:
                tell("the disk is full", "not tried: no file system could be mounted")
                return
            _, status = os.waitpid(stage.start("tfrecord"), 0)
            if os.waitstatus_to_exitcode(status) == 0:
                assert stage.take_away() == expected, f"half a dataset is on a disk of {kilobytes} kB"
                outcomes.append("built")
            else:
                assert not stage.dataset.exists(), "half a dataset has its final name"
                outcomes.append((stage.data_dir.parent / "error").read_text())
    refused = [outcome for outcome in outcomes if "No space left on device" in outcome]
    assert len(refused) + outcomes.count("built") == disks, outcomes
    assert refused
    assert outcomes[-1] == "built"
    tell("the disk is full", refused[-1])


def tell(name: str, error: str) -> None:
    print(json.dumps({name: error}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=("kill", "refuse"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--disks", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", default="tfrecord", choices=FORMATS)
    parser.add_argument("--beam", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    writer._SORTED_IN_MEMORY = 0  # As for a dataset that is larger: TFDS sorts it in files, of which many can be left.
    with tempfile.TemporaryDirectory() as folder:
        if options.way == "kill":
            kill(Stage(Path(folder), "archives"), options)  # Of which examples wait on disk.
        else:
            refuse(Stage(Path(folder), "folder"), options)


if __name__ == "__main__":
    main()

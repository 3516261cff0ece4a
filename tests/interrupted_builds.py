"""Interrupts what the package does: kills it at random moments, or takes away what it needs, and looks at what is left.

    python tests/interrupted_builds.py kill [--what build] [--kills 20] [--copies 0] [--format tfrecord] [--beam]
    python tests/interrupted_builds.py refuse

`kill` sends SIGKILL to one of these, each time on what the last kill left:

- `build`: afterwards there is no dataset, or a whole one.
- `overwrite`, as `tfds build --overwrite` does it, which deletes the old dataset before the package can know: a plain
  build then takes no half dataset for a whole one, but builds it anew.
- `replace`, as TFDS's API does it: the old dataset or the new one is there, whole.
- `catalog`: the old site or the new one is there, whole.
- `verify`: nothing has changed.
- `convert`: the first format and what names it have not changed, or the second format is there, whole.

`refuse`: the system refuses something to each build, which has to say so and to leave no dataset.

Files of somebody else lie in the release's folder, among the datasets and beside the site; none of them may change. In
the end one run goes on to its end, and has to leave what a run leaves that nobody disturbed, with nothing beside it.
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
from tensorflow_datasets.scripts.cli import build as tfds_build

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.building.progress import Progress
from nih_chest_xray.catalog import site
from nih_chest_xray.formats.convert import convert
from nih_chest_xray.images import png
from nih_chest_xray.phantom.release import Phantom
from nih_chest_xray.verification.command import verify
from nih_chest_xray.verification.report import failed

PATIENTS = 15
FORMATS = ("tfrecord", "array_record", "parquet")


class Stage:
    """A release, and what is done with its images, in processes of their own."""

    def __init__(self, folder: Path, layout: str, copies: int = 0) -> None:
        self.release = folder / "release"
        self.data_dir = folder / "data"
        self.config_dir = self.data_dir / "nih_chest_xray" / "interrupted"
        self.dataset = self.config_dir / "2.0.0"
        self.site = folder / "sites" / "site"
        self._said, self._error = folder / "said", folder / "error"
        self._copies = copies
        phantom = Phantom(PATIENTS)
        phantom.write(self.release, layout)
        # Loads the decoder of grey images, which takes most of a short build's time; the first image is none.
        for image in phantom.images(frozenset(sorted(phantom.names)[:2])):
            png.decode(image.read())
        self._put_foreign_files()

    def _put_foreign_files(self) -> None:
        """Puts files where the package works, some in folders that bear the names of its own."""
        self.foreign = {}
        for place in (
            self.release / "notes.txt",
            self.release / "weights" / "best.h5",
            self.data_dir / "notes.txt",
            self.data_dir / "downloads" / "nih_chest_xray" / "notes.txt",
            self.data_dir / "nih_chest_xray" / "mine" / "2.0.0" / "dataset_info.json",
            self.config_dir / "notes.txt",
            self.config_dir / "incomplete.MINE01_2.0.0" / "notes.txt",
            self.config_dir / "replaced.MINE01_2.0.0" / "notes.txt",
            self.site.parent / ".site.mine" / "notes.txt",
            self.site.parent / ".site.mine" / ".lock",
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"somebody's {place.name}")
        self.foreign = {path: digest(path) for path in self._all_files()}

    def _all_files(self) -> Iterator[Path]:
        for folder in (self.release, self.data_dir, self.site.parent):
            yield from (path for path in folder.rglob("*") if path.is_file())

    def require_foreign_files(self) -> None:
        for path, was in self.foreign.items():
            assert path.exists(), f"{path} is gone"
            assert digest(path) == was, f"{path} has changed"

    def start(self, act: Callable[[], None], before: Callable[[], None] = lambda: None) -> int:
        """Forks, which spares each run the seconds that imports take, and returns the process's number."""
        if pid := os.fork():
            return pid
        status = 1
        try:
            with self._said.open("w") as said:
                os.dup2(said.fileno(), sys.stdout.fileno())
                os.dup2(said.fileno(), sys.stderr.fileno())
            before()
            act()
            status = 0
        except Exception as error:
            self._error.write_text(f"{type(error).__name__}: {error}")
        finally:
            os._exit(status)  # What was registered for the parent's end is none of the child's business.

    def builder(self, file_format: str) -> Builder:
        return Builder(config=self.config, data_dir=self.data_dir, file_format=file_format)

    @property
    def config(self) -> NihChestXrayConfig:
        return NihChestXrayConfig(
            name="interrupted",
            image_size=512 if self._copies else 128,
            validation_fraction=0.25,
            test_fraction=0.25,
            augmented_copies=self._copies,
            augmentations=("rotation",),
            allow_missing_images=True,
        )

    def build(self, file_format: str = "tfrecord", beam: bool = False, **download: object) -> None:
        if beam:
            from apache_beam.options.pipeline_options import PipelineOptions

            download["beam_options"] = PipelineOptions()
        download_config = tfds.download.DownloadConfig(manual_dir=self.release, **download)
        self.builder(file_format).download_and_prepare(download_config=download_config)

    def overwrite(self) -> None:
        """What `tfds build --overwrite` does."""
        builder = tfds_build._make_builder(
            Builder, overwrite=True, fail_if_exists=False, config=self.config, data_dir=self.data_dir
        )
        download_config = tfds.download.DownloadConfig(manual_dir=self.release)
        builder.download_and_prepare(download_config=download_config)

    def replace(self) -> None:
        self.build(download_mode=tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS)

    def catalog(self) -> None:
        site.write_site(self.dataset, self.site)

    def convert(self) -> None:
        convert(self.dataset, "array_record")

    def verify(self) -> None:
        assert not failed(verify(self.dataset, self.release))

    def refused(self, file_format: str = "tfrecord", before: Callable = lambda: None) -> str:
        """Builds, and returns the error."""
        self._expect(lambda: self.build(file_format), 1, before)
        assert not self.dataset.exists(), "half a dataset has its final name"
        return self._error.read_text()

    def whole(
        self, file_format: str = "tfrecord", beam: bool = False, before: Callable = lambda: None
    ) -> dict[str, str]:
        """Builds, removes the dataset again, and returns the digests of its files."""
        self.run(lambda: self.build(file_format, beam), before)
        return self.take_away()

    def run(self, act: Callable[[], None], before: Callable = lambda: None) -> None:
        """Lets something come to its end, and looks whether it has left anything else."""
        self._expect(act, 0, before)
        self.require_foreign_files()
        beside = {path.name for path in self.config_dir.iterdir()} | {path.name for path in self.site.parent.iterdir()}
        mine = {"notes.txt", "incomplete.MINE01_2.0.0", "replaced.MINE01_2.0.0", ".site.mine"}
        assert beside - mine <= {".2.0.0.lock", "2.0.0", "site", ".site.lock"}, f"something is left: {beside}"

    def _expect(self, act: Callable[[], None], wanted: int, before: Callable = lambda: None) -> None:
        _, status = os.waitpid(self.start(act, before), 0)
        assert os.waitstatus_to_exitcode(status) == wanted, self._said.read_text()[-3000:] + self._error.read_text()

    def undo_conversion(self) -> dict[str, str]:
        """Takes the second format away, and returns the digests of the dataset with it."""
        digests = digests_of(self.dataset)
        for path in self.dataset.glob("*.array_record-*"):
            path.unlink()
        info, metadata = (self.dataset / name for name in ("dataset_info.json", "metadata.json"))
        about, sizes = json.loads(info.read_text()), json.loads(metadata.read_text())
        del about["alternativeFileFormats"]
        sizes["shard_sizes"] = {k: v for k, v in sizes["shard_sizes"].items() if ".array_record-" not in k}
        info.write_text(json.dumps(about, indent=2, sort_keys=True))
        metadata.write_text(json.dumps(sizes))
        return digests

    def take_away(self) -> dict[str, str]:
        digests = digests_of(self.dataset)
        shutil.rmtree(self.dataset)
        return digests


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digests_of(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def kill(stage: Stage, options: argparse.Namespace) -> None:
    start = time.monotonic()
    expected = stage.whole(options.format, options.beam)
    seconds = time.monotonic() - start
    act = {
        "build": lambda: stage.build(options.format, options.beam),
        **{name: getattr(stage, name) for name in ("overwrite", "replace", "catalog", "verify", "convert")},
    }[options.what]
    if options.what != "build":
        stage.run(stage.build)
    if options.what in ("catalog", "verify", "convert"):
        start = time.monotonic()
        stage.run(act)
        seconds = time.monotonic() - start
    whole_site = digests_of(stage.site) if options.what == "catalog" else {}
    if options.what == "convert":
        whole_site = stage.undo_conversion()
    chance = random.Random(options.seed)
    left = collections.Counter()
    for number in range(options.kills):
        pid = stage.start(act)
        # One moment in each of as many equal parts of a run, so that all of its parts are met. TFDS deletes the old
        # dataset within milliseconds, right at the start.
        moment = (number + chance.random()) / options.kills
        time.sleep(seconds * (moment**4 if options.what == "overwrite" else moment))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        stage.require_foreign_files()
        left[LOOK[options.what](stage, expected, whole_site)] += 1
    stage.run(act if options.what != "build" else lambda: stage.build(options.format, options.beam))
    assert stage.take_away() == (whole_site if options.what == "convert" else expected)
    if options.what == "catalog":
        assert digests_of(stage.site) == whole_site
    print(json.dumps({options.what: options.kills, "seconds": round(seconds, 2), "left": dict(left)}))


def _after_build(stage: Stage, expected: dict[str, str], _site: dict[str, str]) -> str:
    folders = [path for path in stage.config_dir.glob("incomplete.*") if path.name != "incomplete.MINE01_2.0.0"]
    assert len(folders) <= 1, f"what an earlier build left still exists: {folders}"
    if stage.dataset.exists():
        assert stage.take_away() == expected, "half a dataset has its final name"
        return "a whole dataset"
    if not folders:
        return "no folder"
    return "a folder with files" if any(folders[0].iterdir()) else "a folder without files"


def _after_overwrite(stage: Stage, expected: dict[str, str], _site: dict[str, str]) -> str:
    there = digests_of(stage.dataset) if stage.dataset.exists() else None
    stage.run(stage.build)
    assert digests_of(stage.dataset) == expected, "half a dataset was taken for a whole one"
    return "no dataset" if there is None else "a whole dataset" if there == expected else "half a dataset"


def _after_replace(stage: Stage, expected: dict[str, str], _site: dict[str, str]) -> str:
    if stage.dataset.exists():
        assert digests_of(stage.dataset) == expected, "half a dataset has its final name"
        return "a whole dataset"
    aside = [path for path in stage.config_dir.glob("replaced.*") if path.name != "replaced.MINE01_2.0.0"]
    assert any(digests_of(path) == expected for path in aside), "neither the old dataset nor the new one exists"
    return "the old dataset aside"


def _after_catalog(stage: Stage, expected: dict[str, str], whole_site: dict[str, str]) -> str:
    assert digests_of(stage.dataset) == expected
    if stage.site.exists():
        assert digests_of(stage.site) == whole_site, "half a site has its final name"
        return "a whole site"
    aside = list(stage.site.parent.glob(".site.*/old"))
    assert any(digests_of(path) == whole_site for path in aside), "neither the old site nor the new one exists"
    return "the old site aside"


def _after_verify(stage: Stage, expected: dict[str, str], _site: dict[str, str]) -> str:
    assert digests_of(stage.dataset) == expected
    return "nothing else"


def _after_convert(stage: Stage, expected: dict[str, str], whole: dict[str, str]) -> str:
    there = digests_of(stage.dataset)
    new = there.keys() - expected.keys()
    assert all(there[name] == whole[name] for name in new), "half a shard has its final name"
    if there["dataset_info.json"] == whole["dataset_info.json"]:
        assert there == whole
        stage.undo_conversion()
        assert digests_of(stage.dataset) == expected
        return "both formats"
    same = {name: digest for name, digest in there.items() if name not in new}
    assert same | {"metadata.json": expected["metadata.json"]} == expected
    folders = [path for path in stage.config_dir.glob("incomplete.*") if path.name != "incomplete.MINE01_2.0.0"]
    assert len(folders) <= 1, f"what an earlier conversion left still exists: {folders}"
    return "whole shards without a mention" if new else "a work folder" if folders else "nothing else"


LOOK = {
    "convert": _after_convert,
    "build": _after_build,
    "overwrite": _after_overwrite,
    "replace": _after_replace,
    "catalog": _after_catalog,
    "verify": _after_verify,
}


# What the system refuses.


def at_the_first_record(act: Callable[[Builder], None]) -> Callable[[], None]:
    """Returns what makes a build do something when the first record is made."""

    def before() -> None:
        make_subsets, made = Builder.make_subsets, Progress.made
        acted = []

        def make(builder: Builder, *arguments: object) -> object:
            def act_once(shown: Progress) -> None:
                if not acted:
                    acted.append(act(builder))
                made(shown)

            Progress.made = act_once
            return make_subsets(builder, *arguments)

        Builder.make_subsets = make

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


def believe_in_room() -> None:
    """Spares a build the look at the disk before it begins: others may fill the disk later."""
    sys.modules[Builder.__module__].require_room = lambda _needs: None


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
            _, status = os.waitpid(stage.start(stage.build, believe_in_room), 0)
            if os.waitstatus_to_exitcode(status) == 0:
                assert stage.take_away() == expected, f"half a dataset is on a disk of {kilobytes} kB"
                outcomes.append("built")
            else:
                assert not stage.dataset.exists(), "half a dataset has its final name"
                outcomes.append(stage._error.read_text())
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
    parser.add_argument("--what", default="build", choices=LOOK)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--copies", type=int, default=0, help="of each training nodule: 800 make a build of ten seconds"
    )
    parser.add_argument("--disks", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", default="tfrecord", choices=FORMATS)
    parser.add_argument("--beam", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        if options.way == "kill":
            kill(Stage(Path(folder), "archives", options.copies), options)  # Of which examples wait on disk.
        else:
            refuse(Stage(Path(folder), "folder"), options)


if __name__ == "__main__":
    main()

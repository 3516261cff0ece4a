"""Shows what would limit a build on many cores: the parts that one thread does, each with the images/s that it allows.

    python tests/benchmarks/limits.py [--release DIR]

Builds the config `nodule` at 512 pixels from a folder and from twelve archives, and measures the processor's time of
each thread, which hardly depends on what else the machine does. Threads with one core each would make at most as many
images/s as the table says. Python in a worker is the part of its work that needs Python's lock, which one thread holds
at a time; it is measured with decoding, resizing and encoding left out.
"""

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pandas as pd
import tqdm
from etils import epath
from releases import arguments, config, repeated

from nih_chest_xray.building import local, parallel
from nih_chest_xray.building.progress import Progress
from nih_chest_xray.building.tfrecord import write_tfrecord
from nih_chest_xray.images import codec
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.release import Release
from nih_chest_xray.release.sources import StoredImage
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.release.tars import TarGz

ARCHIVES = 12
WORKERS = 16


class Stopwatch:
    """Adds up the processor's time that threads take in calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable) -> Callable:
        def call(*arguments, **options):
            start = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += time.thread_time() - start

        return call


def release_of(folder: Path, images: int) -> Release:
    """Returns the release in a folder, with archives whose contents are known, as the NIH's are."""
    found = find_release(epath.Path(folder), {}, allow_repacked=True)
    paths = sorted(source.place for source in found.sources if source.one_pass)
    if not paths:
        return found
    each = -(-images // len(paths))
    firsts = [f"{1 + number * each:08d}_000.png" for number in range(len(paths) + 1)]
    known = [TarGz(epath.Path(path), None, (firsts[n], firsts[n + 1])) for n, path in enumerate(paths)]
    return Release(found.place, found.tables, tuple(known))


def seconds_of_reading(release: Release, names: frozenset[str]) -> float:
    start = time.thread_time()
    for _ in release.images(names):
        pass
    return time.thread_time() - start


def seconds_of_build(release: Release, manifest: pd.DataFrame) -> dict[str, float]:
    """Returns the seconds of the main thread, of all workers and of the threads that write shards."""
    worker, writer = Stopwatch(), Stopwatch()
    with tempfile.TemporaryDirectory() as data:

        def store(subset: str, records: Iterator[bytes], _count: int, _size: int) -> str:
            write_tfrecord(epath.Path(data) / subset, records)
            return subset

        build = local.LocalBuild(release, manifest, config(), epath.Path(data))
        with mock.patch.object(build, "_try", worker.timed(build._try)):
            start = time.thread_time()
            build.write(writer.timed(store), Progress(tqdm.tqdm(disable=True), len(manifest)))
            main = time.thread_time() - start
        build.close()
    return {"main": main, "workers": worker.seconds, "writers": writer.seconds}


def seconds_of_python(release: Release, manifest: pd.DataFrame) -> float:
    """Returns the seconds that workers need for all but reading, decoding, resizing and encoding."""
    [image] = list(release.images(frozenset(manifest["source_name"][:1])))
    content = image.read()
    pixels, encoded = codec.decode(content), codec.encode(codec.resize(codec.decode(content), 512), "png")
    with (
        tempfile.TemporaryDirectory() as data,
        mock.patch.object(codec, "decode", return_value=pixels),
        mock.patch.object(codec, "resize", return_value=pixels),
        mock.patch.object(codec, "encode", return_value=encoded),
    ):
        build = local.LocalBuild(release, manifest, config(), epath.Path(data))
        start = time.thread_time()
        for name in manifest["source_name"]:
            build._try(StoredImage(name, "", lambda: content))
        seconds = time.thread_time() - start
        build.close()
    return seconds


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    options = arguments(__doc__, images=1200, rounds=3).parse_args()
    each = -(-options.images // ARCHIVES)
    with repeated(options.release, options.images, ("folder", "tar.gz"), each) as folders:
        for layout, folder in folders.items():
            release = release_of(folder, options.images)
            manifest = make_plan(read_tables(release, config(), {}), config()).manifest
            names = frozenset(manifest["source_name"])
            seconds_of_python(release, manifest[:50])  # Compiles the decoder.
            reader = min(seconds_of_reading(release, names) for _ in range(options.rounds))
            python = min(seconds_of_python(release, manifest) for _ in range(options.rounds))
            builds = [seconds_of_build(release, manifest) for _ in range(options.rounds)]
            best = {part: min(build[part] for build in builds) for part in builds[0]}
            readers = 1 if layout == "folder" else 1 + WORKERS // local.WORKERS_PER_ARCHIVE
            parts = {
                f"worker (x {WORKERS})": (best["workers"], WORKERS),
                "Python in a worker": (python, 1),
                f"reader (x {readers})": (reader, readers),
                "main thread": (best["main"], 1),
                "writing shards": (best["writers"], 1),
            }
            rows = {
                name: {
                    "ms/image": f"{1e3 * seconds / len(names):.3f}",
                    "images/s": f"{threads * len(names) / seconds:,.0f}",
                }
                for name, (seconds, threads) in parts.items()
            }
            print(f"{layout}, {len(names):,} images, {parallel.worker_count()} workers here")
            print(pd.DataFrame(rows).T.to_string())

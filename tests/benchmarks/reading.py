"""Reads images for training: this package beside what else a user may read the same bytes with.

    python tests/benchmarks/reading.py [--release DIR] [--sizes 512 224] [--disk CGROUP]

Every way gives batches of 32 uint8 images, (32, 1, SIZE, SIZE) or with the channel last, and their labels, shuffled as
its users shuffle, with two workers, in a process of its own, in turn. PNG and JPEG are the same bytes for all, those
that this package stores. `readers.py` has the ways, `stores.py` how the others have the images stored. Ways whose
library is not installed are left out and named: `pip install torch datasets webdataset litdata imageio`.

FFCV is not among them: it has no wheels, and builds only where pkg-config and the headers of OpenCV and TurboJPEG are.

Images are read from the page cache. With --disk they are also read from a disk, out of a control group whose reading is
limited; for 200 MB/s from the disk 254:0 (`lsblk`) root makes one by

    mkdir /sys/fs/cgroup/blkio/slow
    echo "254:0 200000000" > /sys/fs/cgroup/blkio/slow/blkio.throttle.read_bps_device

and names it: `--disk /sys/fs/cgroup/blkio/slow`. The folder of temporary files (TMPDIR) has to be on that disk.
"""

import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from releases import arguments, config, repeated
from side_by_side import in_turn, median, run, table
from stores import STORES

FORMATS = ("png", "jpeg", "raw")
OURS = {"tfds.load": ("tfds_load", "tfrecord"), "DataLoader": ("data_source", "array_record")}
OURS |= {"Grain": ("grain", "array_record"), "DataLoader, TFDS's own source": ("data_source_of_tfds", "array_record")}
OTHERS = {
    "folder, Pillow": ("folder_pillow", "folder", "torch"),
    "folder, imageio (torchxrayvision)": ("folder_imageio", "folder", "imageio"),
    "Hugging Face datasets": ("huggingface", "huggingface", "datasets"),
    "WebDataset": ("webdataset", "webdataset", "webdataset"),
    "LitData": ("litdata", "litdata", "litdata"),
}
NEEDS = {"tfds_load": None, "grain": "grain", "data_source": "torch", "data_source_of_tfds": "torch"}


def has(module: str | None) -> bool:
    return module is None or importlib.util.find_spec(module) is not None


def build_all(release: str, data: str, sizes: str) -> None:
    """Builds and stores the datasets; prints the folder of each, its bytes an image, and how fast it was built."""
    import tensorflow_datasets as tfds

    import nih_chest_xray

    made = tfds.download.DownloadConfig(manual_dir=release)
    stored = {}
    warm = nih_chest_xray.Builder(config=config(image_size=64), data_dir=f"{data}/warm")
    warm.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=release, max_examples_per_split=9)
    )
    for size in map(int, sizes.split(",")):
        for image_format in FORMATS:
            for file_format in ("tfrecord", "array_record"):
                own = config(image_size=size, image_format=image_format)
                place = f"{data}/{size}{image_format}{file_format}"
                builder = nih_chest_xray.Builder(config=own, data_dir=place, file_format=file_format)
                start = time.perf_counter()
                builder.download_and_prepare(download_config=made)
                rate = builder.info.splits.total_num_examples / (time.perf_counter() - start)
                add(stored, f"{size} {image_format} {file_format}", builder.data_path, builder, rate)
            if image_format == "raw":
                continue
            skip = {"image": tfds.decode.SkipDecoding()}
            examples = nih_chest_xray.data_source(builder, "+".join(builder.info.splits), decoders=skip)
            pairs = [(example["image"], int(example["label"])) for example in examples]
            for store in {store for _, store, module in OTHERS.values() if has(module)}:
                place = f"{data}/{size}{image_format}{store}"
                STORES[store](pairs, {"jpeg": "jpg"}.get(image_format, image_format), place)
                add(stored, f"{size} {image_format} {store}", Path(place), builder, None)
    print(json.dumps(stored))


def add(stored: dict, name: str, place: Path, builder, rate: float | None) -> None:
    shards = [Path(path) for split in builder.info.splits.values() for path in split.filepaths]
    each = sum(path.stat().st_size for path in shards) / builder.info.splits.total_num_examples
    stored[name] = {"place": str(place), "bytes": each, "rate": rate}


def print_stored(stored: dict, sizes: list[int]) -> None:
    print("\n| stored | bytes an image | images/s built |\n| --- | --- | --- |")
    for name, about in stored.items():
        if about["rate"] and int(name.split()[0]) in sizes:
            print(f"| {name} | {about['bytes']:,.0f} | {about['rate']:.0f} |")


def compare(stored: dict, size: int, rounds: int, disk: str) -> None:
    """Reads one size in every way, and prints a table for each format."""
    ways = {}
    for image_format in FORMATS:
        for name, (way, file_format) in OURS.items():
            theirs = way == "data_source_of_tfds"
            if has(NEEDS[way]) and not (theirs and disk):
                place = stored[f"{size} {image_format} {file_format}"]["place"]
                ways[image_format, f"{name} ({file_format})"] = (way, place, image_format, size, disk)
        for name, (way, store, module) in OTHERS.items():
            if has(module) and has("torch") and image_format != "raw" and not disk:
                place = stored[f"{size} {image_format} {store}"]["place"]
                ways[image_format, name] = (way, place, image_format, size, "")
    results = in_turn({name: (lambda way=way: run("readers.py", *way)) for name, way in ways.items()}, rounds)

    def rate(name: tuple) -> float:
        return sum(each["images"] / each["seconds"] for each in results[name])

    for image_format in FORMATS:
        rows = {name: done for (stored_as, name), done in results.items() if stored_as == image_format}
        others = [name for name in rows if name in OTHERS]
        best = {
            f"x {other}, the best other": other for other in sorted(others, key=lambda o: -rate((image_format, o)))[:1]
        }
        print(f"\n{size} pixels, {image_format.upper()}, from {'the limited disk' if disk else 'the page cache'}")
        print(table(rows, best, {"CPU ms per image": median("cpu", 1, ".2f")}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["build"]:
        build_all(*sys.argv[2:])
        sys.exit()
    parser = arguments(__doc__, images=1600, rounds=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 224], help="pixels a side; default 512 224")
    parser.add_argument("--disk", default="", help="a control group whose reading is limited")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if missing := sorted(
        {each for each in (*NEEDS.values(), *(last for *_, last in OTHERS.values())) if not has(each)}
    ):
        print(f"not installed, and so not measured: {', '.join(missing)}")
    with repeated(options.release, options.images, ("folder",)) as releases, tempfile.TemporaryDirectory() as scratch:
        sizes = ",".join(map(str, options.sizes))
        stored = run("reading.py", "build", releases["folder"], scratch, sizes)
        print_stored(stored, options.sizes)
        for size in options.sizes:
            compare(stored, size, options.rounds, "")
            if options.disk:
                compare(stored, size, options.rounds, options.disk)

"""Ways to build a dataset, each run in a process of its own and measured there.

    python tests/benchmarks/ways.py WAY MANUAL_DIR SMALL_DIR DATA_DIR

prints one line of JSON. Before it is measured, a way builds the small release, so that what is imported, compiled or
started once is start-up, which is stated apart.
"""

import functools
import itertools
import json
import resource
import stat
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import tensorflow as tf

SIZE = 512
RSS_OF_TENSORFLOW = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def package(manual_dir: str, data_dir: str) -> int:
    """This package. The number of workers comes from the environment."""
    import tensorflow_datasets as tfds
    from releases import config

    import nih_chest_xray

    builder = nih_chest_xray.Builder(config=config(), data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return sum(split.num_examples for split in builder.info.splits.values())


def plain_tfds(manual_dir: str, data_dir: str) -> int:
    """What a TFDS builder usually does: TensorFlow decodes and resizes, the Image feature encodes."""
    import tensorflow_datasets as tfds

    builder = plain_builder()(data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return sum(split.num_examples for split in builder.info.splits.values())


@functools.cache
def plain_builder() -> type:
    import tensorflow_datasets as tfds

    class Plain(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("2.0.0")
        MANUAL_DOWNLOAD_INSTRUCTIONS = "A folder of images and the label file."

        def _info(self):
            image = tfds.features.Image(shape=(SIZE, SIZE, 1))
            label = tfds.features.ClassLabel(names=["No Finding", "Nodule"])
            features = {"image": image, "label": label, "name": tfds.features.Text()}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            subsets = split_by_hand(dl_manager.manual_dir)
            return {subset: self._generate_examples(rows) for subset, rows in subsets.items()}

        def _generate_examples(self, rows):
            for path, label in rows:
                pixels = tf.io.decode_png(tf.io.read_file(str(path)), channels=1)
                resized = tf.image.resize(pixels, (SIZE, SIZE), method="area")
                image = tf.cast(tf.round(resized), tf.uint8).numpy()
                yield path.name, {"image": image, "label": label, "name": path.name}

    return Plain


def hand_written_loop(manual_dir: str, data_dir: str) -> int:
    """The usual script, at its best: OpenCV, and this package's own way to encode a PNG."""
    import cv2

    from nih_chest_xray.images import codec

    def feature(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    written = 0
    for subset, rows in split_by_hand(Path(manual_dir)).items():
        with tf.io.TFRecordWriter(str(Path(data_dir) / f"{subset}.tfrecord")) as writer:
            for path, label in rows:
                pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
                encoded = codec.encode(cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA), "png")
                columns = {
                    "image": feature(encoded),
                    "name": feature(path.name.encode()),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=columns))
                writer.write(example.SerializeToString())
                written += 1
    return written


def split_by_hand(manual_dir: Path) -> dict[str, list[tuple[Path, int]]]:
    import pandas as pd

    folder = Path(manual_dir)
    table = pd.read_csv(folder / "Data_Entry_2017_v2020.csv")
    names, nodule = table["Image Index"], table["Finding Labels"].str.contains("Nodule").astype(int)
    rows = [(folder / "images" / name, label) for name, label in zip(names, nodule, strict=True)]
    tenth = len(rows) // 10
    return {"train": rows[: -2 * tenth], "validation": rows[-2 * tenth : -tenth], "test": rows[-tenth:]}


class Watch:
    """Measures, from `start` to `stop`, seconds, bytes that the process read, and the most that lay on disk."""

    def __init__(self, data_dir: str) -> None:
        self._data_dir = data_dir
        self._most = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._read = self._bytes_read()
        self._thread.start()
        self._start, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> dict[str, float]:
        seconds, cpu = time.perf_counter() - self._start, time.process_time() - self._cpu
        self._stopped.set()
        self._thread.join()
        left = self._on_disk()
        extra = max(0, self._most - left) / left
        return {"seconds": seconds, "cpu": cpu, "read": self._bytes_read() - self._read, "extra_share": extra}

    def _bytes_read(self) -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    def _watch(self) -> None:
        while not self._stopped.wait(0.25):
            self._most = max(self._most, self._on_disk())

    def _on_disk(self) -> int:
        """Files in the data folder, and files without a name that this process has open."""
        paths = itertools.chain(Path(self._data_dir).rglob("*"), Path("/proc/self/fd").iterdir())
        total = 0
        for path in paths:
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            nameless = path.parent.name == "fd" and status.st_nlink == 0
            total += status.st_size if stat.S_ISREG(status.st_mode) and (nameless or path.parent.name != "fd") else 0
        return total


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    way, manual, small, data = sys.argv[1:]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        globals()[way](small, scratch)
    start_up = time.perf_counter() - started
    watch = Watch(data)
    watch.start()
    count = globals()[way](manual, data)
    result = watch.stop()
    result["images"] = count
    result["start_up"] = start_up
    result["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - RSS_OF_TENSORFLOW) * 1024
    print(json.dumps(result))

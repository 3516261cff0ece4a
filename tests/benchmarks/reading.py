"""Reads images for training: this package's datasets beside TFDS's own encoding and the NIH's original PNGs.

    python tests/benchmarks/reading.py [--release DIR]

Each way reads batches of 32 over and over, as training does, for ten seconds, in a process of its own, after three
seconds that are not counted: `tfds.load` (512 and 224 pixels, PNG and JPEG); the same examples with images as TFDS's
Image feature encodes them; Keras' ImageDataGenerator over the originals; and a PyTorch DataLoader with two workers over
them, where PyTorch is installed.
"""

import importlib.util
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from releases import arguments, config, repeated
from side_by_side import in_turn, run, table

BATCH = 32
WARM_UP, MEASURED = 3, 10
"""Seconds."""


def tfds_load(folder: str, size: int):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    # The full release does not fit into memory, so what fits is not to be kept there either, which TFDS would do.
    uncached = tfds.ReadConfig(try_autocache=False)
    dataset = builder.as_dataset(split="+".join(builder.info.splits), as_supervised=True, read_config=uncached)
    # Repeated before it is batched, so that no pass starts with empty buffers: those of a real dataset are long.
    return lambda: iter(dataset.repeat().batch(BATCH).prefetch(2))


def image_data_generator(folder: str, size: int):
    import pandas as pd
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    table = pd.read_csv(Path(folder) / "Data_Entry_2017_v2020.csv")
    flow = ImageDataGenerator().flow_from_dataframe(
        table,
        directory=str(Path(folder) / "images"),
        x_col="Image Index",
        y_col="Finding Labels",
        target_size=(size, size),
        color_mode="grayscale",
        class_mode="categorical",
        batch_size=BATCH,
        validate_filenames=False,
    )
    return lambda: (flow[index] for index in range(len(flow)))


def pytorch(folder: str, size: int):
    import cv2
    import torch

    class Originals(torch.utils.data.Dataset):
        paths = sorted((Path(folder) / "images").iterdir())

        def __len__(self):
            return len(self.paths)

        def __getitem__(self, index):
            pixels = cv2.imread(str(self.paths[index]), cv2.IMREAD_GRAYSCALE)
            return torch.from_numpy(cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)), 0

    loader = torch.utils.data.DataLoader(Originals(), batch_size=BATCH, num_workers=2, shuffle=True)
    return lambda: iter(loader)


def measure(way: str, folder: str, size: str) -> None:
    batches = globals()[way](folder, int(size))
    endless = itertools.chain.from_iterable(batches() for _ in itertools.count())
    for seconds in (WARM_UP, MEASURED):  # TensorFlow takes a while to find out how many threads a step should have.
        start, images = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            batch, _ = next(endless)
            images += len(batch)
    print(json.dumps({"images": images, "seconds": time.perf_counter() - start}))


def build_all(release: str, data: str) -> None:
    """Builds the datasets, and prints their folders by name."""
    import tensorflow_datasets as tfds

    import nih_chest_xray

    folders = {}
    for size in (512, 224):
        for image_format in ("png", "jpeg"):
            own = config(image_size=size, image_format=image_format)
            builder = nih_chest_xray.Builder(config=own, data_dir=f"{data}/{size}{image_format}")
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=release))
            folders[f"package, {size} {image_format}"] = [str(builder.data_path), size]
        own = tfds.builder_from_directory(folders[f"package, {size} png"][0])
        folders[f"TFDS's default, {size}"] = [_default(own, size, f"{data}/{size}default"), size]
    print(json.dumps(folders))


def _default(own, size: int, data_dir: str) -> str:
    """Stores the same examples in the same splits, the images as TFDS's Image feature encodes an array."""
    import tensorflow_datasets as tfds

    features = dict(own.info.features) | {"image": tfds.features.Image(shape=(size, size, 1))}

    class Default(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("2.0.0")
        name = f"default{size}"

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in own.info.splits}

        def _generate_examples(self, split):
            for number, example in enumerate(tfds.as_numpy(own.as_dataset(split=split))):
                yield number, example | {"bboxes": _each(example["bboxes"])}

    builder = Default(data_dir=data_dir)
    builder.download_and_prepare()
    return str(builder.data_path)


def _each(columns: dict) -> list[dict]:
    """Returns a sequence's items, which TFDS reads as columns and writes as rows."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


if __name__ == "__main__":
    if sys.argv[1:2] in (["measure"], ["build"]):
        (measure if sys.argv[1] == "measure" else build_all)(*sys.argv[2:])
        sys.exit()
    options = arguments(__doc__, images=800, rounds=3).parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with repeated(options.release, options.images, ("folder",)) as releases, tempfile.TemporaryDirectory() as scratch:
        original = str(releases["folder"])
        folders = run("reading.py", "build", original, scratch)
        kinds = {name: ("tfds_load", folder, size) for name, (folder, size) in folders.items()}
        for size in (512, 224):
            kinds[f"ImageDataGenerator, {size}"] = ("image_data_generator", original, size)
            if importlib.util.find_spec("torch"):
                kinds[f"PyTorch DataLoader, {size}"] = ("pytorch", original, size)

        def reader(kind: tuple):
            return lambda: run("reading.py", "measure", *kind)

        results = in_turn({name: reader(kind) for name, kind in kinds.items()}, options.rounds)
    for size in ("512", "224"):
        print(f"{size} pixels")
        against = {"x TFDS's default": f"TFDS's default, {size}", "x ImageDataGenerator": f"ImageDataGenerator, {size}"}
        print(table({name: rounds for name, rounds in results.items() if size in name}, against, {}))

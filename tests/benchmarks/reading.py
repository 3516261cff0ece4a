"""Reads images for training: this package's datasets beside TFDS's own encoding and the NIH's original PNGs.

    python tests/benchmarks/reading.py [--release DIR]

Each way goes over all images once in batches of 32, in a process of its own, after a first pass over a few batches that
is not timed: `tfds.load` (512 and 224 pixels, PNG and JPEG); the same pixels encoded by TFDS's Image feature; Keras'
ImageDataGenerator over the originals; and a PyTorch DataLoader with two workers over them, where PyTorch is installed.
"""

import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from releases import arguments, config, repeated
from side_by_side import in_turn, run, table

BATCH = 32


def tfds_load(folder: str, size: int):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    dataset = builder.as_dataset(split="+".join(builder.info.splits), as_supervised=True)
    return lambda: ((images, labels) for images, labels in dataset.batch(BATCH).prefetch(2))


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
    for _, _batch in zip(range(3), batches(), strict=False):
        pass
    start, images = time.perf_counter(), 0
    for batch, _ in batches():
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
        dataset = tfds.load("nih_chest_xray/benchmark", data_dir=f"{data}/{size}png", split="all")
        folders[f"TFDS's default, {size}"] = [_default(dataset, size, f"{data}/{size}default"), size]
    print(json.dumps(folders))


def _default(dataset, size: int, data_dir: str) -> str:
    """Stores the same pixels as TFDS's Image feature encodes an array."""
    import tensorflow_datasets as tfds

    class Default(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        name = f"default{size}"

        def _info(self):
            image = tfds.features.Image(shape=(size, size, 1))
            features = {"image": image, "label": tfds.features.ClassLabel(num_classes=2)}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, example in enumerate(tfds.as_numpy(dataset)):
                yield number, {"image": example["image"], "label": example["label"]}

    builder = Default(data_dir=data_dir)
    builder.download_and_prepare()
    return str(builder.data_path)


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

"""Measures whether a network learns augmentation instead of nodules: what it says of held-out images without a nodule.

    python tests/benchmarks/shortcut.py [DIR] [--patients 60] [--seeds 0 1 2]

Trains a small network on `nodule`, `nodule_augmented` and `nodule_augmented_matched`, from each seed, on drawn images
of as many patients as `sample` has, or on the images of the real release that DIR holds, split 60 / 20 / 20. A row
gives the mean probability of a nodule that the network gives validation and test images without one: as they are, and
each of them rotated, with black and with mirrored corners, and flipped. Where augmentation says nothing of the class,
these figures are those of `nodule`, within the spread of the seeds. The table before tells how well the number of black
corners alone, without any network, tells training images with a nodule from those without one (AUROC, 0.5 by chance),
and rotated images from all others.
"""

import argparse
import contextlib
import sys
import tempfile
import warnings
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow_datasets as tfds
from sklearn.metrics import roc_auc_score

import nih_chest_xray
from nih_chest_xray.images.augmentation import augment

CONFIGS = ("nodule", "nodule_augmented", "nodule_augmented_matched")
SIDE, NATIVE = 96, 1024
STEPS, BATCH = 400, 16
BLACK = 8
"""Grey levels below which a corner counts as black."""
DRAWS = (0.1, 0.4, 0.6, 0.9)
"""Each held-out image is rotated by the angle of one of these: 8.4 and 3.6 degrees, in both directions."""


def build(name: str, source: str | None, patients: int, data_dir: str, **more: object) -> tfds.core.DatasetBuilder:
    fields = {"based_on": name, "name": f"{name}_{more.get('image_size', SIDE)}", "image_size": SIDE} | more
    fields |= {"validation_fraction": 0.2, "test_fraction": 0.2, "phantom_patients": 0 if source else patients}
    config = nih_chest_xray.NihChestXrayConfig(**fields, allow_missing_images=True)
    builder = nih_chest_xray.Builder(config=config, data_dir=data_dir)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # Images are missing.
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source))
    return builder


def read(builder: tfds.core.DatasetBuilder, *subsets: str) -> dict[str, np.ndarray]:
    there = [subset for subset in subsets if subset in builder.info.splits]
    examples = [example for subset in there for example in tfds.as_numpy(builder.as_dataset(split=subset))]
    return {key: np.array([example[key] for example in examples]) for key in ("image", "label", "augmentation")}


def make_network() -> keras.Model:
    layers = [keras.layers.Input((SIDE, SIDE, 1)), keras.layers.Rescaling(1 / 127.5, -1)]
    for filters in (16, 32, 64):
        layers += [keras.layers.Conv2D(filters, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(1, activation="sigmoid")]
    return keras.Sequential(layers)


def held_out(negatives: np.ndarray) -> dict[str, np.ndarray]:
    """The held-out images of 1024 pixels, changed there as the package changes them, and then averaged to `SIDE`."""

    def changed(name: str, fill: str = "black") -> np.ndarray:
        config = nih_chest_xray.NihChestXrayConfig(name="held_out", rotation_fill=fill)
        return shrunk([augment(image, name, DRAWS[n % len(DRAWS)], config) for n, image in enumerate(negatives)])

    def shrunk(images: list[np.ndarray]) -> np.ndarray:
        return np.array([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])[..., None]

    return {
        "as they are": shrunk(list(negatives)),
        "rotated, black": changed("rotation"),
        "rotated, mirrored": changed("rotation", "reflect"),
        "flipped": changed("horizontal_flip"),
    }


def corner_scores(train: dict[str, np.ndarray]) -> tuple[float, float]:
    """AUROC of the number of black corners, for the class and for rotation."""
    corners = train["image"][:, [0, 0, -1, -1], [0, -1, 0, -1], 0]
    rotated = train["augmentation"] == 1
    score = (corners < BLACK).sum(axis=1)
    of_rotated = roc_auc_score(rotated, score) if rotated.any() else float("nan")
    return roc_auc_score(train["label"], score), of_rotated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", nargs="?", help="the real release, or a part of it (default: drawn images)")
    parser.add_argument("--patients", type=int, default=60, help="synthetic patients to draw")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = options.dir and str(Path(options.dir).resolve())
        whole = build("nodule", source, options.patients, folder, image_size=NATIVE)
        others = read(whole, "validation", "test")
        negatives = held_out(others["image"][others["label"] == 0][..., 0])
        trains = {name: read(build(name, source, options.patients, folder), "train") for name in CONFIGS}
    print("| config | training images | with a nodule | augmented | black corners: class | rotation |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, train in trains.items():
        of_class, of_rotated = corner_scores(train)
        counts = f"{len(train['label'])} | {train['label'].sum()} | {(train['augmentation'] > 0).sum()}"
        print(f"| `{name}` | {counts} | {of_class:.2f} | {of_rotated:.2f} |")
    print(f"\n{len(negatives['as they are'])} held-out images without a nodule\n")
    print(f"| config | seed | {' | '.join(negatives)} |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, train in trains.items():
        weight = len(train["label"]) / (2 * np.bincount(train["label"], minlength=2))
        for seed in options.seeds:
            keras.utils.set_random_seed(seed)
            network = make_network()
            network.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
            epochs = -(-STEPS // -(-len(train["label"]) // BATCH))
            network.fit(train["image"], train["label"], BATCH, epochs, 0, class_weight=dict(enumerate(weight)))
            said = [network.predict(images, verbose=0).mean() for images in negatives.values()]
            print(f"| `{name}` | {seed} | {' | '.join(f'{mean:.2f}' for mean in said)} |", flush=True)


if __name__ == "__main__":
    main()

"""Draws the README's figure: images of the config `sample`, and what each built-in augmentation does to one of them.

python tests/figures/draw.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from nih_chest_xray.config import NAMED_CONFIGS, NihChestXrayConfig
from nih_chest_xray.images.augmentation import augment, move
from nih_chest_xray.images.codec import decode, resize
from nih_chest_xray.images.transforms import BUILT_IN
from nih_chest_xray.phantom.release import Phantom
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release.release import known_files
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.vocabulary import Box

FIGURE = Path(__file__).parent / "sample.png"
SAMPLE = next(config for config in NAMED_CONFIGS if config.name == "sample")
REFLECT = NihChestXrayConfig(name="reflect", rotation_fill="reflect")
DRAW = 0.85
"""A large amount of each, but not the largest."""
COLUMNS = 5


def draw(path: Path) -> None:
    """Two images of each class and a training nodule in the first row; below, that nodule augmented in each way."""
    release = Phantom(SAMPLE.phantom_patients).as_release()
    rows = make_plan(read_tables(release, SAMPLE, known_files()), SAMPLE).manifest
    train = rows[(rows["subset"] == "train") & (rows["augmentation"] == "none")]
    of_class = [
        train[(train["label"] == label) & (train["view_position"] == view)].iloc[0]
        for label in ("No Finding", "Nodule")
        for view in ("PA", "AP")
    ]
    others = train[(train["boxes"].str.len() > 0) & ~train["image_name"].isin([row["image_name"] for row in of_class])]
    source = others.iloc[0]
    names = {row["image_name"] for row in (*of_class, source)}
    pixels = {image.name: decode(image.read()) for image in release.images(frozenset(names))}
    figure, axes = plt.subplots(3, COLUMNS, figsize=(2.8 * COLUMNS, 9.4), layout="constrained")
    for axis, row in zip(axes.flat, (*of_class, source), strict=False):
        title = f"{row['label']}, {row['view_position']}\n{row['image_name']}"
        show(axis, pixels[row["image_name"]], row["boxes"] if row is source else (), title)
    ways = [("rotation", SAMPLE, ", black"), ("rotation", REFLECT, ", reflect")]
    ways += [(name, REFLECT, "") for name in (*BUILT_IN[1:], "rotation+contrast")]
    for axis, (name, config, fill) in zip(list(axes.flat)[COLUMNS:], ways, strict=True):
        image = augment(pixels[source["image_name"]], name, DRAW, config)
        show(axis, image, move(source["boxes"], name, DRAW, config), f"{name}{fill}")
    figure.savefig(path, dpi=80)


def show(axis: Axes, image: np.ndarray, boxes: tuple[Box, ...], title: str) -> None:
    axis.imshow(resize(image, SAMPLE.image_size), cmap="gray", vmin=0, vmax=255)
    axis.set_title(title, fontsize=9)
    axis.axis("off")
    for box in boxes:
        size = ((box.xmax - box.xmin) * SAMPLE.image_size, (box.ymax - box.ymin) * SAMPLE.image_size)
        corner = (box.xmin * SAMPLE.image_size, box.ymin * SAMPLE.image_size)
        axis.add_patch(plt.Rectangle(corner, *size, fill=False, color="tab:orange"))


if __name__ == "__main__":
    draw(FIGURE)
    print(FIGURE)

"""Draws the README's figure from the built `sample` config.

python tests/figures/draw.py [--data_dir DIR]
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import tensorflow_datasets as tfds

FIGURE = Path(__file__).parent / "sample.png"


def draw(data_dir: str | None, path: Path) -> None:
    """Two images of each class above, and below two training nodules with their boxes, each beside its copy."""
    builder = tfds.builder("nih_chest_xray/sample", data_dir=data_dir)
    features = builder.info.features.items()
    names = {key: feature.names for key, feature in features if isinstance(feature, tfds.features.ClassLabel)}
    train = {
        example["image_name"].decode(): {
            "image": example["image"],
            "boxes": example["bboxes"]["bbox"][example["bboxes"]["finding"] >= 0],
            **{key: values[int(example[key])] for key, values in names.items()},
        }
        for example in tfds.as_numpy(builder.as_dataset(split="train"))
    }

    def first(*others: str, **wanted: str) -> str:
        found = (name for name in sorted(train) if all(train[name][key] == value for key, value in wanted.items()))
        return next(name for name in found if name not in others)

    def copy(augmentation: str) -> list[str]:
        name = first(augmentation=augmentation)
        return [name.replace("_aug1", ""), name]

    below = copy("rotation") + copy("horizontal_flip")
    above = [
        first(*below, label=label, view_position=view, augmentation="none")
        for label in ("No Finding", "Nodule")
        for view in ("PA", "AP")
    ]
    figure, axes = plt.subplots(2, 4, figsize=(12, 6.6), layout="constrained")
    for axis, name in zip(axes.flat, above + below, strict=True):
        example = train[name]
        how = "" if example["augmentation"] == "none" else f", {example['augmentation'].replace('_', ' ')}"
        axis.imshow(example["image"][:, :, 0], cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{example['label']}, {example['view_position']}{how}\n{name}", fontsize=9)
        axis.axis("off")
        height, width, _ = example["image"].shape
        for ymin, xmin, ymax, xmax in example["boxes"] if name in below else ():
            size = ((xmax - xmin) * width, (ymax - ymin) * height)
            axis.add_patch(plt.Rectangle((xmin * width, ymin * height), *size, fill=False, color="tab:orange"))
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", help="where sample was built (default: TFDS's own)")
    draw(parser.parse_args().data_dir, FIGURE)
    print(FIGURE)

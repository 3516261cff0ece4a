"""Draws the README's figure from the built `sample` config.

python tests/figures/draw.py [--data_dir DIR]
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import tensorflow_datasets as tfds

FIGURE = Path(__file__).parent / "sample.png"


def draw(data_dir: str | None, path: Path) -> None:
    """Two images of each class above, and below two training nodules, each beside its augmented copy."""
    builder = tfds.builder("nih_chest_xray/sample", data_dir=data_dir)
    features = builder.info.features.items()
    names = {key: feature.names for key, feature in features if isinstance(feature, tfds.features.ClassLabel)}
    train = {
        example["image_name"].decode(): {
            "image": example["image"],
            **{key: values[int(example[key])] for key, values in names.items()},
        }
        for example in tfds.as_numpy(builder.as_dataset(split="train"))
    }

    def first(**wanted: str) -> str:
        return next(name for name in sorted(train) if all(train[name][k] == v for k, v in wanted.items()))

    def copy(augmentation: str) -> list[str]:
        name = first(augmentation=augmentation)
        return [name.replace("_aug1", ""), name]

    above = [
        first(label=label, view_position=view, augmentation="none")
        for label in ("No Finding", "Nodule")
        for view in ("PA", "AP")
    ]
    figure, axes = plt.subplots(2, 4, figsize=(12, 6.6), layout="constrained")
    for axis, name in zip(axes.flat, above + copy("rotation") + copy("horizontal_flip"), strict=True):
        example = train[name]
        how = "" if example["augmentation"] == "none" else f", {example['augmentation'].replace('_', ' ')}"
        axis.imshow(example["image"][:, :, 0], cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{example['label']}, {example['view_position']}{how}\n{name}", fontsize=9)
        axis.axis("off")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", help="where sample was built (default: TFDS's own)")
    draw(parser.parse_args().data_dir, FIGURE)
    print(FIGURE)

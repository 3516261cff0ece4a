"""Completeness: checks that the folder of a built dataset holds all of its files, each with the right size."""

from __future__ import annotations

import json

import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.building.features import label_files


def shard_sizes(folder: epath.Path, info: tfds.core.DatasetInfo) -> dict[str, int]:
    """Returns the size of each shard in bytes, by file name."""
    paths = (epath.Path(path) for split in info.splits.values() for path in split.filepaths)
    return {path.name: (folder / path.name).stat().length for path in paths}


def missing_parts(folder: epath.Path) -> list[str]:
    """Returns what a dataset lacks: files that do not exist, and shards whose size is not what the build wrote.

    TFDS itself accepts any folder with the dataset's name. An interrupted copy leaves half a dataset, and so does a
    `tfds build --overwrite` that was killed while it deleted the old one.

    Args:
      folder: The folder of one version of one config.
    """
    files = ("dataset_info.json", "features.json", "metadata.json", "metadata.csv", "examples.csv")
    if missing := [f"{name} does not exist" for name in files if not (folder / name).exists()]:
        return missing
    try:
        info = tfds.builder_from_directory(folder).info
        sizes = json.loads((folder / "metadata.json").read_text()).get("shard_sizes", {})
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        return [f"it cannot be opened ({type(error).__name__}: {error})"]
    missing = [f"{name} does not exist" for name in label_files(info.features) if not (folder / name).exists()]
    for path in (epath.Path(path) for split in info.splits.values() for path in split.filepaths):
        if not path.exists():
            missing.append(f"{path.name} does not exist")
        elif (size := path.stat().length) != sizes.get(path.name, size):
            missing.append(f"{path.name} has {size:,} bytes; expected {sizes[path.name]:,}")
    return missing

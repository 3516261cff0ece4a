"""WebDataset: writes tar shards, with an image and a JSON file for each example."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.errors import UsageError
from nih_chest_xray.formats.stored import Reader, features_of, shard_count
from nih_chest_xray.vocabulary import findings_of

try:
    import webdataset
except ImportError as error:
    raise UsageError(
        f"{error.name} is not installed; get what this export needs with `pip install 'nih_chest_xray[export]'`"
    ) from error

SHARD = 250_000_000
"""Bytes of a shard, about; few enough that each worker of a DataLoader gets shards of its own."""
_MULTI_HOT = ("label", "findings")
"""Features with a 1 for each finding, the label where an image may have several. Radiologists' answers may be -1."""
_TIME = 0.0
"""Modification time of the files in a shard, so that the same dataset gives the same bytes."""

ABOUT = (
    "Each example is an image, with the dataset's own bytes (of raw pixels a PNG), and a JSON object of its features."
    " In it a class is a number, with its name beside it (`label`, `label_name`); `findings_names` lists the findings."
    " Boxes fill lists of a fixed length: where there is none, `bbox` is zeros and `finding` is -1."
)
"""What a reader of the files must know, for the dataset card."""


def write(built: Built, reader: Reader, folder: Path) -> str:
    """Writes `<subset>-000000.tar` and so on, with `<stem>.png` (or `.jpg`) and `<stem>.json` of each example.

    The examples of a subset are in the order of the dataset's records, which is that of a hash, in shards of as many
    examples each.

    Args:
      built: The dataset.
      reader: Reads its examples.
      folder: An empty folder.

    Returns:
      What goes before the text of README.md: nothing.

    Raises:
      CatalogError: A record cannot be read.
      OSError: A file cannot be written.
    """
    features = features_of(built)
    for subset in built.subsets:
        for shard, _, examples in reader.shards(subset, SHARD):
            path = folder / f"{subset}-{shard:06d}.tar"
            with (
                path.open("wb") as file,
                webdataset.TarWriter(file, encoder=False, mtime=_TIME, user="", group="") as tar,
            ):
                for example in examples:
                    text = json.dumps(described(features, example.fields)).encode()
                    tar.write({"__key__": example.stem, example.extension: example.content, "json": text})
    return ""


def described(features: tfds.features.FeaturesDict, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an example's fields for JSON: as `tfds.load` has them, with names beside the numbers of classes.

    The class of `label` is named in `label_name`, and so on; the findings that have a 1 in `findings` are listed in
    `findings_names`. A fraction has as few digits as give the same float32. A box that only fills the list has the
    finding -1 and the name null.

    Args:
      features: The dataset's features.
      fields: As `StoredExample` has them.
    """
    found: dict[str, Any] = {}
    for name, value in fields.items():
        feature = features[name]
        if isinstance(feature, tfds.features.Sequence):
            found[name] = {
                part: described_part
                for key, inner in feature.feature.items()
                for part, described_part in _of_several(key, inner, value[key])
            }
            continue
        found[name] = _short(value)
        if isinstance(feature, tfds.features.ClassLabel):
            found[f"{name}_name"] = _name(feature, value)
        elif name in _MULTI_HOT and isinstance(value, list):
            found[f"{name}_names"] = findings_of(value)
    return found


def _of_several(key: str, feature: tfds.features.FeatureConnector, values: list[Any]) -> Iterator[tuple[str, Any]]:
    yield key, _short(values)
    if isinstance(feature, tfds.features.ClassLabel):
        yield f"{key}_name", [_name(feature, value) for value in values]


def _name(feature: tfds.features.ClassLabel, value: int) -> str | None:
    return feature.names[value] if value >= 0 else None


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(each) for each in value]
    return float(str(np.float32(value))) if isinstance(value, float) else value


def reading(built: Built, folder: str) -> str:
    """Returns Python that reads a subset of an export in a folder."""
    subset = built.training_split.partition("+")[0]
    last = shard_count(built, subset, SHARD) - 1
    shards = f"{folder}/{subset}-{{000000..{last:06d}}}.tar"
    image = "jpg" if built.config["image_format"] == "jpeg" else "png"
    return (
        "import webdataset\n\n"
        f"samples = webdataset.WebDataset({json.dumps(shards, ensure_ascii=False)}, shardshuffle=False)\n"
        f'for image, example in samples.decode("pill").to_tuple("{image}", "json"):\n'
        '    ...  # example["label"], example["image_name"] and so on\n'
    )

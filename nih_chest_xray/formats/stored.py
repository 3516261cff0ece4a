"""Stored: reads the examples of a built dataset with their images as the encoded bytes that are stored."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from nih_chest_xray.building.completeness import missing_parts
from nih_chest_xray.building.features import make_features
from nih_chest_xray.catalog.datasets import Built, damaged, refuse_overlong_records
from nih_chest_xray.catalog.statistics import class_name
from nih_chest_xray.errors import ImageError, one_line, shown
from nih_chest_xray.images import codec, png
from nih_chest_xray.verification.shards import read_shard, shards
from nih_chest_xray.vocabulary import VIEWS, findings_of, label_string, source_of

_EXTENSIONS = {png.SIGNATURE: "png", b"\xff\xd8\xff": "jpg"}
"""By the bytes that an image begins with."""
_NAMED = 3
"""Broken records that a message names."""


@dataclasses.dataclass(frozen=True, slots=True)
class StoredExample:
    """An example.

    Attributes:
      name: The image name.
      label: The label as in `metadata.csv`: the class, or the NIH's string of several findings.
      fields: Every feature but the image, in the order of the schema. A class is its number, several numbers are a
        list of them, and `bboxes` is a dict of two lists. A fraction is a float32's value.
      content: The image, encoded.
      extension: What the image is: 'png' or 'jpg'.
    """

    name: str
    label: str
    fields: dict[str, Any]
    content: bytes
    extension: str

    @property
    def stem(self) -> str:
        """The image name without its ending, which is `.png` also where the image is stored as a JPEG."""
        return self.name.removesuffix(".png")

    @property
    def file(self) -> str:
        """The name of a file of the image, whose ending says what the image is."""
        return f"{self.stem}.{self.extension}"


class Reader:
    """Reads the examples of a dataset, one subset after another, and checks them against `metadata.csv`."""

    def __init__(self, built: Built, read: Callable[[], object]) -> None:
        """Takes a dataset, and a function to call for each example.

        Raises:
          CatalogError: The dataset lacks files, or a shard has another size than the build wrote.
        """
        if missing := missing_parts(built.path):
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise damaged(built.path, f"{missing[0]}{more}")
        refuse_overlong_records(built)
        self._built, self._read = built, read
        self._schema = _Schema(features_of(built))
        self._described: list[tuple[str, str, str, tuple[str, ...], str]] = []

    def described(self) -> pd.DataFrame:
        """Returns the `image_name`, `subset`, `label`, `findings` and `view_position` of each example read so far."""
        columns = ["image_name", "subset", "label", "findings", "view_position"]
        return pd.DataFrame(self._described, columns=columns)

    def examples(self, subset: str) -> Iterator[StoredExample]:
        """Yields the examples of a subset, in the order of its shards. One at a time is in memory.

        Raises:
          CatalogError: Records are broken, which it names, or are not those that `metadata.csv` lists.
        """
        built, problems = self._built, []
        table = built.table[built.table["subset"] == subset]
        listed = dict(zip(table["image_name"], table["label"], strict=True))
        for name, record in self._records(subset):
            try:
                example = self._schema.parse(record)
                if listed.pop(example.name, None) != example.label:
                    raise ValueError(f"{example.name}, {example.label}, is not what metadata.csv lists in {subset}")
            except ValueError as error:
                problems.append(f"{name}: {error}")
                continue
            if not problems:  # Else the rest is read only to name all that is broken.
                findings, view = findings_of(example.fields["findings"]), VIEWS[example.fields["view_position"]]
                self._described.append((example.name, subset, example.label, findings, view))
                yield example
            self._read()
        if problems:
            more = f", and {len(problems) - _NAMED:,} more" if len(problems) > _NAMED else ""
            raise damaged(built.path, f"its records ({'; '.join(problems[:_NAMED])}{more})")
        if listed:
            raise damaged(built.path, f"its records have no {min(listed)}, which metadata.csv lists in {subset}")

    def shards(self, subset: str, size: int) -> Iterator[tuple[int, int, Iterator[StoredExample]]]:
        """Yields the number, and the examples, of each of the shards into which a subset is to be written.

        Each has as many examples as the others, to one. The examples of a shard must be read before the next.

        Args:
          subset: The subset.
          size: Bytes of a shard, about.

        Yields:
          The shard's number from 0, the number of shards, and the shard's examples.

        Raises:
          CatalogError: As `examples`.
        """
        count = shard_count(self._built, subset, size)
        total = max(int((self._built.table["subset"] == subset).sum()), 1)
        numbered = enumerate(self.examples(subset))
        for shard, examples in itertools.groupby(numbered, lambda pair: pair[0] * count // total):
            yield shard, count, (example for _, example in examples)

    def _records(self, subset: str) -> Iterator[tuple[str, bytes | str]]:
        for of, path in shards(self._built.builder.info):
            if of == subset:
                for number, record in enumerate(read_shard(path, self._built.file_format)):
                    yield f"{path.name}, record {number}", record


def shard_count(built: Built, subset: str, size: int) -> int:
    """Returns into how many shards of about `size` bytes a subset is written."""
    examples = int((built.table["subset"] == subset).sum())
    return max(1, min(math.ceil(built.builder.info.splits[subset].num_bytes / size), examples))


def features_of(built: Built) -> tfds.features.FeaturesDict:
    """Returns the features stored with a dataset, in the order of the schema; TFDS stores them in that of names."""
    stored = built.builder.info.features
    return tfds.features.FeaturesDict({name: stored[name] for name in make_features(built.made)})


class _Schema:
    """Parses records with the features of a dataset."""

    def __init__(self, features: tfds.features.FeaturesDict) -> None:
        self._features = features
        self._names = [name for name in features if name != "image"]
        self._classes = [name for name in self._names if isinstance(features[name], tfds.features.ClassLabel)]
        # Pixels that are stored as they are need no decoder.
        self._decoders = {"image": tfds.decode.SkipDecoding()} if is_encoded(features["image"]) else None

    def parse(self, record: bytes | str) -> StoredExample:
        """Returns a record's example.

        Args:
          record: Its bytes, or what is wrong with them.

        Raises:
          ValueError: The record is broken, or does not fit the schema.
        """
        if isinstance(record, str):
            raise ValueError(record)
        try:
            example = self._features.deserialize_example_np(record, decoders=self._decoders)
            fields = {name: _plain(self._features[name], example[name]) for name in self._names}
            for name in self._classes:
                class_name(self._features[name].names, fields[name])
            name, label = fields["image_name"], self._label(fields["label"])
        except Exception as error:  # A wrong record can cause any error in Protobuf, TFDS or NumPy.
            raise ValueError(f"does not fit the schema in features.json ({one_line(error)})") from error
        if source_of(name) is None:  # It will be the name of a file.
            raise ValueError(f"has the image name {shown(name)}, which is not valid")
        try:
            return StoredExample(name, label, fields, *encoded(example["image"]))
        except ImageError as error:
            raise ValueError(f"{name}: {error}") from error

    def _label(self, label: Any) -> str:
        if "label" in self._classes:
            return self._features["label"].names[label]
        return label_string(findings_of(label))


def is_encoded(feature: tfds.features.FeatureConnector) -> bool:
    """Returns whether images are stored as PNG or JPEG, and not as the bytes of their pixels."""
    return isinstance(feature, tfds.features.Image)


def encoded(image: bytes | np.ndarray) -> tuple[bytes, str]:
    """Returns an image's encoded bytes and its extension, 'png' or 'jpg'.

    Args:
      image: The bytes of a PNG or JPEG, which stay as they are, or (height, width, 1) uint8, which becomes a PNG.

    Raises:
      ImageError: The bytes are neither a PNG nor a JPEG, by those that they begin with.
    """
    if isinstance(image, np.ndarray):
        return codec.encode(image[:, :, 0], "png"), "png"
    for start, extension in _EXTENSIONS.items():
        if image and image.startswith(start):
            return image, extension
    raise ImageError(f"neither a PNG nor a JPEG: it begins with {shown(image and image[:8])}")


def _plain(feature: tfds.features.FeatureConnector, value: Any) -> Any:
    """Returns a feature's value in Python's own types."""
    if isinstance(feature, tfds.features.Sequence):
        return {key: [_plain(inner, each) for each in value[key]] for key, inner in feature.feature.items()}
    if isinstance(feature, tfds.features.Text):
        return bytes(value).decode()
    array = np.asarray(value, feature.np_dtype)
    if array.shape != feature.shape:
        raise ValueError(f"a value of shape {array.shape}; expected {feature.shape}")
    return array.tolist()

"""Stored: reads chosen examples from a dataset's records, and gives their images as they are stored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.images.codec import decode_stored, encode
from nih_chest_xray.verification.shards import chosen_records, shards

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "raw": ".png"}
"""The suffix of a file that holds exactly the stored pixels, by image format."""


def read_chosen(built: Built, wanted: pd.DataFrame) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields the row and the example, with its image as it is stored, of each wanted row, in the order of the records.

    Only these records are read.

    Args:
      built: The dataset.
      wanted: Rows of the table that `statistics.read_examples` returns.

    Raises:
      Exception: Whatever a damaged file causes in the readers of the formats.
    """
    features = built.builder.info.features
    for subset, rows in wanted.groupby("subset", sort=False):
        by_number = {row.number: row for row in rows.itertuples(index=False)}
        for number, record in _records(built, str(subset), sorted(by_number)):
            example = features.deserialize_example_np(record, decoders={"image": tfds.decode.SkipDecoding()})
            if example["image_name"].decode() != by_number[number].image_name:
                raise ValueError(f"record {number} of {subset} has changed since it was read")
            yield by_number[number], example


def _records(built: Built, subset: str, numbers: list[int]) -> Iterator[tuple[int, bytes]]:
    paths = [path for name, path in shards(built.builder.info) if name == subset]
    lengths = built.builder.info.splits[subset].shard_lengths
    starts = itertools.accumulate(lengths, initial=0)
    for path, start, length in zip(paths, starts, lengths, strict=False):
        inside = [number for number in numbers if start <= number < start + length]
        if inside:
            read = chosen_records(path, built.file_format, [number - start for number in inside])
            yield from zip(inside, read, strict=True)


def stored_pixels(built: Built, example: Mapping[str, Any]) -> np.ndarray:
    """Returns the pixels of an example whose image is as it is stored, (height, width) uint8.

    Raises:
      ImageError: The image cannot be decoded.
    """
    return decode_stored(example["image"], built.config["image_format"])


def stored_file(built: Built, example: dict[str, Any]) -> bytes:
    """Returns the bytes of a file that has exactly the stored pixels, with a suffix of `SUFFIXES`.

    Raises:
      ImageError: Raw pixels are not those of an image.
    """
    if built.config["image_format"] == "raw":
        return encode(stored_pixels(built, example), "png")
    return example["image"]

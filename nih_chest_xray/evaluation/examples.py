"""Examples: reads a subset's records, in the order in which TFDS reads them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import tensorflow_datasets as tfds

from nih_chest_xray.catalog.datasets import Built, damaged, damaged_records, refuse_overlong_records


def read_examples(built: Built, subset: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the image name and the features of each example of a subset; the image is its encoded bytes.

    Raises:
      CatalogError: The records cannot be read.
    """
    refuse_overlong_records(built)
    raw = {"image": tfds.decode.SkipDecoding()}
    try:
        if built.file_format == "array_record":
            examples = built.builder.as_data_source(subset, decoders=raw)
        else:
            examples = tfds.as_numpy(built.builder.as_dataset(split=subset, decoders=raw))
        for example in examples:
            yield example["image_name"].decode(), example
    except Exception as error:  # A damaged file can cause any error in TensorFlow, Arrow or array_record.
        raise damaged_records(built, error) from error


def find_examples(built: Built, subset: str, names: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields some examples of a subset, each once, as `read_examples` does.

    Raises:
      CatalogError: The records cannot be read, or lack an image.
    """
    left = set(names)
    if not left:
        return
    for name, example in read_examples(built, subset):
        if name in left:
            left.remove(name)
            yield name, example
    if left:
        raise damaged(built.path, f"its records have no {min(left)}, which metadata.csv lists in {subset}")

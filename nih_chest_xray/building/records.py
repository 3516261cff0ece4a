"""Records: makes an example's bytes as TFDS does, but in any thread, and in a quarter of the time.

TFDS serialises in the one thread that takes the examples, which keeps more than a few cores from being used.
`tests/building/test_records.py` compares the bytes with TFDS's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from nih_chest_xray.building.tfds_internals import new_example

_Values = Callable[[Any], list[Any]]
"""Makes a column's values, flat, of a feature's value."""


class Serializer:
    """Makes the bytes of examples: serialised `tf.train.Example`s whose columns are in the order of their names.

    TFDS leaves that order to protobuf, whose maps are unordered, so that it changes from process to process. Two builds
    of the same examples would then differ in their bytes, and so in the digests of their files.
    """

    def __init__(self, features: tfds.features.FeaturesDict) -> None:
        """Takes the features of the examples."""
        self._columns = list(_columns(features))

    def __call__(self, example: Mapping[str, Any]) -> bytes:
        """Returns an example's bytes. It may be called in several threads at once.

        Args:
          example: The example, as TFDS takes it from `_generate_examples`.

        Raises:
          ValueError: A value is not what its feature takes.
        """
        record = new_example()
        columns = record.features.feature
        for name, kind, feature, values in self._columns:
            stored = getattr(columns[name], kind)
            stored.SetInParent()  # A column without values has a kind, too.
            try:
                stored.value.extend(values(example[feature]))
            except Exception as error:  # TFDS raises any.
                raise ValueError(f"the feature {feature!r} cannot store {example[feature]!r:.200}: {error}") from error
        return record.SerializeToString(deterministic=True)


def _columns(features: tfds.features.FeaturesDict) -> Iterator[tuple[str, str, str, _Values]]:
    """Yields of each column its name, its kind, the feature that it belongs to, and what makes its values."""
    for name, feature in features.items():
        if isinstance(feature, tfds.features.Sequence):
            for part, each in feature.feature.items():
                yield f"{name}/{part}", _kind(each), name, _values_of_sequence(feature, part, _values(each))
        else:
            yield name, _kind(feature), name, _values(feature)


def _kind(feature: tfds.features.FeatureConnector) -> str:
    """Returns which of the three lists of a `tf.train.Feature` a feature's values are in."""
    kind = np.dtype(feature.get_serialized_info().np_dtype).kind
    return "int64_list" if kind in "iu" else "float_list" if kind == "f" else "bytes_list"


def _values_of_sequence(sequence: tfds.features.Sequence, part: str, values: _Values) -> _Values:
    length = sequence.get_tensor_info()[part].shape[0]

    def of_items(items: list[Mapping[str, Any]]) -> list[Any]:
        if len(items) != length:
            raise ValueError(f"{len(items)} items with {part!r}; expected {length}")
        return [value for item in items for value in values(item[part])]

    return of_items


def _values(feature: tfds.features.FeatureConnector) -> _Values:
    """Returns the short way to make a feature's values; for anything else that way leaves it to TFDS."""

    def by_tfds(value: Any) -> list[Any]:
        encoded = feature.encode_example(value)
        return [encoded] if isinstance(encoded, bytes) else np.ravel(encoded).tolist()

    def of_array(value: Any) -> list[Any]:
        fits = isinstance(value, np.ndarray) and value.dtype == feature.np_dtype and value.shape == feature.shape
        return value.ravel().tolist() if fits else by_tfds(value)

    if isinstance(feature, tfds.features.Text):
        return lambda value: [value.encode()]
    if isinstance(feature, tfds.features.Image):
        return lambda value: [value] if isinstance(value, bytes) else by_tfds(value)
    if isinstance(feature, tfds.features.ClassLabel):
        numbers = {name: number for number, name in enumerate(feature.names)}
        return lambda value: [numbers[value]] if value in numbers else by_tfds(value)
    if isinstance(feature, tfds.features.BBoxFeature):
        return lambda value: by_tfds(value) if value.any() else [0.0] * 4
    return by_tfds if _kind(feature) == "bytes_list" else of_array

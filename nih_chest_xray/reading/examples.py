"""Examples: a record to an example, with the values, types and shapes that TFDS gives it, in half of its time.

TFDS looks at each feature of each record anew, and decodes a PNG in twice the time that `images.png` takes. Here what
the features say is looked at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from nih_chest_xray.building.features import stored_format
from nih_chest_xray.building.tfds_internals import fields_of
from nih_chest_xray.errors import ImageError, one_line
from nih_chest_xray.images.codec import decode_stored

_VERIFY = "`nih-chest-xray verify` names what is damaged in the dataset"


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    """How a field of a record becomes a value.

    Attributes:
      key: The field's name in the record.
      kind: Which list of a `tf.train.Feature` holds its values: 'bytes_list', 'int64_list' or 'float_list'.
      number: How many values there are.
      dtype: The value's type.
      shape: The value's shape; () for a plain number or bytes.
      make: Makes the value of the list, the type and the shape.
    """

    key: str
    kind: str
    number: int
    dtype: np.dtype
    shape: tuple[int, ...]
    make: Callable[[Sequence[Any], np.dtype, tuple[int, ...]], Any]


class ExampleParser:
    """Makes examples of records. It can be sent to other processes."""

    def __init__(self, features: tfds.features.FeaturesDict) -> None:
        """Takes the features of the dataset, or some of them.

        Raises:
          NotImplementedError: There are features that this package does not store.
        """
        self._fields: dict[str, _Field | dict[str, _Field]] = dict(_fields(features))
        self._image_format = stored_format(features) if "image" in features else ""

    def parse(self, record: bytes) -> dict[str, Any]:
        """Returns the example that TFDS's `deserialize_example_np` returns; its arrays may be written to.

        Raises:
          ImageError: The image is damaged, or has another shape than the features declare.
          ValueError: The record does not fit the features.
        """
        try:
            stored = fields_of(record)
            example: dict[str, Any] = {}
            for name, field in self._fields.items():
                if isinstance(field, dict):
                    example[name] = {inner: _value(stored, each) for inner, each in field.items()}
                else:
                    example[name] = _value(stored, field)
        except Exception as error:  # A wrong record can cause any error in Protobuf or NumPy.
            raise ValueError(f"a record does not fit features.json ({one_line(error)}); {_VERIFY}") from error
        if self._image_format:
            field = self._fields["image"]
            assert isinstance(field, _Field)
            example["image"] = self._pixels(example["image"], field.shape, example)
        return example

    def _pixels(self, content: bytes, shape: tuple[int, ...], example: dict[str, Any]) -> np.ndarray:
        """Returns (height, width, 1) uint8."""
        try:
            pixels = decode_stored(content, self._image_format)[:, :, np.newaxis]
            if pixels.shape != shape:
                raise ImageError(f"the image is {pixels.shape}; features.json declares {shape}")
        except ImageError as error:
            name = example.get("image_name", b"an image").decode()
            raise ImageError(f"{name}: {error}; {_VERIFY}") from error
        return pixels


def _fields(features: tfds.features.FeaturesDict) -> Iterator[tuple[str, _Field | dict[str, _Field]]]:
    for name, feature in sorted(features.items()):  # TFDS has them in this order.
        if isinstance(feature, tfds.features.Sequence):
            if not isinstance(feature.feature, tfds.features.FeaturesDict):
                raise NotImplementedError(name)
            shapes = {inner: info.shape for inner, info in sorted(feature.get_tensor_info().items())}
            yield name, {inner: _field(f"{name}/{inner}", feature.feature[inner], shapes[inner]) for inner in shapes}
        else:
            yield name, _field(name, feature, None)


def _field(key: str, feature: tfds.features.FeatureConnector, shape_of_sequence: tuple[int, ...] | None) -> _Field:
    """Returns the field of a feature without inner ones; a sequence's value is a list, as TFDS has it."""
    shape, dtype = shape_of_sequence or feature.shape, np.dtype(feature.np_dtype)
    if key == "image" or type(feature) is tfds.features.Text:
        return _Field(key, "bytes_list", 1, dtype, shape, _bytes)
    known = (tfds.features.Tensor, tfds.features.Scalar, tfds.features.ClassLabel, tfds.features.BBoxFeature)
    kinds = {"i": "int64_list", "u": "int64_list", "f": "float_list"}
    plain = type(feature) is not tfds.features.Tensor or feature.to_json_content().encoding == "none"
    if type(feature) not in known or dtype.kind not in kinds or None in shape or not plain:
        raise NotImplementedError(key)
    make = _list if shape_of_sequence else _array if shape else _number
    return _Field(key, kinds[dtype.kind], int(np.prod(shape)), dtype, shape, make)


def _value(stored: Any, field: _Field) -> Any:
    values = getattr(stored[field.key], field.kind).value
    if len(values) != field.number:
        raise ValueError(f"{field.key} has {len(values)} values; expected {field.number} in a {field.kind}")
    return field.make(values, field.dtype, field.shape)


def _bytes(values: Sequence[bytes], _dtype: np.dtype, _shape: tuple[int, ...]) -> bytes:
    return values[0]


def _number(values: Sequence[Any], _dtype: np.dtype, _shape: tuple[int, ...]) -> int | float:
    return values[0]


def _array(values: Sequence[Any], dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return np.array(values, dtype).reshape(shape)


def _list(values: Sequence[Any], dtype: np.dtype, shape: tuple[int, ...]) -> list[Any]:
    return list(_array(values, dtype, shape))

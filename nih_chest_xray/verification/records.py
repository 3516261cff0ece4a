"""Records: reads a built dataset's shards in all their formats, record by record, and reports what is wrong with each.

TFDS stops at the first broken record and does not say which one it is. Here each record is named as in TFDS's own ids
(`tfds_id`): by the shard's file name, and the record's number in it, from 0.

A folder may hold the same examples in several formats (`nih-chest-xray convert`). The first format is the one that
dataset_info.json gives for the build. The records of the other formats are compared with its records.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tensorflow_datasets as tfds
from tqdm import tqdm

from nih_chest_xray.building.features import stored_format
from nih_chest_xray.building.parallel import map_in_order, worker_count
from nih_chest_xray.errors import ImageError, one_line
from nih_chest_xray.images.codec import decode_stored
from nih_chest_xray.verification.shards import formats, read_shard, shards
from nih_chest_xray.vocabulary import findings_of, label_string

_THUMBNAIL = 16
"""Side in pixels of the small copy that is kept of a JPEG."""
_JPEG_TOLERANCE = 3
"""Grey levels by which the means of two JPEGs of the same image may differ."""


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of a dataset, as far as they could be read.

    Attributes:
      table: A row for each record of the first format that could be parsed. Its columns are `subset`, `record` (the
        record's name), each feature except the image as a plain value, `image_digest` (None if the image cannot be
        decoded) and `record_digest` (the SHA-256 of the record). A class is given as its name, and a multi-label
        label as the NIH's string.
      problems: What is wrong with the records of each format; the first format comes first. Each text begins with the
        name of a record, or of an image that the format lacks.
      lengths: Number of records found in each existing shard, by format and file name.
    """

    table: pd.DataFrame
    problems: Mapping[str, tuple[str, ...]]
    lengths: Mapping[str, Mapping[str, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class ImageDigest:
    """What is kept of an image to compare it with another later.

    Attributes:
      sha256: The SHA-256 of the encoded bytes.
      pixels: The SHA-256 of the pixels, or of a JPEG the pixels of a small copy.
    """

    sha256: bytes
    pixels: bytes

    def same_pixels(self, other: ImageDigest, image_format: str) -> bool:
        """Returns whether both have the same pixels. JPEGs may differ by the rounding of another encoder."""
        if image_format != "jpeg":
            return self.pixels == other.pixels
        ours, theirs = (np.frombuffer(digest.pixels, np.uint8).astype(int) for digest in (self, other))
        return ours.shape == theirs.shape and bool((abs(ours - theirs) <= _JPEG_TOLERANCE).all())


def digest_image(content: bytes, image_format: str, shape: tuple[int, ...] | None = None) -> ImageDigest:
    """Decodes a whole image and returns its digest.

    Args:
      content: The image's encoded bytes.
      image_format: 'png', 'jpeg' or 'raw'.
      shape: The expected height and width in pixels; None accepts any.

    Raises:
      ImageError: The image cannot be decoded, or has another shape.
    """
    pixels = decode_stored(content, image_format)
    if shape is not None and pixels.shape != shape:
        has, declared = (f"{width} x {height}" for height, width in (pixels.shape, shape))
        raise ImageError(f"the image has {has} pixels; features.json declares {declared}")
    if image_format != "jpeg":
        kept = hashlib.sha256(pixels.tobytes()).digest()
    else:
        kept = cv2.resize(pixels, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).tobytes()
    return ImageDigest(hashlib.sha256(content).digest(), kept)


class Schema:
    """Parses records with the features of a dataset, into values that can be compared."""

    def __init__(self, features: tfds.features.FeaturesDict) -> None:
        """Takes the features stored with a dataset."""
        self._features = features
        self._fields = tfds.features.FeaturesDict({name: f for name, f in features.items() if name != "image"})
        self.image_format = stored_format(features)
        self.image_shape = features["image"].shape[:2]

    def parse(self, record: bytes) -> tuple[bytes, dict[str, Any]]:
        """Returns a record's encoded image and its fields.

        Raises:
          ValueError: The record does not fit the schema.
        """
        try:
            decoders = {"image": tfds.decode.SkipDecoding()}
            example = dict(self._features.deserialize_example_np(record, decoders=decoders))
            content = example.pop("image")
            if absent := [name for name, value in example.items() if value is None]:
                raise ValueError(f"no {', '.join(absent)}")
            return content, self.fields(example)
        except Exception as error:  # A wrong record can cause any error in Protobuf, TFDS or NumPy.
            raise ValueError(f"does not fit the schema in features.json ({one_line(error)})") from error

    def fields(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the plain values of an example, as the builder yields it or as TFDS deserializes it.

        Raises:
          Exception: Whatever TFDS raises for a value that does not fit its feature.
        """
        encoded = self._fields.encode_example(dict(example))
        plain = {name: _plain(feature, encoded[name]) for name, feature in self._fields.items() if name != "bboxes"}
        plain["findings"] = _names(plain["findings"])
        plain["bboxes"] = _boxes(self._fields["bboxes"], encoded["bboxes"])
        if isinstance(plain["label"], tuple):
            plain["label"] = label_string(_names(plain["label"]))
        return plain


def _names(multi_hot: tuple[int, ...]) -> tuple[str, ...]:
    if not {*multi_hot} <= {0, 1}:
        raise ValueError(f"findings {list(multi_hot)}; expected 0 and 1 alone")
    return findings_of(multi_hot)


def _boxes(feature: tfds.features.Sequence, value: Mapping[str, Any]) -> tuple[tuple[tuple[float, ...], str], ...]:
    """Returns box and finding of each box that is none of those which fill the places behind."""
    codes = [int(code) for code in value["finding"]]
    count = sum(code >= 0 for code in codes)
    if any(code >= 0 for code in codes[count:]) or np.any(np.asarray(value["bbox"])[count:]):
        raise ValueError("bboxes: a box behind one without a finding; expected zeros there")
    bbox, finding = feature.feature["bbox"], feature.feature["finding"]
    return tuple((_plain(bbox, value["bbox"][at]), _plain(finding, codes[at])) for at in range(count))


def _plain(feature: tfds.features.FeatureConnector, value: Any) -> Any:
    if isinstance(feature, tfds.features.ClassLabel):
        if value < 0:  # TFDS uses -1 for an unknown label.
            raise ValueError(f"class {value}")
        return feature.int2str(int(value))
    if isinstance(feature, tfds.features.Text):
        text = np.asarray(value).item()
        return text if isinstance(text, str) else text.decode()
    values = np.asarray(value, feature.np_dtype).tolist()
    return tuple(values) if isinstance(values, list) else values


def read_records(info: tfds.core.DatasetInfo) -> Records:
    """Reads every record of a dataset and decodes its image, in threads. Only a few are in memory at a time.

    For the first format, the fields and digests of each record are kept; for other formats, nothing is.
    """
    schema = Schema(info.features)
    first, *others = formats(info)
    rows: list[dict[str, Any]] = []
    problems: dict[str, list[str]] = {first.value: []}
    lengths: dict[str, dict[str, int]] = {first.value: {}}
    for row, problem in _inspected(info, first, lengths[first.value], functools.partial(_inspect, schema)):
        rows += [row] if row else []
        problems[first.value] += [problem] if problem else []
    names = [name for name in info.features if name != "image"]
    columns = ["subset", "record", *names, "image_digest", "record_digest"]
    table = pd.DataFrame([[row[name] for name in columns] for row in rows], columns=columns)
    for other in others:
        lengths[other.value] = {}
        problems[other.value] = _compare(info, other, lengths[other.value], schema, rows)
    return Records(table, {name: tuple(texts) for name, texts in problems.items()}, lengths)


def _inspected(
    info: tfds.core.DatasetInfo, file_format: tfds.core.FileFormat, lengths: dict[str, int], inspect: Callable[..., Any]
) -> Iterator[Any]:
    """Yields a function's result for each record of a format, and fills in the lengths of its shards."""

    def every_record() -> Iterator[tuple[str, str, bytes | str]]:
        for subset, path in shards(info, file_format):
            if path.exists():
                lengths[path.name] = 0
                for number, record in enumerate(read_shard(path, file_format.value)):
                    lengths[path.name] = number + 1
                    yield subset, f"{path.name}, record {number}", record

    total = info.splits.total_num_examples
    bar = tqdm(every_record(), f"{file_format.value} records", total, disable=None)  # None: on a terminal only.
    return map_in_order(lambda item: inspect(*item), bar, worker_count())


def _inspect(schema: Schema, subset: str, name: str, record: bytes | str) -> tuple[dict[str, Any] | None, str | None]:
    """Returns a record's row of the table, and what is wrong with the record. Either may be None."""
    if isinstance(record, str):
        return None, f"{name}: {record}"
    try:
        content, fields = schema.parse(record)
    except ValueError as error:
        return None, f"{name}: {error}"
    digest = problem = None
    try:
        digest = digest_image(content, schema.image_format, schema.image_shape)
    except ImageError as error:
        problem = f"{name} ({fields['image_name']}): {error}"
    digests = {"image_digest": digest, "record_digest": hashlib.sha256(record).digest()}
    return {"subset": subset, "record": name} | digests | fields, problem


def _compare(
    info: tfds.core.DatasetInfo,
    file_format: tfds.core.FileFormat,
    lengths: dict[str, int],
    schema: Schema,
    rows: list[dict[str, Any]],
) -> list[str]:
    """Returns what is wrong with the records of another format, on their own and compared with those of the first.

    Args:
      info: The dataset's info.
      file_format: The other format.
      lengths: Filled in here, see `Records`.
      schema: The schema of the features.
      rows: The rows of the first format's records.
    """
    # A record with the same bytes as one that was parsed and decoded needs neither again.
    sound = {(row["subset"], row["record_digest"]): row for row in rows if row["image_digest"]}
    by_name = {row["image_name"]: row for row in rows}

    def inspect(subset: str, name: str, record: bytes | str) -> tuple[str, dict[str, Any] | None, str | None]:
        if isinstance(record, bytes) and (row := sound.get((subset, hashlib.sha256(record).digest()))):
            return name, row, None
        return name, *_inspect(schema, subset, name, record)

    problems: list[str] = []
    seen: dict[str, str] = {}
    for name, row, problem in _inspected(info, file_format, lengths, inspect):
        problems += [problem] if problem else []
        if row is None:
            continue
        image_name = row["image_name"]
        other = by_name.get(image_name)
        if image_name in seen:
            problems.append(f"{name} ({image_name}): is in {seen[image_name]} already")
        elif other is None:
            problems.append(f"{name} ({image_name}): is in no sound {info.file_format.value} record")
        else:
            problems += [f"{name} ({image_name}): {text}" for text in _differences(row, other)]
        seen.setdefault(image_name, name)
    problems += [
        f"{image_name}: is in {row['record']}, but in no sound {file_format.value} record"
        for image_name, row in by_name.items()
        if image_name not in seen
    ]
    return problems


def _differences(row: dict[str, Any], first: dict[str, Any]) -> Iterator[str]:
    """Yields each difference between a record and the first format's record of the same image."""
    for field in sorted(row.keys() - {"record", "record_digest", "image_digest"}):
        if row[field] != first[field]:
            yield f"{field} is {row[field]!r}; in {first['record']} {first[field]!r}"
    digests = row["image_digest"], first["image_digest"]
    if all(digests) and digests[0] != digests[1]:
        yield f"its image is not that of {first['record']}"

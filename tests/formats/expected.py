"""What an export must hold: the examples of a built dataset, read by TFDS alone."""

import csv
import hashlib
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds

IN_ORDER = tfds.ReadConfig(interleave_cycle_length=1)


def builder_of(folder: Path):
    return tfds.builder_from_directory(folder)


def examples_of(folder: Path, subset: str) -> list[dict]:
    """The examples of a subset in the order of the records, with their images as the stored bytes."""
    builder, raw = builder_of(folder), {"image": tfds.decode.SkipDecoding()}
    if builder.info.file_format.value == "array_record":
        found = list(builder.as_data_source(subset, decoders=raw))
    else:
        found = list(tfds.as_numpy(builder.as_dataset(split=subset, decoders=raw, read_config=IN_ORDER)))
    assert len(found) == builder.info.splits[subset].num_examples > 0
    return found


def assert_same_image(found: bytes, stored: bytes, is_raw: bool) -> None:
    """An encoded image has the stored bytes; raw pixels are now a PNG of them, row by row."""
    if is_raw:
        found = cv2.imdecode(np.frombuffer(found, np.uint8), cv2.IMREAD_UNCHANGED).tobytes()
    assert found == stored


def assert_same_features(features, found: dict, example: dict) -> None:
    """Every feature but the image has the same value; a sequence's parts are compared as arrays."""
    for name, feature in features.items():
        if name == "image":
            continue
        if isinstance(feature, tfds.features.Sequence):
            for part, inner in feature.feature.items():
                values = np.asarray(found[name][part], inner.np_dtype)
                np.testing.assert_array_equal(values, np.asarray(example[name][part]), f"{name}/{part}")
        elif isinstance(feature, tfds.features.Text):
            assert found[name] == example[name].decode()
        else:
            np.testing.assert_array_equal(np.asarray(found[name], feature.np_dtype), example[name], name)


def assert_digests(out: Path) -> None:
    """SHA256SUMS has the digest of every other file, as `sha256sum -c` reads it."""
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    del files["SHA256SUMS"]
    lines = (out / "SHA256SUMS").read_text().splitlines()
    expected = {f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}" for name, path in files.items()}
    assert len(lines) == len(files)
    assert set(lines) == expected


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))

"""Tests of stored examples: the image's bytes as they are stored, or a PNG of pixels that are stored as they are."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from nih_chest_xray.errors import ImageError
from nih_chest_xray.formats.stored import _Schema, encoded
from nih_chest_xray.images import codec

FIELDS = {
    "image_name": tfds.features.Text(),
    "label": tfds.features.ClassLabel(names=["No Finding", "Nodule"]),
    "pixel_spacing": tfds.features.Tensor(shape=(2,), dtype=np.float32),
}
VALUES = {"image_name": "00000001_000_aug1.png", "label": 1, "pixel_spacing": np.array([0.143, 0.168], np.float32)}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, 8, 1), np.uint8)


def record_of(features, image):
    return features.serialize_example(VALUES | {"image": image})


def test_pixels_that_are_stored_as_they_are_become_a_png(pixels):
    image = tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES)
    features = tfds.features.FeaturesDict({"image": image} | FIELDS)
    record = record_of(features, pixels)
    assert pixels.tobytes() in record
    example = _Schema(features).parse(record)
    assert example.extension == "png"
    np.testing.assert_array_equal(tf.io.decode_png(example.content), pixels)
    assert example.fields == VALUES | {"pixel_spacing": VALUES["pixel_spacing"].tolist()}
    assert (example.label, example.file) == ("Nodule", "00000001_000_aug1.png")


@pytest.mark.parametrize(("kind", "file"), [("png", "00000001_000_aug1.png"), ("jpeg", "00000001_000_aug1.jpg")])
def test_stored_bytes_stay_as_they_are_and_the_file_is_called_what_it_is(kind, file, pixels):
    image = tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8, encoding_format=kind)
    features = tfds.features.FeaturesDict({"image": image} | FIELDS)
    content = codec.encode(pixels[:, :, 0], kind)
    record = tf.train.Example()
    record.ParseFromString(record_of(features, pixels))
    record.features.feature["image"].bytes_list.value[0] = content
    example = _Schema(features).parse(record.SerializeToString())
    assert (example.content, example.file) == (content, file)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("image", [b"GIF89a"], r"00000001_000_aug1.png: neither a PNG nor a JPEG: it begins with b'GIF89a'"),
        ("image", [], "does not fit the schema in features.json .*feature image"),
        ("image_name", [b"../../etc/passwd"], "has the image name '../../etc/passwd', which is not valid"),
        ("image_name", [b"00000001_000.png/../x"], "which is not valid"),
        ("image_name", [], "does not fit the schema"),
        ("label", [7], "does not fit the schema in features.json .*class 7 of 2"),
        ("label", [-1], "does not fit the schema in features.json .*class -1 of 2"),
        ("pixel_spacing", [0.1], "does not fit the schema"),
    ],
)
def test_a_record_that_does_not_fit_is_told(name, value, told, pixels):
    image = tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8, encoding_format="png")
    features = tfds.features.FeaturesDict({"image": image} | FIELDS)
    record = tf.train.Example()
    record.ParseFromString(record_of(features, pixels))
    feature = record.features.feature[name]
    values = getattr(feature, feature.WhichOneof("kind")).value
    del values[:]
    values.extend(value)
    with pytest.raises(ValueError, match=told):
        _Schema(features).parse(record.SerializeToString())


def test_neither_a_png_nor_a_jpeg_is_no_image():
    with pytest.raises(ImageError, match="neither a PNG nor a JPEG"):
        encoded(b"")

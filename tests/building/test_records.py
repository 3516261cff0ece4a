"""Tests of records: the bytes that TFDS would have written, of every config's examples, whatever is in them."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer

from nih_chest_xray.building.examples import fields
from nih_chest_xray.building.features import make_features
from nih_chest_xray.building.records import Serializer
from nih_chest_xray.building.tfrecord import write_tfrecord
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.planning.manifest import Row
from nih_chest_xray.vocabulary import UNREAD, Box


def by_tfds(features, example) -> bytes:
    """What TFDS stores, with columns in the order of their names, and serialised by TensorFlow."""
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    record = serializer.serialize_example(features.encode_example(example))
    return tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def row_of(config, boxes=()) -> Row:
    read = (config.definition.classes[0], *UNREAD.values()) if config.definition.read_by_radiologists else ()
    label = "|".join(("Mass", "Nodule")) if config.definition.multi_label else config.definition.classes[-1]
    known = ("00000013_005.png", 13, 5, -1, "F", "PA", 2500, 2048, 0.168, 0.171, ("Mass", "Nodule"), True, label)
    return Row(*known, "train", "00000013_005.png", "none", 0.0, boxes, *read)


BOXES = (Box("Nodule", 0.1, 0.2, 0.3, 1 / 3), Box("Mass", 0.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize("boxes", [(), BOXES[:1], BOXES])
@pytest.mark.parametrize("config", NAMED_CONFIGS, ids=lambda config: config.name)
def test_bytes_are_those_of_tfds(config, boxes):
    features = make_features(config)
    example = {"image": bytes(range(256)) * 50} | fields(row_of(config, boxes), config)
    assert Serializer(features)(example) == by_tfds(features, example)


# Every kind of feature that a schema of this package might come to have, and every form of value that TFDS takes.
FEATURES = {
    "array": (tfds.features.Tensor(shape=(2, 3), dtype=np.int32), np.arange(6, dtype=np.int32).reshape(2, 3)),
    "list": (tfds.features.Tensor(shape=(2,), dtype=np.float32), [0.1, -1e30]),
    "wide": (tfds.features.Scalar(dtype=np.int64), -(2**62)),
    "bytes": (tfds.features.Tensor(shape=(3,), dtype=np.uint8, encoding="bytes"), np.arange(3, dtype=np.uint8)),
    "zlib": (tfds.features.Tensor(shape=(3,), dtype=np.uint8, encoding="zlib"), np.arange(3, dtype=np.uint8)),
    "class": (tfds.features.ClassLabel(names=["a", "b"]), "b"),
    "number": (tfds.features.ClassLabel(names=["a", "b"]), 1),
    "unknown": (tfds.features.ClassLabel(names=["a", "b"]), -1),
    "text": (tfds.features.Text(), "µm"),
    "box": (tfds.features.BBoxFeature(), np.array([0.1, 0.2, 0.3, 0.4])),
    "none": (tfds.features.Sequence({"part": tfds.features.Scalar(dtype=np.int32)}, length=0), []),
}


@pytest.mark.parametrize("name", FEATURES)
def test_bytes_of_any_feature_are_those_of_tfds(name):
    feature, value = FEATURES[name]
    features = tfds.features.FeaturesDict({name: feature})
    assert Serializer(features)({name: value}) == by_tfds(features, {name: value})


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        (tfds.features.Tensor(shape=(2,), dtype=np.int32), np.zeros(3, np.int32)),
        (tfds.features.Tensor(shape=(2,), dtype=np.int32), np.zeros(2, np.int64)),
        (tfds.features.ClassLabel(names=["a"]), "b"),
        (tfds.features.ClassLabel(names=["a"]), 1),
        (tfds.features.BBoxFeature(), np.array([0.1, 0.2, 0.3, 1.1])),
        (tfds.features.Sequence({"part": tfds.features.Scalar(dtype=np.int32)}, length=2), [{"part": 1}]),
    ],
)
def test_what_tfds_refuses_is_refused(feature, value):
    features = tfds.features.FeaturesDict({"it": feature})
    with pytest.raises((ValueError, RuntimeError)):
        by_tfds(features, {"it": value})
    with pytest.raises(ValueError, match="the feature 'it' cannot store"):
        Serializer(features)({"it": value})


def test_tfrecords_have_the_bytes_of_tensorflows(tmp_path):
    records = [b"", b"a", bytes(range(256)) * 500]
    with tf.io.TFRecordWriter(str(tmp_path / "tensorflow")) as writer:
        for record in records:
            writer.write(record)
    write_tfrecord(tmp_path / "ours", iter(records))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "tensorflow").read_bytes()


def test_a_build_does_not_need_tensorflow(tmp_path):
    """It would take seconds to import and 400 MB."""
    code = (
        "import sys, nih_chest_xray as n; c = n.NihChestXrayConfig(name='p', phantom_patients=12, image_size=16,"
        " validation_fraction=0.3, test_fraction=0.3); b = n.Builder(config=c, data_dir=sys.argv[1]);"
        " b.download_and_prepare(); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"

"""Tests of the schema's shapes: whole examples batch in TensorFlow and Grain, and padding never reads as a finding."""

import grain.python as grain
import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import build

from nih_chest_xray.errors import CohortError
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.vocabulary import FINDINGS

TASKS = {
    "binary": {},
    "findings": {"task": "findings", "healthy_stride": 1},
    "nodule_expert": {"task": "nodule_expert", "split": "expert"},
}


@pytest.fixture(scope="module", params=TASKS)
def built(request, tmp_path_factory):
    fields = {"phantom_patients": 20, "image_size": 16, "augmented_copies": 1} | TASKS[request.param]
    return tfds.builder_from_directory(build(None, tmp_path_factory.mktemp("data"), "array_record", **fields))


def test_every_example_has_the_same_shapes(built):
    shapes = [
        {key: np.shape(value) for key, value in (example | example["bboxes"]).items() if key != "bboxes"}
        for example in built.as_data_source("train")
    ]
    assert all(each == shapes[0] for each in shapes)
    assert (shapes[0]["findings"], shapes[0]["mm_per_pixel"], shapes[0]["bbox"]) == ((14,), (2,), (4, 4))


def test_the_schema_itself_says_each_shape(built):
    """A shape with None would leave TensorFlow a dataset that it cannot batch before an example is read."""
    shapes = built.info.features.shape
    assert all(None not in shape for shape in (shapes | shapes["bboxes"]).values() if not isinstance(shape, dict))
    assert shapes["bboxes"] == {"bbox": (4, 4), "finding": (4,)}


def test_whole_examples_batch_in_grain(built):
    loaded = grain.MapDataset.source(built.as_data_source("train")).map(without_names).batch(4)
    batch = loaded[0]
    assert batch["findings"].shape == (4, 14)
    assert np.shape(batch["bboxes"]["bbox"]) == (4, 4, 4)
    assert batch["image"].shape == (4, 16, 16, 1)


def without_names(example):
    return {key: value for key, value in example.items() if key != "image_name"}


def test_what_fills_the_places_of_boxes_is_no_finding(built):
    marked = 0
    for example in built.as_data_source("train"):
        codes, boxes = (np.array(example["bboxes"][name]) for name in ("finding", "bbox"))
        filled = codes >= 0
        assert list(filled) == sorted(filled, reverse=True)  # The boxes first.
        assert (codes[~filled] == -1).all()
        assert not boxes[~filled].any()
        marked += filled.sum()
    assert marked > 0


def test_whole_examples_batch_in_pytorch(built):
    torch = pytest.importorskip("torch", reason="PyTorch is no dependency of the tests: it brings gigabytes of CUDA")
    batch = next(iter(torch.utils.data.DataLoader(built.as_data_source("train"), batch_size=4)))
    assert batch["image"].shape == (4, 16, 16, 1)
    assert batch["findings"].shape == (4, 14)
    # TFDS gives the boxes of an example as a list, of which PyTorch batches each place.
    assert torch.stack(batch["bboxes"]["bbox"], dim=1).shape == (4, 4, 4)


@pytest.fixture(scope="module", params=TASKS)
def in_order(request, tmp_path_factory):
    fields = {"phantom_patients": 20, "image_size": 16, "augmented_copies": 1} | TASKS[request.param]
    return tfds.builder_from_directory(build(None, tmp_path_factory.mktemp("in_order"), **fields))


def test_tensorflow_batches_whole_examples_and_a_subset_at_once(in_order):
    builder = in_order
    train = builder.as_dataset(split="train")
    batch = next(iter(train.batch(8)))
    assert batch["findings"].shape == (8, len(FINDINGS))
    assert batch["bboxes"]["finding"].shape == (8, 4)
    assert builder.as_dataset(split="train", batch_size=-1)["findings"].shape == (len(train), len(FINDINGS))
    assert len(tfds.as_dataframe(train.take(5), builder.info)) == 5


def test_tfds_measures_and_shows_batches_of_whole_examples(in_order):
    train = in_order.as_dataset(split="train")
    measured = tfds.benchmark(train.batch(8), batch_size=8)
    assert measured.stats.loc["first+lasts", "num_examples"] >= len(train)  # It counts each batch as a whole one.
    figure = tfds.show_examples(train, in_order.info, rows=2, cols=2)
    assert len(figure.axes) == 4


def test_more_boxes_than_there_is_room_for_is_an_error_that_names_the_field(phantom, make_config):
    found = phantom.as_release()
    config = make_config(phantom_patients=1)
    tables = read_tables(found, config, {})
    name = max(tables.boxes, key=lambda name: len(tables.boxes[name]))
    tables.boxes[name] = tables.boxes[name][:1] * 5
    with pytest.raises(CohortError, match=rf"{name} has 5 bounding boxes; .* max_boxes=4. Build with \"max_boxes\": 5"):
        make_plan(tables, config)

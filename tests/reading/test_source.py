"""Tests of reading by index: what TFDS gives of the same records, for PyTorch and Grain, and in other processes."""

import multiprocessing
import os
import pickle

import grain.python as grain
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from conftest import build

import nih_chest_xray
from nih_chest_xray.errors import ImageError
from nih_chest_xray.reading.source import ExampleSource

FIELDS = {"augmented_copies": 1, "image_size": 16, "healthy_stride": 4, "max_boxes": 3}
BUILDS = {
    "png": ("array_record", {}),
    "jpeg": ("array_record", {"image_format": "jpeg"}),
    "raw": ("array_record", {"image_format": "raw"}),
    "findings": ("array_record", {"task": "findings", "split": "official", "healthy_stride": 1}),
    "nodule_expert": ("array_record", {"task": "nodule_expert", "split": "expert", "image_format": "jpeg"}),
    "parquet": ("parquet", {"image_format": "raw"}),
}


@pytest.fixture(scope="module", params=BUILDS)
def builder(request, once, phantom_dir):
    return opened(request.param, once, phantom_dir)


@pytest.fixture(scope="module")
def png(once, phantom_dir):
    return opened("png", once, phantom_dir)


def opened(name, once, phantom_dir):
    file_format, fields = BUILDS[name]
    folder = once(f"source_{name}", lambda folder: build(phantom_dir, folder, file_format, **FIELDS | fields))
    return tfds.builder_from_directory(folder / "nih_chest_xray/test/2.0.0")


def assert_same(ours, theirs):
    """The same values, of the same types, shapes and dtypes, in the same order."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for name in ours:
            assert_same(ours[name], theirs[name])
    elif isinstance(ours, list):
        for inner, other in zip(ours, theirs, strict=True):
            assert_same(inner, other)
    elif isinstance(ours, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs


def test_examples_are_those_of_tfds(builder):
    assert type(builder).__name__ == "ReadOnlyBuilder"  # Which reads with TFDS's own code.
    for subset in builder.info.splits:
        ours, theirs = nih_chest_xray.data_source(builder, subset), builder.as_data_source(subset)
        assert isinstance(ours, ExampleSource)
        assert len(ours) == len(theirs) > 0
        for number, example in enumerate(ours):
            assert_same(example, theirs[number])


def test_batches_of_records_are_the_examples_asked_for_in_their_order(builder):
    source = nih_chest_xray.data_source(builder, "train")
    order = [3, 0, len(source) - 1, 7, 7, np.int64(2), 1, 5, 4]
    for number in range(len(order) + 1):
        batch = source.__getitems__(order[:number])
        for example, place in zip(batch, order[:number], strict=True):
            assert_same(example, source[place])


def test_an_image_may_be_written_to(builder):
    """So that PyTorch can share its memory."""
    assert nih_chest_xray.data_source(builder, "train")[0]["image"].flags.writeable


def test_splits_are_named_as_tfds_does(png):
    whole = names(nih_chest_xray.data_source(png, "train"))
    assert names(nih_chest_xray.data_source(png, "train[3:10]")) == whole[3:10]
    train, test = nih_chest_xray.data_source(png, ["train[:2]", "test"])
    assert names(train) == whole[:2]
    parts = [names(nih_chest_xray.data_source(png, part)) for part in tfds.even_splits("train", n=3)]
    assert [name for part in parts for name in part] == whole
    every = nih_chest_xray.data_source(png)
    assert list(every) == list(png.info.splits)
    assert names(every["test"]) == names(test)


def names(source):
    return [example["image_name"].decode() for example in source]


def test_places_count_from_either_end(png):
    source = nih_chest_xray.data_source(png, "test")
    assert_same(source[-1], source[len(source) - 1])
    for place in (len(source), -len(source) - 1):
        with pytest.raises(IndexError, match=f"has {len(source)} examples, none at {place}"):
            source[place]


def test_the_named_configs_are_read_by_it_through_tfds(phantom_dir, tmp_path):
    """What the guide's recipes do: here TFDS makes the package's builder."""
    data = {"data_dir": tmp_path, "file_format": "array_record"}
    nih_chest_xray.Builder(config="nodule", **data).download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=phantom_dir, max_examples_per_split=3)
    )
    source = tfds.data_source("nih_chest_xray/nodule", split="test", data_dir=tmp_path)
    assert isinstance(source, ExampleSource)
    assert len(source) == 3
    assert isinstance(nih_chest_xray.data_source("nih_chest_xray/nodule", "test", data_dir=tmp_path), ExampleSource)


def test_partial_decoding_gives_the_named_features_alone(builder):
    """TFDS refuses it here, although it takes it in `as_dataset`."""
    some = tfds.decode.PartialDecoding({"image": True, "label": True, "bboxes": {"bbox"}})
    whole = nih_chest_xray.data_source(builder, "train")
    for number, example in enumerate(nih_chest_xray.data_source(builder, "train", decoders=some)):
        wanted = {"bboxes": {"bbox": whole[number]["bboxes"]["bbox"]}}
        assert_same(example, wanted | {name: whole[number][name] for name in ("image", "label")})


def test_decoders_of_the_user_are_obeyed(builder):
    skip = {"image": tfds.decode.SkipDecoding()}
    source = nih_chest_xray.data_source(builder, "train", decoders=skip)
    assert not isinstance(source, ExampleSource)
    assert isinstance(source[0]["image"], bytes)
    kept = builder.as_data_source("train", decoders=skip)
    assert source[0]["image"] == kept[0]["image"]


def test_records_are_given_as_bytes_where_they_are_asked_for(phantom_dir, tmp_path):
    folder = build(phantom_dir, tmp_path, "array_record", **FIELDS)
    config = nih_chest_xray.NihChestXrayConfig(name="test", **FIELDS)
    ours = nih_chest_xray.Builder(config=config, data_dir=tmp_path, file_format="array_record")
    method = tfds.decode.DeserializeMethod.RAW_BYTES
    record = ours.as_data_source("test", deserialize_method=method)[0]
    assert record == tfds.builder_from_directory(folder).as_data_source("test", deserialize_method=method)[0]


def test_grain_batches_whole_examples_in_an_order_that_it_can_go_on_with(builder):
    source = nih_chest_xray.data_source(builder, "train")
    batches = grain.MapDataset.source(source).seed(0).shuffle().map(without_names).batch(4)
    assert batches[0]["image"].shape == (4, 16, 16, 1)
    assert np.shape(batches[0]["bboxes"]["bbox"]) == (3, 4, 4)  # Place by place, as of lists that TFDS gives.
    assert repr(source) == "ExampleSource(name=nih_chest_xray/test/2.0.0, split='train')"


def without_names(example):
    return {key: value for key, value in example.items() if key != "image_name"}


def test_a_source_can_be_sent(builder):
    source = nih_chest_xray.data_source(builder, "train")
    source.__getitems__([0, 1])  # Files and threads that are open here are not there.
    sent = pickle.loads(pickle.dumps(source))
    assert_same(sent.__getitems__([2, 1]), source.__getitems__([2, 1]))


def test_another_process_reads_the_same(png):
    source = nih_chest_xray.data_source(png, "train")
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        assert_same(pool.apply(read, (source, [2, 1])), source.__getitems__([2, 1]))


def read(source, places):
    return source.__getitems__(places)


def test_a_fork_of_a_process_that_has_read_is_told_what_to_do(png):
    """TFDS's crashes there, or waits for ever."""
    source = nih_chest_xray.data_source(png, "train")
    assert source[0]
    receiver, sender = os.pipe()
    if (child := os.fork()) == 0:
        try:
            source.__getitems__([0])
        except RuntimeError as error:
            os.write(sender, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b'start workers with multiprocessing_context="forkserver"' in os.read(receiver, 1000)


def test_pytorch_reads_batches_in_processes_of_its_own(png):
    torch = pytest.importorskip("torch", reason="PyTorch is no dependency of the tests: it brings gigabytes of CUDA")
    source = nih_chest_xray.data_source(png, "train")
    source[0]
    loader = torch.utils.data.DataLoader(source, 4, num_workers=2, multiprocessing_context="forkserver", timeout=60)
    batches = list(loader)
    assert [name.decode() for batch in batches for name in batch["image_name"]] == names(source)
    assert batches[0]["image"].shape == (4, 16, 16, 1)
    assert torch.stack(batches[0]["bboxes"]["bbox"], dim=1).shape == (4, 3, 4)


# Damage: a message says what, where TFDS would give nonsense or an error of a library.


def cut(example):
    value = example.features.feature["image"].bytes_list.value
    value[0] = value[0][:-3]


def shrink(example):
    value = example.features.feature["image"].bytes_list.value
    value[0] = bytes(15 * 15)


def lose(example):
    del example.features.feature["patient_age"]


def swap(example):
    example.features.feature["patient_age"].float_list.value[:] = [1.0]


@pytest.mark.parametrize(
    ("damage", "error", "told"),
    [
        (cut, ImageError, r"\d{8}_\d{3}(_aug1)?.png: 253 bytes are no square of raw pixels: .*nih-chest-xray verify"),
        (shrink, ImageError, r"png: the image is \(15, 15, 1\); features.json declares \(16, 16, 1\)"),
        (lose, ValueError, "patient_age has 0 values; expected 1 in a int64_list.*nih-chest-xray verify"),
        (swap, ValueError, "patient_age has 0 values; expected 1 in a int64_list"),
        (None, ValueError, "a record does not fit features.json"),
    ],
)
def test_a_damaged_record_is_told(damage, error, told, phantom_dir, tmp_path):
    folder = build(phantom_dir, tmp_path, "array_record", **FIELDS, image_format="raw")
    builder = tfds.builder_from_directory(folder)
    method = tfds.decode.DeserializeMethod.RAW_BYTES
    records = list(builder.as_data_source("test", deserialize_method=method))
    if damage:
        example = tf.train.Example.FromString(records[0])
        damage(example)
        records[0] = example.SerializeToString()
    else:
        records[0] = b"\xff" * 10
    writer = array_record_module.ArrayRecordWriter(next(map(str, folder.glob("*-test.array_record*"))), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    source = nih_chest_xray.data_source(builder, "test")
    assert source[1]
    with pytest.raises(error, match=told):
        source[0]


def test_a_dataset_that_is_not_built_or_not_by_index_is_told_with_what_to_do(phantom_dir, tmp_path):
    with pytest.raises(ValueError, match="is not built in .*sample.*; build it with `nih-chest-xray build`"):
        nih_chest_xray.data_source("nih_chest_xray/sample", "train", data_dir=tmp_path)
    folder = build(phantom_dir, tmp_path, image_size=16)
    told = r"exists in the format tfrecord.*`nih-chest-xray convert .*2.0.0 --to array_record`"
    with pytest.raises(ValueError, match=told):
        nih_chest_xray.data_source(tfds.builder_from_directory(folder), "train")

"""Tests of image_format "raw": the same examples as with PNG in every file format, read, verified and evaluated."""

import numpy as np
import pytest
import shards
import tensorflow as tf
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from conftest import build
from etils import epath

import nih_chest_xray
from nih_chest_xray.building.features import differences, stored_format
from nih_chest_xray.errors import ImageError
from nih_chest_xray.evaluation import shortcuts
from nih_chest_xray.evaluation.evaluate import run
from nih_chest_xray.images import codec
from nih_chest_xray.verification.command import verify

FIELDS = {"augmented_copies": 1, "matched_augmentation": True, "healthy_stride": 4, "image_size": 32}


@pytest.fixture(scope="module")
def png(once, phantom_dir):
    return once("as_png", lambda folder: build(phantom_dir, folder, **FIELDS)) / "nih_chest_xray/test/2.0.0"


@pytest.fixture(scope="module", params=["tfrecord", "array_record", "parquet"])
def raw(request, once, phantom_dir):
    def fill(folder):
        build(phantom_dir, folder, request.param, **FIELDS, image_format="raw")

    return once(f"raw_{request.param}", fill) / "nih_chest_xray/test/2.0.0"


def examples(folder, subset, **options):
    """The examples of a subset, by name, read as the format allows."""
    builder = tfds.builder_from_directory(folder)
    if builder.info.file_format == tfds.core.FileFormat.TFRECORD:
        stored = tfds.as_numpy(builder.as_dataset(split=subset, **options))
    else:
        stored = builder.as_data_source(subset, **options)
    return {example["image_name"]: example for example in stored}


def test_pixels_and_every_other_feature_are_those_of_the_png_dataset(raw, png):
    for subset in ("train", "validation", "test"):
        ours, theirs = examples(raw, subset), examples(png, subset)
        assert list(ours) == list(theirs)
        for name, example in ours.items():
            assert example["image"].dtype == np.uint8
            assert example["image"].shape == (32, 32, 1)
            for feature, value in (example | example.pop("bboxes")).items():
                other = theirs[name]["bboxes" if feature in ("bbox", "finding") else feature]
                np.testing.assert_array_equal(value, other[feature] if isinstance(other, dict) else other)
    kinds = [tfds.builder_from_directory(folder).info.features.get_tensor_info() for folder in (raw, png)]
    assert kinds[0] == kinds[1]


def test_what_is_stored_is_a_byte_a_pixel(raw):
    skip = {"image": tfds.decode.SkipDecoding()}
    content, decoded = examples(raw, "test", decoders=skip), examples(raw, "test")
    assert all(content[name]["image"] == example["image"].tobytes() for name, example in decoded.items())


def test_array_record_holds_the_pixels_uncompressed(raw):
    """Or they would have to be decoded after all."""
    if tfds.builder_from_directory(raw).info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        pytest.skip("another format")
    stored = shards.shard(raw, "test", "array_record").read_bytes()
    assert all(example["image"].tobytes() in stored for example in examples(raw, "test").values())


def test_verify_passes_and_makes_the_same_pixels_again(raw, phantom_dir):
    checks = {check.name: check for check in verify(epath.Path(raw), phantom_dir, 10)}
    assert {name for name, check in checks.items() if check.status == "FAILED"} == set()
    assert checks["pixels"].seen.endswith(" 10 with the bytes of a fresh encode")


def test_the_config_says_how_images_are_stored(raw, png, make_config):
    stored = {folder: tfds.builder_from_directory(folder).info.features for folder in (raw, png)}
    assert [stored_format(stored[folder]) for folder in (raw, png)] == ["raw", "png"]
    config = make_config(**FIELDS, image_format="raw")
    assert differences(stored[raw], config) == []
    [told] = differences(stored[png], config)
    assert "image is Image (32, 32, 1) uint8, by the config Tensor (32, 32, 1) uint8 as bytes" in told


@pytest.fixture
def written(phantom_dir, tmp_path):
    return build(phantom_dir, tmp_path, **FIELDS, image_format="raw")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda pixels: pixels[:-1], "1,023 bytes are no square of raw pixels"),
        (lambda pixels: pixels[: 31 * 31], "the image has 31 x 31 pixels; features.json declares 32 x 32"),
        (lambda pixels: b"", "0 bytes are no square of raw pixels"),
    ],
)
def test_pixels_cut_short_are_named(written, damage, told):
    def cut(example):
        shards.value(example, "image")[0] = damage(shards.value(example, "image")[0])

    name = shards.change(written, "test", 1, cut)
    [check] = [check for check in verify(epath.Path(written), None, None) if check.name == "records"]
    assert check.status == "FAILED"
    [problem] = check.offenders
    assert problem.startswith(f"{shards.shard(written, 'test').name}, record 1 ({name}): {told}")


def test_a_changed_pixel_is_named(written, phantom_dir):
    def brighten(example):
        pixels = codec.decode_stored(shards.value(example, "image")[0], "raw")
        pixels[10, 10] ^= 1
        shards.value(example, "image")[0] = codec.encode(pixels, "raw")

    name = shards.change(written, "train", 0, brighten)
    failed = {check.name: check for check in verify(epath.Path(written), phantom_dir, None) if check.status == "FAILED"}
    assert failed.keys() == {"pixels"}
    assert failed["pixels"].offenders[0].startswith(f"{name} in ")


def test_shortcuts_are_those_of_the_png_dataset(written, png, made):
    """The bytes of both are decoded to the same pixels, of which scores are made."""
    found = []
    for folder in (written, png):
        done = run(made(folder), folder, bootstrap=20)
        brightness = shortcuts.follow_shortcuts(
            lambda images: images.mean(axis=(1, 2, 3)) / 255, done.built, "test", done.images, done.truth
        )
        found.append(brightness["Nodule"])
    assert found[0].equals(found[1])


def test_beam_stores_the_same_bytes(written, phantom_dir, tmp_path, make_config):
    builder = nih_chest_xray.Builder(config=make_config(**FIELDS, image_format="raw"), data_dir=tmp_path / "beam")
    options = PipelineOptions(["--runner=DirectRunner", "--direct_running_mode=in_memory"])
    config = tfds.download.DownloadConfig(manual_dir=phantom_dir, beam_options=options)
    builder.download_and_prepare(download_config=config)
    ours, theirs = (shards.read(shards.shard(path, "train")) for path in (builder.data_path, written))
    assert list(map(sorted_fields, ours)) == list(map(sorted_fields, theirs))


def sorted_fields(record):
    return tf.train.Example.FromString(record).SerializeToString(deterministic=True)


@pytest.mark.parametrize("length", [0, 2, 8, 1023])
def test_only_squares_are_raw_pixels(length):
    with pytest.raises(ImageError, match=f"{length:,} bytes are no square"):
        codec.decode_stored(bytes(length), "raw")

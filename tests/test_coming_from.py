"""Tests of the guide for people who come from another library."""

import functools
import re

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds
from blocks import blocks

from nih_chest_xray import Builder
from nih_chest_xray.vocabulary import FINDINGS

pytestmark = pytest.mark.slow

GUIDE = "coming-from"


@pytest.fixture(scope="module")
def sample_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    Builder(config="sample", data_dir=data_dir).download_and_prepare()
    return data_dir


@pytest.fixture(scope="module")
def stored(sample_dir):
    """The training examples by image name."""
    examples = Builder(config="sample", data_dir=sample_dir).as_dataset(split="train")
    return {example["image_name"].decode(): example for example in tfds.as_numpy(examples)}


@pytest.fixture
def code(sample_dir, monkeypatch):
    """The guide's lines before and after, which find `sample` where it was built for these tests."""
    monkeypatch.setattr(tfds, "load", functools.partial(tfds.load, data_dir=sample_dir))
    words = ("ImageDataGenerator", "fit(train", "NIH_Dataset", "as_xrv", "load_dataset", "PIL.Image")
    found = {word: [text for text in blocks(GUIDE) if word in text] for word in words}
    assert all(len(texts) == 1 for texts in found.values())
    assert len(blocks(GUIDE)) == len(words)
    return {word: text for word, [text] in found.items()}


def patients(names):
    return {name.partition("_")[0] for name in names}


@pytest.fixture
def model():
    """A network of one number, whose input and output are those of a classifier of radiographs."""
    layers = [keras.Input((512, 512, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, "sigmoid")]
    network = keras.Sequential(layers)
    network.compile("sgd", "binary_crossentropy")
    return network


def test_keras_trains_on_augmented_batches_from_0_to_1(code, model, stored):
    names = {"model": model}
    exec(code["fit(train"], names)
    assert len(model.history.history["val_loss"]) == 1
    images, labels = next(iter(names["train"]))
    assert images.shape == (32, 512, 512, 1)
    assert 0 <= float(images.numpy().min()) < 0.1 < 0.5 < float(images.numpy().max()) <= 1.001
    assert set(labels.numpy()) <= {0, 1}
    as_stored = {example["image"].tobytes() for example in stored.values()}
    pixels = np.round(images.numpy() * 255).astype(np.uint8)
    assert not any(image.tobytes() in as_stored for image in pixels)


def test_keras_before_shares_patients_between_its_subsets_and_takes_single_pixels(code, phantom_dir, model, tmp_path):
    [file] = phantom_dir.glob("Data_Entry*.csv")
    [folder] = {path.parent for path in phantom_dir.rglob("*.png")}
    names = {"model": model}
    text = code["ImageDataGenerator"].replace('"Data_Entry_2017_v2020.csv"', repr(str(file)))
    exec(text.replace('"images"', repr(str(folder))), names)
    shared = patients(names["train"]["Image Index"]) & patients(names["validation"]["Image Index"])
    assert shared
    assert names["batches"].class_indices == {"No Finding": 0, "Nodule": 1}
    # As the guide says, of four pixels one is taken, so that the picture's own pixels are all there is.
    plain = names["ImageDataGenerator"]().flow_from_dataframe(
        names["train"][:1], str(folder), "Image Index", target_size=(512, 512), color_mode="grayscale", class_mode=None
    )
    with PIL.Image.open(folder / names["train"]["Image Index"].iloc[0]) as picture:
        whole = np.asarray(picture.convert("L"))
    smaller = next(plain)[0, :, :, 0]
    assert any(np.array_equal(smaller, whole[row::2, column::2]) for row in (0, 1) for column in (0, 1))


def test_torchxrayvisions_samples_are_made_of_stored_examples(code, stored):
    names = {}
    exec(code["as_xrv"], names)
    samples = [names["as_xrv"](example) for example in stored.values()]
    for sample, example in zip(samples, stored.values(), strict=True):
        assert (sample["img"].shape, sample["img"].dtype) == ((1, 512, 512), np.float32)
        # The formula of torchxrayvision 1.5.7's utils.normalize.
        expected = (2 * (example["image"][:, :, 0].astype(np.float32) / 255) - 1.0) * 1024
        np.testing.assert_array_equal(sample["img"][0], expected)
        assert sample["lab"].dtype == np.float32
        np.testing.assert_array_equal(sample["lab"], example["findings"])
    assert names["pathologies"] == sorted(FINDINGS)  # As NIH_Dataset sorts its own.
    assert len(names["samples"]) == len(stored)
    assert any(sample["lab"].sum() > 1 for sample in samples)
    assert any(sample["lab"].sum() == 0 for sample in samples)


def test_hugging_faces_rows_are_made_of_stored_examples(code, stored):
    names = {}
    exec(code["PIL.Image"], names)
    rows = names["rows"]
    assert len(rows) == len(stored)
    for row in rows:
        example = stored[row["image_name"]]
        np.testing.assert_array_equal(np.asarray(row["image"]), example["image"][:, :, 0])
        assert row["labels"] == ([FINDINGS[code] for code in np.flatnonzero(example["findings"])] or ["No Finding"])
    assert any(row["labels"] == ["No Finding"] for row in rows)


def test_the_lines_before_are_python_and_each_has_lines_after(code):
    for text in code.values():
        compile(text, GUIDE, "exec")
    assert len(re.findall("sample", "".join(blocks(GUIDE)))) >= 3

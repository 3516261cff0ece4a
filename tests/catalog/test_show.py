"""Tests of show_examples: what is drawn is what the records hold, from whatever TFDS gives for a dataset."""

import io
import re
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import build
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

import nih_chest_xray
from nih_chest_xray.catalog import show
from nih_chest_xray.errors import CatalogError, UsageError


def drawn(figure):
    """Each image of a figure: its pixels, the lines below it, and its boxes with their findings."""
    figure.draw(figure.canvas.get_renderer())
    found = []
    for axes in figure.axes:
        [image] = [artist for artist in axes.get_children() if isinstance(artist, AxesImage)]
        place = axes.get_window_extent()
        below = []
        for text in figure.texts:
            words = text.get_window_extent()
            if abs(words.x0 - place.x0) < 2 and 0 < place.y0 - words.y1 < 80:
                below.append(text.get_text().replace("\u00a0", " "))
        boxes = [patch.get_bbox().extents for patch in axes.patches if isinstance(patch, Rectangle)]
        found.append((np.asarray(image.get_array()), below, boxes, [text.get_text() for text in axes.texts]))
    return found


def names_in(figure):
    """The image names, as the words below each image have them."""
    return [f"{re.search('[0-9]{8}_[0-9]{3}[_aug0-9]*', ' '.join(below))[0]}.png" for _, below, _, _ in drawn(figure)]


def examples_of(folder, split="train"):
    builder = tfds.builder_from_directory(folder)
    examples = tfds.as_numpy(builder.as_dataset(split=split))
    return {example["image_name"].decode(): example for example in examples}, builder.info


def test_each_image_has_its_pixels_label_view_sex_age_and_boxes(sound):
    examples, info = examples_of(sound)
    shown = drawn(nih_chest_xray.show_examples(sound, rows=4, columns=4))
    assert len(shown) == 16
    boxed = 0
    for pixels, below, boxes, findings in shown:
        example = examples[f"{below[-1].split(' · ')[0]}.png"]
        assert np.array_equal(pixels, example["image"][..., 0])
        assert below[0] == info.features["label"].int2str(example["label"])
        view, sex = (info.features[key].int2str(example[key]) for key in ("view_position", "patient_sex"))
        assert below[-1].split(" · ")[1:] == [view, sex, f"{example['patient_age']} years"]
        held = example["bboxes"]["finding"] >= 0
        expected = [[xmin, ymin, xmax, ymax] for ymin, xmin, ymax, xmax in example["bboxes"]["bbox"][held]]
        assert np.allclose(np.reshape(boxes, (-1, 4)), np.reshape(expected, (-1, 4)))
        names = info.features["bboxes"]["finding"].names
        assert findings == [names[code].replace("_", " ") for code in example["bboxes"]["finding"][held]]
        boxed += len(boxes)
    assert boxed > 3


def test_copies_are_right_of_their_sources_and_say_how_they_were_made(sound):
    figure = nih_chest_xray.show_examples(sound, rows=2, columns=4)
    names = names_in(figure)
    copies = [number for number, name in enumerate(names) if "_aug" in name]
    assert copies == [5, 7]
    for number in copies:
        assert names[number - 1] == names[number].replace("_aug1", "").replace("_aug2", "")
        _, below, _, _ = drawn(figure)[number]
        assert any(line.startswith("augmented: ") for line in below)


def test_both_classes_are_shown_and_no_patient_twice_where_there_are_enough(sound):
    examples, _ = examples_of(sound, "test")
    patients = {name.split("_")[0] for name in examples}
    assert len(patients) < len(examples)
    shown = names_in(nih_chest_xray.show_examples(sound, split="test", rows=len(patients), columns=1))
    assert {name.split("_")[0] for name in shown} == patients
    assert {bool(examples[name]["label"]) for name in shown[:2]} == {True, False}


def test_images_with_boxes_come_first(sound):
    fields = [
        {
            "image_name": f"{number:08d}_000.png".encode(),
            "label": 1,
            "augmentation": 0,
            "patient_id": number,
            "bboxes": {"finding": np.array([10 if number == 2 else -1])},
        }
        for number in range(4)
    ]
    assert show._choose(fields, tfds.builder_from_directory(sound).info, 1, 2) == [[2], [0]]


@pytest.fixture(scope="module")
def findings(phantom_dir, tmp_path_factory):
    """A dataset of several findings, as array_record."""
    fields = {"task": "findings", "split": "official", "image_size": 32, "image_format": "jpeg"}
    return build(phantom_dir, tmp_path_factory.mktemp("findings"), "array_record", **fields)


def test_several_findings_are_all_named_and_no_text_is_cut(findings):
    figure = nih_chest_xray.show_examples(findings, rows=3, columns=3, size=1.6)
    info = tfds.builder_from_directory(findings).info
    source = tfds.builder_from_directory(findings).as_data_source("train")
    labels = {example["image_name"].decode(): example["label"] for example in source}
    several = 0
    for name, (_, below, _, _) in zip(names_in(figure), drawn(figure), strict=True):
        expected = [info.features["bboxes"]["finding"].names[n] for n in np.flatnonzero(labels[name])]
        words = ", ".join(finding.replace("_", " ") for finding in expected) or "No Finding"
        assert " ".join(below).startswith(words)
        several += len(expected) > 1
    assert several
    width, height = figure.canvas.get_width_height()
    images = [axes.get_window_extent() for axes in figure.axes]
    for text in figure.texts:
        place = text.get_window_extent()
        assert 0 <= place.x0 < place.x1 <= width
        assert 0 <= place.y0 < place.y1 <= height
        assert not any(place.overlaps(image) for image in images)


def test_the_text_mined_findings_of_images_that_radiologists_read_are_told_apart(expert):
    figure = nih_chest_xray.show_examples(expert, split="test", rows=4)
    examples, info = examples_of(expert, "test")
    for name, (_, below, _, _) in zip(names_in(figure), drawn(figure), strict=True):
        assert below[0] == info.features["label"].int2str(examples[name]["label"])
        names = info.features["bboxes"]["finding"].names
        mined = [names[number] for number in np.flatnonzero(examples[name]["findings"])]
        expected = ", ".join(mined).replace("_", " ") or "No Finding"
        assert "text-mined: " + expected in " ".join(below)


def loaded(folder, **more):
    builder = tfds.builder_from_directory(folder)
    return builder.as_dataset(**more), builder.info


WAYS = {
    "folder": lambda folder: (str(folder),),
    "data_dir": lambda folder: (folder.parents[2],),
    "builder": lambda folder: (tfds.builder_from_directory(folder),),
    "info": lambda folder: (tfds.builder_from_directory(folder).info,),
    "dataset and info": lambda folder: loaded(folder, split="train"),
    "datasets and info": lambda folder: loaded(folder),
    "supervised": lambda folder: loaded(folder, split="train", as_supervised=True),
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_tfds_gives_for_a_dataset_is_drawn(way, sound):
    figure = nih_chest_xray.show_examples(*WAYS[way](sound), rows=1, columns=2)
    examples, info = examples_of(sound)
    assert figure.texts[0].get_text().startswith("nih_chest_xray/built")
    for pixels, below, _, _ in drawn(figure):
        [example] = [each for each in examples.values() if np.array_equal(each["image"][..., 0], pixels)]
        assert below[0] == info.features["label"].int2str(example["label"])
    if way.startswith("dataset"):
        assert names_in(figure) == list(examples)[:2]


def test_a_data_source_and_a_name_are_drawn(findings, monkeypatch):
    source = tfds.builder_from_directory(findings).as_data_source("test")
    assert names_in(nih_chest_xray.show_examples(source, rows=1, columns=3)) == [
        source[number]["image_name"].decode() for number in range(3)
    ]
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(findings.parents[2]))
    assert len(nih_chest_xray.show_examples("nih_chest_xray/test", rows=1).axes) == 4


def test_a_notebook_shows_the_figure_and_pyplot_keeps_nothing(sound):
    figure = nih_chest_xray.show_examples(sound, rows=1, columns=1)
    assert figure._repr_png_().startswith(b"\x89PNG")
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    assert content.getvalue()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (lambda folder: ((folder,), {"split": "tst"}), UsageError, "the split is 'tst'; expected one of train, valid"),
        (lambda folder: ((folder,), {"rows": 0}), UsageError, "rows is 0 and columns 4; expected at least 1, and 100"),
        (lambda folder: ((folder,), {"rows": 20, "columns": 6}), UsageError, "100 images at most"),
        (lambda folder: ((folder / "nowhere",), {}), CatalogError, "is not a directory"),
        (lambda folder: (("nih_chest_xray/nothing",), {}), UsageError, "neither a folder nor a dataset"),
        (lambda folder: ((7,), {}), UsageError, "dataset is int; expected a builder, a folder, or examples and"),
        (
            lambda folder: (loaded(folder, split="train")[:1], {}),
            UsageError,
            "info is NoneType; expected what tfds.load",
        ),
        (lambda folder: (loaded(folder), {"split": "tst"}), UsageError, "the split is 'tst'; expected one of train, "),
        (
            lambda folder: (loaded(folder, split="train", batch_size=2), {}),
            UsageError,
            r"\(2, 64, 64, 1\) uint8; expec",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments, error, told, sound):
    positional, named = arguments(sound)
    with pytest.raises(error, match=told):
        nih_chest_xray.show_examples(*positional, **named)


def test_without_matplotlib_one_line_says_how_to_install_it(sound, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="which is not installed: `pip install matplotlib`$"):
        nih_chest_xray.show_examples(sound)

"""Tests of builds from resized copies: only where the config allows them, and then said wherever it matters."""

import json
import warnings
from pathlib import Path

import cv2
import mlcroissant
import numpy as np
import pytest
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions

import nih_chest_xray
from nih_chest_xray.building.examples import make_examples
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.errors import ImageError
from nih_chest_xray.release.sources import StoredImage
from nih_chest_xray.verification.command import verify

BEAM = ["--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading"]
FORMS = ("grey", "RGB", "RGBA", "JPEG")


def copy_of(content, side, form):
    """Makes what people's scripts make of one of the NIH's images."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    if form in ("RGB", "RGBA"):
        pixels = np.dstack([pixels] * 3 + [np.full_like(pixels, 255)] * (form == "RGBA"))
    return cv2.imencode(".jpg" if form == "JPEG" else ".png", pixels)[1].tobytes()


def write(folder, phantom, change):
    """Writes the phantom; `change` takes an image's number and bytes and returns the bytes that are written."""
    (folder / "images").mkdir(parents=True)
    for name, content in phantom.tables().items():
        (folder / name).write_bytes(content)
    for number, (name, content) in enumerate(phantom.drawn.items()):
        (folder / "images" / name).write_bytes(change(number, content))
    return folder


def build(config, manual_dir, data_dir, beam=False):
    builder = nih_chest_xray.Builder(config=config, data_dir=data_dir)
    options = PipelineOptions(BEAM) if beam else None
    download = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_options=options)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        builder.download_and_prepare(download_config=download)
    return builder, [str(warning.message) for warning in warned if warning.category is UserWarning]


def stored(builder):
    return {
        example["image_name"].decode(): example
        for subset in builder.info.splits
        for example in tfds.as_numpy(builder.as_dataset(split=subset))
    }


def metadata(builder):
    return json.loads((Path(builder.data_dir) / "metadata.json").read_text())


def outcome(folder, release):
    done = {check.name: check for check in verify(folder, release)}
    return {name: check.status for name, check in done.items() if name != "splits"}, done["pixels"].seen


@pytest.mark.parametrize("side", [224, 512])
def test_copies_are_stored_averaged_from_their_own_size_and_counted(side, phantom, tmp_path, make_config):
    release = write(tmp_path / "release", phantom, lambda n, content: copy_of(content, side, FORMS[n % 4]))
    config = make_config(image_size=224, augmented_copies=1, allow_resized_images=True)
    builder, warned = build(config, release, tmp_path / "data")
    examples = stored(builder)
    sources = [name for name in examples if "_aug" not in name]
    assert metadata(builder)["resized_images"] == {str(side): len(sources)}
    assert warned[-1].startswith(f"{len(sources)} images were made from resized copies ({len(sources)} from copies of")
    augmentations = builder.info.features["augmentation"].int2str
    for name, example in examples.items():
        copy = cv2.imread(str(release / "images" / (name[:12] + ".png")), cv2.IMREAD_GRAYSCALE)
        if "_aug" in name:
            if augmentations(int(example["augmentation"])) != "horizontal_flip":
                continue
            copy = copy[:, ::-1]
            # At the NIH's size, which it is flipped at, pixels were interpolated.
            copy = cv2.resize(cv2.resize(copy, (1024, 1024)), (224, 224), interpolation=cv2.INTER_AREA)
            assert np.abs(example["image"][:, :, 0].astype(int) - copy).max() <= 2
        elif side == 224:
            np.testing.assert_array_equal(example["image"][:, :, 0], copy)
        else:
            expected = cv2.resize(copy, (224, 224), interpolation=cv2.INTER_AREA)
            np.testing.assert_array_equal(example["image"][:, :, 0], expected)


def test_boxes_are_those_of_the_nihs_images(phantom, phantom_dir, tmp_path, make_config):
    """They are shares of the sides, and so are those of a rotated copy, which is rotated at 1024 pixels a side."""
    release = write(tmp_path / "release", phantom, lambda n, content: copy_of(content, 256, "grey"))
    fields = {"image_size": 64, "augmented_copies": 2}
    copies = stored(build(make_config(**fields, allow_resized_images=True), release, tmp_path / "copies")[0])
    originals = stored(build(make_config(**fields), phantom_dir, tmp_path / "originals")[0])
    assert copies.keys() == originals.keys()
    rotated = 0
    for name, example in copies.items():
        np.testing.assert_array_equal(example["bboxes"]["bbox"], originals[name]["bboxes"]["bbox"])
        rotated += "_aug" in name and (example["bboxes"]["finding"] >= 0).any()
        # And what is in them is the same, up to what the smaller copy has lost.
        difference = np.abs(example["image"].astype(int) - originals[name]["image"])
        assert difference.mean() < 2, name
    assert rotated


@pytest.mark.parametrize("beam", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["local", "Beam"])
def test_a_mixture_is_counted_by_size_and_told_on_the_page_and_verified(
    no_pictures, beam, phantom, tmp_path, make_config
):
    sides = (1024, 256, 320)  # 1024: the NIH's own, as they are.

    def change(number, content):
        side = sides[number % 3]
        return content if side == 1024 else copy_of(content, side, FORMS[number % 4])

    release = write(tmp_path / "release", phantom, change)
    config = make_config(image_size=64, augmented_copies=1, allow_resized_images=True)
    builder, _ = build(config, release, tmp_path / "data", beam)
    side_of = {name: sides[number % 3] for number, name in enumerate(phantom.drawn)}
    used = [side_of[name] for name in stored(builder) if "_aug" not in name]
    counts = metadata(builder)["resized_images"]
    assert counts == {"256": used.count(256), "320": used.count(320)}
    folder = Path(builder.data_dir)
    statuses, seen = outcome(folder, release)
    assert set(statuses.values()) == {"ok"}
    total = len(stored(builder))
    assert seen == f"{total} of {total} images, {total} with the bytes of a fresh encode"
    write_site(folder, tmp_path / "site")
    told = (
        f"pixels: {counts['256']} images were taken from copies of 256 pixels a side, {counts['320']} images were taken"
    )
    assert f"Not the NIH&#39;s {told}" in (tmp_path / "site" / "index.html").read_text()
    description = json.loads((tmp_path / "site" / "croissant.json").read_text())
    assert any(f"Not the NIH's {told}" in text for text in description["rai:dataPreprocessingProtocol"])
    assert mlcroissant.Dataset(tmp_path / "site" / "croissant.json").metadata.ctx.issues.errors == set()


def test_the_nihs_own_images_alone_count_no_copies_and_give_the_same_records(phantom_dir, tmp_path, make_config):
    fields = {"image_size": 64, "augmented_copies": 1}
    strict, _ = build(make_config(**fields), phantom_dir, tmp_path / "strict")
    builder, warned = build(make_config(**fields, allow_resized_images=True), phantom_dir, tmp_path / "data")
    assert metadata(builder)["resized_images"] == metadata(strict)["resized_images"] == {}
    assert not any("resized" in text for text in warned)
    for path in Path(strict.data_dir).glob("*.tfrecord*"):
        assert (Path(builder.data_dir) / path.name).read_bytes() == path.read_bytes()


def test_verify_compares_labels_alone_where_the_release_has_images_of_another_size(
    phantom, phantom_dir, tmp_path, make_config
):
    copies = write(tmp_path / "copies", phantom, lambda n, content: copy_of(content, 256, FORMS[n % 4]))
    of_copies, _ = build(make_config(image_size=64, allow_resized_images=True), copies, tmp_path / "a")
    of_originals, _ = build(make_config(image_size=64), phantom_dir, tmp_path / "b")
    for builder, release, was, holds in (
        (of_copies, phantom_dir, "256 pixels a side", "the NIH's own"),
        (of_originals, copies, "the NIH's own", "256 pixels a side"),
    ):
        statuses, seen = outcome(Path(builder.data_dir), release)
        assert statuses["labels"] == "ok"
        assert "FAILED" not in statuses.values()
        assert f"made from images of another size ({was}) than {release} holds ({holds})" in seen


def test_verify_finds_other_pixels_in_copies_of_the_same_size(phantom, tmp_path, make_config):
    release = write(tmp_path / "release", phantom, lambda n, content: copy_of(content, 256, "grey"))
    builder, _ = build(make_config(image_size=64, allow_resized_images=True), release, tmp_path / "data")
    name = next(iter(stored(builder)))
    black = cv2.imencode(".png", np.zeros((256, 256), np.uint8))[1].tobytes()
    (release / "images" / name).write_bytes(black)
    done = {check.name: check for check in verify(builder.data_dir, release)}
    (offender,) = done["pixels"].offenders
    assert offender.startswith(f"{name} in ")


def look_at(content, config):
    return make_examples(StoredImage("00000013_005.png", "DIR", lambda: content), (), config)


@pytest.mark.parametrize(
    ("form", "size", "expected"),
    [
        ("grey", 64, r"the PNG has 256 x 256 pixels.*: \"allow_resized_images\": true$"),
        ("JPEG", 64, r"not a PNG: .*: \"allow_resized_images\": true$"),
        ("RGB", 512, r"\"allow_resized_images\": true, with an \"image_size\" of at most 256$"),
        ("grey", None, r"\"allow_resized_images\": true, with an \"image_size\" of at most 256$"),
    ],
)
def test_without_leave_the_error_names_the_way_out(form, size, expected, phantom, make_config):
    content = copy_of(next(iter(phantom.drawn.values())), 256, form)
    with pytest.raises(ImageError, match=rf"^00000013_005\.png in DIR: .*{expected}"):
        look_at(content, make_config(image_size=size))


def test_what_is_no_copy_is_not_said_to_be_one(phantom, make_config):
    for content in (b"404: not found", next(iter(phantom.drawn.values()))[:5000]):
        with pytest.raises(ImageError) as caught:
            look_at(content, make_config())
        assert "allow_resized_images" not in str(caught.value)


def test_copies_smaller_than_what_is_stored_are_refused(phantom, make_config):
    content = copy_of(next(iter(phantom.drawn.values())), 224, "JPEG")
    with pytest.raises(ImageError, match=r"the JPEG has 224 x 224 pixels, .*; expected a square copy of 256 to 4096"):
        look_at(content, make_config(image_size=256, allow_resized_images=True))


@pytest.mark.real
def test_real_copies_show_what_the_nihs_images_show(real_dir, tmp_path):
    images = sorted((real_dir / "images").glob("*.png"))
    (tmp_path / "images").mkdir()
    for table in ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"):
        (tmp_path / table).symlink_to(real_dir / table)
    for number, path in enumerate(images):
        (tmp_path / "images" / path.name).write_bytes(copy_of(path.read_bytes(), 256, FORMS[number % 4]))
    fields = {"name": "real", "image_size": 224, "allow_missing_images": True, "augmented_copies": 1}
    config = nih_chest_xray.NihChestXrayConfig(**fields, allow_resized_images=True)
    copies, _ = build(config, tmp_path, tmp_path / "copies")
    originals, _ = build(nih_chest_xray.NihChestXrayConfig(**fields), real_dir, tmp_path / "originals")
    ours, theirs = stored(copies), stored(originals)
    assert ours.keys() == theirs.keys()
    for name, example in ours.items():
        assert np.abs(example["image"].astype(int) - theirs[name]["image"]).mean() < 3, name
    statuses, _ = outcome(Path(copies.data_dir), tmp_path)
    assert set(statuses.values()) == {"ok"}

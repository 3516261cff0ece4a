"""Tests of the builder: TFDS's own test case for every named config, and what a user gets from a build."""

import collections
import contextlib
import csv
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath

import nih_chest_xray
from nih_chest_xray.building.local import LocalBuild
from nih_chest_xray.building.size import build_size
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.errors import CohortError, ImageError, NoRoomError, ReleaseError, TransferError
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.planning.cohort import make_cohort
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release import transfer
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.release.tars import TarGz
from nih_chest_xray.system import disk_space
from nih_chest_xray.vocabulary import ARCHIVES, FINDINGS, LABEL_FILES, SUBSETS

SKIP_DECODING = {"image": tfds.decode.SkipDecoding()}


def build(config, manual_dir, data_dir, **download):
    builder = nih_chest_xray.Builder(config=config, data_dir=data_dir, file_format=download.pop("file_format", None))
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, **download)
    builder.download_and_prepare(download_config=config)
    return builder


def examples(builder, subset, **kwargs):
    return {e["image_name"].decode(): e for e in tfds.as_numpy(builder.as_dataset(split=subset, **kwargs))}


def metadata(builder):
    with (builder.data_path / "metadata.csv").open() as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def assert_nothing_is_left(data_dir):
    """No file that TFDS could take for a dataset, and no unfinished one."""
    assert not list(data_dir.glob("**/dataset_info.json"))
    assert not list(data_dir.glob("**/*incomplete*"))
    assert not list(data_dir.glob("**/*.tfrecord*"))


@pytest.fixture
def downloads(monkeypatch):
    """Fails each download at once, as on a machine without a network, and returns what was asked for."""
    asked = []

    def fetch(folder, files, also_needed=(), show_progress=True):
        asked.append((folder, list(files), also_needed))
        raise TransferError("no network")

    monkeypatch.setattr(transfer, "fetch", fetch)
    return asked


@pytest.fixture(scope="module")
def built(phantom_dir, tmp_path_factory):
    """A build with two copies of each training nodule, at 64 pixels."""
    config = nih_chest_xray.NihChestXrayConfig(
        name="built", validation_fraction=0.2, test_fraction=0.2, augmented_copies=2, image_size=64
    )
    return build(config, phantom_dir, tmp_path_factory.mktemp("data"))


class NamedConfig(tfds.testing.DatasetBuilderTestCase):
    """TFDS's checks of a builder. Its mocks fail code that opens files other than through epath."""

    DATASET_CLASS = nih_chest_xray.Builder
    __test__ = False

    @pytest.fixture(autouse=True)
    def _use_phantom(self, phantom_dir, tmp_path):
        (tmp_path / "manual").symlink_to(phantom_dir)  # Where TFDS looks, if nothing else is named.
        type(self).EXAMPLE_DIR = tmp_path
        if not self.SPLITS:
            config = next(c for c in NAMED_CONFIGS if c.name == self.BUILDER_CONFIG_NAMES_TO_TEST[0])
            plan = make_plan(read_tables(find_release(epath.Path(phantom_dir), {}, True), config, {}), config)
            planned = plan.manifest["subset"]
            type(self).SPLITS = planned.value_counts().to_dict()


class TestNodule(NamedConfig):
    BUILDER_CONFIG_NAMES_TO_TEST = ("nodule",)
    __test__ = True


class TestNoduleAugmented(NamedConfig):
    BUILDER_CONFIG_NAMES_TO_TEST = ("nodule_augmented",)
    __test__ = True


class TestNoduleAugmentedMatched(NamedConfig):
    BUILDER_CONFIG_NAMES_TO_TEST = ("nodule_augmented_matched",)
    __test__ = True


class TestFindings(NamedConfig):
    BUILDER_CONFIG_NAMES_TO_TEST = ("findings",)
    __test__ = True


class TestFirstArchive(NamedConfig):
    BUILDER_CONFIG_NAMES_TO_TEST = ("first_archive",)
    __test__ = True


class TestNoduleExpert(NamedConfig):
    BUILDER_CONFIG_NAMES_TO_TEST = ("nodule_expert",)
    __test__ = True


class TestNoduleExpertRest(NamedConfig):
    BUILDER_CONFIG_NAMES_TO_TEST = ("nodule_expert_rest",)
    __test__ = True


class TestSample(NamedConfig):
    BUILDER_CONFIG_NAMES_TO_TEST = ("sample",)
    SPLITS = {"train": 101, "validation": 24, "test": 22}  # As pinned in checksums/splits.tsv.
    __test__ = True


def test_every_named_config_has_a_test_case():
    tested = [name for case in NamedConfig.__subclasses__() for name in case.BUILDER_CONFIG_NAMES_TO_TEST]
    assert sorted(tested) == sorted(config.name for config in NAMED_CONFIGS)


def test_metadata_csv_lists_every_example_with_its_label_and_subset(built):
    int2str = built.info.features["label"].int2str
    stored = [
        (name, int2str(int(example["label"])), subset)
        for subset in SUBSETS
        for name, example in examples(built, subset).items()
    ]
    assert metadata(built) == sorted(stored)


def test_metadata_json_counts_what_metadata_csv_lists_and_tells_the_config(built):
    counts = collections.Counter((subset, label) for _, label, subset in metadata(built))
    saved = json.loads((built.data_path / "metadata.json").read_text())
    assert {(s, label): n for s, by in saved["counts"].items() for label, n in by.items()} == counts
    assert saved["config"]["augmented_copies"] == 2
    assert saved["tables"][saved["label_file"]]["official"] is False
    assert built.info.metadata["class_weights"] == saved["class_weights"]


def test_columns_hold_what_the_label_file_says(built, phantom_labels):
    features = built.info.features
    rows = {row.image_name: row for row in phantom_labels.itertuples(index=False)}
    for example in examples(built, "validation").values():
        row = rows[example["image_name"].decode()]
        assert tuple(FINDINGS[code] for code in np.flatnonzero(example["findings"])) == row.findings
        assert features["patient_sex"].int2str(int(example["patient_sex"])) == row.patient_sex
        assert features["view_position"].int2str(int(example["view_position"])) == row.view_position
        numbers = (example["patient_id"], example["follow_up"], example["patient_age"])
        assert numbers == (row.patient_id, row.follow_up, row.patient_age)
        assert tuple(example["original_size"]) == (row.original_width, row.original_height)
        assert tuple(example["pixel_spacing"]) == (row.pixel_spacing_x, row.pixel_spacing_y)


def test_pixels_are_the_area_means_of_the_source(built, phantom_dir):
    for name, example in examples(built, "validation").items():
        source = cv2.imread(str(phantom_dir / "images" / name), cv2.IMREAD_UNCHANGED)
        source = source[:, :, 2] if source.ndim == 3 else source
        mean = source.reshape(64, 16, 64, 16).mean(axis=(1, 3))
        np.testing.assert_allclose(example["image"][:, :, 0], mean, atol=0.5)


def test_only_training_nodules_have_copies_and_the_copies_differ(built):
    for subset in SUBSETS:
        stored = examples(built, subset)
        copies = {name for name, example in stored.items() if example["augmentation"] != 0}
        nodules = {name for name, example in stored.items() if example["label"] == 1} - copies
        stems = [name.removesuffix(".png") for name in nodules] if subset == "train" else []
        assert copies == {f"{stem}_aug{k}.png" for stem in stems for k in (1, 2)}
        for stem in stems:
            images = [stored[f"{stem}{end}.png"]["image"] for end in ("", "_aug1", "_aug2")]
            assert not any((a == b).all() for a, b in zip(images, [*images[1:], images[0]], strict=True))


def test_boxes_of_a_copy_are_moved_with_it(built):
    stored = examples(built, "train")
    flipped = built.info.features["augmentation"].str2int("horizontal_flip")
    copies = {name: example for name, example in stored.items() if example["augmentation"] == flipped}
    assert copies
    for name, copy in copies.items():
        source = stored[f"{name[:12]}.png"]
        boxes = source["bboxes"]["finding"] >= 0
        assert boxes.any()
        mirrored = source["bboxes"]["bbox"][:, [0, 3, 2, 1]]
        mirrored[boxes] = np.abs([0, 1, 0, 1] - mirrored[boxes])
        np.testing.assert_allclose(copy["bboxes"]["bbox"], mirrored, atol=1e-6)
        np.testing.assert_array_equal(copy["bboxes"]["finding"], source["bboxes"]["finding"])


def test_with_image_size_null_what_is_augmented_in_place_is_encoded_as_a_copy_is(phantom_dir, tmp_path, make_config):
    config = make_config(image_size=None, augmented_copies=1, matched_augmentation=True)
    builder = build(config, phantom_dir, tmp_path)
    flipped = builder.info.features["augmentation"].str2int("horizontal_flip")
    in_place = 0
    for name, example in examples(builder, "train").items():
        if "_aug" in name or example["label"] or example["augmentation"] not in (0, flipped):
            continue
        source = cv2.imread(str(phantom_dir / "images" / name), cv2.IMREAD_UNCHANGED)
        source = source[:, :, 2] if source.ndim == 3 else source
        expected = source[:, ::-1] if example["augmentation"] == flipped else source
        np.testing.assert_array_equal(example["image"][:, :, 0], expected)
        in_place += example["augmentation"] == flipped
    assert in_place > 0


def test_image_size_null_stores_the_bytes_of_the_file(phantom_dir, phantom, tmp_path, make_config):
    builder = build(make_config(image_size=None), phantom_dir, tmp_path)
    stored = {k: v for subset in SUBSETS for k, v in examples(builder, subset, decoders=SKIP_DECODING).items()}
    rgba = {study.name for study in phantom.studies if study.rgba} & set(stored)
    assert rgba
    for name, example in stored.items():
        content = (phantom_dir / "images" / name).read_bytes()
        assert (example["image"] == content) == (name not in rgba)
        if name in rgba:
            grey = cv2.imdecode(np.frombuffer(example["image"], np.uint8), cv2.IMREAD_UNCHANGED)
            source = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(grey, source[:, :, 2])


def records(builder):
    return {path.name: path.read_bytes() for path in builder.data_path.glob("*.tfrecord*")}


@pytest.mark.parametrize("layout", ["archives", "kaggle", "zip"])
def test_every_layout_gives_the_same_records(layout, phantom, phantom_dir, tmp_path, make_config, tmp_path_factory):
    # A phantom's archives bear the NIH's names but not its digests, so they count as repacked.
    config = make_config(image_size=32, augmented_copies=1, allow_missing_images=True)
    phantom.write(tmp_path / "release", layout)
    with pytest.warns(UserWarning, match="images_001") if layout == "archives" else contextlib.nullcontext():
        other = build(config, tmp_path / "release", tmp_path / "data")
    flat = build(config, phantom_dir, tmp_path / "flat")
    assert len(records(flat)) == 3
    assert records(other) == records(flat)
    assert metadata(other) == metadata(flat)
    assert bool(other.info.metadata["repacked_archives"]) == (layout == "archives")


def write_tables(folder, phantom):
    for name, content in phantom.tables().items():
        (folder / name).write_bytes(content)


@pytest.fixture
def part_dir(phantom, phantom_dir, tmp_path):
    """The phantom without every third image."""
    folder = tmp_path / "part"
    (folder / "images").mkdir(parents=True)
    write_tables(folder, phantom)
    for number, name in enumerate(sorted(phantom.names)):
        if number % 3:
            shutil.copy(phantom_dir / "images" / name, folder / "images")
    return folder


def test_a_build_from_a_part_keeps_each_images_subset(part_dir, phantom_dir, tmp_path, make_config, downloads):
    whole = metadata(build(make_config(image_size=16), phantom_dir, tmp_path / "whole"))
    builder = build(make_config(image_size=16, allow_missing_images=True), part_dir, tmp_path / "data")
    present = {path.name for path in (part_dir / "images").iterdir()}
    assert metadata(builder) == [row for row in whole if row[0] in present]
    assert builder.info.metadata["missing_images"] == len(whole) - len(metadata(builder)) > 0
    assert downloads == []


def test_a_build_from_a_part_says_what_is_missing_and_what_there_is(part_dir, tmp_path, make_config):
    with pytest.warns(UserWarning, match=r"of the \d+ images .* are not in .*Without them there are: ") as warned:
        builder = build(make_config(image_size=16, allow_missing_images=True), part_dir, tmp_path)
    counts = json.dumps(builder.info.metadata["counts"])
    assert any(counts in str(warning.message) for warning in warned)


def test_a_subset_of_which_no_image_is_there_is_left_out_and_this_is_said(
    no_pictures, phantom_dir, tmp_path, make_config
):
    config = make_config(image_size=16, allow_missing_images=True)
    whole = metadata(build(config, phantom_dir, tmp_path / "whole"))
    part = shutil.copytree(phantom_dir, tmp_path / "part")
    for name, _, subset in whole:
        if subset == "validation":
            (part / "images" / name).unlink()
    with pytest.warns(UserWarning, match=r"The dataset will have no subset validation\."):
        builder = build(config, part, tmp_path / "data")
    assert sorted(builder.info.splits) == ["test", "train"]
    write_site(builder.data_path, tmp_path / "site")
    assert "when it was built. It has no subset validation." in (tmp_path / "site" / "index.html").read_text()


def test_a_label_file_that_is_not_the_nihs_is_said_to_decide_all(phantom_dir, phantom_labels, tmp_path, make_config):
    message = f"{LABEL_FILES[0]} has {len(phantom_labels)} rows and is not byte for byte the NIH's"
    with pytest.warns(UserWarning, match=message):
        build(make_config(image_size=16), phantom_dir, tmp_path)


def test_missing_images_without_a_network_tell_how_many_and_both_ways_out(
    part_dir, phantom_labels, tmp_path, make_config, downloads
):
    wanted = set(make_cohort(phantom_labels, make_config())["image_name"])
    missing = wanted - {path.name for path in (part_dir / "images").iterdir()}
    with pytest.raises(ReleaseError) as error:
        build(make_config(), part_dir, tmp_path / "data")
    assert f"{len(missing)} of the {len(wanted)} images" in str(error.value)
    assert min(missing) in str(error.value)
    assert '"allow_missing_images": true' in str(error.value)
    assert "put the missing images there" in str(error.value)
    # The phantom's patients have the lowest numbers, whose images are in the first archive.
    [(folder, files, [data])] = downloads
    assert (folder, files) == (epath.Path(tmp_path / "data" / "downloads" / "nih_chest_xray"), [ARCHIVES[0]])
    assert data.folder == epath.Path(tmp_path / "data")
    assert data.size == build_size(make_config(), len(wanted))
    assert_nothing_is_left(tmp_path / "data")


def test_an_empty_default_manual_dir_means_that_everything_is_downloaded(tmp_path, make_config, downloads):
    with pytest.raises(ReleaseError, match="Data_Entry_2017_v2020.csv and BBox_List_2017.csv: not found"):
        nih_chest_xray.Builder(config=make_config(), data_dir=tmp_path).download_and_prepare()
    assert [files for _, files, _ in downloads] == [["Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"]]
    assert_nothing_is_left(tmp_path)


def test_a_disk_that_is_too_small_is_told_before_the_first_image_is_read(
    phantom_dir, tmp_path, make_config, monkeypatch
):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 1_000_000}))
    monkeypatch.setattr(LocalBuild, "write", lambda *_: pytest.fail("it was begun"))
    with pytest.raises(NoRoomError, match=rf"MB in {tmp_path}/data; 1.0 MB are free there.*name a data_dir"):
        build(make_config(), phantom_dir, tmp_path / "data")
    assert_nothing_is_left(tmp_path / "data")


def cut_archive(folder, phantom):
    phantom.write(folder, "archives")
    path = folder / "images_001.tar.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def unrelated(folder, phantom):
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"\xff\xd8")


def no_folder(folder, phantom):
    folder.write_text("a file")


def few_patients(folder, phantom):
    folder.mkdir()
    write_tables(folder, phantom)
    lines = phantom.tables()[LABEL_FILES[0]].decode().splitlines()
    (folder / LABEL_FILES[0]).write_text("\n".join(lines[:4]))


def broken_image(folder, phantom):
    phantom.write(folder)
    for path in (folder / "images").iterdir():
        path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder, phantom: None, ReleaseError, "manual_dir .*/release does not exist. It may hold"),
        (lambda folder, phantom: folder.mkdir(), ReleaseError, "manual_dir .*/release is empty. It may hold"),
        (no_folder, ReleaseError, "manual_dir .*/release is not a directory. It may hold"),
        (unrelated, ReleaseError, "Nothing of the NIH's release is in the manual_dir"),
        (cut_archive, ReleaseError, "images_001.tar.gz is cut or corrupt"),
        (broken_image, ImageError, r"0000.*\.png in .*images: the PNG of 5000 bytes is cut or corrupt"),
    ],
)
def test_bad_input_gets_one_clear_error_and_leaves_nothing(
    make, error, message, phantom, tmp_path, make_config, downloads
):
    make(tmp_path / "release", phantom)
    with pytest.raises(error, match=message):
        build(make_config(allow_missing_images=True), tmp_path / "release", tmp_path / "data")
    assert downloads == []
    assert_nothing_is_left(tmp_path / "data")


def test_too_few_patients_are_refused_and_leave_nothing(phantom, tmp_path, make_config, downloads):
    few_patients(tmp_path / "release", phantom)
    with pytest.raises(CohortError, match="subset would have no"):
        build(make_config(), tmp_path / "release", tmp_path / "data")
    assert downloads == []
    assert_nothing_is_left(tmp_path / "data")


def test_a_part_that_lacks_the_images_of_a_class_says_that_auroc_is_undefined(
    phantom_dir, phantom_labels, tmp_path, make_config
):
    config = make_config(allow_missing_images=True, image_size=16)
    cohort = make_cohort(phantom_labels, config)
    gone = cohort.loc[(cohort["subset"] == "test") & cohort["positive"], "image_name"]
    shutil.copytree(phantom_dir, tmp_path / "release", ignore=lambda folder, names: {*gone} & {*names})
    with pytest.warns(UserWarning, match="test has no image of Nodule: AUROC is undefined there.$"):
        builder = build(config, tmp_path / "release", tmp_path / "data")
    assert builder.info.metadata["counts"]["test"]["Nodule"] == 0
    assert builder.info.metadata["missing_images"] == len(gone) > 0


def test_an_archive_without_the_nihs_digest_is_refused_before_it_is_read(phantom, tmp_path, make_config):
    phantom.write(tmp_path / "release", "archives")
    with pytest.raises(ReleaseError, match=r"images_001.tar.gz has .* bytes; the NIH's .* has 2,008,470,987"):
        build(make_config(), tmp_path / "release", tmp_path / "data")
    assert_nothing_is_left(tmp_path / "data")


def test_a_second_build_reuses_the_first_and_an_overwrite_replaces_it(phantom_dir, tmp_path, make_config):
    first = build(make_config(image_size=16), phantom_dir, tmp_path)
    written = (first.data_path / "metadata.csv").stat().mtime
    again = build(make_config(image_size=16), phantom_dir, tmp_path)
    assert (again.data_path / "metadata.csv").stat().mtime == written
    mode = tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS
    replaced = build(make_config(image_size=16, seed=1), phantom_dir, tmp_path, download_mode=mode)
    assert metadata(replaced) != metadata(first) or replaced.info.metadata["config"]["seed"] == 1
    assert json.loads((replaced.data_path / "metadata.json").read_text())["config"]["seed"] == 1


def test_a_reused_build_from_a_part_says_that_it_is_not_built_again(part_dir, tmp_path, make_config):
    config = make_config(image_size=16, allow_missing_images=True)
    missing = build(config, part_dir, tmp_path).info.metadata["missing_images"]
    with pytest.warns(
        UserWarning, match=rf"reused as it is.* unofficial .*, with {missing} images missing.*--overwrite"
    ):
        build(config, part_dir, tmp_path)


def test_another_config_of_the_same_name_is_refused(phantom_dir, tmp_path, make_config):
    """TFDS would return the dataset that is there, as if it were what was asked for."""
    first = build(make_config(image_size=16), phantom_dir, tmp_path)
    with pytest.raises(ValueError, match=r"was built with image_size=16, seed=0, which is not .* --overwrite"):
        build(make_config(image_size=32, seed=1), phantom_dir, tmp_path)
    assert json.loads((first.data_path / "metadata.json").read_text())["config"]["seed"] == 0


def test_a_capped_build_lists_just_what_was_written_and_says_that_it_is_capped(phantom_dir, tmp_path, make_config):
    builder = build(make_config(image_size=16), phantom_dir, tmp_path, max_examples_per_split=3)
    stored = {name for subset in SUBSETS for name in examples(builder, subset)}
    assert {name for name, _, _ in metadata(builder)} == stored
    assert len(stored) == 9
    assert sum(sum(by.values()) for by in builder.info.metadata["counts"].values()) == 9
    assert builder.info.metadata["max_examples_per_split"] == 3


def test_a_capped_build_is_not_taken_for_a_whole_one_but_replaced_by_an_overwrite(phantom_dir, tmp_path, make_config):
    build(make_config(image_size=16), phantom_dir, tmp_path, max_examples_per_split=3)
    build(make_config(image_size=16), phantom_dir, tmp_path, max_examples_per_split=3)
    for other in (None, 4):
        with pytest.raises(ValueError, match=r"trial build of at most 3 examples a split.*--overwrite.*download=False"):
            build(make_config(image_size=16), phantom_dir, tmp_path, max_examples_per_split=other)
    mode = tfds.download.GenerateMode.REUSE_CACHE_IF_EXISTS
    whole = build(make_config(image_size=16), phantom_dir, tmp_path, download_mode=mode)
    assert whole.info.metadata["max_examples_per_split"] is None
    assert whole.info.splits.total_num_examples > 9
    # A whole one serves whoever wants a few examples.
    build(make_config(image_size=16), phantom_dir, tmp_path, max_examples_per_split=3)


@pytest.mark.parametrize("file_format", ["array_record", "parquet"])
def test_other_file_formats_hold_the_same_examples_in_the_same_order(file_format, built, phantom_dir, tmp_path):
    """Not riegeli: there is no package of it to install."""
    other = build(built.builder_config, phantom_dir, tmp_path, file_format=file_format)
    for subset in SUBSETS:
        ours = examples(built, subset)
        # TFDS reads array records only as a data source, the way of PyTorch and Grain.
        stored = (
            other.as_data_source(subset)
            if file_format == "array_record"
            else tfds.as_numpy(other.as_dataset(split=subset))
        )
        theirs = {example["image_name"].decode(): example for example in stored}
        assert list(theirs) == list(ours)
        assert all((ours[name]["image"] == theirs[name]["image"]).all() for name in ours)


def test_jpeg_is_stored_where_it_is_asked_for(phantom_dir, tmp_path, make_config):
    builder = build(make_config(image_size=64, image_format="jpeg"), phantom_dir, tmp_path)
    for example in examples(builder, "test", decoders=SKIP_DECODING).values():
        assert example["image"].startswith(b"\xff\xd8")


def test_a_release_is_found_and_read_on_a_cloud_path(phantom):
    """TFDS's mock serves gs:// through epath, but no file that stays open, as a zip does.

    Nor a whole build: TensorFlow's C++ writer would ask the real cloud.
    """
    with tfds.testing.MockFs():
        folder = epath.Path("gs://bucket/nih")
        phantom.write(folder)
        found = find_release(folder, {}, allow_repacked=True)
        read = {image.name: image.read() for image in found.images(phantom.names)}
        assert read == phantom.drawn
        assert found.tables[found.label_file].read() == phantom.tables()[LABEL_FILES[0]]
        assert all(source.place.startswith("gs://bucket/nih") for source in found.sources)


def test_an_archive_is_read_on_a_cloud_path(phantom):
    """Apart from the above, since the mock does not serve file sizes."""
    with tfds.testing.MockFs():
        phantom.write(epath.Path("gs://bucket/nih"), "archives")
        archive = TarGz(epath.Path("gs://bucket/nih/images_001.tar.gz"))
        wanted = frozenset(sorted(phantom.names)[::7])
        read = {image.name: image.read() for image in archive.images(wanted)}
        assert read == {name: phantom.drawn[name] for name in wanted if name in read}
        assert read


def test_a_built_config_loads_by_name_without_the_package(built):
    code = f"""
import sys, tensorflow_datasets as tfds
parts = tfds.load("nih_chest_xray/built", data_dir={str(built.data_dir_root)!r}, split=["train", "validation", "test"])
assert "nih_chest_xray" not in sys.modules
print([len(part) for part in parts])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert json.loads(out) == [built.info.splits[subset].num_examples for subset in SUBSETS]


def test_a_built_config_loads_by_name_with_the_package(built):
    train = tfds.load("nih_chest_xray/built", data_dir=built.data_dir_root, split="train", as_supervised=True)
    image, label = next(iter(train))
    assert image.shape == (64, 64, 1)
    assert label.shape == ()


def test_every_feature_has_a_doc():
    documentation = nih_chest_xray.Builder(config="sample", data_dir="unused").info.features.catalog_documentation()
    undocumented = [entry.name for entry in documentation if entry.name and not entry.description]
    assert undocumented == []

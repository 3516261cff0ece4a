"""Tests on the NIH's real tables and some of its images, where NIH_CHEST_XRAY_DIR names their folder."""

import collections
import csv
import hashlib
import shutil
import warnings

import cv2
import mlcroissant
import numpy as np
import pytest
import tensorflow_datasets as tfds
from etils import epath
from pages import Page

import nih_chest_xray
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.formats.convert import convert
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.release import known_files
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.verification.command import verify
from nih_chest_xray.vocabulary import FINDINGS, LABEL_FILES

pytestmark = pytest.mark.real

RGBA_NODULE = "00002578_000.png"


def build(manual_dir, data_dir, **fields):
    config = nih_chest_xray.NihChestXrayConfig(name="slice", allow_missing_images=True, **fields)
    builder = nih_chest_xray.Builder(config=config, data_dir=data_dir)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


@pytest.fixture(scope="module")
def built(real_dir, tmp_path_factory):
    return build(real_dir, tmp_path_factory.mktemp("data"), augmented_copies=1)


def examples(builder, **kwargs):
    return {
        example["image_name"].decode(): (example, subset)
        for subset in builder.info.splits
        for example in tfds.as_numpy(builder.as_dataset(split=subset, **kwargs))
    }


def test_tables_are_the_official_ones(real_dir):
    for info in nih_chest_xray.Builder.url_infos.values():
        if not info.filename.endswith(".gz"):
            content = (real_dir / info.filename).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (info.size, info.checksum)


def test_the_official_label_file_is_known_by_its_bytes_whatever_it_is_called(real_dir, tmp_path):
    """Who has Kaggle's folders may have put the NIH's newer table there under the older one's name."""
    shutil.copy(real_dir / LABEL_FILES[0], tmp_path / "Data_Entry_2017.csv")
    found = find_release(epath.Path(tmp_path), known_files(), allow_repacked=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tables = read_tables(found, NAMED_CONFIGS[0], known_files())
    assert tables.origin["label_file"] == "Data_Entry_2017.csv"
    assert tables.origin["tables"]["Data_Entry_2017.csv"]["official"]


def test_examples_are_what_metadata_csv_and_the_label_file_say(built, real_labels):
    findings = dict(zip(real_labels["image_name"], real_labels["findings"], strict=True))
    with (built.data_path / "metadata.csv").open() as file:
        listed = {row["image_name"]: (row["label"], row["subset"]) for row in csv.DictReader(file)}
    label = built.info.features["label"].int2str
    stored = examples(built)
    assert {name: (label(int(e["label"])), subset) for name, (e, subset) in stored.items()} == listed
    for name, (word, _) in listed.items():
        source = name.split("_aug")[0].removesuffix(".png") + ".png"
        assert word == ("Nodule" if "Nodule" in findings[source] else "No Finding")
    assert all(table["official"] for table in built.info.metadata["tables"].values())


def test_each_training_nodule_is_there_twice_and_no_copy_is_elsewhere(built, real_dir):
    stored = examples(built)
    copies = collections.Counter(
        "_aug" in name for name, (e, subset) in stored.items() if subset == "train" and e["label"]
    )
    assert copies[True] == copies[False] > 0
    for name, (example, subset) in stored.items():
        if "_aug" in name:
            assert subset == "train"
            assert name.replace("_aug1", "") in stored
            assert not (example["image"] == stored[name.replace("_aug1", "")][0]["image"]).all()


def test_matched_augmentation_changes_as_large_a_share_of_both_classes_and_what_it_says(real_dir, tmp_path):
    builder = build(real_dir, tmp_path, based_on="nodule_augmented_matched", image_size=64)
    names = builder.info.features["augmentation"].names
    train = {name: example for name, (example, subset) in examples(builder).items() if subset == "train"}
    drawn = {label: collections.Counter() for label in (0, 1)}
    for name, example in train.items():
        drawn[example["label"]][names[example["augmentation"]]] += 1
        if "_aug" in name or not example["augmentation"]:
            continue
        assert example["label"] == 0
        source = cv2.imread(str(real_dir / "images" / name), cv2.IMREAD_UNCHANGED)
        source = source[:, :, 2] if source.ndim == 3 else source
        flipped = names[example["augmentation"]] == "horizontal_flip"
        mean = (source[:, ::-1] if flipped else source).reshape(64, 16, 64, 16).mean(axis=(1, 3))
        assert (np.abs(example["image"][:, :, 0] - mean).max() <= 0.5) == flipped
    assert "_aug1.png" in "".join(name for name, example in train.items() if example["label"])
    shares = {label: {name: n / counts.total() for name, n in counts.items()} for label, counts in drawn.items()}
    for name in ("rotation", "horizontal_flip"):
        assert abs(shares[0][name] - shares[1][name]) <= 1 / drawn[0].total()
    counted = builder.info.metadata["augmentations"]
    assert counted == {"No Finding": dict(drawn[0]), "Nodule": dict(drawn[1])}
    done = {check.name: check for check in verify(builder.data_path, real_dir)}
    assert [offender for check in done.values() for offender in check.offenders] == []
    assert {done[name].status for name in ("augmentation", "labels", "pixels")} == {"ok"}


def test_a_second_format_has_the_same_examples(real_dir, tmp_path):
    folder = build(real_dir, tmp_path, augmented_copies=1, image_size=256).data_path
    for file_format in ("array_record", "parquet"):
        convert(folder, file_format)
    done = {check.name: check for check in verify(folder, real_dir)}
    assert [offender for check in done.values() for offender in check.offenders] == []
    builder = tfds.builder_from_directory(folder)
    for subset in builder.info.splits:
        first = list(tfds.as_numpy(tfds.builder_from_directory(folder).as_dataset(split=subset)))
        for file_format in ("array_record", "parquet"):
            source = tfds.builder_from_directory(folder).as_data_source(subset, file_format=file_format)
            assert len(source) == len(first) > 0
            for ours, theirs in zip(first, source, strict=True):
                assert np.array_equal(ours["image"], theirs["image"])
                assert (ours["image_name"], ours["label"]) == (theirs["image_name"], theirs["label"])


def test_the_rgba_nodule_is_its_red_channel_resized(built, real_dir):
    source = cv2.imread(str(real_dir / "images" / RGBA_NODULE), cv2.IMREAD_UNCHANGED)
    assert source.shape == (1024, 1024, 4)
    mean = source[:, :, 2].reshape(512, 2, 512, 2).mean(axis=(1, 3))
    example, _ = examples(built)[RGBA_NODULE]
    np.testing.assert_allclose(example["image"][:, :, 0], mean, atol=0.5)


def test_image_size_null_stores_the_files_own_bytes(real_dir, tmp_path):
    stored = examples(build(real_dir, tmp_path, image_size=None), decoders={"image": tfds.decode.SkipDecoding()})
    for name, (example, _) in stored.items():
        content = (real_dir / "images" / name).read_bytes()
        is_grey = content[25] == 0  # The colour type in a PNG's header.
        assert (example["image"] == content) == is_grey
    assert RGBA_NODULE in stored


def test_findings_are_multi_hot_as_the_label_file_says_and_boxes_are_the_nihs(real_dir, real_labels, tmp_path):
    fields = {"task": "findings", "healthy_stride": 1, "split": "official", "image_size": 64}
    stored = examples(build(real_dir, tmp_path, **fields))
    assert set(stored) == {path.name for path in (real_dir / "images").glob("*.png")}
    with (real_dir / "Data_Entry_2017_v2020.csv").open() as file:
        strings = {row["Image Index"]: row["Finding Labels"].split("|") for row in csv.DictReader(file)}
    for name, (example, _) in stored.items():
        assert list(example["label"]) == [finding in strings[name] for finding in FINDINGS]
    boxes = collections.defaultdict(list)
    with (real_dir / "BBox_List_2017.csv").open() as file:
        for name, finding, *numbers in list(csv.reader(file))[1:]:
            x, y, w, h = (float(number) / 1024 for number in numbers[:4])
            boxes[name].append((FINDINGS.index(finding.replace("Infiltrate", "Infiltration")), y, x, y + h, x + w))
    marked = {}
    for name, (example, _) in stored.items():
        filled = example["bboxes"]["finding"] >= 0
        assert not example["bboxes"]["bbox"][~filled].any()
        if filled.any():
            marked[name] = {key: values[filled] for key, values in example["bboxes"].items()}
    assert set(marked) == set(boxes) & set(stored)
    assert len(marked) >= 7
    for name, found in marked.items():
        rows = [(finding, *bbox) for finding, bbox in zip(found["finding"], found["bbox"].tolist(), strict=True)]
        assert np.array(rows) == pytest.approx(np.array(boxes[name]), abs=1e-6)


def test_the_page_speaks_of_the_slice_and_croissant_reads_its_table(built, tmp_path):
    """Its validation subset has nodules alone, as the builder has warned."""
    site = write_site(built.data_path, tmp_path / "site")
    page = Page(site / "index.html")
    with (built.data_path / "metadata.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert {row["label"] for row in listed if row["subset"] == "validation"} == {"Nodule"}
    [warning] = [element["text"] for element in page.all("p") if element["attrs"].get("class") == "notice empty"]
    assert warning == "validation has no image of No Finding: AUROC is undefined there."
    images = sum("_aug" not in row["image_name"] for row in listed)
    about = page.all("main")[0]["text"].partition("Load it")[0]
    assert f"{images} frontal chest radiographs of " in about
    assert f"and {len(listed) - images} augmented copies" in about
    records = list(mlcroissant.Dataset(site / "croissant.json").records("examples"))
    assert [record["examples/image_name"].decode() for record in records] == [row["image_name"] for row in listed]


FOLDS = {"based_on": "findings", "split": "folds", "official_test": True}
ANY_FINDING = {"positive": ["Pneumothorax", "Effusion"], "negative": "rest", "split": "official"}
NAMED = [c.name for c in NAMED_CONFIGS if not c.phantom_patients and not c.definition.read_by_radiologists]


@pytest.mark.slow
@pytest.mark.parametrize("fields", [*({"based_on": name} for name in NAMED), FOLDS, ANY_FINDING], ids=str)
def test_in_every_config_each_image_has_the_label_of_the_nihs_table_by_itself(real_dir, tmp_path, fields):
    """The table is read with Python's csv alone, and the config's rule is written here once more."""
    with (real_dir / LABEL_FILES[0]).open() as file:
        said = {row["Image Index"]: set(row["Finding Labels"].split("|")) for row in csv.DictReader(file)}
    built = build(real_dir, tmp_path, image_size=32, **fields)
    config = built.builder_config
    healthy = sorted(name for name, labels in said.items() if labels == {"No Finding"})
    kept = {*healthy[:: config.healthy_stride]}
    kept |= {name for name, labels in said.items() if labels & {*config.positive}}
    if config.task == "findings" or config.negative == "rest":
        kept |= said.keys() - {*healthy}
    there = {path.name for path in real_dir.rglob("*.png")}
    if config.archives:
        there = {name for name in there if name <= "00001335_006.png"}  # The last of the NIH's first archive.
    stored = examples(built, decoders={"image": tfds.decode.SkipDecoding()})
    assert {name for name in stored if "_aug" not in name} == kept & there
    for name, (example, _) in stored.items():
        labels = said[name.split("_aug")[0].removesuffix(".png") + ".png"]
        vector = [int(finding in labels) for finding in FINDINGS]
        assert example["findings"].tolist() == vector
        if config.task == "findings":
            assert example["label"].tolist() == vector
        else:
            assert example["label"] == bool(labels & {*config.positive})

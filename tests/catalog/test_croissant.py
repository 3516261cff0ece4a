"""Tests of the Croissant metadata: mlcroissant accepts it and reads with it what the datasets hold."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import mlcroissant as mlc
import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import CATALOG_CONFIGS, CATALOG_FORMATS

from nih_chest_xray.catalog.site import write_site

CONFIGS = list(CATALOG_CONFIGS)
RAI = [
    f"rai:{name}"
    for name in (
        "dataCollection",
        "dataCollectionMissingData",
        "dataPreprocessingProtocol",
        "dataAnnotationProtocol",
        "dataBiases",
        "dataLimitations",
        "dataUseCases",
        "personalSensitiveInformation",
    )
]


def folder_of(catalog_data, name):
    return catalog_data / "nih_chest_xray" / name / "2.0.0"


@pytest.fixture(scope="module", params=CONFIGS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def jsonld(catalog_site, name):
    return json.loads((catalog_site / name / "croissant.json").read_text())


def text_of(value):
    return " ".join(value) if isinstance(value, list) else value


def test_it_validates_without_errors_or_warnings(catalog_site, name):
    issues = mlc.Dataset(catalog_site / name / "croissant.json").metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())


def test_the_command_of_mlcroissant_accepts_it(catalog_site):
    command = [Path(sys.executable).parent / "mlcroissant", "validate"]
    command += ["--jsonld", catalog_site / "drawn" / "croissant.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "Done" in done.stderr) == (0, True), done.stderr


def test_the_record_set_metadata_is_metadata_csv(catalog_site, catalog_data, name):
    dataset = mlc.Dataset(catalog_site / name / "croissant.json")
    records = [
        {key.removeprefix("metadata/"): value.decode() for key, value in record.items()}
        for record in dataset.records("metadata")
    ]
    with (folder_of(catalog_data, name) / "metadata.csv").open() as file:
        assert records == list(csv.DictReader(file))


@pytest.mark.parametrize("subset", ["train", "validation", "test"])
def test_records_in_parquet_are_the_examples(subset, catalog_site, catalog_data):
    [parquet] = [name for name, form in CATALOG_FORMATS.items() if form == "parquet"]
    builder = tfds.builder_from_directory(folder_of(catalog_data, parquet))
    features = builder.info.features
    expected = list(tfds.as_numpy(builder.as_dataset(split=subset)))
    records = list(mlc.Dataset(catalog_site / parquet / "croissant.json").records(subset))
    assert len(records) == len(expected) > 0
    for record, example in zip(records, expected, strict=True):
        read = features.deserialize_example_np(record[f"{subset}/data"])
        assert read["image_name"] == example["image_name"]
        np.testing.assert_array_equal(read["image"], example["image"])
        np.testing.assert_array_equal(read["label"], example["label"])
        np.testing.assert_array_equal(read["findings"], example["findings"])


def test_only_parquet_has_record_sets_of_the_records(jsonld, name):
    sets = {record_set["name"] for record_set in jsonld["recordSet"]}
    examples = {"train", "validation", "test"} if CATALOG_FORMATS[name] == "parquet" else set()
    tables = {"metadata", "examples", "subsets"} | ({"classes"} if name != "many" else set())
    assert sets == tables | examples


def test_the_record_set_examples_is_examples_csv_in_types(catalog_site, catalog_data, name):
    """Python's csv reads texts; those that look like numbers have to be numbers, but for names of classes."""
    dataset = mlc.Dataset(catalog_site / name / "croissant.json")
    with (folder_of(catalog_data, name) / "examples.csv").open() as file:
        header, *rows = csv.reader(file)
    records = list(dataset.records("examples"))
    assert [key.removeprefix("examples/") for key in records[0]] == header
    numbers = set()
    for record, row in zip(records, rows, strict=True):
        for column, cell in zip(header, row, strict=True):
            value = record[f"examples/{column}"]
            if isinstance(value, bytes):
                assert value.decode() == cell
            else:
                assert value == pytest.approx(float(cell), rel=1e-6)
                numbers.add(column)
    of_two = {f"{part}_{axis}" for part in ("pixel_spacing", "mm_per_pixel") for axis in "xy"}
    assert numbers == {"patient_id", "follow_up", "patient_age", "original_size_width", "original_size_height"} | of_two


def test_labels_and_subsets_refer_to_lists_of_what_they_may_be(catalog_site, catalog_data, name):
    croissant = json.loads((catalog_site / name / "croissant.json").read_text())
    [examples] = [records for records in croissant["recordSet"] if records["name"] == "examples"]
    references = {
        field["name"]: field["references"]["field"]["@id"] for field in examples["field"] if "references" in field
    }
    lists = {"subset": "subsets/name"} | ({"label": "classes/name"} if name != "many" else {})
    assert references == lists
    dataset = mlc.Dataset(catalog_site / name / "croissant.json")
    features = tfds.builder_from_directory(folder_of(catalog_data, name)).info.features
    for column, field in lists.items():
        names = [record[field] for record in dataset.records(field.partition("/")[0])]
        assert names == (features["label"].names if column == "label" else ["train", "validation", "test"])


def test_every_file_is_there_with_its_digest_and_size(jsonld, catalog_site, catalog_data, name):
    files = {path.name: path for path in folder_of(catalog_data, name).iterdir()}
    assert {entry["name"] for entry in jsonld["distribution"]} == set(files)
    for entry in jsonld["distribution"]:
        content = (catalog_site / name / entry["contentUrl"]).read_bytes()
        assert content == files[entry["name"]].read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["contentSize"] == f"{len(content)} B"


def test_a_changed_file_is_noticed(no_pictures, catalog_data, tmp_path):
    folder = shutil.copytree(folder_of(catalog_data, "drawn"), tmp_path / "data")
    site = write_site(folder, tmp_path / "site")
    (folder / "metadata.csv").write_text("image_name,label,subset\nx.png,Nodule,train\n")
    with pytest.raises(mlc.GenerationError) as error:
        list(mlc.Dataset(site / "croissant.json").records("metadata"))
    assert "is not identical" in str(error.value.__cause__)


def test_what_a_reader_has_to_know_is_said(jsonld, name):
    assert not [key for key in RAI if not jsonld.get(key)]
    assert jsonld["version"] == "2.0.0"
    assert jsonld["conformsTo"][1] == "http://mlcommons.org/croissant/RAI/1.0"
    everything = json.dumps(jsonld)
    if name == "drawn":
        assert "No patient is behind it" in jsonld["description"]
        assert "no patient is behind it" in text_of(jsonld["rai:personalSensitiveInformation"])
        assert jsonld["license"] == "https://spdx.org/licenses/Apache-2.0.html"
        assert jsonld["creator"]["name"].startswith("The package")
        assert "wang2017" not in everything
        assert "112,120" not in everything
        assert "nihcc" not in everything
    else:
        assert "unrestricted" in text_of(jsonld["license"])
        assert jsonld["creator"]["name"] == "NIH Clinical Center"
        assert "wang2017chestxray8" in jsonld["citeAs"]
        limitations = text_of(jsonld["rai:dataLimitations"])
        assert all(word in limitations for word in ("90 %", "does not mean healthy", "one institution"))
        assert "Synthetic" not in everything
    biases = text_of(jsonld["rai:dataBiases"])
    assert ("Only training images with a nodule are augmented, so augmentation tells the class" in biases) == (
        name == "drawn"
    )
    assert ("augmentation says nothing of the class" in biases) == (name == "listed")
    in_place = "training images without a nodule are augmented in place" in text_of(
        jsonld["rai:dataPreprocessingProtocol"]
    )
    assert in_place == (name == "listed")
    assert (" augmented cop" in text_of(jsonld["rai:dataPreprocessingProtocol"])) == (name != "many")


def test_the_date_is_the_day_of_the_build(jsonld, catalog_data, name):
    modified = (folder_of(catalog_data, name) / "dataset_info.json").stat().st_mtime
    assert jsonld["datePublished"][:10] == str(np.datetime64(int(modified), "s"))[:10]


def test_a_url_is_where_all_files_are(no_pictures, catalog_data, tmp_path):
    site = write_site(folder_of(catalog_data, "drawn"), tmp_path / "site", "https://host.test/data")
    jsonld = json.loads((site / "croissant.json").read_text())
    assert jsonld["url"] == "https://host.test/data"
    urls = [(entry["contentUrl"], entry["name"]) for entry in jsonld["distribution"]]
    assert all(url == f"https://host.test/data/{file}" for url, file in urls)
    assert not mlc.Dataset(site / "croissant.json").metadata.ctx.issues.errors

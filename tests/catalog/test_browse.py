"""Tests of what the browser of examples is given: tables, thumbnails and large pictures."""

import csv
import json
import re
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow_datasets as tfds
from conftest import CATALOG_CONFIGS, CATALOG_FORMATS, build
from pages import Page, script_columns, script_table

from nih_chest_xray.__main__ import main
from nih_chest_xray.catalog import thumbnails
from nih_chest_xray.catalog.columns import write_columns
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.images.codec import decode
from nih_chest_xray.phantom.release import Phantom
from nih_chest_xray.verification.shards import chosen_records, read_shard, shards
from nih_chest_xray.vocabulary import FINDINGS, SUBSETS

CONFIGS = list(CATALOG_CONFIGS)


def dataset_dir(data_dir, name):
    return data_dir / "nih_chest_xray" / name / "2.0.0"


def examples_csv(folder):
    with (folder / "examples.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def stored(catalog_data):
    """The examples of each config by image name, with encoded images."""

    def read(name):
        builder = tfds.builder_from_directory(dataset_dir(catalog_data, name))
        raw = {"image": tfds.decode.SkipDecoding()}
        array_record = CATALOG_FORMATS[name] == "array_record"
        for subset in SUBSETS:
            if array_record:
                yield from builder.as_data_source(subset, decoders=raw)
            else:
                yield from tfds.as_numpy(builder.as_dataset(split=subset, decoders=raw))

    return {name: {example["image_name"].decode(): example for example in read(name)} for name in CONFIGS}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_row_and_column_is_that_of_examples_csv(name, catalog_site, catalog_data):
    rows = script_table(catalog_site / name / "examples" / "rows.js")
    assert rows == examples_csv(dataset_dir(catalog_data, name))


@pytest.mark.parametrize("name", CONFIGS)
def test_of_few_examples_all_have_pictures_and_their_facts(name, catalog_site, catalog_data):
    shown = {row["image_name"]: row for row in script_table(catalog_site / name / "examples" / "examples.js")}
    rows = {row["image_name"]: row for row in examples_csv(dataset_dir(catalog_data, name))}
    assert shown.keys() == rows.keys()
    for image_name, row in shown.items():
        assert {key: value for key, value in rows[image_name].items() if key in row} == {
            key: row[key] for key in rows[image_name] if key in row
        }
        boxes = [
            [finding, *(round(320 * edge, 1) for edge in box)]
            for box, finding in json.loads(rows[image_name]["bboxes"])
        ]
        found = [
            [finding, y, x, round(y + height, 1), round(x + width, 1)]
            for finding, x, y, width, height in json.loads(row["boxes"])
        ]
        assert [box[0] for box in found] == [box[0] for box in boxes]
        np.testing.assert_allclose([b[1:] for b in found], [b[1:] for b in boxes], atol=0.2)
        assert row["alt"].count("A box marks") == len(boxes)


@pytest.mark.parametrize("name", CONFIGS)
def test_large_pictures_are_the_stored_bytes_and_thumbnails_are_in_their_places(name, stored, catalog_site):
    folder = catalog_site / name
    rows = script_table(folder / "examples" / "examples.js")
    sheets = [
        cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted((folder / "examples").glob("sheet-*.webp"))
    ]
    side = thumbnails.SIDE
    for place, row in enumerate(rows):
        content = stored[name][row["image_name"]]["image"]
        file = (folder / row["file"]).read_bytes()
        pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
        # Raw pixels are a file of the same pixels, any other image one of the same bytes.
        assert (row["is_stored"], pixels.tobytes() if name == "listed" else file) == ("True", content)
        down, across = divmod(place % 100, 10)
        thumbnail = sheets[place // 100][down * side : (down + 1) * side, across * side : (across + 1) * side]
        enlarged = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
        assert (
            np.abs(thumbnail.astype(int) - enlarged).mean() < 6
        )  # What WebP changes; neighbours differ by 20 and more.
    assert len(list((folder / "examples").iterdir())) == len(rows) + len(sheets) + 2


def test_beyond_the_budget_featured_pictures_are_stored_bytes_and_others_small(catalog_data, tmp_path, monkeypatch):
    folder = dataset_dir(catalog_data, "drawn")
    monkeypatch.setattr(thumbnails, "_ALL_STORED", 10_000)
    monkeypatch.setattr(thumbnails, "_LARGEST", 32)
    site = write_site(folder, tmp_path / "site")
    rows = script_table(site / "examples" / "examples.js")
    kinds = {row["image_name"]: row["file"].rpartition(".")[2] for row in rows}
    linked = {
        e["attrs"]["data-example"]: e["attrs"]["href"]
        for e in Page(site / "index.html").all("a")
        if "data-example" in e["attrs"]
    }
    assert {name for name, kind in kinds.items() if kind == "png"} == set(linked)
    assert set(kinds.values()) == {"png", "webp"}
    for row in rows:
        assert row["file"] == linked.get(row["image_name"], row["file"])
        assert row["is_stored"] == str(row["file"].endswith("png"))
        picture = cv2.imread(str(site / row["file"]), cv2.IMREAD_GRAYSCALE)
        assert picture.shape == ((64, 64) if row["is_stored"] == "True" else (32, 32))
    # With no room for featured ones either, none is.
    monkeypatch.setattr(thumbnails, "_FEATURED_STORED", 10)
    site = write_site(folder, tmp_path / "site")
    assert {row["is_stored"] for row in script_table(site / "examples" / "examples.js")} == {"False"}


def test_pictures_keep_to_their_share_of_15_mb():
    """Drawn radiographs take about as much as real ones; the rest of a large site takes 5 MB."""
    drawn = Phantom(4).images(frozenset(Phantom(4).names))
    pictures = [decode(image.read()) for image in drawn]
    for number in (1000, 600, 250):
        mean = np.mean([len(thumbnails.small_file(pixels, number)) for pixels in pictures])
        assert 2_000_000 < mean * number < 9_000_000
    shapes = {cv2.imdecode(np.frombuffer(thumbnails.small_file(p, 9), np.uint8), -1).shape[:2] for p in pictures}
    assert shapes == {(512, 512)}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_filters_offer_what_there_is(name, catalog_site, catalog_data):
    page = Page(catalog_site / name / "index.html")
    offered = {}
    for element in page.elements:
        if element["tag"] == "select" and "name" in element["attrs"]:
            options = offered[element["attrs"]["name"]] = []
        if (
            element["tag"] == "option"
            and element["attrs"]["value"]
            and "form" in element["inside"]
            and "details" in element["inside"]
        ):
            options.append((element["attrs"]["value"], element["text"]))
    rows = examples_csv(dataset_dir(catalog_data, name))
    columns = {
        "subset": "subset",
        "class": "label",
        "sex": "patient_sex",
        "view": "view_position",
        "augmentation": "augmentation",
    }
    expected = {key: {row[column] for row in rows} for key, column in columns.items()}
    expected["finding"] = {finding for row in rows for finding in row["findings"].split("|")}
    if name == "many":
        del expected["class"]  # Which are its findings.
    assert {key: {value for value, _ in options} for key, options in offered.items()} == {
        key: values for key, values in expected.items() if len(values) > 1
    }
    assert [value for value, _ in offered["finding"]] == sorted(
        expected["finding"], key=(*FINDINGS, "No Finding").index
    )
    assert all("_" not in text for options in offered.values() for _, text in options)


def test_columns_sort_as_numbers_where_they_are_numbers(tmp_path):
    table = pd.DataFrame(
        {"name": ["b", "a", "c"], "age": ["10", "9", "-1"], "mixed": ["10", "9", "x"], "odd": ["", "<b>", "\u2028"]}
    )
    write_columns(table, tmp_path / "rows.js")
    assert script_table(tmp_path / "rows.js") == table.to_dict("records")
    columns = script_columns(tmp_path / "rows.js")["columns"]
    assert columns["age"]["values"] == ["-1", "9", "10"]
    assert columns["mixed"]["values"] == ["10", "9", "x"]
    assert columns["name"] == {"values": ["a", "b", "c"], "codes": [1, 0, 2]}


@pytest.mark.parametrize("name", CONFIGS)
def test_chosen_records_are_those_of_a_shard(name, catalog_data):
    builder = tfds.builder_from_directory(dataset_dir(catalog_data, name))
    for _, path in shards(builder.info):
        records = list(read_shard(path, CATALOG_FORMATS[name]))
        for numbers in ([0], [len(records) - 1], list(range(1, len(records), 3)), list(range(len(records)))):
            chosen = chosen_records(path, CATALOG_FORMATS[name], numbers)
            assert list(chosen) == [records[number] for number in numbers]
        with pytest.raises((ValueError, IndexError)):
            list(chosen_records(path, CATALOG_FORMATS[name], [len(records)]))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return build(None, tmp_path_factory.mktemp("data"), name="tiny", phantom_patients=12, image_size=16)


def edit(column, value):
    """Changes a cell of the second row of examples.csv."""

    def change(folder):
        path = folder / "examples.csv"
        rows = examples_csv(folder)
        rows[1][column] = value
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("findings", "Hernia|Mass"), r"examples\.csv does not say what the records hold: findings of 0000"),
        (edit("patient_age", "-5"), r"examples\.csv does not say what the records hold: patient_age of 0000"),
        (edit("subset", "<b>"), r"examples\.csv does not list the examples of metadata\.csv"),
        (lambda folder: (folder / "examples.csv").write_text("a,b\n1,2\n"), r"examples\.csv has no column image_name"),
        (lambda folder: (folder / "examples.csv").write_bytes(b"\xff"), r"examples\.csv cannot be read"),
    ],
)
def test_an_examples_csv_that_differs_from_the_records_is_refused(change, message, tiny, tmp_path, capsys):
    folder = shutil.copytree(tiny, tmp_path / "broken")
    change(folder)
    assert main(["catalog", str(folder), "--out", str(tmp_path / "site")]) == 2
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert line.endswith("says what is wrong")
    assert re.search(message, line)


def test_what_only_examples_csv_says_is_text_whatever_it_is(no_pictures, tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "hostile")
    script = "</script><script>alert(1)</script>\u2028\"'"
    edit("pixel_spacing_x", script)(folder)
    site = write_site(folder, tmp_path / "site")
    assert script_table(site / "examples" / "rows.js") == examples_csv(folder)
    assert "alert(1)" not in (site / "examples" / "rows.js").read_text() + (site / "index.html").read_text()


def test_a_dataset_of_before_examples_csv_has_a_table_of_what_the_records_say(no_pictures, tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "old")
    rows = examples_csv(folder)
    (folder / "examples.csv").unlink()
    site = write_site(folder, tmp_path / "site")
    told = script_table(site / "examples" / "rows.js")
    assert list(told[0]) == ["image_name", "label", "subset", "findings", "augmentation", "patient_id", "patient_age", "patient_sex", "view_position"]  # fmt: skip # noqa: E501
    assert told == [{name: row[name] for name in told[0]} for row in rows]

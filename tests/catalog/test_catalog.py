"""Tests of the catalog: what its pages say is what the datasets hold."""

import collections
import csv
import dataclasses
import hashlib
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib import resources

import cv2
import filelock
import mlcroissant
import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import CATALOG_CONFIGS, CATALOG_FORMATS
from pages import Page
from tensorflow_datasets.core.community import community_register, config
from tensorflow_datasets.scripts.cli.convert_format_utils import convert_dataset

from nih_chest_xray import NihChestXrayConfig
from nih_chest_xray.__main__ import main
from nih_chest_xray.catalog import gallery, site
from nih_chest_xray.catalog.datasets import find_datasets
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.errors import CatalogError
from nih_chest_xray.system.disk_space import readable
from nih_chest_xray.vocabulary import FINDINGS, SUBSETS, source_of

CONFIGS = list(CATALOG_CONFIGS)
SKIP_IMAGES = {"image": tfds.decode.SkipDecoding()}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def number(cell):
    return int(cell.replace(",", "").split()[0])


def dataset_dir(data_dir, name):
    return data_dir / "nih_chest_xray" / name / "1.0.0"


def metadata_rows(data_dir, name):
    with (dataset_dir(data_dir, name) / "metadata.csv").open() as file:
        return list(csv.DictReader(file))


SHARD = "nih_chest_xray-train.tfrecord-00000-of-00001"


def cut(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def swap_labels(folder):
    path = folder / "metadata.csv"
    changed = {"Nodule": "No Finding", "No Finding": "Nodule"}
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    rows[0][1] = changed[rows[0][1]]
    path.write_text("".join(f"{','.join(row)}\n" for row in [header, *rows]))


@pytest.fixture(scope="module")
def pages(catalog_site):
    return {name: Page(catalog_site / name / "index.html") for name in CONFIGS}


@pytest.fixture(scope="module")
def stored(catalog_data):
    """All examples by image name, of each config, read in TFDS's usual way."""

    def read(name):
        builder = tfds.builder_from_directory(dataset_dir(catalog_data, name))
        found = {}
        for subset in SUBSETS:
            if CATALOG_FORMATS[name] == "array_record":
                examples = builder.as_data_source(subset)
            else:
                examples = tfds.as_numpy(builder.as_dataset(split=subset))
            found |= {example["image_name"].decode(): example | {"subset": subset} for example in examples}
        return found

    return {name: read(name) for name in CONFIGS}


def pictures(page):
    """The pictures of examples, without the charts."""
    return [image for image in page.all("img") if image["attrs"].get("class") != "chart"]


def originals(examples):
    return [example for example in examples.values() if example["augmentation"] == 0]


@pytest.mark.parametrize("name", CONFIGS)
def test_splits_table_counts_what_metadata_csv_lists(name, pages, catalog_data):
    counts = collections.Counter()
    for row in metadata_rows(catalog_data, name):
        labels = row["label"].split("|")
        counts.update((label.replace("_", " "), row["subset"]) for label in [*labels, "Examples"])
    header, *rows = pages[name].table("splits")
    assert header == ["Class", *SUBSETS, "all"]
    rows = {row[0]: row[1:] for row in rows}
    classes = {"No Finding", *(FINDINGS if name == "many" else ["Nodule"])}
    assert {label.replace("_", " ") for label in classes} <= set(rows)
    for label in set(rows) - {"Patients", "of these augmented copies"}:
        expected = [counts[label, subset] for subset in SUBSETS]
        assert [number(cell) for cell in rows[label]] == [*expected, sum(expected)]


@pytest.mark.parametrize("name", CONFIGS)
def test_patients_and_copies_are_those_of_the_examples(name, pages, stored):
    rows = {row[0]: row[1:] for row in pages[name].table("splits")}
    patients = [{e["patient_id"] for e in stored[name].values() if e["subset"] == subset} for subset in SUBSETS]
    copies = [sum(e["augmentation"] != 0 for e in stored[name].values() if e["subset"] == s) for s in SUBSETS]
    assert [number(cell) for cell in rows["Patients"]][:3] == [len(group) for group in patients]
    told = [number(cell) for cell in rows.get("of these augmented copies", ())][:3]
    assert told == (copies if sum(copies) else [])
    assert (sum(copies) > 0) == ("augmented_copies" in CATALOG_CONFIGS[name])


@pytest.mark.parametrize("name", CONFIGS)
def test_charts_tables_count_the_examples_that_are_no_copies(name, pages, stored):
    images = originals(stored[name])
    having = [{FINDINGS[int(code)] for code in image["findings"]} for image in images]
    findings = {row[0]: number(row[-1]) for row in pages[name].table("findings")[1:]}
    assert findings == {f.replace("_", " "): sum(f in has for has in having) for f in FINDINGS}
    header, *rows = pages[name].table("pairs")
    for row in rows:
        for cell, other in zip(row[1:], header[1:], strict=True):
            both = {row[0].replace(" ", "_"), other.replace(" ", "_")}
            assert number(cell) == sum(both <= has for has in having)
    ages = collections.Counter((image["patient_age"] // 10, image["patient_sex"]) for image in images)
    header, *rows = pages[name].table("ages")
    assert header[1:] == ["female", "male"]
    told = {(int(row[0].split()[0]) // 10, sex): number(cell) for row in rows for sex, cell in enumerate(row[1:])}
    assert {key: count for key, count in told.items() if count} == ages


def colours_of_style():
    """The colours that charts take of style.css, in light and in dark."""
    style = (resources.files("nih_chest_xray.catalog") / "templates" / "style.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", part)) for part in style.split("@media")[:2])
    names = ("ink", "line", "chart-1", "chart-2", "chart-3")
    return [[scheme[name] for name in names] for scheme in (light, dark)]


@pytest.mark.parametrize("name", CONFIGS)
def test_charts_are_pictures_in_the_pages_colours_light_and_dark(name, pages, catalog_site):
    """The contrast of these colours is tested in a browser, on the page's own text."""
    images = [image for image in pages[name].all("img") if image["attrs"].get("class") == "chart"]
    sources = pages[name].all("source")
    assert [source["attrs"]["media"] for source in sources] == ["(prefers-color-scheme: dark)"] * 4
    titles = [title["text"] for title in pages[name].all("h3") if "figure" in title["inside"]]
    alts = [f"Chart: {title}. Its numbers are in the table below." for title in titles]
    assert [image["attrs"]["alt"] for image in images] == alts
    schemes = colours_of_style()
    assert not set(schemes[0]) & set(schemes[1])
    for image, source in zip(images, sources, strict=True):
        places = (image["attrs"]["src"], source["attrs"]["srcset"])
        for place, (ink, line, *series) in zip(places, schemes, strict=True):
            text = (catalog_site / name / place).read_text()
            root = ET.fromstring(text)
            for side in ("width", "height"):  # Points of matplotlib, and pixels of the page: 72 and 96 an inch.
                pixels = float(root.get(side).removesuffix("pt")) * 96 / 72
                assert int(image["attrs"][side]) == pytest.approx(pixels, abs=0.5)
            drawn = set(re.findall("#[0-9a-f]{6}", text))
            assert {ink, line, series[0]} <= drawn <= {ink, line, *series}
            assert not root.findall(".//{*}text")  # Else it were in the reader's fonts, which have other widths.


@pytest.mark.parametrize("name", CONFIGS)
def test_every_file_has_its_digest_and_size_wherever_one_looks(name, pages, catalog_site, catalog_data):
    folder = dataset_dir(catalog_data, name)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    digests = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
    sums = catalog_site / name / "SHA256SUMS"
    assert dict(line.split("  ")[::-1] for line in sums.read_text().splitlines()) == digests
    subprocess.run(["sha256sum", "-c", "--quiet", sums], cwd=folder, check=True)
    assert {row[0]: (number(row[1]), row[2]) for row in pages[name].table("files")[1:]} == {
        file: (len(content), digests[file]) for file, content in files.items()
    }
    header, *rows = csv.reader((catalog_site / name / "manifest.tsv").open(), delimiter="\t")
    assert header == ["url", "bytes", "sha256", "name"]
    assert {row[3]: (int(row[1]), row[2]) for row in rows} == {f: (len(c), digests[f]) for f, c in files.items()}
    assert all((catalog_site / name / row[0]).samefile(folder / row[3]) for row in rows)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_copied_site_and_its_metadata_csv_belong_together(name, catalog_site, catalog_data):
    copied = (catalog_site / name / "metadata.csv").read_bytes()
    assert copied == (dataset_dir(catalog_data, name) / "metadata.csv").read_bytes()


@pytest.mark.parametrize("name", CONFIGS)
def test_gallery_shows_the_examples_and_their_boxes(name, pages, stored, catalog_site):
    names = [image["attrs"]["src"].removeprefix("images/").replace(".jpg", ".png") for image in pictures(pages[name])]
    assert len(set(names)) == len(names) == len(list((catalog_site / name / "images").glob("*.jpg")))
    for shown, image_name in zip(pictures(pages[name]), names, strict=True):
        example = stored[name][image_name]
        picture = cv2.imread(str(catalog_site / name / shown["attrs"]["src"]), cv2.IMREAD_GRAYSCALE)
        assert picture.shape == (gallery.SIDE, gallery.SIDE)
        enlarged = cv2.resize(example["image"][:, :, 0], picture.shape, interpolation=cv2.INTER_CUBIC)
        assert np.abs(picture.astype(int) - enlarged).mean() < 3  # What JPEG changes.
        assert shown["attrs"]["alt"].count("A box marks") == len(example["bboxes"]["finding"])
    drawn = [
        [float(element["attrs"][key]) for key in ("x", "y", "width", "height")]
        for element in pages[name].all("rect")
        if "svg" in element["inside"] and "a" in element["inside"] and element["attrs"].get("class") != "halo"
    ]
    boxes = [box for image_name in names for box in stored[name][image_name]["bboxes"]["bbox"]]
    expected = [[xmin, ymin, xmax - xmin, ymax - ymin] for ymin, xmin, ymax, xmax in boxes]
    assert len(boxes) > 0
    np.testing.assert_allclose(drawn, np.array(expected) * gallery.SIDE, atol=0.051)  # Rounded to a tenth.


@pytest.mark.parametrize("name", CONFIGS)
def test_captions_name_what_a_box_is_around(name, pages, stored):
    """Else a box in an image with a nodule would be taken for the nodule's."""
    images, captions = pictures(pages[name]), pages[name].all("figcaption")
    told = 0
    for image, caption in zip(images, captions, strict=False):  # Behind them come those of the charts.
        image_name = image["attrs"]["src"].removeprefix("images/").replace(".jpg", ".png")
        codes = stored[name][image_name]["bboxes"]["finding"]
        around = re.search(r"(Box|\d+ boxes) around (.*)", caption["text"])
        if "_aug" in image_name or not len(codes):
            assert not around
        else:
            assert around[1] == ("Box" if len(codes) == 1 else f"{len(codes)} boxes")
            assert set(around[2].split(", ")) == {FINDINGS[int(code)].replace("_", " ") for code in codes}
            told += 1
    assert told > 0


@pytest.mark.parametrize("name", CONFIGS)
def test_gallery_has_every_class_and_pairs_of_an_image_and_its_copy(name, pages, stored, catalog_data):
    names = [e["attrs"]["src"].removeprefix("images/").replace(".jpg", ".png") for e in pictures(pages[name])]
    pairs = [(source_of(n), n) for n in names if "_aug" in n]
    assert all(names.index(source) + 1 == names.index(copy) for source, copy in pairs)
    kinds = {int(stored[name][copy]["augmentation"]) for _, copy in pairs}
    assert kinds == ({1, 2} if "augmented_copies" in CATALOG_CONFIGS[name] else set())
    singles = set(names) - {n for pair in pairs for n in pair}
    labels = {row["image_name"]: row["label"].split("|") for row in metadata_rows(catalog_data, name)}
    there = {label for row in labels.values() for label in row}
    assert {label for single in singles for label in labels[single]} == there
    if name != "many":  # Where a finding is as rare as in this phantom, a patient may come again.
        patients = [stored[name][n]["patient_id"] for n in names if "_aug" not in n]
        assert len(set(patients)) == len(patients)


@pytest.mark.parametrize("name", CONFIGS)
def test_features_are_those_of_tfds_with_their_docs(name, pages, catalog_data):
    features = tfds.builder_from_directory(dataset_dir(catalog_data, name)).info.features
    docs = {doc.name: doc.description for doc in features.catalog_documentation() if doc.name}
    rows = {row[0]: row[1:] for row in pages[name].table("features")[1:]}
    assert {feature: row[2] for feature, row in rows.items()} == docs
    kinds = {"image": "64 × 64 × 1 uint8", "image_name": "string", "patient_age": "int32"}
    assert {feature: rows[feature][1] for feature in kinds} == kinds


@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_are_those_of_the_files(name, pages, catalog_data):
    sizes = [path.stat().st_size for path in dataset_dir(catalog_data, name).iterdir()]
    told = {term["text"]: value["text"] for term, value in zip(*map(pages[name].all, ("dt", "dd")), strict=True)}
    assert told["Size"] == f"{readable(sum(sizes))} in {len(sizes)} files"


@pytest.mark.parametrize("name", CONFIGS)
def test_config_table_has_each_field_its_value_and_doc_and_marks_what_is_no_default(name, pages):
    given = {"image_size": 64, "validation_fraction": 0.2, "test_fraction": 0.2} | CATALOG_CONFIGS[name]
    built = NihChestXrayConfig(name=name, **given)
    rows = {row[0]: row[1:] for row in pages[name].table("config")[1:]}
    assert list(rows) == list(built.choices)
    for field in dataclasses.fields(NihChestXrayConfig):
        if field.name in built.choices:
            value, doc = rows[field.name]
            mark = " not the default" if field.name in given else ""
            assert value == json.dumps(built.choices[field.name]) + mark
            assert doc == field.metadata["doc"]


@pytest.mark.parametrize("name", [*CONFIGS, "."])
def test_a_page_is_sound_and_accessible_as_far_as_its_source_tells(name, catalog_site):
    page = Page(catalog_site / name / "index.html")
    ids = [element["attrs"]["id"] for element in page.elements if "id" in element["attrs"]]
    assert len(ids) == len(set(ids))
    levels = [int(element["tag"][1]) for element in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert [len(page.all(tag)) for tag in ("main", "header", "footer")] == [1, 1, 1]
    assert all(len(element["attrs"]["alt"]) > 20 for element in page.all("img"))
    assert all(element["attrs"]["scope"] in ("row", "col") for element in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert not [element for element in page.elements if "style" in element["attrs"]]
    for attribute in ("aria-labelledby", "for", "data-copies"):
        assert {e["attrs"][attribute] for e in page.elements if attribute in e["attrs"]} <= set(ids)
    targets = {e["attrs"]["href"][1:] for e in page.all("a") if e["attrs"]["href"].startswith("#")}
    assert targets <= set(ids)


@pytest.mark.parametrize("name", [*CONFIGS, "."])
def test_a_page_loads_nothing_from_anywhere_and_links_to_what_is_there(name, catalog_site):
    page = Page(catalog_site / name / "index.html")
    for element in page.elements:
        for attribute in ("src", "href", "poster", "srcset", "action", "data"):
            target = element["attrs"].get(attribute, "")
            if "://" in target.partition(",")[0]:
                assert (element["tag"], attribute) == ("a", "href")  # A link that is followed only if it is chosen.
            elif target and not target.startswith(("#", "data:")):
                assert (catalog_site / name / target).exists()
    [policy] = [e["attrs"]["content"] for e in page.all("meta") if "http-equiv" in e["attrs"]]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert not any(word in page.all("style")[0]["text"] for word in ("url(", "@import"))


def test_names_from_a_dataset_are_shown_as_text(pages, catalog_site):
    told = CATALOG_CONFIGS["drawn"]["description"]
    for page in (pages["drawn"], Page(catalog_site / "index.html")):
        assert any(element["text"] == told for element in page.all("p"))
        assert len(page.all("script")) == 1  # The page's own.


def test_only_a_synthetic_dataset_is_called_synthetic_everywhere(pages, catalog_site):
    for name in CONFIGS:
        text = pages[name].all("body")[0]["text"]
        synthetic = name == "drawn"
        assert ("No patient is behind it" in text) == synthetic
        assert ("Apache License" in text) == synthetic
        assert ("Text-mined: " in text) == (name == "listed")  # Where an image has more findings than its label says.
        assert ("Drawn: " in text) == synthetic
        assert "majkowska2020chest" not in text  # Whose labels are in one task only, which is none of these.
        assert ("@inproceedings{wang2017chestxray8" in text) == (not synthetic)
        assert ("The usage of the data set is unrestricted" in text) == (not synthetic)
        assert ("112,120" in text) == (not synthetic)
        alts = [image["attrs"]["alt"] for image in pictures(pages[name])]
        assert all(("Synthetic" in alt) == synthetic for alt in alts)
    listed = json.loads((catalog_site / "catalog.json").read_text())["datasets"]
    assert {entry["name"]: entry["synthetic"] for entry in listed} == {
        f"nih_chest_xray/{name}": name == "drawn" for name in CONFIGS
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_the_tensorflow_code_of_the_page_reads_the_training_examples(name, pages, catalog_data):
    code = pages[name].by_id("tensorflow")["text"]
    code = code.replace("    ...", "    sizes.append((images.shape, labels.shape))")
    sizes = []
    exec(code, {"sizes": sizes})
    total = sum(row["subset"] == "train" for row in metadata_rows(catalog_data, name))
    assert sum(images[0] for images, _ in sizes) == total
    assert sizes[0] == ((32, 64, 64, 1), (32, 14) if name == "many" else (32,))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_namespace_code_of_the_page_opens_the_training_examples(name, pages, catalog_data):
    config.get_community_config.cache_clear()  # A name can be given once in a process, and before any is used.
    community_register.cache_clear()
    found = {}
    exec(pages[name].by_id("namespace")["text"], found)
    assert len(found["train"]) == sum(row["subset"] == "train" for row in metadata_rows(catalog_data, name))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("library", ["pytorch", "jax"])
def test_the_code_for_other_libraries_opens_the_same_dataset(name, library, pages):
    """As far as without the libraries: that it is Python, and that its calls of TFDS are TensorFlow's."""
    code = pages[name].by_id(library)["text"]
    compile(code, library, "exec")
    opened = pages[name].by_id("tensorflow")["text"].partition("= tfds.")[2].partition(")")[0]
    assert "".join(opened.split()) in "".join(code.split())


def test_a_datasets_own_folder_gives_one_page_at_the_top(catalog_data, tmp_path, capsys):
    out = tmp_path / "deep" / "site"
    assert main(["catalog", str(dataset_dir(catalog_data, "drawn")), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    assert "nih_chest_xray/drawn" in Page(out / "index.html").all("h1")[0]["text"]
    assert (out / "croissant.json").exists()
    assert sorted(path.name for path in out.parent.iterdir()) == [".site.lock", "site"]


def test_a_dataset_out_of_its_place_is_opened_by_its_folder(catalog_data, tmp_path):
    shutil.copytree(dataset_dir(catalog_data, "drawn"), tmp_path / "moved")
    write_site(tmp_path / "moved", tmp_path / "site")
    code = Page(tmp_path / "site" / "index.html").by_id("tensorflow")["text"]
    assert f'tfds.builder_from_directory(\n    "{tmp_path / "moved"}"' in code
    exec(code.replace("    ...", "    pass"), {})


def test_a_folder_with_several_formats_is_shown_whole_and_its_code_reads_it(catalog_data, tmp_path):
    folder = shutil.copytree(dataset_dir(catalog_data, "drawn"), tmp_path / "nih_chest_xray" / "drawn" / "1.0.0")
    for file_format in ("array_record", "parquet"):
        convert_dataset(out_dir=None, out_file_format=file_format, dataset_version_dir=[folder], num_workers=1)
    out = write_site(tmp_path, tmp_path / "site")
    page = Page(out / "index.html")
    kinds = [name.split(".")[1].split("-")[0] for name in names_in(folder) if "-of-" in name]
    assert collections.Counter(kinds) == {"tfrecord": 3, "array_record": 3, "parquet": 3}
    assert [row[0] for row in page.table("files")[1:]] == names_in(folder)
    assert [line.split("  ")[1] for line in (out / "SHA256SUMS").read_text().splitlines()] == names_in(folder)
    subprocess.run(["sha256sum", "-c", "--quiet", out / "SHA256SUMS"], cwd=folder, check=True)
    assert "tfrecord, array_record, parquet" in [element["text"] for element in page.all("dd")]
    sizes = []
    exec(page.by_id("tensorflow")["text"].replace("    ...", "    sizes.append(len(labels))"), {"sizes": sizes})
    train = [row["image_name"] for row in metadata_rows(tmp_path, "drawn") if row["subset"] == "train"]
    assert sum(sizes) == len(train)
    # What TFDS reads by index, it reads from the second format.
    source = tfds.data_source("nih_chest_xray/drawn", split="train", data_dir=tmp_path)
    assert sorted(example["image_name"].decode() for example in source) == train
    records = list(mlcroissant.Dataset(out / "croissant.json").records("train"))
    read = tfds.builder_from_directory(folder).info.features.deserialize_example_np
    assert sorted(read(record["train/data"])["image_name"].decode() for record in records) == train


@pytest.mark.parametrize("url", ["https://host.test/data/", "gs://bucket/data"])
def test_a_url_is_where_everything_is_said_to_be(url, catalog_data, tmp_path):
    out = write_site(catalog_data / "nih_chest_xray" / "drawn", tmp_path / "site", url)
    folder = f"{url.rstrip('/')}/1.0.0"
    places = [line.split("\t")[0] for line in (out / "manifest.tsv").read_text().splitlines()[1:]]
    assert sorted(places) == sorted(f"{folder}/{p.name}" for p in dataset_dir(catalog_data, "drawn").iterdir())
    page = Page(out / "index.html")
    assert set(places) <= {element["attrs"]["href"] for element in page.all("a")}
    assert str(catalog_data) not in (out / "index.html").read_text()
    code = page.by_id("tensorflow")["text"]
    if url.startswith("gs"):  # TensorFlow reads it where it is.
        assert f'tfds.builder_from_directory(\n    "{folder}"' in code
    else:
        assert "wget" in page.by_id("fetch")["text"]
        assert '"nih_chest_xray/drawn:1.0.0",\n    data_dir="DATA_DIR"' in code


def test_of_several_versions_the_newest_is_shown_and_the_others_are_named(catalog_data, tmp_path):
    for version in ("1.0.0", "1.0.10", "1.0.9"):
        folder = tmp_path / "data" / "nih_chest_xray" / "drawn" / version
        shutil.copytree(dataset_dir(catalog_data, "drawn"), folder)
        info = json.loads((folder / "dataset_info.json").read_text())
        (folder / "dataset_info.json").write_text(json.dumps(info | {"version": version}))
    [built] = find_datasets(tmp_path / "data")
    assert built.versions == ("1.0.10", "1.0.9", "1.0.0")
    assert built.path.name == built.version == "1.0.10"


def test_a_folder_without_datasets_is_one_line_and_no_site(tmp_path, capsys):
    (tmp_path / "other" / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "other" / "mnist" / "3.0.1" / "dataset_info.json").write_text('{"name": "mnist", "version": "3.0.1"}')
    for folder in ("other", "missing"):
        assert main(["catalog", str(tmp_path / folder), "--out", str(tmp_path / "site")]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"nih-chest-xray catalog: {tmp_path / folder} ")
        assert error.count("\n") == 1
    assert names_in(tmp_path) == ["other"]


def test_a_folder_that_is_no_site_is_left_alone(catalog_data, tmp_path, capsys):
    out = tmp_path / "site"
    out.mkdir()
    (out / "catalog.json").write_text('{"generator": "another"}')
    assert main(["catalog", str(catalog_data), "--out", str(out)]) == 2
    assert "is not a site of this command; name another --out" in capsys.readouterr().err
    assert [path.read_text() for path in out.iterdir()] == ['{"generator": "another"}']


def test_a_site_is_replaced_as_a_whole_or_not_at_all(catalog_data, tmp_path, monkeypatch):
    folder = dataset_dir(catalog_data, "drawn")
    out = write_site(catalog_data, tmp_path / "site")
    with monkeypatch.context() as patch:
        patch.setattr(site.croissant, "croissant", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_site(folder, out)
    assert (out / "many").exists()
    assert names_in(tmp_path) == [".site.lock", "site"]
    write_site(folder, out)
    assert not (out / "many").exists()
    assert names_in(tmp_path) == [".site.lock", "site"]


def test_a_dataset_gives_the_same_site_each_time(catalog_data, tmp_path):
    first, second = (write_site(dataset_dir(catalog_data, "drawn"), tmp_path / place) for place in "ab")
    assert tree(first) == tree(second)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal_and_nowhere_else(catalog_data, tmp_path, monkeypatch):
    shown = {}
    for kind in (Terminal, io.StringIO):
        monkeypatch.setattr(sys, "stderr", kind())
        write_site(catalog_data, tmp_path / "site")
        shown[kind] = sys.stderr.getvalue()
    assert shown[io.StringIO] == ""
    last = shown[Terminal].splitlines()[-1].split("\r")[-1]
    total = sum(len(metadata_rows(catalog_data, name)) for name in CONFIGS)
    assert f"| {total}/{total} [" in last
    assert shown[Terminal].count("\n") == 1  # One bar.
    for name in CONFIGS:
        assert f"\r{name}, digests of files: " in shown[Terminal]


def test_a_site_of_an_earlier_version_with_the_page_of_tfds_is_replaced(catalog_data, tmp_path):
    out = write_site(dataset_dir(catalog_data, "drawn"), tmp_path / "site")
    content = b"# `nih_chest_xray`\n"
    (out / "nih_chest_xray.md").write_bytes(content)
    index = json.loads((out / "catalog.json").read_text())
    index["files"]["nih_chest_xray.md"] = hashlib.sha256(content).hexdigest()
    (out / "catalog.json").write_text(json.dumps(index))
    write_site(dataset_dir(catalog_data, "drawn"), out)
    assert not (out / "nih_chest_xray.md").exists()
    assert names_in(tmp_path) == [".site.lock", "site"]


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "change",
    [
        lambda site: (site / "notes.txt").write_text("mine"),
        lambda site: (site / "images" / "mine.jpg").write_text("mine"),
        lambda site: (site / "mine").mkdir(),
        lambda site: (site / "index.html").write_text("mine"),
        lambda site: (site / "mine").symlink_to("/etc"),
        lambda site: [(site / "metadata.csv").unlink(), (site / "metadata.csv").symlink_to("/etc/passwd")],
        lambda site: (site / "catalog.json").write_text('{"generator": "nih-chest-xray catalog"}'),
    ],
    ids=["a file", "a picture", "a folder", "a changed page", "a link", "a link for a file", "no list of files"],
)
def test_a_site_in_which_somebody_has_put_something_is_not_replaced(change, catalog_data, tmp_path, capsys):
    out = write_site(dataset_dir(catalog_data, "drawn"), tmp_path / "site")
    change(out)
    before = tree(out)
    assert main(["catalog", str(catalog_data), "--out", str(out)]) == 2
    assert re.search("move it elsewhere, or name another --out\n$", capsys.readouterr().err)
    assert tree(out) == before
    assert names_in(tmp_path) == [".site.lock", "site"]


def test_what_comes_into_a_site_while_it_is_made_anew_is_kept(catalog_data, tmp_path, monkeypatch):
    folder = dataset_dir(catalog_data, "drawn")
    out = write_site(folder, tmp_path / "site")
    made = site.croissant.croissant

    def meanwhile(*arguments):
        (out / "notes.txt").write_text("mine")
        return made(*arguments)

    monkeypatch.setattr(site.croissant, "croissant", meanwhile)
    with pytest.raises(CatalogError, match="notes.txt was not written by this command"):
        write_site(folder, out)
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "index.html").exists()
    assert names_in(tmp_path) == [".site.lock", "site"]


def test_a_link_to_a_site_stays_a_link(catalog_data, tmp_path):
    folder = dataset_dir(catalog_data, "drawn")
    write_site(folder, tmp_path / "deep" / "site")
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "site")
    write_site(folder, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert names_in(tmp_path / "deep") == [".site.lock", "site"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "metadata.csv").unlink(), "has no metadata.csv; .* build it anew"),
        (
            lambda folder: (folder / "metadata.csv").write_text("image_name,label,subset\nx.png,Nodule,train\n"),
            "metadata.csv does not list the examples that the records hold",
        ),
        (swap_labels, "metadata.csv .* or gives them other labels"),
        (lambda folder: (folder / "label.labels.txt").unlink(), "has no label.labels.txt; .* build it anew"),
        (lambda folder: cut(folder, "dataset_info.json"), r"dataset_info\.json: is not JSON \("),
        (lambda folder: cut(folder, "features.json"), r"features\.json: is not JSON \("),
        (lambda folder: cut(folder, "metadata.json"), r"metadata\.json: is not JSON \("),
        (lambda folder: cut(folder, SHARD), r"its records \(truncated record at \d+[^{\[]*\)"),
        (lambda folder: (folder / SHARD).unlink(), "No such file"),
    ],
)
def test_a_damaged_dataset_is_refused_in_one_line(change, message, catalog_data, tmp_path, capsys):
    folder = shutil.copytree(dataset_dir(catalog_data, "drawn"), tmp_path / "broken")
    change(folder)
    assert main(["catalog", str(folder), "--out", str(tmp_path / "site")]) == 2
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert re.match(rf"nih-chest-xray catalog: {folder} .*{message}", line), line
    assert "build it anew" in line or line.endswith(f"; `nih-chest-xray verify {folder}` says what is wrong")
    assert set(names_in(tmp_path)) - {".site.lock"} == {"broken"}


@pytest.mark.parametrize(
    "url", ["host/data", "", "https://", "https://host/my data", "https://host/?a=1", "ftp://host", "s3://b/x"]
)
def test_a_url_that_is_none_is_refused(url, catalog_data, tmp_path, capsys):
    assert main(["catalog", str(catalog_data), "--out", str(tmp_path / "site"), "--url", url]) == 2
    assert f"--url is {url!r}; expected an address such as https://host/data or gs://" in capsys.readouterr().err
    assert names_in(tmp_path) == []


def test_a_site_in_a_dataset_is_refused(catalog_data, capsys):
    folder = dataset_dir(catalog_data, "drawn")
    before = names_in(folder)
    assert main(["catalog", str(catalog_data), "--out", str(folder / "site")]) == 2
    assert "is in the dataset" in capsys.readouterr().err
    assert names_in(folder) == before


LEFT = ".site.nih-chest-xray-catalog.0123abcd"


def test_what_a_killed_run_has_left_is_removed_and_not_what_is_another_sites(catalog_data, tmp_path):
    other = tmp_path / ".site2.nih-chest-xray-catalog.0123abcd"
    for left in (tmp_path / LEFT, other):
        work_folder(left)
    write_site(dataset_dir(catalog_data, "drawn"), tmp_path / "site")
    assert names_in(tmp_path) == [".site.lock", other.name, "site"]


def test_site_that_another_process_writes_is_refused(catalog_data, tmp_path, capsys):
    work_folder(tmp_path / LEFT)
    with filelock.FileLock(tmp_path / ".site.lock"):
        assert main(["catalog", str(dataset_dir(catalog_data, "drawn")), "--out", str(tmp_path / "site")]) == 2
    assert "another process writes" in capsys.readouterr().err
    assert (tmp_path / LEFT / "new" / "index.html").exists()


def work_folder(path):
    """Makes a folder as a run that was killed leaves it."""
    (path / "new" / "images").mkdir(parents=True)
    (path / "new" / "index.html").touch()
    (path / "new" / "images" / "00000013_005.jpg").touch()
    (path / "new" / "images" / "chart-ages-dark.svg").touch()


def test_a_killed_run_that_held_the_earlier_site_gives_it_back(catalog_data, tmp_path, capsys):
    write_site(dataset_dir(catalog_data, "drawn"), tmp_path / "site")
    left = tmp_path / LEFT
    work_folder(left)
    before = tree(tmp_path / "site")
    (tmp_path / "site").rename(left / "old")
    # A run that fails after that has not lost it.
    broken = shutil.copytree(dataset_dir(catalog_data, "drawn"), tmp_path / "broken")
    cut(broken, SHARD)
    assert main(["catalog", str(broken), "--out", str(tmp_path / "site")]) == 2
    assert "its records" in capsys.readouterr().err
    assert tree(tmp_path / "site") == before
    assert names_in(tmp_path) == [".site.lock", "broken", "site"]


@pytest.mark.parametrize(
    "change",
    [
        lambda left: left.rename(left.with_name(".site.mine")),
        lambda left: left.rename(left.with_name(".site.nih-chest-xray-catalog.copy")),
        lambda left: (left / "notes.txt").write_text("mine"),
        lambda left: (left / "new" / "images" / "notes.txt").write_text("mine"),
        lambda left: (left / "new" / "metadata.csv").symlink_to("notes.txt"),
        lambda left: [(left / "old").mkdir(), (left / "old" / "notes.txt").write_text("mine")],
        lambda left: [(left / "old").mkdir(), (left / "old" / "metadata.csv").write_text("mine")],
        lambda left: [left.rename(left.with_name("away")), left.symlink_to("away")],
    ],
    ids=[
        "a name of its own",
        "a copy",
        "a file",
        "a file among the images",
        "a link",
        "an old site",
        "a changed old site",
        "a link to it",
    ],
)
def test_a_folder_beside_the_site_that_is_not_the_commands_own_is_never_touched(change, catalog_data, tmp_path):
    folder = dataset_dir(catalog_data, "drawn")
    write_site(folder, tmp_path / "site")
    left = tmp_path / LEFT
    work_folder(left)
    change(left)
    kept = {name: tree(tmp_path / name) for name in names_in(tmp_path) if name != "site"}
    write_site(folder, tmp_path / "site")
    assert {name: tree(tmp_path / name) for name in names_in(tmp_path) if name != "site"} == kept


def test_a_missing_library_is_named_with_the_way_to_get_it(catalog_data, tmp_path):
    code = "import sys; sys.modules['jinja2'] = None; from nih_chest_xray.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "catalog", str(catalog_data), "--out", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        "jinja2 is not installed; get what a catalog needs with `pip install 'nih_chest_xray[catalog]'`" in done.stderr
    )

"""Tests of the catalog: what its pages say is what the datasets hold."""

import collections
import csv
import dataclasses
import hashlib
import itertools
import json
import re
import subprocess
import urllib.parse

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import CATALOG_CONFIGS, CATALOG_FORMATS
from pages import Page
from tensorflow_datasets.core.community import community_register, config

from nih_chest_xray import NihChestXrayConfig
from nih_chest_xray.catalog import gallery
from nih_chest_xray.system.disk_space import readable
from nih_chest_xray.vocabulary import FINDINGS, SUBSETS, source_of

CONFIGS = list(CATALOG_CONFIGS)
SKIP_IMAGES = {"image": tfds.decode.SkipDecoding()}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def number(cell):
    return int(cell.replace(",", "").split()[0])


def dataset_dir(data_dir, name):
    return data_dir / "nih_chest_xray" / name / "2.0.0"


def metadata_rows(data_dir, name):
    with (dataset_dir(data_dir, name) / "metadata.csv").open() as file:
        return list(csv.DictReader(file))


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
    """The pictures of the gallery, without those at the top of the page."""
    return [image for image in page.all("img") if "a" in image["inside"] and "header" not in image["inside"]]


def originals(examples):
    return [example for name, example in examples.items() if "_aug" not in name]


@pytest.mark.parametrize("name", CONFIGS)
def test_splits_table_counts_what_metadata_csv_lists(name, pages, catalog_data):
    counts = collections.Counter()
    for row in metadata_rows(catalog_data, name):
        labels = row["label"].split("|")
        counts.update((label.replace("_", " "), row["subset"]) for label in [*labels, "Examples"])
    header, *rows = pages[name].table("splits")
    assert header == ["Class", *SUBSETS, "all"]
    rows = {row[0]: row[1:] for row in rows}
    classes = {label.replace("_", " ") for label in {"No Finding", *(FINDINGS if name == "many" else ["Nodule"])}}
    totals = [*(counts["Examples", subset] for subset in SUBSETS), sum(counts["Examples", s] for s in SUBSETS)]
    assert [number(cell) for cell in rows["Examples"]] == totals
    others = {"Examples", "Patients", "of these augmented copies", "of these augmented in place"}
    assert classes == rows.keys() - others
    for label in classes:
        expected = [counts[label, subset] for subset in SUBSETS]
        expected.append(sum(expected))
        assert [number(cell) for cell in rows[label]] == expected
        shares = [f"{100 * count / total:.1f} %" for count, total in zip(expected, totals, strict=True)]
        assert [" ".join(cell.split()[1:3]) for cell in rows[label]] == shares


@pytest.mark.parametrize("name", CONFIGS)
def test_patients_and_copies_are_those_of_the_examples(name, pages, stored):
    rows = {row[0]: row[1:] for row in pages[name].table("splits")}
    patients = [{e["patient_id"] for e in stored[name].values() if e["subset"] == subset} for subset in SUBSETS]
    augmented = [(n, e["subset"]) for n, e in stored[name].items() if e["augmentation"]]
    copies, in_place = (
        [sum(("_aug" in n) == copied and subset == s for n, subset in augmented) for s in SUBSETS]
        for copied in (True, False)
    )
    assert [number(cell) for cell in rows["Patients"]][:3] == [len(group) for group in patients]
    told = [number(cell) for cell in rows.get("of these augmented copies", ())][:3]
    assert told == (copies if sum(copies) else [])
    told = [number(cell) for cell in rows.get("of these augmented in place", ())][:3]
    assert told == (in_place if sum(in_place) else [])
    assert (sum(in_place) > 0) == ("matched_augmentation" in CATALOG_CONFIGS[name])
    assert (sum(copies) > 0) == ("augmented_copies" in CATALOG_CONFIGS[name])


@pytest.mark.parametrize("name", CONFIGS)
def test_charts_tables_count_the_examples_that_are_no_copies(name, pages, stored):
    images = originals(stored[name])
    having = [{FINDINGS[code] for code in np.flatnonzero(image["findings"])} for image in images]
    # Where the findings are the classes, they are in the table of the splits, and in no other.
    assert ("findings-caption" in {e["attrs"].get("id") for e in pages[name].elements}) == (name != "many")
    findings = {row[0]: number(row[-1]) for row in pages[name].table("splits" if name == "many" else "findings")[1:]}
    counted = {f.replace("_", " "): sum(f in has for has in having) for f in FINDINGS}
    assert {f: findings[f] for f in counted} == counted
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


@pytest.mark.parametrize("name", CONFIGS)
def test_bars_are_as_long_as_their_numbers_and_lead_to_the_examples_that_they_count(name, pages):
    links = [
        element for element in pages[name].all("a") if "td" in element["inside"] and "=" in element["attrs"]["href"]
    ]
    rects = [element for element in pages[name].all("rect") if "td" in element["inside"]]
    assert len(links) == len(rects) > 20
    filtered = [dict(urllib.parse.parse_qsl(link["attrs"]["href"].removeprefix("#"))) for link in links]
    classes_by = "finding" if name == "many" else "class"
    for chart, key in (("class", "%"), ("finding", "%"), ("age", "count")):
        bars = []
        for link, rect, chosen in zip(links, rects, filtered, strict=True):
            if chart in chosen:
                count, share = link["text"].split()[:2]
                bars.append((float(share if key == "%" else count.replace(",", "")), rect["attrs"]["width"]))
        longest = max([value for value, _ in bars], default=0)
        for value, width in bars:
            # The share is rounded to a tenth.
            assert float(width.removesuffix("%")) == pytest.approx(100 * value / longest, abs=10 / longest + 0.06)
        assert bool(bars) == (chart != "class" or name != "many")
    classes = {"No Finding", *(FINDINGS if name == "many" else ["Nodule"])}
    assert {chosen[classes_by] for chosen in filtered if classes_by in chosen} == classes - lacking(pages[name])
    assert {chosen["subset"] for chosen in filtered if "subset" in chosen} == set(SUBSETS)
    assert {chosen["sex"] for chosen in filtered if "sex" in chosen} == {"F", "M"}
    assert all(re.fullmatch(r"\d+-\d+", chosen["age"]) for chosen in filtered if "age" in chosen)


def lacking(page):
    """The classes without any example."""
    return {row[0].replace("Pleural T", "Pleural_T") for row in page.table("splits")[1:] if number(row[-1]) == 0}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_subset_without_a_class_is_warned_of(name, pages, catalog_data, catalog_site):
    """Counted from metadata.csv: there AUROC is undefined."""
    there = collections.defaultdict(set)
    for row in metadata_rows(catalog_data, name):
        there[row["subset"]].update(row["label"].split("|"))
    classes = FINDINGS if name == "many" else ("No Finding", "Nodule")
    lacks = {subset: [label for label in classes if label not in there[subset]] for subset in SUBSETS}
    told = "; ".join(f"{subset} has no image of {', '.join(names)}" for subset, names in lacks.items() if names)
    expected = [f"{told}: AUROC is undefined there."] if told else []
    assert bool(told) == (name == "many")
    for page in (pages[name], Page(catalog_site / "index.html")):
        warnings = [e["text"] for e in page.all("p") if e["attrs"].get("class") == "notice empty"]
        assert warnings == expected or (page is not pages[name] and set(expected) <= set(warnings))
    limits = json.loads((catalog_site / name / "croissant.json").read_text())["rai:dataLimitations"]
    assert [text for text in limits if "AUROC" in text] == expected


@pytest.mark.parametrize("name", CONFIGS)
def test_the_first_screen_has_four_radiographs_with_and_without_a_finding(name, pages, catalog_data):
    page = pages[name]
    labels = {row["image_name"]: row["label"] for row in metadata_rows(catalog_data, name)}
    first = [image for image in page.all("img") if "header" in image["inside"]]
    shown = [labels[image["attrs"]["src"].removeprefix("images/").replace(".jpg", ".png")] for image in first]
    assert len(shown) == 4
    assert 1 <= shown.count("No Finding") < 4
    assert any("Nodule" in label.split("|") for label in shown)
    assert f'"nih_chest_xray/{name}:2.0.0"' in page.by_id("load")["text"]
    caveats = [element["text"] for element in page.all("p") if element["attrs"].get("class") in ("caveat", "notice")]
    assert len(caveats) == 1
    assert ("does not mean healthy" in caveats[0]) == (name != "drawn")


@pytest.mark.parametrize("name", CONFIGS)
def test_about_speaks_of_this_dataset_by_its_own_counts(name, pages, catalog_data):
    """And not of the other configs of the package."""
    rows = metadata_rows(catalog_data, name)
    about = pages[name].all("main")[0]["text"].partition("Load it")[0]
    images = [row for row in rows if "_aug" not in row["image_name"]]
    copies = len(rows) - len(images)
    if name == "drawn":
        assert f"{len(rows):,} images of 20 synthetic patients" in about
    else:
        assert f"{len(images):,} frontal chest radiographs of " in about
        assert (f"{copies:,} augmented copies of training images" in about) == bool(copies)
    if name == "many":
        assert f"No Finding, which {sum(row['label'] == 'No Finding' for row in rows)} examples have" in about
        assert "The NIH's test list is the test subset; 20 % of the other images are validation." in about
    else:
        counts = collections.Counter(row["label"] for row in rows)
        assert f"{counts['Nodule']} are Nodule and {counts['No Finding']} are No Finding" in about
        assert "20 % are validation and 20 % test" in about
    assert "first_archive" not in about


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
def test_gallery_shows_the_examples_and_their_boxes(name, pages, stored, catalog_site):
    names = [image["attrs"]["src"].removeprefix("images/").replace(".jpg", ".png") for image in pictures(pages[name])]
    assert len(set(names)) == len(names) == len(list((catalog_site / name / "images").glob("*.jpg")))
    for shown, image_name in zip(pictures(pages[name]), names, strict=True):
        example = stored[name][image_name]
        picture = cv2.imread(str(catalog_site / name / shown["attrs"]["src"]), cv2.IMREAD_GRAYSCALE)
        assert picture.shape == (gallery.SIDE, gallery.SIDE)
        enlarged = cv2.resize(example["image"][:, :, 0], picture.shape, interpolation=cv2.INTER_CUBIC)
        assert np.abs(picture.astype(int) - enlarged).mean() < 3  # What JPEG changes.
        assert shown["attrs"]["alt"].count("A box marks") == (np.array(example["bboxes"]["finding"]) >= 0).sum()
    drawn = [
        [float(element["attrs"][key]) for key in ("x", "y", "width", "height")]
        for element in pages[name].all("rect")
        if {"figure", "main"} <= {*element["inside"]} and element["attrs"].get("class") != "halo"
    ]
    marked = [stored[name][image_name]["bboxes"] for image_name in names]
    boxes = [box for each in marked for box in np.array(each["bbox"])[np.array(each["finding"]) >= 0]]
    expected = [[xmin, ymin, xmax - xmin, ymax - ymin] for ymin, xmin, ymax, xmax in boxes]
    assert len(boxes) > 0
    np.testing.assert_allclose(drawn, np.array(expected) * gallery.SIDE, atol=0.051)  # Rounded to a tenth.


@pytest.mark.parametrize("name", CONFIGS)
def test_captions_name_what_a_box_is_around(name, pages, stored):
    """Else a box in an image with a nodule would be taken for the nodule's."""
    images = pictures(pages[name])
    captions = [caption for caption in pages[name].all("figcaption") if "header" not in caption["inside"]]
    told = 0
    for image, caption in zip(images, captions, strict=True):
        image_name = image["attrs"]["src"].removeprefix("images/").replace(".jpg", ".png")
        codes = np.array(stored[name][image_name]["bboxes"]["finding"])
        codes = codes[codes >= 0]
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
    assert not any(stored[name][single]["augmentation"] for single in singles)
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
def test_config_tables_have_each_field_its_value_and_doc_and_keep_what_is_no_default_apart(name, pages):
    given = {"image_size": 64, "validation_fraction": 0.2, "test_fraction": 0.2} | CATALOG_CONFIGS[name]
    built = NihChestXrayConfig(name=name, **given)
    rows = {
        row[0]: (*row[1:], is_default)
        for key, is_default in (("config", False), ("defaults", True))
        for row in pages[name].table(key)[1:]
    }
    assert rows.keys() == built.choices.keys()
    for field in dataclasses.fields(NihChestXrayConfig):
        if field.name in built.choices:
            value, doc, is_default = rows[field.name]
            assert value == json.dumps(built.choices[field.name])
            assert doc == field.metadata["doc"].replace("`", "")
            assert is_default == (field.name not in given)


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
    assert all({"width", "height"} <= element["attrs"].keys() for element in page.all("img"))
    assert all(element["attrs"]["scope"] in ("row", "col") for element in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert not [element for element in page.elements if "style" in element["attrs"]]
    for attribute in ("aria-labelledby", "for", "data-copies"):
        assert {e["attrs"][attribute] for e in page.elements if attribute in e["attrs"]} <= set(ids)
    targets = {e["attrs"]["href"][1:] for e in page.all("a") if e["attrs"]["href"].startswith("#")}
    assert {target for target in targets if "=" not in target} <= set(ids)  # The others choose examples.


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
        described, _ = page.all("script")  # The page's own is the other.
        assert described["attrs"] == {"type": "application/ld+json"}
        assert "<" not in described["text"]
        assert told in json.dumps(json.loads(described["text"]), ensure_ascii=False)


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

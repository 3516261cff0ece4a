"""Tests of what search engines read: the JSON-LD, the description and the addresses in the head of a page."""

import hashlib
import json
import shutil

import pytest
import tensorflow_datasets as tfds
from conftest import CATALOG_CONFIGS
from pages import Page

from nih_chest_xray.catalog.site import write_site

CONFIGS = list(CATALOG_CONFIGS)
URL = "https://host.test/my%20data"


def jsonld(page):
    [script] = [element for element in page.all("script") if element["attrs"].get("type") == "application/ld+json"]
    return json.loads(script["text"])


def head(page):
    """What the head says of the page, by name or property."""
    metas = {e["attrs"].get("name") or e["attrs"].get("property"): e["attrs"]["content"] for e in page.all("meta")[1:]}
    links = {element["attrs"]["rel"]: element["attrs"]["href"] for element in page.all("link")}
    return metas | {rel: href for rel, href in links.items() if rel == "canonical"}


@pytest.fixture(scope="module", params=CONFIGS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def page(catalog_site, name):
    return Page(catalog_site / name / "index.html")


def test_a_page_describes_its_dataset_as_search_engines_want_it(page, name):
    """Google: a name and a description of 50 to 5,000 characters are required, the others recommended."""
    told = jsonld(page)
    assert (told["@context"], told["@type"]) == ("https://schema.org/", "Dataset")
    assert told["name"].endswith(f"nih_chest_xray/{name}")
    assert 50 <= len(told["description"]) <= 5000
    assert told["version"] == "2.0.0"
    assert told["identifier"]["value"] == f"nih_chest_xray/{name}:2.0.0"
    assert {"keywords", "creator", "license", "dateCreated"} <= told.keys()
    assert told["includedInDataCatalog"] == {"@type": "DataCatalog", "name": "nih_chest_xray"}


def test_the_variables_are_the_features(page, name, catalog_data):
    features = tfds.builder_from_directory(catalog_data / "nih_chest_xray" / name / "2.0.0").info.features
    measured = {variable["name"]: variable["description"] for variable in jsonld(page)["variableMeasured"]}
    assert features.keys() <= measured.keys()
    assert all(measured.values())


def test_only_real_radiographs_are_said_to_come_from_the_nih(page, name):
    told = jsonld(page)
    if name == "drawn":
        assert told["license"] == "https://spdx.org/licenses/Apache-2.0.html"
        assert not {"citation", "isBasedOn", "spatialCoverage", "measurementTechnique"} & told.keys()
        assert "NIH Clinical Center" not in json.dumps(told["creator"])
        assert "No patient is behind it" in told["description"]
    else:
        assert "unrestricted" in told["license"]["text"]
        assert told["creator"]["name"] == "NIH Clinical Center"
        [article] = told["citation"]  # Not the radiologists', whose labels are in none of these.
        assert article["identifier"] == "https://doi.org/10.1109/CVPR.2017.369"
        assert article["name"].startswith("ChestX-ray8: Hospital-Scale Chest X-Ray Database")


def test_a_page_that_is_not_known_to_be_served_names_no_address(page):
    told = jsonld(page)
    assert not {"url", "distribution", "isAccessibleForFree"} & told.keys()
    assert not {"canonical", "og:url", "og:image"} & head(page).keys()


def test_the_head_has_a_description_and_open_graph(page, name):
    told = head(page)
    assert told["og:title"] == page.all("title")[0]["text"]
    assert told["og:description"] == told["description"]
    assert "chest radiographs of" in told["description"]
    assert told["og:type"] == "website"


def test_the_index_lists_the_datasets_of_its_catalog(catalog_site):
    told = jsonld(Page(catalog_site / "index.html"))
    assert told["@type"] == "DataCatalog"
    assert [entry["name"].partition("/")[2] for entry in told["dataset"]] == sorted(CONFIGS)
    assert all(50 <= len(entry["description"]) <= 5000 for entry in told["dataset"])


@pytest.mark.parametrize("several", [False, True])
def test_a_site_in_the_folder_that_is_served_knows_its_address(several, no_pictures, sound, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(sound, data / "nih_chest_xray/built/2.0.0")
    if several:
        other = shutil.copytree(sound, data / "nih_chest_xray/other/2.0.0")
        for name in ("dataset_info.json", "metadata.json"):
            (other / name).write_text((other / name).read_text().replace('"built"', '"other"'))
    site = write_site(data, data / "a catalog", f"{URL}/")
    page = Page(site / ("built/index.html" if several else "index.html"))
    told = jsonld(page)
    address = f"{URL}/a%20catalog" + ("/built" if several else "")
    assert told["url"] == address
    assert head(page)["canonical"] == head(page)["og:url"] == f"{address}/index.html"
    assert told["isAccessibleForFree"] is True
    if several:
        assert told["includedInDataCatalog"]["url"] == f"{URL}/a%20catalog"
        index = Page(site / "index.html")
        assert head(index)["canonical"] == f"{URL}/a%20catalog/index.html"
        assert [entry["url"] for entry in jsonld(index)["dataset"]] == [address, address.replace("built", "other")]
    for download in told["distribution"]:
        path = data / download["contentUrl"].removeprefix(f"{URL}/")
        assert hashlib.sha256(path.read_bytes()).hexdigest() == download["sha256"]
        assert download["contentSize"] == f"{path.stat().st_size} B"
    assert {"metadata.csv", "examples.csv"} < {download["name"] for download in told["distribution"]}


def test_a_site_elsewhere_knows_where_the_data_is_but_not_where_itself_is(no_pictures, sound, tmp_path):
    page = Page(write_site(sound, tmp_path / "site", URL) / "index.html")
    told = jsonld(page)
    assert all(download["contentUrl"].startswith(f"{URL}/") for download in told["distribution"])
    assert "url" not in told
    assert not {"canonical", "og:url", "og:image"} & head(page).keys()


def test_the_picture_of_a_page_is_named_by_its_whole_address(sound, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(sound, data / "nih_chest_xray/built/2.0.0")
    site = write_site(data, data / "site", URL)
    image = head(Page(site / "index.html"))["og:image"]
    assert (data / image.removeprefix(f"{URL}/")).is_file()

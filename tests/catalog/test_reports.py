"""Tests of the reports that a catalog's page lists: those beside the dataset, whoever wrote them, and no others."""

import copy
import json
import os
import shutil
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from pages import Page

from nih_chest_xray.catalog import reports, site
from nih_chest_xray.catalog.datasets import find_datasets
from nih_chest_xray.evaluation.evaluate import run
from nih_chest_xray.evaluation.report import write_report
from nih_chest_xray.verification.command import find_folders, verify
from nih_chest_xray.verification.report import failed

NAME = "ResNet <b>50</b> & more"


@pytest.fixture(scope="module")
def data_dir(sound, made, tmp_path_factory) -> Path:
    """A data_dir with a dataset and two reports beside it."""
    data_dir = tmp_path_factory.mktemp("reported")
    folder = data_dir / "nih_chest_xray/built"
    shutil.copytree(sound, folder / "2.0.0")
    done = run(made(sound), folder / "2.0.0", names=(NAME, "b"), compare=made(sound, seed=1), bootstrap=20)
    write_report(done, {}, folder / "baseline")
    done = run(made(sound, "validation"), folder / "2.0.0", split="validation", names=("c", ""), bootstrap=20)
    write_report(done, {}, folder / "z,report")
    return data_dir


@pytest.fixture
def beside(data_dir, tmp_path):
    """A copy of it that a test may change: the config's folder, and the content of a metrics.json."""
    folder = shutil.copytree(data_dir, tmp_path / "data") / "nih_chest_xray/built"
    return folder, json.loads((folder / "baseline/metrics.json").read_text())


def names(folder):
    [built] = find_datasets(folder / "2.0.0")
    return [report.name for report in reports.find_reports(built, folder / "site", None)]


def test_the_page_lists_networks_with_their_auroc_n_and_a_link(data_dir, tmp_path, no_pictures):
    page_file = site.write_site(data_dir, tmp_path / "site") / "index.html"
    page = Page(page_file)
    folder = data_dir / "nih_chest_xray/built"
    _, *rows = page.table("evaluations")
    assert [row[0] for row in rows] == [NAME, "b", "c"]
    figures = json.loads((folder / "baseline/metrics.json").read_text())["figures"]
    first = next(figure for figure in figures if figure["metric"] == "roc_auc")
    assert rows[0][1].startswith(f"{first['estimate']:.3f}")
    assert rows[0][2] == f"{first['images']} images, {first['patients']} patients, {first['positives']} positive"
    assert [row[3:5] for row in rows] == [["test", "label"], ["test", "label"], ["validation", "label"]]
    assert NAME not in page_file.read_text()
    links = [element["attrs"]["href"] for element in page.all("a") if element["text"] in ("baseline", "z,report")]
    assert all((page_file.parent / link.replace("%2C", ",")).is_file() for link in links)
    assert len(links) == 3


def test_reports_leave_the_files_and_croissant_of_a_dataset_as_they_are(data_dir, tmp_path, no_pictures, sound):
    with_reports = site.write_site(data_dir, tmp_path / "with")
    alone = shutil.copytree(sound, tmp_path / "data/nih_chest_xray/built/2.0.0")
    without = site.write_site(alone.parents[2], tmp_path / "without")
    assert (with_reports / "SHA256SUMS").read_bytes() == (without / "SHA256SUMS").read_bytes()
    ours, plain = (json.loads((folder / "croissant.json").read_text()) for folder in (with_reports, without))
    assert len(ours["distribution"]) == len(plain["distribution"])
    assert "baseline" not in json.dumps(ours)
    assert "evaluations" not in (without / "index.html").read_text()


def test_an_address_leads_to_the_reports_too(data_dir):
    [built] = find_datasets(data_dir)
    found = reports.find_reports(built, Path("site"), "https://host/data")
    assert found[0].link == "https://host/data/nih_chest_xray/built/baseline/index.html"
    [built] = find_datasets(data_dir / "nih_chest_xray/built/2.0.0")
    assert reports.find_reports(built, Path("site"), "https://host/data")[0].link is None  # Outside what is served.


def test_tfds_and_verify_see_the_dataset_alone(data_dir):
    loaded = tfds.load("nih_chest_xray/built", data_dir=data_dir, split="test")
    assert len(loaded) > 0
    assert str(tfds.builder("nih_chest_xray/built", data_dir=data_dir).version) == "2.0.0"
    assert tfds.builder("nih_chest_xray/built:2.*.*", data_dir=data_dir).is_prepared()
    [folder] = find_folders(data_dir)
    assert Path(folder) == data_dir / "nih_chest_xray/built/2.0.0"
    assert not failed(verify(folder))


def changed(key, value, figure=None):
    def change(content):
        content = copy.deepcopy(content)
        (content if figure is None else content["figures"][figure])[key] = value
        return content

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed("generator", "somebody else"),
        changed("dataset", "nih_chest_xray/nodule"),
        changed("version", "1.0.0"),
        changed("subset", "fold_0"),
        changed("subset", ["test"]),
        changed("images", 10**6),
        changed("images", -1),
        changed("networks", ["nobody"]),
        changed("networks", ["x" * 1000]),
        changed("networks", ["\x1b[2J"]),
        changed("networks", "a"),
        changed("caveats", None),
        changed("figures", []),
        changed("more", 1),
        changed("estimate", "0.9", 0),
        changed("estimate", 1e400, 0),
        changed("is_difference", None, 0),
        changed("is_difference", True, 0),
        changed("positives", 0.5, 0),
        changed("note", {"a": 1}, 0),
    ],
)
def test_what_is_not_valid_for_the_dataset_is_left_out(beside, change):
    folder, content = beside
    (folder / "baseline/metrics.json").write_text(json.dumps(change(content)))
    assert names(folder) == ["z,report"]


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"generator": NaN}', "[" * 100_000, '{"a":' * 50 + "1"])
def test_what_is_no_json_is_left_out(beside, text):
    folder, _ = beside
    (folder / "baseline/metrics.json").write_text(text)
    assert names(folder) == ["z,report"]


def test_links_pipes_large_files_and_odd_names_are_left_out(beside, monkeypatch):
    folder, _ = beside
    metrics = folder / "baseline/metrics.json"
    for odd in ("a b", "<b>", ".hidden", "-x"):
        shutil.copytree(folder / "z,report", folder / odd)
    metrics.rename(folder / "elsewhere.json")
    metrics.symlink_to(folder / "elsewhere.json")
    assert names(folder) == ["z,report"]
    metrics.unlink()
    os.mkfifo(metrics)
    assert names(folder) == ["z,report"]
    monkeypatch.setattr(reports, "_LIMIT", 1000)
    assert names(folder) == []


def test_a_report_without_a_page_has_no_link(beside):
    folder, _ = beside
    (folder / "baseline/index.html").unlink()
    [built] = find_datasets(folder / "2.0.0")
    assert [report.link is None for report in reports.find_reports(built, folder, None)] == [True, False]


def test_no_report_stops_a_catalog(beside, tmp_path, no_pictures):
    folder, content = beside
    (folder / "baseline/metrics.json").write_text(json.dumps(content | {"networks": [5]}))
    (folder / "z,report/metrics.json").unlink()
    (folder / "z,report/metrics.json").mkdir()
    text = (site.write_site(folder.parents[1], tmp_path / "site") / "index.html").read_text()
    assert "evaluations" not in text

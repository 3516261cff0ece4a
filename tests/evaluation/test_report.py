"""Tests of a report: what its page, its metrics.json and its tables for a paper hold."""

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pages import Page

from nih_chest_xray.errors import CatalogError
from nih_chest_xray.evaluation import exports, printed
from nih_chest_xray.evaluation.evaluate import run
from nih_chest_xray.evaluation.report import write_report
from nih_chest_xray.evaluation.shortcuts import follow_shortcuts
from nih_chest_xray.vocabulary import FINDINGS

HOSTILE = "<script>alert(1)</script> & 100%_#$~^\\{}|"


@pytest.fixture(scope="module")
def done(sound, made):
    """Two networks, one with a hostile name; groups by sex."""
    options = {"compare": made(sound, seed=1), "names": (HOSTILE, "new"), "by": ["patient_sex"], "bootstrap": 20}
    return run(made(sound), sound, **options)


@pytest.fixture(scope="module")
def report(done, tmp_path_factory) -> Path:
    shortcuts = follow_shortcuts(
        lambda images: images.mean(axis=(1, 2, 3)), done.built, "test", done.images, done.truth, 20
    )
    folder = tmp_path_factory.mktemp("reports") / "report"
    assert write_report(done, shortcuts, folder) == folder / "index.html"
    return folder


@pytest.fixture(scope="module")
def page(report) -> Page:
    return Page(report / "index.html")


def test_a_report_is_four_files(report):
    assert {path.name for path in report.iterdir()} == {"index.html", "metrics.json", "figures.md", "figures.tex"}


def test_the_page_needs_no_other_file_and_runs_no_script_of_a_name(report, page):
    text = (report / "index.html").read_text()
    assert HOSTILE not in text
    assert html.escape(HOSTILE, quote=False) in text
    for element in page.elements:
        for key in ("src", "srcset", "href"):
            value = element["attrs"].get(key, "#")
            assert value.startswith(("#", "data:image/")), value
    assert len(page.all("script")) == 1


def test_the_page_has_the_figures_with_their_n_and_differences_apart(page, done):
    table = done.figures
    header, *rows = page.table("overview")
    assert header[:2] == ["Finding: positive of all images", "AUROC"]
    assert header[-1] == "Patients"
    aurocs = table[(table["metric"] == "roc_auc") & ~table["is_difference"] & (table["group"] == "all")]
    assert [row[1].split()[0] for row in rows] == [f"{value:.3f}" for value in aurocs["estimate"]]
    positives = int((done.truth["Nodule"] == 1).sum())
    assert all(row[0].endswith(f": {positives:,} of {len(done.images):,}") for row in rows)
    differences = page.table("networks-table")
    assert "AUROC (DeLong)" in differences[0]
    assert all(re.match(r"[+-]\d|–", cell) for row in differences[1:] for cell in row[1:-1])
    groups = [row[0] for row in page.table("groups-table")[1:]]
    assert all(" - " not in name for name in groups)
    assert all("M - F" in row[0] or "F - M" in row[0] for row in page.table("between-groups-table")[1:])
    assert len(page.table("every")) == len(table) + 1


def test_a_difference_without_an_interval_is_still_a_difference(done, page):
    """The phantom has too few patients for an interval: `holds` is None throughout."""
    table = done.figures
    without = table[table["is_difference"] & table["low"].isna()]
    assert len(without)
    names = {row[0] for row in page.table("overview")} | {row[0] for row in page.table("groups-table")}
    assert not any(" - " in name for name in names)


def test_the_page_says_first_what_a_reader_must_know(page, done):
    listed = [element["text"] for element in page.all("li")]
    assert all(caveat in listed for caveat in done.caveats)
    assert any("Intervals hold for patients like these" in text for text in listed)


def test_pictures_are_the_worst_errors_the_worst_first(page, done):
    scores = next(iter(done.scores.values()))["Nodule"]
    truth = done.truth["Nodule"]
    worst = [
        *scores[truth == 0].sort_values(ascending=False).index[:4],
        *scores[truth == 1].sort_values().index[:4],
    ]
    shown = [element["text"] for element in page.all("span") if element["attrs"].get("class") == "file"]
    assert shown == worst
    details = [element["text"] for element in page.all("span") if "score" in element["text"].lower()]
    assert [float(re.search(r"score ([\d.]+)", text.lower())[1]) for text in details] == pytest.approx(
        list(scores[worst]), abs=6e-4
    )
    plots = [element for element in page.all("img") if element["attrs"].get("class") == "chart"]
    assert [re.match(r"Plot: ([\w ]+)\.", plot["attrs"]["alt"])[1] for plot in plots] == [
        *("ROC", "Precision and recall", "Calibration", "By finding and group")
    ]


def test_metrics_json_has_every_figure(report, done):
    content = json.loads((report / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert content["networks"] == [HOSTILE, "new"]
    assert (content["dataset"], content["version"], content["subset"]) == ("nih_chest_xray/built", "2.0.0", "test")
    assert len(content["figures"]) == len(done.figures)
    for row, (_, expected) in zip(content["figures"], done.figures.iterrows(), strict=True):
        assert row["estimate"] == (None if np.isnan(expected["estimate"]) else expected["estimate"])
        assert (row["metric"], row["images"]) == (expected["metric"], expected["images"])
    assert content["shortcuts"]["Nodule"][0]["change"] == "as they are"


def test_the_papers_tables_hold_the_same_cells_escaped(report, done):
    markdown = (report / "figures.md").read_text().splitlines()
    # The notes of these figures have more than one part: there are too few patients, too.
    assert any("Thresholds were chosen on the same images." in line for line in markdown)
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in markdown if line.startswith("|")}
    assert widths == {11}  # Nine cells between ten bars.
    header = [cell.strip() for cell in markdown[0].strip("|").split("|")]
    assert header == ["Finding", "Images", "Patients", "Positive", "AUROC", *header[5:8], "AUROC (DeLong)"]
    assert "patient sex" not in "".join(markdown)

    lines = (report / "figures.tex").read_text().splitlines()
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == len([line for line in markdown if line.startswith("|")]) - 1
    for line in body:
        bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater)\{\}", "", line[:-2])
        bare = re.sub(r"\\[&%$#_{}]", "", bare)
        assert bare.count("&") == 8
        assert not set(bare) & set("\\%$#_{}~^<>")
        assert bare.isascii()
    assert [line for line in lines if line.startswith("\\begin")] == [r"\begin{tabular}{lrrrrrrrr}"]
    assert lines[-1] == r"\end{tabular}"


def test_titles_of_metrics_can_be_read():
    assert printed.title("specificity_at_90_threshold") == "Specificity at the threshold for 90 %"
    assert printed.title("sensitivity_at_97.5_specificity") == "Sensitivity at 97.5 % specificity"


def test_the_terminal_says_once_that_patients_are_too_few(done):
    text = printed.as_text(done)
    assert text.count("too few patients for an interval") == 1
    assert "worth" not in text
    assert max(map(len, text.splitlines())) < 120


def test_several_findings_have_a_plot_each(catalog_data, rows_of, tmp_path):
    folder = catalog_data / "nih_chest_xray/many/2.0.0"
    names = [row["image_name"] for row in rows_of(folder, "test")]
    scores = np.random.default_rng(0).normal(size=(len(names), 14))
    done = run(pd.DataFrame(scores, names, FINDINGS), folder, bootstrap=10)
    page = Page(write_report(done, {}, tmp_path / "report"))
    assert len(page.table("overview")) == 16
    titles = [element["attrs"]["alt"].partition(".")[0] for element in page.all("img")]
    assert "Plot: Calibration" not in titles  # Scores outside 0 to 1.
    assert "scores outside 0 to 1" in exports.as_json(done, {})


def test_an_image_that_cannot_be_decoded_is_named_and_nothing_is_written(sound, made, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "2.0.0")
    done = run(made(folder), folder, bootstrap=2)
    [shard] = folder.glob("*-test.tfrecord-*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(CatalogError, match="cannot be read"):
        write_report(done, {}, tmp_path / "report")
    assert not (tmp_path / "report").exists()

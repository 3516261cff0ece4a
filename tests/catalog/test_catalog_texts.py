"""Tests of the catalog's texts: what page and Croissant say of a dataset's subsets is true of it, counted from CSV."""

import csv
import io
import json

import pytest
import tensorflow_datasets as tfds
from pages import Page

from nih_chest_xray import Builder
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.vocabulary import ALL_FINDINGS_FILE, EXPERT_FILES, LABEL_FILES

PAPER = "Majkowska et al., Radiology 2020"
SUBSETS = ("train", "validation", "test")
LEFT_OUT = "Images with other findings alone are left out"


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


@pytest.fixture
def make_site(phantom_dir, tmp_path, make_config, no_pictures):
    """Builds a small dataset, and returns its folder, all that its page says, its Croissant and its notice."""

    def make(cap=None, **fields):
        builder = Builder(config=make_config(image_size=16, **fields), data_dir=tmp_path / "data")
        download_config = tfds.download.DownloadConfig(manual_dir=phantom_dir, max_examples_per_split=cap)
        builder.download_and_prepare(download_config=download_config)
        site = write_site(tmp_path / "data", tmp_path / "site")
        page = Page(site / "index.html")
        notices = [element["text"] for element in page.all("p") if element["attrs"].get("class") == "notice"]
        croissant = json.loads((site / "croissant.json").read_text())
        return builder.data_path, page.all("main")[0]["text"], croissant, notices

    return make


def said_in(croissant):
    texts = [value for key, value in croissant.items() if key.startswith("rai:")]
    return " ".join(" ".join(text) if isinstance(text, list) else text for text in texts)


def share(names, of, subset):
    return f"{len(names):,} of {len(of):,} ({100 * len(names) / len(of):.0f} %) in {subset}"


def test_the_populations_of_nodule_expert_are_told_as_they_are(make_site, phantom):
    folder, page, croissant, _ = make_site(task="nodule_expert", split="expert", augmented_copies=1)
    tables = phantom.tables()
    labels = {row["Image Index"]: row for row in rows_of(tables[LABEL_FILES[0]])}
    found = {name: set(row["Finding Labels"].split("|")) - {"No Finding"} for name, row in labels.items()}
    listed = [row for row in rows_of((folder / "metadata.csv").read_bytes()) if "_aug" not in row["image_name"]]
    images = {subset: [row["image_name"] for row in listed if row["subset"] == subset] for subset in SUBSETS}
    front = [
        share([name for name in images[subset] if labels[name]["View Position"] == "AP"], images[subset], subset)
        for subset in SUBSETS
    ]
    other, kept, confirmed = [], [], []
    for subset in ("validation", "test"):
        answers = {row["Image Index"]: row["Nodule or mass"] for row in rows_of(tables[EXPERT_FILES[subset]])}
        assert set(answers) == set(images[subset])
        positive = {name for name, answer in answers.items() if answer == "YES"}
        negative = {name for name, answer in answers.items() if answer == "NO"}
        mined = {name for name in answers if found[name] & {"Nodule", "Mass"}}
        alone = {name for name in negative - mined if found[name]}
        other.append(share(alone, negative, subset))
        kept.append(share(positive & mined, positive, subset))
        confirmed.append(share(positive & mined, mined, subset))
    assert any(not text.startswith("0 ") for text in other)  # Or there would be nothing to tell.
    training_negatives = [row["image_name"] for row in listed if row["label"] == "No nodule or mass"]
    assert not any(found[name] for name in training_negatives if name in images["train"])
    for text in (page, said_in(croissant)):
        assert LEFT_OUT not in text
        assert f"AP images (front to back): {', '.join(front)}." in text
        assert "Training negatives are No Finding only" in text
        assert f"but neither Nodule nor Mass: {', '.join(other)}." in text
        assert f"nodule or mass they have {', '.join(kept)};" in text
        assert f"radiologists confirm {', '.join(confirmed)}." in text
        assert "One of every 2 No Finding images of training is kept" in text
        assert f"those of radiologists ({PAPER}), those of training are text-mined" in text
        assert "up to five rounds" in text
        for sentence in agreement_of(folder):
            assert sentence in text
        assert "Not for evaluating a network that was trained on nodule: 617 of the 860 patients" in text
        assert "trained on the training subset of findings may be evaluated on the test subset" in text
        assert "Radiology 2019" not in text


def agreement_of(folder):
    """What metadata.json says of the radiologists' agreement, in words."""
    said = json.loads((folder / "metadata.json").read_text())["radiologists"]
    table = said["agreement_of_sets"]
    apart = table["Nodule or mass"]["No nodule or mass"] + table["No nodule or mass"]["Nodule or mass"]
    images = sum(number for row in table.values() for number in row.values())
    yield f"five labelled {images:,} of the test images once more"
    yield f"disagree on nodule or mass for {apart:,} of them"
    for key, kind in (("kappa_four_findings", "four"), ("kappa_all_findings", "all")):
        for subset, kappas in said[key].items():
            yield f"kappa of the readers of {kind} findings in {subset}, before they agreed"
            for finding, kappa in kappas.items():
                yield f"{finding.replace('_', ' ')} {'undefined' if kappa is None else f'{kappa:.2f}'}"


def test_nodules_alone_are_told_to_be_read_in_test_alone(make_site, phantom):
    folder, page, croissant, _ = make_site(split="expert_all")
    rows = rows_of(phantom.tables()[ALL_FINDINGS_FILE])
    listed = [row for row in rows_of((folder / "metadata.csv").read_bytes()) if row["subset"] == "test"]
    assert {row["image_name"]: row["label"] == "Nodule" for row in listed} == {
        row["Image ID"]: row["Nodule"] == "YES" for row in rows
    }
    for text in (page, said_in(croissant)):
        assert (
            f"The labels of test are those of radiologists ({PAPER}), those of training and validation are text" in text
        )
        assert "Five radiologists read each image" in text
        assert "Training and validation negatives are No Finding only; test is images that radiologists" in text
        assert "No Finding images of training and validation is kept" in text
        assert "of the images that they call nodule, radiologists confirm" in text
        assert "Not for evaluating a network that was trained on another config" in text
        for sentence in agreement_of(folder):
            assert sentence in text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "must not be evaluated on nodule_expert"),
        ({"split": "official", "healthy_stride": 1}, "may be evaluated on radiologists' labels too"),
        (
            {"split": "official", "healthy_stride": 1, "task": "findings"},
            "may be evaluated on radiologists' labels too",
        ),
    ],
    ids=["nodule", "nodule, official split", "findings"],
)
def test_other_tasks_tell_what_is_left_out_and_where_they_may_be_evaluated(make_site, phantom, fields, told):
    folder, page, croissant, notices = make_site(**fields)
    found = {row["Image Index"]: row["Finding Labels"] for row in rows_of(phantom.tables()[LABEL_FILES[0]])}
    labels = [found[row["image_name"]] for row in rows_of((folder / "metadata.csv").read_bytes())]
    others_alone = [label for label in labels if label != "No Finding" and "Nodule" not in label.split("|")]
    assert bool(others_alone) == (fields.get("task") == "findings")
    assert notices == []
    for text in (page, said_in(croissant)):
        assert (LEFT_OUT in text) == (not others_alone)
        assert told in text
        assert f"({PAPER}) they have 256" in text
        assert ("One of every 2 No Finding images is kept" in text) == ("healthy_stride" not in fields)


@pytest.mark.parametrize("fields", [{}, {"phantom_patients": 20}], ids=["read", "drawn"])
def test_a_trial_build_is_called_one_everywhere(make_site, fields):
    _, page, croissant, notices = make_site(cap=5, augmented_copies=1, **fields)
    told = "A trial build of at most 5 examples a subset (--max_examples_per_split), not a whole dataset"
    [notice] = notices
    assert told in notice
    assert ("Synthetic" in notice) == bool(fields)
    assert told in page
    assert told in croissant["description"]
    for key in ("rai:dataBiases", "rai:dataCollectionMissingData"):
        assert told in said_in({key: croissant[key]})


def test_a_cap_that_no_subset_reaches_makes_no_trial_build(make_site):
    _, page, croissant, notices = make_site(cap=1000)
    assert notices == []
    assert "trial build" not in page + json.dumps(croissant)

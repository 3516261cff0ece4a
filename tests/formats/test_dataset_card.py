"""Tests of the dataset card: it says what the catalog's page says, and for whom it is."""

import pytest

from nih_chest_xray.catalog import texts
from nih_chest_xray.catalog.datasets import open_dataset
from nih_chest_xray.formats.export import FORMATS
from nih_chest_xray.release.downloads import RELEASE_PAGE


def card_of(out):
    return (out / "README.md").read_text()


@pytest.mark.parametrize("to", FORMATS)
def test_the_card_has_the_texts_of_the_page(to, exported):
    dataset, out = exported("expert", to)
    built, card = open_dataset(dataset), card_of(out)
    for text in (*texts.limits(built), *texts.annotation(built), *texts.use_cases(built), *texts.sensitive(built)):
        assert card.count(f"- {text}\n") == 1
    for text in (texts.licence(built), texts.citation(built), texts.ACKNOWLEDGEMENT, RELEASE_PAGE):
        assert text in card
    assert "AP images (front to back):" in card  # Of the examples themselves.


def test_counts_and_copies_are_those_of_the_dataset(exported):
    dataset, out = exported("drawn", "folder")
    built, card = open_dataset(dataset), card_of(out)
    counts = built.metadata["counts"]
    row = " | ".join(str(counts[subset]["Nodule"]) for subset in built.subsets)
    assert f"| Nodule | {row} |" in card
    assert f"| of these augmented copies | {built.copies['train']} | 0 | 0 |" in card


def test_a_synthetic_dataset_is_said_to_be_one_and_has_nothing_of_the_nihs_licence(exported):
    _, out = exported("drawn", "huggingface")
    card = card_of(out)
    assert "> **Note.** Synthetic: every image is drawn by code." in card
    assert "license: apache-2.0" in card
    assert "box.com" not in card
    assert "wang2017" not in card


def test_what_looks_like_html_is_shown_and_not_run(exported):
    _, out = exported("drawn", "folder")
    assert "<script>" not in card_of(out)
    assert "&lt;script>alert('told')&lt;/script> &amp; more" in card_of(out)

"""Browse: writes what a page's browser needs: the examples that have pictures, and all rows of examples.csv."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nih_chest_xray.catalog.columns import write_columns
from nih_chest_xray.catalog.datasets import EXAMPLES_CSV, Built, damaged, read_examples_csv
from nih_chest_xray.catalog.gallery import Gallery
from nih_chest_xray.catalog.thumbnails import FOLDER
from nih_chest_xray.errors import DatasetError
from nih_chest_xray.verification.dataset_folder import COLUMNS
from nih_chest_xray.vocabulary import FINDINGS, NO_FINDING, SEX_IN_WORDS, SEXES, VIEWS, label_string

_OF_RECORDS = ("findings", "augmentation", "patient_id", "patient_age", "patient_sex", "view_position")
"""Columns of examples.csv, besides those of metadata.csv, that `statistics.read_examples` reads from the records."""


@dataclasses.dataclass(frozen=True)
class Filter:
    """A choice among examples.

    Attributes:
      key: The filter's name in the page's hash, such as `#finding=Nodule&sex=F`.
      title: Its name in words.
      options: The value and text of each option.
    """

    key: str
    title: str
    options: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Browser:
    """What the template of the browser needs: the filters, and the numbers of pictures and of rows."""

    filters: tuple[Filter, ...]
    pictures: int
    rows: int


def write_browser(built: Built, examples: pd.DataFrame, gallery: Gallery, folder: Path) -> Browser:
    """Writes the browser's tables into `folder`/examples.

    Args:
      built: The dataset.
      examples: The table of examples that `statistics.read_examples` returns.
      gallery: The page's pictures.
      folder: The folder of the page.

    Raises:
      CatalogError: examples.csv does not say what the records hold.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    facts = _facts(examples)
    write_columns(_pictured(facts, gallery), folder / FOLDER / "examples.js")
    write_columns(_rows(built, facts), folder / FOLDER / "rows.js")
    return Browser(tuple(_filters(built, examples)), len(gallery.browsed), len(examples))


def _facts(examples: pd.DataFrame) -> pd.DataFrame:
    """Returns the examples as in examples.csv, as far as `examples` tells: texts, in the order of image names."""
    facts = examples[[*COLUMNS, *_OF_RECORDS]]
    facts = facts.assign(findings=facts["findings"].map(label_string)).sort_values("image_name")
    return facts.astype(str).reset_index(drop=True)


def _pictured(facts: pd.DataFrame, gallery: Gallery) -> pd.DataFrame:
    """Returns the examples that have pictures, in the order of their thumbnails, with what the viewer says of them."""
    said = pd.DataFrame(
        {
            "image_name": [picture.name for picture in gallery.browsed],
            "file": [picture.file for picture in gallery.browsed],
            "is_stored": [str(picture.is_stored) for picture in gallery.browsed],
            "details": [picture.details for picture in gallery.browsed],
            "alt": [picture.alt for picture in gallery.browsed],
            "boxes": [json.dumps(picture.boxes) for picture in gallery.browsed],
        },
        dtype=str,
    )
    return said.merge(facts, how="left", on="image_name", validate="one_to_one")


def _rows(built: Built, facts: pd.DataFrame) -> pd.DataFrame:
    """Returns all rows and columns of examples.csv; those of the records for a dataset of before there was that file.

    Raises:
      CatalogError: The file cannot be read, or differs from the records.
    """
    try:
        rows = read_examples_csv(built)
    except FileNotFoundError:
        return facts
    except DatasetError as error:
        raise damaged(built.path, error) from error
    for name in _OF_RECORDS:
        if name not in rows or (wrong := rows[name].to_numpy() != facts[name].to_numpy()).any():
            of = f" of {facts['image_name'][wrong.argmax()]}" if name in rows else ""
            raise damaged(built.path, f"{EXAMPLES_CSV} does not say what the records hold: {name}{of}")
    return rows


def _filters(built: Built, examples: pd.DataFrame) -> list[Filter]:
    """Returns the filters that leave out something."""
    there = {label for findings in examples["findings"].unique() for label in findings or (NO_FINDING,)}
    changes = built.builder.info.features["augmentation"].names
    named = [
        ("subset", "Subset", _words(built.subsets, examples["subset"])),
        # Where an example may have several classes, these are its findings.
        ("class", "Class", () if built.task.multi_label else _words(built.classes, examples["label"])),
        ("finding", "Finding", _words((*FINDINGS, NO_FINDING), there)),
        ("sex", "Sex", [(sex, SEX_IN_WORDS[sex]) for sex, _ in _words(SEXES, examples["patient_sex"])]),
        ("view", "View", _words(VIEWS, examples["view_position"])),
        ("augmentation", "Augmentation", _words(changes, examples["augmentation"])),
    ]
    return [Filter(key, title, tuple(options)) for key, title, options in named if len(options) > 1]


def _words(names: Iterable[str], there: Iterable[str]) -> list[tuple[str, str]]:
    there = set(there)
    return [(name, name.replace("_", " ")) for name in names if name in there]

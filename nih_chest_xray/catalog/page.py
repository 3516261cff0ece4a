"""Page: fills the templates with the facts of a dataset."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
import markupsafe
import numpy as np
import pandas as pd

from nih_chest_xray.catalog import schema_org, texts
from nih_chest_xray.catalog.browse import Browser
from nih_chest_xray.catalog.charts import Charts
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.digests import DataFile
from nih_chest_xray.catalog.gallery import SIDE, Gallery, Picture
from nih_chest_xray.catalog.loading import first_lines, packages, snippets
from nih_chest_xray.catalog.reports import Report
from nih_chest_xray.images.codec import STORED_AS
from nih_chest_xray.release.downloads import RELEASE_PAGE
from nih_chest_xray.system.disk_space import readable
from nih_chest_xray.verification.shards import formats
from nih_chest_xray.vocabulary import NO_FINDING, SUBSET_NAME

_FIRST = 4
"""Pictures at the top of a page."""
_NODULE = "Nodule"
_CODE = re.compile("`([^`]+)`")

_BROWSER = ("browse.css", "columns.js", "viewer.js", "browse.js")
"""What the browser of examples adds to the style and script of a page."""


def dataset_page(
    built: Built,
    examples: pd.DataFrame,
    files: list[DataFile],
    gallery: Gallery,
    browser: Browser,
    charts: Charts,
    url: str | None,
    address: str | None,
    several: bool,
    reports: list[Report],
) -> str:
    """Returns the HTML of a dataset's page.

    Args:
      built: The dataset.
      examples: The table of examples that `statistics.read_examples` returns.
      files: The dataset's files.
      gallery: The pictures of examples.
      browser: The examples to browse.
      charts: The charts.
      url: The address at which the datasets are served; None if they are not.
      address: The page's own address, if it is known.
      several: Whether an index page lists this and other datasets.
      reports: The reports of evaluations beside the dataset.
    """
    first = _first_pictures(gallery)
    return render(
        "dataset.html.jinja",
        _BROWSER,
        built=built,
        examples=examples,
        info=built.builder.info,
        texts=texts,
        facts=_facts(built, files),
        first=first,
        charts=charts,
        features=_features(built),
        fields=config_fields(built),
        load=first_lines(built, url),
        snippets=snippets(built, url),
        packages=packages(built),
        files=files,
        tables={file.name: file.link for file in files if file.name.endswith(".csv")},
        size=readable(sum(file.size for file in files)),
        gallery=gallery,
        browser=browser,
        side=SIDE,
        several=several,
        reports=reports,
        release_page=RELEASE_PAGE,
        address=address,
        image=first[0][0].preview if first else None,
        jsonld=schema_org.dataset(built, files, url, address, several),
    )


def index_page(datasets: list[Built], address: str | None) -> str:
    """Returns the HTML of a page that lists datasets. `address` is its own address, if it is known."""
    sizes = [readable(built.records_size) for built in datasets]
    return render(
        "index.html.jinja",
        datasets=list(zip(datasets, sizes, strict=True)),
        texts=texts,
        address=address,
        jsonld=schema_org.catalog(datasets, address),
    )


def _first_pictures(gallery: Gallery) -> list[tuple[Picture, str]]:
    """Returns up to four pictures for the top of the page, each with a short caption.

    They have a nodule and no finding in turn; other findings stand in for what there is not.
    """
    without = [picture for picture in gallery.singles if picture.findings == NO_FINDING]
    nodules = [picture for picture in gallery.singles if _NODULE in picture.findings]
    others = [picture for picture in gallery.singles if picture not in (*without, *nodules)]
    turns = itertools.zip_longest([*nodules, *others], without)
    return [(picture, _caption(picture.label)) for turn in turns for picture in turn if picture][:_FIRST]


def _caption(label: str) -> str:
    """Returns a label as short as it fits below a small picture.

    >>> _caption("Mass|Nodule|Pneumonia"), _caption("No Finding")
    ('Nodule and 2 more', 'No Finding')
    """
    classes = label.split("|")
    first = _NODULE if _NODULE in classes else classes[0]
    return first if len(classes) == 1 else f"{first} and {len(classes) - 1} more"


def config_fields(built: Built) -> list[tuple[str, str, str, bool]]:
    """Returns the name, value and doc of each field of the config, and whether the value differs from the default."""
    fields = {field.name: field for field in dataclasses.fields(built.made)}
    return [
        (name, json.dumps(value), fields[name].metadata["doc"], value != fields[name].default)
        for name, value in built.made.choices.items()
    ]


def render(template: str, parts: Sequence[str] = (), **values: Any) -> str:
    """Returns the HTML of a template, with the style and script of all pages.

    Args:
      template: The template's name.
      parts: Further styles (.css) and scripts (.js) that the page needs. A page with its own scripts may load tables,
        which are scripts too, from its site.
      **values: What the template shows.
    """
    folder = resources.files("nih_chest_xray.catalog") / "templates"
    style, script = (
        "\n".join((folder / name).read_text() for name in ("style.css", "page.js", *parts) if name.endswith(suffix))
        for suffix in (".css", ".js")
    )
    tables = " 'self' file:" if parts else ""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nih_chest_xray.catalog"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # Subsets keep their names, which code has to spell.
    environment.filters["words"] = lambda name: name if SUBSET_NAME.fullmatch(name) else name.replace("_", " ")
    # Docs have code in backticks.
    environment.filters["ticks"] = lambda text: markupsafe.Markup(
        _CODE.sub(r"<code>\1</code>", str(markupsafe.escape(text)))
    )
    # Style and script are in the page, allowed by digest: browsers differ in whether files next to it share its origin.
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:;"
        f" style-src '{_digest(style)}'; script-src '{_digest(script)}'{tables}"
    )
    shared = {"style": style, "script": script, "policy": policy, "address": None, "image": None, "jsonld": None}
    return environment.get_template(template).render(shared | values)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _facts(built: Built, files: list[DataFile]) -> list[tuple[str, str]]:
    height, width, _ = built.builder.info.features["image"].shape
    augmented = {"augmented copies": built.copies, "augmented in place": built.in_place}
    parts = [f"{sum(numbers.values()):,} {what}" for what, numbers in augmented.items() if any(numbers.values())]
    examples = f"{built.total:,}" + (f" ({', '.join(parts)})" if parts else "")
    return [
        ("Examples", examples),
        ("Patients", texts.patients(built) + (" synthetic" if built.synthetic else "")),
        ("Images", f"{width} × {height}, {STORED_AS[built.config['image_format']]}"),
        ("Size", f"{readable(sum(file.size for file in files))} in {len(files)} files"),
        ("Format", ", ".join(file_format.value for file_format in formats(built.builder.info))),
        ("Version", f"{built.version}, {built.built_on:%-d %b %Y}"),
    ]


def _features(built: Built) -> list[tuple[str, str, str, str]]:
    """Returns the name, class, shape with type, and doc of each feature, from TFDS's own documentation."""
    rows = []
    for doc in built.builder.info.features.catalog_documentation():
        kind = ""
        if doc.tensor_info:
            shape = " × ".join("any" if length is None else str(length) for length in doc.tensor_info.shape)
            name = np.dtype(doc.tensor_info.np_dtype).name
            kind = f"{shape} {'string' if name == 'object' else name}".strip()
        if doc.name:
            rows.append((doc.name, doc.cls_name, kind, doc.description))
    return rows

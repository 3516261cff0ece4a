"""Page: fills the templates with the facts of a dataset."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from nih_chest_xray.catalog import charts, statistics, texts
from nih_chest_xray.catalog.browse import Browser
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.digests import DataFile
from nih_chest_xray.catalog.gallery import SIDE, Gallery
from nih_chest_xray.catalog.loading import packages, snippets
from nih_chest_xray.catalog.reports import Report
from nih_chest_xray.images.codec import STORED_AS
from nih_chest_xray.release.downloads import RELEASE_PAGE
from nih_chest_xray.system.disk_space import readable
from nih_chest_xray.verification.shards import formats
from nih_chest_xray.vocabulary import SUBSET_NAME

_BROWSER = ("browse.css", "columns.js", "viewer.js", "browse.js")
"""What the browser of examples adds to the style and script of a page."""


def dataset_page(
    built: Built,
    examples: pd.DataFrame,
    files: list[DataFile],
    gallery: Gallery,
    browser: Browser,
    shown: list[charts.Chart],
    url: str | None,
    several: bool,
    reports: list[Report],
) -> str:
    """Returns the HTML of a dataset's page. `several` says whether an index page lists this and other datasets."""
    return render(
        "dataset.html.jinja",
        _BROWSER,
        built=built,
        examples=examples,
        info=built.builder.info,
        texts=texts,
        facts=_facts(built, files),
        splits=_splits(built),
        charts=shown,
        features=_features(built),
        fields=config_fields(built),
        snippets=snippets(built, url),
        packages=packages(built),
        files=files,
        size=readable(sum(file.size for file in files)),
        gallery=gallery,
        browser=browser,
        side=SIDE,
        several=several,
        reports=reports,
        release_page=RELEASE_PAGE,
    )


def index_page(datasets: list[Built]) -> str:
    """Returns the HTML of a page that lists datasets."""
    sizes = [readable(built.builder.info.dataset_size) for built in datasets]
    return render("index.html.jinja", datasets=list(zip(datasets, sizes, strict=True)), texts=texts)


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
    # Style and script are in the page, allowed by digest: browsers differ in whether files next to it share its origin.
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file: data:;"
        f" style-src '{_digest(style)}'; script-src '{_digest(script)}'{tables}"
    )
    return environment.get_template(template).render(style=style, script=script, policy=policy, **values)


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


def _splits(built: Built) -> charts.Table:
    counts = statistics.class_counts(built)
    rows = {
        "Examples": built.metadata["examples"],
        **({"of these augmented copies": built.copies} if any(built.copies.values()) else {}),
        **({"of these augmented in place": built.in_place} if any(built.in_place.values()) else {}),
        "Patients": built.metadata["patients"],
    }
    more = pd.DataFrame({subset: [row[subset] for row in rows.values()] for subset in built.subsets}, list(rows))
    table = pd.concat([counts.rename(index=lambda name: name.replace("_", " ")), more])
    table["all"] = table.sum(axis=1)
    table.loc["Patients", "all"] = built.patients
    return charts.count_table("Examples by class and subset", "Class", table)


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

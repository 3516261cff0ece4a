"""Markdown: the page of a dataset as TFDS's own catalog shows it.

TFDS's `get_markdown_string` needs a file that its wheel does not hold, so that its sections are put together here.
"""

from __future__ import annotations

import dataclasses
import re
import types
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.scripts.documentation import dataset_markdown_builder as tfds_page

from nih_chest_xray.catalog import texts
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.vocabulary import DATASET

_MARKS = re.compile(r"[\\`*_{}\[\]<>#|!&~=$]|^[ \t]*[-+]", re.MULTILINE)
_SECTIONS = (
    tfds_page.DatasetDescriptionSection(),
    tfds_page.ConfigDescriptionSection(),
    tfds_page.HomepageSection(),
    tfds_page.VersionSection(None),
    tfds_page.DownloadSizeSection(),
    tfds_page.DatasetSizeSection(),
    tfds_page.AutocacheSection(),
    tfds_page.SplitInfoSection(),
    tfds_page.FeatureInfoSection(),
    tfds_page.FeatureDocumentationSection(),
    tfds_page.SupervisedKeySection(),
    tfds_page.DatasetCitationSection(),
)


def tfds_markdown(datasets: list[Built]) -> str:
    """Returns the page of all datasets: first what they have in common, then what is each one's own."""
    builders = [_escaped(built.builder) for built in datasets]
    common = [section for section in _SECTIONS if len({section.get_key(builder) for builder in builders}) == 1]
    parts = [f"# `{DATASET}`\n", *(section.display(builders[0]) for section in common)]
    for built, builder in zip(datasets, builders, strict=True):
        parts.append(f"## {built.full_name}\n")
        if notice := texts.notice(built):
            parts.append(f"Note: {notice}\n")
        parts += [section.display(builder) for section in _SECTIONS if section not in common]
    return "\n".join(part.rstrip() + "\n" for part in parts if part.strip())


def escape(text: str) -> str:
    r"""Returns Markdown that shows a text as it is.

    >>> print(escape("a [link](x) & <b>"))
    a \[link\](x) \& \<b\>
    """
    return _MARKS.sub(lambda mark: f"{mark[0][:-1]}\\{mark[0][-1]}", text)


def _escaped(builder: tfds.core.DatasetBuilder) -> Any:
    """Returns what the sections ask of a builder, with the texts of a dataset's files as Markdown that shows them."""
    info = builder.info
    texts_of = {
        "description": escape(info.description),
        "citation": info.citation.replace("`" * 3, "'" * 3),  # It stands between two lines of three.
        "features": _Features(info.features),
    }
    kept = ("homepage", "download_size", "dataset_size", "splits", "supervised_keys")
    return types.SimpleNamespace(
        info=types.SimpleNamespace(**texts_of, **{name: getattr(info, name) for name in kept}),
        builder_config=types.SimpleNamespace(description=escape(builder.builder_config.description or "")),
        version=builder.version,
        versions=builder.versions,
        release_notes={version: escape(note) for version, note in builder.release_notes.items()},
        _should_cache_ds=builder._should_cache_ds,
    )


class _Features:
    """Features whose docs are escaped."""

    def __init__(self, features: tfds.features.FeaturesDict) -> None:
        self._features = features

    def __repr__(self) -> str:
        return repr(self._features)

    def catalog_documentation(self) -> list[Any]:
        """Returns what the features' own method returns."""
        docs = self._features.catalog_documentation()
        return [dataclasses.replace(doc, description=escape(doc.description or "")) for doc in docs]

"""Markdown: the page of a dataset as TFDS's own catalog shows it.

TFDS's `get_markdown_string` needs a file that its wheel does not hold, so that its sections are put together here.
"""

from __future__ import annotations

from tensorflow_datasets.scripts.documentation import dataset_markdown_builder as tfds_page

from nih_chest_xray.catalog import texts
from nih_chest_xray.catalog.datasets import DATASET, Built

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
    builders = [built.builder for built in datasets]
    common = [section for section in _SECTIONS if len({section.get_key(builder) for builder in builders}) == 1]
    parts = [f"# `{DATASET}`\n", *(section.display(builders[0]) for section in common)]
    for built in datasets:
        parts.append(f"## {built.full_name}\n")
        if notice := texts.notice(built):
            parts.append(f"Note: {notice}\n")
        parts += [section.display(built.builder) for section in _SECTIONS if section not in common]
    return "\n".join(part.rstrip() + "\n" for part in parts if part.strip())

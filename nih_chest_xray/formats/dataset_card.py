"""Dataset card: says what an export holds, in the texts of the catalog's page, as Markdown with the Hub's tags."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from nih_chest_xray.catalog import texts
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.statistics import class_counts
from nih_chest_xray.formats.stored import features_of
from nih_chest_xray.release.downloads import RELEASE_PAGE
from nih_chest_xray.vocabulary import DATASET

_SIZES = {1e3: "n<1K", 1e4: "1K<n<10K", 1e5: "10K<n<100K", 1e6: "100K<n<1M"}
"""The Hub's words for numbers of examples, by their upper bounds."""


def tags(built: Built) -> dict[str, Any]:
    """Returns the Hub's tags of a dataset: its name, licence, tasks, size and so on."""
    findings = built.task.multi_label
    licence = {"license": "apache-2.0"}
    if not built.synthetic:
        licence = {"license": "other", "license_name": "nih-chestx-ray14", "license_link": RELEASE_PAGE}
    return {
        "pretty_name": title(built),
        **licence,
        "task_categories": ["image-classification", "object-detection"],
        "task_ids": ["multi-label-image-classification" if findings else "multi-class-image-classification"],
        "annotations_creators": ["machine-generated"] if built.synthetic else ["machine-generated", "expert-generated"],
        "source_datasets": ["original"],
        "size_categories": [next(word for bound, word in _SIZES.items() if built.total < bound)],
        "tags": [
            *(["synthetic"] if built.synthetic else ["nih", "chestx-ray14"]),
            *("medical", "radiology", "chest-x-ray", "pulmonary-nodule"),
        ],
    }


def title(built: Built) -> str:
    """Returns the dataset's name in words."""
    kind = "Synthetic chest radiographs" if built.synthetic else "NIH ChestX-ray14"
    return f"{kind}: {built.config_name.replace('_', ' ')}"


def text(built: Built, described: pd.DataFrame, reading: str, types: str) -> str:
    """Returns the card without its YAML.

    Args:
      built: The dataset.
      described: As `Reader.described` returns it, of all examples.
      reading: Python that reads the export in a folder OUT.
      types: What the export stores and how, a paragraph of Markdown.
    """
    labels = texts.annotation(built)
    parts = [
        f"# {title(built)}",
        f"{_prose(built.description)} Version {built.version} of the dataset `{built.full_name}`, exported by"
        " `nih-chest-xray export`.",
        *([f"> **Note.** {_prose(notice)}"] if (notice := texts.notice(built)) else []),
        *map(_prose, texts.about(built)),
        "## Read it",
        f"```python\n{reading}```",
        f"`OUT` is the folder of this file. {types}",
        "## Subsets",
        _table(["", *built.subsets], _counts(built)),
        _prose(texts.patient_subsets(built)),
        "## Features",
        _table(["feature", "type", "meaning"], _features(built)),
        "## Labels and boxes",
        _list(labels),
        "## Limits",
        _list(limit for limit in texts.limits(built) if limit not in labels),
        "## Biases",
        _list(texts.biases(built, described)),
        "## What it is for",
        _list(texts.use_cases(built)),
        "## Personal data",
        _list(texts.sensitive(built)),
        "## Licence",
        _prose(texts.licence(built)),
        *([] if built.synthetic else [f"The link is <{RELEASE_PAGE}>. {texts.ACKNOWLEDGEMENT}"]),
        "## Citation",
        f"```bibtex\n{texts.citation(built).strip()}\n```",
        "## How it was made",
        f"Package {DATASET}, dataset version {built.version}, with this config:",
        f"```json\n{json.dumps(built.config, indent=1)}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _counts(built: Built) -> Iterator[list[str]]:
    for name, counts in class_counts(built).iterrows():
        yield [str(name), *(f"{count:,}" for count in counts)]
    rows = {
        "examples": built.metadata["examples"],
        **({"of these augmented copies": built.copies} if any(built.copies.values()) else {}),
        **({"of these augmented in place": built.in_place} if any(built.in_place.values()) else {}),
        "patients": built.metadata["patients"],
    }
    for name, row in rows.items():
        yield [name, *(f"{row[subset]:,}" for subset in built.subsets)]


def _features(built: Built) -> Iterator[list[str]]:
    """Yields the name, the shape with the type, and the meaning of each feature, from TFDS's own documentation."""
    for doc in features_of(built).catalog_documentation():
        if doc.name:
            yield [f"`{doc.name}`", _kind(doc), doc.description]


def _kind(doc: Any) -> str:
    if not doc.tensor_info:
        return "sequence"
    shape, name = doc.tensor_info.shape, np.dtype(doc.tensor_info.np_dtype).name
    if doc.name == "image":
        return f"image of {shape[1]} x {shape[0]} pixels"
    if name == "object" or doc.cls_name == "ClassLabel":
        return "text" if name == "object" else "class"
    return f"{shape} {name}" if shape else name


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_prose(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in cells)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {' '.join(_prose(item).split())}" for item in items)


def _prose(words: str) -> str:
    """Returns text for Markdown; what looks like HTML is shown and not interpreted."""
    return re.sub(r"[<&]", lambda found: {"<": "&lt;", "&": "&amp;"}[found[0]], words)

"""Reports: finds evaluations that lie beside a dataset, whoever wrote them, and reads what a page says of them.

A report is a folder of `nih-chest-xray evaluate --out`, beside the folder of the version: TFDS looks there for versions
alone, and a dataset's own folder may hold no other file. Only metrics.json is read, and what is not valid in it is left
out: a catalog of a dataset must not fail for what somebody put beside it.
"""

from __future__ import annotations

import dataclasses
import os
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

from etils import epath

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.digests import location
from nih_chest_xray.errors import SchemaError
from nih_chest_xray.verification.dataset_folder import plain_files, read_small
from nih_chest_xray.verification.json_kinds import (
    flag,
    listed,
    mapping,
    nullable,
    number,
    parse_json,
    record,
    text,
    whole,
)

GENERATOR = "nih-chest-xray evaluate"
METRICS, PAGE = "metrics.json", "index.html"
_LIMIT = 32 << 20
"""Bytes of metrics.json. One of 14 findings, two networks and ten groups has 4,000,000."""
_MOST_ENTRIES, _MOST_REPORTS = 1000, 50
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+,=-]{0,99}")
_WORD, _NOTE = text(200), text(2000)
_SHORTCUT = {
    **dict.fromkeys(("change", "note"), _WORD),
    **{name: nullable(number) for name in ("score", "difference", "low", "high")},
    **{name: whole() for name in ("images", "patients")},
    "follows": nullable(flag),
}
_FIGURE = {
    **dict.fromkeys(("network", "finding", "by", "group", "metric", "method"), _WORD),
    **{name: nullable(number) for name in ("estimate", "low", "high")},
    **{name: whole() for name in ("images", "patients", "positives")},
    "is_difference": flag,
    "holds": nullable(flag),
    "note": _NOTE,
}
_CONTENT = record(
    {
        **dict.fromkeys(("generator", "dataset", "version", "subset", "against"), _WORD),
        **{name: whole() for name in ("images", "patients", "bootstrap", "seed")},
        "networks": listed(_WORD, 10),
        "caveats": listed(_NOTE, 1000),
        "figures": listed(record(_FIGURE), 200_000),
        "shortcuts": mapping(_WORD, listed(record(_SHORTCUT), 100), 100),
    }
)
"""What metrics.json holds."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a page says of a report.

    Attributes:
      name: The name of its folder.
      link: The target of a link to its page; None if it has none, or where nothing leads to it.
      subset: The subset that was evaluated.
      against: What was taken for the truth.
      networks: For each network its name, its AUROC with the interval, and the images, patients and positives of it.
    """

    name: str
    link: str | None
    subset: str
    against: str
    networks: tuple[tuple[str, str, str], ...]


def find_reports(built: Built, page: os.PathLike, url: str | None) -> list[Report]:
    """Returns the reports beside a dataset that are of this dataset and version, by name.

    Args:
      built: The dataset.
      page: The folder of the dataset's page. Links start there.
      url: The address at which the folder that was searched is served; None if it is not.
    """
    found = []
    try:
        beside = sorted(built.path.parent.iterdir())[:_MOST_ENTRIES]
    except OSError:
        return []
    for folder in beside:
        try:
            if _FOLDER.fullmatch(folder.name) and (folder / METRICS).is_file():
                content = parse_json(read_small(folder / METRICS, _LIMIT))
                _CONTENT(content, "")
                _require_of(built, content)
                found.append(_report(built, folder, content, page, url))
        except (OSError, SchemaError):
            continue
    return found[:_MOST_REPORTS]


def _require_of(built: Built, content: Mapping[str, Any]) -> None:
    """Raises an error if a report is not of this dataset.

    Raises:
      SchemaError: It is of another dataset, version or subset, or of more images than the subset has.
    """
    of = (content["generator"], content["dataset"], content["version"])
    subset = content["subset"]
    if of != (GENERATOR, built.full_name, built.version) or subset not in built.subsets:
        raise SchemaError("is of another dataset")
    if not 0 < content["images"] <= built.metadata["examples"][subset]:
        raise SchemaError("has more images than the subset")


def _report(built: Built, folder: epath.Path, content: Mapping[str, Any], page: os.PathLike, url: str | None) -> Report:
    networks = []
    for network in content["networks"]:
        figure = _auroc(content["figures"], network)
        low, high = figure["low"], figure["high"]
        interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
        estimate = "undefined" if figure["estimate"] is None else f"{figure['estimate']:.3f}{interval}"
        mean = " mean" if figure["finding"] == "mean" else ""
        counts = f"{figure['images']:,} images, {figure['patients']:,} patients, {figure['positives']:,} positive"
        networks.append((network, f"{estimate}{mean}", counts))
    return Report(
        name=folder.name,
        link=_link(built, folder, page, url),
        subset=content["subset"],
        against=content["against"],
        networks=tuple(networks),
    )


def _auroc(figures: list[Mapping[str, Any]], network: str) -> Mapping[str, Any]:
    """Returns the AUROC of all images; of several findings their mean.

    Raises:
      SchemaError: There is none.
    """
    of = [
        figure
        for figure in figures
        if (figure["network"], figure["group"], figure["metric"]) == (network, "all", "roc_auc")
        and not figure["is_difference"]
    ]
    if not of:
        raise SchemaError("has no AUROC")
    return next((figure for figure in of if figure["finding"] == "mean"), of[0])


def _link(built: Built, folder: epath.Path, page: os.PathLike, url: str | None) -> str | None:
    """Returns the target of a link to a report's page."""
    if PAGE not in {file.name for file in plain_files(folder)} or (url and built.place == "."):
        return None
    base = location(built, url).rpartition("/")[0]
    if "://" in base:
        return f"{base}/{urllib.parse.quote(folder.name)}/{PAGE}"
    base = os.path.relpath(os.path.realpath(base), os.path.realpath(page))
    return urllib.parse.quote(f"{base}/{folder.name}/{PAGE}")

"""Schema.org: describes a dataset to search engines, as JSON-LD for its page.

What is in it follows https://schema.org/Dataset and Google's guide to the structured data of datasets: the description
has 50 to 5,000 characters, and a download has an address that anybody can open. A page that does not know where the
dataset is served therefore names none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nih_chest_xray.catalog import texts
from nih_chest_xray.catalog.croissant import encoding, keywords
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.digests import DataFile
from nih_chest_xray.release.downloads import RELEASE_PAGE
from nih_chest_xray.vocabulary import DATASET

_LONGEST = 5000
_ARTICLE = re.compile(r"title\s*=\s*\{(.+?)\},\n.*?doi\s*=\s*\{(.+?)\}", re.DOTALL)
_CLINIC = "NIH Clinical Center"
_PLACE = {"@type": "Place", "name": f"{_CLINIC}, Bethesda, Maryland"}


def dataset(built: Built, files: Sequence[DataFile], url: str | None, address: str | None, several: bool) -> str:
    """Returns the JSON-LD of a dataset, to stand in a script element.

    Args:
      built: The dataset.
      files: Its files.
      url: The address at which the datasets are served; None if they are not.
      address: The page's own address, if it is known.
      several: Whether an index page lists this and other datasets.
    """
    catalog = {"@type": "DataCatalog", "name": DATASET, "url": address and address.rpartition("/")[0]}
    return _text(
        {
            **_summary(built, address),
            "identifier": {"@type": "PropertyValue", "propertyID": "TensorFlow Datasets", "value": _name(built)},
            "version": built.version,
            "keywords": keywords(built),
            "dateCreated": str(built.built_on),
            "isBasedOn": None if built.synthetic else RELEASE_PAGE,
            "citation": None if built.synthetic else _articles(texts.citation(built)),
            "isAccessibleForFree": True if url else None,
            "distribution": [_download(file) for file in files if url and _is_data(file.name)],
            "variableMeasured": [
                {"@type": "PropertyValue", "name": doc.name, "description": doc.description}
                for doc in built.builder.info.features.catalog_documentation()
                if doc.name
            ],
            "measurementTechnique": None if built.synthetic else texts.annotation(built)[0],
            "spatialCoverage": None
            if built.synthetic
            else {"@type": "Place", "name": f"{_CLINIC}, Bethesda, Maryland"},
            "includedInDataCatalog": _known(catalog) if several else None,
        }
    )


def catalog(datasets: Sequence[Built], address: str | None) -> str:
    """Returns the JSON-LD of a page that lists datasets. `address` is its own address, if it is known."""
    listed = [_summary(built, address and f"{address}/{built.config_name}") for built in datasets]
    return _text(
        {
            "@type": "DataCatalog",
            "name": DATASET,
            "description": f"Chest radiographs for pulmonary nodules: {len(datasets)} built configs.",
            "url": address,
            "dataset": listed,
        }
    )


def _summary(built: Built, address: str | None) -> dict[str, Any]:
    told = " ".join(filter(None, (texts.notice(built), built.description, *texts.about(built), texts.caveat(built))))
    by = f"The package {DATASET}, which draws the images" if built.synthetic else _CLINIC
    kind = "Synthetic chest radiographs" if built.synthetic else "NIH ChestX-ray14"
    terms = {"@type": "CreativeWork", "name": "Terms of use", "text": texts.licence(built), "url": RELEASE_PAGE}
    return _known(
        {
            "@type": "Dataset",
            "name": f"{kind}: {built.full_name}",
            "description": told if len(told) <= _LONGEST else f"{told[: _LONGEST - 2]} …",
            "url": address,
            "license": texts.CODE_LICENSE if built.synthetic else terms,
            "creator": _known({"@type": "Organization", "name": by, "url": None if built.synthetic else RELEASE_PAGE}),
        }
    )


def _name(built: Built) -> str:
    return f"{built.full_name}:{built.version}"


def _is_data(name: str) -> bool:
    return name.startswith(f"{DATASET}-") or name.endswith(".csv")


def _download(file: DataFile) -> dict[str, str]:
    return {
        "@type": "DataDownload",
        "name": file.name,
        "contentUrl": file.place,
        "encodingFormat": encoding(file.name),
        "contentSize": f"{file.size} B",
        "sha256": file.sha256,
    }


def _articles(citation: str) -> list[dict[str, str]]:
    return [
        {
            "@type": "ScholarlyArticle",
            "name": " ".join(re.sub("[{}]", "", title).split()),
            "identifier": f"https://doi.org/{doi}",
        }
        for title, doi in _ARTICLE.findall(citation)
    ]


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, [])}


def _text(values: Mapping[str, Any]) -> str:
    """Returns JSON in which no character can end the script element that it stands in."""
    text = json.dumps({"@context": "https://schema.org/", **_known(values)}, indent=1, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

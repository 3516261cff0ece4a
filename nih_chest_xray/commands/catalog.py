"""Catalog: writes a web page of built datasets."""

from __future__ import annotations

import argparse
import os
from typing import Any

from nih_chest_xray.commands.arguments import BUILT, command, refuse
from nih_chest_xray.errors import CatalogError


def add(commands: Any) -> None:
    """Adds the subcommand `catalog`."""
    parser = command(
        commands,
        "catalog",
        _run,
        "write a web page, digests and Croissant metadata of built datasets",
        "Of each config the newest version is taken. Exits with 0 if SITE is written, else with 2.",
        "catalog ~/tensorflow_datasets --out site",
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", type=os.path.expanduser, help=BUILT)
    parser.add_argument(
        "--out",
        metavar="SITE",
        type=os.path.expanduser,
        required=True,
        help="the folder to write; an earlier site is replaced",
    )
    parser.add_argument("--url", help="where DATA_DIR is served, such as https://host/data or gs://bucket/data")


def _run(parsed: argparse.Namespace) -> int:
    try:
        from nih_chest_xray.catalog.site import write_site  # Here, since its libraries are optional.

        print(write_site(parsed.data_dir, parsed.out, parsed.url) / "index.html")
    except (CatalogError, OSError) as error:  # The second: a place that may not be written to, a full disk.
        return refuse("catalog", error)
    return 0

"""Export: writes a built dataset as a copy for other libraries."""

from __future__ import annotations

import argparse
import os
from typing import Any

from nih_chest_xray.commands.arguments import BUILT, command, folder, refuse
from nih_chest_xray.errors import CatalogError, NoRoomError, UsageError, line
from nih_chest_xray.system.bars import say


def add(commands: Any) -> None:
    """Adds the subcommand `export`."""
    parser = command(
        commands,
        "export",
        _run,
        "write a built dataset as a copy for other libraries",
        "huggingface: Parquet files and a dataset card, for `datasets.load_dataset(OUT)`. webdataset: tar shards with"
        " an image and a JSON file for each example. folder: OUT/SUBSET/CLASS/IMAGE with metadata.csv, for ImageFolder,"
        " flow_from_directory and image_dataset_from_directory; of findings, where an image may have several,"
        " OUT/SUBSET/IMAGE, for flow_from_dataframe. Stored PNGs and JPEGs are copied byte for byte, raw pixels become"
        " PNGs. Exits with 0 if OUT is written, else with 2, and then nothing is.",
        "export ~/tensorflow_datasets/nih_chest_xray/nodule --to huggingface OUT",
    )
    parser.add_argument("dataset", metavar="DATASET", type=os.path.expanduser, help=BUILT)
    parser.add_argument(
        "--to", choices=("huggingface", "webdataset", "folder"), required=True, help="for which library"
    )
    parser.add_argument("out", metavar="OUT", type=folder, help="the folder to write; it must be new or empty")


def _run(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.formats.export import export

    try:
        done = export(parsed.dataset, parsed.to, parsed.out)
    except (UsageError, CatalogError, NoRoomError, OSError) as error:
        return refuse("export", error)
    print(f"Exported: {done.path}")
    print(f"Examples: {', '.join(f'{name} {number:,}' for name, number in done.examples.items())}")
    print(f"Read it in Python:\n{done.reading}", end="")
    for caveat in done.caveats:
        say(f"warning: {line(caveat, 4000)}")
    return 0

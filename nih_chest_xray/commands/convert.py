"""Convert: adds a second file format to a built dataset."""

from __future__ import annotations

import argparse
from typing import Any

from nih_chest_xray.commands.arguments import BUILT, FILE_FORMATS, absolute, command, folder, refuse
from nih_chest_xray.errors import CatalogError, UsageError


def add(commands: Any) -> None:
    """Adds the subcommand `convert`."""
    parser = command(
        commands,
        "convert",
        _run,
        "add a second file format to a built dataset",
        "Its folder then serves tfds.load and tfds.data_source alike. The new shards have the same records, and each is"
        " read back. Exits with 0 if the dataset has the format in the end, with 1 if it cannot be added, with 2 if"
        " there is no such dataset.",
        "convert DATASET --to array_record",
    )
    parser.add_argument("dataset", metavar="DATASET", type=folder, help=BUILT)
    parser.add_argument("--to", choices=FILE_FORMATS, required=True, help="array_record is for PyTorch and Grain")


def _run(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.catalog.loading import one_liner
    from nih_chest_xray.formats.convert import convert
    from nih_chest_xray.system.disk_space import readable

    try:
        built, added = convert(parsed.dataset, parsed.to)
    except (UsageError, CatalogError) as error:
        return refuse("convert", error)
    except (RuntimeError, OSError) as error:
        return refuse("convert", error, code=1)
    place = absolute(str(built.path))
    if added:
        size = readable(sum((built.path / name).stat().length for name in added))
        print(f"Added: {parsed.to} ({len(added)} shard{'s'[: len(added) > 1]}, {size}) in {place}")
    else:
        print(f"Exists: {parsed.to} in {place}, with the same records")
    print("Load it in Python:")
    print(one_liner(built, parsed.to))
    return 0

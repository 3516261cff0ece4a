"""Verify: checks built datasets."""

from __future__ import annotations

import argparse
import importlib
import os
from typing import Any

from nih_chest_xray.commands.arguments import BUILT, DIR, command, refuse, whole
from nih_chest_xray.errors import UsageError, line


def add(commands: Any) -> None:
    """Adds the subcommand `verify`."""
    parser = command(
        commands,
        "verify",
        _run,
        "check built datasets by themselves and, with --release, against what they were built from",
        "Of each config the newest version is checked. Exits with 0 if all is well, with 1 if a check failed, with 2 if"
        " there is nothing to check.",
        "verify ~/tensorflow_datasets --release ~/Downloads/chestxray",
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", type=os.path.expanduser, help=BUILT)
    parser.add_argument("--release", metavar="DIR", type=os.path.expanduser, help=f"{DIR}: the --manual-dir of build")
    parser.add_argument(
        "--images", type=whole, default=64, metavar="N", help="images to compare with DIR (default: %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="compare all images with DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--imports", default="", metavar="MODULES", help="your modules, with commas, that register augmentations"
    )


def _run(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.verification import command, report

    images = None if parsed.all else parsed.images
    try:
        for module in filter(None, parsed.imports.split(",")):
            importlib.import_module(module)
        done = {
            str(folder): command.verify(folder, parsed.release, images)
            for folder in command.find_folders(parsed.data_dir)
        }
    except (UsageError, ImportError, OSError) as error:  # The last: a folder that may not be read.
        return refuse("verify", error)
    if parsed.json:
        print(report.as_json_of_several(done))
    else:
        print("\n\n".join(f"{line(folder)}\n{report.as_text(checks)}" for folder, checks in done.items()))
    return int(any(map(report.failed, done.values())))

"""Check: says what a build would find in a folder, and do."""

from __future__ import annotations

import argparse
import os
from typing import Any

from nih_chest_xray.commands.arguments import DIR, add_config, add_data_dir, command, refuse
from nih_chest_xray.errors import UsageError


def add(commands: Any) -> None:
    """Adds the subcommand `check`."""
    parser = command(
        commands,
        "check",
        _run,
        "say what a build would find in a folder, and do",
        "Nothing is downloaded or written. Exits with 0 if a build could begin at once, with 1 if something is missing,"
        " broken or to be downloaded, with 2 if there is nothing to check.",
        "check ~/Downloads/chestxray --config nodule",
    )
    parser.add_argument("manual_dir", metavar="DIR", type=os.path.expanduser, help=DIR)
    add_config(parser)
    add_data_dir(parser)
    parser.add_argument("--all", action="store_true", help="decode every image that the config needs, on all cores")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _run(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.named_configs import config_of
    from nih_chest_xray.verification import preflight, report

    try:
        done = preflight.check(parsed.manual_dir, config_of(parsed.config), parsed.data_dir, parsed.all)
    except UsageError as error:
        return refuse("check", error)
    print(report.as_json(done) if parsed.json else report.as_text(done))
    return int(report.failed(done))

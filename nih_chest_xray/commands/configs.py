"""Configs: lists the named configs."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from typing import Any

from nih_chest_xray.commands.arguments import command


def add(commands: Any) -> None:
    """Adds the subcommand `configs`."""
    command(
        commands,
        "configs",
        _run,
        "list the named configs",
        "Of each: how many examples the subsets have, how much of the disk they need, and what they are.",
        "configs",
    )


def _run(_parsed: argparse.Namespace) -> int:
    from nih_chest_xray.building.size import build_size
    from nih_chest_xray.named_configs import NAMED_CONFIGS
    from nih_chest_xray.system.disk_space import readable
    from nih_chest_xray.verification.checks import pinned_splits
    from nih_chest_xray.vocabulary import SUBSETS

    row = "{:<17} {:>8} {:>11} {:>8} {:>9}"
    print(row.format("config", *SUBSETS, "disk"))
    pinned = pinned_splits()
    for config in NAMED_CONFIGS:
        counts = [pinned[config.name][subset][0] for subset in SUBSETS] if config.name in pinned else []
        disk = readable(build_size(config, sum(counts))) if counts else "-"
        sizes = [f"{count:,}" for count in counts] or ["-"] * len(SUBSETS)
        print(row.format(config.name, *sizes, disk))
        width = max(shutil.get_terminal_size().columns, 60)
        print(textwrap.fill(config.description, width, initial_indent="  ", subsequent_indent="  "))
    print("-: depends on files that you must request yourself.")
    return 0

"""Evaluate: says how good a network's scores are."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from nih_chest_xray.commands.arguments import BUILT, add_option, command, folder, refuse, whole
from nih_chest_xray.errors import CatalogError, TableError, UsageError, line
from nih_chest_xray.system.bars import say


def add(commands: Any) -> None:
    """Adds the subcommand `evaluate`."""
    parser = command(
        commands,
        "evaluate",
        _run,
        "say how good a network's scores are, with intervals",
        "SCORES is a CSV or Parquet file with the columns image_name and score, or image_name and a column for each"
        " class. Every figure has a 95 % interval by a bootstrap of patients. Exits with 0 if there are figures,"
        " else with 2.",
        "evaluate scores.csv ~/tensorflow_datasets/nih_chest_xray/nodule",
        "evaluate a.csv DATASET --compare b.csv --by age --out report",
    )
    parser.add_argument("scores", metavar="SCORES", type=os.path.expanduser, help="the file of a network's scores")
    parser.add_argument("dataset", metavar="DATASET", type=os.path.expanduser, help=BUILT)
    parser.add_argument("--split", default="test", help="the subset to evaluate on (default: %(default)s)")
    parser.add_argument(
        "--against",
        default="label",
        metavar="FEATURE",
        help="the truth: label, findings, expert_labels, expert_findings, reader_votes or nodule_votes (default:"
        " %(default)s)",
    )
    parser.add_argument(
        "--by",
        default="",
        metavar="NAMES",
        help="groups to evaluate too: patient_sex, view_position, age, nodule_size, with commas",
    )
    parser.add_argument(
        "--compare", metavar="SCORES", type=os.path.expanduser, help="another network's scores, for the difference"
    )
    parser.add_argument(
        "--validation",
        metavar="SCORES",
        type=os.path.expanduser,
        action="append",
        default=[],
        help="scores of the validation subset, to choose thresholds of; once for each network",
    )
    add_option(
        parser,
        "--trained-on",
        metavar="DATASET",
        type=folder,
        help="the dataset that the network was trained on: no patient may be in both",
    )
    parser.add_argument(
        "--shortcuts",
        metavar="MODULE:FUNCTION",
        help="a function from images (n, S, S, 1) uint8 to scores, to try on negatives that are rotated, flipped,"
        " blackened in the corners, and without markers",
    )
    parser.add_argument(
        "--bootstrap", type=whole, default=2000, metavar="N", help="resamples of patients (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the resamples (default: %(default)s)")
    parser.add_argument(
        "--out", metavar="REPORT", type=folder, help="a folder to write: a page, metrics.json, tables for a paper"
    )


def _run(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.evaluation.command import evaluate_files

    options = {name: value for name, value in vars(parsed).items() if name not in ("run", "by")}
    by = list(dict.fromkeys(name.strip() for name in parsed.by.split(",") if name.strip()))
    sys.path.insert(0, "")  # A module of --shortcuts may lie in the current folder, as for `python -m`.
    try:
        text, told = evaluate_files(**options, by=by)
    except (UsageError, CatalogError, TableError, OSError) as error:
        return refuse("evaluate", error)
    print(text)
    for caveat in told:
        say(f"warning: {line(caveat, 4000)}")
    return 0

"""Printed: figures in words and numbers, as cells of tables and as text for a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from nih_chest_xray.evaluation.bootstrap import TOO_FEW
from nih_chest_xray.evaluation.evaluate import Evaluation
from nih_chest_xray.evaluation.sampled import ALL, MEAN, PATIENT_BOOTSTRAP

TITLES = {
    "roc_auc": "AUROC",
    "average_precision": "Average precision",
    "average_precision_at_prevalence": "Average precision at the release's prevalence",
    "brier_score": "Brier score",
    "expected_calibration_error": "Calibration error (ECE)",
    "calibration_slope": "Calibration slope",
}
"""Readable names of metrics; `title` has the others."""
_AT = re.compile(r"(sensitivity|specificity)_at_([0-9.]+)_(specificity|threshold)")
_DELONG = "AUROC (DeLong)"
_SHORT = 30
"""Characters of a note that a terminal shows beside its figure, not below."""


def title(metric: str) -> str:
    """Returns the readable name of a metric.

    >>> title("roc_auc"), title("sensitivity_at_90_specificity"), title("specificity_at_95_threshold")
    ('AUROC', 'Sensitivity at 90 % specificity', 'Specificity at the threshold for 95 %')
    """
    if at := _AT.fullmatch(metric):
        what, percent, of = at.groups()
        where = f"{percent} % specificity" if of == "specificity" else f"the threshold for {percent} %"
        return f"{what.capitalize()} at {where}"
    return TITLES.get(metric, metric.replace("_", " ").capitalize())


def number(value: float, signed: bool = False) -> str:
    """Returns a figure to three places.

    >>> number(0.98765), number(0.01, signed=True), number(float("nan"))
    ('0.988', '+0.010', '–')
    """
    return "–" if math.isnan(value) else f"{value:+.3f}" if signed else f"{value:.3f}"


def with_interval(row: Any) -> str:
    """Returns an estimate and its interval; a difference with its sign."""
    estimate, low, high = (number(value, row.is_difference) for value in (row.estimate, row.low, row.high))
    return estimate if math.isnan(row.low) else f"{estimate} ({low} to {high})"


def finding_name(finding: str) -> str:
    """Returns the name of a finding, or that it is the mean of them, in words."""
    return "mean of the findings" if finding == MEAN else finding.replace("_", " ")


def rows_of(table: pd.DataFrame) -> list[list[str]]:
    """Returns the cells of a table of figures: network, finding, group, metric, figure with interval, n, note."""
    rows = []
    for row in table.itertuples(index=False):
        group = "" if row.group == ALL else f"{row.by.replace('_', ' ')} {row.group}"
        note = [row.note, "" if row.method == PATIENT_BOOTSTRAP else row.method]
        if row.holds is not None:
            note.insert(0, "differs" if row.holds else "may be chance")
        note = list(filter(None, note))
        cells = [row.network, finding_name(row.finding), group, title(row.metric), with_interval(row), _n(row)]
        rows.append([*cells, "; ".join(note)])
    return rows


def _n(row: Any) -> str:
    return f"{row.images:,} images, {row.patients:,} patients, {row.positives:,} positive"


HEADER = ("network", "finding", "group", "figure", "estimate (95 % interval)", "n", "note")


def side_by_side(table: pd.DataFrame, metrics: Sequence[str] = ()) -> list[list[str]]:
    """Returns the cells of a table with a row for each network, finding and group, and a column for each metric.

    An asterisk marks a difference that holds. DeLong's intervals have a column of their own.

    Args:
      table: Figures.
      metrics: Those to show; all of the table's if there are none.

    Returns:
      The header, then the rows.
    """
    table = table[table["metric"].isin(metrics)] if metrics else table
    titles = table["metric"].map(title).where(table["method"] == PATIENT_BOOTSTRAP, _DELONG)
    columns = list(dict.fromkeys(titles))
    several = table["network"].nunique() > 1
    rows = [["Finding", "Images", "Patients", "Positive", *columns]]
    keys = ["network", "finding", "by", "group"]
    for (network, finding, by, group), of in table.assign(title=titles).groupby(keys, sort=False):
        cells = {row.title: with_interval(row) + ("*" if row.holds else "") for row in of.itertuples(index=False)}
        name = finding_name(finding) if group == ALL else f"{finding_name(finding)}, {by.replace('_', ' ')} {group}"
        counts = [f"{of[count].iloc[0]:,}" for count in ("images", "patients", "positives")]
        rows.append([f"{network}: {name}" if several else name, *counts, *(cells.get(name, "–") for name in columns)])
    return rows


def as_text(done: Evaluation) -> str:
    """Returns an evaluation for a terminal: what was evaluated, then the figures of each group, then their notes."""
    built = done.built
    lines = [
        f"{built.full_name} {built.version}, {done.subset}, against {done.against}: {len(done.images):,} images of"
        f" {done.images['patient_id'].nunique():,} patients",
        f"95 % intervals: {done.bootstrap:,} resamples of patients, seed {done.seed}",
    ]
    numbers: dict[str, int] = {}
    keys = ["network", "finding", "by", "group"]
    for _, of_group in done.figures.groupby(keys, sort=False):
        cells = rows_of(of_group)
        network, finding, group, _, _, n, _ = cells[0]
        lines += ["", f"{', '.join(filter(None, [network, finding, group]))}: {n}"]
        figures = []
        for *_, figure, estimate, n_of_figure, note in cells:
            notes = [_brief(part) for part in note.split("; ") if part]
            notes += [n_of_figure] if n_of_figure != n else []
            below = sorted(numbers.setdefault(part, len(numbers) + 1) for part in notes if len(part) > _SHORT)
            said = [part for part in notes if len(part) <= _SHORT] + [f"[{mark}]" for mark in below]
            figures.append([f"  {figure}", estimate, ", ".join(said)])
        lines += aligned(figures)
    return "\n".join([*lines, "", *(f"[{number}] {note}" for note, number in numbers.items())]).rstrip()


def _brief(note: str) -> str:
    """Returns a note without the number of patients, which would make every group's another one."""
    return TOO_FEW if note.startswith(TOO_FEW) else note


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a line for each row, with its cells in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def shortcuts_as_text(table: pd.DataFrame) -> str:
    """Returns what changed images score, for a terminal."""
    return "\n".join(aligned(shortcut_rows(table)))


def shortcut_rows(table: pd.DataFrame) -> list[list[str]]:
    """Returns the cells of what changed images score, the header first."""
    rows: list[list[str]] = [["negatives", "mean score", "difference (95 % interval)", "n", ""]]
    for row in table.itertuples(index=False):
        difference = "" if math.isnan(row.difference) else f"{row.difference:+.3f}"
        if not math.isnan(row.low):
            difference += f" ({row.low:+.3f} to {row.high:+.3f})"
        said = {True: "the network follows this", False: "", None: _brief(row.note)}[row.follows]
        rows.append([row.change, number(row.score), difference, f"{row.images} images, {row.patients} patients", said])
    return rows


def followed(table: pd.DataFrame) -> Iterable[str]:
    """Yields a sentence for each change that a network's scores follow."""
    for row in table[table["follows"] == True].itertuples(index=False):  # noqa: E712 (None is neither.)
        yield (
            f"The network follows a shortcut: negatives score {row.difference:+.3f} on average with this change:"
            f" {row.change} (95 % interval {row.low:+.3f} to {row.high:+.3f}), which says nothing of a finding."
        )

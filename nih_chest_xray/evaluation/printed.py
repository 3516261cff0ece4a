"""Printed: figures in words and numbers, as a table for a terminal, for Markdown, for LaTeX, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from nih_chest_xray.evaluation.evaluate import Evaluation
from nih_chest_xray.evaluation.sampled import ALL, MEAN, PATIENT_BOOTSTRAP

GENERATOR = "nih-chest-xray evaluate"
TITLES = {
    "roc_auc": "AUROC",
    "average_precision": "Average precision",
    "average_precision_at_prevalence": "Average precision at the release's prevalence",
    "brier_score": "Brier score",
    "expected_calibration_error": "Calibration error (ECE)",
    "calibration_slope": "Calibration slope",
}
"""Readable names of metrics; `title` has the others."""


def title(metric: str) -> str:
    """Returns the readable name of a metric.

    >>> title("roc_auc"), title("sensitivity_at_90_specificity")
    ('AUROC', 'Sensitivity at 90 % specificity')
    """
    words = TITLES.get(metric, metric.replace("_", " ").capitalize())
    return words.replace("specificity", "% specificity") if "at 9" in words else words


def number(value: float) -> str:
    """Returns a figure to three places.

    >>> number(0.98765), number(float("nan"))
    ('0.988', '–')
    """
    return "–" if math.isnan(value) else f"{value:.3f}"


def with_interval(row: Any) -> str:
    """Returns an estimate and its interval."""
    if math.isnan(row.low):
        return number(row.estimate)
    return f"{number(row.estimate)} ({number(row.low)} to {number(row.high)})"


def rows_of(table: pd.DataFrame) -> list[list[str]]:
    """Returns the cells of a table of figures: network, finding, group, metric, figure with interval, n, note."""
    rows = []
    for row in table.itertuples(index=False):
        group = "" if row.group == ALL else f"{row.by}: {row.group}"
        note = [row.note, "" if row.method == PATIENT_BOOTSTRAP else row.method]
        if row.holds is not None:
            note.insert(0, "differs" if row.holds else "may be chance")
        n = f"{row.images:,} images, {row.patients:,} patients, {row.positives:,} positive"
        finding = "mean of the findings" if row.finding == MEAN else row.finding
        cells = [row.network, finding, group, title(row.metric), with_interval(row), n, "; ".join(filter(None, note))]
        rows.append(cells)
    return rows


HEADER = ("network", "finding", "group", "figure", "estimate (95 % interval)", "n", "note")


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
            notes = [*(part for part in note.split("; ") if part), *([n_of_figure] if n_of_figure != n else [])]
            marks = " ".join(f"[{numbers.setdefault(part, len(numbers) + 1)}]" for part in notes)
            figures.append([f"  {figure}", estimate, marks])
        lines += aligned(figures)
    return "\n".join([*lines, "", *(f"[{number}] {note}" for note, number in numbers.items())]).rstrip()


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a line for each row, with its cells in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def as_markdown(done: Evaluation) -> str:
    """Returns the figures as a table in Markdown."""
    lines = [[cell.replace("|", r"\|") for cell in row] for row in [HEADER, *rows_of(done.figures)]]
    rule = ["---"] * len(HEADER)
    return "\n".join(f"| {' | '.join(row)} |" for row in [lines[0], rule, *lines[1:]]) + "\n"


def as_latex(done: Evaluation) -> str:
    """Returns the figures as a LaTeX table of the package booktabs, without notes, which belong into the caption."""
    header, *rows = ([_latex(cell) for cell in row[:-1]] for row in [HEADER, *rows_of(done.figures)])
    body = [rf"{' & '.join(row)} \\" for row in rows]
    columns = "l" * len(header)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rf"{' & '.join(header)} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "–": "--"} | {c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}"}
    return "".join(special.get(c, c) for c in text)


def as_json(done: Evaluation, shortcuts: Mapping[str, pd.DataFrame]) -> str:
    """Returns an evaluation as JSON, the content of metrics.json. What is not defined is null."""
    built = done.built
    content = {
        "generator": GENERATOR,
        "dataset": built.full_name,
        "version": built.version,
        "subset": done.subset,
        "against": done.against,
        "networks": list(done.scores),
        "images": len(done.images),
        "patients": int(done.images["patient_id"].nunique()),
        "bootstrap": done.bootstrap,
        "seed": done.seed,
        "caveats": list(done.caveats),
        "figures": _records(done.figures),
        "shortcuts": {name: _records(table) for name, table in shortcuts.items()},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.item() if hasattr(value, "item") else value


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
        said = {True: "the network follows this", False: "", None: row.note}[row.follows]
        rows.append([row.change, number(row.score), difference, f"{row.images} images, {row.patients} patients", said])
    return rows


def followed(table: pd.DataFrame) -> Iterable[str]:
    """Yields a sentence for each change that a network's scores follow."""
    for row in table[table["follows"] == True].itertuples(index=False):  # noqa: E712 (None is neither.)
        yield (
            f"The network follows a shortcut: negatives score {row.difference:+.3f} on average where they are"
            f" {row.change} (95 % interval {row.low:+.3f} to {row.high:+.3f}), which says nothing of a finding."
        )

"""Exports: an evaluation as metrics.json, which has all figures, and as tables for a paper in Markdown and LaTeX."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from nih_chest_xray.catalog.reports import GENERATOR
from nih_chest_xray.evaluation import printed
from nih_chest_xray.evaluation.evaluate import Evaluation
from nih_chest_xray.evaluation.measures import SAME_DATA
from nih_chest_xray.evaluation.sampled import ALL

PAPER = ("roc_auc", "average_precision", "sensitivity_at_90_specificity", "sensitivity_at_95_specificity")
"""The metrics of a paper's table."""
_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def as_markdown(done: Evaluation) -> str:
    """Returns the figures of all images by finding, and the differences of networks, as a table in Markdown."""
    header, *rows = [[_one_line(cell).replace("|", r"\|") for cell in row] for row in _paper(done)]
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    told = "".join(f"- {_one_line(caveat)}\n" for caveat in done.caveats)
    return "".join(f"| {' | '.join(row)} |\n" for row in lines) + f"\n{_legend(done)}\n\n{told}"


def as_latex(done: Evaluation) -> str:
    """Returns the same as a LaTeX table; it needs the package booktabs."""
    cells = _paper(done)
    header, *rows = [r" & ".join(map(_latex, row)) + r" \\" for row in cells]
    lines = [
        r"% \usepackage{booktabs}",
        rf"% {_latex(_legend(done))}",
        *(rf"% {_latex(caveat)}" for caveat in done.caveats),
        rf"\begin{{tabular}}{{l{'r' * (len(cells[0]) - 1)}}}",
        r"\toprule",
        header,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


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
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _paper(done: Evaluation) -> list[list[str]]:
    return printed.side_by_side(done.figures[done.figures["group"] == ALL], PAPER)


def _legend(done: Evaluation) -> str:
    text = (
        f"{done.built.full_name} {done.built.version}, {done.subset}, against {done.against}. 95 % intervals:"
        f" {done.bootstrap:,} resamples of patients."
    )
    if done.figures["is_difference"].any():
        text += " * The interval of the difference leaves out 0."
    if done.figures["note"].str.contains(SAME_DATA, regex=False).any():
        text += " Thresholds were chosen on the same images."
    return _one_line(text)


def _latex(text: str) -> str:
    return "".join(_ESCAPED.get(character, character) for character in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.item() if hasattr(value, "item") else value

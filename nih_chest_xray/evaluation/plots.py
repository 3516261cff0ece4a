"""Plots: draws an evaluation's curves and its AUROCs by finding and group, in light and dark colours."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from nih_chest_xray.evaluation.evaluate import Evaluation
from nih_chest_xray.evaluation.inputs import MISSING
from nih_chest_xray.evaluation.sampled import ALL, MEAN

_WIDTH = 3.9
"""Width of a plot in inches. A wide page enlarges it by half; a phone scrolls it, so that its text stays legible."""
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",  # Text as outlines: the reader's fonts have other widths than those used here.
    "svg.hashsalt": "nih_chest_xray",
}


def _colours(text: str, line: str, *series: str) -> dict[str, Any]:
    texts = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), text)
    lines = dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), line)
    # In grey print the kinds of line tell the networks apart.
    return texts | lines | {"axes.prop_cycle": mpl.cycler(color=series, linestyle=["-", "--", "-."])}


# --ink, --line and --chart-1 to --chart-3 of the catalog's style.css.
_LIGHT = _colours("#18212b", "#d5dce2", "#0b6a8c", "#c2621a", "#6d7f1c")
_DARK = _colours("#e4e9ee", "#35414c", "#5fb4d6", "#ef9a5d", "#b3c65c")
_COLUMNS = 2
"""Classes beside each other, where there are several."""
_BINS = 10
"""Bins of a calibration curve, each with as many images."""


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
      title: Its title.
      note: How to read it.
      size: Width and height in CSS pixels.
      light: The picture in light colours, as a `data:` address of an SVG.
      dark: The picture in dark colours.
    """

    title: str
    note: str
    size: tuple[int, int]
    light: str
    dark: str


def draw_plots(done: Evaluation) -> list[Plot]:
    """Returns the plots of an evaluation: ROC, precision and recall, calibration, and AUROC by finding and group."""
    plots = [
        _of_classes(done, "ROC", "Sensitivity against the share of negatives that are called positive.", _roc),
        _of_classes(done, "Precision and recall", "The dotted line is the precision of chance.", _precision),
    ]
    if all(table.to_numpy().min() >= 0 and table.to_numpy().max() <= 1 for table in done.scores.values()):
        note = f"Share of positives against the mean score, in {_BINS} bins of as many images. On the line both agree."
        plots.append(_of_classes(done, "Calibration", note, _calibration))
    aurocs = _aurocs(done.figures)
    if len(aurocs) > 1:
        plots.append(_forest(aurocs))
    return plots


def _of_classes(
    done: Evaluation, title: str, note: str, draw: Callable[[Axes, np.ndarray, np.ndarray, str], None]
) -> Plot:
    """Draws a curve of each network for each class that has positives and negatives, with axes for each class."""
    known = {name: values[values != MISSING] for name, values in done.truth.items()}
    known = {name: values for name, values in known.items() if values.nunique() == 2}
    columns = min(_COLUMNS, max(1, len(known)))
    rows = max(1, math.ceil(len(known) / columns))
    height = (_WIDTH / columns) * rows + 0.4

    def fill(figure: Figure) -> None:
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(known) :]:
            axes.axis("off")
        for axes, (name, truth) in zip(grid.flat, known.items(), strict=False):
            for network, scores in done.scores.items():
                draw(axes, truth.to_numpy(), scores.loc[truth.index, name].to_numpy(), network)
            axes.set_aspect("equal")
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
            if len(known) > 1:
                axes.set_title(name.replace("_", " "), fontsize=9)
        if len(done.scores) > 1 and known:
            handles, labels = grid.flat[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
        x, y = _AXES[title]
        figure.supxlabel(x, fontsize=9)
        figure.supylabel(y, fontsize=9)

    return _plot(title, note, height, fill)


_AXES = {
    "ROC": ("1 - specificity", "sensitivity"),
    "Precision and recall": ("recall (sensitivity)", "precision"),
    "Calibration": ("mean score", "share of positives"),
}


def _roc(axes: Axes, truth: np.ndarray, scores: np.ndarray, network: str) -> None:
    false_positives, true_positives, _ = roc_curve(truth, scores)
    axes.plot([0, 1], [0, 1], linestyle=":", linewidth=0.8, color="0.5")
    axes.plot(false_positives, true_positives, label=network, linewidth=1.4)


def _precision(axes: Axes, truth: np.ndarray, scores: np.ndarray, network: str) -> None:
    precision, recall, _ = precision_recall_curve(truth, scores)
    axes.axhline(truth.mean(), linestyle=":", linewidth=0.8, color="0.5")
    axes.step(recall, precision, where="post", label=network, linewidth=1.4)


def _calibration(axes: Axes, truth: np.ndarray, scores: np.ndarray, network: str) -> None:
    share, mean = calibration_curve(truth, scores, n_bins=min(_BINS, len(truth)), strategy="quantile")
    axes.plot([0, 1], [0, 1], linestyle=":", linewidth=0.8, color="0.5")
    axes.plot(mean, share, marker="o", markersize=3, label=network, linewidth=1.2)


def _aurocs(figures: pd.DataFrame) -> pd.DataFrame:
    """Returns the AUROCs of all networks by finding and group, without differences."""
    of = figures[(figures["metric"] == "roc_auc") & ~figures["is_difference"]]
    return of[of["estimate"].notna()]


def _forest(aurocs: pd.DataFrame) -> Plot:
    """Draws each AUROC with its interval; those without an interval as a hollow mark."""
    lines = list(dict.fromkeys(zip(aurocs["finding"], aurocs["by"], aurocs["group"], strict=True)))
    networks = list(dict.fromkeys(aurocs["network"]))
    names = ["mean" if finding == MEAN else finding.replace("_", " ") for finding, _, _ in lines]
    several = len(set(names)) > 1
    labels = [
        name if group == ALL else f"{f'{name}, ' if several else ''}{by.replace('_', ' ')} {group}"
        for name, (_, by, group) in zip(names, lines, strict=True)
    ]

    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        place = {line: at for at, line in enumerate(lines)}
        for number, network in enumerate(networks):
            of = aurocs[aurocs["network"] == network]
            at = [place[key] for key in zip(of["finding"], of["by"], of["group"], strict=True)]
            y = np.array(at) + 0.3 * (number - (len(networks) - 1) / 2)
            spread = np.nan_to_num([of["estimate"] - of["low"], of["high"] - of["estimate"]])
            axes.errorbar(of["estimate"], y, xerr=spread, fmt="none", color=f"C{number}", linewidth=1.2)
            sure = of["low"].notna().to_numpy()
            mark = "osD"[number % 3]
            axes.plot(of["estimate"][sure], y[sure], mark, color=f"C{number}", markersize=4, label=network)
            axes.plot(of["estimate"][~sure], y[~sure], mark, color=f"C{number}", markersize=4, fillstyle="none")
        axes.axvline(0.5, linestyle=":", linewidth=0.8, color="0.5")
        axes.set_yticks(range(len(lines)), labels, fontsize=9)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlabel("AUROC")
        axes.grid(axis="x", linewidth=0.5)
        if len(networks) > 1:
            figure.legend(loc="outside upper right", ncols=2, frameon=False)

    note = "AUROC with its 95 % interval. A hollow mark has none: too few patients. The dotted line is chance."
    return _plot("By finding and group", note, 0.9 + 0.24 * len(lines), fill)


def _plot(title: str, note: str, height: float, fill: Callable[[Figure], None]) -> Plot:
    drawn = []
    for colours in (_LIGHT, _DARK):
        with mpl.rc_context(_STYLE | colours):
            figure = Figure(figsize=(_WIDTH, height), layout="constrained")
            fill(figure)
            content = io.BytesIO()
            figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
            drawn.append(f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}")
    return Plot(title, note, (round(96 * _WIDTH), round(96 * height)), *drawn)

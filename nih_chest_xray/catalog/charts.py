"""Charts: draws the page's charts with matplotlib in light and dark colours, each with a table of its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nih_chest_xray.catalog import statistics
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.vocabulary import SUBSETS, images_of

_WIDTH = 3.9
"""Width of a chart in inches. On a phone a point is about one pixel, so text stays legible; a wide page enlarges it by
half."""
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",  # Text as outlines: the reader's fonts have other widths than those used here.
    "svg.hashsalt": "nih_chest_xray",
}


def _colours(text: str, line: str, *series: str) -> dict[str, Any]:
    texts = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), text)
    lines = dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), line)
    return texts | lines | {"axes.prop_cycle": mpl.cycler(color=series)}


# --ink, --line and --chart-1 to --chart-3 of style.css.
LIGHT = _colours("#18212b", "#d5dce2", "#0b6a8c", "#c2621a", "#6d7f1c")
DARK = _colours("#e4e9ee", "#35414c", "#5fb4d6", "#ef9a5d", "#b3c65c")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of numbers. The first cell of each row is the row's heading."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
      key: A word that is unique among the page's charts.
      title: The chart's title.
      note: What a reader must know to read the chart.
      table: The chart's numbers.
      height: The height in inches.
      draw: A function that draws the chart on axes.
    """

    key: str
    title: str
    note: str
    table: Table
    height: float
    draw: Callable[[Axes], object]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in CSS pixels."""
        return round(96 * _WIDTH), round(96 * self.height)

    @property
    def light(self) -> str:
        """The path of the picture in light colours, relative to the page."""
        return f"images/chart-{self.key}.svg"

    @property
    def dark(self) -> str:
        """The path of the picture in dark colours, relative to the page."""
        return f"images/chart-{self.key}-dark.svg"


def draw_charts(built: Built, examples: pd.DataFrame, folder: Path) -> list[Chart]:
    """Draws the charts of a dataset into `folder`/images, each in light and in dark colours.

    Args:
      built: The dataset.
      examples: The table of examples that `statistics.read_examples` returns.
      folder: The folder of the page.
    """
    originals = statistics.originals(examples)
    without = " Augmented copies are not counted." if len(originals) < len(examples) else ""
    with_copies = " Augmented copies are counted, as a network sees them in training." if without else ""
    several = " An image may have several." if len(built.classes) > 2 else ""
    whether = "" if several else ", whether or not it is one of the classes"
    together = " All folds are counted together." if built.made.split == "folds" else ""
    totals = [built.metadata["examples"][subset] for subset in built.subsets]
    findings = statistics.finding_counts(originals, [s for s in built.subsets if images_of(s) == s])
    charts = [
        class_shares(
            statistics.class_counts(built), totals, f"Share of each subset's examples.{together}{several}{with_copies}"
        ),
        finding_bars(findings, f"Images with each finding{whether}.{without}"),
        age_bars(statistics.ages_by_sex(originals), f"Images, not patients.{without}"),
        co_occurrence_grid(statistics.co_occurrence(originals), f"Images that have both of two findings.{without}"),
    ]
    for chart in charts:
        for file, colours in ((chart.light, LIGHT), (chart.dark, DARK)):
            with mpl.rc_context(STYLE | colours):
                figure = Figure(figsize=(_WIDTH, chart.height), layout="constrained")
                chart.draw(figure.subplots())
                figure.savefig(folder / file, transparent=True, metadata={"Date": None})
    return charts


def class_shares(counts: pd.DataFrame, totals: Sequence[int], note: str) -> Chart:
    """Shows each class's share of each subset, or of all folds together.

    Args:
      counts: Number of examples, with a row for each class and a column for each subset.
      totals: Number of examples in each subset. In multi-label datasets it is less than the sum of the column.
      note: See `Chart`.
    """
    shares = 100 * counts.to_numpy() / np.maximum(np.array(totals), 1)
    rows = [
        (name, *(f"{n:,} ({share:.1f} %)" for n, share in zip(numbers, row, strict=True)))
        for name, numbers, row in zip(counts.index, counts.to_numpy(), shares, strict=True)
    ]
    rows.append(("Examples", *(f"{total:,}" for total in totals)))
    table = Table("Examples of each class, and their share of the subset", ("Class", *counts.columns), tuple(rows))

    series = ["folds" if subset.startswith("fold_") else subset for subset in counts.columns]
    merged = counts.T.groupby(series, sort=False).sum().T
    together = pd.Series(totals).groupby(series, sort=False).sum().clip(lower=1)

    def draw(axes: Axes) -> None:
        _grouped_bars(axes, (100 * merged / together).set_axis(_words(counts.index)), "{:.1f} %")
        axes.set_xlabel("share of the subset's examples, %")

    height = 0.8 + len(counts) * (0.14 + 0.165 * merged.shape[1])
    return Chart("classes", "Classes by subset", note, table, height, draw)


def finding_bars(counts: pd.DataFrame, note: str) -> Chart:
    """Shows how many images have each finding. `counts` has a row for each finding and a column for each subset."""
    totals = counts.sum(axis=1).sort_values(kind="stable", ascending=False)
    table = count_table("Images by finding and subset", "Finding", counts.loc[totals.index].assign(all=totals))

    def draw(axes: Axes) -> None:
        _grouped_bars(axes, pd.DataFrame({"images": totals.to_numpy()}, _words(totals.index)), "{:,.0f}")
        axes.set_xlabel("images")

    return Chart("findings", "The 14 findings", note, table, 0.5 + 0.22 * len(totals), draw)


def age_bars(counts: pd.DataFrame, note: str) -> Chart:
    """Shows images by age band (rows) and sex (columns)."""
    counts = counts.rename(columns={"F": "female", "M": "male"})

    def draw(axes: Axes) -> None:
        width = 0.8 / counts.shape[1]
        for number, (sex, values) in enumerate(counts.items()):
            places = np.arange(len(counts)) - 0.4 + width * (number + 0.5)
            axes.bar(places, values, width * 0.94, label=sex)
        labels = [str(band).replace(" to ", "–\n") for band in counts.index]
        axes.set_xticks(range(len(counts)), labels, fontsize=8)
        axes.set_xlabel("age in years")
        axes.set_ylabel("images")
        axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_axisbelow(True)
        axes.grid(axis="y", linewidth=0.6)
        axes.figure.legend(loc="outside upper right", ncols=2, frameon=False)

    return Chart("ages", "Ages by sex", note, count_table("Images by age and sex", "Age in years", counts), 2.9, draw)


def co_occurrence_grid(counts: pd.DataFrame, note: str) -> Chart:
    """Shows how often two findings occur in one image: a stronger colour means more. `counts` is symmetric."""
    values = counts.to_numpy().copy()
    np.fill_diagonal(values, 0)
    most = max(1, values.max())

    def draw(axes: Axes) -> None:
        for row in range(len(values)):
            for column in range(row):
                if values[row, column]:
                    # The square root keeps rare pairs visible beside frequent ones.
                    shade = max(0.12, float(np.sqrt(values[row, column] / most)))
                    square = Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, color="C0", linewidth=0, alpha=shade)
                    axes.add_patch(square)
        names = _words(counts.index)
        axes.set_xlim(-0.5, len(values) - 1.5)
        axes.set_ylim(len(values) - 0.5, 0.5)
        axes.set_xticks(range(len(values) - 1), names[:-1], rotation=90, fontsize=8.5)
        axes.set_yticks(range(1, len(values)), names[1:], fontsize=8.5)
        axes.tick_params(length=0)
        axes.set_aspect("equal")
        line = {"color": mpl.rcParams["grid.color"], "linewidth": 0.5}
        for place in np.arange(0.5, len(values)):
            axes.plot([-0.5, min(place, len(values) - 1.5)], [place, place], **line)
            axes.plot([place - 1, place - 1], [max(0.5, place - 0.5), len(values) - 0.5], **line)
        strongest = f"strongest colour: {most:,} image{'s' if most > 1 else ''}"
        axes.figure.text(0.98, 0.97, strongest, ha="right", va="top", fontsize=8)

    table = count_table("Images with both findings; the diagonal counts all images with a finding", "Finding", counts)
    return Chart("pairs", "Findings that occur together", note, table, 3.95, draw)


def count_table(caption: str, first: str, counts: pd.DataFrame) -> Table:
    """Makes a table of whole numbers, with the index as row headings."""
    rows = tuple(
        (str(name), *(f"{int(value):,}" for value in row))
        for name, row in zip(counts.index, counts.to_numpy(), strict=True)
    )
    return Table(caption, (first, *map(str, counts.columns)), rows)


def _grouped_bars(axes: Axes, values: pd.DataFrame, form: str) -> None:
    """Draws horizontal bars: a group for each row, a colour for each column, and each bar's number at its end."""
    groups, columns = values.shape
    height = 0.84 / columns
    for number, (name, column) in enumerate(values.items()):
        places = np.arange(groups) - 0.42 + height * (number + 0.5)
        colour = (
            f"C{SUBSETS.index(name) if name in SUBSETS else number}"  # A subset keeps its colour if another is missing.
        )
        bars = axes.barh(places, column, height * 0.9, color=colour, label=name)
        axes.bar_label(bars, [form.format(value) for value in column], padding=3, fontsize=8)
    axes.set_yticks(range(groups), list(values.index))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(groups - 0.5, -0.5)
    axes.margins(x=0.16)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    if columns > 1:
        axes.figure.legend(loc="outside upper right", ncols=columns, frameon=False)


def _words(names: Sequence[str]) -> list[str]:
    return [str(name).replace("_", " ") for name in names]

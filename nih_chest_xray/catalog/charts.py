"""Charts: drawn by matplotlib as SVG that takes its colours from the page, each with a table of the same numbers."""

from __future__ import annotations

import dataclasses
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nih_chest_xray.vocabulary import SUBSETS

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_WIDTH = 3.9
"""Inches. On a phone a point is about a pixel, so the text below stays legible; a wide page shows it half as large
again."""
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "nih_chest_xray",
}
# Colours that matplotlib is given, and what the page is given in their place.
_TEXT, _LINE, *_SERIES = ("#010101", "#020202", "#030303", "#040404", "#050505")
_COLOURS = {
    _TEXT: "currentColor",
    _LINE: "var(--line)",
    **{colour: f"var(--chart-{number})" for number, colour in enumerate(_SERIES, start=1)},
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers, to be shown as a table: the first cell of each row is its heading."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
      key: A word that no other chart of the page has.
      title: What it shows.
      note: What has to be known to read it.
      svg: An <svg> element without styles, scripts or links.
      table: The same numbers.
    """

    key: str
    title: str
    note: str
    svg: str
    table: Table


def class_shares(counts: pd.DataFrame, totals: Sequence[int], note: str) -> Chart:
    """Draws each class's share of each subset.

    Args:
      counts: Examples: a row a class, a column a subset.
      totals: Examples of each subset; with several labels an image, less than the sum of its column.
      note: See `Chart`.
    """
    totals = np.array(totals)
    shares = 100 * counts.to_numpy() / np.maximum(totals, 1)
    figure, axes = _figure(0.8 + len(counts) * (0.14 + 0.165 * counts.shape[1]))
    _grouped_bars(axes, pd.DataFrame(shares, _words(counts.index), counts.columns), "{:.1f} %")
    axes.set_xlabel("share of the subset's examples, %")
    rows = [
        (name, *(f"{n:,} ({share:.1f} %)" for n, share in zip(numbers, row, strict=True)))
        for name, numbers, row in zip(counts.index, counts.to_numpy(), shares, strict=True)
    ]
    rows.append(("Examples", *(f"{total:,}" for total in totals)))
    table = Table("Examples of each class, and their share of the subset", ("Class", *counts.columns), tuple(rows))
    return _chart("classes", "Classes by subset", note, figure, table)


def finding_bars(counts: pd.DataFrame, note: str) -> Chart:
    """Draws how many images have each finding: a row a finding, a column a subset."""
    totals = counts.sum(axis=1).sort_values(kind="stable", ascending=False)
    figure, axes = _figure(0.5 + 0.22 * len(totals))
    _grouped_bars(axes, pd.DataFrame({"images": totals.to_numpy()}, _words(totals.index)), "{:,.0f}")
    axes.set_xlabel("images")
    table = count_table("Images by finding and subset", "Finding", counts.loc[totals.index].assign(all=totals))
    return _chart("findings", "The 14 findings", note, figure, table)


def age_bars(counts: pd.DataFrame, note: str) -> Chart:
    """Draws images by age band (rows) and sex (columns)."""
    figure, axes = _figure(2.9)
    names = {"F": "female", "M": "male"}
    width = 0.8 / counts.shape[1]
    for number, (sex, values) in enumerate(counts.items()):
        places = np.arange(len(counts)) - 0.4 + width * (number + 0.5)
        axes.bar(places, values, width * 0.94, color=_SERIES[number], label=names[sex])
    labels = [str(band).replace(" to ", "–\n") for band in counts.index]
    axes.set_xticks(range(len(counts)), labels, fontsize=8)
    axes.set_xlabel("age in years")
    axes.set_ylabel("images")
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    table = count_table("Images by age and sex", "Age in years", counts.rename(columns=names))
    return _chart("ages", "Ages by sex", note, figure, table)


def co_occurrence_grid(counts: pd.DataFrame, note: str) -> Chart:
    """Draws how often two findings are in one image, the more the stronger the colour. `counts` is symmetric."""
    figure, axes = _figure(3.95)
    values = counts.to_numpy().copy()
    np.fill_diagonal(values, 0)
    most = max(1, values.max())
    for row in range(len(values)):
        for column in range(row):
            if values[row, column]:
                # The square root keeps rare pairs visible beside frequent ones.
                shade = float(np.sqrt(values[row, column] / most))
                square = Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, color=_SERIES[0], linewidth=0)
                axes.add_patch(square)
                square.set_alpha(max(0.12, shade))
    names = _words(counts.index)
    axes.set_xlim(-0.5, len(values) - 1.5)
    axes.set_ylim(len(values) - 0.5, 0.5)
    axes.set_xticks(range(len(values) - 1), names[:-1], rotation=90, fontsize=8.5)
    axes.set_yticks(range(1, len(values)), names[1:], fontsize=8.5)
    axes.tick_params(length=0)
    axes.set_aspect("equal")
    for place in np.arange(0.5, len(values)):
        axes.plot([-0.5, min(place, len(values) - 1.5)], [place, place], color=_LINE, linewidth=0.5)
        axes.plot([place - 1, place - 1], [max(0.5, place - 0.5), len(values) - 0.5], color=_LINE, linewidth=0.5)
    figure.text(
        0.98, 0.97, f"strongest colour: {most:,} image{'s' if most > 1 else ''}", ha="right", va="top", fontsize=8
    )
    table = count_table("Images that have both findings; on the diagonal, that have the one", "Finding", counts)
    return _chart("pairs", "Findings that come together", note, figure, table)


def count_table(caption: str, first: str, counts: pd.DataFrame) -> Table:
    """Makes a table of whole numbers, its rows headed by the index."""
    rows = tuple(
        (str(name), *(f"{int(value):,}" for value in row))
        for name, row in zip(counts.index, counts.to_numpy(), strict=True)
    )
    return Table(caption, (first, *map(str, counts.columns)), rows)


def _figure(height: float) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots()
    axes.tick_params(color=_LINE)
    for spine in axes.spines.values():
        spine.set_color(_LINE)
    return figure, axes


def _grouped_bars(axes: Axes, values: pd.DataFrame, form: str) -> None:
    """Draws horizontal bars, a group a row and a colour a column, each with its number at its end."""
    groups, columns = values.shape
    height = 0.84 / columns
    for number, (name, column) in enumerate(values.items()):
        places = np.arange(groups) - 0.42 + height * (number + 0.5)
        colour = _SERIES[SUBSETS.index(name) if name in SUBSETS else number]  # The same where one is missing.
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


def _chart(key: str, title: str, note: str, figure: Figure, table: Table) -> Chart:
    for text in figure.findobj(mpl.text.Text):
        text.set_color(_TEXT)
    return Chart(key, title, note, _page_svg(figure, key, title), table)


def _page_svg(figure: Figure, key: str, title: str) -> str:
    """Returns matplotlib's SVG as part of a page: with the page's fonts and colours, and no ids that clash.

    A page that allows no inline styles refuses `style` attributes, so that they become attributes of their own.
    """
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    ET.register_namespace("", _SVG)
    root = ET.fromstring(buffer.getvalue())
    used = set(re.findall(r"#([\w-]+)", " ".join(value for node in root.iter() for value in node.attrib.values())))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}style", f"{{{_SVG}}}metadata"):
                parent.remove(child)
    for node in root.iter():
        for part in node.attrib.pop("style", "").split(";"):
            name, _, value = (word.strip() for word in part.partition(":"))
            if name == "font":
                name, value = "font-size", re.search(r"[\d.]+px", value)[0]
            if name and name != "font-family":
                node.set(name, value)
        identifier = node.attrib.pop("id", None)
        if identifier in used:
            node.set("id", f"{key}-{identifier}")
        if (link := node.attrib.pop(_LINK, None)) is not None:
            node.set("href", link)  # HTML knows no namespaces.
        for name, value in node.attrib.items():
            value = re.sub(r"#(?=[\w-]+)(?![0-9a-f]{6}$)", f"#{key}-", value)
            node.set(name, _COLOURS.get(value, value))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {
        "role": "img",
        "aria-label": f"Chart: {title}. Its numbers are in the table below.",
        "class": "chart",
    }
    return ET.tostring(root, encoding="unicode")

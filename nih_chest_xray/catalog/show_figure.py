"""Show, the figure: places radiographs in a grid, each with its words below it and its boxes on it."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nih_chest_xray.catalog.shown import Shown

_INK, _GREY, _BOX, _PAIR = "#18212b", "#55626e", "#ffd000", "#e3edf3"
_POINTS = 8.5
_LINE = 1.3 * _POINTS / 72
"""Height of a line of text in inches."""
_GAP, _TITLE = 0.12, 0.38
"""Inches between two images, and for the title."""


class _Picture(Figure):
    """A figure that a notebook shows without `matplotlib.pyplot`, whose state would keep it."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=100)
        return content.getvalue()


def draw(groups: Sequence[Sequence[Shown]], title: str, rows: int, columns: int, size: float) -> Figure:
    """Returns the figure.

    Args:
      groups: The examples; those of a group are placed side by side and marked as belonging together.
      title: The figure's title.
      rows: Number of rows, at most. Groups for which there is no room are left out.
      columns: Number of images in a row.
      size: Side of an image in inches.
    """
    placed = _place(groups, rows, columns)
    letters = int(size * 72 / (0.52 * _POINTS))
    words = {at: _words(shown, letters) for at, shown in placed.items()}
    used = max(row for row, _ in placed) + 1
    across = max(column for _, column in placed) + 1
    below = [max(len(words[at]) for at in placed if at[0] == row) * _LINE + 3 * _GAP for row in range(used)]
    width, height = across * size + (across + 1) * _GAP, _TITLE + used * size + sum(below)
    figure = _Picture(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(_GAP / width, 1 - 0.5 * _TITLE / height, title, size=11, weight="bold", color=_INK, va="center")
    for (row, column), shown in placed.items():
        left = _GAP + column * (size + _GAP)
        bottom = height - _TITLE - (row + 1) * size - sum(below[:row])
        if placed.get((row, column - 1)) and _is_pair(groups, placed[row, column - 1], shown):
            start = (left - size - 1.3 * _GAP) / width, (bottom - below[row] + 1.3 * _GAP) / height
            extent = (2 * size + 1.6 * _GAP) / width, (size + below[row] - _GAP) / height
            figure.add_artist(Rectangle(start, *extent, facecolor=_PAIR, zorder=-1))
        axes = figure.add_axes((left / width, bottom / height, size / width, size / height))
        axes.imshow(shown.pixels, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0), aspect="auto")
        axes.set_axis_off()
        for box in shown.boxes:
            _draw_box(axes, *box)
        for number, (text, weight, colour) in enumerate(words[row, column]):
            y = bottom - 0.6 * _GAP - number * _LINE
            figure.text(left / width, y / height, text, size=_POINTS, weight=weight, color=colour, va="top")
    return figure


def _place(groups: Sequence[Sequence[Shown]], rows: int, columns: int) -> dict[tuple[int, int], Shown]:
    """Returns the row and column of each example that has room."""
    placed, row, column = {}, 0, 0
    for group in groups:
        if column + min(len(group), columns) > columns:
            row, column = row + 1, 0
        for shown in group[:columns]:
            if row < rows:
                placed[row, column] = shown
            column += 1
        if column == columns:
            row, column = row + 1, 0
    return placed


def _is_pair(groups: Sequence[Sequence[Shown]], first: Shown, second: Shown) -> bool:
    return any(first in group and second in group for group in map(list, groups) if len(group) > 1)


def _words(shown: Shown, letters: int) -> list[tuple[str, str, str]]:
    """Returns the text, weight and colour of each line below an image."""
    label = textwrap.wrap(shown.label, max(int(0.9 * letters), 8))
    more = [part for line in shown.lines for part in textwrap.wrap(line, max(letters, 8))]
    return [(text, "bold", _INK) for text in label] + [(text, "normal", _GREY) for text in more]


def _draw_box(axes: Axes, finding: str, left: float, top: float, width: float, height: float) -> None:
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=_BOX, linewidth=1.4))
    above = top > 0.1  # Else there is no room above it.
    to_the_left = left > 0.6
    axes.text(
        left + width if to_the_left else left,
        top - 0.012 if above else top + height + 0.012,
        finding,
        size=_POINTS - 1,
        color=_INK,
        ha="right" if to_the_left else "left",
        va="bottom" if above else "top",
        bbox={"facecolor": _BOX, "edgecolor": "none", "pad": 1, "alpha": 0.9},
    )

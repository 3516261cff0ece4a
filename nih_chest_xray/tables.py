"""Tables: CSV files read row by row, with errors that name file, row and what was expected."""

from __future__ import annotations

import codecs
import csv
import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from nih_chest_xray.files import OPEN_THE_PAGE
from nih_chest_xray.sources import IMAGE_NAME

_ADVICE = "Correct that, or download the file again."


class TableError(ValueError):
    """A table that cannot be used. The message names file and row, and says what was expected."""


def read_table(content: bytes, file: str, columns: Mapping[str, str], official_header: str) -> pd.DataFrame:
    """Reads a CSV file and finds its columns by their header.

    Args:
      content: The file's bytes: CSV in UTF-8 with a header.
      file: The file's name or path, for messages.
      columns: Maps header cells, in lower case and without brackets, underscores and spaces, to our own names. Several
        cells may have the same name: one of them has to be there. Other columns are left out.
      official_header: The header as the file's author writes it, for messages.

    Returns:
      The cells as strings, under our own names. The index is the row's number in the file, counted as a text editor
      counts lines: the header is row 1.

    Raises:
      TableError: The bytes are no such table.
    """
    content = strip(content, file)
    begins = 1  # The row that is read next.
    try:
        reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
        names = _columns(next(reader), file, columns, official_header)
        width = len(names)
        rows, numbers = [], []
        begins = reader.line_num + 1
        for cells in reader:
            number, begins = begins, reader.line_num + 1  # A row has several lines where a cell in quotes has.
            if len(cells) != width:
                # Some copies end each row with a comma, and the header with or without one: an empty cell more.
                if not any(cells):
                    continue
                if len(cells) < width or any(cells[width:]):
                    raise TableError(
                        f"{file}, row {number}: {len(cells)} cells; expected {width}, as in the header. {_ADVICE}"
                    )
            rows.append(cells[:width])
            numbers.append(number)
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise TableError(
            f"{file}, row {row}: not text in UTF-8 ({error.reason}). Download it again, or save it as CSV in UTF-8 if"
            " a spreadsheet wrote it."
        ) from error
    except csv.Error as error:
        since = f" since a quote in row {begins}" if begins < reader.line_num else ""
        raise TableError(f"{file}, row {reader.line_num}: not CSV{since} ({error}). Download it again.") from error
    if not rows:
        raise TableError(f"{file} has a header but no rows. Download it again.")
    return pd.DataFrame(rows, columns=names, index=numbers, dtype=object)[list(dict.fromkeys(columns.values()))]


def strip(content: bytes, file: str) -> bytes:
    """Returns a file's bytes without a byte order mark and blanks around them.

    Raises:
      TableError: The file is empty, or a web page in place of a download.
    """
    content = content.removeprefix(codecs.BOM_UTF8).strip()
    if not content:
        raise TableError(f"{file} is empty. Download it again.")
    if content[:1] == b"<":
        raise TableError(f"{file} is a web page, not a table: it begins with {content[:40]!r}. {OPEN_THE_PAGE}")
    return content


def to_number(cell: str) -> float:
    """Returns a cell's number, NaN for what is none: Python would also read 0.1_4, and the digits of other scripts."""
    try:
        return float(cell) if cell.isascii() and "_" not in cell else math.nan
    except ValueError:
        return math.nan


def _columns(header: list[str], file: str, columns: Mapping[str, str], official_header: str) -> list[str]:
    """Returns our own name for each cell of the header, without the empty cells at its end."""
    while header and not header[-1].strip():
        header.pop()
    names = [columns.get(_plain(cell), f"unused {i}") for i, cell in enumerate(header)]
    for name in dict.fromkeys(columns.values()):
        if names.count(name) != 1:
            raise TableError(
                f"{file} has {names.count(name)} columns for {name}; expected one. The official header, with"
                f" commas between the cells, is {official_header!r}; the header here is {','.join(header)[:200]!r}."
                " Download it again."
            )
    return names


def _plain(cell: str) -> str:
    return cell.lower().translate(str.maketrans("", "", "[]_ ")).strip()


def require_image_names(table: pd.DataFrame, file: str, once: bool) -> None:
    """Raises an error at the first row whose image is not named as the NIH names one, or was there before.

    Args:
      table: As `read_table` returns it, with a column `image_name`.
      file: For the message.
      once: Whether each image may have one row only.

    Raises:
      TableError: A row is not good.
    """
    name = table["image_name"]
    require(table, file, "image_name", name.str.fullmatch(IMAGE_NAME.pattern), "a name such as 00000013_005.png")
    if once:
        good = ~name.duplicated()
        require(table, file, "image_name", good, "each image once; this one stands in an earlier row")


def require(table: pd.DataFrame, file: str, column: str, good: pd.Series | np.ndarray, expected: str) -> None:
    """Raises an error that names the first row in which `good` is false.

    Args:
      table: As `read_table` returns it, with a column `image_name`.
      file: For the message.
      column: The column in which the mistake is.
      good: (rows,) bool.
      expected: For the message.

    Raises:
      TableError: A row is not good.
    """
    if not (good := good.astype(bool)).all():
        row = table.loc[~good].iloc[0]
        others = int((~good).sum()) - 1
        raise TableError(
            f"{file}, row {row.name}: {column} is {str(row[column])[:80]!r} (image {row['image_name'][:80]!r});"
            f" expected {expected}." + (f" There are {others} more such rows." if others else "") + f" {_ADVICE}"
        )


def parse_column(table: pd.DataFrame, file: str, column: str, parse: Callable[[str], Any], expected: str) -> np.ndarray:
    """Parses a column. Each different cell is looked at once, since most columns repeat a few.

    Args:
      table: As `read_table` returns it.
      file: For the message.
      column: Which column.
      parse: Takes a cell without blanks around it; returns its value, or None for a mistake.
      expected: For the message.

    Returns:
      (rows,) object: the values.

    Raises:
      TableError: A cell is a mistake.
    """
    codes, cells = pd.factorize(table[column])
    values = np.empty(len(cells), object)
    for i, cell in enumerate(cells):
        values[i] = parse(cell.strip())
    require(table, file, column, np.array([value is not None for value in values])[codes], expected)
    return values[codes]

"""Tables: CSV files, plain or gzipped, read row by row, with errors that name file, row and what was expected."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from nih_chest_xray.errors import OPEN_THE_PAGE, TableError, unreadable
from nih_chest_xray.vocabulary import IMAGE_NAME, MAX_SIZE

_ADVICE = "Correct that, or download the file again."
_GZIP = b"\x1f\x8b"
_LONGEST_HEADER = 10_000
"""Bytes of a file that are searched for its header."""


def table_bytes(content: bytes, place: str) -> bytes:
    """Returns the bytes of a table, decompressed if it is gzipped, as copies of the NIH's tables often are.

    Gzip is recognised by the first bytes, whatever the file's name. A table's digest is that of the returned bytes.

    Args:
      content: The file's bytes.
      place: The file's name or path, for messages.

    Raises:
      TableError: The gzip file is truncated or corrupt, or its content is larger than any table of the release.
    """
    if not content.startswith(_GZIP):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(MAX_SIZE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TableError(str(unreadable(place, error))) from error
    if len(unpacked) > MAX_SIZE:
        raise TableError(
            f"{place} unpacks to more than {MAX_SIZE:,} bytes; a table of the release has less. It is not what it"
            " seems to be: delete it and get it again."
        )
    return unpacked


def read_header(content: bytes) -> list[str]:
    """Returns the header's cells, normalised as `read_table` compares them; empty for an empty file."""
    first = io.StringIO(content.removeprefix(codecs.BOM_UTF8)[:_LONGEST_HEADER].decode(errors="replace"), newline="")
    return [_plain(cell) for cell in next(csv.reader(first), ())]


def read_table(
    content: bytes,
    file: str,
    columns: Mapping[str, str],
    official_header: str,
    optional: Collection[str] = (),
    may_be_empty: bool = False,
) -> pd.DataFrame:
    """Reads a CSV file and finds its columns by their header.

    Args:
      content: The file's bytes: CSV in UTF-8 with a header, plain or gzipped.
      file: The file's name or path, for messages.
      columns: Maps header cells, in lower case and reduced to letters and digits, to our own names. Several cells may
        map to the same name: exactly one of them has to exist. Other columns are dropped.
      official_header: The header as the file's author writes it, for messages.
      optional: Our own names of columns that may be absent.
      may_be_empty: Whether a header without rows is valid.

    Returns:
      The cells as strings, under our own names, without optional columns that are absent. The index is the row's number
      in the file, counted as a text editor counts lines: the header is row 1.

    Raises:
      TableError: The bytes are not such a table.
    """
    content = strip(content, file)
    begins = 1  # The row to read next.
    try:
        reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
        names = _columns(next(reader), file, columns, official_header, optional)
        width = len(names)
        rows, numbers = [], []
        begins = reader.line_num + 1
        for cells in reader:
            number, begins = begins, reader.line_num + 1  # A cell in quotes may span several lines.
            if len(cells) != width:
                # Some copies end each row with a comma, but not always the header: an additional empty cell.
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
    if not rows and not may_be_empty:
        raise TableError(f"{file} has a header but no rows. Download it again.")
    wanted = [name for name in dict.fromkeys(columns.values()) if name in names]
    return pd.DataFrame(rows, columns=names, index=numbers, dtype=object)[wanted]


def strip(content: bytes, file: str) -> bytes:
    """Returns a file's bytes, decompressed, without byte order mark and surrounding whitespace.

    Raises:
      TableError: The file is corrupt gzip, empty, or a web page instead of a download.
    """
    content = table_bytes(content, file).removeprefix(codecs.BOM_UTF8).strip()
    if not content:
        raise TableError(f"{file} is empty. Download it again.")
    if content[:1] == b"<":
        raise TableError(f"{file} is a web page, not a table: it begins with {content[:40]!r}. {OPEN_THE_PAGE}")
    return content


def to_number(cell: str) -> float:
    """Returns a cell as a number, or NaN. Stricter than `float`, which accepts 0.1_4 and digits of other scripts."""
    try:
        return float(cell) if cell.isascii() and "_" not in cell else math.nan
    except ValueError:
        return math.nan


def _columns(
    header: list[str], file: str, columns: Mapping[str, str], official_header: str, optional: Collection[str]
) -> list[str]:
    """Returns our own name for each column, without trailing columns whose header cell is empty."""
    while header and not header[-1].strip():
        header.pop()
    # Some programs take the comma in `OriginalImage[Width,Height]` for a part of the name and quote it as one cell,
    # although the rows have two. Such a cell is split; commas in the names of other columns are left alone.
    parts = [cell.split(",") for cell in header]
    cells = [
        part
        for cell, split in zip(header, parts, strict=True)
        for part in (split if all(_plain(part) in columns for part in split) else [cell])
    ]
    names = [columns.get(_plain(cell), f"unused {i}") for i, cell in enumerate(cells)]
    for name in dict.fromkeys(columns.values()):
        if names.count(name) != 1 and not (name in optional and name not in names):
            raise TableError(
                f"{file} has {names.count(name)} columns for {name}; expected one. The official header, with"
                f" commas between the cells, is {official_header!r}; the header here is {','.join(header)[:200]!r}."
                " Download it again."
            )
    return names


def _plain(cell: str) -> str:
    # Programs that rewrite tables write `Image_Index`, `Image.Index` or `imageIndex` for `Image Index`.
    return "".join(filter(str.isalnum, cell.lower()))


def require_image_names(table: pd.DataFrame, file: str, once: bool) -> None:
    """Raises an error at the first row whose image name is not of the NIH's form, or is repeated.

    Args:
      table: As `read_table` returns it, with a column `image_name`.
      file: The file's name or path, for the message.
      once: Whether each image may have only one row.

    Raises:
      TableError: A row is invalid.
    """
    name = table["image_name"]
    require(table, file, "image_name", name.str.fullmatch(IMAGE_NAME.pattern), "a name such as 00000013_005.png")
    if once:
        good = ~name.duplicated()
        require(table, file, "image_name", good, "each image once; this one is in an earlier row too")


def require(table: pd.DataFrame, file: str, column: str, good: pd.Series | np.ndarray, expected: str) -> None:
    """Raises an error that names the first row in which `good` is false.

    Args:
      table: As `read_table` returns it, with a column `image_name`.
      file: The file's name or path, for the message.
      column: The column that may be wrong.
      good: (rows,) bool: whether each row is valid.
      expected: What was expected, for the message.

    Raises:
      TableError: A row is invalid.
    """
    if not (good := good.astype(bool)).all():
        row = table.loc[~good].iloc[0]
        others = int((~good).sum()) - 1
        raise TableError(
            f"{file}, row {row.name}: {column} is {str(row[column])[:80]!r} (image {row['image_name'][:80]!r});"
            f" expected {expected}." + (f" There are {others} more such rows." if others else "") + f" {_ADVICE}"
        )


def parse_column(table: pd.DataFrame, file: str, column: str, parse: Callable[[str], Any], expected: str) -> np.ndarray:
    """Parses a column. Each distinct cell is parsed once, since most columns have few distinct values.

    Args:
      table: As `read_table` returns it.
      file: The file's name or path, for the message.
      column: The column's name.
      parse: Takes a cell without surrounding blanks; returns its value, or None if it is invalid.
      expected: What was expected, for the message.

    Returns:
      (rows,) object: the values.

    Raises:
      TableError: A cell is invalid.
    """
    codes, cells = pd.factorize(table[column])
    values = np.empty(len(cells), object)
    for i, cell in enumerate(cells):
        values[i] = parse(cell.strip())
    require(table, file, column, np.array([value is not None for value in values])[codes], expected)
    return values[codes]

"""Columns: writes a table as a script, which a page can load from anywhere, a file:// address included.

The script hands a text to `catalogTable` of columns.js: Base64 of a zlib stream of JSON. So nothing in a table can be
taken for code. The JSON is {"rows": number of rows, "columns": {name: {"values": [...], "codes": [...]}}}. The values
of a column are its distinct texts in ascending order, so that codes sort as values do; `codes` has the number of each
row's value, and is null if row n has value n.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import pandas as pd

_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,2})?")


def write_columns(table: pd.DataFrame, path: Path) -> None:
    """Writes a table of texts. Columns of numbers sort as numbers."""
    columns = {str(name): _column(table[name]) for name in table}
    text = json.dumps({"rows": len(table), "columns": columns}, separators=(",", ":"))
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    path.write_text(f'catalogTable("{path.stem}", "{packed}");\n')


def _column(column: pd.Series) -> dict[str, list | None]:
    codes, found = pd.factorize(column)
    texts = [str(text) for text in found]
    numbers = all(_NUMBER.fullmatch(text) for text in texts)
    order = sorted(range(len(texts)), key=lambda code: (float(texts[code]) if numbers else 0, texts[code]))
    rank = {code: place for place, code in enumerate(order)}
    ranks = [rank[code] for code in codes.tolist()]
    return {"values": [texts[code] for code in order], "codes": None if ranks == list(range(len(order))) else ranks}

"""Scores: reads a network's scores of images, from a file or from Python, and checks them against a subset's images."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from nih_chest_xray.errors import ScoreError, line, shown
from nih_chest_xray.vocabulary import finding_of, image_name, source_of

NAME, SCORE = "image_name", "score"
_NAMED = 5
"""Number of images that an error names."""
_READERS = {".csv": pd.read_csv, ".csv.gz": pd.read_csv, ".parquet": pd.read_parquet}


def read_scores(path: epath.PathLike) -> pd.DataFrame:
    """Reads a file of scores.

    Args:
      path: A CSV or Parquet file with the column `image_name`, and `score` or a column for each class.

    Returns:
      The file's table as it is; `check_scores` checks it.

    Raises:
      ScoreError: The file does not exist, or is not such a table.
    """
    file = epath.Path(path)
    read = next((read for end, read in _READERS.items() if file.name.lower().endswith(end)), None)
    if read is None:
        raise ScoreError(f"{file}: expected a name that ends with {', '.join(_READERS)}")
    if not file.is_file():
        raise ScoreError(f"{file} does not exist; expected a table with {NAME} and {SCORE}, or a column for each class")
    try:
        with file.open("rb") as content:
            return read(content, **({"compression": "gzip"} if file.name.lower().endswith(".gz") else {}))
    except (ValueError, OSError, EOFError, ImportError) as error:  # The last: pandas reads Parquet with pyarrow.
        raise ScoreError(
            f"{file} is not a table in {file.suffix} ({line(str(error), 200)}); write it with pandas, for example"
        ) from error


def table_of(scores: Any, names: Callable[[], Sequence[str]]) -> pd.DataFrame:
    """Returns scores given in Python as a table.

    Args:
      scores: A DataFrame with `image_name` as a column or as the index; a Series with it as the index; a dict from
        image name to score, or to several scores; the name of a file, as `read_scores` takes it; or (images,), (images,
        1) or (images, classes) in the order in which TFDS reads the subset.
      names: Returns the subset's image names in that order; asked for only if `scores` has no names.

    Raises:
      ScoreError: An array has another length than the subset, or is not of numbers.
    """
    if isinstance(scores, str | os.PathLike):
        return read_scores(scores)
    if isinstance(scores, pd.Series) and not isinstance(scores.index, pd.RangeIndex):
        scores = scores.to_frame(SCORE)
    if isinstance(scores, pd.DataFrame):
        named = NAME in scores or isinstance(scores.index, pd.RangeIndex)
        return scores if named else scores.rename_axis(NAME).reset_index()
    if isinstance(scores, Mapping):
        keys = [name.decode() if isinstance(name, bytes) else name for name in scores]
        values = _numbers(list(scores.values()))
    else:
        values, keys = np.atleast_1d(_numbers(scores)), list(names())
        if len(values) != len(keys):
            raise ScoreError(f"{len(values):,} scores for {len(keys):,} images; expected one for each, in their order")
    values = values.reshape(len(values), -1) if len(values) else values.reshape(0, 1)
    columns = [SCORE] if values.shape[1] == 1 else list(range(values.shape[1]))
    return pd.DataFrame(values, columns=columns).assign(**{NAME: keys})


def _numbers(values: Any) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError) as error:
        raise ScoreError(f"the scores are no array of numbers ({line(str(error), 200)})") from error


def check_scores(
    table: pd.DataFrame,
    images: pd.Index,
    classes: Sequence[str],
    single: str | None,
    subset: str,
    others: Mapping[str, str],
) -> pd.DataFrame:
    """Returns the scores of a subset's images, after checking them.

    Args:
      table: `image_name`, and `score` or a column for each class, or for some; more images than needed are fine. The
        columns may be numbered instead, one for each of `classes`.
      images: The names of the subset's images.
      classes: The classes that may be scored.
      single: The class that a column `score` is of; None if one score does not do.
      subset: The subset's name, for messages.
      others: The subset of each example of the dataset, for messages.

    Returns:
      (images, classes) float64, finite, in the order of `images`; the columns are in the order of `classes`.

    Raises:
      ScoreError: An image has no score or several, a score is not a finite number, a column is of no class, or a name
        is that of an augmented copy.
    """
    if NAME not in table:
        raise ScoreError(
            f"the columns are {_listed(table.columns)}; expected {NAME}, and {SCORE} or a column for each class"
        )
    table = table[[column for column in table if not str(column).startswith("Unnamed: ")]]  # An index of pandas'.
    if table.empty:
        raise ScoreError(f"there are no scores; expected one for each of the {len(images):,} images of {subset}")
    names = table[NAME].astype(str)
    names = names.map(lambda name: name if source_of(name) else image_name(name) or name)
    if (copies := names[names.map(lambda name: source_of(name) not in (None, name))]).any():
        raise ScoreError(f"{_some(copies)}: augmented copies, which are not evaluated; expected images as they are")
    if (twice := names[names.duplicated()]).any():
        raise ScoreError(f"{_some(twice)}: more than one score; expected one for each image")
    scores = table.drop(columns=NAME).set_axis(names)
    missing = images.difference(scores.index)
    if len(missing):
        found = sorted({others[name] for name in scores.index if name in others})
        theirs = f"of images of {' and '.join(found)}" if found else f"of others, such as {scores.index[0]}"
        where = "" if found == [subset] else f". The scores are {theirs}"
        raise ScoreError(
            f"{_some(missing)}: no score; expected one for each of the {len(images):,} images of {subset}{where}"
        )
    scores = _of_classes(scores, classes, single).loc[images]
    numbers = scores.apply(pd.to_numeric, errors="coerce")
    bad = ~np.isfinite(numbers.to_numpy(np.float64))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        value = scores.iloc[row, column]
        value = value.item() if isinstance(value, np.generic) else value
        raise ScoreError(
            f"{scores.index[row]}: {scores.columns[column]} is {shown(value)}; expected a finite number"
            f" ({int(bad.sum()):,} are not)"
        )
    return numbers.astype(np.float64)


def _of_classes(scores: pd.DataFrame, classes: Sequence[str], single: str | None) -> pd.DataFrame:
    """Returns the columns under the classes' own names, in their order."""
    if list(scores.columns) == [SCORE]:
        if single is None:
            raise ScoreError(f"one column {SCORE}; expected a column for each class, of {', '.join(classes)}")
        return scores.set_axis([single], axis=1)
    if list(scores.columns) == list(range(len(classes))):
        return scores.set_axis(list(classes), axis=1)
    if SCORE in scores:
        raise ScoreError(f"the columns are {NAME}, {_listed(scores.columns)}; expected {SCORE} and no other column")
    spelt = {_plain(name): name for name in classes}
    found = {column: spelt.get(_plain(str(column))) for column in scores.columns}
    if unknown := [column for column, name in found.items() if name is None]:
        raise ScoreError(
            f"the column {shown(unknown[0])} is no class; expected {SCORE}, or columns of {', '.join(classes)}."
            " Leave other columns out"
        )
    if len(set(found.values())) < len(found) or not found:
        raise ScoreError(
            f"the columns are {_listed(scores.columns)}; expected each class once, of {', '.join(classes)}"
        )
    renamed = scores.rename(columns=found)
    return renamed[[name for name in classes if name in renamed]]


def _plain(name: str) -> str:
    return (finding_of(name) or name).lower().replace("_", " ")


def _some(names: Sequence[str] | pd.Index | pd.Series) -> str:
    """Returns the name of an image; of several their number, and the first names."""
    first = ", ".join(map(str, list(names)[:_NAMED]))
    return first if len(names) == 1 else f"{len(names):,} images ({first}{', …' if len(names) > _NAMED else ''})"


def _listed(columns: pd.Index) -> str:
    return shown(", ".join(map(str, columns)))

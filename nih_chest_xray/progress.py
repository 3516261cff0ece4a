"""Progress: one bar for a whole build or download, on a terminal, in a notebook and in a log file."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tqdm
import tqdm.auto
from tensorflow_datasets.core.utils import py_utils, tqdm_utils

_MADE, _STORED = 0.9, 0.1
"""Shares of the time that an example takes: until it is handed to TFDS, and to sort it into its shard afterwards."""
_SECONDS_BETWEEN_LINES = 30
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left{postfix}"
_LINE = "{desc}: {percentage:3.0f} %, {elapsed} elapsed, {remaining} left{postfix}"
_BYTES = "{n_fmt}B of {total_fmt}B, {rate_fmt}, {remaining} left"
_BYTES_FORMAT = f"{{desc}}: {{percentage:3.0f}}%|{{bar}}| {_BYTES}"
_BYTES_LINE = f"{{desc}}: {{percentage:3.0f}} %, {_BYTES}"


class Progress:
    """Counts the examples of a build that were made and that were stored."""

    def __init__(self, bar: Any, total: int) -> None:
        self._bar = bar
        self._total = total
        self._made = 0

    def made(self) -> None:
        """Says that an example was made."""
        self._made += 1
        self._bar.set_postfix_str(f"{self._made:,} of {self._total:,} examples", refresh=False)
        self._bar.update(_MADE)

    def stored(self) -> None:
        """Says that an example is in its shard."""
        self._bar.update(_STORED)


@contextlib.contextmanager
def progress(name: str, total: int) -> Iterator[Progress]:
    """Shows the progress of a build, in place of TFDS's bars, of which there are many and none has a total.

    Nothing is shown where the user has switched TFDS's bars off.

    Args:
      name: Of what is built.
      total: Number of examples.
    """
    with _tfds_bars_off() as shown, _bar(_FORMAT, _LINE, desc=name, total=total, disable=not shown) as bar:
        yield Progress(bar, total)
        bar.n = bar.total


_lock = threading.Lock()
_builds = 0
_shown_before = True


@contextlib.contextmanager
def _tfds_bars_off() -> Iterator[bool]:
    """Switches TFDS's bars off until the last of overlapping builds is done, and says whether they were on before."""
    global _builds, _shown_before
    with _lock:
        if _builds == 0:
            _shown_before = tqdm_utils._active
            tqdm_utils.disable_progress_bar()
        _builds += 1
    try:
        yield _shown_before
    finally:
        with _lock:
            _builds -= 1
            if _builds == 0:
                tqdm_utils.display_progress_bar(_shown_before)


@contextlib.contextmanager
def byte_progress(name: str, total: int, there: int) -> Iterator[Callable[[int], object]]:
    """Shows how many bytes have come, of all files together, and how long the others will take.

    Nothing is shown where the user has switched TFDS's bars off, or where nothing is to come.

    Args:
      name: Of what comes.
      total: Bytes.
      there: Bytes that came earlier.

    Yields:
      What to call with the number of bytes that came; less than zero for bytes that have to come again.
    """
    options = {"total": total, "initial": there, "unit": "B", "unit_scale": True}
    with _bar(_BYTES_FORMAT, _BYTES_LINE, desc=name, disable=not (tqdm_utils._active and total), **options) as bar:
        yield bar.update


def _bar(drawn: str, line: str, **options: Any) -> Any:
    # smoothing=0: the time left follows from the mean speed so far, since examples are stored in bursts.
    if sys.stderr.isatty() or py_utils.is_notebook():
        return tqdm.auto.tqdm(bar_format=drawn, smoothing=0, dynamic_ncols=True, **options)
    return tqdm.tqdm(
        bar_format=line, smoothing=0, file=_Lines(), mininterval=_SECONDS_BETWEEN_LINES, maxinterval=60, **options
    )


class _Lines:
    """Makes a line of each state of a bar, which is drawn over the last one on a terminal."""

    def write(self, text: str) -> None:
        if text := text.strip("\r\n "):
            sys.stderr.write(f"{text}\n")

    def flush(self) -> None:
        sys.stderr.flush()

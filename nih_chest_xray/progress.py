"""Progress: one bar for a whole build, on a terminal, in a notebook and in a log file."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import tqdm
import tqdm.auto
from tensorflow_datasets.core.utils import py_utils, tqdm_utils

_MADE, _STORED = 0.9, 0.1
"""Shares of the time that an example takes: until it is handed to TFDS, and to sort it into its shard afterwards."""
_SECONDS_BETWEEN_LINES = 30
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left{postfix}"
_LINE = "{desc}: {percentage:3.0f} %, {elapsed} elapsed, {remaining} left{postfix}"


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
    with _tfds_bars_off() as shown, _bar(desc=name, total=total, disable=not shown) as bar:
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


def _bar(**options: Any) -> Any:
    # smoothing=0: the time left follows from the mean speed so far, since examples are stored in bursts.
    if sys.stderr.isatty() or py_utils.is_notebook():
        return tqdm.auto.tqdm(bar_format=_FORMAT, smoothing=0, dynamic_ncols=True, **options)
    return tqdm.tqdm(
        bar_format=_LINE, smoothing=0, file=_Lines(), mininterval=_SECONDS_BETWEEN_LINES, maxinterval=60, **options
    )


class _Lines:
    """Makes a line of each state of a bar, which is drawn over the last one on a terminal."""

    def write(self, text: str) -> None:
        if text := text.strip("\r\n "):
            sys.stderr.write(f"{text}\n")

    def flush(self) -> None:
        sys.stderr.flush()

"""Progress: one bar for a whole build, instead of TFDS's many bars, none of which has a total."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from nih_chest_xray.building.tfds_internals import bars_are_on
from nih_chest_xray.system.bars import bar

_MADE, _STORED = 0.9, 0.1
"""Shares of an example's time: until it is encoded, and while it is sorted into its shard."""
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left{postfix}"
_LINE = "{desc}: {percentage:3.0f} %, {elapsed} elapsed, {remaining} left{postfix}"


class Progress:
    """Counts the examples of a build that were made and that were stored."""

    def __init__(self, shown: Any, total: int) -> None:
        self._bar = shown
        self._total = total
        self._made = 0
        self._lock = threading.Lock()  # Subsets are stored in threads of their own.

    def made(self) -> None:
        """Counts an example as made."""
        with self._lock:
            self._made += 1
            self._bar.set_postfix_str(f"{self._made:,} of {self._total:,} examples", refresh=False)
            self._bar.update(_MADE)

    def stored(self) -> None:
        """Counts an example as stored in its shard."""
        with self._lock:
            self._bar.update(_STORED)


@contextlib.contextmanager
def progress(name: str, total: int) -> Iterator[Progress]:
    """Shows the progress of a build, unless the user has switched TFDS's bars off.

    Args:
      name: The name of the dataset, which the bar shows.
      total: Number of examples.
    """
    with _tfds_bars_off() as shown, bar(_FORMAT, _LINE, desc=name, total=total, disable=not shown) as drawn:
        yield Progress(drawn, total)
        drawn.n = drawn.total


_lock = threading.Lock()
_builds = 0
_shown_before = True


@contextlib.contextmanager
def _tfds_bars_off() -> Iterator[bool]:
    """Switches TFDS's bars off until the last of overlapping builds ends; yields whether they were on before."""
    global _builds, _shown_before
    with _lock:
        if _builds == 0:
            _shown_before = bars_are_on()
            tfds.disable_progress_bar()
        _builds += 1
    try:
        yield _shown_before
    finally:
        with _lock:
            _builds -= 1
            if _builds == 0:
                tfds.display_progress_bar(_shown_before)

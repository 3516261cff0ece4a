"""Progress: one bar for a whole build, in place of TFDS's bars, of which there are many and none has a total."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from nih_chest_xray.building.tfds_internals import bars_are_on
from nih_chest_xray.system.bars import bar

_MADE, _STORED = 0.9, 0.1
"""Shares of the time that an example takes: until it is handed to TFDS, and to sort it into its shard afterwards."""
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} left{postfix}"
_LINE = "{desc}: {percentage:3.0f} %, {elapsed} elapsed, {remaining} left{postfix}"


class Progress:
    """Counts the examples of a build that were made and that were stored."""

    def __init__(self, shown: Any, total: int) -> None:
        self._bar = shown
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
    """Shows the progress of a build. Nothing is shown where the user has switched TFDS's bars off.

    Args:
      name: Of what is built.
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
    """Switches TFDS's bars off until the last of overlapping builds is done, and says whether they were on before."""
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

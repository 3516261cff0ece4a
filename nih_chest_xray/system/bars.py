"""Bars: shows progress on a terminal, in a notebook and in a log file, and notices above it."""

from __future__ import annotations

import sys
from typing import Any

import tqdm
import tqdm.auto

_SECONDS_BETWEEN_LINES = 30


def bar(drawn: str, line: str, **options: Any) -> Any:
    """Returns a tqdm bar.

    Args:
      drawn: Its format on a terminal or in a notebook, as tqdm's `bar_format`.
      line: Its format in a log file, which gets a line every 30 seconds.
      options: Passed to tqdm.
    """
    # smoothing=0: the time left is estimated from the mean speed so far, because examples are stored in bursts.
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        return tqdm.auto.tqdm(bar_format=drawn, smoothing=0, dynamic_ncols=True, **options)
    return tqdm.tqdm(
        bar_format=line, smoothing=0, file=_Lines(), mininterval=_SECONDS_BETWEEN_LINES, maxinterval=60, **options
    )


def say(text: str) -> None:
    """Writes a notice to stderr, above a bar: a command's stdout is for its result."""
    tqdm.tqdm.write(text, file=sys.stderr)


class _Lines:
    """Writes each new state of a bar as a line of its own; on a terminal it would overwrite the last one."""

    _last = ""

    def write(self, text: str) -> None:
        if (text := text.strip("\r\n ")) and text != self._last:
            sys.stderr.write(f"{text}\n")
            self._last = text

    def flush(self) -> None:
        sys.stderr.flush()

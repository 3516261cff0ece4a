"""Paths: tells remote paths from local ones."""

from __future__ import annotations

import os


def is_remote(path: os.PathLike | str) -> bool:
    """Returns whether a path is outside the operating system's file systems, for example in a bucket."""
    return "://" in str(path)

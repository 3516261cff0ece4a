"""Paths: what can be told of a path by its name."""

from __future__ import annotations

import os


def is_remote(path: os.PathLike | str) -> bool:
    """Returns whether a path is of a file system that the operating system does not know, such as a bucket."""
    return "://" in str(path)

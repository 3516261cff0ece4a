"""Whole: writes a new folder completely or not at all."""

from __future__ import annotations

import contextlib
import glob
import tempfile
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from nih_chest_xray.errors import RemovalRefusedError, UsageError
from nih_chest_xray.system import locks
from nih_chest_xray.system.removal import EXPORT_WORK, UNFINISHED_EXPORT, remove


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yields an empty folder next to `folder`. It becomes `folder` if the block succeeds, and is removed otherwise.

    The next run removes what a killed run left behind. The empty lock file stays.

    Args:
      folder: An absolute path without links: of an empty folder, or of one that does not exist.

    Raises:
      UsageError: Another process writes the same folder.
      OSError: The system refuses, for example because somebody has put a file into `folder` meanwhile.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.parent / f".{folder.name}.lock"
    try:
        held = locks.take(epath.Path(lock))
    except locks.HeldError:
        raise UsageError(f"another process writes {folder}: it holds {lock}; wait until it is done") from None
    with held:
        prefix = f".{folder.name}.{EXPORT_WORK}."
        for left in folder.parent.glob(f"{glob.escape(prefix)}*"):
            # A folder that may not be removed, or holds something else, does no harm.
            with contextlib.suppress(OSError, RemovalRefusedError):
                _remove(left)
        work = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
        try:
            new = work / "new"
            new.mkdir()
            yield new
            new.rename(folder)
        finally:
            _remove(work)


def _remove(work: Path) -> None:
    remove(epath.Path(work), UNFINISHED_EXPORT, within=epath.Path(work.parent))

"""Locks: one process at a time, by a lock of the system's, which is free when the process that holds it is gone."""

from __future__ import annotations

import contextlib
import errno
import warnings

import filelock
from etils import epath

from nih_chest_xray.system.paths import is_remote

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


class HeldError(Exception):
    """Another process holds the lock."""


class Held(contextlib.AbstractContextManager):
    """A lock that was taken, until the end of a `with` block.

    Attributes:
      sure: Whether no other process can hold it: not so in a bucket, or on a file system without locks.
    """

    def __init__(self, lock: filelock.BaseFileLock | None) -> None:
        self._lock = lock
        self.sure = lock is not None

    def __exit__(self, *_error: object) -> None:
        """Frees the lock. Its empty file stays."""
        if self._lock is not None:
            self._lock.release()


def take(path: epath.Path, wait: bool = False) -> Held:
    """Takes a lock.

    Args:
      path: Of its file, which is made if it does not exist, and its folder too.
      wait: Whether to wait until it is free.

    Raises:
      HeldError: Another process holds it, and the caller does not wait.
    """
    if is_remote(path):
        return Held(None)
    path.parent.mkdir(parents=True, exist_ok=True)
    # All who may write into the folder may lock, in a data_dir that a team shares.
    lock = filelock.FileLock(str(path), timeout=-1 if wait else 0, mode=0o666)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise HeldError(f"another process holds {path}") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"{path.parent} is on a file system without locks ({error.strerror}): take care that no other process works"
            " there at the same time, and remove folders `incomplete.…` of those that died.",
            stacklevel=3,
        )
        return Held(None)
    return Held(lock)

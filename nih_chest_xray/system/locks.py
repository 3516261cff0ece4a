"""Locks: lets one process work at a time. The system releases the lock of a process that dies."""

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
    """A lock that is held until the end of a `with` block.

    Attributes:
      sure: Whether it excludes all other processes: not in a bucket, nor on a file system without locks.
    """

    def __init__(self, lock: filelock.BaseFileLock | None) -> None:
        self._lock = lock
        self.sure = lock is not None

    def __exit__(self, *_error: object) -> None:
        """Releases the lock. Its empty file stays."""
        if self._lock is not None:
            self._lock.release()


def take(path: epath.Path, wait: bool = False) -> Held:
    """Takes a lock.

    Args:
      path: The lock file's path. The file and its folder are created if they do not exist.
      wait: Whether to wait until the lock is free.

    Raises:
      HeldError: Another process holds the lock, and `wait` is False.
    """
    if is_remote(path):
        return Held(None)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In a data_dir that a team shares, everyone who may write into the folder may take the lock.
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
            " there at the same time, and remove the folders `incomplete.…` that crashed builds left.",
            stacklevel=3,
        )
        return Held(None)
    return Held(lock)

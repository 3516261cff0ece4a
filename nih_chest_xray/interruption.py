"""Interruption: one build of a dataset at a time, nothing left of those that died, and what stopped one is told.

TFDS makes a dataset in a folder `incomplete.…` beside its final place, which it renames when all is done, and removes
if an error ends the build. What a killed process leaves of it is removed here, by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import warnings
from collections.abc import Iterable, Iterator

import filelock
from etils import epath

from nih_chest_xray.files import is_remote

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
_ROOM = "Free some room there, or name another place with --data_dir"
_HANDLES = "Allow more open files (ulimit -n)"
_RIGHTS = "Name a place with --data_dir in which you may write"
_FOLDER = "Move away the file that is in the place of a folder, or name another place with --data_dir"
_DISK = "See whether the disk is still there and sound"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "Name a place with --data_dir whose file system takes larger files, or allow them (ulimit -f)",
    errno.EMFILE: _HANDLES,
    errno.ENFILE: _HANDLES,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOTDIR: _FOLDER,
    errno.EEXIST: _FOLDER,
    errno.EIO: _DISK,
    errno.ESTALE: _DISK,
}
"""What to do, by the system's number of an error."""


class BuildInProgressError(RuntimeError):
    """Somebody else builds the same dataset in the same place."""


@contextlib.contextmanager
def only_build(dataset: epath.Path) -> Iterator[None]:
    """Makes the caller the only one who builds a dataset, and removes what dead builds of it have left.

    Args:
      dataset: Where it will be, `…/<config>/<version>`.

    Raises:
      BuildInProgressError: Somebody else builds it.
    """
    try:
        lock = _lock(dataset.parent / f".{dataset.name}.lock")
    except filelock.Timeout as error:
        raise BuildInProgressError(
            f"Another build of {dataset} is under way: it holds {error.lock_file}. Wait until it is done and load what"
            " it built, or build under another --data_dir."
        ) from None
    with lock as held:
        if held.is_locked:
            _remove(dataset.parent.glob(f"incomplete.*_{dataset.name}"))
        yield


@contextlib.contextmanager
def only_download(folder: epath.Path) -> Iterator[None]:
    """Waits until nobody else downloads into a folder, and says so, so that nothing is downloaded twice.

    Args:
      folder: It is made if it does not exist.
    """
    place = folder / ".nih_chest_xray.lock"
    try:
        lock = _lock(place)
    except filelock.Timeout:
        print(f"Another process downloads into {folder}: waiting until it is done.", flush=True)
        lock = _lock(place, wait=True)
    with lock:
        yield


@contextlib.contextmanager
def told(dataset: epath.Path) -> Iterator[None]:
    """Turns what the system refuses, in whichever library it comes up, into an error that says what to do.

    Args:
      dataset: Where it would be.

    Raises:
      OSError: With the system's number of the error.
    """
    try:
        yield
    except Exception as error:
        code = _system_error(error)
        if code is None:
            raise
        raise OSError(
            code,
            f"{os.strerror(code)}. The build of {dataset} was stopped; what it may have left is removed by the next"
            f" one. {_ADVICE[code]}, and build again. It was: {first_line(error)}",
        ) from error


def first_line(error: object) -> str:
    """Returns the first line of an error's text; those of servers and of TFDS can be pages long."""
    return str(error).strip().partition("\n")[0][:300]


def flush(folder: epath.Path) -> None:
    """Waits until the files of a folder are on the disk, so that a loss of power cannot leave a dataset without them.

    Raises:
      OSError: The disk, or a server behind it, could not take what was written.
    """
    if is_remote(folder) or os.name == "nt":  # Windows cannot do that with a folder.
        return
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class _NoLock(contextlib.AbstractContextManager):
    """Takes the place of a lock where there is none."""

    is_locked = False

    def __exit__(self, *_error: object) -> None:
        """Does nothing."""


def _lock(path: epath.Path, wait: bool = False) -> contextlib.AbstractContextManager:
    """Takes a lock of the system's, which is free when the process that holds it is gone, whatever ended it.

    Raises:
      filelock.Timeout: Somebody else holds it, and the caller does not wait.
    """
    if is_remote(path):
        return _NoLock()
    path.parent.mkdir(parents=True, exist_ok=True)
    # All who may write into the folder may lock, in a data_dir that a team shares.
    lock = filelock.FileLock(str(path), timeout=-1 if wait else 0, mode=0o666)
    try:
        return lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"{path.parent} is on a file system without locks ({error.strerror}): take care that no other process works"
            " there at the same time, and remove folders `incomplete.…` of those that died.",
            stacklevel=4,
        )
        return _NoLock()


def _remove(folders: Iterable[epath.Path]) -> None:
    for folder in folders:
        try:
            folder.rmtree()
        except OSError as error:
            warnings.warn(
                f"{folder}, which a process that died has left, could not be removed ({error.strerror}); remove it.",
                stacklevel=4,
            )


def _system_error(error: Exception) -> int | None:
    """Returns the system's number of an error; TensorFlow and others hand on its text alone."""
    if isinstance(error, ValueError):  # The package's own, which say what to do.
        return None
    number = getattr(error, "errno", None)
    return number if number in _ADVICE else next((code for code in _ADVICE if os.strerror(code) in str(error)), None)

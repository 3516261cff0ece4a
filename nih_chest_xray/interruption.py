"""Interruption: one build of a dataset at a time, and what dead builds left is removed by the next one.

TFDS makes a dataset in a folder `incomplete.…` beside its final place, which it renames when all is done, and removes
if an error ends the build. What a killed process leaves of it is removed here, by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import string
import warnings
from collections.abc import Iterator

import filelock
from etils import epath

from nih_chest_xray.files import is_remote
from nih_chest_xray.removal import REPLACED, UNFINISHED, Kind, RemovalRefusedError, remove

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
_FULL = (errno.ENOSPC, errno.EDQUOT)


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
            _remove_all(dataset, UNFINISHED)
        yield


@contextlib.contextmanager
def old_kept(dataset: epath.Path) -> Iterator[None]:
    """Moves a dataset that is to be replaced aside, and removes it when the new one has its name.

    If the build fails, the old dataset gets its name back; if it is killed, the old one stays aside until a later build
    succeeds. In a bucket, which cannot rename a folder, nothing is done, and TFDS deletes the old one first.

    Args:
      dataset: Where it is, if it exists, and where the new one will be.
    """
    aside = None
    if dataset.exists() and not is_remote(dataset):
        unique = "".join(random.choices(string.ascii_uppercase + string.digits, k=6))
        aside = dataset.rename(dataset.with_name(f"replaced.{unique}_{dataset.name}"))
    try:
        yield
    except BaseException:
        if aside is not None and not dataset.exists():
            aside.rename(dataset)
        raise
    if not is_remote(dataset):
        _remove_all(dataset, REPLACED)


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
def full_disk_explained(dataset: epath.Path) -> Iterator[None]:
    """Says what to do about a full disk, in whichever library it comes up. All other errors pass as they are.

    Args:
      dataset: Where it would be.

    Raises:
      OSError: The disk, or the user's share of it, is full.
    """
    try:
        yield
    except Exception as error:
        code = next((code for code in _FULL if _is_system_error(error, code)), None)
        if code is None:
            raise
        raise OSError(
            code,
            f"{os.strerror(code)}. The build of {dataset} was stopped. Free some room, or name another place with"
            f" --data_dir (for downloads --download_dir), and build again. The error was: {first_line(error)}",
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


def _remove_all(dataset: epath.Path, kind: Kind) -> None:
    """Removes what is of a kind beside a dataset, and was made for this version of it."""
    for path in sorted(dataset.parent.iterdir()):
        if kind.name.fullmatch(path.name) and path.name.endswith(f"_{dataset.name}"):
            try:
                remove(path, kind, within=dataset.parent)
            except (OSError, RemovalRefusedError) as error:
                warnings.warn(f"{kind.noun.capitalize()} was not removed: {error}", stacklevel=4)


def _is_system_error(error: Exception, code: int) -> bool:
    """Returns whether an error is the system's of this number; TensorFlow and others hand on its text alone."""
    if isinstance(error, ValueError):  # The package's own, which say what to do.
        return False
    number = getattr(error, "errno", None)
    return number == code if number else os.strerror(code) in str(error)

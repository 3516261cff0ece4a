"""Locking: allows one build or conversion of a dataset at a time, cleans up after a crash, and keeps an old dataset.

TFDS makes a dataset in a folder `incomplete.…` next to its final place. It renames the folder at the end of the build,
and removes it if an error stops the build. If a killed process leaves one behind, the next build removes it here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import string
import warnings
from collections.abc import Iterator

from etils import epath

from nih_chest_xray.errors import BuildInProgressError, RemovalRefusedError, first_line
from nih_chest_xray.system import locks
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.system.removal import REPLACED, UNFINISHED, Kind, remove

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def only_build(dataset: epath.Path) -> Iterator[None]:
    """Keeps other processes from making the same dataset, and removes what crashed builds of it left behind.

    A conversion to another format counts as a build.

    Args:
      dataset: The dataset's folder, `…/<config>/<version>`. It need not exist yet.

    Raises:
      BuildInProgressError: Another process is building or converting it.
    """
    path = dataset.parent / f".{dataset.name}.lock"
    try:
        held = locks.take(path)
    except locks.HeldError:
        raise BuildInProgressError(
            f"Another build or conversion of {dataset} is under way: it holds {path}. Wait until it is done and load"
            " what it made, or build under another --data_dir."
        ) from None
    with held:
        if held.sure:
            _remove_all(dataset, UNFINISHED)
        yield


@contextlib.contextmanager
def old_kept(dataset: epath.Path) -> Iterator[None]:
    """Moves the old dataset aside during a build, and removes it when the new one is in its place.

    If the build fails, the old dataset gets its name back. If the build is killed, the old dataset stays aside until a
    later build succeeds. A bucket cannot rename a folder: there TFDS deletes the old dataset first.

    Args:
      dataset: The folder of the old dataset, if it exists, and of the new one.
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


_BUILD_AGAIN = "name another data_dir, and build again (`tfds build` has --download_dir too)"


@contextlib.contextmanager
def full_disk_explained(dataset: epath.Path, what: str = "build", then: str = _BUILD_AGAIN) -> Iterator[None]:
    """Says what to do about a full disk, whichever library reports it. All other errors pass unchanged.

    Args:
      dataset: The dataset's folder, for the message.
      what: What is stopped, for the message.
      then: What else to do than to free some space, for the message.

    Raises:
      OSError: The disk is full, or the user's quota is used up.
    """
    try:
        yield
    except Exception as error:
        code = next((code for code in _FULL if _is_system_error(error, code)), None)
        if code is None:
            raise
        raise OSError(
            code,
            f"{os.strerror(code)}. The {what} of {dataset} was stopped. Free some space, or {then}. The error was:"
            f" {first_line(error)}",
        ) from error


def flush(folder: epath.Path) -> None:
    """Waits until the files of a folder are on disk, so that a power failure cannot leave a dataset without them.

    Raises:
      OSError: The disk, or a server behind it, could not store what was written.
    """
    if is_remote(folder) or os.name == "nt":  # Windows cannot sync a folder.
        return
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_all(dataset: epath.Path, kind: Kind) -> None:
    """Removes the folders of a kind next to a dataset that were made for this version of it."""
    for path in sorted(dataset.parent.iterdir()):
        if kind.name.fullmatch(path.name) and path.name.endswith(f"_{dataset.name}"):
            try:
                remove(path, kind, within=dataset.parent)
            except (OSError, RemovalRefusedError) as error:
                warnings.warn(f"{kind.noun.capitalize()} was not removed: {error}", stacklevel=4)


def _is_system_error(error: Exception, code: int) -> bool:
    """Returns whether this is the system error with this number. TensorFlow and others pass on only its text."""
    if isinstance(error, ValueError):  # The package's own errors say what to do.
        return False
    number = getattr(error, "errno", None)
    return number == code if number else os.strerror(code) in str(error)

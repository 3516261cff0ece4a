"""Locking: one build of a dataset at a time, cleanup after a crash, and the old dataset kept until the new is whole.

TFDS makes a dataset in a folder `incomplete.…` beside its final place, which it renames when all is done, and removes
if an error ends the build. What a killed process leaves of it is removed here, by the next build.
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
    """Makes the caller the only one who builds a dataset, and removes what crashed builds of it have left.

    Args:
      dataset: Where it will be, `…/<config>/<version>`.

    Raises:
      BuildInProgressError: Another process builds it.
    """
    path = dataset.parent / f".{dataset.name}.lock"
    try:
        held = locks.take(path)
    except locks.HeldError:
        raise BuildInProgressError(
            f"Another build of {dataset} is under way: it holds {path}. Wait until it is done and load what it built,"
            " or build under another --data_dir."
        ) from None
    with held:
        if held.sure:
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

"""Disk space: compares what a build will write with what is free, before anything is downloaded or made."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import shutil
from collections.abc import Sequence

from etils import epath

from nih_chest_xray.errors import NoRoomError
from nih_chest_xray.system.paths import is_remote


@dataclasses.dataclass(frozen=True)
class Need:
    """Disk space that a folder needs.

    Attributes:
      folder: The folder; it need not exist yet.
      size: Size in bytes.
      what: What will be written, for messages.
    """

    folder: epath.Path
    size: int
    what: str


_OF_A_BUILD = "name a data_dir on another disk; `tfds build` has --download_dir too, for what is downloaded"


def require_room(needs: Sequence[Need], instead: str = _OF_A_BUILD) -> None:
    """Raises an error if a disk is too small. Needs on one disk are added up; remote folders are not checked.

    Args:
      needs: What will be written.
      instead: What can be done instead of freeing some, for the message.

    Raises:
      NoRoomError: A disk is too small.
    """
    disks: dict[int, list[Need]] = collections.defaultdict(list)
    for need in needs:
        if need.size > 0 and not is_remote(need.folder):
            disks[existing(need.folder).stat().st_dev].append(need)
    free = {disk: shutil.disk_usage(existing(together[0].folder)).free for disk, together in disks.items()}
    if all(sum(need.size for need in together) <= free[disk] for disk, together in disks.items()):
        return
    places = []
    for disk, together in disks.items():
        listed = [f"{need.what} need {readable(need.size)} in {need.folder}" for need in together]
        where = "there" if len(together) == 1 else "on the disk of both"
        places.append(f"{' and '.join(listed)}; {readable(free[disk])} are free {where}")
    raise NoRoomError(f"There is not enough room: {'. '.join(places)}. Free some, or {instead}.")


def existing(folder: epath.Path) -> pathlib.Path:
    """Returns the folder, or the nearest one above it that exists."""
    path = pathlib.Path(folder).absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def readable(size: int) -> str:
    """Returns a size in readable units.

    >>> readable(45_079_862_873), readable(15_460_000), readable(92_416)
    ('45.08 GB', '15.5 MB', '92.4 kB')
    """
    if size < 1e6:
        return f"{size / 1e3:,.1f} kB"
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"

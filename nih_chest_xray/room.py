"""Room: estimates what a build writes, and compares it with what is free before anything is downloaded or made."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import shutil
from collections.abc import Sequence

from etils import epath

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.files import is_remote

_SIDE = 512
_BYTES = {"png": 110_000, "jpeg": 54_000}
"""Of a radiograph of `_SIDE` pixels a side, encoded as this package does."""
_BYTES_OF_NIH = 410_000
"""Of one of the NIH's own PNGs, of 1024 pixels a side."""
_BYTES_BESIDE = 1_000
"""Of all features of an example but the image."""


class NoRoomError(RuntimeError):
    """A disk is too small. The message names the folders, what they need and have, and what to do."""


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes that will be written into a folder.

    Attributes:
      folder: It need not exist yet.
      size: Bytes.
      what: They are, for messages.
    """

    folder: epath.Path
    size: int
    what: str


def build_size(config: NihChestXrayConfig, examples: int) -> int:
    """Estimates the bytes that a build needs in its data_dir while it runs.

    The sizes of an image are means of some hundred of the NIH's: its own PNG has 410 KB; of 512 pixels a side a PNG of
    this package has 107 to 113 KB, and a JPEG of quality 95 54 KB. Other sizes follow from the number of pixels.
    While records wait and are sorted they are in temporary files there, each of which is gone when its records are in
    their shards: at no time does a build have more on the disk than the dataset at the end.

    Args:
      config: Says how images are stored.
      examples: Number of examples, augmented copies included.

    Returns:
      Bytes.

    >>> nodule = NihChestXrayConfig(name="nodule")
    >>> build_size(nodule, examples=1000)
    111000000
    """
    if config.image_size is None:
        image = _BYTES_OF_NIH
    else:
        image = round(_BYTES[config.image_format] * (config.image_size / _SIDE) ** 2)
    return examples * (image + _BYTES_BESIDE)


def require_room(needs: Sequence[Need]) -> None:
    """Refuses needs that the disks have no room for. Those on one disk are added up; remote folders are not asked.

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
    raise NoRoomError(
        f"There is not enough room: {'. '.join(places)}. Free some, or name a folder on another disk: --data_dir for"
        " the dataset, --download_dir for what is downloaded."
    )


def existing(folder: epath.Path) -> pathlib.Path:
    """Returns the folder, or the nearest one above it that exists."""
    path = pathlib.Path(folder).absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def readable(size: int) -> str:
    """Returns a size as people read it.

    >>> readable(45_079_862_873), readable(15_460_000), readable(92_416)
    ('45.08 GB', '15.5 MB', '92.4 kB')
    """
    if size < 1e7:
        return f"{size / 1e3:,.1f} kB"
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"

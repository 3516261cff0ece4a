"""Export: writes a built dataset as a copy for other libraries, completely or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath
from tqdm import tqdm

from nih_chest_xray.catalog import texts
from nih_chest_xray.catalog.datasets import open_dataset
from nih_chest_xray.catalog.digests import DataFile, sha256sums
from nih_chest_xray.catalog.new_folders import require_new_folder
from nih_chest_xray.errors import UsageError
from nih_chest_xray.formats import dataset_card
from nih_chest_xray.formats.stored import Reader
from nih_chest_xray.formats.whole import written_whole
from nih_chest_xray.system.disk_space import Need, require_room
from nih_chest_xray.system.paths import is_remote

FORMATS = ("huggingface", "webdataset", "folder")
"""What a dataset may be exported to; each has a module of its name here, which is imported when it is asked for."""
CARD, DIGESTS = "README.md", "SHA256SUMS"
_BLOCK = 4096
"""Bytes by whose multiples most file systems store a file."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """An export.

    Attributes:
      path: Its folder.
      examples: Number of examples of each subset.
      reading: Python that reads it, from wherever it is run.
      caveats: What a reader must know.
    """

    path: Path
    examples: Mapping[str, int]
    reading: str
    caveats: tuple[str, ...]


def export(dataset: Any, to: str, out: os.PathLike | str) -> Exported:
    """Writes a built dataset in another format, with a dataset card (README.md) and digests (SHA256SUMS).

    Stored PNG and JPEG bytes are copied. Examples are in the order of the dataset's records, one at a time in memory.

    Args:
      dataset: As `catalog.datasets.open_dataset` takes it.
      to: One of `FORMATS`.
      out: A folder that is empty or does not exist, on this machine.

    Raises:
      UsageError: There are several datasets, the folder cannot be used, or a library is not installed.
      CatalogError: There is no dataset, or it is damaged; the message names broken records.
      NoRoomError: The disk is too small.
      OSError: The system refuses.
    """
    if is_remote(epath.Path(out)):
        raise UsageError(f"{out} is not on this machine; name a folder here, and copy it there")
    built, folder = open_dataset(dataset), Path(out).absolute()
    require_new_folder(folder)
    form = importlib.import_module(f"nih_chest_xray.formats.{to}")
    infos = built.builder.info.splits
    size = sum(infos[subset].num_bytes + _BLOCK * infos[subset].num_examples for subset in built.subsets)
    require_room([Need(epath.Path(folder), size, "the export's files")], "name a folder on another disk")
    with (
        written_whole(folder.resolve()) as new,
        tqdm(total=len(built.table), unit=" examples", disable=None) as bar,  # None: on a terminal only.
    ):
        reader = Reader(built, bar.update)
        front = form.write(built, reader, new)
        card = dataset_card.text(built, reader.described(), form.reading(built, "OUT"), form.ABOUT)
        (new / CARD).write_text(f"{front}{card}", encoding="utf-8")
        bar.set_description("digests")
        (new / DIGESTS).write_text(sha256sums(list(_files(new))))
    examples = {subset: infos[subset].num_examples for subset in built.subsets}
    told = [*texts.trial(built), *(form.caveats(built) if to == "folder" else [])]
    return Exported(folder, examples, form.reading(built, str(folder)), tuple(told))


def _files(folder: Path) -> list[DataFile]:
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = path.relative_to(folder).as_posix()
        found.append(DataFile(name, path.stat().st_size, digest, name))
    return found

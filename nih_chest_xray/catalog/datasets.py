"""Built datasets: finds the datasets in a folder, and reads the files next to their records."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.building.features import differences, label_files
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import CatalogError, DatasetError, first_line, shown
from nih_chest_xray.planning.cohort import empty_classes
from nih_chest_xray.tasks import Task
from nih_chest_xray.verification.dataset_folder import (
    dataset_folders,
    open_builder,
    plain_files,
    read_dataset_info,
    read_metadata,
)
from nih_chest_xray.verification.shards import claims_too_much, shards
from nih_chest_xray.vocabulary import DATASET, copies_of, is_copy

_NEEDED = ("features.json", "metadata.json", "metadata.csv")


@dataclasses.dataclass(frozen=True, eq=False)
class Built:
    """A dataset on disk.

    Attributes:
      path: The dataset's folder, with `dataset_info.json`.
      place: The dataset's folder relative to the folder that was searched; '.' for that folder itself.
      builder: TFDS's builder, which reads the dataset without the code that wrote it.
      metadata: The content of `metadata.json`.
      made: The config in `metadata.json`. It may name augmentations that are not registered in this process.
      table: The columns of `metadata.csv` (image_name, label, subset), and `row`, the line number in a text editor.
      versions: The versions of this config that were found, newest first.
    """

    path: epath.Path
    place: str
    builder: tfds.core.DatasetBuilder
    metadata: Mapping[str, Any]
    made: NihChestXrayConfig
    table: pd.DataFrame
    versions: tuple[str, ...]

    @property
    def config(self) -> dict[str, Any]:
        """The config's name and its fields as in JSON. A field that a later version added has its default."""
        return {"name": self.made.name, **json.loads(json.dumps(self.made.choices))}

    @property
    def task(self) -> Task:
        """The config's task."""
        return self.made.definition

    @property
    def config_name(self) -> str:
        """The config's name."""
        return self.made.name

    @property
    def version(self) -> str:
        """The dataset's version."""
        return str(self.builder.version)

    @property
    def full_name(self) -> str:
        """The dataset's name in `tfds.load`, without the version."""
        return f"{DATASET}/{self.config_name}"

    @property
    def description(self) -> str:
        """The config's description."""
        own = f"Custom config: {self.task.title}, {self.made.split} split."
        return self.builder.builder_config.description or own

    @property
    def synthetic(self) -> bool:
        """Whether the package drew the images."""
        return bool(self.config["phantom_patients"])

    @property
    def file_format(self) -> str:
        """The format of the records: 'tfrecord', 'array_record' or 'parquet'."""
        return self.builder.info.file_format.value

    @property
    def subsets(self) -> list[str]:
        """The subsets that have examples."""
        return [subset for subset in self.made.subsets if subset in self.builder.info.splits]

    @property
    def absent(self) -> list[str]:
        """The subsets that have no examples, for example because images were missing. TFDS does not store them."""
        return [subset for subset in self.made.subsets if subset not in self.builder.info.splits]

    @property
    def training_split(self) -> str:
        """What to train on, as `tfds.load` takes it. With folds all but the first, which then validates."""
        if self.made.split != "folds":
            return self.subsets[0]
        folds = list(self.made.copy_subsets)[1:]
        training = [subset for fold in folds for subset in (fold, copies_of(fold)) if subset in self.subsets]
        return "+".join(training) or self.subsets[0]

    @property
    def classes(self) -> list[str]:
        """The classes that `metadata.json` counts: those of the task, and No Finding in multi-label datasets."""
        return list(self.task.counted)

    @property
    def total(self) -> int:
        """Number of examples in all subsets."""
        return sum(self.metadata["examples"].values())

    @functools.cached_property
    def copies(self) -> dict[str, int]:
        """Number of augmented copies in each subset."""
        copied = self.table["image_name"].map(is_copy).astype(bool)
        return {subset: int((copied & (self.table["subset"] == subset)).sum()) for subset in self.made.subsets}

    @property
    def in_place(self) -> dict[str, int]:
        """Number of images in each subset that are augmented in place."""
        return {subset: number - self.copies[subset] for subset, number in self.metadata["augmented"].items()}

    @functools.cached_property
    def empty_classes(self) -> str:
        """A sentence that names the classes without an example in a subset; empty if there are none."""
        return empty_classes(self.table, self.made)

    @property
    def patients(self) -> int:
        """Number of patients, those in several subsets counted in each. Copies add none."""
        return sum(self.metadata["patients"][subset] for subset in self.made.image_subsets)

    @property
    def built_on(self) -> datetime.date:
        """The day on which the build ended, in UTC."""
        modified = (self.path / "dataset_info.json").stat().mtime
        return datetime.datetime.fromtimestamp(int(modified), datetime.UTC).date()

    def labels(self, label: str) -> tuple[str, ...]:
        """The classes that a label of `metadata.csv` names."""
        return tuple(label.split("|")) if self.task.multi_label else (label,)


def find_datasets(folder: epath.PathLike) -> list[Built]:
    """Finds the newest version of each config of this package in a folder, sorted by name.

    Args:
      folder: A data_dir of TFDS, a dataset's folder, or a folder between them.

    Raises:
      CatalogError: The folder holds no dataset, or one that cannot be read.
    """
    root = epath.Path(folder).expanduser()
    if not root.is_dir():
        raise CatalogError(f"{folder} is not a directory; name the data_dir in which datasets were built")
    found: dict[str, dict[tfds.core.Version, epath.Path]] = {}
    for path in dataset_folders(root):
        try:
            about = read_dataset_info(path)
        except DatasetError as error:
            raise damaged(path, error) from error
        if about.get("name") == DATASET:
            found.setdefault(about["configName"], {})[tfds.core.Version(about["version"])] = path
    if not found:
        raise CatalogError(
            f"{folder} holds no built {DATASET} dataset (no folder with a dataset_info.json, down to"
            f" {DATASET}/CONFIG/VERSION); build one with `tfds build {DATASET}`, or name another data_dir"
        )
    return [_read(root, found[name]) for name in sorted(found)]


def damaged(folder: epath.Path, problem: object) -> CatalogError:
    """Returns the error for a dataset that cannot be read."""
    quoted = shlex.quote(os.fspath(folder))
    return CatalogError(f"{folder} cannot be read: {problem}; `nih-chest-xray verify {quoted}` says what is wrong")


def damaged_records(built: Built, error: Exception) -> CatalogError:
    """Returns the error for records that cannot be read."""
    # TensorFlow puts the names of its operations around its messages.
    problem = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*", "", first_line(error))
    return damaged(built.path, f"its records ({problem})")


def refuse_overlong_records(built: Built) -> None:
    """Raises an error for TFRecords that claim a length which TensorFlow would try to hold in memory.

    Raises:
      CatalogError: There is such a record.
    """
    for _, path in shards(built.builder.info) if built.file_format == "tfrecord" else ():
        if path.exists() and claims_too_much(path):
            raise damaged(built.path, f"a record of {path.name} claims to be far too long")


def _require_all(folder: epath.Path, missing: list[str]) -> None:
    if missing:
        raise CatalogError(
            f"{folder} has no {' and no '.join(missing)}; if it is a copy, copy it again, else delete it and"
            " build it anew"
        )


def _read(root: epath.Path, versions: dict[tfds.core.Version, epath.Path]) -> Built:
    newest, *_ = ordered = sorted(versions, reverse=True)
    path = versions[newest]
    if not str(Path(path).absolute()).isprintable():  # The name goes into lists of files and into code.
        raise CatalogError(f"{shown(str(path))} has unprintable characters in its name; rename the folder")
    try:
        names = {file.name for file in plain_files(path)}
        _require_all(path, [name for name in _NEEDED if name not in names])
        builder = open_builder(path)
    except DatasetError as error:
        raise damaged(path, error) from error
    _require_all(path, [name for name in label_files(builder.info.features) if name not in names])
    small = read_metadata(path, builder.info.config_name, registered=False)
    problems = [*small.problems, *(differences(builder.info.features, small.config) if small.config else ())]
    if problems or small.config is None or small.listed is None:
        raise damaged(path, DatasetError(problems))
    return Built(
        path=path,
        place=str(path.relative_to(root)),
        builder=builder,
        metadata=small.metadata,
        made=small.config,
        table=small.listed,
        versions=tuple(map(str, ordered)),
    )

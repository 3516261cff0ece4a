"""Built datasets: finds the datasets in a folder, and reads the files next to their records."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import io
import json
import os
import re
import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.building.features import differences, label_files
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import CatalogError, DatasetError, UsageError, first_line, line, shown
from nih_chest_xray.planning.cohort import empty_classes
from nih_chest_xray.tasks import Task
from nih_chest_xray.verification.dataset_folder import (
    COLUMNS,
    dataset_folders,
    open_builder,
    plain_files,
    read_dataset_info,
    read_metadata,
    read_small,
)
from nih_chest_xray.verification.shards import claims_too_much, shards
from nih_chest_xray.vocabulary import DATASET, copies_of, is_copy

EXAMPLES_CSV = "examples.csv"
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
        """The first format of the records, which `tfds.load` reads: 'tfrecord', 'array_record' or 'parquet'."""
        return self.builder.info.file_format.value

    @property
    def file_formats(self) -> list[str]:
        """All formats of the records that TFDS can read, the first one first."""
        return [self.file_format, *(other.value for other in self.builder.info.alternative_file_formats)]

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

    @property
    def records_size(self) -> int:
        """Bytes of the shards of all formats."""
        info = self.builder.info
        formats = map(tfds.core.FileFormat, self.file_formats)
        return sum(path.stat().length for each in formats for _, path in shards(info, each) if path.exists())

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


def open_dataset(dataset: Any) -> Built:
    """Opens a built dataset.

    Args:
      dataset: A builder of TFDS, the folder of a dataset or of a data_dir with one config, or a dataset that is open.

    Raises:
      CatalogError, UsageError: The folder holds no such dataset, or several.
    """
    if isinstance(dataset, Built):
        return dataset
    folder = dataset.data_dir if isinstance(dataset, tfds.core.DatasetBuilder) else os.fspath(dataset)
    found = find_datasets(folder)
    if len(found) > 1:
        raise UsageError(
            f"{folder} has the datasets {', '.join(built.config_name for built in found)}; name one's folder"
        )
    return found[0]


def read_examples_csv(built: Built) -> pd.DataFrame:
    """Returns the rows of a dataset's examples.csv, all columns as text.

    Raises:
      FileNotFoundError: The dataset has no such file, as those of before 2.0.0.
      DatasetError: The file cannot be read, or does not list the examples of metadata.csv.
    """
    try:
        content = io.BytesIO(read_small(built.path / EXAMPLES_CSV))
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Without `index_col`, rows that are all longer than the header would be shifted against it.
            rows = pd.read_csv(content, dtype=str, keep_default_na=False, index_col=False)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pd.errors.ParserWarning) as error:  # Or not UTF-8.
        raise DatasetError([f"{EXAMPLES_CSV} cannot be read ({line(str(error), 300)})"]) from error
    if lacking := [name for name in COLUMNS if name not in rows]:
        raise DatasetError([f"{EXAMPLES_CSV} has no column {lacking[0]}"])
    listed = list(COLUMNS)
    if rows[listed].to_numpy().tolist() != built.table[listed].to_numpy().tolist():
        raise DatasetError([f"{EXAMPLES_CSV} does not list the examples of metadata.csv"])
    return rows


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

"""Dataset folder: reads the small files of a built dataset, which may come from anybody, before TFDS does.

Only plain files directly in the folder are opened. `metadata_schema` checks their content, so that nothing in it leads
to a path elsewhere, imports a class, or is too large to read. `verify` and `catalog` both use this module.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import os
import re
import stat
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import DatasetError, SchemaError, line, shown
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.verification import metadata_schema as schema
from nih_chest_xray.verification.json_kinds import parse_json, text
from nih_chest_xray.vocabulary import DATASET

INFO = "dataset_info.json"
# Where dataset_info.json is below a data_dir, its nih_chest_xray/, a config's folder, and the dataset's own folder.
_DEPTHS = ("*/*/*", "*/*", "*", "")
COLUMNS = ("image_name", "label", "subset")
_FILE_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+,=-]{0,254}")
_LIMITS = {
    "dataset_info.json": 4 << 20,
    "features.json": 1 << 20,
    "metadata.json": 8 << 20,
    "metadata.csv": 64 << 20,
    "examples.csv": 256 << 20,
}
"""Largest size of each file in bytes. Those of the whole release have 5,000, 7,000, 3,000, 5,000,000 and 20,000,000."""
_MAJOR = "2"
"""The major version of datasets that this package reads as its own."""
_LABELS = ".labels.txt"
_LABELS_LIMIT = 64 << 10
_CELL = text(300)
_FOLDER = "a folder"
_KINDS = {
    stat.S_ISDIR: _FOLDER,
    stat.S_ISLNK: "a link",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def dataset_folders(root: epath.Path) -> list[epath.Path]:
    """Returns the folders of finished datasets, of any name, in a folder.

    Args:
      root: A data_dir of TFDS, a dataset's folder, or a folder between them.
    """
    found = {info.parent: None for depth in _DEPTHS for info in sorted(root.glob(f"{depth}/{INFO}".lstrip("/")))}
    return [folder for folder in found if "incomplete" not in folder.name]


def plain_files(folder: epath.Path) -> list[epath.Path]:
    """Returns the files of a dataset's folder, sorted by name; folders in it are ignored.

    Raises:
      DatasetError: The folder holds a link, a pipe, a socket or a device, or a name that no file of a dataset has.
    """
    paths = sorted(folder.iterdir(), key=lambda path: path.name)
    files, problems = [], []
    for path in paths:
        kind = _kind(path)
        if kind == _FOLDER:
            continue
        if kind is not None:
            problems.append(f"{line(path.name)}: is {kind}; expected a plain file in the dataset's own folder")
        elif not _FILE_NAME.fullmatch(path.name):
            problems.append(
                f"{shown(path.name)}: is not a name for a dataset's file; expected letters, digits and _.@+,=-; move it"
                " elsewhere"
            )
        else:
            files.append(path)
    if problems:
        raise DatasetError(problems)
    return files


def _kind(path: epath.Path) -> str | None:
    """Returns what a path is, in words; None for a plain file. A link counts as a link, whatever its target."""
    if is_remote(path):  # A bucket has only files and folders.
        return _FOLDER if path.is_dir() else None
    mode = os.lstat(path).st_mode
    return next((name for is_kind, name in _KINDS.items() if is_kind(mode)), None)


def read_small(path: epath.Path, limit: int | None = None) -> bytes:
    """Returns the bytes of a small file.

    Args:
      path: The file's path.
      limit: The largest size in bytes; None for the limit of a dataset's file of this name.

    Raises:
      FileNotFoundError: The file does not exist.
      SchemaError: It is not a plain file, or is larger than the limit.
    """
    if kind := _kind(path):
        raise SchemaError(f"is {kind}; expected a plain file in the dataset's own folder")
    limit = limit or _LIMITS.get(path.name, _LABELS_LIMIT)
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise SchemaError(f"has more than {limit:,} bytes; expected a small file")
    return content


def _check_label_names(path: epath.Path) -> None:
    schema.check_label_names(read_small(path))


def read_dataset_info(folder: epath.Path) -> dict[str, Any]:
    """Returns the content of dataset_info.json. If the dataset is one of this package, the content is checked first.

    Raises:
      DatasetError: The file cannot be read, or is not what TFDS writes for the package.
    """
    problems: list[str] = []

    def read() -> dict[str, Any]:
        about = parse_json(read_small(folder / "dataset_info.json"))
        if about.get("name") == DATASET:
            schema.check_dataset_info(about)
        return about

    about = _attempt(read, "dataset_info.json", problems)
    if about is None:
        raise DatasetError(problems)
    return about


def open_builder(folder: epath.Path) -> tfds.core.DatasetBuilder:
    """Opens a dataset of this package with TFDS, after checking every file that TFDS reads.

    Raises:
      DatasetError: A file is missing or is not what it should be.
    """
    files = plain_files(folder)
    problems: list[str] = []
    about = None
    try:
        about = read_dataset_info(folder)
    except DatasetError as error:
        problems += error.problems
    _attempt(
        lambda: schema.check_features(parse_json(read_small(folder / "features.json"))),
        "features.json",
        problems,
    )
    for path in files:
        if path.name.endswith(_LABELS):
            _attempt(functools.partial(_check_label_names, path), path.name, problems)
    if about is not None and (version := about["version"]).partition(".")[0] != _MAJOR:
        problems.append(
            f"dataset_info.json: version {version}; this package reads version {_MAJOR}. tfds.load loads it;"
            f" to check it, install nih-chest-xray {version.partition('.')[0]}, or build it anew"
        )
    if problems:
        raise DatasetError(problems)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tfds.builder_from_directory(folder)
    except Exception as error:  # The schema passes some files that TFDS rejects, such as too few class names.
        raise DatasetError([f"TFDS cannot open it: {line(str(error)) or type(error).__name__}"]) from error


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The content of metadata.json and metadata.csv.

    Attributes:
      metadata: The content of metadata.json; empty if it cannot be read.
      config: The config that metadata.json names; None if it is invalid.
      listed: The rows of metadata.csv, with a column `row`, the line number in a text editor; None if it cannot be
        read.
      problems: What is wrong with the files, one line each.
    """

    metadata: Mapping[str, Any]
    config: NihChestXrayConfig | None
    listed: pd.DataFrame | None
    problems: tuple[str, ...]


def read_metadata(folder: epath.Path, config_name: str, registered: bool = True) -> Metadata:
    """Reads metadata.json and metadata.csv.

    Args:
      folder: The dataset's folder.
      config_name: The config's name in dataset_info.json.
      registered: Whether the config's augmentations must be registered in this process.
    """
    problems: list[str] = []

    def read_json() -> dict[str, Any]:
        metadata = parse_json(read_small(folder / "metadata.json"))
        schema.check_metadata(metadata)
        if (name := metadata["config"]["name"]) != config_name:
            raise SchemaError(f"config.name is {shown(name)}; dataset_info.json has {config_name!r}")
        return metadata

    metadata = _attempt(read_json, "metadata.json", problems)
    config = None
    if metadata is not None:
        config = _attempt(lambda: schema.config_in(metadata, registered), "metadata.json", problems)
    listed = _attempt(lambda: _read_listed(folder / "metadata.csv"), "metadata.csv", problems)
    return Metadata(metadata if config else {}, config, listed, tuple(problems))


def _read_listed(path: epath.Path) -> pd.DataFrame:
    try:
        reader = csv.reader(read_small(path).decode().splitlines(), strict=True)
        header = next(reader, [])
        if header != list(COLUMNS):
            raise SchemaError(f"the header is {shown(','.join(header))}; expected {','.join(COLUMNS)}")
        rows = []
        for number, row in enumerate(reader, start=2):
            if len(row) != len(COLUMNS):
                raise SchemaError(f"row {number} has {len(row)} cells; expected {len(COLUMNS)}")
            for column, cell in zip(COLUMNS, row, strict=True):
                _CELL(cell, f"row {number}, {column},")
            rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SchemaError(f"is not CSV in UTF-8 ({line(str(error))})") from error
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).assign(row=range(2, len(rows) + 2))


def _attempt(read: Callable[[], Any], name: str, problems: list[str]) -> Any:
    """Returns what `read` returns. If it fails, adds what is wrong to the problems and returns None."""
    try:
        return read()
    except FileNotFoundError:
        problems.append(f"{name}: does not exist")
    except SchemaError as error:
        problems.append(f"{name}: {line(str(error))}")
    except Exception as error:  # From the system, or from whatever library reads a bucket.
        problems.append(f"{name}: cannot be read ({line(str(error)) or type(error).__name__})")
    return None

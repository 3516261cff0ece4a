"""Verify: checks a built dataset, on its own and against the release that it was built from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etils import epath

from nih_chest_xray.errors import DatasetError, ReleaseError, UsageError, line, one_line, shown
from nih_chest_xray.release.release import Release
from nih_chest_xray.verification import checks, source_checks
from nih_chest_xray.verification.augmentation_check import check_augmentation
from nih_chest_xray.verification.dataset_folder import INFO, dataset_folders, read_dataset_info
from nih_chest_xray.verification.records import Records, read_records
from nih_chest_xray.verification.report import FAILED, SKIPPED, Check
from nih_chest_xray.vocabulary import DATASET

_BY_ITSELF = ("files", "records", "counts", "names", "examples.csv", "patients", "augmentation", "splits")
_WITH_RELEASE = ("tables", "labels", "pixels")
_NAMES = (*_BY_ITSELF, *_WITH_RELEASE)
_ADVICE = "Name the data_dir in which datasets were built, or the folder of one, such as …/nih_chest_xray/nodule/2.0.0."


def verify(folder: epath.PathLike, manual_dir: epath.PathLike | None = None, images: int | None = None) -> list[Check]:
    """Checks a dataset.

    Args:
      folder: The folder of one version of one config, with its dataset_info.json.
      manual_dir: The folder that the dataset was built from. Without it, only synthetic datasets are compared with
        their source.
      images: Number of images to compare with the release's, spread over the dataset; None for all.

    Returns:
      The outcomes, always of the same checks in the same order. A damaged dataset gives failed checks, not an error.

    Raises:
      UsageError: The folder is not a dataset of this package, or `manual_dir` holds no release.
    """
    folder = epath.Path(folder).expanduser()
    if not (folder / INFO).exists():
        raise UsageError(f"{folder} is not a dataset: it has no {INFO}. {_ADVICE}")
    try:
        if (name := read_dataset_info(folder).get("name")) != DATASET:
            raise UsageError(f"{folder} holds the dataset {shown(name)}, which this package did not build.")
        dataset = checks.open_dataset(folder)
    except DatasetError as error:
        first = Check("files", FAILED, "the dataset cannot be opened", error.problems)
        return [first, *(Check(name, SKIPPED, "the dataset cannot be opened, see files") for name in _NAMES[1:])]
    try:
        found = source_checks.open_release(dataset, epath.Path(manual_dir).expanduser() if manual_dir else None)
    except ReleaseError as error:
        raise UsageError(str(error)) from error
    files = _guarded("files", checks.check_files, dataset)
    try:
        records = read_records(dataset.info)
    except (
        Exception
    ) as error:  # Not a broken record, which raises nothing, but a features.json that the package cannot use.
        broken = Check("records", FAILED, "records cannot be read", (line(one_line(error)),))
        return [files, broken, *(Check(name, SKIPPED, "records cannot be read") for name in _NAMES[2:])]
    done = [
        files,
        _guarded("records", checks.check_records, records),
        _guarded("counts", checks.check_counts, dataset, records),
        _guarded("names", checks.check_names, dataset, records),
        _guarded("examples.csv", checks.check_examples_csv, dataset, records),
        _guarded("patients", checks.check_patients, dataset, records),
        _guarded("augmentation", check_augmentation, dataset, records),
        _guarded("splits", checks.check_splits, dataset, records),
    ]
    return done + _check_source(dataset, records, found, images)


def _check_source(dataset: checks.Dataset, records: Records, found: Release | None, images: int | None) -> list[Check]:
    def skip(names: tuple[str, ...], why: str) -> list[Check]:
        return [Check(name, SKIPPED, why) for name in names]

    if dataset.config is None:
        return skip(_WITH_RELEASE, checks.NO_CONFIG)
    if found is None:
        return skip(_WITH_RELEASE, "no release was given (--release DIR)")
    tables = _guarded("tables", source_checks.check_tables, dataset, found)
    if tables.status == FAILED:
        return [tables, *skip(_WITH_RELEASE[1:], "the tables differ, see tables")]
    try:
        planned = source_checks.plan_again(dataset, records, found)
    except Exception as error:  # A table cannot be read, or the records are so wrong that no plan can be made of them.
        failed = Check("labels", FAILED, "the build cannot be planned again", (line(one_line(error)),))
        return [tables, failed, *skip(_WITH_RELEASE[2:], "the build cannot be planned again, see labels")]
    return [
        tables,
        _guarded("labels", source_checks.check_labels, dataset, records, planned),
        _guarded("pixels", source_checks.check_pixels, dataset, records, planned, found, images),
    ]


def _guarded(name: str, check: Callable[..., Check], *arguments: Any) -> Check:
    """Runs a check. A damaged dataset may hold anything, so an unforeseen error is reported as a failed check."""
    try:
        return check(*arguments)
    except Exception as error:
        return Check(name, FAILED, "the check could not be finished", (line(one_line(error)),))


def find_folders(data_dir: epath.PathLike) -> list[epath.Path]:
    """Returns the folder of each config's newest version in a data_dir, or the folder itself if it is a dataset.

    Raises:
      UsageError: The folder does not exist or holds no dataset.
    """
    root = epath.Path(data_dir).expanduser()
    if not root.is_dir():
        raise UsageError(f"{root} {'is not a directory' if root.exists() else 'does not exist'}. {_ADVICE}")
    if (root / INFO).exists():
        return [root]
    newest: dict[epath.Path, epath.Path] = {}
    for folder in dataset_folders(root):
        try:
            ours = read_dataset_info(folder).get("name") == DATASET
        except DatasetError:  # check_files reports it.
            ours = DATASET in folder.parts
        if ours:
            newest[folder.parent] = max(newest.get(folder.parent, folder), folder, key=_version)
    if not newest:
        raise UsageError(f"{root} holds no built dataset of {DATASET}. {_ADVICE}")
    return [newest[config] for config in sorted(newest)]


def _version(folder: epath.Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split(".") if part.isdecimal())

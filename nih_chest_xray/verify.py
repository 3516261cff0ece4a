"""Verify: checks a built dataset, by itself and against the release that it was made from, and reports.

    nih-chest-xray verify DATASET_DIR --release DIR

DATASET_DIR is the folder of one version of one config, such as `~/tensorflow_datasets/nih_chest_xray/nodule/1.0.0`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from etils import epath

from nih_chest_xray import checks, source_checks
from nih_chest_xray.checks import FAILED, OK, SKIPPED, Check
from nih_chest_xray.dataset_folder import DatasetError, read_dataset_info
from nih_chest_xray.files import ReleaseError
from nih_chest_xray.metadata_schema import DATASET, line, shown
from nih_chest_xray.records import Records, one_line, read_records
from nih_chest_xray.release import Release

_NAMES = ("files", "records", "counts", "names", "patients", "augmentation", "splits", "tables", "labels", "pixels")
_SHOWN = 5
"""Offenders that a report shows of each check."""


class UsageError(ValueError):
    """Something that cannot be checked, such as a folder that holds no dataset. The message says what to do."""


def verify(folder: epath.PathLike, manual_dir: epath.PathLike | None = None, images: int | None = None) -> list[Check]:
    """Checks a dataset.

    Args:
      folder: Of one version of one config, with its dataset_info.json.
      manual_dir: The folder that the dataset was built from. Without it only the dataset of a config that draws a
        phantom is compared with its source.
      images: How many images are compared with the release's, spread over the dataset; None for all.

    Returns:
      The outcomes, always of the same checks in the same order. No error that a damaged dataset sets off is raised.

    Raises:
      UsageError: The folder is no dataset of this package, or there is no release in the other.
    """
    folder = epath.Path(folder).expanduser()
    _require_dataset(folder)
    try:
        if (name := read_dataset_info(folder).get("name")) != DATASET:
            raise UsageError(f"{folder} holds the dataset {shown(name)}, which is not of this package.")
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
    except Exception as error:  # A broken record is no error: this is a features.json that fits no dataset of ours.
        broken = Check("records", FAILED, "records cannot be read", (line(one_line(error)),))
        return [files, broken, *(Check(name, SKIPPED, "records cannot be read") for name in _NAMES[2:])]
    done = [
        files,
        _guarded("records", checks.check_records, records),
        _guarded("counts", checks.check_counts, dataset, records),
        _guarded("names", checks.check_names, dataset, records),
        _guarded("patients", checks.check_patients, dataset, records),
        _guarded("augmentation", checks.check_augmentation, dataset, records),
        _guarded("splits", checks.check_splits, dataset, records),
    ]
    return done + _check_source(dataset, records, found, images)


def _check_source(dataset: checks.Dataset, records: Records, found: Release | None, images: int | None) -> list[Check]:
    def skip(names: tuple[str, ...], why: str) -> list[Check]:
        return [Check(name, SKIPPED, why) for name in names]

    if dataset.config is None:
        return skip(_NAMES[7:], checks.NO_CONFIG)
    if found is None:
        return skip(_NAMES[7:], "no release was given (--release DIR)")
    tables = _guarded("tables", source_checks.check_tables, dataset, found)
    if tables.status == FAILED:
        return [tables, *skip(_NAMES[8:], "the tables are others, see tables")]
    try:
        planned = source_checks.plan_again(dataset, records, found)
    except Exception as error:  # Of a table that cannot be read; or records so wrong that no plan can be made of them.
        failed = Check("labels", FAILED, "the build cannot be planned again", (line(one_line(error)),))
        return [tables, failed, *skip(_NAMES[9:], "the build cannot be planned again, see labels")]
    return [
        tables,
        _guarded("labels", source_checks.check_labels, dataset, records, planned),
        _guarded("pixels", source_checks.check_pixels, dataset, records, planned, found, images),
    ]


def _guarded(name: str, check: Callable[..., Check], *arguments: Any) -> Check:
    """A damaged dataset may hold anything; an error that no check foresaw is a failure to report, not to end with."""
    try:
        return check(*arguments)
    except Exception as error:
        return Check(name, FAILED, "the check could not be finished", (line(one_line(error)),))


def _require_dataset(folder: epath.Path) -> None:
    if (folder / "dataset_info.json").exists():
        return
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is {'no folder' if folder.exists() else 'not there'}. Give the folder of a version."
        )
    depths = ("*", "*/*", "*/*/*")
    below = sorted(path.parent for depth in depths for path in folder.glob(f"{depth}/dataset_info.json"))
    more = ", …" if len(below) > _SHOWN else ""
    advice = f" Below it are {', '.join(map(str, below[:_SHOWN]))}{more}." if below else ""
    raise UsageError(
        f"{folder} is no dataset: it has no dataset_info.json. Give the folder of a version, such as"
        f" nih_chest_xray/nodule/1.0.0.{advice}"
    )


def report(done: list[Check]) -> str:
    """Returns the outcomes as text: a line a check, and below a failed one the first of its offenders."""
    lines = []
    for check in done:
        lines.append(f"{check.status:<8} {check.name:<13} {line(check.seen)}")
        lines += [f"{'':<9}{offender}" for offender in check.offenders[:_SHOWN]]
        if len(check.offenders) > _SHOWN:
            lines.append(f"{'':<9}… {len(check.offenders):,} in all")
    counts = {status: sum(check.status == status for check in done) for status in (OK, FAILED, SKIPPED)}
    return "\n".join([*lines, ", ".join(f"{number} {status}" for status, number in counts.items())])


def as_json(done: list[Check]) -> str:
    """Returns the outcomes as one JSON document, with all offenders."""
    return json.dumps({"ok": not failed(done), "checks": [dataclasses.asdict(check) for check in done]}, indent=2)


def failed(done: list[Check]) -> bool:
    """Returns whether a check failed."""
    return any(check.status == FAILED for check in done)

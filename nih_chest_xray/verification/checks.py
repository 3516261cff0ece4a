"""Checks: the checks of a built dataset that need no release. Each takes what was read and returns one `Check`."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.building.examples_csv import examples_csv
from nih_chest_xray.building.features import differences, label_files
from nih_chest_xray.config import RANGES, NihChestXrayConfig
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.planning.cohort import empty_classes, shared_patients
from nih_chest_xray.planning.summary import cap_of, cut_subsets, split_digests, summarise
from nih_chest_xray.verification.dataset_folder import open_builder, read_metadata, read_small
from nih_chest_xray.verification.records import Records
from nih_chest_xray.verification.report import SKIPPED, Check, conclude
from nih_chest_xray.verification.shards import formats, shards
from nih_chest_xray.vocabulary import OFFICIAL_LISTS, images_of, patient_of, source_of

NO_CONFIG = "metadata.json gives no config, see files"

_SHARD = re.compile(r".*-\d{5}-of-\d{5}(\..*)?")
_TFRECORD_FRAME = 16
"""Bytes that a TFRecord file adds to each record."""
_PICTURE_FIELDS = frozenset(
    {"image_size", "image_format", "jpeg_quality", "max_boxes", "rotation_fill", *RANGES}
    | {"allow_missing_images", "allow_resized_images", "based_on"}
)
"""Fields of a config that do not change the name or the subset of an image."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What a dataset's folder holds next to its records.

    Attributes:
      folder: The folder of one version of one config.
      info: The content of dataset_info.json and features.json.
      metadata: The content of metadata.json; empty if it cannot be read.
      config: The config that metadata.json names; None if it is invalid.
      listed: The rows of metadata.csv, with a column `row`, the line number in a text editor; None if it cannot be
        read.
      problems: What is wrong with these files, one line each.
    """

    folder: epath.Path
    info: tfds.core.DatasetInfo
    metadata: Mapping[str, Any]
    config: NihChestXrayConfig | None
    listed: pd.DataFrame | None
    problems: tuple[str, ...]

    def require_config(self) -> NihChestXrayConfig:
        """Returns the config.

        Raises:
          ValueError: metadata.json names no valid config.
        """
        if self.config is None:
            raise ValueError(NO_CONFIG)
        return self.config


def open_dataset(folder: epath.Path) -> Dataset:
    """Reads a dataset's small files.

    Raises:
      DatasetError: It cannot be opened.
    """
    info = open_builder(folder).info
    small = read_metadata(folder, info.config_name)
    return Dataset(folder, info, small.metadata, small.config, small.listed, small.problems)


def check_files(dataset: Dataset) -> Check:
    """Checks that shards have the number and size in dataset_info.json, and that the other files can be read."""
    info, folder = dataset.info, dataset.folder
    existing = {path.name for path in folder.iterdir() if _SHARD.fullmatch(path.name)}
    missing, expected, seen = [], set(), []
    for file_format in formats(info):
        named = file_format in info.available_file_formats()
        paths = [path for _, path in shards(info, file_format)]
        absent = (
            "is in dataset_info.json, but does not exist" if named else "does not exist, but others of its format do"
        )
        missing += [f"{path.name}: {absent}" for path in paths if path.name not in existing]
        expected |= {path.name for path in paths}
        found = [path.stat().length for path in paths if path.name in existing]
        note = "" if named else " (not named by dataset_info.json, so that TFDS does not read them)"
        seen.append(f"{len(found)} {file_format.value} shards of {sum(found):,} bytes{note}")
    problems = sorted(missing)
    problems += [f"{name}: exists, but is not named by dataset_info.json" for name in sorted(existing - expected)]
    problems += [f"{name}: does not exist" for name in label_files(info.features) if not (folder / name).exists()]
    for split in info.splits.values():
        if all(path.name in existing for path in split.filepaths):
            problems += _size_problems(info, split, sum(epath.Path(path).stat().length for path in split.filepaths))
    problems += [*dataset.problems, *(differences(info.features, dataset.config) if dataset.config else ())]
    rows = "" if dataset.listed is None else f"; metadata.csv with {len(dataset.listed):,} rows"
    read = "; metadata.json" if dataset.metadata else ""
    return conclude("files", f"{', '.join(seen)}{rows}{read}", problems)


def _size_problems(info: tfds.core.DatasetInfo, split: tfds.core.SplitInfo, size: int) -> list[str]:
    """Compares the size of a split. TFDS stores the bytes of the records in a build, of the files in a conversion."""
    recorded = int(split.num_bytes)
    expected = recorded + _TFRECORD_FRAME * split.num_examples
    # Other formats compress and pad, so the size of their files cannot be predicted.
    if info.file_format.value != "tfrecord" or not recorded or size in (recorded, expected):
        return []
    return [f"the shards of {split.name} have {size:,} bytes; dataset_info.json says {expected:,}"]


def check_records(records: Records) -> Check:
    """Checks that every record can be parsed and its image decoded, and that all formats hold the same examples."""
    first, *others = records.lengths
    broken = [text for name in records.lengths for text in records.problems[name]]
    seen = [f"{sum(records.lengths[first].values()):,} found, {len(records.problems[first]):,} broken"]
    for name in others:
        found, wrong = sum(records.lengths[name].values()), len(records.problems[name])
        seen.append(f"{found:,} in {name}, {wrong:,} differences from {first}")
    return conclude("records", "; ".join(seen), broken)


def check_counts(dataset: Dataset, records: Records) -> Check:
    """Checks that dataset_info.json, metadata.csv and metadata.json have the counts of the records."""
    problems, table = [], records.table
    counted = {subset: int((table["subset"] == subset).sum()) for subset in dataset.info.splits}
    declared = [length for split in dataset.info.splits.values() for length in split.shard_lengths]
    for name, lengths in records.lengths.items():
        for (_, path), length in zip(shards(dataset.info, tfds.core.FileFormat(name)), declared, strict=True):
            found = lengths.get(path.name, 0)
            if found != length:
                problems.append(f"{path.name}: {found:,} records; {length:,} in dataset_info.json")
    for subset, split in dataset.info.splits.items():
        if counted[subset] != split.num_examples:
            problems.append(f"{subset}: {counted[subset]:,} sound records; {split.num_examples:,} in dataset_info.json")
    rows = None if dataset.listed is None else dataset.listed["subset"]
    for subset in sorted({*counted, *rows}) if rows is not None else ():
        listed = int((rows == subset).sum())
        if listed != counted.get(subset, 0):
            problems.append(f"{subset}: {counted.get(subset, 0):,} sound records; {listed:,} in metadata.csv")
    if dataset.config is not None:
        summary = json.loads(json.dumps(summarise(table, dataset.config)))
        declared_counts = dict(_flatten(dataset.metadata))
        for key, value in _flatten(summary):
            if (declared_count := declared_counts.get(key)) != value:
                problems.append(f"metadata.json: {key} is {declared_count}; the sound records give {value}")
    seen = ", ".join(f"{subset} {number:,}" for subset, number in counted.items())
    cap = cap_of(dataset.metadata)
    if cap is not None:
        seen += f"; {_capped(cap)}"
        for subset, number in counted.items():
            if number > cap:
                problems.append(
                    f"{subset}: {number:,} sound records; metadata.json's max_examples_per_split is {cap:,}"
                )
    if dataset.config is not None and (lacking := empty_classes(table, dataset.config)):
        seen += f"; {lacking.rstrip('.')}"
    return conclude("counts", seen, problems)


def _capped(cap: int) -> str:
    return f"a trial build of at most {cap:,} examples a subset (--max_examples_per_split)"


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(inner, f"{path}.{key}".lstrip("."))
    else:
        yield path, value


def check_names(dataset: Dataset, records: Records) -> Check:
    """Checks that names are unique, and that names, labels and subsets are those of metadata.csv."""
    table, listed = records.table, dataset.listed
    problems = [
        f"{name}: is in {len(group)} records ({', '.join(group)})"
        for name, group in table[table["image_name"].duplicated(keep=False)].groupby("image_name")["record"]
    ]
    if listed is None:
        seen = f"{len(table):,} names in the records; metadata.csv cannot be compared, see files"
        return conclude("names", seen, problems) if problems else Check("names", SKIPPED, seen)
    rows: dict[str, Any] = {}
    for row in listed.itertuples(index=False):
        if row.image_name in rows:
            problems.append(f"{row.image_name}: is in rows {rows[row.image_name].row} and {row.row} of metadata.csv")
        rows[row.image_name] = row
    for stored in table.itertuples(index=False):
        row = rows.get(stored.image_name)
        if row is None:
            problems.append(f"{stored.image_name}: is in {stored.record}, but not in metadata.csv")
            continue
        for column in ("label", "subset"):
            ours, theirs = getattr(stored, column), getattr(row, column)
            if ours != theirs:
                problems.append(
                    f"{stored.image_name}: {column} is {ours!r} in {stored.record}, {theirs!r} in row {row.row} of"
                    " metadata.csv"
                )
    present = set(table["image_name"])
    problems += [
        f"{name}: is in row {row.row} of metadata.csv, but in no sound record"
        for name, row in rows.items()
        if name not in present
    ]
    return conclude("names", f"{len(present):,} names in the records, {len(rows):,} in metadata.csv", problems)


def check_examples_csv(dataset: Dataset, records: Records) -> Check:
    """examples.csv says of each example what its record holds."""
    try:
        text = read_small(dataset.folder / "examples.csv").decode()
    except (OSError, ValueError) as error:
        return conclude("examples.csv", "cannot be read", [f"examples.csv: {error}"])
    table = records.table.drop_duplicates("image_name").sort_values("image_name")
    expected = examples_csv(row._asdict() for row in table.itertuples(index=False)).splitlines()
    listed = text.splitlines()
    problems = [] if listed[:1] == expected[:1] else [f"the header is {listed[:1]}; expected {expected[:1]}"]
    ours, theirs = ({row.partition(",")[0]: row for row in rows[1:]} for rows in (expected, listed))
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours:
            problems.append(f"{name}: is in examples.csv, but in no sound record")
        elif ours[name] != theirs.get(name):
            problems.append(f"{name}: is {theirs.get(name, 'missing')} in examples.csv; by its record {ours[name]}")
    return conclude("examples.csv", f"{len(listed) - 1:,} rows", problems)


def check_patients(dataset: Dataset, records: Records) -> Check:
    """Checks that a patient is in one subset, unless the config allows more, and that image names have their number.

    A fold and the subset of its copies count as one.

    The follow-up number is not checked: in the NIH's table, 24,106 differ from the number in the image's name.
    """
    problems, table = [], records.table
    for row in table.itertuples(index=False):
        if source_of(row.image_name) is None:
            problems.append(f"{row.image_name} in {row.record}: is not the name of an image")
        elif patient_of(row.image_name) != row.patient_id:
            problems.append(f"{row.image_name} in {row.record}: has patient_id {row.patient_id}")
    seen = f"{table['patient_id'].nunique():,} patients"
    if dataset.config is not None and dataset.config.allow_shared_patients:
        several = shared_patients(table)
        return conclude("patients", f"{seen}, {several:,} of them in several subsets, as the config allows", problems)
    first = table.assign(images_of=table["subset"].map(images_of)).drop_duplicates(["patient_id", "images_of"])
    for patient, group in first[first["patient_id"].duplicated(keep=False)].groupby("patient_id"):
        places = [f"{row.subset} ({row.image_name} in {row.record})" for row in group.itertuples(index=False)]
        problems.append(f"patient {patient}: is in {' and '.join(places)}")
    return conclude("patients", seen, problems)


def check_splits(dataset: Dataset, records: Records) -> Check:
    """Checks that splits made from the official files are those that this version of the package pins."""
    if dataset.config is None:
        return Check("splits", SKIPPED, NO_CONFIG)
    named = next((c.name for c in NAMED_CONFIGS if _splits_alike(c, dataset.config)), None)
    if named is None:
        return Check("splits", SKIPPED, "a custom config")
    if (pinned := pinned_splits().get(named)) is None:
        return Check("splits", SKIPPED, f"splits.tsv does not pin {named}")
    tables = dataset.metadata["tables"]
    deciding = tables.keys() & {dataset.metadata["label_file"], *OFFICIAL_LISTS.values()}
    unofficial = sorted(name for name in deciding if not tables[name]["official"])
    if unofficial and not dataset.config.phantom_patients:
        return Check("splits", SKIPPED, f"built from {unofficial[0]}, which is not the NIH's own")
    if missing := dataset.metadata["missing_images"]:
        return Check("splits", SKIPPED, f"{missing:,} images were missing when it was built")
    if (cap := cap_of(dataset.metadata)) is not None and cut_subsets(dataset.metadata):
        return Check("splits", SKIPPED, _capped(cap))
    problems = []
    for subset, found in split_digests(records.table).items():
        if found != pinned[subset]:
            ours, theirs = (f"{number:,} names of SHA-256 {digest}" for number, digest in (found, pinned[subset]))
            problems.append(f"{subset}: {ours}; pinned {theirs}")
    return conclude("splits", f"compared with the pinned names of {named}", problems)


def _splits_alike(named: NihChestXrayConfig, config: NihChestXrayConfig) -> bool:
    return all(config.choices[field] == value for field, value in named.choices.items() if field not in _PICTURE_FIELDS)


def pinned_splits() -> dict[str, dict[str, tuple[int, str]]]:
    """Returns the content of splits.tsv: {config: {subset: (examples, SHA-256 of the sorted image names)}}."""
    pinned: dict[str, dict[str, tuple[int, str]]] = {}
    for row in (epath.resource_path("nih_chest_xray") / "splits.tsv").read_text().splitlines()[1:]:
        config, subset, number, digest = row.split("\t")
        pinned.setdefault(config, {})[subset] = (int(number), digest)
    return pinned

"""Statistics: counts the examples in one pass over the records that decodes no image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from nih_chest_xray.catalog.datasets import Built, damaged, damaged_records, refuse_overlong_records
from nih_chest_xray.errors import shown
from nih_chest_xray.planning.summary import summarise
from nih_chest_xray.vocabulary import (
    FINDINGS,
    OLDEST_AGE,
    SEXES,
    UNKNOWN_AGE,
    findings_of,
    is_copy,
    label_string,
    source_of,
)

AGE_BAND = 10
"""Width of an age band in years."""
_KEYS = ("image_name", "label", "findings", "augmentation", "patient_id", "patient_age", "patient_sex", "view_position")
_EXPERT_KEY = "text_mined_label"
# Reads one file after another, so that an example's number is its position in the subset, and keeps nothing in memory.
# `read_examples` checks the number of examples, with a clearer error than TensorFlow's.
READ_CONFIG = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False, assert_cardinality=False)


def read_examples(built: Built, read: Callable[[], object]) -> pd.DataFrame:
    """Reads all examples without their images.

    Args:
      built: The dataset.
      read: A function to call for each example.

    Returns:
      A table with a row for each example, in the order of the records, subset after subset. Its columns are
      `image_name`, `subset`, `number` (the position in the subset), `label` (as in `metadata.csv`), `findings` (a
      tuple), `augmentation`, `patient_id`, `patient_age` (years), `patient_sex`, `view_position` and `boxes` (their
      number).

    Raises:
      CatalogError: Records cannot be read, or are not those that `metadata.csv` lists.
    """
    refuse_overlong_records(built)
    try:
        examples = _read_records(built, read)
    except Exception as error:  # A damaged file can cause any error in TensorFlow, Arrow or array_record.
        raise damaged_records(built, error) from error
    for row in examples.itertuples(index=False):
        if source_of(row.image_name) is None:
            raise damaged(built.path, f"a record has the image name {shown(row.image_name)}, which is not valid")
        if not UNKNOWN_AGE <= row.patient_age <= OLDEST_AGE:  # An age of millions would make millions of bands.
            raise damaged(built.path, f"the record of {row.image_name} has a patient age of {row.patient_age} years")
    columns = ["image_name", "label", "subset"]
    if not _sorted(examples[columns]).equals(_sorted(built.table[columns])):
        raise damaged(
            built.path,
            f"metadata.csv does not list the examples that the records hold ({len(built.table)} and {len(examples)}),"
            " or gives them other labels or subsets",
        )
    for subset, split in built.builder.info.splits.items():
        if split.num_examples != (number := int((examples["subset"] == subset).sum())):
            raise damaged(built.path, f"{subset} has {number:,} records; dataset_info.json says {split.num_examples:,}")
    counted = summarise(examples, built.made)
    if other := [key for key, value in counted.items() if built.metadata.get(key) != value]:
        raise damaged(built.path, f"in metadata.json, {' and '.join(other)} differ from the records")
    return examples


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("image_name").reset_index(drop=True).astype(object)


def _read_records(built: Built, read: Callable[[], object]) -> pd.DataFrame:
    features = built.builder.info.features
    keys = [*_KEYS, *([_EXPERT_KEY] if _EXPERT_KEY in features else [])]
    named = {key: features[key].names for key in keys if isinstance(features[key], tfds.features.ClassLabel)}
    rows = []
    for subset in built.subsets:
        for number, example in enumerate(_examples_without_images(built, subset)):
            row = {key: example[key] for key in keys} | {"subset": subset, "number": number}
            row |= {key: class_name(names, example[key]) for key, names in named.items()}
            row["image_name"] = example["image_name"].decode()
            row["findings"] = findings_of(example["findings"])
            row["boxes"] = int((np.asarray(example["bboxes"]["finding"]) >= 0).sum())
            if "label" not in named:
                row["label"] = label_string(findings_of(example["label"]))
            rows.append(row)
            read()
    if not rows:
        raise ValueError("there are none")
    return pd.DataFrame(rows)


def class_name(names: Sequence[str], code: Any) -> str:
    """Returns the name of a class.

    Raises:
      ValueError: No class has this number. (-1 stands for an unknown class, which no example of the package has.)
    """
    if not 0 <= code < len(names):
        raise ValueError(f"class {code} of {len(names)}")
    return names[int(code)]


def originals(examples: pd.DataFrame) -> pd.DataFrame:
    """Returns the examples that are not augmented copies."""
    return examples[~examples["image_name"].map(is_copy).astype(bool)]


def class_counts(built: Built) -> pd.DataFrame:
    """Returns the number of examples, copies included, with a row for each class and a column for each subset."""
    counts = built.metadata["counts"]
    return pd.DataFrame({subset: counts[subset] for subset in built.subsets}, index=built.classes)


def finding_counts(examples: pd.DataFrame, subsets: list[str]) -> pd.DataFrame:
    """Returns the number of images with each finding, with a row for each finding and a column for each subset."""
    has = _indicators(examples)
    counts = {subset: has[(examples["subset"] == subset).to_numpy()].sum(axis=0) for subset in subsets}
    return pd.DataFrame(counts, index=list(FINDINGS))


def populations(examples: pd.DataFrame, positive: str, names: frozenset[str]) -> pd.DataFrame:
    """Returns the composition of each subset of a two-class task, without augmented copies.

    Args:
      examples: The table that `read_examples` returns.
      positive: The label of the positive class.
      names: The text-mined findings that make an image positive.

    Returns:
      A table with a row for each subset. Its columns count images: `images` (all), `front` (AP), `positive`,
      `negative`, `mined` (with a finding in `names`), `both` (mined and positive) and `other` (negative, with
      text-mined findings, but none in `names`).
    """
    table = originals(examples)
    is_positive = table["label"] == positive
    mined = table["findings"].map(lambda findings: not names.isdisjoint(findings)).astype(bool)
    flags = pd.DataFrame(
        {
            "images": True,
            "front": table["view_position"] == "AP",
            "positive": is_positive,
            "negative": ~is_positive,
            "mined": mined,
            "both": mined & is_positive,
            "other": ~mined & ~is_positive & (table["findings"].str.len() > 0),
        },
        table.index,
    )
    return flags.groupby(table["subset"], sort=False).sum()


def co_occurrence(examples: pd.DataFrame) -> pd.DataFrame:
    """Returns the number of images with both of two findings, (14, 14); the diagonal counts the images with each."""
    has = _indicators(examples)
    return pd.DataFrame(has.T @ has, list(FINDINGS), list(FINDINGS))


def ages_by_sex(examples: pd.DataFrame) -> pd.DataFrame:
    """Returns the number of images, with a row for each age band, youngest first, and a column for each sex."""
    ages = examples["patient_age"].to_numpy(int)
    known = ages != UNKNOWN_AGE
    first, last = (ages[known].min() // AGE_BAND, ages[known].max() // AGE_BAND) if known.any() else (0, -1)
    rows = {
        f"{band * AGE_BAND} to {band * AGE_BAND + AGE_BAND - 1}": known & (ages // AGE_BAND == band)
        for band in range(first, last + 1)
    }
    if not known.all():
        rows["unknown"] = ~known
    sexes = examples["patient_sex"].to_numpy()
    counts = [[int((chosen & (sexes == sex)).sum()) for sex in SEXES] for chosen in rows.values()]
    return pd.DataFrame(counts, list(rows), list(SEXES))


def _indicators(examples: pd.DataFrame) -> np.ndarray:
    return np.array([[name in findings for name in FINDINGS] for findings in examples["findings"]], int).reshape(-1, 14)


def _examples_without_images(built: Built, subset: str) -> Iterator[dict[str, Any]]:
    if built.file_format == "array_record":
        # TFDS reads it only as a data source, which can skip decoding images but not reading them.
        return iter(built.builder.as_data_source(subset, decoders={"image": tfds.decode.SkipDecoding()}))
    keys = [key for key in (*_KEYS, _EXPERT_KEY) if key in built.builder.info.features]
    wanted = tfds.decode.PartialDecoding(dict.fromkeys(keys, True) | {"bboxes": {"finding": True}})
    return iter(tfds.as_numpy(built.builder.as_dataset(split=subset, decoders=wanted, read_config=READ_CONFIG)))

"""Statistics: what the examples are, from one pass over the records that decodes no image."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from nih_chest_xray.catalog.datasets import Built, damaged
from nih_chest_xray.errors import first_line, shown
from nih_chest_xray.planning.summary import summarise
from nih_chest_xray.verification.records import claims_too_much, shards
from nih_chest_xray.vocabulary import FINDINGS, NO_AUGMENTATION, OLDEST_AGE, SEXES, UNKNOWN_AGE, label_string, source_of

AGE_BAND = 10
"""Years."""
_KEYS = ("image_name", "label", "findings", "augmentation", "patient_id", "patient_age", "patient_sex", "view_position")
_EXPERT_KEY = "text_mined_label"
# One file after the other, so that an example's number is its place in the subset; and nothing is kept in memory. How
# many there are is checked by `read_examples`, whose error says more than TensorFlow's.
READ_CONFIG = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False, assert_cardinality=False)


def read_examples(built: Built, read: Callable[[], object]) -> pd.DataFrame:
    """Reads all examples without their images.

    Args:
      built: The dataset.
      read: Is called for each example.

    Returns:
      A row an example, in the order of records, subset after subset: `image_name`, `subset`, `number` (its place in the
      subset), `label` (as `metadata.csv` has it), `findings` (a tuple), `augmentation`, `patient_id`, `patient_age`,
      `patient_sex`, `view_position` and `boxes` (how many).

    Raises:
      CatalogError: Records cannot be read, or are not those that `metadata.csv` lists.
    """
    _refuse_overlong_records(built)
    try:
        examples = _read_records(built, read)
    except Exception as error:  # TensorFlow's errors, Arrow's, array_record's: what damaged files set off in them.
        # TensorFlow puts the names of its operations around what it says.
        problem = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*", "", first_line(error))
        raise damaged(built.path, f"its records ({problem})") from error
    for row in examples.itertuples(index=False):
        if source_of(row.image_name) is None:
            raise damaged(built.path, f"a record calls its image {shown(row.image_name)}, which no image is called")
        if not UNKNOWN_AGE <= row.patient_age <= OLDEST_AGE:  # An age of millions would make as many bands.
            raise damaged(built.path, f"the record of {row.image_name} has a patient of {row.patient_age} years")
    columns = ["image_name", "label", "subset"]
    if not _sorted(examples[columns]).equals(_sorted(built.table[columns])):
        raise damaged(
            built.path,
            f"metadata.csv does not list the examples that the records hold, {len(built.table)} and {len(examples)}, or"
            " gives them other labels or subsets",
        )
    for subset, split in built.builder.info.splits.items():
        if split.num_examples != (number := int((examples["subset"] == subset).sum())):
            raise damaged(built.path, f"{subset} has {number:,} records; by dataset_info.json {split.num_examples:,}")
    counted = summarise(examples, built.made)
    if other := [key for key, value in counted.items() if built.metadata.get(key) != value]:
        raise damaged(built.path, f"metadata.json has other {' and '.join(other)} than its records")
    return examples


def _refuse_overlong_records(built: Built) -> None:
    for _, path in shards(built.builder.info) if built.file_format == "tfrecord" else ():
        if path.exists() and claims_too_much(path):
            raise damaged(built.path, f"a record of {path.name} says that it is far too long")


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
            row["findings"] = _named(example["findings"])
            row["boxes"] = int((np.asarray(example["bboxes"]["finding"]) >= 0).sum())
            if "label" not in named:
                row["label"] = label_string(_named(example["label"]))
            rows.append(row)
            read()
    if not rows:
        raise ValueError("there are none")
    return pd.DataFrame(rows)


def _named(multi_hot: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, has in zip(FINDINGS, multi_hot, strict=True) if has)


def class_name(names: Sequence[str], code: Any) -> str:
    """Returns the name of a class.

    Raises:
      ValueError: There is none of this number. (-1 stands for a class that is not known, which no example of ours has.)
    """
    if not 0 <= code < len(names):
        raise ValueError(f"class {code} of {len(names)}")
    return names[int(code)]


def originals(examples: pd.DataFrame) -> pd.DataFrame:
    """Returns the examples that are not augmented copies."""
    return examples[examples["augmentation"] == NO_AUGMENTATION]


def class_counts(built: Built) -> pd.DataFrame:
    """Returns how many examples each class has, copies included: a row a class, a column a subset."""
    counts = built.metadata["counts"]
    return pd.DataFrame({subset: counts[subset] for subset in built.subsets}, index=built.classes)


def finding_counts(examples: pd.DataFrame, subsets: list[str]) -> pd.DataFrame:
    """Returns how many images have each finding: a row a finding, a column a subset."""
    has = _indicators(examples)
    counts = {subset: has[(examples["subset"] == subset).to_numpy()].sum(axis=0) for subset in subsets}
    return pd.DataFrame(counts, index=list(FINDINGS))


def populations(examples: pd.DataFrame, positive: str, names: frozenset[str]) -> pd.DataFrame:
    """Returns whom the subsets show, in a task of two classes: a row a subset, of images that are no copies.

    Args:
      examples: As `read_examples` returns them.
      positive: The label of the positive class.
      names: The findings that the text-mined label of that class stands for.

    Returns:
      Numbers of images: `images`, `front` (AP), `positive`, `negative`, `mined` (that have one of the findings), `both`
      (of these, positive) and `other` (negative, with text-mined findings, none of them one of `names`).
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
    """Returns how many images have both of two findings, (14, 14); on the diagonal, how many have the one."""
    has = _indicators(examples)
    return pd.DataFrame(has.T @ has, list(FINDINGS), list(FINDINGS))


def ages_by_sex(examples: pd.DataFrame) -> pd.DataFrame:
    """Returns how many images there are of each sex: a row an age band, from the youngest to the oldest."""
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
        # TFDS reads it as a data source only, which can leave images encoded but not out.
        return iter(built.builder.as_data_source(subset, decoders={"image": tfds.decode.SkipDecoding()}))
    keys = [key for key in (*_KEYS, _EXPERT_KEY) if key in built.builder.info.features]
    wanted = tfds.decode.PartialDecoding(dict.fromkeys(keys, True) | {"bboxes": {"finding": True}})
    return iter(tfds.as_numpy(built.builder.as_dataset(split=subset, decoders=wanted, read_config=READ_CONFIG)))

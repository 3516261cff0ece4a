"""Expert labels: reads what radiologists say of some of the images (Majkowska et al., Radiology 2020).

There are two sets: four findings of 4,376 images, and the 14 findings of 810 of these. Each has the labels that the
radiologists agreed on, and what each reader had said before, which `expert_readers` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from nih_chest_xray.errors import TableError
from nih_chest_xray.tables.csv_table import (
    parse_column,
    read_header,
    read_table,
    require,
    require_image_names,
    table_bytes,
)
from nih_chest_xray.tables.expert_readers import votes
from nih_chest_xray.vocabulary import EXPERT_FINDINGS, FINDINGS, READER_ANSWERS, UNREAD

OFFICIAL_HEADER = "Image Index,…,Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id"
ALL_FINDINGS_HEADER = "Image ID,Patient ID,Abnormal,Atelectasis,…,Pleural Thickening,Hernia,Other"
KNOWN_FILES = {
    "24911a463c0c5e40e1bcd39a5b0aa38079b89859946932fca4d5f62081a0ed9f": "four_findings_expert_labels/test_labels.csv",
    "aa4c1d092818ae9150ae72dad77e32fca070a975b9a3273a06e47f3bf7b0590d": (
        "four_findings_expert_labels/validation_labels.csv"
    ),
    "cff9a96993c25c1b05e3da28bfbbf0fbe445f0c250d605bf1f783aa73aaae0fd": (
        "four_findings_expert_labels/individual_readers.csv"
    ),
    "2602080132c8a2366ff428adfef98b79c809f5be8cfcde9cc237c62561c7ae40": "all_findings_expert_labels/test_labels.csv",
    "e6193ea748d66857ea2db11765c961eb1f8b21829df73dc9dfc11e9c63caa16c": (
        "all_findings_expert_labels/test_individual_readers.csv"
    ),
    "86ece2bbb74ed71d2f8b0a14b21daf231f89346bb11f11144ce3e20696e8d238": (
        "google2019_nih-chest-xray-labels.csv of torchxrayvision 1.5.7"
    ),
}
"""Which published file has which SHA-256 (decompressed). The last one holds both files of four findings."""
FOUR_FINDINGS, ALL_FINDINGS = "four findings", "all findings"
FOUR_READERS, ALL_READERS = "single readers of four findings", "single readers of all findings"

_SAID = {"YES": 1, "NO": 0}
_OF_FINDING = {"".join(filter(str.isalnum, finding.lower())): finding for finding in (*EXPERT_FINDINGS, *FINDINGS)}
"""The finding of each header cell, as `read_table` compares it."""
_FOUR_COLUMNS = {
    "imageindex": "image_name",
    "setid": "set_id",
    **{cell: finding for cell, finding in _OF_FINDING.items() if finding in EXPERT_FINDINGS},
}
_ALL_COLUMNS = {
    "imageid": "image_name",
    "imageindex": "image_name",
    **{cell: finding for cell, finding in _OF_FINDING.items() if finding in FINDINGS},
}
_SETS = {"val": "validation", "validation": "validation", "test": "test"}


def expert_file_kind(content: bytes) -> str | None:
    """Returns which of the radiologists' files this is, by its header; some of them have the same name.

    Args:
      content: The bytes of any file, plain or gzipped.

    Returns:
      `FOUR_FINDINGS` or `ALL_FINDINGS`; `FOUR_READERS` or `ALL_READERS`, with one row per reading; or None for any
      other file.
    """
    try:
        cells = set(read_header(table_bytes(content, "")))
    except TableError:
        return None
    if cells.isdisjoint({"imageindex", "imageid"}):
        return None
    if "readerid" in cells:
        return FOUR_READERS if "nodulemass" in cells else ALL_READERS if {"nodule", "mass"} <= cells else None
    if "noduleormass" in cells:
        return FOUR_FINDINGS
    return ALL_FINDINGS if {"abnormal", "nodule", "mass"} <= cells else None


def read_expert_labels(contents: Mapping[str, tuple[bytes, str]]) -> pd.DataFrame:
    """Reads the radiologists' two files of four findings, or a single file that combines both.

    Args:
      contents: The bytes of each file and its name or path, under 'validation' and 'test', or one of these; or those of
        the single file under 'both', whose column `Set Id` gives the subset.

    Returns:
      A table with `image_name` (str, unique), `subset` ('validation' or 'test') and `expert_labels` (a tuple with 1 for
      yes and 0 for no for each of `EXPERT_FINDINGS`).

    Raises:
      TableError: A file is not such a table, a value is neither YES nor NO, a `Set Id` is that of the other file, or an
        image or a patient is in both subsets.
    """
    tables: list[pd.DataFrame] = []
    subset_of: dict[str, str] = {}  # The subset of each patient so far.
    for key, (content, file) in contents.items():
        if (kind := expert_file_kind(content)) not in (FOUR_FINDINGS, None):
            raise TableError(
                f"{file} is, by its header, the radiologists' file of {kind}; expected that of {FOUR_FINDINGS}, with"
                " the column 'Nodule or mass', from the folder four_findings_expert_labels."
            )
        table = read_table(content, file, _FOUR_COLUMNS, OFFICIAL_HEADER, optional=() if key == "both" else ("set_id",))
        require_image_names(table, file, once=True)
        for other in tables:
            apart = ~table["image_name"].isin(other["image_name"])
            require(table, file, "image_name", apart, f"an image that is not in {other['file'].iloc[0]} too")
        subset: str | np.ndarray = key
        if "set_id" in table:
            sets = {name: of_name for name, of_name in _SETS.items() if key in ("both", of_name)}
            subset = parse_column(table, file, "set_id", sets.get, " or ".join(sets))
        table = table.assign(subset=subset, expert_labels=_answers(table, file, EXPERT_FINDINGS), file=file)
        patient = table["image_name"].str[:8]
        for number, of_image in zip(patient, table["subset"], strict=True):
            subset_of.setdefault(number, of_image)
        alone = table["subset"] == patient.map(subset_of)
        require(table, file, "image_name", alone, "an image of a patient who has none in the other subset")
        tables.append(table)
    return pd.concat(tables, ignore_index=True)[["image_name", "subset", "expert_labels"]]


def read_all_findings(content: bytes, file: str) -> pd.DataFrame:
    """Reads the radiologists' file of the 14 findings.

    Args:
      content: The file's bytes.
      file: The file's name or path, for messages.

    Returns:
      A table with `image_name` (str, unique) and `expert_findings` (a tuple with 1 for yes and 0 for no for each of
      `FINDINGS`).

    Raises:
      TableError: The file is not such a table, an image is repeated, or a value is neither YES nor NO.
    """
    table = read_table(content, file, _ALL_COLUMNS, ALL_FINDINGS_HEADER)
    require_image_names(table, file, once=True)
    answers = _answers(table, file, FINDINGS)
    return table.assign(expert_findings=answers)[["image_name", "expert_findings"]].reset_index(drop=True)


def _answers(table: pd.DataFrame, file: str, findings: tuple[str, ...]) -> pd.Series:
    columns = [parse_column(table, file, finding, _SAID.get, "YES or NO") for finding in findings]
    return pd.Series(list(zip(*columns, strict=True)), table.index, object)


def all_that_was_said(
    four: pd.DataFrame | None,
    all_findings: pd.DataFrame | None = None,
    four_readings: pd.DataFrame | None = None,
    all_readings: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Joins what radiologists said into one table.

    Args:
      four: As `read_expert_labels` returns it; None, as for the others, without such a file.
      all_findings: As `read_all_findings` returns it.
      four_readings: The readings of four findings, as `expert_readers.read_readings` returns them.
      all_readings: Those of all findings.

    Returns:
      A table with a row for each image of any of them, in the order of names. Its columns are `image_name`, `subset`
      (of the set of four findings: 'validation', 'test' or None), `expert_labels` and `expert_findings` (as above),
      `reader_votes` (how many readings say each of `READER_ANSWERS` to nodule or mass) and `nodule_votes` (how many
      readings of the other set say Nodule). What nobody said has the values of `UNREAD`.
    """
    columns: dict[str, dict[str, Any]] = {name: {} for name in ("subset", *UNREAD)}
    for table in (four, all_findings):
        if table is not None:
            for name in table.columns[1:]:
                columns[name] = dict(zip(table["image_name"], table[name], strict=True))
    if four_readings is not None:
        counts = votes(four_readings, EXPERT_FINDINGS[-1])
        columns["reader_votes"] = {name: tuple(row) for name, *row in counts[list(READER_ANSWERS)].itertuples()}
    if all_readings is not None:
        columns["nodule_votes"] = votes(all_readings, "Nodule")["YES"].to_dict()
    names = sorted(set().union(*columns.values()))
    joined = {"image_name": names, "subset": [columns["subset"].get(name) for name in names]}
    joined |= {column: [columns[column].get(name, unread) for name in names] for column, unread in UNREAD.items()}
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in joined.items()})


def nodules_of_all_findings(expert: pd.DataFrame) -> pd.Series:
    """Returns what the set of all findings says of Nodule: 1 for yes, 0 for no, -1 for nothing; by image name."""
    at = FINDINGS.index("Nodule")
    return pd.Series([findings[at] for findings in expert["expert_findings"]], expert["image_name"], int)


def require_known_images(expert: pd.DataFrame, labels: pd.DataFrame) -> None:
    """Raises an error if the radiologists' files name an image that the label file does not have.

    Raises:
      TableError: They name such an image.
    """
    unknown = expert.loc[~expert["image_name"].isin(labels["image_name"]), "image_name"]
    if len(unknown):
        raise TableError(
            f"{len(unknown)} images of the radiologists' files, such as {unknown.iloc[0]}, are not in the label file."
            " Use the NIH's whole Data_Entry_2017_v2020.csv."
        )

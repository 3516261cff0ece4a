"""Expert labels: reads radiologists' adjudicated labels of some of the images (Majkowska et al., Radiology 2020)."""

from __future__ import annotations

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

OFFICIAL_HEADER = "Image Index,…,Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id"
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
"""Which published file has which SHA-256 (decompressed). The last one holds both sets."""
FOUR_FINDINGS, ALL_FINDINGS, READERS = "four findings", "all findings", "single readers"

_COLUMNS = {"imageindex": "image_name", "noduleormass": "nodule_or_mass", "setid": "set_id"}
_SETS = {"val": "validation", "validation": "validation", "test": "test"}


def expert_file_kind(content: bytes) -> str | None:
    """Returns which of the radiologists' files this is, by its header; some of them have the same name.

    Args:
      content: The bytes of any file, plain or gzipped.

    Returns:
      `FOUR_FINDINGS`, which `read_expert_labels` reads; `ALL_FINDINGS`; `READERS`, with one row per reading of either
      set of findings; or None for any other file.
    """
    try:
        cells = set(read_header(table_bytes(content, "")))
    except TableError:
        return None
    if cells.isdisjoint({"imageindex", "imageid"}):
        return None
    if "readerid" in cells:
        return READERS if "nodulemass" in cells or {"nodule", "mass"} <= cells else None
    if "noduleormass" in cells:
        return FOUR_FINDINGS
    return ALL_FINDINGS if {"abnormal", "nodule", "mass"} <= cells else None


def read_expert_labels(contents: dict[str, tuple[bytes, str]]) -> pd.DataFrame:
    """Reads the radiologists' two files of four findings, or a single file that combines both.

    Args:
      contents: The bytes of each file and its name or path, under 'validation' and 'test'; or those of the single file
        under 'both', whose column `Set Id` gives the subset.

    Returns:
      A table with `image_name` (str, unique), `subset` ('validation' or 'test') and `nodule_or_mass` (bool).

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
        table = read_table(content, file, _COLUMNS, OFFICIAL_HEADER, optional=() if key == "both" else ("set_id",))
        require_image_names(table, file, once=True)
        for other in tables:
            apart = ~table["image_name"].isin(other["image_name"])
            require(table, file, "image_name", apart, f"an image that is not in {other['file'].iloc[0]} too")
        subset: str | np.ndarray = key
        if "set_id" in table:
            sets = {name: of_name for name, of_name in _SETS.items() if key in ("both", of_name)}
            subset = parse_column(table, file, "set_id", sets.get, " or ".join(sets))
        answers = parse_column(table, file, "nodule_or_mass", {"YES": True, "NO": False}.get, "YES or NO")
        table = table.assign(subset=subset, nodule_or_mass=answers.astype(bool), file=file)
        patient = table["image_name"].str[:8]
        for number, of_image in zip(patient, table["subset"], strict=True):
            subset_of.setdefault(number, of_image)
        alone = table["subset"] == patient.map(subset_of)
        require(table, file, "image_name", alone, "an image of a patient who has none in the other subset")
        tables.append(table)
    return pd.concat(tables, ignore_index=True)[["image_name", "subset", "nodule_or_mass"]]


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

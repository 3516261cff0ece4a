"""Expert readers: reads what each radiologist said of an image before they agreed, and measures how far they agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from nih_chest_xray.tables.csv_table import parse_column, read_table, require_image_names
from nih_chest_xray.vocabulary import EXPERT_FINDINGS, FINDINGS, NOT_SAID, READER_ANSWERS

OFFICIAL_HEADERS = {
    "four": "Patient ID,Image ID,Reader ID,Fracture,Pneumothorax,Airspace opacity,Nodule/mass,Set ID",
    "all": "Image ID,Patient ID,Reader ID,Abnormal,Atelectasis,…,Pleural Thickening,Hernia,Other",
}
_IMAGE = {"imageid": "image_name", "imageindex": "image_name"}
_COLUMNS = {
    "four": _IMAGE
    | {"setid": "set_id", "noduleormass": EXPERT_FINDINGS[-1], "nodulemass": EXPERT_FINDINGS[-1]}
    | {finding.lower().replace(" ", ""): finding for finding in EXPERT_FINDINGS[:-1]},
    "all": _IMAGE | {finding.lower().replace("_", ""): finding for finding in FINDINGS},
}
_SETS = {"val": "validation", "validation": "validation", "test": "test"}


def read_readings(content: bytes, file: str, of: str) -> pd.DataFrame:
    """Reads what each reader said.

    Args:
      content: The file's bytes: CSV with a row for each reading of an image. A reader may have read an image twice (in
        the published file of four findings three images have such readings); each row counts.
      file: The file's name or path, for messages.
      of: The set: 'four' or 'all' findings.

    Returns:
      A table with `image_name`, `subset` ('validation' or 'test'; all readings of all findings are of test) and a
      column for each finding of the set, with one of `READER_ANSWERS`.

    Raises:
      TableError: The file is not such a table, or a value is not one of `READER_ANSWERS`.
    """
    table = read_table(content, file, _COLUMNS[of], OFFICIAL_HEADERS[of])
    require_image_names(table, file, once=False)
    subset: str | np.ndarray = "test"
    if of == "four":
        subset = parse_column(table, file, "set_id", _SETS.get, " or ".join(_SETS))
    answers = {answer: answer for answer in READER_ANSWERS}
    said = {
        finding: parse_column(table, file, finding, answers.get, ", ".join(READER_ANSWERS[:-1]) + " or HEDGE")
        for finding in (EXPERT_FINDINGS if of == "four" else FINDINGS)
    }
    return pd.DataFrame({"image_name": table["image_name"], "subset": subset, **said}).reset_index(drop=True)


def votes(readings: pd.DataFrame, finding: str) -> pd.DataFrame:
    """Returns how many readings of each image say what of a finding.

    Returns:
      A table of whole numbers with a row for each image, by name, and a column for each of `READER_ANSWERS`.
    """
    counts = pd.crosstab(readings["image_name"], readings[finding])
    return counts.reindex(columns=list(READER_ANSWERS), fill_value=0)


def fleiss_kappa(counts: np.ndarray) -> float | None:
    """Returns how far readers agree beyond chance: 1 is always, 0 as often as by chance.

    For n readings of every image it is the kappa of J. L. Fleiss, Measuring nominal scale agreement among many raters,
    Psychological Bulletin 76(5), 1971. For numbers that differ it is the form that J. L. Fleiss, B. Levin and M. C.
    Paik give in Statistical Methods for Rates and Proportions, 3rd edition, 2003, section 18.3: an image with n
    readings weighs n - 1 in the observed agreement, so an image with a single one, which has no pair, weighs nothing.

    Args:
      counts: (images, categories) of whole numbers: how many readings put an image into a category.

    Returns:
      The kappa; None if no image has two readings, or if all readings name the same category: nothing can then be
      disagreed on.

    Examples:
      Two images with three readings each, all of the first YES, two of three of the second NO. Of the pairs of readings
      1 and 1/3 agree, 2/3 on average; by chance (4/6)² + (2/6)² = 5/9 would.

      >>> round(fleiss_kappa(np.array([[3, 0], [1, 2]])), 4)  # (2/3 - 5/9) / (1 - 5/9)
      0.25
    """
    counts = np.asarray(counts, float)
    readings = counts.sum(axis=1)
    counts, readings = counts[readings > 0], readings[readings > 0]
    pairs = (readings - 1).sum()
    chance = ((counts.sum(axis=0) / readings.sum()) ** 2).sum() if len(counts) else 1.0
    if not pairs or np.isclose(chance, 1):
        return None
    agreeing = ((counts * (counts - 1)).sum(axis=1) / readings).sum() / pairs
    return float((agreeing - chance) / (1 - chance))


def kappas(readings: pd.DataFrame, findings: Collection[str]) -> dict[str, dict[str, float | None]]:
    """Returns Fleiss' kappa of the readers, to four decimals: {subset: {finding: kappa}}."""
    return {
        str(subset): {
            finding: None if (kappa := fleiss_kappa(votes(rows, finding).to_numpy())) is None else round(kappa, 4)
            for finding in findings
        }
        for subset, rows in readings.groupby("subset")
    }


def agreement_of_sets(expert: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Counts the images of both sets by what each says of nodule or mass.

    Args:
      expert: A table as `expert_labels.all_that_was_said` returns it.

    Returns:
      {what the set of four findings says: {what that of all findings says, Nodule and Mass taken together: images}}.
    """
    words = ("No nodule or mass", "Nodule or mass")
    either = [FINDINGS.index(finding) for finding in ("Nodule", "Mass")]
    pairs = [
        (four[-1], max(every[at] for at in either))
        for four, every in zip(expert["expert_labels"], expert["expert_findings"], strict=True)
    ]
    return {words[i]: {words[j]: pairs.count((i, j)) for j in (0, 1)} for i in (0, 1)}


def measured(
    expert: pd.DataFrame, four_readings: pd.DataFrame | None, all_readings: pd.DataFrame | None
) -> Mapping[str, Any]:
    """Returns how far radiologists agree in their files, for metadata.json; it says nothing of a dataset's examples.

    Args:
      expert: A table as `expert_labels.all_that_was_said` returns it.
      four_readings: The readings of four findings; None without that file.
      all_readings: The readings of all findings; None without that file.

    Returns:
      `kappa_four_findings` and `kappa_all_findings`, see `kappas`, and `agreement_of_sets`, each where the files that
      it needs are there.
    """
    found: dict[str, Any] = {}
    if four_readings is not None:
        found["kappa_four_findings"] = kappas(four_readings, EXPERT_FINDINGS)
    if all_readings is not None:
        found["kappa_all_findings"] = kappas(all_readings, FINDINGS)
    in_both = [
        NOT_SAID not in (four[-1], every[0])
        for four, every in zip(expert["expert_labels"], expert["expert_findings"], strict=True)
    ]
    if any(in_both):
        found["agreement_of_sets"] = agreement_of_sets(expert)
    return found

"""Expert labels: what radiologists say of some of the images (Majkowska et al., Radiology 2020, adjudicated)."""

from __future__ import annotations

import pandas as pd

from nih_chest_xray.tables import TableError, parse_column, read_table, require, require_image_names

OFFICIAL_HEADER = "Image Index,…,Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id"

_COLUMNS = {"imageindex": "image_name", "noduleormass": "nodule_or_mass"}


def read_expert_labels(contents: dict[str, tuple[bytes, str]]) -> pd.DataFrame:
    """Reads the radiologists' two files.

    Args:
      contents: The bytes of each file and its name or path, under 'validation' and 'test'.

    Returns:
      A table with `image_name` (str, unique), `subset` ('validation' or 'test') and `nodule_or_mass` (bool).

    Raises:
      TableError: A file is no such table, a value is neither YES nor NO, or an image or a patient is in both files.
    """
    tables = []
    for subset, (content, file) in contents.items():
        table = read_table(content, file, _COLUMNS, OFFICIAL_HEADER)
        require_image_names(table, file, once=True)
        for other in tables:
            apart = ~table["image_name"].isin(other["image_name"])
            require(table, file, "image_name", apart, f"an image that is not in the {other['subset'].iloc[0]} file too")
            apart = ~table["image_name"].str[:8].isin(other["image_name"].str[:8])
            message = f"an image of a patient who has none in the {other['subset'].iloc[0]} file"
            require(table, file, "image_name", apart, message)
        answers = parse_column(table, file, "nodule_or_mass", {"YES": True, "NO": False}.get, "YES or NO")
        tables.append(table.assign(subset=subset, nodule_or_mass=answers.astype(bool)))
    return pd.concat(tables, ignore_index=True)[["image_name", "subset", "nodule_or_mass"]]


def require_known_images(expert: pd.DataFrame, labels: pd.DataFrame) -> None:
    """Raises an error if the radiologists' files name an image that the label file does not have.

    Raises:
      TableError: They do.
    """
    unknown = expert.loc[~expert["image_name"].isin(labels["image_name"]), "image_name"]
    if len(unknown):
        raise TableError(
            f"{len(unknown)} images of the radiologists' files, such as {unknown.iloc[0]}, are not in the label file."
            " Use the NIH's whole Data_Entry_2017_v2020.csv."
        )

"""Folder: writes each image as a file, in folders of subsets and classes, with tables that name the files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.formats.stored import Reader, StoredExample
from nih_chest_xray.verification.dataset_folder import COLUMNS, read_small

TABLE = "metadata.csv"
ABOUT = (
    "`metadata.csv` has a row for each image: its path (`file_name`), `image_name`, `label` and `subset`, and where an"
    " image may have several findings a column of 0 and 1 for each. `examples.csv` has every feature. The files are"
    " the dataset's own bytes, and of raw pixels PNGs; a JPEG is `<stem>.jpg`, and its `image_name` still ends in"
    " `.png`, as everywhere."
)
"""What a reader of the files must know, for the dataset card."""


def write(built: Built, reader: Reader, folder: Path) -> str:
    """Writes `<subset>/<class>/<image>`, `metadata.csv`, and a copy of `examples.csv`.

    Where an image may have several findings, there are no folders of classes, and `metadata.csv` has a column for each
    finding instead, with 1 where the image has it and 0 elsewhere.

    Args:
      built: The dataset.
      reader: Reads its examples.
      folder: An empty folder.

    Returns:
      What goes before the text of README.md: nothing.

    Raises:
      CatalogError: A record cannot be read.
      OSError: A file cannot be written.
    """
    rows = sorted(_write_images(built, reader, folder))
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", *COLUMNS, *_findings(built)])
        for name, path, label, subset in rows:
            has = built.labels(label)
            writer.writerow([path, name, label, subset, *(int(finding in has) for finding in _findings(built))])
    (folder / "examples.csv").write_bytes(read_small(built.path / "examples.csv"))
    return ""


def _write_images(built: Built, reader: Reader, folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Writes the images, and yields the name, path below the folder, label and subset of each."""
    for subset in built.subsets:
        for name in ("",) if built.task.multi_label else built.task.classes:
            # Of an empty class too: without it, libraries would give the other the number 0.
            (folder / subset / name).mkdir(parents=True)
        for example in reader.examples(subset):
            path = f"{subset}/{_place(built, example)}"
            (folder / path).write_bytes(example.content)
            yield example.name, path, example.label, subset


def _place(built: Built, example: StoredExample) -> str:
    return example.file if built.task.multi_label else f"{example.label}/{example.file}"


def _findings(built: Built) -> tuple[str, ...]:
    return built.task.classes if built.task.multi_label else ()


def caveats(built: Built) -> list[str]:
    """Returns what would surprise who reads the folders: an empty one, and classes of other numbers than their own."""
    if built.task.multi_label:
        return []
    counts = built.metadata["counts"]
    empty = [f"{subset}/{name}" for subset in built.subsets for name in built.task.classes if not counts[subset][name]]
    told = [f"No image is in {', '.join(empty)}: give torchvision's ImageFolder allow_empty=True."] if empty else []
    if not _are_sorted(built):
        ordered, classes = sorted(built.task.classes), [*built.task.classes]
        told.append(
            f"Keras and torchvision number the folders in alphabetical order ({', '.join(ordered)}), but in the dataset"
            f" {classes[0]} is 0 and {classes[1]} is 1: give Keras class_names={classes} (flow_from_directory calls it"
            " classes), and look at ImageFolder's class_to_idx."
        )
    return told


def _are_sorted(built: Built) -> bool:
    return list(built.task.classes) == sorted(built.task.classes)


def reading(built: Built, folder: str) -> str:
    """Returns Python that reads a subset of an export in a folder."""
    subset = built.training_split.partition("+")[0]
    height, width, _ = built.builder.info.features["image"].shape
    size = (height, width)
    if built.task.multi_label:
        return (
            "import pandas as pd\nfrom tensorflow.keras.preprocessing.image import ImageDataGenerator\n\n"
            f"table = pd.read_csv({_quoted(f'{folder}/{TABLE}')})\n"
            "batches = ImageDataGenerator().flow_from_dataframe(\n"
            f'    table[table["subset"] == "{subset}"], {_quoted(folder)}, "file_name", list(table.columns[4:]),\n'
            f'    class_mode="raw", color_mode="grayscale", target_size={size},\n)\n'
        )
    names = "" if _are_sorted(built) else f", class_names={[*built.task.classes]}"
    return (
        "import keras\n\n"
        f"batches = keras.utils.image_dataset_from_directory(\n    {_quoted(f'{folder}/{subset}')},"
        f' label_mode="binary", color_mode="grayscale", image_size={size}{names}\n)\n'
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

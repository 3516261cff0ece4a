"""Gallery: makes the pictures of the examples that a page shows, and says what they show."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from nih_chest_xray.building.parallel import map_in_order, worker_count
from nih_chest_xray.catalog.choice import choose
from nih_chest_xray.catalog.datasets import Built, damaged
from nih_chest_xray.catalog.statistics import class_name
from nih_chest_xray.catalog.stored import read_chosen, stored_file, stored_pixels
from nih_chest_xray.catalog.thumbnails import FOLDER, Sheets, exact_or_small, small_file
from nih_chest_xray.errors import first_line
from nih_chest_xray.images.augmentation import CHAIN
from nih_chest_xray.vocabulary import NO_AUGMENTATION, SEX_IN_WORDS, UNKNOWN_AGE, is_copy, source_of

SIDE = 320
"""Side in pixels of the small picture of a featured example. Boxes are given in these pixels."""
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88)


@dataclasses.dataclass(frozen=True)
class Picture:
    """The picture of an example.

    Attributes:
      name: The image name.
      label: The label in `metadata.csv`.
      findings: All text-mined findings, or 'No Finding'.
      details: Subset, view position, sex and age, in words.
      augmentation: 'none', or how the image was changed.
      boxes: The (finding, x, y, width, height) of each box, in pixels of the picture.
      alt: The alternative text: what the picture shows, in a few sentences.
      preview: The path of the small picture relative to the page; empty where there is none.
      file: The path of the large picture relative to the page; empty where there is none.
      is_stored: Whether the large picture has exactly the stored pixels.
    """

    name: str
    label: str
    findings: str
    details: str
    augmentation: str
    boxes: tuple[tuple[str, float, float, float, float], ...]
    alt: str
    preview: str = ""
    file: str = ""
    is_stored: bool = False


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The pictures of a page.

    Attributes:
      singles: The featured examples of each class.
      pairs: The featured images, each with its augmented copy.
      browsed: All examples, featured ones among them, in the order in which they are shown.
    """

    singles: tuple[Picture, ...]
    pairs: tuple[tuple[Picture, Picture], ...]
    browsed: tuple[Picture, ...] = ()


def make_gallery(built: Built, examples: pd.DataFrame, folder: Path) -> Gallery:
    """Chooses examples, and writes their pictures into `folder`/images and `folder`/examples.

    Args:
      built: The dataset.
      examples: The table of examples that `statistics.read_examples` returns.
      folder: The folder of the page.

    Raises:
      CatalogError: An image cannot be decoded, or a box is outside its image.
    """
    choice = choose(built, examples)
    (folder / "images").mkdir()
    (folder / FOLDER).mkdir()
    files = exact_or_small(built, choice)
    featured = frozenset(choice.featured)
    order = {name: place for place, name in enumerate(choice.examples["image_name"])}
    sheets = Sheets(len(order))

    def make(read: tuple[Any, dict[str, Any]]) -> Picture:
        row, example = read
        pixels = stored_pixels(built, example)
        sheets.put(order[row.image_name], pixels)
        file, is_stored = files[row.image_name]
        (folder / file).write_bytes(stored_file(built, example) if is_stored else small_file(pixels, len(order)))
        preview = _preview(row.image_name, pixels, folder) if row.image_name in featured else ""
        return dataclasses.replace(describe(built, row, example), file=file, is_stored=is_stored, preview=preview)

    try:
        read = read_chosen(built, choice.examples)
        with contextlib.closing(map_in_order(make, read, worker_count())) as made:
            pictures = {picture.name: picture for picture in made}
    except Exception as error:  # An invalid image or box, or any error that a record without one causes in TensorFlow.
        raise damaged(built.path, f"its images ({first_line(error)})") from error
    sheets.write(folder)
    return Gallery(
        tuple(pictures[name] for name in choice.singles),
        tuple((pictures[source], pictures[copy]) for source, copy in choice.pairs),
        tuple(pictures[name] for name in choice.examples["image_name"]),
    )


def _preview(name: str, pixels: np.ndarray, folder: Path) -> str:
    file = f"images/{name.removesuffix('.png')}.jpg"
    smaller = cv2.INTER_AREA if pixels.shape[0] > SIDE else cv2.INTER_CUBIC
    cv2.imwrite(str(folder / file), cv2.resize(pixels, (SIDE, SIDE), interpolation=smaller), _JPEG)
    return file


def make_picture(built: Built, row: Any, example: dict[str, Any], folder: Path) -> Picture:
    """Writes a small picture of an example into `folder`/images.

    Args:
      built: The dataset.
      row: See `describe`.
      example: The example, with its image as it is stored.
      folder: The folder of the page.

    Raises:
      ImageError, ValueError: The image cannot be decoded, or a box is outside its image.
    """
    preview = _preview(row.image_name, stored_pixels(built, example), folder)
    return dataclasses.replace(describe(built, row, example), preview=preview)


def describe(built: Built, row: Any, example: dict[str, Any]) -> Picture:
    """Returns what a page says of an example, without a file.

    Args:
      built: The dataset.
      row: What to say of the example: `image_name`, `subset`, `label`, `findings` (a tuple), `augmentation`,
        `patient_age` (years), `patient_sex` and `view_position`.
      example: The example, for its boxes.

    Raises:
      ValueError: A box is outside the image.
    """
    names = built.builder.info.features["bboxes"]["finding"].names
    boxes = tuple(
        (class_name(names, finding), *_pixels(*map(float, box)))
        for box, finding in zip(example["bboxes"]["bbox"], example["bboxes"]["finding"], strict=True)
        if finding >= 0
    )
    age = "age unknown" if row.patient_age == UNKNOWN_AGE else f"{row.patient_age} years"
    findings = ", ".join(row.findings) or "No Finding"
    return Picture(
        name=row.image_name,
        label=row.label,
        findings=findings,
        details=f"{_words(row.subset)}, {row.view_position}, {SEX_IN_WORDS[row.patient_sex]}, {age}"
        + ("" if row.augmentation == NO_AUGMENTATION else f", augmented by {_words(row.augmentation)}"),
        augmentation=row.augmentation,
        boxes=boxes,
        alt=_alt(built, row, age, findings, boxes),
    )


def _pixels(ymin: float, xmin: float, ymax: float, xmax: float) -> tuple[float, float, float, float]:
    if not (0 <= ymin <= ymax <= 1 and 0 <= xmin <= xmax <= 1):
        raise ValueError(f"a box from {xmin}, {ymin} to {xmax}, {ymax}, in shares of the image")
    x, y, width, height = (round(value * SIDE, 1) for value in (xmin, ymin, xmax - xmin, ymax - ymin))
    return x, y, width, height


def _alt(built: Built, row: Any, age: str, findings: str, boxes: tuple[tuple, ...]) -> str:
    kind = "Synthetic chest radiograph" if built.synthetic else "Chest radiograph"
    view = "PA (back to front)" if row.view_position == "PA" else "AP (front to back)"
    text = f"{kind}, {view}, {SEX_IN_WORDS[row.patient_sex]}, {age}. Findings: {findings.replace('_', ' ')}."
    if row.augmentation != NO_AUGMENTATION:
        of = f"Copy of {source_of(row.image_name)}, augmented" if is_copy(row.image_name) else "Augmented"
        text = f"{of} by {_words(row.augmentation)}. {text}"
    for finding, x, y, width, height in boxes:
        text += f" A box marks {finding.replace('_', ' ')} in the {_place(x + width / 2, y + height / 2)}."
    return text


def _words(augmentation: str) -> str:
    return augmentation.replace("_", " ").replace(CHAIN, " and ")


def _place(x: float, y: float) -> str:
    """Returns the third of the picture that holds a point, in words.

    >>> _place(10, 10), _place(160, 160), _place(310, 160)
    ('upper left of the picture', 'middle of the picture', 'right of the picture')
    """
    across = ("left", "", "right")[min(2, int(3 * x / SIDE))]
    down = ("upper", "", "lower")[min(2, int(3 * y / SIDE))]
    return f"{f'{down} {across}'.strip() or 'middle'} {'part ' if down and not across else ''}of the picture"

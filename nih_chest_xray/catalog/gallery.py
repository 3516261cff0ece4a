"""Gallery: chooses a few examples of each class and a few augmented pairs, and makes small pictures of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import tensorflow_datasets as tfds

from nih_chest_xray.catalog.datasets import Built, damaged
from nih_chest_xray.catalog.statistics import READ_CONFIG, class_name, originals
from nih_chest_xray.errors import first_line
from nih_chest_xray.images.augmentation import CHAIN
from nih_chest_xray.images.codec import decode_stored
from nih_chest_xray.vocabulary import NO_AUGMENTATION, UNKNOWN_AGE, is_copy, source_of

SIDE = 320
"""Side of a picture in pixels."""
_OF_TWO_CLASSES = 4
_OF_MANY_CLASSES = 1
_PAIRS = 4
_WITHIN = 2000
"""Number of examples of a subset from which pictures are chosen, so that little of a large dataset is read again."""
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88)
_SEX = {"F": "female", "M": "male"}


@dataclasses.dataclass(frozen=True)
class Picture:
    """The picture of an example.

    Attributes:
      file: The picture's path relative to the page.
      name: The image name.
      label: The label in `metadata.csv`.
      findings: All text-mined findings, or 'No Finding'.
      details: Subset, view position, sex and age, in words.
      augmentation: 'none', or how the image was changed.
      boxes: The (finding, x, y, width, height) of each box, in pixels of the picture.
      alt: The alternative text: what the picture shows, in a few sentences.
    """

    file: str
    name: str
    label: str
    findings: str
    details: str
    augmentation: str
    boxes: tuple[tuple[str, float, float, float, float], ...]
    alt: str


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The pictures of a page: single examples, and pairs of an image and its augmented copy."""

    singles: tuple[Picture, ...]
    pairs: tuple[tuple[Picture, Picture], ...]


def make_gallery(built: Built, examples: pd.DataFrame, folder: Path) -> Gallery:
    """Chooses examples and writes their pictures into `folder`/images.

    Raises:
      CatalogError: An image cannot be decoded, or a box is outside its image.
    """
    near = examples[examples["number"] < _WITHIN]
    pairs = _choose_pairs(near)
    shown = {name for pair in pairs for name in pair}
    patients = near.loc[near["image_name"].isin(shown), "patient_id"]
    singles = _choose_singles(built, near[~near["patient_id"].isin(patients)])
    wanted = near[near["image_name"].isin(shown | set(singles))]
    (folder / "images").mkdir()
    try:
        pictures = {
            row.image_name: make_picture(built, row, example, folder) for row, example in _read_again(built, wanted)
        }
    except Exception as error:  # An invalid image or box, or any error that a record without one causes in TensorFlow.
        raise damaged(built.path, f"its images ({first_line(error)})") from error
    return Gallery(
        tuple(pictures[name] for name in singles), tuple((pictures[source], pictures[copy]) for source, copy in pairs)
    )


def _choose_pairs(examples: pd.DataFrame) -> list[tuple[str, str]]:
    """Chooses copies of each augmentation in turn, those with boxes first, and each patient once."""
    names = set(examples["image_name"])
    copies = examples[examples["image_name"].map(is_copy).astype(bool)]
    copies = copies.assign(source=copies["image_name"].map(source_of))
    copies = copies[copies["source"].isin(names)].assign(boxed=copies["boxes"] > 0)
    copies = copies.sort_values(["boxed", "number"], ascending=[False, True]).drop_duplicates("patient_id")
    copies = copies.assign(turn=copies.groupby("augmentation").cumcount())
    chosen = copies.sort_values(["turn", "augmentation"]).head(_PAIRS)
    return list(zip(chosen["source"], chosen["image_name"], strict=True))


def _choose_singles(built: Built, examples: pd.DataFrame) -> list[str]:
    """Chooses the same number of images of each class from each subset in turn, those with boxes first.

    Images that are augmented in place come last. The rarest class chooses first. Each patient is shown once, unless a
    class has no other patient left.
    """
    number = _OF_TWO_CLASSES if len(built.classes) == 2 else _OF_MANY_CLASSES
    left = originals(examples)
    left = left.assign(boxed=left["boxes"] > 0, changed=left["augmentation"] != NO_AUGMENTATION)
    left = left.sort_values(["changed", "boxed", "number"], ascending=[True, False, True])
    having = {name: left[[name in built.labels(label) for label in left["label"]]] for name in built.classes}
    chosen: dict[str, list[str]] = {}
    shown: set[str] = set()
    patients: set[int] = set()
    for name in sorted(having, key=lambda name: len(having[name])):
        of_class = having[name][~having[name]["image_name"].isin(shown)]
        new = of_class[~of_class["patient_id"].isin(patients)]
        of_class = (of_class if new.empty else new).drop_duplicates("patient_id")
        turn = of_class.groupby("subset").cumcount()
        picked = of_class.assign(turn=turn).sort_values("turn", kind="stable").head(number)
        chosen[name] = picked["image_name"].tolist()
        shown.update(chosen[name])
        patients.update(picked["patient_id"])
    return [image for name in built.classes for image in chosen[name]]


def _read_again(built: Built, wanted: pd.DataFrame) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields the row and the example, with its encoded image, of each wanted image. Stops after the last one."""
    for subset, rows in wanted.groupby("subset"):
        rows = {row.number: row for row in rows.itertuples(index=False)}
        for number, example in _numbered(built, str(subset), sorted(rows)):
            yield rows[number], example


def _numbered(built: Built, subset: str, numbers: list[int]) -> Iterable[tuple[int, dict[str, Any]]]:
    raw = {"image": tfds.decode.SkipDecoding()}
    if built.file_format == "array_record":
        source = built.builder.as_data_source(subset, decoders=raw)
        return ((number, source[number]) for number in numbers)
    stored = built.builder.as_dataset(split=subset, decoders=raw, read_config=READ_CONFIG).take(numbers[-1] + 1)
    wanted = frozenset(numbers)
    return ((number, example) for number, example in enumerate(tfds.as_numpy(stored)) if number in wanted)


def make_picture(built: Built, row: Any, example: dict[str, Any], folder: Path) -> Picture:
    """Writes the picture of an example into `folder`/images.

    Args:
      built: The dataset.
      row: What to say of the example: `image_name`, `subset`, `label`, `findings` (a tuple), `augmentation`,
        `patient_age` (years), `patient_sex` and `view_position`.
      example: The example, with its image as encoded bytes.
      folder: The folder of the page.

    Raises:
      ImageError, ValueError: The image cannot be decoded, or a box is outside its image.
    """
    pixels = decode_stored(example["image"], built.config["image_format"])
    smaller = cv2.INTER_AREA if pixels.shape[0] > SIDE else cv2.INTER_CUBIC
    file = f"images/{row.image_name.removesuffix('.png')}.jpg"
    cv2.imwrite(str(folder / file), cv2.resize(pixels, (SIDE, SIDE), interpolation=smaller), _JPEG)
    names = built.builder.info.features["bboxes"]["finding"].names
    boxes = tuple(
        (class_name(names, finding), *_pixels(*map(float, box)))
        for box, finding in zip(example["bboxes"]["bbox"], example["bboxes"]["finding"], strict=True)
        if finding >= 0
    )
    age = "age unknown" if row.patient_age == UNKNOWN_AGE else f"{row.patient_age} years"
    findings = ", ".join(row.findings) or "No Finding"
    return Picture(
        file=file,
        name=row.image_name,
        label=row.label,
        findings=findings,
        details=f"{_words(row.subset)}, {row.view_position}, {_SEX[row.patient_sex]}, {age}"
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
    text = f"{kind}, {view}, {_SEX[row.patient_sex]}, {age}. Findings: {findings.replace('_', ' ')}."
    if row.augmentation != NO_AUGMENTATION:
        of = "Copy of the previous image, augmented" if is_copy(row.image_name) else "Augmented"
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

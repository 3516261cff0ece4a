"""Examples: makes the examples of one source image from its manifest rows, or reports why the image is broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import ImageError, ReleaseError, is_of_the_system
from nih_chest_xray.images import codec, png
from nih_chest_xray.images.augmentation import augment, move
from nih_chest_xray.planning.manifest import Row
from nih_chest_xray.release.sources import StoredImage
from nih_chest_xray.vocabulary import FINDINGS, NO_AUGMENTATION, SOURCE_SIZE, UNREAD

_SHOWN = 20
"""Number of broken images that an error names."""
_NO_BOX = {"bbox": np.zeros(4), "finding": -1}
"""Fills the places of boxes that an image does not have."""


@dataclasses.dataclass(frozen=True)
class Made:
    """The examples made from one source image.

    Attributes:
      source_name: The source image's name.
      examples: The subset, image name and example of each row, as in the builder's schema. `image` holds encoded bytes,
        or with the format 'raw' the pixels, (side, side, 1) uint8.
      copied_side: The side of a resized copy in pixels; None for one of the NIH's own images.
    """

    source_name: str
    examples: tuple[tuple[str, str, dict[str, Any]], ...]
    copied_side: int | None


@dataclasses.dataclass(frozen=True, order=True)
class BrokenImage:
    """A source image that cannot be read.

    Attributes:
      source_name: The image's name.
      problem: Where the image is, and what is wrong with it.
    """

    source_name: str
    problem: str


@dataclasses.dataclass(frozen=True)
class Report:
    """What a build made.

    Attributes:
      names: The image names of the examples.
      digests: The SHA-256 of each archive that was read, by its path.
      broken: The images that could not be read, sorted by name.
      copied_sides: The side in pixels of each source image that is a resized copy, by its name.
    """

    names: frozenset[str]
    digests: Mapping[str, str]
    broken: tuple[BrokenImage, ...]
    copied_sides: Mapping[str, int]


class ExampleMaker(Protocol):
    """Makes the examples of a build, on one machine or with Beam."""

    def broken(self) -> tuple[BrokenImage, ...]:
        """Returns the broken images found so far, sorted by name."""
        ...

    def report(self) -> Report:
        """Returns what was made."""
        ...

    def close(self) -> None:
        """Stops the build's threads and removes its temporary files."""
        ...


def make_examples(stored: StoredImage, rows: Sequence[Row], config: NihChestXrayConfig) -> Made:
    """Makes an example from each manifest row of one source image.

    Args:
      stored: The source image.
      rows: The manifest rows with this `source_name`. Without rows the image is only checked.
      config: The config, which says how to augment, resize and encode.

    Raises:
      ImageError: The bytes are not an image of the release. The message names the image and where it is.
      ReleaseError: The bytes cannot be read.
    """
    content = stored.read()
    try:
        # Decode it even if its bytes are stored unchanged: a broken image must show here, not in training.
        is_copy = config.allow_resized_images and not codec.is_the_nihs(content)
        pixels = codec.decode_copy(content, config.image_size or SOURCE_SIZE) if is_copy else codec.decode(content)
    except ImageError as error:
        advice = "" if config.allow_resized_images else _advice_on_copies(content, config)
        raise ImageError(f"{stored.name} in {stored.place}: {error}{advice}") from error
    side = len(pixels) if is_copy else None
    as_it_is = config.image_size is None and png.is_grey(content)
    examples = []
    for row in rows:
        encoded = content if as_it_is and row.augmentation == NO_AUGMENTATION else _encode(pixels, row, config)
        examples.append((row.subset, row.image_name, {"image": encoded} | fields(row, config)))
    return Made(stored.name, tuple(examples), side)


def try_examples(stored: StoredImage, rows: Sequence[Row], config: NihChestXrayConfig) -> Made | BrokenImage:
    """Makes examples as `make_examples` does, but returns a `BrokenImage` if the image is broken.

    Raises:
      ReleaseError: The system could not read the file. That says nothing about the image.
    """
    try:
        return make_examples(stored, rows, config)
    except (ImageError, ReleaseError) as error:
        if is_of_the_system(error.__cause__):
            raise
        return BrokenImage(stored.name, str(error))


def broken_error(broken: Sequence[BrokenImage], consequence: str = "") -> ImageError:
    """Returns the error that names broken images and where they are, and says what to do.

    Args:
      broken: The images.
      consequence: A last line to use instead of the usual advice.
    """
    shown = [each.problem for each in sorted(broken)[:_SHOWN]]
    more = [f"… and {len(broken) - _SHOWN:,} more"] if len(broken) > _SHOWN else []
    head = "1 image is broken:" if len(broken) == 1 else f"{len(broken):,} images are broken:"
    way_out = (
        consequence
        or 'Get these images again, or build without them with "allow_missing_images": true, which leaves them out.'
    )
    return ImageError("\n".join([head, *shown, *more, way_out]))


def _advice_on_copies(content: bytes, config: NihChestXrayConfig) -> str:
    side = codec.copied_side(content)
    if side is None:
        return ""
    small = config.image_size is None or side < config.image_size
    return '. To build from resized copies: "allow_resized_images": true' + (
        f', with an "image_size" of at most {side}' if small else ""
    )


def _encode(pixels: np.ndarray, row: Row, config: NihChestXrayConfig) -> bytes | np.ndarray:
    """Augments at the NIH's size, so that a rotation blurs as little as possible; then resizes and encodes."""
    if row.augmentation != NO_AUGMENTATION:
        pixels = augment(codec.to_source_size(pixels), row.augmentation, row.draw, config)
    if config.image_size is not None:
        pixels = codec.resize(pixels, config.image_size)
    if config.image_format == "raw":
        return np.ascontiguousarray(pixels)[:, :, np.newaxis]  # TFDS stores the bytes of an array.
    return codec.encode(pixels, config.image_format, config.jpeg_quality)


def plain_fields(row: Row, config: NihChestXrayConfig) -> dict[str, Any]:
    """Returns all features of a manifest row's example except its image, as plain values.

    Classes are names, `findings` a tuple of names, `bboxes` a tuple of ((ymin, xmin, ymax, xmax), finding), sizes and
    spacings pairs, radiologists' answers tuples of numbers, and the label of several findings the NIH's string.
    """
    boxes = row.boxes
    if row.augmentation != NO_AUGMENTATION:
        boxes = move(boxes, row.augmentation, row.draw, config)
    side = config.image_size or SOURCE_SIZE
    sizes = (row.original_width, row.original_height)
    spacing = (row.pixel_spacing_x, row.pixel_spacing_y)
    plain = {
        "label": row.label,
        "image_name": row.image_name,
        "findings": row.findings,
        "bboxes": tuple(((box.ymin, box.xmin, box.ymax, box.xmax), box.finding) for box in boxes),
        "augmentation": row.augmentation,
        "patient_id": row.patient_id,
        "follow_up": row.follow_up,
        "patient_age": row.patient_age,
        "patient_sex": row.patient_sex,
        "view_position": row.view_position,
        "original_size": sizes,
        "pixel_spacing": spacing,
        "mm_per_pixel": tuple(mm * pixels / side for mm, pixels in zip(spacing, sizes, strict=True)),
    }
    if config.definition.read_by_radiologists:
        plain["text_mined_label"] = row.text_mined_label
        plain |= {name: getattr(row, name) for name in UNREAD}
    return plain


def fields(row: Row, config: NihChestXrayConfig) -> dict[str, Any]:
    """Returns all features of a manifest row's example except its image, as in the schema."""
    example = plain_fields(row, config)
    example["findings"] = multi_hot(row.findings)
    if config.definition.multi_label:
        example["label"] = example["findings"]
    boxes = [{"bbox": np.array(bbox), "finding": finding} for bbox, finding in example["bboxes"]]
    example["bboxes"] = boxes + [_NO_BOX] * (config.max_boxes - len(boxes))
    for name in ("original_size", *(UNREAD if config.definition.read_by_radiologists else ())):
        example[name] = np.array(example[name], np.int32)
    for name in ("pixel_spacing", "mm_per_pixel"):
        example[name] = np.array(example[name], np.float32)
    return example


def multi_hot(findings: Collection[str]) -> np.ndarray:
    """Returns (14,) uint8: 1 for each of the findings, in alphabetical order."""
    return np.array([finding in findings for finding in FINDINGS], np.uint8)

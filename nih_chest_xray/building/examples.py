"""Examples: makes the examples of one source image from its manifest rows, or reports why the image is broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import ImageError, ReleaseError, is_of_the_system
from nih_chest_xray.images import codec, png
from nih_chest_xray.images.augmentation import augment, move
from nih_chest_xray.planning.manifest import Row
from nih_chest_xray.release.sources import StoredImage
from nih_chest_xray.tasks import TASKS
from nih_chest_xray.vocabulary import FINDINGS, NO_AUGMENTATION, SOURCE_SIZE, Box

_SHOWN = 20
"""Number of broken images that an error names."""


@dataclasses.dataclass(frozen=True)
class Made:
    """The examples made from one source image.

    Attributes:
      source_name: The source image's name.
      examples: The subset, image name and example of each row. `image` holds encoded bytes; the other features are as
        in the builder's schema.
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

    def examples(self, subset: str) -> Any:
        """Returns the keys and examples of a subset: an iterator, or a Beam transform."""
        ...

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


def _encode(pixels: np.ndarray, row: Row, config: NihChestXrayConfig) -> bytes:
    """Augments at the NIH's size, so that a rotation blurs as little as possible; then resizes and encodes."""
    if row.augmentation != NO_AUGMENTATION:
        pixels = augment(codec.to_source_size(pixels), row.augmentation, row.draw, config)
    if config.image_size is not None:
        pixels = codec.resize(pixels, config.image_size)
    return codec.encode(pixels, config.image_format)


def fields(row: Row, config: NihChestXrayConfig) -> dict[str, Any]:
    """Returns all features of a manifest row's example except its image, as in the schema."""
    task, boxes = TASKS[config.task], row.boxes
    if row.augmentation != NO_AUGMENTATION:
        boxes = move(boxes, row.augmentation, row.draw, config)
    example = {
        "label": row.label,
        "image_name": row.image_name,
        "findings": list(row.findings),
        "bboxes": [{"bbox": _bbox(box), "finding": box.finding} for box in boxes],
        "augmentation": row.augmentation,
        "patient_id": row.patient_id,
        "follow_up": row.follow_up,
        "patient_age": row.patient_age,
        "patient_sex": row.patient_sex,
        "view_position": row.view_position,
        "original_size": np.array([row.original_width, row.original_height], np.int32),
        "pixel_spacing": np.array([row.pixel_spacing_x, row.pixel_spacing_y], np.float32),
    }
    if task.multi_label:
        example["label"] = np.array([finding in row.findings for finding in FINDINGS], np.uint8)
    if task.read_by_radiologists:
        example["text_mined_label"] = row.text_mined_label
    return example


def _bbox(box: Box) -> np.ndarray:
    """Returns a box in TFDS's order: ymin, xmin, ymax, xmax."""
    return np.array([box.ymin, box.xmin, box.ymax, box.xmax])

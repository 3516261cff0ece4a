"""Examples: the bytes of one source image and its rows of the manifest give the examples that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nih_chest_xray import image, png
from nih_chest_xray.augmentation import NO_AUGMENTATION, augment, move
from nih_chest_xray.boxes import Box
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.labels import FINDINGS


def make_examples(
    content: bytes, place: str, rows: Sequence[Any], config: NihChestXrayConfig
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Makes an example of each manifest row of one source image.

    Args:
      content: The source's PNG bytes.
      place: Where they came from, for messages.
      rows: Rows of the manifest with the same `source_name`, as named tuples.
      config: Says how to augment, resize and encode.

    Yields:
      Image name and example. `image` holds encoded bytes, the other features are as the builder's schema has them.

    Raises:
      ImageError: The bytes are not an image of the release. The message names the image and where it lies.
    """
    try:
        # Also where the bytes are stored as they are: whoever trains is not to find out that an image is broken.
        pixels = image.decode(content)
    except image.ImageError as error:
        raise image.ImageError(f"{rows[0].source_name} in {place}: {error}") from error
    for row in rows:
        if config.image_size is None and row.augmentation == NO_AUGMENTATION and png.is_grey(content):
            encoded = content
        else:
            encoded = _encode(pixels, row, config)
        yield row.image_name, {"image": encoded} | fields(row, config)


def _encode(pixels: np.ndarray, row: Any, config: NihChestXrayConfig) -> bytes:
    """Augments at full size, so that a rotation blurs as little as possible, then resizes and encodes."""
    if row.augmentation != NO_AUGMENTATION:
        pixels = augment(pixels, row.augmentation, row.draw, config)
    if config.image_size is not None:
        pixels = image.resize(pixels, config.image_size)
    return image.encode(pixels, config.image_format)


def fields(row: Any, config: NihChestXrayConfig) -> dict[str, Any]:
    """Returns what the example of a manifest row, a named tuple, holds beside its image, as the schema has it."""
    boxes = row.boxes
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
    if config.task == "findings":
        example["label"] = np.array([finding in row.findings for finding in FINDINGS], np.uint8)
    if config.task == "nodule_expert":
        example["text_mined_label"] = row.text_mined_label
    return example


def _bbox(box: Box) -> np.ndarray:
    """Returns the order that TFDS wants: ymin, xmin, ymax, xmax."""
    return np.array([box.ymin, box.xmin, box.ymax, box.xmax])

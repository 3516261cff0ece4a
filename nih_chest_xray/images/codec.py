"""Codec: decodes a source image to grey pixels, resizes them, and encodes them for storage."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from nih_chest_xray.errors import ImageError
from nih_chest_xray.images import png

MAX_SIDE = 4096
"""Side in pixels of the largest resized copy that is decoded."""

_PNG_KINDS = {0: "grey", 2: "RGB", 3: "with a palette", 4: "grey with alpha", 6: "RGBA"}
"""By colour type (table 11.1 of the PNG specification)."""
_JPEG_KINDS = {1: "grey", 3: "RGB", 4: "CMYK"}
"""By number of components."""
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG's frame header (table B.1 of ITU T.81)."""


def decode(content: bytes) -> np.ndarray:
    """Decodes a PNG of the release to grey.

    About one in 200 is RGBA, with R = G = B and alpha 255 everywhere: such an image is reduced to one of the three.

    Args:
      content: A PNG of 1024 x 1024 pixels, 8 bits, grey or RGBA, not interlaced.

    Returns:
      (1024, 1024) uint8.

    Raises:
      ImageError: The bytes are not such a PNG, are truncated or corrupt, or hold colours.
    """
    return _grey(png.decode(content), "PNG")


def _grey(pixels: np.ndarray, image_format: str) -> np.ndarray:
    """Returns (height, width) pixels, given these or three or four channels, the fourth of them alpha.

    Raises:
      ImageError: The channels are not equal, or not opaque.
    """
    if pixels.ndim == 2:
        return pixels
    first = pixels[:, :, 0]
    if any((pixels[:, :, channel] != first).any() for channel in (1, 2)) or (pixels[:, :, 3:] != 255).any():
        raise ImageError(
            f"the {image_format} holds colours or transparency; expected a grey radiograph (R = G = B, opaque)"
        )
    return np.ascontiguousarray(first)


@dataclasses.dataclass(frozen=True)
class _Header:
    """The header of a PNG or JPEG, read before any pixel is decoded."""

    image_format: str
    width: int
    height: int
    bits: int
    kind: str

    def __str__(self) -> str:
        return f"the {self.image_format} has {self.width} x {self.height} pixels, {self.bits} bits, {self.kind}"

    def is_copy(self, least: int) -> bool:
        return (
            self.width == self.height
            and least <= self.width <= MAX_SIDE
            and self.bits == 8
            and self.kind in ("grey", "RGB", "RGBA")
        )


def is_the_nihs(content: bytes) -> bool:
    """Returns whether an image is one of the NIH's own, by its header."""
    try:
        png.is_grey(content)
    except ImageError:
        return False
    return True


def copied_side(content: bytes) -> int | None:
    """Returns the side in pixels of a copy, by its header: a JPEG, or a PNG of another size than the NIH's.

    Args:
      content: An image's bytes, or the first of them.

    Returns:
      The side; None for anything else, so that a broken PNG of the NIH's size is not taken for a copy.
    """
    try:
        header = _read_header(content)
    except ImageError:
        return None
    other = header.image_format == "JPEG" or header.width != png.SOURCE_SIZE
    return header.width if header.is_copy(1) and other else None


def decode_copy(content: bytes, least: int) -> np.ndarray:
    """Decodes a resized copy of one of the NIH's images to grey.

    Args:
      content: A square PNG or JPEG of 8 bits, grey, or RGB or RGBA that is grey in every pixel and opaque.
      least: The smallest side that is accepted, in pixels.

    Returns:
      (side, side) uint8.

    Raises:
      ImageError: The bytes are not such an image, or are truncated or corrupt. (A JPEG has no checksum, so corruption
        may go unnoticed.)
    """
    header = _read_header(content)
    if not header.is_copy(least):
        raise ImageError(
            f"{header}; expected a square copy of {least} to {MAX_SIDE} pixels a side, 8 bits, grey (or RGB or RGBA"
            " that is grey)"
        )
    pixels = _decode_with_opencv(content, header.image_format.lower())
    if pixels is None:
        raise ImageError(f"the {header.image_format} of {len(content)} bytes is cut or corrupt; get this image again")
    return _grey(pixels, header.image_format)


def _read_header(content: bytes) -> _Header:
    if content[:8] == png.SIGNATURE and content[12:16] == b"IHDR" and len(content) >= 33:
        width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
        return _Header("PNG", width, height, content[24], _PNG_KINDS.get(content[25], f"colour type {content[25]}"))
    at = 2
    while content[:2] == b"\xff\xd8" and at + 9 < len(content) and content[at] == 0xFF:
        if content[at + 1] in _JPEG_FRAMES:
            height, width = (int.from_bytes(content[start : start + 2], "big") for start in (at + 5, at + 7))
            kind = _JPEG_KINDS.get(content[at + 9], f"{content[at + 9]} channels")
            return _Header("JPEG", width, height, content[at + 4], kind)
        # A marker may be preceded by any number of bytes 0xFF.
        at += 1 if content[at + 1] == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    raise ImageError(
        f"neither a PNG nor a JPEG: it has {len(content)} bytes and begins with {content[:16]!r}; get this image again"
    )


def _decode_with_opencv(content: bytes, image_format: str) -> np.ndarray | None:
    """Decodes a 'png' or 'jpeg' with all its channels; None for one that is truncated or corrupt."""
    if image_format == "jpeg":
        # A JPEG has no checksum and is decoded as far as it goes, so its end marker is required.
        whole = content[:2] + content[-2:] == b"\xff\xd8\xff\xd9"
    else:
        whole = content[:8] == png.SIGNATURE
        try:
            content = png.essential(content) if whole else content
        except ImageError:
            whole = False
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if whole else None


STORED_AS = {"png": "grey PNG", "jpeg": "grey JPEG", "raw": "grey pixels without compression"}
"""What a dataset's images are, by format, in words."""


def decode_stored(content: bytes, image_format: str) -> np.ndarray:
    """Decodes what `encode` wrote, or one of the NIH's grey PNGs.

    Args:
      content: An encoded image; with 'raw' the pixels of a square one, row by row.
      image_format: 'png', 'jpeg' or 'raw'.

    Returns:
      (height, width) uint8, which may be written to.

    Raises:
      ImageError: The bytes are not of this format, are truncated or corrupt, or not grey with 8 bits.
    """
    if image_format == "raw":
        side = math.isqrt(len(content))
        if not side or side * side != len(content):
            raise ImageError(f"{len(content):,} bytes are no square of raw pixels: they are cut, or not raw")
        return np.frombuffer(bytearray(content), np.uint8).reshape(side, side)
    pixels = png.decode(content, size=None) if image_format == "png" else _decode_with_opencv(content, image_format)
    if pixels is None:
        raise ImageError(f"not a JPEG, or cut or corrupt: {len(content)} bytes that begin with {content[:8]!r}")
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ImageError(f"the {image_format.upper()} has {pixels.shape} {pixels.dtype}; expected grey of 8 bits")
    return pixels


def to_source_size(pixels: np.ndarray) -> np.ndarray:
    """Resizes a copy to (1024, 1024), for which augmentations are defined; a smaller one by linear interpolation."""
    if len(pixels) >= png.SOURCE_SIZE:
        return resize(pixels, png.SOURCE_SIZE)
    return cv2.resize(pixels, (png.SOURCE_SIZE, png.SOURCE_SIZE), interpolation=cv2.INTER_LINEAR_EXACT)


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resizes (height, width) uint8 to (size, size) by area averaging; from 1024 to 512 by the mean of each 2 x 2."""
    if pixels.shape == (size, size):
        return pixels
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)


def encode(pixels: np.ndarray, image_format: str, jpeg_quality: int = 95) -> bytes:
    """Encodes (height, width) uint8 as 'png', as 'jpeg' of a quality from 1 to 100, or as 'raw' pixels row by row."""
    if image_format == "raw":
        return pixels.tobytes()
    if image_format == "png":
        return png.encode(pixels)
    return cv2.imencode(".jpeg", pixels, (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality))[1].tobytes()

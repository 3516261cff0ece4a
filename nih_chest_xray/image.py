"""Pixels: the release's PNG bytes to a grey image, and a grey image to the bytes that are stored."""

from __future__ import annotations

import cv2
import numpy as np

from nih_chest_xray import png
from nih_chest_xray.png import ImageError

JPEG_QUALITY = 95

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)


def decode(content: bytes) -> np.ndarray:
    """Decodes a PNG of the release to grey.

    About one in 200 is RGBA, with R = G = B and alpha 255 everywhere: such an image is reduced to one of the three.

    Args:
      content: A PNG of 1024 x 1024 pixels, 8 bits, grey or RGBA, not interlaced.

    Returns:
      (1024, 1024) uint8.

    Raises:
      ImageError: The bytes are not such a PNG, are cut or corrupt, or hold colours.
    """
    pixels = png.decode(content)
    if pixels.ndim == 3:
        red = pixels[:, :, 0]
        if any((pixels[:, :, channel] != red).any() for channel in (1, 2)) or (pixels[:, :, 3] != 255).any():
            raise ImageError("the PNG holds colours or transparency; expected a grey radiograph (R = G = B, opaque)")
        pixels = np.ascontiguousarray(red)
    return pixels


def decode_stored(content: bytes, image_format: str) -> np.ndarray:
    """Decodes what `encode` wrote, or one of the NIH's grey PNGs, whole.

    Args:
      content: An encoded image.
      image_format: 'png' or 'jpeg'.

    Returns:
      (height, width) uint8.

    Raises:
      ImageError: The bytes are not of this format, are cut or corrupt, or not grey of 8 bits.
    """
    if image_format == "png":
        pixels = png.decode(content, size=None)
    else:
        # A JPEG has no checksum and is decoded as far as it goes, so its end is asked for.
        if content[:2] + content[-2:] != b"\xff\xd8\xff\xd9":
            raise ImageError(f"no JPEG, or a cut one: {len(content)} bytes that begin {content[:8]!r}")
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ImageError(f"the JPEG of {len(content)} bytes is corrupt")
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ImageError(f"the {image_format.upper()} has {pixels.shape} {pixels.dtype}; expected grey of 8 bits")
    return pixels


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Averages areas: (height, width) uint8 to (size, size) uint8. From 1024 to 512 each pixel is the mean of four."""
    if pixels.shape == (size, size):
        return pixels
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)


def encode(pixels: np.ndarray, image_format: str) -> bytes:
    """Encodes (height, width) uint8 as 'png' or 'jpeg'."""
    return png.encode(pixels) if image_format == "png" else cv2.imencode(".jpeg", pixels, _JPEG)[1].tobytes()

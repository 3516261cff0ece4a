"""Pixels: the release's PNG bytes to a grey image, and a grey image to the bytes that are stored."""

from __future__ import annotations

import cv2
import numpy as np

SOURCE_SIZE = 1024
"""Pixels a side of every image of the release."""

JPEG_QUALITY = 95

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGBA = 0, 6
# Huffman coding alone, without a search for repeats, of rows from which the row above was subtracted. For radiographs
# that is as small as zlib's default level, over ten times faster to write and half as slow again to read; and as no
# search is made, the bytes do not depend on how a machine's zlib searches.
_PNG = (
    cv2.IMWRITE_PNG_COMPRESSION,
    1,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY,
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_UP,
)
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)


class ImageError(ValueError):
    """Bytes that are not an image of the release. The message says what is wrong and what was expected."""


def is_grey_png(content: bytes) -> bool:
    """Returns whether the release's PNG has one channel, so that its bytes can be stored as they are.

    Raises:
      ImageError: The bytes do not begin as a PNG of the release does.
    """
    return _colour_type(content) == _GREY


def decode(content: bytes) -> np.ndarray:
    """Decodes a PNG of the release.

    About one in 200 is RGBA, with R = G = B and alpha 255 everywhere: such an image is reduced to one of the three.

    Args:
      content: A PNG of 1024 x 1024 pixels, 8 bits, grey or RGBA, not interlaced.

    Returns:
      (1024, 1024) uint8.

    Raises:
      ImageError: The bytes are not such a PNG, are cut or corrupt, or hold colours.
    """
    _colour_type(content)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ImageError(f"the PNG of {len(content)} bytes is cut or corrupt; get this image again")
    if pixels.ndim == 3:
        red = pixels[:, :, 2]
        # OpenCV's order is blue, green, red, alpha.
        if any((pixels[:, :, channel] != red).any() for channel in (0, 1)) or (pixels[:, :, 3] != 255).any():
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
    # A JPEG has no checksum and is decoded as far as it goes, so its end is asked for.
    whole = content[:8] == _SIGNATURE if image_format == "png" else content[:2] + content[-2:] == b"\xff\xd8\xff\xd9"
    if not whole:
        raise ImageError(f"no {image_format.upper()}, or a cut one: {len(content)} bytes that begin {content[:8]!r}")
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ImageError(f"the {image_format.upper()} of {len(content)} bytes is corrupt")
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
    options = _PNG if image_format == "png" else _JPEG
    return cv2.imencode(f".{image_format}", pixels, options)[1].tobytes()


def _colour_type(content: bytes) -> int:
    """Reads the PNG's header (section 11.2.1 of the PNG specification) before any pixel is decoded."""
    if content[:8] != _SIGNATURE or content[12:16] != b"IHDR" or len(content) < 33:
        raise ImageError(f"not a PNG: it has {len(content)} bytes and begins with {content[:16]!r}")
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    depth, colour_type, interlace = content[24], content[25], content[28]
    if (width, height) != (SOURCE_SIZE, SOURCE_SIZE):
        raise ImageError(
            f"the PNG has {width} x {height} pixels; expected the NIH's {SOURCE_SIZE} x {SOURCE_SIZE},"
            " not a resized copy"
        )
    if depth != 8 or colour_type not in (_GREY, _RGBA) or interlace != 0:
        raise ImageError(
            f"the PNG has {depth} bits, colour type {colour_type} and interlace method {interlace}; expected 8 bits,"
            f" grey ({_GREY}) or RGBA ({_RGBA}), not interlaced"
        )
    return colour_type

"""PNG: reads the release's files, every check sum and every length verified, and writes those of the dataset.

Usual decoders and encoders take twice as long. Inflating is ISA-L's, deflating zlib-ng's. The rest of PNG's decoding,
which is to undo each row's filter, is compiled by Numba, since the NIH's images use the two filters (Average and Paeth)
that other decoders undo slowly for grey images. All leave Python's lock alone, so that as many images are in the works
at a time as there are cores.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from isal import isal_zlib
from zlib_ng import zlib_ng

SOURCE_SIZE = 1024
"""Pixels a side of every image of the release."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGBA = 0, 6
_UP = 2  # The filter that subtracts the row above.
_ESSENTIAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_CHANNELS = {_GREY: 1, _RGBA: 4}


class ImageError(ValueError):
    """Bytes that are not an image of the release. The message says what is wrong and what was expected."""


def is_grey(content: bytes) -> bool:
    """Returns whether a PNG of the release has one channel.

    Raises:
      ImageError: The bytes do not begin as a PNG of the release does.
    """
    return _colour_type(content) == _GREY


def decode(content: bytes) -> np.ndarray:
    """Decodes a PNG of the release.

    Args:
      content: A PNG of 1024 x 1024 pixels, 8 bits, grey or RGBA, not interlaced, without transparent colours.

    Returns:
      (1024, 1024) or (1024, 1024, 4) uint8, the channels in the order red, green, blue, alpha.

    Raises:
      ImageError: The bytes are not such a PNG, or are cut or corrupt.
    """
    colour_type = _colour_type(content)
    rows = _inflate(content, SOURCE_SIZE * (1 + SOURCE_SIZE * _CHANNELS[colour_type]))
    if colour_type == _RGBA:  # One image in 200: the decoder that everyone has will do, after the checks above.
        pixels = cv2.imdecode(np.frombuffer(essential(content), np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ImageError(_corrupt(content, "OpenCV cannot decode it"))
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    pixels = np.empty((SOURCE_SIZE, SOURCE_SIZE), np.uint8)
    bad = _compiled_unfilter()(np.frombuffer(rows, np.uint8), pixels)
    if bad >= 0:
        raise ImageError(_corrupt(content, f"row {bad} has a filter that PNG does not know"))
    return pixels


def encode(pixels: np.ndarray) -> bytes:
    """Encodes a grey image.

    It uses Huffman coding alone, without a search for repeats, of rows from which the row above was subtracted. For
    radiographs that is as small as zlib's default level, many times faster to write and half as slow again to read; and
    as no search is made, the bytes do not depend on how a machine searches.

    Args:
      pixels: (height, width) uint8.
    """
    height, width = pixels.shape
    rows = np.empty((height, 1 + width), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    deflater = zlib_ng.compressobj(1, zlib_ng.DEFLATED, 15, 9, zlib_ng.Z_HUFFMAN_ONLY)
    header = struct.pack(">IIBBBBB", width, height, 8, _GREY, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", deflater.compress(rows) + deflater.flush()), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def essential(content: bytes) -> bytes:
    """Returns a PNG without all that its pixels do not need, every check sum compared.

    The library below OpenCV complains on stderr of colour profiles that it does not like, past Python's own stderr.

    Raises:
      ImageError: The PNG is cut, or a check sum is wrong.
    """
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in _chunks(content) if kind in _ESSENTIAL)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind)))


def _colour_type(content: bytes) -> int:
    """Reads the PNG's header (section 11.2.1 of the PNG specification) before any pixel is decoded."""
    if content[:8] != SIGNATURE or content[12:16] != b"IHDR" or len(content) < 33:
        raise ImageError(
            f"not a PNG: it has {len(content)} bytes and begins with {content[:16]!r}; get this image again"
        )
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    depth, colour_type, interlace = content[24], content[25], content[28]
    if (width, height) != (SOURCE_SIZE, SOURCE_SIZE):
        raise ImageError(
            f"the PNG has {width} x {height} pixels; expected the NIH's {SOURCE_SIZE} x {SOURCE_SIZE},"
            " not a resized copy"
        )
    if depth != 8 or colour_type not in _CHANNELS or interlace != 0:
        raise ImageError(
            f"the PNG has {depth} bits, colour type {colour_type} and interlace method {interlace}; expected 8 bits,"
            f" grey ({_GREY}) or RGBA ({_RGBA}), not interlaced"
        )
    return colour_type


def _inflate(content: bytes, expected: int) -> bytes:
    """Returns the filtered rows, of which there are `expected` bytes; memory is bounded whatever the bytes claim."""
    data = []
    for kind, chunk in _chunks(content):
        if kind == b"IDAT":
            data.append(chunk)
        if kind == b"tRNS":
            raise ImageError("the PNG has a transparent colour; expected a grey radiograph")
    inflater = isal_zlib.decompressobj()
    try:
        rows = inflater.decompress(b"".join(data), expected + 1)
    except isal_zlib.error as error:
        raise ImageError(_corrupt(content, error)) from error
    if len(rows) != expected or not inflater.eof:
        raise ImageError(_corrupt(content, f"{len(rows)} bytes of pixels; expected {expected}"))
    return rows


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yields type and data of each chunk (section 5.3), its check sum compared."""
    view = memoryview(content)
    start, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(view[start : start + 4], "big"), bytes(view[start + 4 : start + 8])
        end = start + 12 + length
        if end > len(content):
            raise ImageError(_corrupt(content, "it ends within a chunk"))
        if isal_zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageError(_corrupt(content, f"the check sum of its chunk {kind!r} is wrong"))
        yield kind, view[start + 8 : end - 4]
        start = end


def _corrupt(content: bytes, problem: object) -> str:
    return f"the PNG of {len(content)} bytes is cut or corrupt ({problem}); get this image again"


@functools.cache
def _compiled_unfilter() -> Callable[[np.ndarray, np.ndarray], int]:
    """Returns `_unfilter`, compiled to run without Python's lock; kept on disk where there is a place for it."""
    import numba  # Not at the top: whoever only loads a dataset does not wait for it.

    options = {"nogil": True, "boundscheck": False}
    try:
        return numba.njit(cache=True, **options)(_unfilter)
    except RuntimeError:  # Neither the package's folder nor the user's cache can be written.
        return numba.njit(**options)(_unfilter)


def _unfilter(rows: np.ndarray, pixels: np.ndarray) -> int:
    """Undoes the filters of a grey image's rows (section 9.2), and returns the first row that has none of them, or -1.

    Args:
      rows: (height * (1 + width)) uint8: for each row its filter, then its bytes.
      pixels: (height, width) uint8, which is filled.
    """
    height, width = pixels.shape
    above = np.zeros(width, np.uint8)
    for y in range(height):
        start = y * (width + 1)
        filtered, row = rows[start + 1 : start + 1 + width], pixels[y]
        kind = rows[start]
        left = np.int32(0)
        if kind == 0:
            row[:] = filtered
        elif kind == 1:
            for x in range(width):
                left = (np.int32(filtered[x]) + left) & 255
                row[x] = left
        elif kind == 2:
            for x in range(width):
                row[x] = filtered[x] + above[x]
        elif kind == 3:
            for x in range(width):
                left = (np.int32(filtered[x]) + ((left + np.int32(above[x])) >> 1)) & 255
                row[x] = left
        elif kind == 4:
            corner = np.int32(0)
            for x in range(width):
                # Paeth's predictor is the one of left, up and corner that is nearest to left + up - corner: the smaller
                # of left and up if corner is so large, the larger if it is so small, else corner.
                up = np.int32(above[x])
                low, high, doubled = min(left, up), max(left, up), 3 * corner - (left + up)
                nearest = low if high <= doubled else corner
                nearest = high if doubled <= low else nearest
                left = (np.int32(filtered[x]) + nearest) & 255
                row[x] = left
                corner = up
        else:
            return y
        above = row
    return -1

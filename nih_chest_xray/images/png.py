"""PNG: decodes the release's images, with every checksum and length verified, and encodes those of the dataset.

Common decoders and encoders take twice as long. zlib-ng inflates and deflates: ISA-L inflates faster, but accepts
streams that zlib, and so TensorFlow, rejects. Numba compiles the rest of the decoding, which undoes each row's filter:
the NIH's images use the two filters (Average and Paeth) that other decoders undo pixel by pixel. All of this releases
the GIL, so that each core can work on an image.
"""

from __future__ import annotations

import functools
import struct
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from zlib_ng import zlib_ng

from nih_chest_xray.errors import ImageError
from nih_chest_xray.vocabulary import SOURCE_SIZE

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGBA = 0, 6
_NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)
"""Filter types (section 9.2 of the PNG specification)."""
_CHANNELS = {_GREY: 1, _RGBA: 4}
_DEFLATE, _WINDOW = 8, 32768
"""Zlib's only compression method, and its largest window in bytes (RFC 1950)."""
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_REFUSED = {b"tRNS": "a transparent colour"} | dict.fromkeys((b"acTL", b"fcTL", b"fdAT"), "several frames")
"""Chunks that change what is shown, or that only some decoders obey."""


def is_grey(content: bytes) -> bool:
    """Returns whether a PNG of the release has one channel.

    Raises:
      ImageError: The bytes do not begin as a PNG of the release does.
    """
    return _header(content, SOURCE_SIZE)[2] == 1


def decode(content: bytes, size: int | None = SOURCE_SIZE) -> np.ndarray:
    """Decodes a PNG of the release, or one that was made from it.

    Rejects everything that TensorFlow rejects, and bytes that belong to no pixel or chunk.

    Args:
      content: A PNG of 8 bits, grey or RGBA, not interlaced, not animated, without transparent colours.
      size: The required side in pixels; None for any up to 1024.

    Returns:
      (height, width) or (height, width, 4) uint8, the channels in the order red, green, blue, alpha.

    Raises:
      ImageError: The bytes are not such a PNG, or are truncated or corrupt.
    """
    height, width, channels = _header(content, size)
    rows = np.frombuffer(_inflate(content, height * (1 + width * channels)), np.uint8).reshape(height, -1)
    if (unknown := np.flatnonzero(rows[:, 0] > _PAETH)).size:
        raise ImageError(_corrupt(content, f"row {unknown[0]} has a filter that PNG does not know"))
    pixels = np.empty((channels, height, width), np.uint8)
    for channel, filled in enumerate(pixels):
        own = rows
        if channels > 1:  # Filters keep channels apart, so each can be undone like an image of its own.
            own = np.hstack([rows[:, :1], rows[:, 1 + channel :: channels]])
        _unfilter(own.reshape(-1), filled)
    return pixels[0] if channels == 1 else np.moveaxis(pixels, 0, 2)


def encode(pixels: np.ndarray) -> bytes:
    """Encodes a grey image.

    Subtracts the row above from each row, and compresses with Huffman coding only, without a search for repeats. For
    radiographs the result is as small as with zlib's default level, many times faster to write, and takes 1.5 times as
    long to read. Without a search, the bytes do not depend on how a machine searches.

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
    """Returns a PNG with only the chunks that its pixels need, every checksum verified.

    OpenCV's PNG library prints complaints about colour profiles to the process's stderr, past Python's.

    Raises:
      ImageError: The PNG is truncated, or a checksum is wrong.
    """
    return SIGNATURE + b"".join(_chunk(kind, bytes(data)) for kind, data in _chunks(content) if kind in _CRITICAL)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib_ng.crc32(data, zlib_ng.crc32(kind)))


def _header(content: bytes, size: int | None) -> tuple[int, int, int]:
    """Returns height, width and channels from the header (section 11.2.1), before any pixel is decoded."""
    if content[:16] != SIGNATURE + b"\0\0\0\rIHDR" or len(content) < 33:
        raise ImageError(
            f"not a PNG: it has {len(content)} bytes and begins with {content[:16]!r}; get this image again"
        )
    width, height, depth, colour_type, *methods, interlace = struct.unpack(">IIBBBBB", content[16:29])
    if size is not None and (width, height) != (size, size):
        raise ImageError(
            f"the PNG has {width} x {height} pixels; expected the NIH's {size} x {size}, not a resized copy"
        )
    if not (0 < width <= SOURCE_SIZE and 0 < height <= SOURCE_SIZE):
        raise ImageError(f"the PNG has {width} x {height} pixels; expected 1 to {SOURCE_SIZE} a side")
    if depth != 8 or colour_type not in _CHANNELS or interlace != 0:
        raise ImageError(
            f"the PNG has {depth} bits, colour type {colour_type} and interlace method {interlace}; expected 8 bits,"
            f" grey ({_GREY}) or RGBA ({_RGBA}), not interlaced"
        )
    if methods != [0, 0]:
        raise ImageError(_corrupt(content, f"compression and filter method are {methods}; PNG knows only [0, 0]"))
    return height, width, _CHANNELS[colour_type]


def _inflate(content: bytes, expected: int) -> bytes:
    """Returns the filtered rows, `expected` bytes; memory is bounded whatever the data claims."""
    data = _pixel_data(content)
    method, window = (data[0] & 15, 256 << (data[0] >> 4)) if data else (_DEFLATE, _WINDOW)
    # Only some decoders accept a window that is smaller than the rows.
    if method != _DEFLATE or not min(expected, _WINDOW) <= window <= _WINDOW:
        problem = f"zlib's method {method} and window {window}; expected {_DEFLATE} and {_WINDOW}"
        raise ImageError(_corrupt(content, problem))
    inflater = zlib_ng.decompressobj()
    try:
        rows = inflater.decompress(data, expected + 1)
    except zlib_ng.error as error:
        raise ImageError(_corrupt(content, error)) from error
    if len(rows) != expected or not inflater.eof:
        raise ImageError(_corrupt(content, f"{len(rows)} bytes of pixels; expected {expected}"))
    if inflater.unused_data:
        raise ImageError(_corrupt(content, f"{len(inflater.unused_data)} bytes behind the end of its pixels"))
    return rows


def _pixel_data(content: bytes) -> bytes:
    """Returns the data of the IDAT chunks, if the other chunks leave no doubt what the PNG shows (section 5.6)."""
    data: list[memoryview] = []
    seen: list[bytes] = []  # Chunk types; a run of the same type counts once.
    for kind, chunk in _chunks(content):
        if kind in _REFUSED:
            raise ImageError(f"the PNG has {_REFUSED[kind]}; expected a grey radiograph")
        if not kind.isalpha() or not kind[2:3].isupper():
            raise ImageError(_corrupt(content, f"its chunk {kind!r} has a name that PNG does not allow"))
        if kind[:1].isupper():  # Critical: a decoder that does not know it must not show the image.
            if kind not in _CRITICAL:
                raise ImageError(_corrupt(content, f"its chunk {kind!r} is critical and unknown"))
            if kind in seen and not kind == seen[-1] == b"IDAT":
                raise ImageError(_corrupt(content, f"its chunk {kind!r} comes again"))
        if kind == b"IDAT":
            data.append(chunk)
        if not seen or kind != seen[-1]:
            seen.append(kind)
    return b"".join(data)


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yields type and data of each chunk (section 5.3), its checksum verified, to the end of the bytes."""
    view = memoryview(content)
    start, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(view[start : start + 4], "big"), bytes(view[start + 4 : start + 8])
        end = start + 12 + length
        if end > len(content):
            raise ImageError(_corrupt(content, "it ends within a chunk"))
        if zlib_ng.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageError(_corrupt(content, f"the check sum of its chunk {kind!r} is wrong"))
        yield kind, view[start + 8 : end - 4]
        start = end
    if length or start != len(content):
        raise ImageError(_corrupt(content, f"{length + len(content) - start} bytes in or behind its end, IEND"))


def _corrupt(content: bytes, problem: object) -> str:
    return f"the PNG of {len(content)} bytes is cut or corrupt ({problem}); get this image again"


def _unfilter(rows: np.ndarray, pixels: np.ndarray) -> None:
    """Undoes the filters of one channel's rows (section 9.2), whose types are known.

    A pixel depends on the one to its left and on the row above, so neither a row nor a column can be undone at once.
    All pixels with the same x + y can: each depends on pixels of the two sums before. So the rows are laid out by
    x + y, and the processor undoes dozens of pixels at a time.

    Args:
      rows: (height * (1 + width)) uint8: for each row its filter type, then its bytes.
      pixels: (height, width) uint8, filled by this function.
    """
    height, width = pixels.shape
    sums = height + width - 1
    filtered, undone, skewed = _scratch(height, width)
    # Row y begins width + 1 bytes after the one above. In a view whose rows begin width bytes after each other, it is
    # moved right by y: the column is x + y.
    cv2.transpose(np.lib.stride_tricks.as_strided(rows[1:], (height, sums), (width, 1)), filtered)
    _compiled_by_sums()(filtered, rows[:: width + 1].astype(np.int16), undone)
    cv2.transpose(undone[2:, 1:], skewed)
    pixels[:] = np.lib.stride_tricks.as_strided(skewed, (height, width), (sums + 1, 1))


_threads = threading.local()


def _scratch(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns three arrays, of 2 MB for the NIH's images, which each thread keeps: new ones would be slow to fill."""
    if getattr(_threads, "shape", None) != (height, width):
        sums = height + width - 1
        # Of pixels also two sums and a row that lie outside the image, where filters take all to be 0.
        shapes = ((sums, height), (sums + 2, height + 1), (height, sums))
        _threads.shape, _threads.arrays = (height, width), [np.zeros(shape, np.uint8) for shape in shapes]
    return _threads.arrays


@functools.cache
def _compiled_by_sums() -> Callable[[np.ndarray, np.ndarray, np.ndarray], None]:
    """Returns `_by_sums`, compiled to run without the GIL; cached on disk if possible."""
    import numba  # Not at the top: loading a dataset does not need it, and it is slow to import.

    options = {"nogil": True, "boundscheck": False}
    try:
        return numba.njit(cache=True, **options)(_by_sums)
    except RuntimeError:  # Neither the package's folder nor the user's cache is writable.
        return numba.njit(**options)(_by_sums)


def _by_sums(filtered: np.ndarray, kinds: np.ndarray, undone: np.ndarray) -> None:
    """Undoes the filters of the pixels with the same x + y, for one sum after another.

    Args:
      filtered: (height + width - 1, height) uint8: the filtered byte of the pixel x, y at [x + y, y].
      kinds: (height,) int16, the filter type of each row.
      undone: (height + width + 1, height + 1) uint8, filled by this function: the pixel x, y at [x + y + 2, y + 1].
        The column 0 is 0.
    """
    height = len(kinds)
    for total in range(len(filtered)):
        first, end = max(0, total - (len(filtered) - height)), min(height, total + 1)
        given, kind = filtered[total, first:end], kinds[first:end]
        # For each of these rows: the pixel to the left, the pixel above, and the one to the left of that.
        lefts, aboves = undone[total + 1, first + 1 : end + 1], undone[total + 1, first:end]
        corners, row = undone[total, first:end], undone[total + 2, first + 1 : end + 1]
        for y in range(end - first):
            left, up, corner = np.int16(lefts[y]), np.int16(aboves[y]), np.int16(corners[y])
            both = np.int16(left + up)
            # Paeth's predictor is the one of left, up and corner that is nearest to left + up - corner: the smaller of
            # left and up if corner is large enough, the larger if corner is small enough, else corner.
            low, high = min(left, up), max(left, up)
            doubled = np.int16(np.int16(np.int16(3) * corner) - both)
            predicted = low if high <= doubled else corner
            predicted = high if doubled <= low else predicted
            predicted = np.int16(both >> 1) if kind[y] == _AVERAGE else predicted
            predicted = up if kind[y] == _UP else predicted
            predicted = left if kind[y] == _SUB else predicted
            predicted = np.int16(0) if kind[y] == _NONE else predicted
            row[y] = np.uint8(np.int16(given[y]) + predicted)
        if end < height:
            undone[total + 2, end + 1] = 0  # The pixel to the left of the next row's first.

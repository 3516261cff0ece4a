"""Mutates PNGs, and compares what the package's decoder says of each with what TensorFlow, OpenCV and Pillow say.

    python tests/mutated_pngs.py [--release DIR] [--mutations 50000] [--seed 0] [--sample 0.1]

The images are those in DIR/images, every second one RGBA, or drawn ones. What the package accepts all others decode; of
what it refuses, they decode a sample. It prints one line of JSON:

    accepted                        how many of the mutated PNGs each decoder accepted, of those that it was given
    accepted_refused_by_tensorflow  by the package, that is: has to be 0
    accepted_with_other_pixels      than one of the others has: has to be 0
    refused_accepted_by_all         by the package, and of the sample, by kind of mutation: the specification forbids
                                    such files, or they are no radiographs

Where one of the two is not 0, it also prints which mutations these are, and ends with status 1.
"""

import argparse
import collections
import dataclasses
import functools
import io
import json
import multiprocessing
import os
import random
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from bad_files import GREY, RGBA, chunk, empty_blocks, png

from nih_chest_xray.errors import ImageError
from nih_chest_xray.images.png import SIGNATURE, decode
from nih_chest_xray.vocabulary import SOURCE_SIZE

PROCESSES = 2

# Mutations. Each takes the chunks of a PNG, type and data, and changes them; check sums are made afterwards. What is no
# longer a row of chunks it returns as bytes.

Chunks = list[tuple[bytes, bytes]]

KINDS = (
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"cHRM", b"sRGB", b"iCCP"),
    *(b"sBIT", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"tIME", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"cICP", b"oFFs"),
    *(b"pCAL", b"sCAL", b"vpAg", b"ABCD", b"abCd", b"abcd", b"aBcD"),
)
ANIMATION = struct.pack(">II", 2, 0)


def frame(number: int, size: int) -> bytes:
    return struct.pack(">IIIIIHHBB", number, size, size, 0, 0, 1, 10, 0, 0)


def place_of(draw: random.Random, chunks: Chunks) -> int:
    """Returns the number of a chunk; of the many IDATs in a row the first and the last are as likely as all others."""
    pixels = [number for number, (kind, _) in enumerate(chunks) if kind == b"IDAT"]
    others = [number for number, (kind, _) in enumerate(chunks) if kind != b"IDAT"]
    return draw.choice([*others, *pixels[:1], *pixels[-1:], *draw.choices(pixels)] if pixels else others)


def some_bytes(draw: random.Random) -> bytes:
    return draw.randbytes(draw.choice((0, 1, 1, 2, 3, 4, 6, 7, 8, 9, 13, 26, 32, 768, 769, 3000)))


def flipped(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        if changed:
            changed[draw.randrange(draw.choice((len(data), min(len(data), 16))))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def insert(draw: random.Random, chunks: Chunks) -> None:
    kind = draw.choice((*KINDS, draw.randbytes(4)))
    packed = b"Title\0\0" + zlib.compress(b"text")
    data = draw.choice((some_bytes(draw), ANIMATION, packed, packed[:-3]))
    chunks.insert(draw.randrange(len(chunks) + 1) if draw.random() < 0.3 else place_of(draw, chunks), (kind, data))


def insert_several(draw: random.Random, chunks: Chunks) -> None:
    for _ in range(draw.randint(2, 5)):
        insert(draw, chunks)


def delete(draw: random.Random, chunks: Chunks) -> None:
    del chunks[place_of(draw, chunks)]


def duplicate(draw: random.Random, chunks: Chunks) -> None:
    chunks.insert(place_of(draw, chunks), chunks[place_of(draw, chunks)])


def move(draw: random.Random, chunks: Chunks) -> None:
    moved = chunks.pop(place_of(draw, chunks))
    chunks.insert(draw.randrange(len(chunks) + 1) if draw.random() < 0.3 else place_of(draw, chunks), moved)


def rename(draw: random.Random, chunks: Chunks) -> None:
    number = place_of(draw, chunks)
    kind, data = chunks[number]
    chunks[number] = draw.choice((draw.choice(KINDS), flipped(draw, kind), kind.swapcase(), kind.lower())), data


def change_flag(draw: random.Random, chunks: Chunks) -> None:
    """Changes the case of one letter of a name, which says whether a chunk is critical, public or safe to copy."""
    number, letter = place_of(draw, chunks), draw.randrange(4)
    kind, data = chunks[number]
    chunks[number] = kind[:letter] + kind[letter : letter + 1].swapcase() + kind[letter + 1 :], data


def change_header(draw: random.Random, chunks: Chunks) -> None:
    fields = bytearray(chunks[0][1])
    if fields:
        fields[draw.randrange(8, len(fields)) if draw.random() < 0.7 else draw.randrange(8)] = draw.choice(
            (0, 1, 2, 3, 4, 6, 8, 16, 64, 255, draw.randrange(256))
        )
    chunks[0] = chunks[0][0], bytes(fields)


def change_data(draw: random.Random, chunks: Chunks) -> None:
    number = place_of(draw, chunks)
    kind, data = chunks[number]
    chunks[number] = kind, flipped(draw, data)


def change_length(draw: random.Random, chunks: Chunks) -> None:
    number = place_of(draw, chunks)
    kind, data = chunks[number]
    chunks[number] = kind, draw.choice((data[: draw.randint(0, len(data))], data + some_bytes(draw), data[1:]))


def animate(draw: random.Random, chunks: Chunks) -> None:
    """Makes it the first of two frames, perhaps leaving out a part of what that takes."""
    size = struct.unpack(">I", chunks[0][1][:4])[0]
    pixels = [number for number, (kind, _) in enumerate(chunks) if kind == b"IDAT"]
    second = [(b"fdAT", struct.pack(">I", 2) + b"".join(chunks[number][1] for number in pixels))]
    parts = [[(b"acTL", ANIMATION)], [(b"fcTL", frame(0, size))], [(b"fcTL", frame(1, size))], second]
    start, starts, between, more = (part if draw.random() < 0.8 else [] for part in parts)
    chunks[pixels[-1] + 1 : pixels[-1] + 1] = between + more
    chunks[pixels[0] : pixels[0]] = start + starts


def stream(chunks: Chunks) -> bytes:
    return b"".join(data for kind, data in chunks if kind == b"IDAT")


def with_stream(draw: random.Random, chunks: Chunks, data: bytes) -> None:
    """Replaces the IDATs by others that hold these bytes, cut anywhere, some of them empty."""
    first = next(number for number, (kind, _) in enumerate(chunks) if kind == b"IDAT")
    cuts = sorted(draw.choice((draw.randint(0, len(data)), draw.randint(0, 4))) for _ in range(draw.choice((0, 1, 3))))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    chunks[:] = [each for each in chunks if each[0] != b"IDAT"]
    chunks[first:first] = [(b"IDAT", piece) for piece in pieces]


def divide(draw: random.Random, chunks: Chunks) -> None:
    with_stream(draw, chunks, stream(chunks))


def change_stream(draw: random.Random, chunks: Chunks) -> None:
    """Changes zlib's header, with its check made right or not, or its end."""
    data = stream(chunks)
    way = draw.randrange(6)
    if way < 2:
        head = (draw.randrange(16) << 4 | draw.choice((8, 8, 8, draw.randrange(16)))) << 8 | draw.randrange(8) << 5
        data = (head + (31 - head % 31 if way else draw.randrange(32))).to_bytes(2, "big") + data[2:]
    elif way == 2:
        data = data[: -draw.randint(1, 9)]
    elif way == 3:
        data += draw.choice((some_bytes(draw), data[:2000], zlib.compress(b"more")))
    elif way == 4:
        data = data[:-4] + flipped(draw, data[-4:])
    else:
        data = data[:2] + flipped(draw, data[2:])
    with_stream(draw, chunks, data)


def change_codes(draw: random.Random, chunks: Chunks) -> None:
    """Puts a block without content before the others, of which the codes may be none: the pixels stay as they are."""
    data, block = stream(chunks), empty_blocks(draw.choice((1, 2)))
    if draw.random() < 0.8:
        block = flipped(draw, block)
    with_stream(draw, chunks, data[:2] + block + data[2:])


def pack_otherwise(draw: random.Random, chunks: Chunks) -> None:
    rows = zlib.decompress(stream(chunks))
    strategy = draw.choice((zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED))
    packer = zlib.compressobj(draw.choice((0, 1, 1, 6)), zlib.DEFLATED, draw.choice((9, 12, 15, 15)), 9, strategy)
    half = len(rows) // 2
    flushed = packer.flush(draw.choice((zlib.Z_NO_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH)))
    with_stream(draw, chunks, packer.compress(rows[:half]) + flushed + packer.compress(rows[half:]) + packer.flush())


def change_rows(draw: random.Random, chunks: Chunks) -> None:
    """Changes filters and bytes before they are packed, or how many there are."""
    height = struct.unpack(">I", chunks[0][1][4:8])[0]
    rows = np.frombuffer(zlib.decompress(stream(chunks)), np.uint8).reshape(height, -1).copy()
    for _ in range(draw.randint(1, 5)):
        first, last = sorted(draw.choices(range(height), k=2))
        rows[first : last + 1, 0] = draw.choice((0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, draw.randrange(256)))
        rows[first : last + 1, draw.randrange(rows.shape[1])] = draw.choice((0, 1, 2, 3, 4, 128, 255))
    data = rows.tobytes()
    if draw.random() < 0.2:
        data = draw.choice((data[: -draw.randint(1, 2000)], data + bytes(draw.randint(1, 2000))))
    with_stream(draw, chunks, zlib.compress(data, 1))


def written(chunks: Chunks) -> bytes:
    return SIGNATURE + b"".join(chunk(kind, data) for kind, data in chunks)


def spoil_sum(draw: random.Random, chunks: Chunks) -> bytes:
    number = place_of(draw, chunks)
    before, spoilt, behind = chunks[:number], chunk(*chunks[number]), chunks[number + 1 :]
    return written(before) + spoilt[:-4] + flipped(draw, spoilt[-4:]) + written(behind)[8:]


def spoil_length(draw: random.Random, chunks: Chunks) -> bytes:
    number = place_of(draw, chunks)
    length = len(chunks[number][1])
    length = draw.choice((0, length + 1, draw.randrange(1 << 32), (1 << 31) - 1, 1 << 31, (1 << 32) - 1))
    spoilt = length.to_bytes(4, "big") + chunk(*chunks[number])[4:]
    return written(chunks[:number]) + spoilt + written(chunks[number + 1 :])[8:]


def flip(draw: random.Random, chunks: Chunks) -> bytes:
    return flipped(draw, written(chunks))


def cut(draw: random.Random, chunks: Chunks) -> bytes:
    content = written(chunks)
    return content[: draw.choice((draw.randrange(len(content)), -draw.randint(1, 20), draw.randint(0, 60)))]


def cut_out(draw: random.Random, chunks: Chunks) -> bytes:
    content = written(chunks)
    start = draw.choice((draw.randrange(len(content)), draw.randint(0, 60), len(content) - draw.randint(1, 20)))
    return content[:start] + content[start + draw.choice((1, 2, 4, 12, 500)) :]


def put_in(draw: random.Random, chunks: Chunks) -> bytes:
    content = written(chunks)
    start = draw.choice((draw.randrange(len(content)), draw.randint(0, 60), len(content) - draw.randint(0, 20)))
    return content[:start] + some_bytes(draw) + content[start:]


MUTATIONS: tuple[Callable[[random.Random, Chunks], bytes | None], ...] = (
    *(insert, insert, insert, insert_several, delete, duplicate, move, rename, change_flag, change_header, change_data),
    *(change_length, animate, divide, change_stream, change_codes, pack_otherwise, change_rows, spoil_sum),
    *(spoil_length, flip, cut, cut_out, put_in),
)


def parse(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and data of each chunk, to the last that is whole."""
    start = len(SIGNATURE)
    while (end := start + 12 + int.from_bytes(content[start : start + 4], "big")) <= len(content):
        yield content[start + 4 : start + 8], content[start + 8 : end - 4]
        start = end


def mutated(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    """Returns a PNG of which something was changed, and the name of the mutation."""
    mutate = draw.choice(MUTATIONS)
    chunks = list(parse(content))
    changed = mutate(draw, chunks)
    return mutate.__name__, written(chunks) if changed is None else changed


# Decoders. Each returns (height, width) or (height, width, channels), or None for what it refuses.


def ours(content: bytes, size: int | None = SOURCE_SIZE) -> np.ndarray | None:
    try:
        return decode(content, size)
    except ImageError:
        return None


def tensorflow(content: bytes) -> np.ndarray | None:
    import tensorflow as tf

    try:
        pixels = tf.io.decode_png(content, channels=0).numpy()
    except tf.errors.InvalidArgumentError:
        return None
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def opencv(content: bytes) -> np.ndarray | None:
    if b"IEND" not in dict(parse(content)):
        return (
            None  # As OpenCV says itself, but not before it filled gigabytes, if that is what a chunk claims to have.
        )
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA) if pixels is not None and pixels.shape[2:] == (4,) else pixels


def pillow(content: bytes) -> np.ndarray | None:
    try:
        with PIL.Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return np.asarray(image)
    except Exception:  # Pillow has no error of its own: bad bytes give those of struct, zlib and many others.
        return None


OTHERS = (tensorflow, opencv, pillow)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the decoders say of one file.

    Attributes:
      accepts: By decoder; the package's is `ours`, the others are left out of what was not theirs to decode.
      same: Whether those of the others that accept it have the package's pixels, if the package accepts it.
    """

    accepts: dict[str, bool]
    same: bool

    @property
    def refused_by_tensorflow(self) -> bool:
        return self.accepts["ours"] and not self.accepts["tensorflow"]

    @property
    def refused_by_us_alone(self) -> bool:
        return not self.accepts["ours"] and len(self.accepts) > 1 and all(list(self.accepts.values())[1:])


def judge(content: bytes, size: int | None = SOURCE_SIZE, always: bool = True) -> Verdict:
    """Decodes with all decoders; with `always` false, with the others only what the package accepts."""
    pixels = ours(content, size)
    if pixels is None and not always:
        return Verdict({"ours": False}, same=True)
    theirs = {decoder.__name__: decoder(content) for decoder in OTHERS}
    accepts = {name: found is not None for name, found in theirs.items()}
    same = pixels is None or all(found is None or np.array_equal(found, pixels) for found in theirs.values())
    return Verdict({"ours": pixels is not None} | accepts, same)


# The script.


@functools.cache
def images(release: str | None) -> tuple[list[bytes], list[bytes]]:
    """Returns grey images and RGBA ones."""
    if release is None:
        return [png(extra=chunk(b"tIME", bytes(7)))], [png(RGBA, extra=chunk(b"sRGB", b"\0"))]
    contents = [path.read_bytes() for path in sorted(Path(release, "images").glob("*.png"))]
    found = tuple([content for content in contents if content[25] == colour] for colour in (GREY, RGBA))
    assert all(found), f"{release} has no grey images, or no RGBA ones"
    return found


def work(options: argparse.Namespace, numbers: range) -> collections.Counter:
    """Returns how often what happened."""
    counts = collections.Counter()
    for number in numbers:
        draw = random.Random(f"{options.seed} {number}")
        kind, content = mutated(draw, draw.choice(images(options.release)[number % 2]))
        verdict = judge(content, always=draw.random() < options.sample)
        counts.update(("accepted", name) for name, accepts in verdict.accepts.items() if accepts)
        counts["given_to_others"] += len(verdict.accepts) > 1
        counts["refused by TensorFlow", f"{number} {kind}"] += verdict.refused_by_tensorflow
        counts["other pixels", f"{number} {kind}"] += not verdict.same
        counts["refused by us alone", kind] += verdict.refused_by_us_alone
    return +counts


def be_quiet() -> None:
    """Keeps libpng's warnings, a line for each file that it does not like, from the screen."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", help="folder of the release; without it the images are drawn")
    parser.add_argument("--mutations", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=float, default=0.1, help="share of the refused ones that the others decode")
    options = parser.parse_args()
    counts = collections.Counter()
    pieces = [range(start, min(start + 100, options.mutations)) for start in range(0, options.mutations, 100)]
    with multiprocessing.get_context("spawn").Pool(PROCESSES, be_quiet) as pool:
        for done in pool.imap_unordered(functools.partial(work, options), pieces):
            counts.update(done)

    def group(name: str) -> dict[str, int]:
        return {key[1]: count for key, count in sorted(counts.items(), key=str) if key[0] == name}

    refused, other = group("refused by TensorFlow"), group("other pixels")
    summary = {
        "mutations": options.mutations,
        "accepted": {decoder.__name__: group("accepted").get(decoder.__name__, 0) for decoder in (ours, *OTHERS)},
        "given_to_others": counts["given_to_others"],
        "accepted_refused_by_tensorflow": len(refused),
        "accepted_with_other_pixels": len(other),
        "refused_accepted_by_all": group("refused by us alone"),
    }
    print(json.dumps(summary), flush=True)
    if refused or other:
        sys.exit(f"refused by TensorFlow: {list(refused)}; other pixels: {list(other)}")


if __name__ == "__main__":
    main()

"""Bad files: a small release in which something is wrong, drawn by code, and how a build reads it."""

import bz2
import dataclasses
import functools
import gzip
import hashlib
import io
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from etils import epath

from nih_chest_xray.building.examples import make_examples
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import ImageError, ReleaseError, TableError, TransferError
from nih_chest_xray.planning.manifest import RowsOfSource
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release.downloads import complete_images, complete_tables
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.release import KnownFile, known_files
from nih_chest_xray.release.tables import needed_tables, read_tables
from nih_chest_xray.tables import boxes, labels
from nih_chest_xray.vocabulary import BOX_FILE, EXPERT_FILES, EXPERT_FINDINGS, LABEL_FILES, OFFICIAL_LISTS

LABELS = LABEL_FILES[0]
NAMES = tuple(f"{patient:08d}_000.png" for patient in range(1, 31))
NAME = NAMES[0]
MB = bytes(1 << 20)
BOMB = 160
"""Megabytes of zeros."""

# A release of 30 patients without fault, but for its images, of which only the first is ever read.
ROWS = tuple(
    f"{name},{'Nodule' if number % 2 else 'No Finding'},0,{number},58,M,PA,2500,2048,0.143,0.143"
    for number, name in enumerate(NAMES, start=1)
)
ANSWERS = ("YES", "NO")
_EXPERT_HEADER = f"{labels.OFFICIAL_HEADER},{','.join(EXPERT_FINDINGS)}"


def lines(*rows: str) -> bytes:
    return "\n".join(rows).encode()


TABLES = {
    LABELS: lines(labels.OFFICIAL_HEADER, *ROWS),
    BOX_FILE: lines(boxes.OFFICIAL_HEADER, f"{NAME},Nodule,10,10,20,20,,,"),
    OFFICIAL_LISTS["test"]: lines(*NAMES[:8]),
    OFFICIAL_LISTS["train_val"]: lines(*NAMES[8:]),
    EXPERT_FILES["validation"]: lines(
        _EXPERT_HEADER, *(f"{row},NO,NO,NO,{ANSWERS[i % 2]}" for i, row in enumerate(ROWS[:6]))
    ),
    EXPERT_FILES["test"]: lines(
        _EXPERT_HEADER, *(f"{row},NO,NO,NO,{ANSWERS[i % 2]}" for i, row in enumerate(ROWS[6:12]))
    ),
}


def no_network(files):
    raise TransferError("no network")


def config_of(split: str, own: bool) -> NihChestXrayConfig:
    return NihChestXrayConfig(
        name="bad",
        task="nodule_expert" if split == "expert" else "binary",
        split=split,
        healthy_stride=1,
        validation_fraction=0.2,
        test_fraction=0.2,
        image_size=None,
        allow_missing_images=own,
    )


def read_release(folder: Path, split: str = "stratified", own: bool = True) -> dict[str, bytes]:
    """Reads tables and one image as a build does, on a machine without a network.

    Args:
      folder: Where the release is.
      split: The config's.
      own: Whether archives may be other than the NIH's, and images may be missing.

    Returns:
      The examples' images.
    """
    config, known, wanted = config_of(split, own), known_files(), frozenset({NAME})
    found = find_release(epath.Path(folder), known, own, needed_tables(config))
    plan = make_plan(read_tables(complete_tables(found, config, known, no_network), config, known), config)
    if not own:
        found = complete_images(found, wanted, known, no_network)
    rows = RowsOfSource(plan.manifest)
    if not found.held(wanted):
        raise ReleaseError(found.not_taken())  # As the builder's error says.
    return {
        name: example["image"]
        for image in found.images(wanted)
        for _, name, example in make_examples(image, rows[image.name], config).examples
    }


def build_from_official_archive(folder: Path) -> None:
    """Builds a dataset of all images, taking the archive that is there for the NIH's own."""
    import tensorflow_datasets as tfds

    from nih_chest_xray import Builder

    content = (folder / "images_001.tar.gz").read_bytes()
    official = KnownFile("", len(content), hashlib.sha256(content).hexdigest())
    with mock.patch(
        "nih_chest_xray.nih_chest_xray_dataset_builder.known_files",
        return_value=known_files() | {"images_001.tar.gz": official},
    ):
        builder = Builder(config=config_of("stratified", own=False), data_dir=folder / "data")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder))


@dataclasses.dataclass(frozen=True)
class Case:
    """A bad input.

    Attributes:
      error: What it must give.
      message: Is searched in the error's text.
      files: Returns what is put into the folder, by path: bytes, what makes the file, or None for none of this name.
      read: Takes the folder.
    """

    error: type[Exception]
    message: str
    files: Callable[[], dict[str, bytes | Callable[[Path], object] | None]]
    read: Callable[[Path], object] = read_release

    def write(self, folder: Path) -> None:
        for name, content in (TABLES | self.files()).items():
            if content is None:
                continue
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(path)
            else:
                path.write_bytes(content)


# PNGs.

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
SHADES = np.linspace(0, 255, 1024).astype(np.uint8)[None].repeat(1024, axis=0)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def rows_of(colour: int = GREY, size: int = 1024, depth: int = 8) -> bytes:
    """Returns unfiltered rows of shades: a filter byte each, 0, then the samples, opaque where there is an alpha."""
    samples = np.repeat(SHADES[:size, :size, None], CHANNELS[colour] * depth // 8, axis=2)
    if colour in (GREY_ALPHA, RGBA):
        samples[:, :, -1] = 255
    return np.pad(samples.reshape(size, -1), ((0, 0), (1, 0))).tobytes()


def png(
    colour=GREY, size=1024, depth=8, interlace=0, rows=None, idat=None, extra=b"", methods=(0, 0), between=b""
) -> bytes:
    """Returns a PNG, without fault unless told otherwise.

    Args:
      colour: Its colour type.
      size: Pixels a side.
      depth: Bits a sample.
      interlace: Its interlace method.
      rows: What is deflated.
      idat: What is deflated already; in several chunks if it is several.
      extra: Chunks between the header and the pixels.
      methods: Of compression and of filters.
      between: Chunks between those of `idat`.
    """
    header = struct.pack(">IIBBBBB", size, size, depth, colour, *methods, interlace)
    if idat is None:
        idat = zlib.compress(rows_of(colour, min(size, 1024), depth) if rows is None else rows, 1)
    pixels = between.join(chunk(b"IDAT", data) for data in ((idat,) if isinstance(idat, bytes) else idat))
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), extra, pixels, chunk(b"IEND", b"")])


def empty_blocks(distance: int) -> bytes:
    """Returns two deflated blocks without content (section 3.2.3 of RFC 1951), the second of which ends with a byte.

    Args:
      distance: The bits of the only code of distances in the first. With 1 bit zlib takes the block; with 2 bits three
        codes stand for nothing, which zlib refuses and other inflaters take.
    """
    # The lengths of codes are packed themselves: here 1 and 2 bits are one length, and 8 and 9 the others.
    codes = {8: "0", distance: "10", 9: "11"}
    packed = {8: "100", distance: "010", 9: "010"}  # 1, 2 and 2 bits, each number in 3 bits, the lowest first.
    order = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
    lengths = "".join(packed.get(length, "000") for length in order)
    # 255 bytes have codes of 8 bits, the last byte and the end of the block have 9.
    own = "001" + "00000" + "00000" + "0111" + lengths + 255 * codes[8] + 2 * codes[9] + codes[distance] + "1" * 9
    bits = own + "000"
    return int(bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little") + b"\0\0\xff\xff"


def flip(content: bytes, place: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 1
    return bytes(damaged)


def with_filter(rows: bytes, kind: int) -> bytes:
    return bytes([kind]) + rows[1:]


def zeros(wbits: int, head: bytes = b"", megabyte: bytes = MB) -> bytes:
    """Returns a bomb, of zeros or of another megabyte, deflated piece by piece so that the test needs no memory."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(head) + b"".join(packer.compress(megabyte) for _ in range(BOMB)) + packer.flush()


# Archives.


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, size: int | None = None) -> bytes:
    """Returns a tar's member: a header, which may lie, and the content in blocks."""
    info = tarfile.TarInfo(f"images/{name}")
    info.type, info.size = kind, len(content) if size is None else size
    info.linkname = "/etc/hostname" if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE) else ""
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


SPARSE = {
    "0.0": {"size": "512", "numblocks": "1", "offset": "0", "numbytes": "512"},
    "0.1": {"size": "512", "numblocks": "1", "map": "0,512"},
    "1.0": {"major": "1", "minor": "0", "realsize": "512"},
}
"""Fields of a PAX header, by the versions in which GNU tar wrote members with holes."""


def sparse(version: str, content: bytes) -> bytes:
    """Returns a member as GNU tar writes it; in version 1.0 its content begins with a list of holes."""
    info = tarfile.TarInfo(f"images/GNUSparseFile.1/{NAME}")
    fields = SPARSE[version] | {"name": f"images/{NAME}"}
    info.size, info.pax_headers = len(content), {f"GNU.sparse.{field}": value for field, value in fields.items()}
    return info.tobuf(tarfile.PAX_FORMAT) + content


LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
END = bytes(2 * tarfile.BLOCKSIZE)


@functools.cache
def tar() -> bytes:
    return member(NAME, png()) + member(NAMES[1], png()) + END


@functools.cache
def tar_gz(content: bytes | None = None) -> bytes:
    return gzip.compress(tar() if content is None else content, 1, mtime=0)


def tar_gz_of_links() -> bytes:
    plain = b"".join(member(name, png()) for name in NAMES[len(LINKS) :])
    return tar_gz(b"".join(member(name, b"", kind) for name, kind in zip(NAMES, LINKS, strict=False)) + plain + END)


def zipped(members: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in (members or {f"images/{NAME}": png()}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zipped_as(name: bytes) -> bytes:
    """Returns a zip of one image under a name of as many bytes as its own, which zipfile would not write."""
    own = f"images/{NAME}".encode()
    assert len(name) == len(own)
    return zipped().replace(own, name)


# Fields of a member's entry in a zip's directory: where they begin in it, and how they are packed.
FLAGS, METHOD, NAME_LENGTH, COMMENT_LENGTH = ((place, "<H") for place in (8, 10, 28, 32))
SUM, PACKED, SIZE, MODE, OFFSET = ((place, "<I") for place in (16, 20, 24, 38, 42))


def with_entry(content: bytes, *fields: tuple[tuple[int, str], int]) -> bytes:
    """Returns a zip with other fields in the last entry of its directory."""
    changed, entry = bytearray(content), content.rindex(b"PK\1\2")
    for (place, kind), value in fields:
        struct.pack_into(kind, changed, entry + place, value)
    return bytes(changed)


def zip_bomb(pack: Callable[[], bytes], method: int, said: int) -> bytes:
    """Returns a zip of one image that is a bomb, and of which the directory says another size."""
    packed = pack()
    content = zipped({f"images/{NAME}": packed})
    return with_entry(content, (METHOD, method), (PACKED, len(packed)), (SIZE, said))


def bz2_of_zeros() -> bytes:
    packer = bz2.BZ2Compressor()
    return b"".join(packer.compress(MB) for _ in range(BOMB)) + packer.flush()


# Tables.

FORMULA = "=cmd|'/c calc'!A1"
COLUMNS = (
    *("image_name", "findings", "follow_up", "patient_id", "patient_age", "patient_sex", "view_position"),
    *("original_width", "original_height", "pixel_spacing_x", "pixel_spacing_y"),
)


def with_row(row: str) -> bytes:
    """Returns the label file with another row 3."""
    return lines(labels.OFFICIAL_HEADER, ROWS[0], row, *ROWS[2:])


def with_cell(column: int, cell: str) -> bytes:
    """Returns the label file with another cell in its row 3."""
    cells = ROWS[1].split(",")
    cells[column] = cell
    return with_row(",".join(cells))


# Cases of each kind: what is in the file, and what is said of it.


def image(make: Callable[[], bytes | Callable], message: str, error: type[Exception] = ImageError) -> Case:
    place = rf"{NAME} in .*images: " if error is ImageError else ""
    return Case(error, place + message, lambda: {f"images/{NAME}": make()})


def archive(make: Callable[[], bytes], problem: str = ".+", name: str = "images_01.tar.gz") -> Case:
    message = rf"{re.escape(name)} is cut or corrupt \({problem}\)\. Delete it and get it again"
    return Case(ReleaseError, message, lambda: {name: make()})


def in_zip(make: Callable[[], bytes], problem: str = ".+", place: str = rf"archive.zip, member images/{NAME}") -> Case:
    message = rf"{place} is cut or corrupt \({problem}\)\. Delete it and get it again"
    return Case(ReleaseError, message, lambda: {"archive.zip": make()})


def table(content: bytes, message: str, file: str = LABELS, split: str = "stratified") -> Case:
    message = rf"^\S*{re.escape(file)}{message}"
    if ", row" in message and "download" not in message.lower():
        message += ".*Correct that, or download the file again"
    return Case(TableError, message, lambda: {file: content}, functools.partial(read_release, split=split))


def box(row: str, message: str) -> Case:
    return table(lines(boxes.OFFICIAL_HEADER, f"{NAME},Nodule,1,1,5,5,,,", row), f", row 3: {message}", BOX_FILE)


def not_taken(content: bytes, message: str, file: str, split: str) -> Case:
    """A file whose name may be anybody's: it is left aside, and the error about what is missing says why."""
    message = rf"not found in .*Found, but not taken: \S*{re.escape(file)}{message}"
    return Case(ReleaseError, message, lambda: {file: content}, functools.partial(read_release, split=split))


def official(content: bytes, message: str) -> Case:
    return not_taken(content, message, OFFICIAL_LISTS["test"], "official")


def expert(old: str, new: str, message: str) -> Case:
    """Replaces what stands once in the radiologists' test file, of which row 2 is patient 7's."""
    file = EXPERT_FILES["test"]
    content = TABLES[file].replace(old.encode(), new.encode(), 1)
    return table(content, message, file, "expert")

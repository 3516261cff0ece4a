"""Fuzz tests: whatever the bytes are, a reader gives what is right or the package's own error, and nothing else.

The examples are the same in each run. For more of them than a test run takes:

    FUZZ_EXAMPLES=5000 pytest -n 0 tests/test_fuzz.py
"""

import csv
import gzip
import io
import os
import random
import re
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from bad_files import END, GREY, NAMES, RGBA, TABLES, chunk, flip, member, png, rows_of, tar_gz, with_cell, zipped
from etils import epath
from hypothesis import HealthCheck, configuration, example, given, settings
from hypothesis import strategies as st
from mutated_pngs import judge, mutated, opencv

from nih_chest_xray.errors import ImageError, ReleaseError, TableError
from nih_chest_xray.images.codec import decode
from nih_chest_xray.images.png import decode as decode_channels
from nih_chest_xray.release.sources import Zip
from nih_chest_xray.release.tars import TarGz
from nih_chest_xray.tables.boxes import read_boxes
from nih_chest_xray.tables.labels import read_labels
from nih_chest_xray.tables.official_lists import read_official_lists
from nih_chest_xray.vocabulary import BOX_FILE, FINDINGS, LABEL_FILES

# What each kind of damage gives is in test_bad_inputs.py; here are those that nobody thought of.
pytestmark = pytest.mark.slow

FILE = "some/folder/labels.csv"

# What hypothesis keeps beside examples is not to lie in the repository.
configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")


def fuzz(examples: int):
    """Makes a test try so many examples: the same in each run, and none kept on disk."""
    return settings(
        max_examples=int(os.environ.get("FUZZ_EXAMPLES", examples)),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def read_or_refuse(read, error: type[Exception], place: str):
    """Returns what is read, or None after an error of this type, of which it is proved that it names the place."""
    try:
        return read()
    except error as refusal:
        message = str(refusal)
    assert message.startswith(place)
    assert message.isprintable()
    return None


@st.composite
def damaged(draw, contents) -> bytes:
    """One of the contents, in which bytes were flipped, cut away, put in or written over."""
    content = draw(st.sampled_from(contents))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(("flip", "write", "put in", "cut out", "cut off")))
        piece = draw(st.binary(min_size=1, max_size=6))
        if kind == "flip" and content:
            content = content[:place] + bytes([content[place] ^ 1 << draw(st.integers(0, 7))]) + content[place + 1 :]
        elif kind == "write":
            content = content[:place] + piece + content[place + len(piece) :]
        elif kind == "put in":
            content = content[:place] + piece + content[place:]
        elif kind == "cut out":
            content = content[:place] + content[place + draw(st.integers(1, 600)) :]
        elif kind == "cut off":
            content = content[:place]
    return content


# Tables.

CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ("", "\0", '"', '""', "\n", "\r\n", "nan", "-inf", "1e400", "٣", "-1", "057Y", "2147483648", "|", "=1+1")
    ),
    st.sampled_from(FINDINGS),
    st.from_regex(r"[0-9]{1,12}(\.[0-9]{0,3})?[YMWD]?", fullmatch=True),
    st.from_regex(r"\d{8}_\d{3}\.png", fullmatch=True),
)


@st.composite
def tables(draw, content: bytes) -> bytes:
    """A table with rows in another order and some cells replaced, by a writer that quotes, or by one that does not."""
    header, *rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    rows = draw(st.permutations(rows[:4]))
    for _ in range(draw(st.integers(0, 3))):
        cells = draw(st.sampled_from([header, *rows]))
        cells[draw(st.integers(0, len(cells) - 1))] = draw(CELLS)
    if draw(st.booleans()):
        return "\n".join(",".join(row) for row in (header, *rows)).encode(errors="replace")
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator=draw(st.sampled_from(("\n", "\r\n")))).writerows([header, *rows])
    return written.getvalue().encode(errors="replace")


def contents_of(table: bytes):
    small = b"\n".join(table.split(b"\n")[:4])
    return st.one_of(tables(table), damaged([small]), st.binary(max_size=300), st.text(max_size=300).map(str.encode))


@fuzz(1000)
@example(with_cell(9, "0.1_4"))
@example(with_cell(0, "0000000２_000.png"))
@example(b"\xef\xbb\xbf\0")
@given(contents_of(TABLES[LABEL_FILES[0]]))
def test_label_file_gives_a_sound_table_or_an_error_that_names_it(content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of ages that are unknown.
        table = read_or_refuse(lambda: read_labels(content, FILE), TableError, FILE)
    if table is None:
        return
    names = list(table["image_name"])
    assert names == sorted(set(names))
    assert all(re.fullmatch(r"[0-9]{8}_[0-9]{3}\.png", name) for name in names)
    whole = ("patient_id", "follow_up", "patient_age", "original_width", "original_height")
    assert {str(table[column].dtype) for column in whole} == {"int32"}
    assert {str(table[column].dtype) for column in ("pixel_spacing_x", "pixel_spacing_y")} == {"float32"}
    assert list(table["patient_id"]) == [int(name[:8]) for name in names]
    assert table["patient_age"].between(-1, 120).all()
    assert (table["follow_up"] >= 0).all()
    assert (table[["original_width", "original_height"]] >= 1).all(axis=None)
    assert np.isfinite(table[["pixel_spacing_x", "pixel_spacing_y"]]).all(axis=None)
    assert {*table["patient_sex"]} <= {"F", "M"}
    assert {*table["view_position"]} <= {"PA", "AP"}
    assert all(list(found) == sorted({*found} & {*FINDINGS}) for found in table["findings"])


BOX_ROWS = TABLES[BOX_FILE] + b"\n00000002_000.png,Infiltrate,0.5,1000,1023.9,24.2,,,\n00000002_000.png,Mass,1,2,3,4,,,"


@fuzz(800)
@example(BOX_ROWS.replace(b"0.5", b"1_0"))
@given(contents_of(BOX_ROWS))
def test_box_list_gives_boxes_in_the_image_or_an_error_that_names_it(content):
    boxes = read_or_refuse(lambda: read_boxes(content, FILE), TableError, FILE)
    for name, marked in (boxes or {}).items():
        assert re.fullmatch(r"[0-9]{8}_[0-9]{3}\.png", name)
        for box in marked:
            assert box.finding in FINDINGS
            assert 0 <= box.xmin <= box.xmax <= 1
            assert 0 <= box.ymin <= box.ymax <= 1


@fuzz(300)
@given(st.one_of(damaged([b"\n".join(name.encode() for name in NAMES[:4])]), st.binary(max_size=200)))
def test_official_list_gives_names_or_an_error_that_names_it(content):
    lists = read_or_refuse(lambda: read_official_lists({"test": (content, FILE)}), TableError, FILE)
    assert all(re.fullmatch(r"[0-9]{8}_[0-9]{3}\.png", name) for name in (lists or {"test": ()})["test"])


# Archives.

IMAGES = {name: bytes(range(number, 200)) * 4 for number, name in enumerate(NAMES[:3])}
TAR = b"".join(member(name, content) for name, content in IMAGES.items()) + END
IN_ZIP = {f"images/{name}": content for name, content in IMAGES.items()}


def read(medium, content: bytes) -> dict[str, bytes] | None:
    """Returns the images of an archive, or None after an error that names it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "archive"
        path.write_bytes(content)

        def images():
            return {image.name: image.read() for image in medium(epath.Path(path)).images(frozenset(IMAGES))}

        return read_or_refuse(images, ReleaseError, str(path))


@fuzz(1500)
@given(damaged([tar_gz(TAR)]))
def test_damaged_tar_gz_gives_all_its_images_or_an_error_that_names_it(content):
    assert read(TarGz, content) in (None, IMAGES)


@fuzz(1200)
@example(gzip.compress(member("a", size=1 << 60) + TAR))
@example(gzip.compress(member("a", b"", b"S") + TAR))
@given(damaged([TAR]).map(lambda tar: gzip.compress(tar, 1)))
def test_tar_that_was_damaged_before_it_was_zipped_gives_images_or_an_error_that_names_it(content):
    """Here no check sum tells of damage in an image, only of damage in a header."""
    images = read(TarGz, content)
    assert images is None or images.keys() <= IMAGES.keys()


@fuzz(1500)
@given(damaged([zipped(IN_ZIP, zipfile.ZIP_STORED), zipped(IN_ZIP, zipfile.ZIP_DEFLATED)]))
def test_damaged_zip_gives_images_as_they_were_or_an_error_that_names_it(content):
    images = read(Zip, content)
    assert images is None or images.items() <= IMAGES.items()


# PNGs.

ROWS = {colour: np.frombuffer(rows_of(colour), np.uint8).reshape(1024, -1) for colour in (GREY, RGBA)}
PNGS = {colour: png(colour) for colour in (GREY, RGBA)}
PIXELS = decode(PNGS[GREY])


@fuzz(500)
@example(flip(PNGS[GREY], 40))
@given(damaged(list(PNGS.values())))
def test_damaged_png_gives_its_pixels_or_an_error(content):
    pixels = read_or_refuse(lambda: decode(content), ImageError, "")
    if pixels is not None:
        np.testing.assert_array_equal(pixels, PIXELS)


SMALL = [png(colour, 64, extra=chunk(b"sRGB", b"\0") + chunk(b"tIME", bytes(7))) for colour in (GREY, RGBA)]


@pytest.mark.parametrize("content", SMALL, ids=["grey", "RGBA"])
def test_mutated_png_is_accepted_only_if_tensorflow_accepts_it_and_with_everyones_pixels(content):
    """Small images, so that many can be decoded; `mutated_pngs.py` does the same to real ones."""
    accepted = 0
    for number in range(int(os.environ.get("FUZZ_EXAMPLES", 2000))):
        kind, changed = mutated(random.Random(number), content)
        verdict = judge(changed, size=None)
        assert not verdict.refused_by_tensorflow, (number, kind)
        assert verdict.same, (number, kind)
        accepted += verdict.accepts["ours"]
    assert accepted > number / 10  # Else next to nothing was compared.


@fuzz(120)
@given(st.data())
def test_png_of_other_rows_decodes_as_opencv_does_or_gives_an_error(data):
    """Filters and bytes are changed before deflating, so that every check sum is right."""
    colour = data.draw(st.sampled_from((GREY, RGBA)))
    rows = ROWS[colour].copy()
    for _ in range(data.draw(st.integers(1, 5))):
        first, last = sorted(data.draw(st.tuples(st.integers(0, 1023), st.integers(0, 1023))))
        rows[first : last + 1, 0] = data.draw(st.sampled_from((0, 1, 2, 3, 4, 4, 3, 5, 255)))
        rows[first : last + 1, data.draw(st.integers(1, 1024))] = data.draw(st.integers(0, 255))
    content = png(colour, idat=zlib.compress(rows.tobytes(), 1))
    if rows[:, 0].max() > 4:
        with pytest.raises(ImageError, match="has a filter that PNG does not know"):
            decode_channels(content)
    else:
        np.testing.assert_array_equal(decode_channels(content), opencv(content))

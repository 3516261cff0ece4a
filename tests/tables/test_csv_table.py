"""Tests of tables in general: what is packed is unpacked in bounded memory, and a header is read whatever follows."""

import gzip

import pytest
from bad_files import flip

from nih_chest_xray.errors import TableError
from nih_chest_xray.tables.csv_table import read_header, table_bytes

CONTENT = b"Image Index,Finding Labels\n" + bytes(range(256)) * 40
PACKED = gzip.compress(CONTENT, mtime=0)


@pytest.mark.parametrize(
    "content", [CONTENT, PACKED, gzip.compress(CONTENT[:100], mtime=0) + gzip.compress(CONTENT[100:], mtime=0)]
)
def test_what_is_packed_is_unpacked_and_the_rest_stays(content):
    assert table_bytes(content, "table.csv.gz") == CONTENT


@pytest.mark.parametrize(
    "content", [PACKED[:5], PACKED[:-9], PACKED[:-1], flip(PACKED, -8), flip(PACKED, 200), PACKED + b"<html>"]
)
def test_what_is_cut_or_corrupt_is_an_error_with_its_place(content):
    with pytest.raises(TableError, match=r"^table.csv.gz is cut or corrupt \(.+\)\. Delete it and get it again"):
        table_bytes(content, "table.csv.gz")


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        (
            b'\xef\xbb\xbfImage Index,"OriginalImage[Width,Height]"\r\nno,"more',
            ["imageindex", "originalimagewidthheight"],
        ),
        (b"", []),
        (b'"' + bytes(200_000), [""]),
        (b"\x89PNG\r\n\x1a\n", ["png"]),
    ],
)
def test_a_header_is_read_whatever_follows_it(content, cells):
    assert read_header(content) == cells

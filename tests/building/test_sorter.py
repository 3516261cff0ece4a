"""Tests of the sorter: everything comes back in order, from files that are nowhere to be found and are soon gone."""

import os
import random

import pytest
from etils import epath

from nih_chest_xray.building import sorter
from nih_chest_xray.building.sorter import Sorter


@pytest.fixture
def make(tmp_path):
    made = []

    def make(expected):
        made.append(Sorter(epath.Path(tmp_path), expected))
        return made[-1]

    yield make
    for each in made:
        each.close()


# One file, some, and as many as there may be.
@pytest.mark.parametrize("expected", [1, 3 * sorter._BUCKET, 1 << 60])
def test_records_come_back_in_the_order_of_their_keys(make, expected):
    draw = random.Random(0)
    keys = [0, 2**128 - 1, *(draw.getrandbits(128) for _ in range(500))]
    records = {key: str(key).encode() * draw.randrange(50) for key in keys}
    records[keys[5]] = b""
    filled = make(expected)
    for key in keys:
        filled.add(key, records[key])
    assert (filled.count, filled.size) == (len(keys), sum(map(len, records.values())))
    assert list(filled.drain()) == [records[key] for key in sorted(keys)]
    assert list(filled.drain()) == []


def test_its_files_have_no_name_and_each_is_closed_before_its_records_come(make, tmp_path):
    filled = make(3 * sorter._BUCKET)
    for number in range(100):
        filled.add(number << 121, bytes(1000))
    assert list(tmp_path.iterdir()) == []
    handles = [bucket.fileno() for bucket in filled._buckets]
    assert len(handles) == 4
    drained = filled.drain()
    next(drained)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handles[0])
    assert os.fstat(handles[1]).st_size > 0


def test_two_records_of_one_key_are_refused(make):
    filled = make(1)
    filled.add(7, b"a")
    filled.add(7, b"b")
    with pytest.raises(AssertionError, match="same key"):
        list(filled.drain())

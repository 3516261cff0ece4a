"""Tests of the spool: everything comes back, and its file is nowhere to be found and no larger than what it holds."""

import os

import pytest
from etils import epath

from nih_chest_xray.building.spool import Spool


@pytest.fixture
def spool(tmp_path):
    spool = Spool(epath.Path(tmp_path))
    yield spool
    spool.close()


def test_all_that_was_pushed_comes_back_the_last_first(spool):
    items = [(f"{number:08d}_000.png", {"image": bytes([number]) * number * 100}) for number in range(20)]
    for item in items:
        spool.push(item)
    assert list(spool.drain()) == items[::-1]
    assert list(spool.drain()) == []


def test_it_can_be_filled_again_after_some_were_taken(spool):
    for item in "abc":
        spool.push(item)
    taken = spool.drain()
    assert next(taken) == "c"
    spool.push("d")
    assert sorted(spool.drain()) == ["a", "b", "d"]


def test_its_file_has_no_name_and_shrinks_as_it_is_drained(spool, tmp_path):
    for _ in range(10):
        spool.push(bytes(100_000))
    assert list(tmp_path.iterdir()) == []
    sizes = [os.fstat(spool._file.fileno()).st_size for _ in spool.drain()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    assert sizes[0] < 10 * 100_000

"""Tests of the bar: one for the build, whole lines in a log, and TFDS's own as the user left them."""

import contextlib
import io
import re
import sys

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from nih_chest_xray.building.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(total=200, stored=True):
    with progress("nih_chest_xray/nodule", total) as bar:
        for _ in range(total):
            bar.made()
        for _ in range(total if stored else 0):
            bar.stored()


def test_a_log_gets_whole_lines_and_the_last_says_that_all_is_done(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    run()
    assert "\r" not in log.getvalue()
    lines = log.getvalue().splitlines()
    # A line now and then, not one an example.
    assert 1 <= len(lines) <= 3
    expected = r"nih_chest_xray/nodule: 100 %, \d\d:\d\d elapsed, 00:00 left, 200 of 200 examples"
    assert re.fullmatch(expected, lines[-1])


def test_a_terminal_gets_one_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run()
    assert "100%|" in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 1


def test_an_unfinished_build_does_not_claim_to_be_done(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with contextlib.suppress(KeyboardInterrupt), progress("x", 100) as bar:
        for _ in range(50):
            bar.made()
        raise KeyboardInterrupt
    assert "100 %" not in log.getvalue()


@pytest.mark.parametrize("shown", [True, False])
def test_tfds_bars_are_off_during_a_build_and_then_as_before(shown, monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    tfds.display_progress_bar(shown)
    try:
        with progress("x", 1) as bar:
            assert not tqdm_utils._active
            bar.made()
        assert tqdm_utils._active == shown
        assert bool(log.getvalue()) == shown
    finally:
        tfds.enable_progress_bar()

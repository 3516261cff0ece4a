"""Tests that seed 0 still gives the splits in checksums/splits.tsv."""

from pathlib import Path

import pytest
from pin_splits import HEADER, pinned_lines

from nih_chest_xray.named_configs import NAMED_CONFIGS

PINNED = (Path(__file__).parents[2] / "checksums" / "splits.tsv").read_text().splitlines()


def of_config(name):
    return [line for line in PINNED[1:] if line.split("\t")[0] == name]


def test_every_named_config_is_pinned():
    """But nodule_expert: the files that decide it are not part of the NIH's release."""
    assert PINNED[0] == HEADER
    official = [config.name for config in NAMED_CONFIGS if config.split != "expert"]
    assert [line.split("\t")[0] for line in PINNED[1::3]] == official


@pytest.mark.parametrize(
    "config", [config for config in NAMED_CONFIGS if config.phantom_patients], ids=lambda c: c.name
)
def test_phantoms_splits_are_the_pinned_ones(config):
    assert pinned_lines(config, None) == of_config(config.name)


@pytest.mark.real
@pytest.mark.parametrize(
    "config", [config for config in NAMED_CONFIGS if not config.phantom_patients], ids=lambda c: c.name
)
def test_splits_of_the_official_tables_are_the_pinned_ones(real_dir, config):
    assert pinned_lines(config, real_dir) == of_config(config.name)

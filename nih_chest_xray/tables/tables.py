"""Tables: the content of a release's tables, as planning takes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from nih_chest_xray.vocabulary import Box


@dataclasses.dataclass(frozen=True)
class Tables:
    """The tables that a config needs.

    Attributes:
      labels: As `labels.read_labels` returns it.
      boxes: The boxes of each image that has any; empty without a list of boxes.
      official: Image names of the NIH's lists, under 'train_val' and 'test', if the config uses them.
      expert: As `expert_labels.all_that_was_said` returns it, for the splits 'expert' and 'expert_all'.
      lists: Image names of the user's own lists, by subset, for the split 'lists'.
      origin: Provenance, for metadata.json: the label file's name, each table's SHA-256 (decompressed) and whether it
        is a published file byte for byte, the number of unknown ages and, for the radiologists' files, how far
        radiologists agree (see `expert_readers.measured`).
    """

    labels: pd.DataFrame
    boxes: Mapping[str, tuple[Box, ...]]
    official: Mapping[str, frozenset[str]] | None
    expert: pd.DataFrame | None
    lists: Mapping[str, frozenset[str]] | None
    origin: Mapping[str, Any]

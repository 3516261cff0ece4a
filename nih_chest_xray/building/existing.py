"""Existing: decides what to do if a dataset of the same name exists: reuse it, replace it or refuse to build."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

from etils import epath

from nih_chest_xray.building.completeness import missing_parts
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.system import removal
from nih_chest_xray.system.paths import is_remote

_REBUILD = "`tfds build nih_chest_xray --imports nih_chest_xray --overwrite` with the same options"


def is_reusable(folder: epath.Path, config: NihChestXrayConfig, cap: int | None) -> bool:
    """Returns whether the requested dataset exists and is complete, so that nothing has to be built.

    Args:
      folder: The dataset's folder, which need not exist.
      config: The requested config.
      cap: The largest number of examples in a subset, for a trial build; None for all.

    Raises:
      ValueError: A complete dataset exists, but it was built with other fields, or as a trial build.
    """
    if not folder.exists() or missing_parts(folder):
        return False
    metadata = json.loads((folder / "metadata.json").read_text())
    _refuse_other_choices(folder, metadata, config)
    _refuse_trial(folder, metadata, cap)
    _warn_of_what_is_reused(folder, metadata, config)
    return True


def refuse_to_lose_files(folder: epath.Path) -> None:
    """Warns that an incomplete dataset will be rebuilt, and refuses if that could delete a file of the user's.

    Args:
      folder: The dataset's folder, which need not exist.

    Raises:
      ValueError: The folder holds a file that no build wrote, or is not a directory.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a directory. Move it away and build again.")
    missing = missing_parts(folder)
    what = f"{folder} is not a complete dataset: {'; '.join(missing[:3])}{'; …' if missing[3:] else ''}."
    if is_remote(folder):
        raise ValueError(f"{what} Complete it, or delete it, and build again.")
    if others := removal.foreign(folder, removal.REPLACED):
        raise ValueError(
            f"{what} It is not rebuilt, because it holds {others[0]!r}, which no build wrote. Complete it, or move it"
            " away, and build again."
        )
    warnings.warn(f"{what} It is rebuilt; the old files are removed when the new dataset is complete.", stacklevel=3)


def _refuse_trial(folder: epath.Path, metadata: Mapping[str, Any], asked: int | None) -> None:
    cap = metadata.get("max_examples_per_split")
    if cap is not None and cap != asked:
        raise ValueError(
            f"{folder} is a trial build of at most {cap} examples a split. To replace it with a full build, use"
            f" {_REBUILD}; to load it as it is, `tfds.load(…, download=False)`."
        )


def _refuse_other_choices(folder: epath.Path, metadata: Mapping[str, Any], config: NihChestXrayConfig) -> None:
    built = metadata.get("config", {})
    if built:  # A field that the older version did not have counts as today's default.
        built = json.loads(json.dumps(NihChestXrayConfig(name="default").choices)) | built
    asked = json.loads(json.dumps(config.choices))
    other = [f"{field}={built[field]!r}" for field in asked if field in built and built[field] != asked[field]]
    if other:
        raise ValueError(
            f"{folder} was built with {', '.join(other)}, which is not what this config {config.name!r} says. Give the"
            f" config another name, or replace the dataset with {_REBUILD}."
        )


def _warn_of_what_is_reused(folder: epath.Path, metadata: Mapping[str, Any], config: NihChestXrayConfig) -> None:
    """Warns that the release is not read again: by now it may be another one, or have more images."""
    label_file = metadata.get("label_file")
    official = metadata.get("tables", {}).get(label_file, {}).get("official", True)
    missing = metadata.get("missing_images", 0)
    if missing or not (official or config.phantom_patients):
        warnings.warn(
            f"{folder} exists and is reused as it is, whatever the manual_dir holds now: it was built from"
            f" {'the official' if official else 'an unofficial'} {label_file}, with {missing:,} images missing. To"
            f" rebuild it, use {_REBUILD}.",
            stacklevel=4,
        )

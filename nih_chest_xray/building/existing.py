"""Existing: what to do where a dataset of the same name exists already: reuse it, replace it or refuse to build."""

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


def is_reusable(folder: epath.Path, config: NihChestXrayConfig, cap: int | None) -> bool:
    """Returns whether the dataset that is asked for exists, whole, so that nothing has to be built.

    Args:
      folder: Where the dataset is, or would be.
      config: What is asked for.
      cap: Examples of each subset at most, for a trial build; None for all.

    Raises:
      ValueError: A whole dataset exists, but it was built with other choices, or as a trial.
    """
    if not folder.exists() or missing_parts(folder):
        return False
    metadata = json.loads((folder / "metadata.json").read_text())
    _refuse_other_choices(folder, metadata, config)
    _refuse_trial(folder, metadata, cap)
    _warn_of_what_is_reused(folder, metadata, config)
    return True


def refuse_to_lose_files(folder: epath.Path) -> None:
    """Warns that an incomplete dataset is built anew, and refuses if that could lose something.

    Args:
      folder: Where the dataset would be.

    Raises:
      ValueError: The folder holds what no build wrote, or is not a directory.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a directory. Move it away and build again.")
    missing = missing_parts(folder)
    what = f"{folder} is not a whole dataset: {'; '.join(missing[:3])}{'; …' if missing[3:] else ''}."
    if is_remote(folder):
        raise ValueError(f"{what} Complete it, or delete it, and build again.")
    if others := removal.foreign(folder, removal.REPLACED):
        raise ValueError(
            f"{what} It is not built anew, since it holds {others[0]!r}, which no build wrote. Complete it, or move it"
            " away, and build again."
        )
    warnings.warn(f"{what} It is built anew, and removed when the new one is whole.", stacklevel=3)


def _refuse_trial(folder: epath.Path, metadata: Mapping[str, Any], asked: int | None) -> None:
    cap = metadata.get("max_examples_per_split")
    if cap is not None and cap != asked:
        raise ValueError(
            f"{folder} is a trial build of at most {cap} examples a split. To replace it with a whole one, use `tfds"
            " build --overwrite`; to load it as it is, `tfds.load(…, download=False)`."
        )


def _refuse_other_choices(folder: epath.Path, metadata: Mapping[str, Any], config: NihChestXrayConfig) -> None:
    built = metadata.get("config", {})
    if built:  # A field that the version which built it did not have was what is now the default.
        built = json.loads(json.dumps(NihChestXrayConfig(name="default").choices)) | built
    asked = json.loads(json.dumps(config.choices))
    other = [f"{field}={built[field]!r}" for field in asked if field in built and built[field] != asked[field]]
    if other:
        raise ValueError(
            f"{folder} was built with {', '.join(other)}, which is not what this config {config.name!r} says. Give the"
            " config another name, or replace the dataset with `tfds build --overwrite`."
        )


def _warn_of_what_is_reused(folder: epath.Path, metadata: Mapping[str, Any], config: NihChestXrayConfig) -> None:
    """TFDS does not look at the release again, which may be another one by now, or have more images."""
    label_file = metadata.get("label_file")
    official = metadata.get("tables", {}).get(label_file, {}).get("official", True)
    missing = metadata.get("missing_images", 0)
    if missing or not (official or config.phantom_patients):
        warnings.warn(
            f"{folder} exists and is reused as it is, whatever the manual_dir holds now: it was built from"
            f" {'the official' if official else 'an unofficial'} {label_file}, with {missing:,} images missing. To"
            " build it anew, use `tfds build --overwrite`.",
            stacklevel=4,
        )

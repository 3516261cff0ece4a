"""New folders: where a command may write what it makes of a dataset."""

from __future__ import annotations

from pathlib import Path

import tensorflow_datasets as tfds

from nih_chest_xray.errors import UsageError
from nih_chest_xray.verification.dataset_folder import INFO


def require_new_folder(out: Path) -> None:
    """Raises an error if a folder to write is not a new or empty one, or would be taken for a dataset's.

    Raises:
      UsageError: It holds something, or is no folder; it is in a dataset, or has the name of a version.
    """
    place = out.resolve()
    if any((folder / INFO).is_file() for folder in (place, *place.parents)):
        raise UsageError(f"{out} is in a dataset, where no other file belongs; name a folder beside it")
    new = [out, *(folder for folder in out.absolute().parents if not folder.exists())]
    if any(tfds.core.Version.is_valid(folder.name) for folder in new):
        raise UsageError(f"{out} has the name of a version, so that TFDS would take it for a dataset; name another")
    if out.is_symlink() and not out.exists():
        raise UsageError(f"{out} is a link that leads nowhere; name another folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists; name another folder, so that nothing is replaced")

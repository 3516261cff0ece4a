"""Tests of new folders: what a command writes replaces nothing, and TFDS takes none of it for a dataset."""

import pytest

from nih_chest_xray.catalog.new_folders import require_new_folder
from nih_chest_xray.errors import UsageError


def test_a_new_folder_replaces_nothing_and_is_no_dataset(sound, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "inside").symlink_to(sound)
    for name, expected in (
        (tmp_path / "full", "exists"),
        (tmp_path / "full/file", "exists"),
        (tmp_path / "link", "leads nowhere"),
        (sound / "new", "is in a dataset"),
        (sound / "new/below", "is in a dataset"),
        (tmp_path / "inside/new", "is in a dataset"),
        (sound, "is in a dataset"),
        (sound.parent / "2.1.0", "name of a version"),
        (sound.parent / "2.1.0/below", "name of a version"),
    ):
        with pytest.raises(UsageError, match=expected):
            require_new_folder(name)
    for name in (tmp_path / "empty", sound.parent / "new", tmp_path / "new/below"):
        require_new_folder(name)

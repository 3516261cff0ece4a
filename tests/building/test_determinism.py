"""Tests of determinism: a build has the same bytes in any process, with any workers, order of files, zone or locale."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from nih_chest_xray.phantom.release import Phantom

BUILD = """
import sys
import tensorflow_datasets as tfds
import nih_chest_xray

config = nih_chest_xray.NihChestXrayConfig(
    name="same", image_size=64, augmented_copies=1, validation_fraction=0.25, test_fraction=0.25
)
builder = nih_chest_xray.Builder(config=config, data_dir=sys.argv[2])
builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=sys.argv[1]))
"""

SURROUNDINGS = {
    "usual": {},
    "one worker, another hash, far west, decimal commas where the system knows of them": {
        "PYTHONHASHSEED": "1",
        "NIH_CHEST_XRAY_WORKERS": "1",
        "TZ": "America/Los_Angeles",
        "LC_ALL": "de_DE.UTF-8",
    },
    "many workers, another hash, far east, no UTF-8": {
        "PYTHONHASHSEED": "2",
        "NIH_CHEST_XRAY_WORKERS": "7",
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
    },
}


@pytest.mark.slow
def test_build_has_the_same_bytes_in_any_surroundings_and_from_files_in_any_order(tmp_path):
    release, reverse = tmp_path / "release", tmp_path / "reverse"
    Phantom(15).write(release)
    # A folder tells its files in an order that has to do with the one in which they came.
    for path in sorted((path for path in release.rglob("*") if path.is_file()), reverse=True):
        copy = reverse / path.relative_to(release)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    digests = {}
    for number, (name, variables) in enumerate(SURROUNDINGS.items()):
        source = reverse if number % 2 else release
        data_dir = tmp_path / str(number)
        command = [sys.executable, "-c", BUILD, str(source), str(data_dir)]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | variables)
        files = (data_dir / "nih_chest_xray" / "same" / "2.0.0").iterdir()
        digests[name] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert len(digests["usual"]) > 10
    assert all(made == digests["usual"] for made in digests.values()), digests

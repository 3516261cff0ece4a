"""Fixtures: a phantom release, in memory and on disk, and the folder of the real one where there is one."""

import functools
import os
from pathlib import Path

import pytest

from nih_chest_xray import NihChestXrayConfig, labels
from nih_chest_xray.phantom import Phantom
from nih_chest_xray.release import LABEL_FILES
from nih_chest_xray.sources import StoredImage

PATIENTS = 40


class DrawnPhantom(Phantom):
    """A phantom whose pictures are drawn once, since many tests write it to disk."""

    def __init__(self, patients):
        super().__init__(patients)
        self.drawn = {image.name: image.read() for image in super().images(frozenset(self.names))}

    def images(self, wanted):
        for name in self.names:
            if name in wanted:
                yield StoredImage(name, self.place, functools.partial(bytes, self.drawn[name]))


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return DrawnPhantom(PATIENTS)


@pytest.fixture(scope="session")
def phantom_dir(phantom, tmp_path_factory) -> Path:
    """The phantom on disk, in one flat folder of images."""
    folder = tmp_path_factory.mktemp("phantom")
    phantom.write(folder)
    return folder


@pytest.fixture(scope="session")
def phantom_labels(phantom):
    return labels.read_labels(phantom.tables()[LABEL_FILES[0]], LABEL_FILES[0])


@pytest.fixture
def make_config():
    """Makes a config for a table as small as the phantom's, unless told otherwise."""

    def make(**fields) -> NihChestXrayConfig:
        return NihChestXrayConfig(**{"name": "test", "validation_fraction": 0.2, "test_fraction": 0.2} | fields)

    return make


@pytest.fixture(scope="session")
def real_dir() -> Path:
    """The folder of the NIH's real tables and of some of its images."""
    folder = os.environ.get("NIH_CHEST_XRAY_DIR")
    if not folder:
        pytest.skip("NIH_CHEST_XRAY_DIR is not set: no real release to test on")
    assert (Path(folder) / LABEL_FILES[0]).exists(), f"NIH_CHEST_XRAY_DIR={folder} has no {LABEL_FILES[0]}"
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def real_labels(real_dir):
    path = real_dir / LABEL_FILES[0]
    return labels.read_labels(path.read_bytes(), str(path))

"""Fixtures: a phantom release, in memory and on disk, and the folder of the real one where there is one."""

import csv
import functools
import os
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest
import tensorflow_datasets as tfds
from pages import static_server

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.catalog import site
from nih_chest_xray.catalog.gallery import Gallery
from nih_chest_xray.formats.export import export
from nih_chest_xray.phantom.release import Phantom
from nih_chest_xray.release.sources import StoredImage
from nih_chest_xray.tables import labels
from nih_chest_xray.vocabulary import LABEL_FILES

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
def real_expert_dir(real_dir, tmp_path_factory) -> Path:
    """A folder of the real release and the radiologists' files, which lie in it or in `expert_labels` beside it."""
    if any(real_dir.rglob("validation_labels.csv")):
        return real_dir
    beside = real_dir.parent / "expert_labels"
    if not beside.is_dir():
        pytest.skip(f"neither {real_dir} nor {beside} has the radiologists' files")
    folder = tmp_path_factory.mktemp("real")
    (folder / "nih").symlink_to(real_dir)
    (folder / "expert_labels").symlink_to(beside)
    return folder


@pytest.fixture(scope="session")
def real_labels(real_dir):
    path = real_dir / LABEL_FILES[0]
    return labels.read_labels(path.read_bytes(), str(path))


CATALOG_CONFIGS = {
    "drawn": {"phantom_patients": 20, "augmented_copies": 2, "description": "<script>alert('told')</script> & more"},
    "many": {"task": "findings", "split": "official", "healthy_stride": 1},
    "listed": {"augmented_copies": 1, "matched_augmentation": True, "image_format": "raw"},
}
"""Datasets of the catalog's tests: one synthetic, with a description that a page has to escape, and two that count as
the NIH's, since they are built from files. The synthetic one augments nodules alone, another both classes."""
CATALOG_FORMATS = {"drawn": "tfrecord", "many": "parquet", "listed": "array_record"}


def build(manual_dir, data_dir, file_format=None, **fields) -> Path:
    """Builds a dataset for a table as small as the phantom's, unless told otherwise. Returns its folder."""
    config = NihChestXrayConfig(**{"name": "test", "validation_fraction": 0.2, "test_fraction": 0.2} | fields)
    builder = Builder(config=config, data_dir=data_dir, file_format=file_format)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return Path(builder.data_dir)


@pytest.fixture(scope="session")
def once(tmp_path_factory, worker_id):
    """Fills a folder once for all of pytest's processes, and returns it; tests only read it."""
    root = tmp_path_factory.getbasetemp()
    root = root if worker_id == "master" else root.parent

    def make(name: str, fill) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with filelock.FileLock(root / f"{name}.lock"):
            if not done.exists():
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def catalog_dir(once, phantom_dir) -> Path:
    def fill(folder):
        for name, fields in CATALOG_CONFIGS.items():
            build(phantom_dir, folder / "data", CATALOG_FORMATS[name], name=name, image_size=64, **fields)
        site.write_site(folder / "data", folder / "site")

    return once("catalog", fill)


@pytest.fixture(scope="session")
def catalog_data(catalog_dir) -> Path:
    """A data_dir with a small dataset of each of `CATALOG_CONFIGS`."""
    return catalog_dir / "data"


@pytest.fixture(scope="session")
def catalog_site(catalog_dir) -> Path:
    """The site of these datasets."""
    return catalog_dir / "site"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from screens import chromium  # Here, since few tests need a browser.

    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def served(catalog_site):
    """The address of the site on a server of this machine."""
    with static_server(catalog_site) as address:
        yield f"{address}/"


@pytest.fixture(params=["file", "http"])
def base(request, catalog_site):
    return f"{catalog_site.as_uri()}/" if request.param == "file" else request.getfixturevalue("served")


@pytest.fixture
def no_pictures(monkeypatch):
    """Has a catalog draw no examples, most of its work, for a test of its words or of its files."""

    def make_gallery(_built, _examples, folder):
        (folder / "images").mkdir()
        (folder / "images" / "00000001_000.jpg").write_bytes(b"a picture")
        return Gallery((), ())

    monkeypatch.setattr(site, "make_gallery", make_gallery)


@pytest.fixture(scope="session")
def matched(once, phantom_dir) -> Path:
    """The folder of a dataset with two copies of each training nodule, and negatives augmented in place."""
    fields = {"name": "matched", "augmented_copies": 2, "matched_augmentation": True, "rotation_fill": "reflect"}
    fields |= {"augmentations": ["rotation", "horizontal_flip", "translation+noise"], "image_size": 64}
    return once("matched", lambda folder: build(phantom_dir, folder, **fields)) / "nih_chest_xray/matched/2.0.0"


@pytest.fixture(scope="session")
def sound(once, phantom_dir) -> Path:
    """The folder of a dataset with two copies of each training nodule, at 64 pixels."""
    fields = {"name": "built", "augmented_copies": 2, "image_size": 64, "healthy_stride": 4}
    return once("sound", lambda folder: build(phantom_dir, folder, **fields)) / "nih_chest_xray" / "built" / "2.0.0"


@pytest.fixture(scope="session")
def expert(once, phantom_dir) -> Path:
    """The folder of a small dataset that radiologists evaluate."""
    fields = {"name": "expert", "task": "nodule_expert", "split": "expert", "image_size": 16}
    return once("expert", lambda folder: build(phantom_dir, folder, **fields)) / "nih_chest_xray" / "expert" / "2.0.0"


@pytest.fixture(scope="session")
def folded(once, phantom_dir) -> Path:
    """The folder of a dataset of JPEGs in folds, copies apart. Its classes are not in alphabetical order."""
    fields = {"name": "folded", "positive": ["Effusion", "Nodule"], "split": "folds", "folds": 3, "image_size": 64}
    fields |= {"image_format": "jpeg", "augmented_copies": 1}
    return once("folded", lambda folder: build(phantom_dir, folder, **fields)) / "nih_chest_xray/folded/2.0.0"


@pytest.fixture(scope="session")
def exported(request, once, catalog_data):
    """Returns the folder of a dataset, by its name, and that of its export."""

    def make(name: str, to: str) -> tuple[Path, Path]:
        dataset = catalog_data / "nih_chest_xray" / name / "2.0.0"
        if name not in CATALOG_CONFIGS:
            dataset = request.getfixturevalue(name)
        return dataset, once(f"{name}-{to}", lambda folder: export(dataset, to, folder))

    return make


@pytest.fixture(scope="session")
def rows_of():
    """Returns the rows of a dataset's examples.csv, read without the package."""

    def read(folder: Path, subset: str | None = None) -> list[dict[str, str]]:
        with (folder / "examples.csv").open() as file:
            return [row for row in csv.DictReader(file) if subset in (None, row["subset"])]

    return read


@pytest.fixture(scope="session")
def made(rows_of):
    """Makes scores of a subset's images that know a little of the truth, as a table."""

    def make(folder: Path, subset: str = "test", seed: int = 0) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        rows = rows_of(folder, subset)
        positive = np.array([row["label"] in ("Nodule", "Nodule or mass") for row in rows])
        scores = 1 / (1 + np.exp(1 - positive - rng.normal(size=len(rows))))
        return pd.DataFrame({"image_name": [row["image_name"] for row in rows], "score": scores})

    return make


@pytest.fixture(scope="session")
def drawn():
    """Truth, probabilities with many ties, and the number of each image's patient; 60 patients with 1 to 12 images."""
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(60), rng.integers(1, 13, 60)))
    y_true = (rng.normal(size=60)[groups] + rng.normal(size=len(groups)) > 1).astype(int)
    y_prob = 1 / (1 + np.exp(1.5 - y_true - rng.normal(size=60)[groups] - rng.normal(size=len(groups))))
    return y_true, y_prob.round(2), groups


@pytest.fixture(scope="session")
def weights():
    """(patients, resamples): each patient once; then three resamples of the 60 patients."""
    rng = np.random.default_rng(1)
    return np.column_stack([np.ones(60), rng.multinomial(60, np.full(60, 1 / 60), size=3).T])


@pytest.fixture(scope="session")
def two_findings():
    """Tables of 240 images of 80 patients: truth with gaps, scores of two networks, patients and a column of groups."""
    rng = np.random.default_rng(2)
    images = pd.Index([f"{number:08d}_000.png" for number in range(240)], name="image_name")
    patients = pd.Series(np.arange(240) // 3, images, name="patient_id")
    signal = rng.normal(size=(240, 2)) + rng.normal(size=(80, 2))[patients]
    truth = pd.DataFrame((signal > 0.8).astype(int), images, ["Mass", "Nodule"])
    truth.loc[images[::10], "Nodule"] = -1
    scores = {
        name: pd.DataFrame(1 / (1 + np.exp(1 - signal - noise * rng.normal(size=(240, 2)))), images, truth.columns)
        for name, noise in (("good", 1), ("poor", 3))
    }
    sex = pd.Series(rng.choice(["F", "M"], 80)[patients], images, name="patient_sex")
    return truth, scores, patients, sex

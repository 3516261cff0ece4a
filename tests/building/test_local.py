"""Tests of the local build: one pass over each archive, little extra disk, the same examples by every way."""

import errno
import hashlib
import shutil
import threading
import time

import pytest
import tqdm
from etils import epath
from tensorflow_datasets.proto import tf_example_pb2

from nih_chest_xray.building import parallel
from nih_chest_xray.building.examples import BrokenImage
from nih_chest_xray.building.local import LocalBuild
from nih_chest_xray.building.progress import Progress
from nih_chest_xray.phantom.release import tar_gz
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release import tars
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.vocabulary import SUBSETS


@pytest.fixture
def config(make_config):
    return make_config(image_size=32, augmented_copies=1, allow_missing_images=True)


@pytest.fixture
def archives_dir(once, phantom):
    """Two archives that share some images, as nobody's do, but nothing keeps them from it."""
    return once("archives", lambda folder: phantom.write(folder, "archives"))


def local_build(folder, config, tmp_path, cap=None):
    found = find_release(epath.Path(folder), {}, allow_repacked=True)
    plan = make_plan(read_tables(found, config, {}), config)
    manifest = plan.manifest
    return LocalBuild(found, manifest, config, epath.Path(tmp_path), cap), manifest


def write(build, store=lambda subset, records, count, size: list(records)):
    try:
        return build.write(store, Progress(tqdm.tqdm(disable=True), 1))
    finally:
        build.close()


def run(folder, config, tmp_path, cap=None):
    """Returns the records of each subset in their order, the report and the manifest."""
    build, manifest = local_build(folder, config, tmp_path, cap)
    return write(build), build.report(), manifest


def names(records):
    examples = map(tf_example_pb2.Example.FromString, records)
    return [example.features.feature["image_name"].bytes_list.value[0].decode() for example in examples]


@pytest.mark.parametrize("layout", ["folder", "archives"])
def test_every_example_of_the_manifest_is_made_once_in_its_subset(layout, phantom, config, tmp_path):
    phantom.write(tmp_path / "release", layout)
    made, report, manifest = run(tmp_path / "release", config, tmp_path)
    for subset in SUBSETS:
        planned = manifest.loc[manifest["subset"] == subset, "image_name"]
        assert sorted(names(made[subset])) == sorted(planned)
    assert report.names == set(manifest["image_name"])


@pytest.mark.parametrize("layout", ["folder", pytest.param("archives", marks=pytest.mark.slow)])
def test_order_and_bytes_are_the_same_with_any_number_of_workers(layout, phantom, config, tmp_path, monkeypatch):
    phantom.write(tmp_path / "release", layout)
    results = []
    for workers in ("1", "2", "5"):
        monkeypatch.setenv(parallel.WORKERS_VARIABLE, workers)
        results.append(run(tmp_path / "release", config, tmp_path)[0])
    assert results[0] == results[1] == results[2]


def test_archives_and_folders_give_the_same_records_in_the_same_order(phantom_dir, archives_dir, config, tmp_path):
    assert run(phantom_dir, config, tmp_path)[0] == run(archives_dir, config, tmp_path)[0]


def test_records_are_in_the_order_of_tfds(phantom_dir, config, tmp_path):
    """By the MD5 of the subset's and the example's name, as `tensorflow_datasets.core.hashing` has it."""
    made, _, _ = run(phantom_dir, config, tmp_path)
    for subset, records in made.items():
        digests = [hashlib.md5(f"{subset}{name}".encode()).hexdigest() for name in names(records)]
        assert digests == sorted(digests)


def test_the_first_subset_of_a_folder_is_stored_while_others_are_made(phantom_dir, config, tmp_path):
    """With more of it than is read ahead, it is stored before the last image is read; a store that waits shows it."""
    build, _ = local_build(phantom_dir, config, tmp_path)
    begun = threading.Event()

    def make(image, usual=build._try):
        if image.name in build._sources["test"]:
            assert begun.wait(30)
        return usual(image)

    def store(subset, records, count, size):
        begun.set()
        return subset, len(list(records)), count

    build._try = make
    stored = write(build, store)
    assert {subset: (subset, made, made) for subset, (_, made, _) in stored.items()} == stored
    assert list(stored) == list(SUBSETS)


def test_an_error_in_storing_a_subset_ends_the_build(phantom_dir, config, tmp_path):
    def store(subset, records, count, size):
        next(records)
        raise OSError(errno.ENOSPC, "No space left on device")

    build, _ = local_build(phantom_dir, config, tmp_path)
    with pytest.raises(OSError, match="No space left"):
        write(build, store)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("nih_chest_xray")] == []


def test_an_interruption_stops_what_is_being_stored(phantom_dir, config, tmp_path):
    begun = threading.Event()
    taken = []

    def store(subset, records, count, size):
        for record in records:
            taken.append(record)
            begun.set()
            time.sleep(0.01)

    def interrupt(*_arguments):
        if build._subsets["train"].stored is not None:
            assert begun.wait(30)
            raise KeyboardInterrupt

    build, manifest = local_build(phantom_dir, config, tmp_path)
    build._note = interrupt
    usual = build._try
    build._try = lambda image: usual(image) if image.name not in build._sources["test"] else BrokenImage(image.name, "")
    with pytest.raises(KeyboardInterrupt):
        write(build, store)
    assert len(taken) < (manifest["subset"] == "train").sum()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("nih_chest_xray")] == []


def test_each_archive_is_read_once_and_from_beginning_to_end(archives_dir, config, tmp_path, monkeypatch):
    read = []
    usual = tars._Hashing.readinto
    monkeypatch.setattr(tars._Hashing, "readinto", lambda self, buffer: read.append(usual(self, buffer)) or read[-1])
    _, report, _ = run(archives_dir, config, tmp_path)
    paths = list(archives_dir.glob("*.tar.gz"))
    assert sum(read) == sum(path.stat().st_size for path in paths)
    assert set(report.digests) == {str(path) for path in paths}


def test_archives_are_read_side_by_side_where_there_are_workers_for_it(
    phantom, phantom_dir, config, tmp_path, monkeypatch
):
    """Two archives whose contents are known, and a reader that has each wait for the other."""
    images = sorted((image.name, image.read()) for image in phantom.images(frozenset(phantom.names)))
    half = len(images) // 2
    for number, part in enumerate((images[:half], images[half:]), start=1):
        (tmp_path / f"images_{number:03d}.tar.gz").write_bytes(tar_gz(part))
    for table in phantom_dir.glob("*.csv"):
        shutil.copy(table, tmp_path)
    expected, _, _ = run(phantom_dir, config, tmp_path)
    together = threading.Barrier(2, timeout=30)
    usual = tars.TarGz.images

    def wait_for_the_other(archive, wanted):
        for number, image in enumerate(usual(archive, wanted)):
            if number == 0:
                together.wait()
            yield image

    monkeypatch.setattr(tars.TarGz, "images", wait_for_the_other)
    monkeypatch.setenv(parallel.WORKERS_VARIABLE, "8")
    build, _ = local_build(tmp_path, config, tmp_path)
    for archive, contents in zip(build._release.sources, [("", images[half][0]), (images[half][0], "~")], strict=True):
        archive.certain, archive._contents = True, contents
    assert write(build) == expected
    assert len(build.report().digests) == 2


def test_while_archives_are_read_the_only_file_is_one_without_a_name(archives_dir, config, tmp_path):
    (tmp_path / "here").mkdir()
    build, _ = local_build(archives_dir, config, tmp_path / "here")
    seen = []
    usual = build._keep
    build._keep = lambda *arguments: seen.extend((tmp_path / "here").iterdir()) or usual(*arguments)
    write(build)
    assert seen == []
    assert build.report().names


@pytest.mark.parametrize("layout", ["folder", "archives"])
def test_a_trial_build_takes_the_first_examples_of_every_subset_and_reads_no_further(
    layout, phantom_dir, archives_dir, config, tmp_path, monkeypatch
):
    monkeypatch.setenv(parallel.WORKERS_VARIABLE, "1")
    folder = phantom_dir if layout == "folder" else archives_dir
    whole, _, _ = run(folder, config, tmp_path)
    build, manifest = local_build(folder, config, tmp_path, cap=2)
    read = []
    usual = build._try
    build._try = lambda image: read.append(image.name) or usual(image)
    made = write(build)
    assert {subset: len(records) for subset, records in made.items()} == dict.fromkeys(SUBSETS, 2)
    assert all(set(records) <= set(whole[subset]) for subset, records in made.items())
    assert len(read) < manifest["source_name"].nunique()
    if layout == "folder":
        for subset in SUBSETS:
            planned = sorted(manifest.loc[manifest["subset"] == subset, "image_name"])
            assert sorted(names(made[subset])) == planned[:2]

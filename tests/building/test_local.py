"""Tests of the local build: one pass over each archive, little extra disk, the same examples by every way."""

import pytest
from etils import epath

from nih_chest_xray.building import parallel
from nih_chest_xray.building.local import LocalBuild
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


def local_build(folder, config, tmp_path):
    found = find_release(epath.Path(folder), {}, allow_repacked=True)
    plan = make_plan(read_tables(found, config, {}), config)
    manifest = plan.manifest
    return LocalBuild(found, manifest, config, epath.Path(tmp_path)), manifest


def run(folder, config, tmp_path, order=SUBSETS):
    build, manifest = local_build(folder, config, tmp_path)
    try:
        made = {subset: [(key, example["image"]) for key, example in build.examples(subset)] for subset in order}
        return made, build.report(), manifest
    finally:
        build.close()


@pytest.mark.parametrize("layout", ["folder", "archives"])
def test_every_example_of_the_manifest_is_made_once_in_its_subset(layout, phantom, config, tmp_path):
    phantom.write(tmp_path / "release", layout)
    made, report, manifest = run(tmp_path / "release", config, tmp_path)
    for subset in SUBSETS:
        planned = manifest.loc[manifest["subset"] == subset, "image_name"]
        assert sorted(key for key, _ in made[subset]) == sorted(planned)
    assert report.names == set(manifest["image_name"])


@pytest.mark.parametrize("layout", ["folder", pytest.param("archives", marks=pytest.mark.slow)])
def test_order_and_bytes_are_the_same_with_any_number_of_workers(layout, phantom, config, tmp_path, monkeypatch):
    phantom.write(tmp_path / "release", layout)
    results = []
    for workers in ("1", "2", "5"):
        monkeypatch.setenv(parallel.WORKERS_VARIABLE, workers)
        results.append(run(tmp_path / "release", config, tmp_path)[0])
    assert results[0] == results[1] == results[2]


def test_archives_and_folders_give_the_same_examples_in_whatever_order_subsets_are_made(
    phantom_dir, archives_dir, config, tmp_path
):
    from_folder, _, _ = run(phantom_dir, config, tmp_path)
    for order in (SUBSETS, SUBSETS[::-1]):
        from_archives, _, _ = run(archives_dir, config, tmp_path, order)
        assert {subset: dict(made) for subset, made in from_archives.items()} == {
            subset: dict(made) for subset, made in from_folder.items()
        }


def test_each_archive_is_read_once_and_from_beginning_to_end(archives_dir, config, tmp_path, monkeypatch):
    read = []
    usual = tars._Hashing.readinto
    monkeypatch.setattr(tars._Hashing, "readinto", lambda self, buffer: read.append(usual(self, buffer)) or read[-1])
    _, report, _ = run(archives_dir, config, tmp_path)
    paths = list(archives_dir.glob("*.tar.gz"))
    assert sum(read) == sum(path.stat().st_size for path in paths)
    assert set(report.digests) == {str(path) for path in paths}


def test_while_archives_are_read_the_only_file_is_one_without_a_name(archives_dir, config, tmp_path):
    (tmp_path / "here").mkdir()
    build, _ = local_build(archives_dir, config, tmp_path / "here")
    for _ in build.examples("train"):
        assert list((tmp_path / "here").iterdir()) == []
    build.close()


def test_a_build_that_stops_early_still_has_examples_of_every_subset(archives_dir, config, tmp_path):
    """As with max_examples_per_split: the pass goes on where the last subset left it."""
    build, manifest = local_build(archives_dir, config, tmp_path)
    for subset in SUBSETS:
        examples = build.examples(subset)
        keys = {next(examples)[0] for _ in range(2)}
        assert keys <= set(manifest.loc[manifest["subset"] == subset, "image_name"])
        assert len(keys) == 2
    build.close()

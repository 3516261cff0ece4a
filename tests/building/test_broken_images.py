"""Tests of broken images: all of them are named by one error, or left out, counted and listed where that is allowed."""

import json
import os
import re
import warnings
import zipfile
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
import tqdm
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

import nih_chest_xray
from nih_chest_xray.building import local
from nih_chest_xray.building.examples import BrokenImage, broken_error
from nih_chest_xray.building.progress import Progress
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.errors import ImageError, ReleaseError
from nih_chest_xray.phantom.release import tar_gz
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.verification.command import verify

BEAM = ["--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading"]


@pytest.fixture
def planned(phantom_dir, make_config):
    """Names of the images that a config needs, by subset."""
    cohort = make_plan(
        read_tables(find_release(epath.Path(phantom_dir), {}, True), make_config(), {}), make_config()
    ).cohort
    return {subset: sorted(rows["image_name"]) for subset, rows in cohort.groupby("subset")}


def build(config, manual_dir, data_dir, beam=False):
    builder = nih_chest_xray.Builder(config=config, data_dir=data_dir)
    options = PipelineOptions(BEAM) if beam else None
    download = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_options=options)
    builder.download_and_prepare(download_config=download)
    return Path(builder.data_dir)


def write(folder, phantom, broken, layout="folder"):
    """Writes the phantom with some images cut."""
    images = [(name, content[:5000] if name in broken else content) for name, content in phantom.drawn.items()]
    (folder / "images").mkdir(parents=True)
    for name, content in phantom.tables().items():
        (folder / name).write_bytes(content)
    if layout == "archive":
        (folder / "images_001.tar.gz").write_bytes(tar_gz(images))
    else:
        for name, content in images:
            (folder / "images" / name).write_bytes(content)
    return folder


def some(planned):
    """Broken images of every subset: one that has a copy in training, as all nodules have, and others."""
    return [planned["train"][0], *planned["train"][-3:], planned["validation"][1], planned["test"][-1]]


@pytest.mark.parametrize("beam", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["local", "Beam"])
@pytest.mark.parametrize("layout", ["folder", "archive"])
def test_broken_images_are_left_out_with_their_copies_counted_and_listed(
    no_pictures, layout, beam, phantom, planned, phantom_dir, tmp_path, make_config
):
    config = make_config(image_size=16, allow_missing_images=True, augmented_copies=1, matched_augmentation=True)
    whole = (build(config, phantom_dir, tmp_path / "all") / "metadata.csv").read_text().splitlines()
    broken = some(planned)
    release = write(tmp_path / "release", phantom, broken, layout)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        folder = build(config, release, tmp_path / "data", beam)
    last = [str(warning.message) for warning in warned if warning.category is UserWarning][-1]
    assert last.startswith(f"{len(broken)} broken images are left out, augmented copies too: {min(broken)} in ")
    assert str(release) in last
    stems = {name.removesuffix(".png") for name in broken}
    assert (folder / "metadata.csv").read_text().splitlines() == [row for row in whole if row[:12] not in stems]
    assert any("_aug" in row for row in whole if row[:12] in stems)
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["broken_images"] == sorted(broken)
    assert metadata["missing_images"] == len(broken)
    done = {check.name: check for check in verify(folder, release)}
    assert [offender for check in done.values() for offender in check.offenders] == []
    assert {check.status for name, check in done.items() if name != "splits"} == {"ok"}
    assert f"{len(broken)} source images were broken at the build and are not stored" in done["pixels"].seen
    write_site(folder, tmp_path / "site")
    told = f"{len(broken)} of the images that this config would hold were missing when it was built, or broken"
    for name in ("index.html", "croissant.json"):
        assert told in (tmp_path / "site" / name).read_text()


def test_a_dataset_without_broken_images_lists_none(phantom_dir, tmp_path, make_config):
    metadata = json.loads((build(make_config(image_size=16), phantom_dir, tmp_path) / "metadata.json").read_text())
    assert metadata["broken_images"] == []
    assert metadata["missing_images"] == 0


def test_verify_tells_of_a_record_that_is_said_to_be_broken(phantom_dir, tmp_path, make_config):
    folder = build(make_config(image_size=16), phantom_dir, tmp_path)
    name = (folder / "metadata.csv").read_text().splitlines()[1].split(",")[0]
    metadata = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(metadata | {"broken_images": [name]}))
    done = {check.name: check for check in verify(folder, phantom_dir)}
    assert done["labels"].offenders == (f"{name}: is stored, but was broken at the build",)


@pytest.mark.parametrize("beam", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["local", "Beam"])
@pytest.mark.parametrize("layout", ["folder", "zip"])
def test_without_leave_one_error_names_all_broken_images_with_place_and_reason(
    layout, beam, phantom, planned, tmp_path, make_config
):
    broken = some(planned)
    release = write(tmp_path / "release", phantom, broken)
    place = release / "images"
    if layout == "zip":
        place = release / "archive.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for path in sorted((release / "images").iterdir()):
                archive.write(path, path.name)
                path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageError) as caught:
            build(make_config(image_size=16), release, tmp_path / "data", beam)
    head, *lines, way_out = str(caught.value).splitlines()
    assert head == f"{len(broken)} images are broken:"
    reason = "the PNG of 5000 bytes is cut or corrupt (it ends within a chunk); get this image again"
    assert lines == [f"{name} in {place}: {reason}" for name in sorted(broken)]
    assert '"allow_missing_images": true' in way_out
    assert not list((tmp_path / "data").glob("**/dataset_info.json"))


def test_after_the_first_broken_image_no_example_is_made_and_each_image_is_read_once(
    phantom, planned, tmp_path, make_config, monkeypatch
):
    monkeypatch.setenv("NIH_CHEST_XRAY_WORKERS", "1")
    broken = [planned["train"][0], planned["test"][0]]
    release = write(tmp_path / "release", phantom, broken)
    read, made = [], []

    def try_examples(stored, rows, config):
        read.append(stored.name)
        made.extend(row.image_name for row in rows)
        return usual(stored, rows, config)

    usual = local.try_examples
    monkeypatch.setattr(local, "try_examples", try_examples)
    with pytest.warns(UserWarning, match=f"{broken[0]} in .*No dataset is made"), pytest.raises(ImageError):
        build(make_config(image_size=16), release, tmp_path / "data")
    assert sorted(read) == sorted(name for names in planned.values() for name in names)
    assert len(made) < 10  # Those that were in the works.


@pytest.mark.parametrize("beam", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["local", "Beam"])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_subset_of_which_all_images_are_broken_is_an_error_that_says_so(
    allowed, beam, phantom, planned, tmp_path, make_config
):
    release = write(tmp_path / "release", phantom, planned["validation"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageError, match=f"{len(planned['validation'])} images are broken:\n") as caught:
            build(make_config(image_size=16, allow_missing_images=allowed), release, tmp_path / "data", beam)
    assert f"\n{planned['validation'][0]} in " in str(caught.value)
    if allowed:
        assert "Nothing is left of the subset validation, and TFDS cannot store an empty subset." in str(caught.value)
    assert not list((tmp_path / "data").glob("**/dataset_info.json"))


def test_damaged_members_of_a_zip_are_broken_images(phantom, planned, tmp_path, make_config):
    release = write(tmp_path / "release", phantom, [])
    broken = some(planned)
    with zipfile.ZipFile(release / "archive.zip", "w") as archive:
        for path in sorted((release / "images").iterdir()):
            archive.write(path, f"images/{path.name}")
            path.unlink()
    content = bytearray((release / "archive.zip").read_bytes())
    for name in broken:
        content[content.index(phantom.drawn[name]) + 1000] ^= 1
    (release / "archive.zip").write_bytes(content)
    config = make_config(image_size=16, allow_missing_images=True)
    with pytest.warns(
        UserWarning, match=rf"{len(broken)} broken images .*: .*member images/{min(broken)} is cut or cor"
    ):
        folder = build(config, release, tmp_path / "data")
    assert json.loads((folder / "metadata.json").read_text())["broken_images"] == sorted(broken)


def test_what_the_system_refuses_ends_the_build_at_once_and_is_not_left_out(phantom, planned, tmp_path, make_config):
    release = write(tmp_path / "release", phantom, planned["train"][:1])
    gone = release / "images" / planned["train"][-1]
    gone.unlink()
    gone.symlink_to("nowhere")
    for allowed in (True, False):
        config = make_config(image_size=16, allow_missing_images=allowed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match=rf"{gone.name} cannot be read \(No such file") as caught:
                build(config, release, tmp_path / "data")
        # What was found broken before is told too.
        assert (type(caught.value), planned["train"][0] in str(caught.value)) == (
            (ReleaseError, False) if allowed else (ImageError, True)
        )


def test_an_archive_that_is_cut_behind_a_broken_image_is_told_with_it(phantom, planned, tmp_path, make_config):
    broken = planned["train"][0]
    release = write(tmp_path / "release", phantom, [broken], "archive")
    archive = release / "images_001.tar.gz"
    os.truncate(archive, archive.stat().st_size - 1)
    config = make_config(image_size=16, allow_missing_images=True)
    found = find_release(epath.Path(release), {}, allow_repacked=True)
    plan = make_plan(read_tables(found, config, {}), config)
    config.allow_missing_images = False
    made = local.LocalBuild(found, plan.manifest, config, epath.Path(tmp_path))
    with pytest.warns(UserWarning, match="No dataset is made"), pytest.raises(ImageError) as caught:
        made.write(lambda *_: pytest.fail("it was stored"), Progress(tqdm.tqdm(disable=True), 1))
    made.close()
    assert re.search(rf"{broken} in .*\nImages after these were not checked: .*001.tar.gz is cut", str(caught.value))


def test_the_error_names_twenty_images_and_counts_the_others():
    broken = [BrokenImage(f"{number:08d}_000.png", f"{number:08d}_000.png in DIR: cut") for number in range(25, 0, -1)]
    lines = str(broken_error(broken)).splitlines()
    assert lines[0] == "25 images are broken:"
    assert lines[1:21] == [f"{number:08d}_000.png in DIR: cut" for number in range(1, 21)]
    assert lines[21] == "… and 5 more"
    assert str(broken_error(broken[:1])).startswith("1 image is broken:\n")

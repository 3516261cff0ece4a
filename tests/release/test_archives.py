"""Tests of configs that keep some of the NIH's archives: the images of these, each in the subset of a full build."""

import csv
import json
import shutil

import pytest
import tensorflow_datasets as tfds
from etils import epath

import nih_chest_xray
from nih_chest_xray import vocabulary
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.errors import CohortError, ReleaseError, TransferError
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.release import release
from nih_chest_xray.release.downloads import complete_images
from nih_chest_xray.release.find import find_release
from nih_chest_xray.release.release import Release, known_files
from nih_chest_xray.release.tables import read_tables
from nih_chest_xray.verification.command import verify
from nih_chest_xray.vocabulary import FIRST_IMAGES, archive_of

SECOND = ("00000016_000.png", "00000031_000.png")
"""Where the second archive begins and ends, in these tests: of a phantom of 40 patients the NIH's first has all."""


def begin_archives_with(names, monkeypatch):
    for module in (release, vocabulary):
        monkeypatch.setattr(module, "FIRST_IMAGES", names)


@pytest.fixture
def small_archives(monkeypatch):
    behind = [f"{number:08d}_000.png" for number in range(50, 59)]
    begin_archives_with(("00000001_000.png", *SECOND, *behind), monkeypatch)


@pytest.fixture
def second_dir(phantom, phantom_dir, tmp_path):
    """The phantom's tables, whole, and the images of its second archive alone."""
    folder = tmp_path / "second"
    folder.mkdir()
    for name, content in phantom.tables().items():
        (folder / name).write_bytes(content)
    for name in sorted(phantom.names):
        if SECOND[0] <= name < SECOND[1]:
            shutil.copy(phantom_dir / "images" / name, folder)
    return folder


def build(config, manual_dir, data_dir):
    builder = nih_chest_xray.Builder(config=config, data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def rows(builder):
    with (builder.data_path / "metadata.csv").open() as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def planned(config, folder):
    plan = make_plan(read_tables(find_release(epath.Path(folder), known_files(), True), config, known_files()), config)
    return list(plan.cohort[["image_name", "label", "subset"]].itertuples(index=False, name=None))


def test_an_archive_begins_with_its_first_image_and_ends_before_the_next_ones():
    for number, first in enumerate(FIRST_IMAGES, start=1):
        assert archive_of(first) == number
        assert archive_of(f"{int(first[:8]) - 1:08d}_999.png") == number - 1
    assert archive_of("00030805_000.png") == 12


@pytest.mark.real
def test_archives_hold_as_many_images_as_the_nihs_do(real_labels):
    counts = real_labels["image_name"].map(archive_of).value_counts().to_dict()
    assert counts == {1: 4_999, **dict.fromkeys(range(2, 12), 10_000), 12: 7_121}


@pytest.mark.real
def test_first_archive_has_1591_images_214_nodules_and_2_gb_to_download(real_dir):
    configs = {config.name: config for config in NAMED_CONFIGS}
    found, known = find_release(epath.Path(real_dir), known_files(), True), known_files()
    cohort = make_plan(read_tables(found, configs["first_archive"], known), configs["first_archive"]).cohort
    assert (len(cohort), (cohort["label"] == "Nodule").sum()) == (1_591, 214)
    whole = make_plan(read_tables(found, configs["nodule"], known), configs["nodule"]).cohort.set_index("image_name")
    assert list(cohort["subset"]) == list(whole["subset"][cohort["image_name"]])
    asked = {}

    def fetch(files):
        asked.update(files)
        raise TransferError("no network")

    with pytest.raises(ReleaseError, match=r"no network"):
        complete_images(Release(place="nowhere"), frozenset(cohort["image_name"]), known, fetch)
    assert list(asked) == ["images_001.tar.gz"]
    assert f"{asked['images_001.tar.gz'].size / 1e9:.1f}" == "2.0"


def test_a_build_has_the_archives_images_in_the_subsets_of_a_full_build_and_needs_no_others(
    no_pictures, small_archives, second_dir, phantom_dir, tmp_path, make_config
):
    fields = {"image_size": 16, "augmented_copies": 1}
    whole = rows(build(make_config(**fields), phantom_dir, tmp_path / "whole"))
    builder = build(make_config(**fields, name="second", archives=[2]), second_dir, tmp_path / "data")
    assert rows(builder) == [row for row in whole if SECOND[0] <= row[0] < SECOND[1]]
    assert 0 < len(rows(builder)) < len(whole)
    assert any("_aug1" in name for name, _, _ in rows(builder))
    metadata = json.loads((builder.data_path / "metadata.json").read_text())
    assert (metadata["missing_images"], metadata["config"]["archives"]) == (0, [2])

    # The build is planned again, of these archives, from a folder that has more.
    done = {check.name: check for check in verify(builder.data_path, phantom_dir)}
    assert {check.status for check in done.values()} == {"ok", "skipped"}
    assert [name for name, check in done.items() if check.status == "skipped"] == ["splits"]

    write_site(builder.data_path, tmp_path / "site")
    said = "Images of the NIH's archive 2 of 12 only, each in the subset that it has in a build of the whole release."
    assert said in (tmp_path / "site" / "index.html").read_text().replace("&#39;", "'")
    croissant = json.loads((tmp_path / "site" / "croissant.json").read_text())
    assert croissant["description"].startswith(said)
    assert any("is not a random sample" in bias for bias in croissant["rai:dataBiases"])


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "findings", "split": "official", "healthy_stride": 1},
        {"task": "nodule_expert", "split": "expert"},
    ],
    ids=["official", "expert"],
)
@pytest.mark.filterwarnings("ignore:config 'test', archives=")
def test_other_splits_are_made_of_the_whole_too(small_archives, phantom_dir, make_config, fields):
    whole = planned(make_config(**fields), phantom_dir)
    parts = [planned(make_config(**fields, archives=archives), phantom_dir) for archives in ([1], [3, 2])]
    assert [row for row in whole if row[0] < SECOND[0]] == parts[0]
    assert [row for row in whole if row[0] >= SECOND[0]] == parts[1]
    assert all(parts)


def test_what_the_archives_lack_is_said(phantom_dir, make_config, monkeypatch):
    cohort = make_plan(
        read_tables(find_release(epath.Path(phantom_dir), {}, True), make_config(), {}), make_config()
    ).cohort
    train = cohort[cohort["subset"] == "train"]
    name = train.loc[~train["positive"], "image_name"].iloc[0]
    behind = f"{name.removesuffix('.png')}_.png"  # So the third archive has this image alone.
    begin_archives_with(("0", "0", name, behind, *["9"] * 8), monkeypatch)
    with pytest.warns(UserWarning, match=r"archives=\[3\]") as warned:
        assert len(planned(make_config(archives=[3]), phantom_dir)) == 1
    texts = [str(warning.message) for warning in warned]
    assert "config 'test', archives=[3]: the dataset will have no subset validation and no test." in texts
    assert "config 'test', archives=[3]: train has no image of Nodule: AUROC is undefined there." in texts
    with pytest.raises(CohortError, match=r"'test', archives=\[12\]: these hold none of the config's images"):
        planned(make_config(archives=[12]), phantom_dir)


def test_the_page_names_several_archives(no_pictures, small_archives, phantom_dir, tmp_path, make_config):
    config = make_config(archives=[3, 1, 2], image_size=16)
    builder = build(config, phantom_dir, tmp_path)
    write_site(builder.data_path, tmp_path / "site")
    assert "archives 1, 2 and 3 of 12 only" in (tmp_path / "site" / "index.html").read_text()


@pytest.mark.parametrize("known_field", [True, False])
def test_other_archives_under_the_same_name_are_refused(known_field, phantom_dir, tmp_path, make_config):
    """Also where a version built it that did not have this field."""
    path = build(make_config(image_size=16), phantom_dir, tmp_path).data_path / "metadata.json"
    metadata = json.loads(path.read_text())
    if not known_field:
        del metadata["config"]["archives"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=r"was built with archives=\[\], which is not what this config 'test' says"):
        build(make_config(image_size=16, archives=[1]), phantom_dir, tmp_path)

"""Tests of truths: what a built dataset says of its images, and that a file of somebody else's is not believed."""

import csv
import json
import shutil

import pandas as pd
import pytest

from nih_chest_xray.catalog.datasets import open_dataset
from nih_chest_xray.errors import CatalogError, UsageError
from nih_chest_xray.evaluation import truths
from nih_chest_xray.evaluation.images import read_images
from nih_chest_xray.vocabulary import EXPERT_FINDINGS, FINDINGS


def of(folder, against, subset="test"):
    built = open_dataset(folder)
    images = read_images(built, subset)
    return built, images, *truths.truth_of(built, images, against)


def column(rows, name):
    return [int(row[name]) for row in rows]


def test_the_label_is_the_truth_of_two_classes(sound, rows_of):
    _, images, truth, single = of(sound, "label")
    rows = rows_of(sound, "test")
    assert (list(truth.index), single) == ([row["image_name"] for row in rows], "Nodule")
    assert truth["Nodule"].tolist() == [int(row["label"] == "Nodule") for row in rows]
    assert len(images) == len(rows) > 0


def test_copies_are_no_images(sound, rows_of):
    images = read_images(open_dataset(sound), "train")
    rows = rows_of(sound, "train")
    assert 0 < len(images) < len(rows)
    assert set(images.index) == {row["image_name"] for row in rows if row["augmentation"] == "none"}


def test_findings_are_those_of_the_label_file(catalog_data, rows_of):
    folder = catalog_data / "nih_chest_xray/many/2.0.0"
    for against in ("label", "findings"):
        _, _, truth, single = of(folder, against)
        assert (list(truth), single) == (list(FINDINGS), None)
        for row in rows_of(folder, "test"):
            has = {name for name, value in truth.loc[row["image_name"]].items() if value}
            assert has == set(row["findings"].split("|")) - {"No Finding"}


def test_a_single_score_is_of_any_of_the_tasks_findings(expert):
    _, _, truth, single = of(expert, "findings")
    assert single == "Nodule or Mass"
    assert truth[single].tolist() == truth[["Nodule", "Mass"]].max(axis=1).tolist()


def test_radiologists_say_what_examples_csv_has(expert, rows_of):
    rows = rows_of(expert, "test")
    _, _, truth, single = of(expert, "expert_labels")
    assert (list(truth), single) == (list(EXPERT_FINDINGS), "Nodule or mass")
    assert truth["Nodule or mass"].tolist() == column(rows, "expert_labels_nodule_or_mass")
    assert truth["Airspace opacity"].tolist() == column(rows, "expert_labels_airspace_opacity")
    _, _, truth, single = of(expert, "expert_findings")
    assert truth["Nodule"].tolist() == column(rows, "expert_findings_nodule")
    nodule, mass = (column(rows, f"expert_findings_{name}") for name in ("nodule", "mass"))
    assert truth[single].tolist() == [max(pair) if -1 not in pair else -1 for pair in zip(nodule, mass, strict=True)]


def test_votes_make_an_image_positive_where_a_reader_says_yes(expert, rows_of):
    built, images, truth, single = of(expert, "reader_votes")
    assert single == "Nodule or mass"
    rows = rows_of(expert, "test")
    votes = [tuple(int(row[f"reader_votes_{end}"]) for end in ("yes", "no", "hedge")) for row in rows]
    readers = max({sum(vote) for vote in votes}, key=[sum(vote) for vote in votes].count)
    for row, (yes, _no, hedge), number in zip(rows, votes, map(sum, votes), strict=True):
        expected = -1 if number != readers or (not yes and hedge) else int(yes > 0)
        assert truth.loc[row["image_name"], single] == expected
    groups = truths.groups_of(built, images, truth, "reader_votes", ())
    assert {group.by for group in groups} == {"votes"}


def test_five_readers_vote_on_nodules(expert, rows_of):
    _, _, truth, single = of(expert, "nodule_votes")
    assert single == "Nodule"
    votes = column(rows_of(expert, "test"), "nodule_votes")
    assert truth["Nodule"].tolist() == [-1 if vote < 0 else int(vote > 0) for vote in votes]
    assert -1 in votes


def test_a_nodules_size_is_the_longer_side_of_its_largest_box_in_mm(sound, rows_of):
    built, images, truth, _ = of(sound, "label", "validation")
    by_size = {
        g.name: set(images.index[g.rows]) for g in truths.groups_of(built, images, truth, "label", ["nodule_size"])
    }
    negatives = set(truth.index[truth["Nodule"] == 0])
    seen = set()
    for row in rows_of(sound, "validation"):
        boxes = [box for box, finding in json.loads(row["bboxes"]) if finding == "Nodule"]
        sides = [
            side * 64 * float(row[f"mm_per_pixel_{axis}"])
            for ymin, xmin, ymax, xmax in boxes
            for side, axis in ((xmax - xmin, "x"), (ymax - ymin, "y"))
        ]
        if sides and row["label"] == "Nodule":
            name = "20 mm or more" if max(sides) >= 20 else "10 to 20 mm" if max(sides) >= 10 else "below 10 mm"
            assert row["image_name"] in by_size[name]
            seen.add(name)
    assert seen == by_size.keys()
    assert all(negatives <= group for group in by_size.values())


@pytest.mark.parametrize(
    ("box", "mm", "expected"),
    [
        ([0.0, 0.0, 0.1, 0.2], ("0.2", "0.1"), "20 mm or more"),  # 40 mm across, 10 mm down, of 1,000 pixels.
        ([0.0, 0.0, 0.2, 0.05], ("0.2", "0.1"), "20 mm or more"),  # 10 mm across, 20 mm down.
        ([0.0, 0.0, 0.15, 0.05], ("0.1", "0.1"), "10 to 20 mm"),
        ([0.5, 0.5, 0.55, 0.55], ("0.1", "0.1"), "below 10 mm"),
    ],
)
def test_a_box_is_measured_across_and_down(box, mm, expected):
    row = {"bboxes": json.dumps([[box, "Nodule"], [[0, 0, 1, 1], "Mass"]])}
    row |= {"mm_per_pixel_x": mm[0], "mm_per_pixel_y": mm[1]}
    assert truths._nodule_size(pd.Series(row), 1000) == expected
    assert truths._nodule_size(pd.Series(row | {"bboxes": '[[[0, 0, 1, 1], "Mass"]]'}), 1000) is None


def test_groups_are_by_sex_view_and_age(sound):
    built, images, truth, _ = of(sound, "label")
    groups = truths.groups_of(built, images, truth, "label", ["patient_sex", "view_position", "age"])
    for group in groups:
        key = {"age": "patient_age"}.get(group.by, group.by)
        values = set(images[key][group.rows])
        if group.by != "age":
            assert values == {group.name}
        elif group.name.endswith("+"):
            assert min(map(int, values)) >= 60
    assert {group.by for group in groups} == {"patient_sex", "view_position", "age"}


def test_names_come_in_the_order_of_the_records(sound, catalog_data):
    for folder in (sound, *(catalog_data / "nih_chest_xray").glob("*/2.0.0")):
        built = open_dataset(folder)
        names = truths.names_in_order(built, "test")()
        assert sorted(names) == list(read_images(built, "test").index)
        assert names != sorted(names)


def damage(change):
    """Changes the cells of a column of examples.csv's test images."""

    def apply(folder, name, value):
        path = folder / "examples.csv"
        with path.open() as file:
            rows = list(csv.DictReader(file))
        change(rows, name, value)
        with path.open("w") as file:
            writer = csv.DictWriter(file, rows[0], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    return apply


@damage
def set_cells(rows, name, value):
    for row in rows:
        if row["subset"] == "test":
            row[name] = value


@damage
def drop_column(rows, name, _value):
    for row in rows:
        del row[name]


@pytest.fixture
def copied(expert, tmp_path):
    return shutil.copytree(expert, tmp_path / "2.0.0")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("findings", "<b>Tumour</b>"),
        ("bboxes", '[[[0, 0, 1], "Nodule"]]'),
        ("bboxes", "[" * 100_000),
        ("bboxes", '[[[0, 0, NaN, 1], "Nodule"]]'),
        ("bboxes", "{}x"),
        ("patient_id", "-4"),
        ("patient_id", "7"),
        ("patient_age", "9" * 400),
        ("patient_age", ""),
        ("patient_sex", "X"),
        ("view_position", "\x1b[2J"),
        ("mm_per_pixel_x", "inf"),
        ("mm_per_pixel_y", "0"),
        ("expert_labels_nodule_or_mass", "2"),
        ("expert_findings_mass", "yes"),
        ("reader_votes_yes", "1e9"),
        ("nodule_votes", "٣"),
        ("augmentation", "rotation"),
        ("label", "Nodule"),
    ],
)
def test_values_that_the_package_never_writes_are_named(copied, name, value):
    set_cells(copied, name, value)
    with pytest.raises(UsageError) as raised:
        read_images(open_dataset(copied), "test")
    error = str(raised.value)
    assert str(copied / "examples.csv") in error
    assert "nih-chest-xray verify" in error
    assert error.isprintable()
    assert len(error) < 1000


@pytest.mark.parametrize("name", ["patient_id", "subset", "bboxes", "nodule_votes", "expert_findings_hernia"])
def test_a_column_that_is_not_there_is_named(copied, name):
    drop_column(copied, name, None)
    with pytest.raises(UsageError, match=f"has no column {name}"):
        read_images(open_dataset(copied), "test")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'image_name,label\n"', b"a,b\n1,2,3\n4\n", None, "link"])
def test_a_file_that_is_no_table_is_refused(copied, content):
    path = copied / "examples.csv"
    path.unlink()
    if content == "link":
        path.symlink_to("/dev/zero")
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises((UsageError, CatalogError), match="examples.csv"):
        read_images(open_dataset(copied), "test")


def test_a_longer_row_does_not_shift_the_columns(copied):
    path = copied / "examples.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *(f"00000001_000.png,{row}" for row in rows)]))
    with pytest.raises(UsageError, match="examples.csv"):
        read_images(open_dataset(copied), "test")


def test_records_that_cannot_be_read_are_named(sound, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "2.0.0")
    [shard] = folder.glob("*-test.tfrecord-*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="its records") as raised:
        truths.names_in_order(open_dataset(folder), "test")()
    assert str(folder) in str(raised.value)

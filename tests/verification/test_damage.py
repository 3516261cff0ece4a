"""Tests that verify finds each kind of damage to a built dataset: the checks that fail, and what is named."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from shards import FRAME, change, first_copy, flip, name_of, read, shard, value, write

from nih_chest_xray.images import codec
from nih_chest_xray.verification.command import verify

# Damages. Each changes the folder of a dataset and returns what the texts below name.


def flipped_bytes(subset, *numbers):
    def damage(folder):
        records = read(shard(folder, subset))
        for number in numbers:
            flip(shard(folder, subset), sum(len(record) + FRAME for record in records[:number]) + 12 + 100)
        return {"name": name_of(records[numbers[0]])}

    return damage


def flipped_length(folder):
    """Of the last record but one, with which the last is lost."""
    records = read(shard(folder, "test"))
    flip(shard(folder, "test"), sum(len(record) + FRAME for record in records[:-2]))
    return {"number": len(records) - 2, "name": name_of(records[-2]), "other": name_of(records[-1])}


def cut(size):
    def damage(folder):
        path = shard(folder, "test")
        last = len(read(path)) - 1
        path.write_bytes(path.read_bytes()[:-size])
        return {"number": last}

    return damage


def cut_in_a_header(folder):
    records = read(shard(folder, "test"))
    content = shard(folder, "test").read_bytes()
    shard(folder, "test").write_bytes(content[: len(records[0]) + FRAME + 5])


def broken_image(folder):
    def damage(example):
        content = bytearray(value(example, "image")[0])
        content[len(content) // 2] ^= 0x01
        value(example, "image")[0] = bytes(content)

    return {"name": change(folder, "train", 5, damage)}


def other_image(pixels):
    content = codec.encode(pixels, "png")
    damage = lambda example: value(example, "image").__setitem__(0, content)  # noqa: E731
    return lambda folder: {"name": change(folder, "test", 0, damage)}


def other_values(name, *values):
    """Changes a feature of test's second record, or takes it away."""

    def damage(example):
        if values:
            value(example, name)[:] = values
        else:
            del example.features.feature[name]

    return lambda folder: {"name": change(folder, "test", 1, damage)}


def removed(folder):
    records = read(shard(folder, "validation"))
    write(shard(folder, "validation"), records[:3] + records[4:])
    return {"name": name_of(records[3]), "fewer": len(records) - 1, "all": len(records)}


def twice(folder):
    records = read(shard(folder, "test"))
    write(shard(folder, "test"), [*records[:-1], records[0]])
    return {"name": name_of(records[0]), "number": len(records) - 1}


def moved_to_test(folder, number):
    train = read(shard(folder, "train"))
    write(shard(folder, "train"), train[:number] + train[number + 1 :])
    write(shard(folder, "test"), [*read(shard(folder, "test")), train[number]])
    return name_of(train[number])


def in_another_split(folder):
    """The first training image of a patient who has more than one, not a nodule, so that no copy misses its source."""
    examples = [tf.train.Example.FromString(record) for record in read(shard(folder, "train"))]
    patients = [value(example, "patient_id")[0] for example in examples]
    number = next(
        number
        for number, example in enumerate(examples)
        if patients.count(patients[number]) > 1 and value(example, "label")[0] == 0
    )
    return {"patient": patients[number], "name": moved_to_test(folder, number)}


def copy_in_test(folder):
    return {"name": moved_to_test(folder, first_copy(folder))}


def relabelled(folder):
    def damage(example):
        value(example, "label")[0] = 1 - value(example, "label")[0]

    return {"name": change(folder, "validation", 0, damage)}


def renumbered_patient(folder):
    return {"name": change(folder, "validation", 0, lambda example: value(example, "patient_id").__setitem__(0, 77))}


def renumbered_copy(folder):
    def damage(example):
        value(example, "image_name")[0] = value(example, "image_name")[0].replace(b"_aug1", b"_aug3")

    name = change(folder, "train", first_copy(folder), damage)
    return {"name": name, "missing": name.replace("_aug3", "_aug1"), "source": f"{name[:12]}.png"}


def healthy_source(folder):
    names = [name_of(record) for record in read(shard(folder, "train"))]
    source = f"{names[first_copy(folder)][:12]}.png"
    change(
        folder,
        "train",
        names.index(source),
        lambda example: value(example, "findings").__setitem__(slice(None), [0] * 14),
    )
    return {"source": source}


def listed(function):
    """Lets a function change the lines of metadata.csv, of which the first is the header."""

    def damage(folder):
        lines = (folder / "metadata.csv").read_text().splitlines()
        named = function(lines)
        (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
        return named if isinstance(named, dict) else {}

    return damage


def relabelled_row(rows):
    other = {"Nodule": "No Finding", "No Finding": "Nodule"}
    name, label, subset = rows[4].split(",")
    rows[4] = f"{name},{other[label]},{subset}"
    return {"name": name, "label": label, "other": other[label]}


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content) and None


def without(name):
    return lambda folder: (folder / name).unlink()


def edited(name, function):
    """Lets a function change what a JSON file says."""

    def damage(folder):
        said = json.loads((folder / name).read_text())
        function(said)
        (folder / name).write_text(json.dumps(said))

    return damage


def extra_shard(folder):
    shutil.copy(shard(folder, "test"), folder / "nih_chest_xray-test.tfrecord-00001-of-00002")


def pipe(folder):
    shard(folder, "train").unlink()
    os.mkfifo(shard(folder, "train"))


NOISE = np.random.RandomState(0).randint(0, 256, (64, 64)).astype(np.uint8)
TRAIN, VALIDATION, TEST = (
    rf"nih_chest_xray-{subset}.tfrecord-00000-of-00001" for subset in ("train", "validation", "test")
)
LOST = {"records", "counts", "names"}
"""What fails beside the check that finds a broken record follows from its absence."""
DAMAGES = {
    # Name: what is done, the checks that fail, and what they name: a tuple is of all
    # offenders, a text or a list of some.
    "a flipped byte": (
        flipped_bytes("validation", 2),
        LOST,
        {
            "records": (f"^{VALIDATION}, record 2: its bytes do not match",),
            "names": ("^{name}: is in row .* but in no sound record$",),
        },
    ),
    "two flipped bytes": (flipped_bytes("test", 1, 4), LOST, {"records": ("record 1: ", "record 4: ")}),
    "a flipped length": (
        flipped_length,
        LOST,
        {
            "records": (f"{TEST}, record {{number}}: its length does not match its checksum",),
            "names": ("^{name}: ", "^{other}: "),
        },
    ),
    "cut in a checksum": (
        cut(3),
        LOST | {"files"},
        {"records": (f"^{TEST}, record {{number}}: the shard ends in the",)},
    ),
    "cut in an image": (
        cut(40),
        LOST | {"files"},
        {"records": (f"^{TEST}, record {{number}}: the shard ends in the",)},
    ),
    "cut in a header": (
        cut_in_a_header,
        LOST | {"files"},
        {"records": ("record 1: the shard ends in the middle of it$",)},
    ),
    # The record's fields are sound, so that its name and label still count.
    "a broken image": (broken_image, {"records"}, {"records": (f"{TRAIN}, record 5 \\({{name}}\\): the PNG of ",)}),
    "an image of another size": (
        other_image(NOISE[:32]),
        {"files", "records"},
        {"records": ("the image has 64 x 32 pixels; features.json declares 64 x 64$",)},
    ),
    # Which no other check without a release can see.
    "another image": (
        other_image(NOISE),
        {"files"},
        {"files": ("^the shards of test have [0-9,]+ bytes; dataset_info.json says",)},
    ),
    **{
        f"{name} {told}": (
            other_values(name, *values),
            LOST | more,
            {"records": (f"{TEST}, record 1: does not fit the schema.*{told}",)},
        )
        for name, values, told, more in (
            ("label", [2], "Class label 2 greater than configured num_classes 2", set()),
            ("label", [-1], "class -1", {"files"}),  # TFDS itself lets it pass.
            ("original_size", [1, 2, 3], "original_size", {"files"}),
            ("label", [], "no label", {"files"}),
        )
    },
    "a record removed": (
        removed,
        {"files", "counts", "names"},
        {
            "names": ("^{name}: is in row ",),
            "counts": [
                f"{VALIDATION}: {{fewer}} records; {{all}} in dataset_info.json",
                "metadata.json: examples.validation is",
            ],
        },
    ),
    # In the place of one of the same class.
    "a record twice": (
        twice,
        {"files", "names"},
        {"names": f"{{name}}: is in 2 records \\({TEST}, record 0, {TEST}, record {{number}}\\)"},
    ),
    "a record in another split": (
        in_another_split,
        {"files", "counts", "names", "patients"},
        {
            "patients": (f"^patient {{patient}}: is in train \\(.*and test \\({{name}} in {TEST}",),
            "names": "subset is 'test'",
        },
    ),
    "another label": (
        relabelled,
        {"counts", "names"},
        {"names": ("^{name}: label is '(Nodule.*No Finding|No Finding.*Nodule)'",)},
    ),
    "another patient's number": (
        renumbered_patient,
        {"patients"},
        {"patients": f"{{name}} in {VALIDATION}, record 0: has patient_id 77"},
    ),
    "a copy in test": (
        copy_in_test,
        {"files", "counts", "names", "patients", "augmentation"},
        {"augmentation": (f"^{{name}} in {TEST}, record .*an augmented copy in test$",)},
    ),
    "a copy missing and one too many": (
        renumbered_copy,
        {"names", "augmentation"},
        {
            "augmentation": (
                "^{missing}: a copy of {source}",
                "^{name}.*the config asks for 2 copies of an image$",
            )
        },
    ),
    # A finding less: the label is as it was.
    "copies of an image without a nodule": (
        healthy_source,
        {"augmentation"},
        {
            "augmentation": (
                "_aug1.png.*: a copy of {source}, which has no nodule$",
                "_aug2.png.*: a copy of {source}, which",
            )
        },
    ),
    # Files beside the records.
    "another label in metadata.csv": (
        listed(relabelled_row),
        {"names"},
        {"names": ("^{name}: label is '{label}' in .* '{other}' in row 5 of metadata.csv$",)},  # The header is row 1.
    ),
    "a row removed": (listed(lambda rows: rows.pop(3)), {"counts", "names"}, {"names": (", but not in metadata.csv",)}),
    "a row added": (
        listed(lambda rows: rows.append("00099999_000.png,Nodule,test")),
        {"counts", "names"},
        {"names": ("00099999_000.png: is in row .*, but in no sound record",)},
    ),
    "a row twice": (
        listed(lambda rows: rows.append(rows[1])),
        {"counts", "names"},
        {"names": ("is in rows 2 and .* of metadata.csv",)},
    ),
    "another subset in metadata.csv": (
        listed(lambda rows: rows.__setitem__(1, rows[1].rsplit(",", 1)[0] + ",holdout")),
        {"counts", "names"},
        {"names": ("subset is '[a-z]+' in .*, 'holdout' in row 2 of metadata.csv",)},
    ),
    "another header": (
        written("metadata.csv", b"name,label,subset\n"),
        {"files"},
        {"files": ("the header is 'name,label,subset'; expected image_name,label,subset",)},
    ),
    "a row of two cells": (
        written("metadata.csv", b"image_name,label,subset\n00000001_000.png,Nodule\n"),
        {"files"},
        {"files": ("row 2 has 2 cells; expected 3",)},
    ),
    "metadata.csv of other bytes": (
        written("metadata.csv", b"\xff\xfe"),
        {"files"},
        {"files": ("metadata.csv: is not CSV in UTF-8",)},
    ),
    "no metadata.csv": (without("metadata.csv"), {"files"}, {"files": ("metadata.csv: does not exist",)}),
    "no metadata.json": (without("metadata.json"), {"files"}, {"files": "metadata.json: does not exist"}),
    "metadata.json cut": (written("metadata.json", b"{"), {"files"}, {"files": "metadata.json: is not JSON"}),
    "an augmentation that is not registered": (
        edited("metadata.json", lambda said: said["config"].update(augmentations=["darker"])),
        {"files"},
        {"files": "augmentation 'darker' is not registered"},
    ),
    "a shard removed": (
        lambda folder: shard(folder, "test").unlink(),
        {"files", "counts", "names"},
        {"files": (f"^{TEST}: is in dataset_info.json, but does not exist$",)},
    ),
    "a shard more": (
        extra_shard,
        {"files"},
        {"files": ("^nih_chest_xray-test.tfrecord-00001-of-00002: exists, but is not named by dataset_info.json$",)},
    ),
    "a shard a pipe": (
        pipe,
        {"files"},
        {"files": (f"^{TRAIN}: is a pipe; expected a plain file in the dataset's own folder$",)},
    ),
    "labels in another order": (
        written("label.labels.txt", b"Nodule\nNo Finding\n"),
        {"files", "counts", "names"},
        {"files": r"label is ClassLabel \(\) int64 \['Nodule', 'No Finding'\], by the config"},
    ),
    **{
        f"no {name}": (without(name), {"files", *more}, {"files": f"^{name}: does not exist"})
        for name, more in (
            ("label.labels.txt", ("counts", "names")),
            ("bboxes-finding.labels.txt", ()),
            ("features.json", ()),
        )
    },
    "dataset_info.json cut": (
        written("dataset_info.json", b"{"),
        {"files"},
        {"files": (r"^dataset_info.json: is not JSON \(",)},
    ),
    "features.json cut": (written("features.json", b"{"), {"files"}, {"files": (r"^features.json: is not JSON \(",)}),
    "more boxes than the config has room for": (
        edited("features.json", lambda said: said["featuresDict"]["features"]["bboxes"]["sequence"].update(length="5")),
        {"files", "records", "counts", "names"},
        {"files": "bboxes is a sequence of 5, by the config a sequence of 4"},
    ),
    "features without an image": (
        edited("features.json", lambda said: said["featuresDict"]["features"].pop("image")),
        {"files", "records"},
        {
            "files": "^features.json and the labels.txt files: image is None, by the config",
            "records": "KeyError: 'image'",
        },
    ),
}


def require_outcome(done, failed, told, named):
    """The checks that fail are these, each with offenders and no other, and the offenders are named as expected."""
    done = {check.name: check for check in done}
    found = {name for name, check in done.items() if check.status == "FAILED"}
    assert all(bool(check.offenders) == (name in found) for name, check in done.items())
    # examples.csv fails whatever is damaged in records; tests/building/test_examples_csv.py damages the file alone.
    assert found - {"examples.csv"} == failed
    named = {name: re.escape(str(text)) for name, text in (named or {}).items()}
    for name, expected in told.items():
        offenders = done[name].offenders
        patterns = [text.format(**named) for text in ([expected] if isinstance(expected, str) else expected)]
        assert all(any(re.search(pattern, text) for text in offenders) for pattern in patterns), offenders
        assert not isinstance(expected, tuple) or len(offenders) == len(patterns), offenders


@pytest.fixture
def folder(sound, tmp_path):
    """A copy of the sound dataset, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "nih_chest_xray" / "built" / "2.0.0"))


@pytest.mark.parametrize(("damage", "failed", "told"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_fails_its_checks_and_is_named(damage, failed, told, folder):
    named = damage(folder)
    require_outcome(verify(epath.Path(folder)), failed, told, named)


def in_place(folder):
    """The number of the first training image that is augmented in place, and of the first negative that is not."""
    examples = [tf.train.Example.FromString(record) for record in read(shard(folder, "train"))]
    negatives = [number for number, example in enumerate(examples) if value(example, "label")[0] == 0]
    changed = [bool(value(examples[number], "augmentation")[0]) for number in negatives]
    return negatives[changed.index(True)], negatives[changed.index(False)]


def augmented_otherwise(folder, code=0, of=0):
    def damage(example):
        value(example, "augmentation")[0] = code

    return {"name": change(folder, "train", in_place(folder)[of], damage)}


def never_matched(folder):
    """Without images augmented in place, and with cutoffs that ask for none: each record is as it should be."""
    while True:
        try:
            augmented_otherwise(folder)
        except ValueError:
            break
    edited("metadata.json", lambda said: said.update(matched_augmentation=dict.fromkeys(matched_of(said), 0.0)))(folder)


def matched_of(said):
    return said["matched_augmentation"]


MATCHED_DAMAGES = {
    "a negative that is not augmented": (
        augmented_otherwise,
        {"counts", "augmentation"},
        {"augmentation": (f"^{{name}} in {TRAIN}, record .*: is 'none'; the seed drew '(rotation|horiz|trans).*'$",)},
    ),
    "a negative augmented otherwise than drawn": (
        lambda folder: augmented_otherwise(folder, code=1, of=1),
        {"counts", "augmentation"},
        {"augmentation": ("^{name}.*: is 'rotation'; the seed drew 'none'$",)},
    ),
    "cutoffs that match nothing": (
        never_matched,
        {"counts", "augmentation"},
        {
            "augmentation": tuple(
                rf"^{name}: is [0-9.]+ % of the training images with a nodule, 0.00 % of the others; expected the same"
                for name in ("rotation", "horizontal_flip", r"translation\+noise")
            )
        },
    ),
    "no cutoffs": (
        edited("metadata.json", lambda said: said.pop("matched_augmentation")),
        {"augmentation"},
        {"augmentation": r"matched_augmentation has \[\]; expected \['horizontal_flip', 'rotation', 'translation"},
    ),
    "a cutoff that is a text": (
        edited("metadata.json", lambda said: matched_of(said).update(rotation="0.5")),
        {"files"},
        {"files": "matched_augmentation.rotation is '0.5'; expected a number"},
    ),
}


@pytest.mark.parametrize(("damage", "failed", "told"), MATCHED_DAMAGES.values(), ids=MATCHED_DAMAGES.keys())
def test_damage_to_a_matched_dataset_is_named(damage, failed, told, matched, tmp_path):
    folder = Path(shutil.copytree(matched, tmp_path / "nih_chest_xray" / "matched" / "2.0.0"))
    named = damage(folder)
    require_outcome(verify(epath.Path(folder)), failed, told, named)


def test_a_matched_dataset_is_sound(matched, phantom_dir):
    done = {check.name: check for check in verify(epath.Path(matched), phantom_dir)}
    assert not [check for check in done.values() if check.status == "FAILED"]
    assert {name for name, check in done.items() if check.status == "ok"} >= {"augmentation", "labels", "pixels"}
    assert re.search(
        r"; \d+ images augmented in place; shares of images with and without one: rot", done["augmentation"].seen
    )

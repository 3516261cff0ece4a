"""Hostile datasets: what somebody who means harm could hand on as a built dataset, each made from one small drawn one.

As a script it prints for each what `verify`, `catalog` and TFDS say, a line each, and what was written outside of the
site. TFDS runs in a process of its own, since some of them have it wait for ever or end it:

    python tests/hostile_datasets.py [NAME …]
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.__main__ import main
from nih_chest_xray.building.tfrecord import masked_crc32c
from nih_chest_xray.images import png
from nih_chest_xray.phantom.release import Phantom

CONFIG = "drawn"
SHARD = "nih_chest_xray-train.tfrecord-00000-of-00001"
INFO, FEATURES, METADATA, LISTED = "dataset_info.json", "features.json", "metadata.json", "metadata.csv"
SITE = Path("deep", "out", "site")
"""Where the site goes, below a case's folder: deep enough that what leads up is still in that."""
LIMIT_S = 30
"""Seconds after which a command is taken to wait for ever."""
LONG = "x" * 10_000_000
ESCAPE = "\x1b[2K\x1b[1Aok"
Change = Callable[[Path], object]


@dataclasses.dataclass(frozen=True)
class Case:
    """A hostile dataset: its name, and what makes it of a copy of the sound one's folder."""

    name: str
    change: Change


@dataclasses.dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code; None where it waited for ever or ended in a traceback."""

    code: int | None
    out: str
    error: str


def build(folder: Path) -> Path:
    """Builds the sound dataset, of a phantom on disk, as the NIH's release would be."""
    Phantom(12).write(folder / "release")
    small = {"validation_fraction": 0.2, "test_fraction": 0.2, "image_size": 16, "augmented_copies": 1}
    builder = Builder(config=NihChestXrayConfig(name=CONFIG, **small), data_dir=folder / "built")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder / "release"))
    return Path(builder.data_dir)


# What is done to a dataset's folder.


def write(name: str, content: bytes | str) -> Change:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def edit(name: str, function: Callable[[dict], object]) -> Change:
    """Lets a function change what a JSON file says."""

    def change(folder: Path) -> None:
        said = json.loads((folder / name).read_text())
        function(said)
        (folder / name).write_text(json.dumps(said))

    return change


def put(name: str, *path_and_value: object) -> Change:
    """Puts a value in a place of a JSON file: keys, and the value."""
    *keys, last, value = path_and_value

    def function(said: dict) -> None:
        for key in keys:
            said = said[key]
        said[last] = value

    return edit(name, function)


def drop(name: str, *keys: object) -> Change:
    *path, last = keys

    def function(said: dict) -> None:
        for key in path:
            said = said[key]
        del said[last]

    return edit(name, function)


def replace(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def beside(folder: Path) -> None:
    """A sound dataset of another config: with two of them, a catalog's page lies in a folder of the config's name."""
    other = shutil.copytree(folder, folder.parents[1] / "other" / "2.0.0")
    put(METADATA, "config", "name", "other")(other)
    put(INFO, "configName", "other")(other)


def named(name: str) -> Change:
    """The config's name, in both files that say it."""
    return both(put(METADATA, "config", "name", name), put(INFO, "configName", name))


def instead(name: str, make: Callable[[Path], object]) -> Change:
    """Makes something in the place of a file."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def link(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def linked(name: str) -> Change:
    """A link to a file's own bytes, which lie outside of the dataset."""

    def change(folder: Path) -> None:
        shutil.copy(folder / name, folder.parents[3] / "canary" / name)
        instead(name, link(str(folder.parents[3] / "canary" / name)))(folder)

    return change


def socket_at(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # The address of a socket has 108 bytes at most.
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def record(function: Callable[[tf.train.Features], object], listed_too: bool = True) -> Change:
    """Lets a function change the first training example, and writes its name into metadata.csv."""

    def change(folder: Path) -> None:
        records = list(tf.data.TFRecordDataset(str(folder / SHARD)).as_numpy_iterator())
        example = tf.train.Example.FromString(records[0])
        before = example.features.feature["image_name"].bytes_list.value[0]
        function(example.features.feature)
        records[0] = example.SerializeToString(deterministic=True)
        with tf.io.TFRecordWriter(str(folder / SHARD)) as writer:
            for content in records:
                writer.write(content)
        after = example.features.feature["image_name"].bytes_list.value[0]
        if listed_too and after != before:
            cell = after if after.isalnum() else b'"' + after + b'"'
            (folder / LISTED).write_bytes((folder / LISTED).read_bytes().replace(before + b",", cell + b",", 1))

    return change


def ints(name: str, *numbers: int) -> Change:
    return record(lambda features: features[name].int64_list.value.__setitem__(slice(None), numbers))


def image_name(name: bytes) -> Change:
    return record(lambda features: features["image_name"].bytes_list.value.__setitem__(0, name))


def image(content: bytes) -> Change:
    return record(lambda features: features["image"].bytes_list.value.__setitem__(0, content))


def boxed(features: tf.train.Features) -> None:
    features["bboxes/bbox"].float_list.value[:] = [float("nan"), 0, 1e30, -1]
    features["bboxes/finding"].int64_list.value[:] = [0]


def bomb() -> bytes:
    """A PNG of a few bytes that claims 30,000 x 30,000 pixels."""
    content = bytearray(png.encode(np.zeros((16, 16), np.uint8)))
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def overlong(folder: Path) -> None:
    """A record of a terabyte, by its header, whose checksum is right."""
    header = struct.pack("<Q", 1 << 40)
    (folder / SHARD).write_bytes(header + masked_crc32c(header) + b"\0" * 1000)


def with_class(folder: Path) -> None:
    """A class to import, whose module says so."""
    features = json.loads((folder / FEATURES).read_text())
    features["featuresDict"]["features"]["label"]["pythonClassName"] = "hostile_module.Feature"
    (folder / FEATURES).write_text(json.dumps(features))


def info_with_class(folder: Path) -> None:
    said = json.loads((folder / INFO).read_text())
    features = json.loads((folder / FEATURES).read_text())
    features["pythonClassName"] = "hostile_module.Feature"
    (folder / INFO).write_text(json.dumps(said | {"features": features}))


def nested(depth: int) -> dict:
    feature: dict = {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}
    sequence = "tensorflow_datasets.core.features.sequence_feature.Sequence"
    for _ in range(depth):
        feature = {"pythonClassName": sequence, "sequence": {"feature": feature, "length": "-1"}}
    return feature


def of_json(name: str) -> Iterator[tuple[str, Change]]:
    """What can be wrong with any JSON file."""
    yield "empty", write(name, "")
    yield "null", write(name, "null")
    yield "a list", write(name, "[]")
    yield "a number of 5,000 digits", write(name, "1" * 5000)
    yield "nested 100,000 deep", write(name, "[" * 100_000)
    yield "nested 900 deep", write(name, '{"a":' * 900 + "1" + "}" * 900)
    yield "not UTF-8", write(name, b'{"name": "\xff\xfe"}')
    yield "UTF-16", write(name, '{"name": "nih_chest_xray"}'.encode("utf-16"))
    yield "20 MB of blanks", write(name, "{" + " " * 20_000_000 + "}")
    yield "a key twice", lambda f: (f / name).write_text("{" + '"name": "x", ' + (f / name).read_text().lstrip("{ \n"))
    yield "an unknown key", put(name, "invented", 1)
    yield "NaN", lambda f: (f / name).write_text('{"invented": NaN, ' + (f / name).read_text().lstrip("{ \n"))
    yield "missing", lambda f: (f / name).unlink()
    yield "a folder", instead(name, Path.mkdir)
    yield "a pipe", instead(name, os.mkfifo)
    yield "a link to /etc/passwd", instead(name, link("/etc/passwd"))
    yield "a link to /dev/zero", instead(name, link("/dev/zero"))
    yield "a link to its own bytes", linked(name)


def of_metadata() -> Iterator[tuple[str, Change]]:
    names = {
        "up": "../../../x",
        "far up": "../../../../canary/x",
        "dots": "..",
        "dot": ".",
        "empty": "",
        "10 MB": LONG,
        "101 characters": "x" * 101,
        "with a newline": "a\nok",
        "with a newline behind": f"{CONFIG}\n",
        "that a terminal obeys": ESCAPE,
        "of a shell": "$(touch x)",
        "of HTML": "<script>alert(1)</script>",
        "half a character": "\ud800",
        "null": None,
        "a number": 1,
        "a list": [CONFIG],
    }
    for told, name in names.items():
        yield f"config.name {told}", both(beside, put(METADATA, "config", "name", name))
    for told in ("up", "far up", "10 MB", "with a newline"):
        yield f"config.name {told}, in both files", both(beside, named(names[told]))
    yield "config.name absolute", both(beside, lambda folder: named(str(folder.parents[3] / "canary" / "x"))(folder))
    yield "config.name another", put(METADATA, "config", "name", "other")
    required = (
        *("classes", "counts", "examples", "augmented", "patients", "label_file", "tables", "unknown_ages", "config"),
        *("missing_images", "repacked_archives", "versions"),
    )
    for key in required:
        yield f"no {key}", drop(METADATA, key)
        yield f"{key} null", put(METADATA, key, None)
    for key in ("counts", "tables", "repacked_archives"):
        yield f"{key} a text of 10 MB", put(METADATA, key, LONG)
        yield f"{key} a list of lists", put(METADATA, key, [[[]]])
    config = {
        "task": "x", "views": ["XX"], "healthy_stride": 0, "split": [], "validation_fraction": 2, "test_fraction": "1",
        "augmented_copies": 10**6, "augmentations": ["rotation"] * 2, "rotation_degrees": -1, "image_size": 10**9,
        "image_format": "../x", "seed": 1.5, "allow_missing_images": "yes", "phantom_patients": 10**9,
        "invented": 1, "description": "x", "tags": ["x"],
    }  # fmt: skip
    for field, value in config.items():
        yield f"config.{field} {value!r}", put(METADATA, "config", field, value)
    yield "config.seed of 4,000 digits", put(METADATA, "config", "seed", 10**3999)
    yield "config.augmentations a million", put(METADATA, "config", "augmentations", ["rotation"] * 1_000_000)
    yield "no config.task", drop(METADATA, "config", "task")
    yield "classes of HTML", put(METADATA, "classes", ["<b>", "$x$"])
    yield "classes of another task", put(METADATA, "classes", ["No nodule or mass", "Nodule or mass"])
    yield "counts of HTML", put(METADATA, "counts", "train", "<script>alert(1)</script>", 1)
    yield "counts wrong", put(METADATA, "counts", "train", "Nodule", 1)
    yield "examples huge", put(METADATA, "examples", "train", 10**18)
    yield "examples more than 64 bits", put(METADATA, "examples", "train", 10**30)
    yield "examples negative", put(METADATA, "examples", "train", -1)
    yield "examples a fraction", put(METADATA, "examples", "train", 1.5)
    yield "examples true", put(METADATA, "examples", "train", True)
    yield "examples of a subset that leads up", put(METADATA, "examples", "../x", 1)
    yield "patients of two subsets", drop(METADATA, "patients", "test")
    yield "class_weights infinite", replace(METADATA, '"class_weights": {"No Finding": ', '"class_weights": {"Nodule": 1e400, "No Finding": ')  # fmt: skip # noqa: E501
    yield "tables of a path", put(METADATA, "tables", "../../etc/passwd", {"sha256": "0" * 64, "official": True})
    yield "tables without digests", put(METADATA, "tables", "x.csv", {"sha256": "<b>", "official": True})
    yield "tables of 100,000", put(METADATA, "tables", {f"{n}.csv": {} for n in range(100_000)})
    yield "label_file that is no table", put(METADATA, "label_file", "x.csv")
    yield "versions that a terminal obeys", put(METADATA, "versions", "numpy", ESCAPE)
    yield "kappas of a subset that leads up", put(METADATA, "radiologists", {"kappa_all_findings": {"../x": {}}})
    yield "kappa of HTML", put(METADATA, "radiologists", {"kappa_four_findings": {"test": {"Fracture": "<b>"}}})
    yield "agreement that a terminal obeys", put(METADATA, "radiologists", {"agreement_of_sets": {ESCAPE: {ESCAPE: 1}}})
    yield "radiologists invented", put(METADATA, "radiologists", {"x": 1})
    yield "max_examples_per_split a text", put(METADATA, "max_examples_per_split", "x")
    yield "left_out_images a nest", put(METADATA, "left_out_images", [[["x"]]])


def of_dataset_info() -> Iterator[tuple[str, Change]]:
    for told, version in {"up": "../../2.0.0", "with a newline": "2.0.0\n", "null": None, "huge": "9" * 5000}.items():
        yield f"version {told}", put(INFO, "version", version)
    for told, name in {"up": "../../x", "null": None, "empty": "", "another": "other"}.items():
        yield f"configName {told}", put(INFO, "configName", name)
    yield "name of another dataset", put(INFO, "name", "../mnist")
    yield "name that a terminal obeys", put(INFO, "name", ESCAPE)
    for form in ("../../x", "riegeli", "", 1):
        yield f"fileFormat {form!r}", put(INFO, "fileFormat", form)
    templates = ("/etc/passwd", "../../../../canary/{SPLIT}-{SHARD_X_OF_Y}", "{DATASET.__class__}", "{SPLIT}", "{", "")
    for template in templates:
        yield f"filepathTemplate {template!r}", put(INFO, "splits", 0, "filepathTemplate", template)
    for name in ("../x", "/etc/passwd", "", "holdout", "train+test", None):
        yield f"split {name!r}", put(INFO, "splits", 0, "name", name)
    yield "two splits of a name", put(INFO, "splits", 0, "name", "test")
    yield "no splits", put(INFO, "splits", [])
    yield "a million shards", put(INFO, "splits", 0, "shardLengths", ["1"] * 1_000_000)
    yield "100,000 shards", put(INFO, "splits", 0, "shardLengths", ["1"] * 100_000)
    for length in ("9" * 18, "9" * 40, "-1", 1e300, "x", None, "٣"):
        yield f"shardLengths {length!r}", put(INFO, "splits", 0, "shardLengths", [length])
    yield "numBytes huge", put(INFO, "splits", 0, "numBytes", "9" * 40)
    yield "a class to import", info_with_class
    yield "moduleName of code", put(INFO, "moduleName", "os; import hostile_module")
    yield "citation that a terminal obeys", put(INFO, "citation", ESCAPE)
    yield "description that turns writing", put(INFO, "description", "\u202egnp.exe")
    yield "description half a character", put(INFO, "description", "\ud800")
    yield "description of 3 MB", put(INFO, "description", LONG[:3_000_000])
    yield "location of a script", put(INFO, "location", {"urls": ["javascript:alert(1)"]})
    yield "location of Markdown", put(INFO, "location", {"urls": ["https://x](javascript:alert(1))"]})
    yield "licence missing its text", put(INFO, "redistributionInfo", {"license": None})
    yield "supervisedKeys of others", put(INFO, "supervisedKeys", {"input": "../x", "output": "label"})
    yield "releaseNotes of a path", put(INFO, "releaseNotes", {"../x": "x"})
    yield "isBlocked", put(INFO, "isBlocked", "yes")
    yield "snake_case keys", put(INFO, "file_format", "tfrecord")


def of_features() -> Iterator[tuple[str, Change]]:
    every = ("featuresDict", "features")
    yield "a class to import", with_class
    yield "a class to import, as TFDS once wrote it", write(FEATURES, '{"type": "hostile_module.X", "content": {}}')
    yield "a class to import, in snake case", put(FEATURES, *every, "label", "python_class_name", "hostile_module.X")
    yield "content of JSON", put(FEATURES, *every, "label", "jsonFeature", {"json": "{}"})
    yield (
        "another class of TFDS",
        put(
            FEATURES,
            *every,
            "x",
            {"pythonClassName": "tensorflow_datasets.core.features.audio_feature.Audio", "audio": {}},
        ),
    )
    yield (
        "a class of another content",
        put(FEATURES, *every, "label", "pythonClassName", "tensorflow_datasets.core.features.text_feature.Text"),
    )
    yield "an image of a terapixel", put(FEATURES, *every, "image", "image", "shape", {"dimensions": ["1000000"] * 2})
    yield "an image of no size", put(FEATURES, *every, "image", "image", "shape", {})
    yield "a billion classes", put(FEATURES, *every, "label", "classLabel", "numClasses", "1000000000")
    yield "a feature whose name leads up", put(FEATURES, *every, "../../x", nested(0))
    yield "sequences 200 deep", put(FEATURES, *every, "x", nested(200))
    yield "1,000 features", edit(FEATURES, lambda said: said[every[0]][every[1]].update({f"x{n}": nested(0) for n in range(1000)}))  # fmt: skip # noqa: E501
    yield "no image", drop(FEATURES, *every, "image")
    yield "no label", drop(FEATURES, *every, "label")
    yield "a text more", put(FEATURES, *every, "more", nested(0))
    yield "a doc that a terminal obeys", put(FEATURES, *every, "label", "description", ESCAPE)
    yield "a doc of two lines", put(FEATURES, *every, "label", "description", "a\nb | c")


def of_tables() -> Iterator[tuple[str, Change]]:
    labels = "label.labels.txt"
    yield f"{labels} of three names", write(labels, "No Finding\nNodule\nMass\n")
    yield f"{labels} of another order", write(labels, "Nodule\nNo Finding\n")
    yield f"{labels} of HTML", write(labels, "<script>alert(1)</script>\nNodule\n")
    yield f"{labels} that a terminal obeys", write(labels, f"{ESCAPE}\nNodule\n")
    yield f"{labels} not UTF-8", write(labels, b"\xff\nNodule\n")
    yield f"{labels} of 10 MB", write(labels, LONG)
    yield f"{labels} a pipe", instead(labels, os.mkfifo)
    yield f"{labels} a link", instead(labels, link("/etc/passwd"))
    yield f"{labels} missing", lambda folder: (folder / labels).unlink()
    yield f"{LISTED} empty", write(LISTED, "")
    yield f"{LISTED} not UTF-8", write(LISTED, b"image_name,label,subset\n\xff,x,y\n")
    yield f"{LISTED} of zeros", write(LISTED, b"\0" * 1000)
    yield f"{LISTED} of 100 MB", lambda folder: os.truncate(folder / LISTED, 100_000_000)
    yield f"{LISTED} of a million empty rows", write(LISTED, "image_name,label,subset\n" + ",\n" * 1_000_000)
    yield f"{LISTED} with a cell of 10 MB", write(LISTED, f"image_name,label,subset\n{LONG},Nodule,train\n")
    yield f"{LISTED} with a name that a terminal obeys", write(LISTED, f"image_name,label,subset\n{ESCAPE},x,train\n")
    yield f"{LISTED} with a cell that does not end", write(LISTED, 'image_name,label,subset\n"x,Nodule,train\n')
    yield f"{LISTED} missing", lambda folder: (folder / LISTED).unlink()
    yield f"{LISTED} a pipe", instead(LISTED, os.mkfifo)
    yield f"{LISTED} a link", instead(LISTED, link("/etc/passwd"))
    yield f"{LISTED} a link to its own bytes", linked(LISTED)


def of_records() -> Iterator[tuple[str, Change]]:
    names = {
        "up": b"../../../../canary/x.png",
        "absolute": b"/ABS/x.png",
        "of another kind": b"holiday.png",
        "empty": b"",
        "with a newline": b"00000001_000.png\nok       labels        all",
        "that a terminal obeys": ESCAPE.encode(),
        "not UTF-8": b"\xff\xfe",
        "of a megabyte": LONG[:1_000_000].encode(),
    }
    for told, name in names.items():
        yield f"image_name {told}", image_name(name)
    yield "an image that is none", image(b"\x89PNG\r\n\x1a\nx")
    yield "an image of a gigapixel", image(bomb())
    yield "no image", record(lambda features: features.pop("image"))
    yield "a class -1", ints("label", -1)
    yield "a class 99", ints("view_position", 99)
    yield "an age of 2,147,483,647", ints("patient_age", 2**31 - 1)
    yield "a finding 99", ints("findings", 99)
    yield "a box that is none", record(boxed)
    yield "no record", write(SHARD, b"")
    yield "bytes that are no record", write(SHARD, os.urandom(1000))
    yield "a record of a terabyte", overlong
    yield "a shard missing", lambda folder: (folder / SHARD).unlink()
    yield "a shard a folder", instead(SHARD, Path.mkdir)
    yield "a shard a pipe", instead(SHARD, os.mkfifo)
    yield "a shard a link", instead(SHARD, link("/etc/passwd"))
    yield "a shard a link to its own bytes", linked(SHARD)


def of_the_folder() -> Iterator[tuple[str, Change]]:
    yield "a link more", lambda folder: (folder / "x").symlink_to("/etc/passwd")
    yield "a link to a folder", lambda folder: (folder / "x").symlink_to("/etc")
    yield "a link to nothing", lambda folder: (folder / "x").symlink_to("nowhere")
    yield "a link to itself", lambda folder: (folder / "x").symlink_to("x")
    yield "a link to a device", lambda folder: (folder / "x").symlink_to("/dev/zero")
    yield "a pipe more", lambda folder: os.mkfifo(folder / "x")
    yield "a socket", lambda folder: socket_at(folder / "x")
    yield "a pipe called like a shard", lambda folder: os.mkfifo(folder / SHARD.replace("train", "more"))
    names = {
        "a newline": "x\n" + "0" * 64 + "  LICENSE",
        "a tab": "x\t1\t" + "0" * 64,
        "an escape": ESCAPE.replace("/", ""),
        "a blank": " x",
        "an option": "-rf",
        "turned writing": "\u202etxt.exe",
        "half a character": os.fsdecode(b"\xff"),
        "HTML": "<img src=x onerror=alert(1)>",
        "a command": "$(touch x)",
        "a quote": "'\"",
    }
    for told, name in names.items():
        yield f"a file's name with {told}", write(name, "x")


def cases() -> dict[str, Case]:
    """Returns all cases by name."""
    kinds = {
        METADATA: (*of_json(METADATA), *of_metadata()),
        INFO: (*of_json(INFO), *of_dataset_info()),
        FEATURES: (*of_json(FEATURES), *of_features()),
        "tables": of_tables(),
        "records": of_records(),
        "folder": of_the_folder(),
    }
    found = [Case(f"{kind}: {name}", change) for kind, made in kinds.items() for name, change in made]
    by_name = {case.name: case for case in found}
    assert len(by_name) == len(found)
    return by_name


# What is said of it.


def lay_out(case: Case, built: Path, root: Path) -> Path:
    """Makes a case's dataset below an empty folder, with a folder beside it that nobody may touch."""
    folder = root / "data" / "nih_chest_xray" / CONFIG / "2.0.0"
    shutil.copytree(built, folder)
    (root / "canary").mkdir()
    (root / SITE).parent.mkdir(parents=True)
    (root / "canary" / "alive").write_text("sings")
    # Whoever imports it leaves a trace.
    (root / "canary" / "hostile_module.py").write_text("import pathlib; pathlib.Path(__file__ + '.ran').touch()\n")
    case.change(folder)
    return folder


def written(root: Path, site: Path) -> dict[str, str]:
    """Returns what lies below a folder, without the site and its lock: digests of files, and where links lead."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if Path(folder) / name != site]
        for name in (*folders, *files):
            path = Path(folder) / name
            if path == site.with_name(f".{site.name}.lock"):
                continue
            plain = path.is_file() and not path.is_symlink()
            found[os.fsencode(path).hex()] = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
    return found


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Ends what waits for ever."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"waits for more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(*arguments: str) -> Said:
    """Runs a command in this process."""
    out, error = io.StringIO(), io.StringIO()
    code = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            with at_most(LIMIT_S):
                code = main(arguments)
        except Exception as traceback:  # That there is none is what is asked.
            error.write(f"{type(traceback).__name__}: {traceback}\n")
    return Said(code, out.getvalue(), error.getvalue())


def told_by_tfds(folder: Path) -> str:
    """Returns the last line of what TFDS says when it reads the first training example, in a process of its own."""
    code = (
        "import sys, tensorflow_datasets as tfds; sys.path.append(sys.argv[2]);"
        "print(next(iter(tfds.builder_from_directory(sys.argv[1]).as_dataset(split='train')))['image'].shape)"
    )
    command = [sys.executable, "-c", code, str(folder), str(folder.parents[3] / "canary")]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return "waits for ever"
    lines = (done.stdout if done.returncode == 0 else done.stderr).decode(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f"exits with {done.returncode}: {last[:150]!a}"


def _line(said: Said) -> str:
    if said.code is None:
        return f"TRACEBACK or waiting: {said.error[-150:]!a}"
    lines = said.error.splitlines() or said.out.splitlines()
    failed = next((number for number, line in enumerate(lines) if line.startswith("FAILED")), None)
    shown = " ".join(lines[failed : failed + 2]) if failed is not None else lines[-1]
    return f"exits with {said.code}: {ascii(' '.join(shown.split()))[:300]}"


def show(names: list[str]) -> None:
    """Prints what is said of each case."""
    with tempfile.TemporaryDirectory() as temporary:
        built = build(Path(temporary))
        for number, case in enumerate(cases().values()):
            if names and not any(name in case.name for name in names):
                continue
            root = Path(temporary) / f"case{number}"
            folder, site = lay_out(case, built, root), root / SITE
            before = written(root, site)
            print(case.name)
            print("  verify ", _line(run("verify", str(folder))))
            print("  catalog", _line(run("catalog", str(root / "data"), "--out", str(site))))
            after = written(root, site)
            print("  tfds   ", told_by_tfds(folder), flush=True)
            changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
            print(
                "  outside", ascii([os.fsdecode(bytes.fromhex(name)) for name in changed]) if changed else "unchanged"
            )


if __name__ == "__main__":
    show(sys.argv[1:])

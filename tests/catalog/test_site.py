"""Tests of a catalog's site: it is replaced as a whole or not at all, and nobody else's file is touched."""

import collections
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys

import filelock
import mlcroissant
import pytest
import tensorflow_datasets as tfds
from conftest import build
from pages import Page

from nih_chest_xray.__main__ import main
from nih_chest_xray.catalog import site
from nih_chest_xray.catalog.datasets import find_datasets
from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.errors import CatalogError
from nih_chest_xray.formats.convert import convert

SHARD = "nih_chest_xray-train.tfrecord-00000-of-00001"


def cut(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def swap_labels(folder):
    path = folder / "metadata.csv"
    changed = {"Nodule": "No Finding", "No Finding": "Nodule"}
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    rows[0][1] = changed[rows[0][1]]
    path.write_text("".join(f"{','.join(row)}\n" for row in [header, *rows]))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Two tiny datasets."""
    data_dir = tmp_path_factory.mktemp("data")
    for name in ("tiny", "other"):
        build(None, data_dir, name=name, phantom_patients=12, image_size=16, augmented_copies=int(name == "tiny"))
    return data_dir


@pytest.fixture(scope="module")
def tiny(data_dir):
    """The folder of one of them."""
    return data_dir / "nih_chest_xray" / "tiny" / "2.0.0"


@pytest.fixture(scope="module")
def written(tiny, tmp_path_factory):
    """Its site, with charts and pictures."""
    return write_site(tiny, tmp_path_factory.mktemp("written") / "site")


@pytest.fixture
def out(written, tmp_path):
    """A copy of this site, to be changed or replaced."""
    return shutil.copytree(written, tmp_path / "site")


@pytest.fixture(scope="module")
def examples_read():
    return {}


@pytest.fixture
def quick(no_pictures, examples_read, monkeypatch):
    """Has each of the two datasets' records be read once in this module."""
    usual = site.read_examples

    def read(built, update):
        if built.path in examples_read:
            update(len(examples_read[built.path]))
        else:
            examples_read[built.path] = usual(built, update)
        return examples_read[built.path]

    monkeypatch.setattr(site, "read_examples", read)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def listed(folder):
    with (folder / "metadata.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_datasets_own_folder_gives_one_page_at_the_top(quick, tiny, tmp_path, capsys):
    out = tmp_path / "deep" / "site"
    assert main(["catalog", str(tiny), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'index.html'}\n"
    assert "nih_chest_xray/tiny" in Page(out / "index.html").all("h1")[0]["text"]
    assert (out / "croissant.json").exists()
    assert names_in(out.parent) == [".site.lock", "site"]


def test_a_dataset_out_of_its_place_is_opened_by_its_folder(no_pictures, tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "moved")
    write_site(tmp_path / "moved", tmp_path / "site")
    code = Page(tmp_path / "site" / "index.html").by_id("tensorflow")["text"]
    assert f'tfds.builder_from_directory(\n    "{tmp_path / "moved"}"' in code
    exec(code.replace("    ...", "    pass"), {})


def test_a_folder_with_several_formats_is_shown_whole_and_its_code_reads_it(no_pictures, tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "nih_chest_xray" / "tiny" / "2.0.0")
    for file_format in ("array_record", "parquet"):
        convert(folder, file_format)
    out = write_site(tmp_path, tmp_path / "site")
    page = Page(out / "index.html")
    kinds = [name.split(".")[1].split("-")[0] for name in names_in(folder) if "-of-" in name]
    assert collections.Counter(kinds) == {"tfrecord": 3, "array_record": 3, "parquet": 3}
    assert [row[0] for row in page.table("files")[1:]] == names_in(folder)
    assert [line.split("  ")[1] for line in (out / "SHA256SUMS").read_text().splitlines()] == names_in(folder)
    subprocess.run(["sha256sum", "-c", "--quiet", out / "SHA256SUMS"], cwd=folder, check=True)
    assert "tfrecord, array_record, parquet" in [element["text"] for element in page.all("dd")]
    sizes = []
    exec(page.by_id("tensorflow")["text"].replace("    ...", "    sizes.append(len(labels))"), {"sizes": sizes})
    train = [row["image_name"] for row in listed(folder) if row["subset"] == "train"]
    assert sum(sizes) == len(train)
    jax = {"jax": None}
    code = page.by_id("jax")["text"]
    assert 'as_data_source(split="train", file_format="array_record")' in code  # Else TFDS takes one by chance.
    exec(code[: code.index("order = ")].replace("import jax\n", ""), jax)
    assert type(jax["source"]).__name__ == "ArrayRecordDataSource"
    assert sorted(example["image_name"].decode() for example in jax["source"]) == train
    for name in names_in(folder):  # Each file is described once.
        assert (out / "croissant.json").read_text().count(f'"@id": "{name}",\n      "name"') == 1
    # What TFDS reads by index, it reads from the second format.
    source = tfds.data_source("nih_chest_xray/tiny", split="train", data_dir=tmp_path)
    assert sorted(example["image_name"].decode() for example in source) == train
    records = list(mlcroissant.Dataset(out / "croissant.json").records("train"))
    read = tfds.builder_from_directory(folder).info.features.deserialize_example_np
    assert sorted(read(record["train/data"])["image_name"].decode() for record in records) == train


@pytest.mark.parametrize("url", ["https://host.test/data/", "gs://bucket/data"])
def test_a_url_is_where_everything_is_said_to_be(url, quick, data_dir, tiny, tmp_path):
    out = write_site(data_dir / "nih_chest_xray" / "tiny", tmp_path / "site", url)
    folder = f"{url.rstrip('/')}/2.0.0"
    places = [line.split("\t")[0] for line in (out / "manifest.tsv").read_text().splitlines()[1:]]
    assert sorted(places) == sorted(f"{folder}/{p.name}" for p in tiny.iterdir())
    page = Page(out / "index.html")
    assert set(places) <= {element["attrs"]["href"] for element in page.all("a")}
    assert str(data_dir) not in (out / "index.html").read_text()
    code = page.by_id("tensorflow")["text"]
    if url.startswith("gs"):  # TensorFlow reads it where it is.
        assert f'tfds.builder_from_directory(\n    "{folder}"' in code
    else:
        assert "wget" in page.by_id("fetch")["text"]
        assert '"nih_chest_xray/tiny:2.0.0",\n    data_dir="DATA_DIR"' in code


def test_of_several_versions_the_newest_is_shown_and_the_others_are_named(tiny, tmp_path):
    for version in ("2.0.0", "2.0.10", "2.0.9"):
        folder = shutil.copytree(tiny, tmp_path / "data" / "nih_chest_xray" / "tiny" / version)
        info = json.loads((folder / "dataset_info.json").read_text())
        (folder / "dataset_info.json").write_text(json.dumps(info | {"version": version}))
    [built] = find_datasets(tmp_path / "data")
    assert built.versions == ("2.0.10", "2.0.9", "2.0.0")
    assert built.path.name == built.version == "2.0.10"


def test_a_folder_without_datasets_is_one_line_and_no_site(tmp_path, capsys):
    (tmp_path / "other" / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "other" / "mnist" / "3.0.1" / "dataset_info.json").write_text('{"name": "mnist", "version": "3.0.1"}')
    for folder in ("other", "missing"):
        assert main(["catalog", str(tmp_path / folder), "--out", str(tmp_path / "site")]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"nih-chest-xray catalog: {tmp_path / folder} ")
        assert error.count("\n") == 1
    assert names_in(tmp_path) == ["other"]


def test_a_folder_that_is_no_site_is_left_alone(tiny, tmp_path, capsys):
    out = tmp_path / "site"
    out.mkdir()
    (out / "catalog.json").write_text('{"generator": "another"}')
    assert main(["catalog", str(tiny), "--out", str(out)]) == 2
    assert "is not a site of this command; name another --out" in capsys.readouterr().err
    assert [path.read_text() for path in out.iterdir()] == ['{"generator": "another"}']


def test_a_site_is_replaced_as_a_whole_or_not_at_all(quick, data_dir, tiny, tmp_path, monkeypatch):
    out = write_site(data_dir, tmp_path / "site")
    with monkeypatch.context() as patch:
        patch.setattr(site.croissant, "croissant", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_site(tiny, out)
    assert (out / "other").exists()
    assert names_in(tmp_path) == [".site.lock", "site"]
    write_site(tiny, out)
    assert not (out / "other").exists()
    assert names_in(tmp_path) == [".site.lock", "site"]


def test_a_dataset_gives_the_same_site_each_time(written, tiny, tmp_path):
    assert tree(write_site(tiny, tmp_path / "site")) == tree(written)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal_and_nowhere_else(quick, data_dir, tiny, tmp_path, monkeypatch):
    shown = {}
    for kind in (Terminal, io.StringIO):
        monkeypatch.setattr(sys, "stderr", kind())
        write_site(data_dir, tmp_path / "site")
        shown[kind] = sys.stderr.getvalue()
    assert shown[io.StringIO] == ""
    last = shown[Terminal].splitlines()[-1].split("\r")[-1]
    total = len(listed(tiny)) + len(listed(data_dir / "nih_chest_xray" / "other" / "2.0.0"))
    assert f"| {total}/{total} [" in last
    assert shown[Terminal].count("\n") == 1  # One bar.
    for name in ("tiny", "other"):
        assert f"\r{name}, digests of files: " in shown[Terminal]


def test_a_site_of_an_earlier_version_with_the_page_of_tfds_is_replaced(quick, tiny, out, tmp_path):
    content = b"# `nih_chest_xray`\n"
    (out / "nih_chest_xray.md").write_bytes(content)
    index = json.loads((out / "catalog.json").read_text())
    index["files"]["nih_chest_xray.md"] = hashlib.sha256(content).hexdigest()
    (out / "catalog.json").write_text(json.dumps(index))
    write_site(tiny, out)
    assert not (out / "nih_chest_xray.md").exists()
    assert names_in(tmp_path) == [".site.lock", "site"]


@pytest.mark.parametrize(
    "change",
    [
        lambda site: (site / "notes.txt").write_text("mine"),
        lambda site: (site / "images" / "mine.jpg").write_text("mine"),
        lambda site: (site / "mine").mkdir(),
        lambda site: (site / "index.html").write_text("mine"),
        lambda site: (site / "mine").symlink_to("/etc"),
        lambda site: [(site / "manifest.tsv").unlink(), (site / "manifest.tsv").symlink_to("/etc/passwd")],
        lambda site: (site / "catalog.json").write_text('{"generator": "nih-chest-xray catalog"}'),
    ],
    ids=["a file", "a picture", "a folder", "a changed page", "a link", "a link for a file", "no list of files"],
)
def test_a_site_in_which_somebody_has_put_something_is_not_replaced(change, tiny, out, tmp_path, capsys):
    change(out)
    before = tree(out)
    assert main(["catalog", str(tiny), "--out", str(out)]) == 2
    assert re.search("move it elsewhere, or name another --out\n$", capsys.readouterr().err)
    assert tree(out) == before
    assert names_in(tmp_path) == ["site"]


def test_what_comes_into_a_site_while_it_is_made_anew_is_kept(quick, tiny, out, tmp_path, monkeypatch):
    made = site.croissant.croissant

    def meanwhile(*arguments):
        (out / "notes.txt").write_text("mine")
        return made(*arguments)

    monkeypatch.setattr(site.croissant, "croissant", meanwhile)
    with pytest.raises(CatalogError, match="notes.txt was not written by this command"):
        write_site(tiny, out)
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "index.html").exists()
    assert names_in(tmp_path) == [".site.lock", "site"]


def test_a_link_to_a_site_stays_a_link(quick, tiny, out, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "link").symlink_to(out)
    write_site(tiny, tmp_path / "there" / "link")
    assert (tmp_path / "there" / "link").is_symlink()
    assert names_in(tmp_path) == [".site.lock", "site", "there"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "metadata.csv").unlink(), "has no metadata.csv; .* build it anew"),
        (
            lambda folder: (folder / "metadata.csv").write_text("image_name,label,subset\nx.png,Nodule,train\n"),
            "metadata.csv does not list the examples that the records hold",
        ),
        (swap_labels, "metadata.csv .* or gives them other labels"),
        (lambda folder: (folder / "label.labels.txt").unlink(), "has no label.labels.txt; .* build it anew"),
        (lambda folder: cut(folder, "dataset_info.json"), r"dataset_info\.json: is not JSON \("),
        (lambda folder: cut(folder, "features.json"), r"features\.json: is not JSON \("),
        (lambda folder: cut(folder, "metadata.json"), r"metadata\.json: is not JSON \("),
        (lambda folder: cut(folder, SHARD), r"its records \(truncated record at \d+[^{\[]*\)"),
        (lambda folder: (folder / SHARD).unlink(), "No such file"),
    ],
)
def test_a_damaged_dataset_is_refused_in_one_line(change, message, tiny, tmp_path, capsys):
    folder = shutil.copytree(tiny, tmp_path / "broken")
    change(folder)
    assert main(["catalog", str(folder), "--out", str(tmp_path / "site")]) == 2
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert re.match(rf"nih-chest-xray catalog: {folder} .*{message}", line), line
    assert "build it anew" in line or line.endswith(f"; `nih-chest-xray verify {folder}` says what is wrong")
    assert set(names_in(tmp_path)) - {".site.lock"} == {"broken"}


@pytest.mark.parametrize(
    "url", ["host/data", "", "https://", "https://host/my data", "https://host/?a=1", "ftp://host", "s3://b/x"]
)
def test_a_url_that_is_none_is_refused(url, tiny, tmp_path, capsys):
    assert main(["catalog", str(tiny), "--out", str(tmp_path / "site"), "--url", url]) == 2
    assert f"--url is {url!r}; expected an address such as https://host/data or gs://" in capsys.readouterr().err
    assert names_in(tmp_path) == []


def test_a_site_in_a_dataset_is_refused(data_dir, tiny, capsys):
    before = names_in(tiny)
    assert main(["catalog", str(data_dir), "--out", str(tiny / "site")]) == 2
    assert "is in the dataset" in capsys.readouterr().err
    assert names_in(tiny) == before


LEFT = ".site.nih-chest-xray-catalog.0123abcd"


def test_what_a_killed_run_has_left_is_removed_and_not_what_is_another_sites(quick, tiny, tmp_path):
    other = tmp_path / ".site2.nih-chest-xray-catalog.0123abcd"
    for left in (tmp_path / LEFT, other):
        work_folder(left)
    write_site(tiny, tmp_path / "site")
    assert names_in(tmp_path) == [".site.lock", other.name, "site"]


def test_site_that_another_process_writes_is_refused(tiny, tmp_path, capsys):
    work_folder(tmp_path / LEFT)
    with filelock.FileLock(tmp_path / ".site.lock"):
        assert main(["catalog", str(tiny), "--out", str(tmp_path / "site")]) == 2
    assert "another process writes" in capsys.readouterr().err
    assert (tmp_path / LEFT / "new" / "index.html").exists()


def work_folder(path):
    """Makes a folder as a run that was killed leaves it."""
    (path / "new" / "images").mkdir(parents=True)
    (path / "new" / "index.html").touch()
    (path / "new" / "images" / "00000013_005.jpg").touch()
    (path / "new" / "images" / "chart-ages-dark.svg").touch()
    (path / "new" / "examples").mkdir()
    for name in ("00000013_005.png", "00000013_005_aug1.webp", "sheet-00.webp", "examples.js", "rows.js"):
        (path / "new" / "examples" / name).touch()


def test_a_killed_run_that_held_the_earlier_site_gives_it_back(tiny, out, tmp_path, capsys):
    left = tmp_path / LEFT
    work_folder(left)
    before = tree(out)
    out.rename(left / "old")
    # A run that fails after that has not lost it.
    broken = shutil.copytree(tiny, tmp_path / "broken")
    cut(broken, SHARD)
    assert main(["catalog", str(broken), "--out", str(out)]) == 2
    assert "its records" in capsys.readouterr().err
    assert tree(out) == before
    assert names_in(tmp_path) == [".site.lock", "broken", "site"]


@pytest.mark.parametrize(
    "change",
    [
        lambda left: left.rename(left.with_name(".site.mine")),
        lambda left: left.rename(left.with_name(".site.nih-chest-xray-catalog.copy")),
        lambda left: (left / "notes.txt").write_text("mine"),
        lambda left: (left / "new" / "images" / "notes.txt").write_text("mine"),
        lambda left: (left / "new" / "examples" / "mine.js").write_text("mine"),
        lambda left: (left / "new" / "metadata.csv").symlink_to("notes.txt"),
        lambda left: [(left / "old").mkdir(), (left / "old" / "notes.txt").write_text("mine")],
        lambda left: [(left / "old").mkdir(), (left / "old" / "metadata.csv").write_text("mine")],
        lambda left: [left.rename(left.with_name("away")), left.symlink_to("away")],
    ],
    ids=[
        "a name of its own",
        "a copy",
        "a file",
        "a file among the images",
        "a file among the examples",
        "a link",
        "an old site",
        "a changed old site",
        "a link to it",
    ],
)
def test_a_folder_beside_the_site_that_is_not_the_commands_own_is_never_touched(change, quick, tiny, out, tmp_path):
    left = tmp_path / LEFT
    work_folder(left)
    change(left)

    def beside():
        return {name: tree(tmp_path / name) for name in names_in(tmp_path) if name not in ("site", ".site.lock")}

    kept = beside()
    write_site(tiny, out)
    assert beside() == kept


def test_a_missing_library_is_named_with_the_way_to_get_it(tiny, tmp_path):
    code = "import sys; sys.modules['jinja2'] = None; from nih_chest_xray.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "catalog", str(tiny), "--out", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        "jinja2 is not installed; get what a catalog needs with `pip install 'nih_chest_xray[catalog]'`" in done.stderr
    )

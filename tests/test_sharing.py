"""Tests of sharing: one person publishes, another loads it without the package, by the guide's own lines."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from blocks import block
from pages import Page, static_server

from nih_chest_xray import Builder
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.vocabulary import SUBSETS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGE_CODES = ("tensorflow", "namespace")
PLACE = Path("nih_chest_xray", "sample", "2.0.0")
NOT_INSTALLED = '''
import hashlib, json, os, sys


class NotInstalled:
    """Comes before all that could find the package, an editable install too."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "nih_chest_xray":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, NotInstalled())
try:
    import nih_chest_xray
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("the package can be imported")
import tensorflow_datasets as tfds
from tensorflow_datasets.core import community


def content(datasets):
    return {
        subset: {
            example["image_name"].decode(): [int(example["label"]), hashlib.sha256(example["image"]).hexdigest()]
            for example in tfds.as_numpy(examples)
        }
        for subset, examples in datasets.items()
    }


def pairs(examples):
    return sorted([int(label), hashlib.sha256(image).hexdigest()] for image, label in tfds.as_numpy(examples))


def error_of(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


for name, code in json.load(sys.stdin):
    # As in a process of its own, in which no namespace has a name yet.
    community.config.get_community_config.cache_clear()
    community.community_register.cache_clear()
    found = {"content": content, "pairs": pairs, "error_of": error_of, "tfds": tfds}
    exec(code, found)
    print(json.dumps([name, found["answer"]]))
'''


def second_person(folder, data_dir, codes):
    """What each code leaves in `answer`, run one after the other where the package cannot be imported."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", NOT_INSTALLED],
        input=json.dumps(list(codes.items())),
        cwd=folder,
        env=environment | {"TFDS_DATA_DIR": str(data_dir), "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def shell(code, folder, **environment):
    bin_first = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", code]
    return subprocess.run(command, cwd=folder, env=os.environ | bin_first | environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("sharing")


@pytest.fixture(scope="module")
def served(work):
    """The address of the folder that will be published, on a server of this machine."""
    with static_server(work / "published") as address:
        yield address


@pytest.fixture(scope="module")
def published(work, served):
    """The folder that the first person publishes."""
    code = block("sharing", "--publish_dir").replace("PUBLISHED", str(work / "published"))
    done = shell(code.replace("https://host/data", served), ROOT, TFDS_DATA_DIR=str(work / "first"))
    assert done.returncode == 0, done.stderr
    return work / "published"


@pytest.fixture(scope="module")
def first_content(published, work):
    """Label and digest of pixels of each example, by subset and name, as the first person has them."""
    datasets = Builder(config="sample", data_dir=work / "first").as_dataset()
    return {
        subset: {
            example["image_name"].decode(): [int(example["label"]), hashlib.sha256(example["image"]).hexdigest()]
            for example in tfds.as_numpy(examples)
        }
        for subset, examples in datasets.items()
    }


def needs_wget():
    if not shutil.which("wget") or not shutil.which("sha256sum"):
        pytest.skip("no wget and sha256sum on PATH")


def download(published, served, data):
    code = block("sharing", "sha256sum").replace("https://host/data", served).replace("DATA/", f"{data}/")
    return shell(code, data.parent)


def read_page(published, served, folder):
    """The page, whose lists of files were downloaded as its reader would, and whose first lines were then run."""
    page = Page(published / "catalog" / "index.html")
    links = {element["attrs"]["href"] for element in page.all("a") if "download" in element["attrs"]}
    for link in links & {"manifest.tsv", "SHA256SUMS"}:
        urllib.request.urlretrieve(f"{served}/catalog/{link}", folder / link)
    done = shell(page.by_id("fetch")["text"], folder)
    assert done.returncode == 0, done.stderr
    return page


@pytest.fixture(scope="module")
def answers(published, served, work):
    """What the second person has of it, by way of loading, and what does not work."""
    by_folder = block("sharing", "builder_from_directory")
    codes = {
        "data_dir": by_folder.replace("PUBLISHED", str(published)) + "answer = content(datasets)",
        "directory": by_folder.replace("PUBLISHED", str(published)) + "answer = content(builder.as_dataset())",
        "metadata": by_folder.replace("PUBLISHED", str(published)) + "answer = dict(builder.info.metadata)",
        "environment": 'answer = content(tfds.load("nih_chest_xray/sample"))',
        "namespace": block("sharing", "add_namespace").replace("PUBLISHED", str(published))
        + "answer = content(datasets)",
        "http": f'answer = error_of(lambda: tfds.load("nih_chest_xray/sample", data_dir="{served}"))',
        "no config": 'answer = error_of(lambda: tfds.load("nih_chest_xray"))',
    }
    if shutil.which("wget") and shutil.which("sha256sum"):
        done = download(published, served, work / "downloaded")
        assert done.returncode == 0, done.stderr
        codes["download"] = by_folder.replace("PUBLISHED", str(work / "downloaded")) + "answer = content(datasets)"
        page = read_page(published, served, work)
        codes |= {f"page, {key}": page.by_id(key)["text"] + "answer = pairs(train)" for key in PAGE_CODES}
    return second_person(work, published, codes)


def test_what_is_published_is_the_dataset_byte_for_byte(published, work):
    built, copied = (
        {path.name: path.read_bytes() for path in (folder / PLACE).iterdir()} for folder in (work / "first", published)
    )
    assert copied == built
    assert {"metadata.csv", "metadata.json", "features.json", "LICENSE"} < set(copied)


def test_the_first_persons_examples_are_those_of_metadata_csv(published, first_content):
    with (published / PLACE / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    listed = {subset: {} for subset in SUBSETS}
    for row in rows:
        listed[row["subset"]][row["image_name"]] = NAMED_CONFIGS[0].definition.classes.index(row["label"])
    assert {subset: {n: label for n, (label, _) in some.items()} for subset, some in first_content.items()} == listed
    assert all(len(set(some.values())) == 2 for some in listed.values())


@pytest.mark.parametrize("way", ["data_dir", "directory", "environment", "namespace", "download"])
def test_without_the_package_every_way_gives_the_same_subsets_labels_and_pixels(way, answers, first_content):
    if way == "download":
        needs_wget()
    assert answers[way] == first_content


def test_without_the_package_the_metadata_is_there(answers, published):
    assert answers["metadata"] == json.loads((published / PLACE / "metadata.json").read_text())


def test_what_the_guide_says_does_not_work_does_not(answers):
    assert answers["http"] == "KeyError"
    assert answers["no config"] == "DatasetNotFoundError"


def test_a_changed_byte_and_a_missing_file_are_found_by_the_download(published, served, work, answers):
    needs_wget()
    record = published / PLACE / "nih_chest_xray-test.tfrecord-00000-of-00001"
    whole = record.read_bytes()
    try:
        record.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
        changed = download(published, served, work / "changed")
        record.unlink()
        missing = download(published, served, work / "missing")
    finally:
        record.write_bytes(whole)
    for done in (changed, missing):
        assert done.returncode != 0
    assert f"{record.name}: FAILED" in changed.stdout
    # Run again, the lines fetch what is not there, and what an interruption cut off; the digests are right then.
    cut = work / "missing" / PLACE / "metadata.csv"
    cut.write_bytes(cut.read_bytes()[:100])
    again = download(published, served, work / "missing")
    assert (again.returncode, again.stdout) == (0, "")
    names = [path.name for path in (work / "missing" / PLACE).iterdir()]
    assert sorted(names) == sorted(path.name for path in (published / PLACE).iterdir())
    assert "Downloaded: 2 files" in again.stderr


@pytest.mark.parametrize("key", PAGE_CODES)
def test_the_pages_own_lines_download_and_load_without_the_package(key, answers, first_content):
    needs_wget()
    assert answers[f"page, {key}"] == sorted(first_content["train"].values())

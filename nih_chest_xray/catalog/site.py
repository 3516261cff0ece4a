"""Site: writes the pages of all datasets of a folder, complete or not at all."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

from nih_chest_xray.catalog.datasets import DATASET, Built, CatalogError, find_datasets

try:
    import jinja2  # noqa: F401
    import matplotlib  # noqa: F401
except ImportError as error:
    raise CatalogError(
        f"{error.name} is not installed; get what a catalog needs with `pip install 'nih_chest_xray[catalog]'`"
    ) from error

from nih_chest_xray.catalog import croissant, page, texts
from nih_chest_xray.catalog.files import list_files, manifest_tsv, sha256sums
from nih_chest_xray.catalog.gallery import make_gallery
from nih_chest_xray.catalog.markdown import tfds_markdown
from nih_chest_xray.catalog.statistics import read_examples

INDEX = "catalog.json"
_LOCK = ".lock"
_GENERATOR = "nih-chest-xray catalog"
_URL = re.compile(r"(https?|gs)://[^\s/?#\"'<>]+(/[^\s?#\"'<>]*)?")


def write_site(data_dir: os.PathLike, site: os.PathLike, url: str | None = None) -> Path:
    """Writes a site for the datasets of a folder.

    Of one dataset `index.html` is the page; of several it lists them, and each has its page in a folder of the config's
    name. Beside a page lie `croissant.json`, `SHA256SUMS`, `manifest.tsv`, a copy of `metadata.csv` and `images/`;
    `nih_chest_xray.md` and `catalog.json` lie at the top.

    Args:
      data_dir: Where datasets were built, or the folder of one.
      site: The folder to write. A site that this function wrote is replaced.
      url: Where `data_dir` is served. None links to the files on this machine.

    Returns:
      The site's folder.

    Raises:
      CatalogError: There is no dataset, or a damaged one; `site` holds something else, or lies in a dataset; the URL is
        none.
    """
    _refuse_other_urls(url)
    datasets = find_datasets(data_dir)
    site = Path(site).absolute()
    _refuse_other_folders(site, datasets)
    with _replaced(site) as new:
        pages = {built: built.config_name if len(datasets) > 1 else "." for built in datasets}
        for built, place in pages.items():
            _write_dataset(built, new / place, site / place, url, len(datasets) > 1)
        if len(datasets) > 1:
            (new / "index.html").write_text(page.index_page(datasets))
        (new / f"{DATASET}.md").write_text(tfds_markdown(datasets))
        (new / INDEX).write_text(json.dumps(_index(pages), indent=2) + "\n")
    return site


def _write_dataset(built: Built, new: Path, final: Path, url: str | None, several: bool) -> None:
    new.mkdir(exist_ok=True)
    examples = read_examples(built)
    files = list_files(built, final, url)
    gallery = make_gallery(built, examples, new)
    (new / "index.html").write_text(page.dataset_page(built, examples, files, gallery, url, several))
    (new / "croissant.json").write_text(croissant.croissant(built, examples, files, url))
    (new / "SHA256SUMS").write_text(sha256sums(files))
    (new / "manifest.tsv").write_text(manifest_tsv(files))
    (new / croissant.METADATA).write_bytes((built.path / "metadata.csv").read_bytes())


def _index(pages: dict[Built, str]) -> dict:
    return {
        "generator": _GENERATOR,
        "datasets": [
            {
                "name": built.full_name,
                "version": built.version,
                "synthetic": built.synthetic,
                "examples": built.metadata["examples"],
                "licence": texts.licence(built),
                "page": f"{place}/index.html".removeprefix("./"),
                "croissant": f"{place}/croissant.json".removeprefix("./"),
            }
            for built, place in pages.items()
        ],
    }


def _refuse_other_urls(url: str | None) -> None:
    if url is not None and not _URL.fullmatch(url):
        raise CatalogError(
            f"--url is {url!r}; expected an address such as https://host/data or gs://bucket/data, in which blanks and"
            " other special characters are escaped"
        )


def _refuse_other_folders(site: Path, datasets: list[Built]) -> None:
    """A site is replaced as a whole, so that nothing else may lie there."""
    for built in datasets:
        if site.resolve().is_relative_to(Path(built.path).resolve()):
            raise CatalogError(f"{site} is in the dataset {built.path}, whose files have digests; name another --out")
    if site.is_dir() and (not any(site.iterdir()) or _is_ours(site)):
        return
    if site.exists() or site.is_symlink():
        raise CatalogError(f"{site} is there and is no site of this command; name another --out")


def _is_ours(site: Path) -> bool:
    try:
        return json.loads((site / INDEX).read_text())["generator"] == _GENERATOR
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def _replaced(site: Path) -> Iterator[Path]:
    """Yields an empty folder beside `site`, which takes its place if all goes well and is removed otherwise.

    What a run that was killed has left is removed by the next one: nobody holds the lock in it any more.
    """
    site.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{site.name}."
    for left in site.parent.glob(f"{glob.escape(prefix)}*/{_LOCK}"):
        # A lock that is held, or a folder that may not be removed, is in nobody's way.
        with contextlib.suppress(OSError), filelock.FileLock(left, timeout=0):
            shutil.rmtree(left.parent)
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=site.parent))
    try:
        with filelock.FileLock(work / _LOCK):
            new = work / "new"
            new.mkdir()
            yield new
            if site.exists():
                site.rename(work / "old")
            new.rename(site)
    finally:
        shutil.rmtree(work)

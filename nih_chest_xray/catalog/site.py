"""Site: writes the pages of all datasets of a folder, complete or not at all."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils import epath
from tqdm import tqdm

from nih_chest_xray.catalog.datasets import Built, find_datasets
from nih_chest_xray.errors import CatalogError, RemovalRefusedError
from nih_chest_xray.system import locks
from nih_chest_xray.system.removal import REPLACED_SITE, SITE_WORK, UNFINISHED_SITE, Kind, foreign, remove
from nih_chest_xray.verification.dataset_folder import read_small
from nih_chest_xray.verification.json_kinds import parse_json

try:
    import jinja2  # noqa: F401
    import matplotlib  # noqa: F401
except ImportError as error:
    raise CatalogError(
        f"{error.name} is not installed; get what a catalog needs with `pip install 'nih_chest_xray[catalog]'`"
    ) from error

from nih_chest_xray.catalog import croissant, page, texts
from nih_chest_xray.catalog.charts import draw_charts
from nih_chest_xray.catalog.digests import list_files, manifest_tsv, sha256sums
from nih_chest_xray.catalog.gallery import make_gallery
from nih_chest_xray.catalog.statistics import read_examples

INDEX = "catalog.json"
_INDEX_LIMIT = 64 << 20
_FILES = "files"
_GENERATOR = "nih-chest-xray catalog"
_NEW, _OLD = "new", "old"
"""What lies in a work folder."""
_URL = re.compile(r"(https?|gs)://[^\s/?#\"'<>]+(/[^\s?#\"'<>]*)?")


def write_site(data_dir: os.PathLike, site: os.PathLike, url: str | None = None) -> Path:
    """Writes a site for the datasets of a folder.

    Of one dataset `index.html` is the page; of several it lists them, and each has its page in a folder of the config's
    name. Beside a page lie `croissant.json`, `SHA256SUMS`, `manifest.tsv`, a copy of `metadata.csv` and `images/`;
    `catalog.json` lies at the top.

    Args:
      data_dir: Where datasets were built, or the folder of one.
      site: The folder to write. A site that this function wrote is replaced, if it holds what was written and no more.
      url: Where `data_dir` is served. None links to the files on this machine.

    Returns:
      The site's folder.

    Raises:
      CatalogError: There is no dataset, or a damaged one; `site` holds something else, or lies in a dataset; the URL is
        none.
    """
    _refuse_other_urls(url)
    datasets = find_datasets(data_dir)
    _refuse_names_of_the_site(datasets)
    site = Path(site).absolute()
    _refuse_other_folders(site, datasets)
    # A link to a site stays one: what it leads to is replaced.
    with _replaced(site.resolve()) as new:
        pages = {built: built.config_name if len(datasets) > 1 else "." for built in datasets}
        total = sum(built.builder.info.splits.total_num_examples for built in datasets)
        with tqdm(total=total, unit=" examples", disable=None) as bar:  # None: on a terminal only.
            for built, place in pages.items():
                _write_dataset(built, new / place, site / place, url, len(datasets) > 1, bar)
        if len(datasets) > 1:
            (new / "index.html").write_text(page.index_page(datasets))
        (new / INDEX).write_text(json.dumps(_index(pages) | {_FILES: _digests(new)}, indent=2) + "\n")
    return site


def _write_dataset(built: Built, new: Path, final: Path, url: str | None, several: bool, bar: tqdm) -> None:
    new.mkdir(exist_ok=True)  # It exists where the site is of one dataset.
    bar.set_description(f"{built.config_name}, examples")
    examples = read_examples(built, bar.update)
    bar.set_description(f"{built.config_name}, digests of files")
    files = list_files(built, final, url)
    bar.set_description(f"{built.config_name}, pictures")
    gallery = make_gallery(built, examples, new)
    charts = draw_charts(built, examples, new)
    (new / "index.html").write_text(page.dataset_page(built, examples, files, gallery, charts, url, several))
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


def _refuse_names_of_the_site(datasets: list[Built]) -> None:
    """With several datasets, each has a folder of its config's name beside the site's own files."""
    taken = {"index.html", INDEX} if len(datasets) > 1 else {}
    for built in datasets:
        if built.config_name.lower() in taken:
            raise CatalogError(
                f"{built.path}: its config is called as the site's file {built.config_name}; make a site of it alone"
            )


def _refuse_other_folders(site: Path, datasets: list[Built]) -> None:
    """A site is replaced as a whole, so that nothing else may lie there."""
    for built in datasets:
        if site.resolve().is_relative_to(Path(built.path).resolve()):
            raise CatalogError(f"{site} is in the dataset {built.path}, whose files have digests; name another --out")
    if site.is_dir() and not any(site.iterdir()):
        return
    if site.is_dir() and _is_ours(site):
        _refuse_what_is_not_written_here(site)
        return
    if site.exists() or site.is_symlink():
        raise CatalogError(f"{site} is there and is no site of this command; name another --out")


def _is_ours(site: Path) -> bool:
    try:
        return _read_index(site)["generator"] == _GENERATOR
    except (OSError, ValueError, KeyError):
        return False


def _read_index(site: Path) -> dict[str, Any]:
    """Reads catalog.json, which may be anybody's where `site` is not a site.

    Raises:
      OSError, SchemaError: It is none, or cannot be read.
    """
    return parse_json(read_small(epath.Path(site / INDEX), _INDEX_LIMIT))


def _digests(site: Path) -> dict[str, str | None]:
    """Returns the SHA-256 of every file of a site but catalog.json, by its path; None of what is none, or no folder."""
    found: dict[str, str | None] = {}
    for folder, folders, files in os.walk(site):
        for path in (Path(folder) / name for name in (*folders, *files)):
            kind, name = path.lstat().st_mode, path.relative_to(site).as_posix()
            if stat.S_ISREG(kind) and name != INDEX:
                with path.open("rb") as file:
                    found[name] = hashlib.file_digest(file, "sha256").hexdigest()
            elif stat.S_ISDIR(kind):
                found |= {} if any(path.iterdir()) else {f"{name}/": ""}
            elif not stat.S_ISREG(kind):
                found[name] = None
    return found


def _refuse_what_is_not_written_here(site: Path) -> None:
    """A site is removed when it is replaced, so that it may hold nothing but what this command wrote.

    Raises:
      CatalogError: It holds another file, or one that was changed.
    """
    advice = "move it elsewhere, or name another --out"
    try:
        written = _read_index(site)[_FILES]
    except (OSError, ValueError, KeyError):
        written = None
    if not isinstance(written, dict):
        raise CatalogError(f"{site / INDEX} does not list the files of the site, as an older one's does not; {advice}")
    for name, digest in _digests(site).items():
        if digest is None or written.get(name) != digest:
            done = "has changed since this command wrote it" if name in written else "was not written by this command"
            raise CatalogError(f"{site / name} {done}; {advice}")


@contextlib.contextmanager
def _replaced(site: Path) -> Iterator[Path]:
    """Yields an empty folder beside `site`, which takes its place if all goes well and is removed otherwise.

    What a run that was killed has left is removed by the next one. The empty lock stays.

    Raises:
      CatalogError: Another process writes the same site.
    """
    site.parent.mkdir(parents=True, exist_ok=True)
    path = site.parent / f".{site.name}.lock"
    try:
        held = locks.take(epath.Path(path))
    except locks.HeldError:
        raise CatalogError(f"another process writes {site}: it holds {path}; wait until it is done") from None
    with held:
        _clean_up(site)
        work = Path(tempfile.mkdtemp(prefix=_work_prefix(site), dir=site.parent))
        new, old = work / _NEW, work / _OLD
        try:
            new.mkdir()
            yield new
            if site.exists():
                site.rename(old)
            try:
                if old.exists() and any(old.iterdir()):
                    _refuse_what_is_not_written_here(old)  # Again: somebody may have put a file there meanwhile.
                new.rename(site)
            except BaseException:
                if old.exists():
                    old.rename(site)
                raise
            if old.exists():
                _remove(old, REPLACED_SITE)
        finally:
            if not old.exists():  # Else it could not be put back: it stays, in the work folder.
                _remove(work, UNFINISHED_SITE)


def _clean_up(site: Path) -> None:
    """Removes the work folders of runs that were killed; one that held the earlier site gives it back."""
    for left in site.parent.glob(f"{glob.escape(_work_prefix(site))}*"):
        # A folder that may not be removed, or holds something else, is in nobody's way.
        with contextlib.suppress(OSError, CatalogError, RemovalRefusedError):
            old = left / _OLD
            if old.exists() and not site.exists() and not foreign(epath.Path(left), UNFINISHED_SITE):
                old.rename(site)
            if old.exists():
                _refuse_what_is_not_written_here(old)
            _remove(left, UNFINISHED_SITE)


def _work_prefix(site: Path) -> str:
    return f".{site.name}.{SITE_WORK}."


def _remove(folder: Path, kind: Kind) -> None:
    remove(epath.Path(folder), kind, within=epath.Path(folder).parent)

"""Site: writes the pages of all datasets in a folder, completely or not at all."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import stat
import tempfile
import urllib.parse
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
except ImportError as error:
    raise CatalogError(
        f"{error.name} is not installed; get what a catalog needs with `pip install 'nih_chest_xray[catalog]'`"
    ) from error

from nih_chest_xray.catalog import croissant, page, texts
from nih_chest_xray.catalog.browse import write_browser
from nih_chest_xray.catalog.charts import make_charts
from nih_chest_xray.catalog.digests import list_files, manifest_tsv, sha256sums
from nih_chest_xray.catalog.gallery import make_gallery
from nih_chest_xray.catalog.reports import find_reports
from nih_chest_xray.catalog.statistics import read_examples

INDEX = "catalog.json"
_INDEX_LIMIT = 64 << 20
_FILES = "files"
_GENERATOR = "nih-chest-xray catalog"
_NEW, _OLD = "new", "old"
"""The folders in a work folder."""
_URL = re.compile(r"(https?|gs)://[^\s/?#\"'<>]+(/[^\s?#\"'<>]*)?")


def write_site(data_dir: os.PathLike, site: os.PathLike, url: str | None = None) -> Path:
    """Writes a site for the datasets in a folder.

    With one dataset, `index.html` is its page. With several, `index.html` lists them, and each page is in a folder with
    the config's name. Next to each page are `croissant.json`, `SHA256SUMS`, `manifest.tsv`, `images/` and `examples/`;
    `catalog.json` is at the top.

    Args:
      data_dir: The folder in which datasets were built, or the folder of one.
      site: The folder to write. A site that this function wrote is replaced, unless files were added or changed.
      url: The address at which `data_dir` is served. None links to the files on this machine.

    Returns:
      The site's folder.

    Raises:
      CatalogError: The folder holds no dataset, or a damaged one; `site` holds something else, or is inside a dataset;
        or the URL is not valid.
    """
    _refuse_other_urls(url)
    datasets = find_datasets(data_dir)
    _refuse_names_of_the_site(datasets)
    site = Path(site).absolute()
    _refuse_other_folders(site, datasets)
    address = _address(site, data_dir, url)
    # If the site is a link, the link stays, and its target is replaced.
    with _replaced(site.resolve()) as new:
        pages = {built: built.config_name if len(datasets) > 1 else "." for built in datasets}
        total = sum(built.builder.info.splits.total_num_examples for built in datasets)
        with tqdm(total=total, unit=" examples", disable=None) as bar:  # None: on a terminal only.
            for built, place in pages.items():
                own = address if place == "." else address and f"{address}/{urllib.parse.quote(place)}"
                _write_dataset(built, new / place, site / place, url, own, len(datasets) > 1, bar)
        if len(datasets) > 1:
            (new / "index.html").write_text(page.index_page(datasets, address))
        (new / INDEX).write_text(json.dumps(_index(pages) | {_FILES: _digests(new)}, indent=2) + "\n")
    return site


def _write_dataset(
    built: Built, new: Path, final: Path, url: str | None, address: str | None, several: bool, bar: tqdm
) -> None:
    new.mkdir(exist_ok=True)  # It exists if the site has one dataset.
    bar.set_description(f"{built.config_name}, examples")
    examples = read_examples(built, bar.update)
    bar.set_description(f"{built.config_name}, digests of files")
    files = list_files(built, final, url)
    bar.set_description(f"{built.config_name}, pictures")
    gallery = make_gallery(built, examples, new)
    browser = write_browser(built, examples, gallery, new)
    charts = make_charts(built, examples)
    reports = find_reports(built, final, url)
    text = page.dataset_page(built, examples, files, gallery, browser, charts, url, address, several, reports)
    (new / "index.html").write_text(text)
    (new / "croissant.json").write_text(croissant.croissant(built, examples, files, url))
    (new / "SHA256SUMS").write_text(sha256sums(files))
    (new / "manifest.tsv").write_text(manifest_tsv(files))


def _address(site: Path, data_dir: os.PathLike, url: str | None) -> str | None:
    """Returns the site's own address, which is known if the site is in the folder that is served."""
    root = Path(os.fspath(data_dir)).expanduser().resolve()
    if not url or not url.startswith(("http://", "https://")) or not site.resolve().is_relative_to(root):
        return None
    return "/".join((url.rstrip("/"), *map(urllib.parse.quote, site.resolve().relative_to(root).parts)))


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
            f"--url is {url!r}; expected an address such as https://host/data or gs://bucket/data, with spaces and"
            " other special characters escaped"
        )


def _refuse_names_of_the_site(datasets: list[Built]) -> None:
    """Refuses configs whose names clash with the site's own files. With several datasets, each has a folder there."""
    taken = {"index.html", INDEX} if len(datasets) > 1 else {}
    for built in datasets:
        if built.config_name.lower() in taken:
            raise CatalogError(
                f"{built.path}: its config has the name of a file of the site, {built.config_name}; make a site of it"
                " alone"
            )


def _refuse_other_folders(site: Path, datasets: list[Built]) -> None:
    """Refuses a folder that holds anything else, because a site is replaced as a whole."""
    for built in datasets:
        if site.resolve().is_relative_to(Path(built.path).resolve()):
            raise CatalogError(
                f"{site} is in the dataset {built.path}, where no other file belongs; name another --out"
            )
    if site.is_dir() and not any(site.iterdir()):
        return
    if site.is_dir() and _is_ours(site):
        _refuse_what_is_not_written_here(site)
        return
    if site.exists() or site.is_symlink():
        raise CatalogError(f"{site} exists and is not a site of this command; name another --out")


def _is_ours(site: Path) -> bool:
    try:
        return _read_index(site)["generator"] == _GENERATOR
    except (OSError, ValueError, KeyError):
        return False


def _read_index(site: Path) -> dict[str, Any]:
    """Reads catalog.json. If `site` is not a site, somebody else may have written it.

    Raises:
      OSError, SchemaError: The file is not valid, or cannot be read.
    """
    return parse_json(read_small(epath.Path(site / INDEX), _INDEX_LIMIT))


def _digests(site: Path) -> dict[str, str | None]:
    """Returns the SHA-256 of each file of a site except catalog.json, by path; None for links, pipes and the like."""
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
    """Refuses a site with other files than this command wrote, because replacing the site removes them.

    Raises:
      CatalogError: The site holds another file, or one that has changed.
    """
    advice = "move it elsewhere, or name another --out"
    try:
        written = _read_index(site)[_FILES]
    except (OSError, ValueError, KeyError):
        written = None
    if not isinstance(written, dict):
        raise CatalogError(f"{site / INDEX} does not list the site's files, as in older versions; {advice}")
    for name, digest in _digests(site).items():
        if digest is None or written.get(name) != digest:
            problem = (
                "has changed since this command wrote it" if name in written else "was not written by this command"
            )
            raise CatalogError(f"{site / name} {problem}; {advice}")


@contextlib.contextmanager
def _replaced(site: Path) -> Iterator[Path]:
    """Yields an empty folder next to `site`. It replaces `site` if the block succeeds, and is removed otherwise.

    The next run removes what a killed run left behind. The empty lock file stays.

    Raises:
      CatalogError: Another process is writing the same site.
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
                    _refuse_what_is_not_written_here(old)  # Again: somebody may have added a file meanwhile.
                new.rename(site)
            except BaseException:
                if old.exists():
                    old.rename(site)
                raise
            if old.exists():
                _remove(old, REPLACED_SITE)
        finally:
            if not old.exists():  # If it does, it could not be put back, and stays in the work folder.
                _remove(work, UNFINISHED_SITE)


def _clean_up(site: Path) -> None:
    """Removes the work folders of killed runs. If one holds the earlier site, the site is put back first."""
    for left in site.parent.glob(f"{glob.escape(_work_prefix(site))}*"):
        # A folder that may not be removed, or holds something else, does no harm.
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

"""Downloads: what the release on disk lacks is fetched, or an error tells how to get it."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping, Set

import requests
from etils import epath
from tensorflow_datasets.core.download import download_manager, downloader

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.files import ReleaseError
from nih_chest_xray.interruption import first_line, only_download
from nih_chest_xray.release import (
    ARCHIVES,
    BOTH_EXPERT_FILES,
    BOX_FILE,
    EXPERT_FILES,
    LABEL_FILES,
    OFFICIAL_LISTS,
    KnownFile,
    Release,
    file_table,
    official_archive,
)
from nih_chest_xray.tables import strip

RELEASE_PAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
EXPERT_PAGE = "https://cloud.google.com/healthcare-api/docs/resources/public-datasets/nih-chest"
_WRONG_DIGEST = re.compile(r"Artifact (?P<url>\S+), downloaded to (?P<path>.+), has wrong checksum")
"""How TFDS says so; it leaves the file."""

Fetch = Callable[[dict[str, str]], dict[str, epath.Path]]
"""Downloads URLs, checks their digests and returns paths: `dl_manager.download`."""


def complete_tables(
    found: Release, config: NihChestXrayConfig, known: Mapping[str, KnownFile], fetch: Fetch
) -> Release:
    """Downloads the tables that the config needs and that were not found.

    Without boxes a build from a part of the images goes on: Kaggle's sample, for one, has none.

    Raises:
      ReleaseError: A table is neither there nor to be had.
      TableError: A table that is there is empty or a web page. That is said before anything is downloaded.
    """
    for table in found.tables.values():
        strip(table.read(), table.place)
    absent = [name for name in EXPERT_FILES.values() if name not in found.tables]
    if config.split == "expert" and absent and BOTH_EXPERT_FILES not in found.tables:
        raise ReleaseError(
            f"{' and '.join(absent)}: not found in {found.place}. The radiologists' labels are had by hand: fill in the"
            f" form at {EXPERT_PAGE} (under 'Additional labels') and put the folder four_findings_expert_labels, with"
            " test_labels.csv and validation_labels.csv, into the manual_dir."
        )
    needed = [] if found.label_file else [LABEL_FILES[0]]
    needed += [name for name in OFFICIAL_LISTS.values() if config.split == "official" and name not in found.tables]
    boxes = [] if BOX_FILE in found.tables else [BOX_FILE]
    if not needed and not boxes:
        return found
    try:
        paths = fetch({name: known[name].url for name in needed + boxes})
    except Exception as error:  # The downloader raises what its HTTP library does, and TFDS's own errors.
        problem = f"not found in {found.place}, and the download failed ({type(error).__name__}: {first_line(error)})."
        if needed or not config.allow_missing_images:
            raise ReleaseError(
                f"{' and '.join(needed + boxes)}: {problem} Download by hand from {RELEASE_PAGE} into the manual_dir."
            ) from error
        warnings.warn(f"{BOX_FILE}: {problem} No image has bounding boxes.", stacklevel=2)
        return found
    tables = {name: file_table(path) for name, path in paths.items()}
    return dataclasses.replace(found, tables={**found.tables, **tables})


def complete_images(found: Release, wanted: Set[str], known: Mapping[str, KnownFile], fetch: Fetch) -> Release:
    """Downloads the archives that were not found, if an image is missing.

    Args:
      found: What is there.
      wanted: Image names that the build needs.
      known: URLs of the archives.
      fetch: Downloads.

    Raises:
      ReleaseError: Images are missing and the download fails, or the archives do not hold them.
    """
    missing = wanted - found.held(wanted)
    if not missing:
        return found
    urls = {name: known[name].url for name in ARCHIVES if name not in found.archives}
    if urls:
        size = sum(known[name].size for name in urls) / 1e9
        # Not a warning or a log line: whoever has a part of the images should see it before the download begins.
        print(
            f"{len(missing):,} of the {len(wanted):,} images that this config needs are not in"
            f" {found.place}: downloading {len(urls)} archives ({size:.1f} GB).",
            flush=True,
        )
    try:
        paths = fetch(urls) if urls else {}
    except Exception as error:  # As above.
        reason = (
            f"The archives that are not there could not be downloaded ({type(error).__name__}: {first_line(error)})."
        )
        raise ReleaseError(_missing(found, wanted, reason)) from error
    archives = tuple(official_archive(path, name, known, refuse_others=True) for name, path in paths.items())
    found = dataclasses.replace(found, sources=found.sources + archives, archives=found.archives | frozenset(paths))
    if wanted - found.held(wanted):
        raise ReleaseError(_missing(found, wanted, "All twelve archives are there, but do not hold them."))
    return found


def download(dl_manager: download_manager.DownloadManager, dataset: str, urls: dict[str, str]) -> dict[str, epath.Path]:
    """Downloads, or takes from TFDS's cache, what another process may have downloaded in the meantime.

    Args:
      dl_manager: Compares sizes and digests.
      dataset: The dataset's name, which TFDS gives to a folder of its downloads.
      urls: By file name.

    Raises:
      Exception: What TFDS and its HTTP library raise.
      ReleaseError: What came is not what should.
    """
    with only_download(epath.Path(dl_manager.download_dir) / dataset, urls.values()):
        try:
            return _download(dl_manager, urls)
        except download_manager.NonMatchingChecksumError as error:
            if not (told := _WRONG_DIGEST.search(str(error))):
                raise
            path = epath.Path(told["path"])
            size, start = path.stat().length, _start(path)
            path.parent.rmtree()
            raise ReleaseError(
                f"what came from {told['url']} is not the NIH's file: it has {size:,} bytes and begins with {start!r}"
            ) from error


def _start(path: epath.Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100).strip().split(b"\n")[0]


def _download(dl_manager: download_manager.DownloadManager, urls: dict[str, str]) -> dict[str, epath.Path]:
    """Downloads.

    TFDS asks a server that it cannot reach for over three minutes before it gives up, without a word. Where one quick
    try finds no network, that is cut short.
    """
    try:
        requests.get(next(iter(urls.values())), stream=True, timeout=20).close()
    except requests.ConnectionError:
        retries, downloader.MAX_RETRIES = downloader.MAX_RETRIES, 0
        try:
            # One after the other: a download that another one's failure left behind would go on trying.
            return {name: dl_manager.download(url) for name, url in urls.items()}
        finally:
            downloader.MAX_RETRIES = retries
    except requests.RequestException:
        pass  # There is a network; what the server says is for TFDS to handle.
    return dl_manager.download(urls)


def _missing(found: Release, wanted: Set[str], reason: str) -> str:
    missing = sorted(wanted - found.held(wanted))
    examples = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
    return (
        f"{len(missing):,} of the {len(wanted):,} images that this config needs are not in {found.place} ({examples})."
        f" {reason} There are two ways out: put the missing images there (the folders, zip or archives that you lack;"
        f" {RELEASE_PAGE} has them), or build from those that you have with a config of"
        ' your own: --config \'{"name": "my_part", "allow_missing_images": true}\'.'
    )

"""Check: says what a build would find in a folder and do, before you start one that takes hours.

nih-chest-xray check DIR --config nodule
"""

from __future__ import annotations

import collections
import os
import warnings
from collections.abc import Mapping, Sequence, Set

import pandas as pd
from etils import epath
from tqdm import tqdm

from nih_chest_xray.building.examples import BrokenImage, Made, try_examples
from nih_chest_xray.building.parallel import map_in_order, worker_count
from nih_chest_xray.building.size import build_size
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import CohortError, NoRoomError, ReleaseError, TableError, UsageError
from nih_chest_xray.planning.plan import Plan, make_plan
from nih_chest_xray.planning.summary import summarise
from nih_chest_xray.release import downloads, release
from nih_chest_xray.release.sources import StoredImage
from nih_chest_xray.release.tables import features_without_file, find_for_config, read_tables, with_split_lists
from nih_chest_xray.system.disk_space import Need, existing, readable, require_room
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.verification.report import FAILED, OK, SKIPPED, Check, conclude


def check(
    folder: epath.PathLike, config: NihChestXrayConfig, data_dir: epath.PathLike, decode_all: bool = False
) -> list[Check]:
    """Reports what a build of a config would find in a folder. Downloads and writes nothing.

    Args:
      folder: The manual_dir.
      config: The config that would be built.
      data_dir: The folder in which it would be built.
      decode_all: Whether to read and decode every image that the config needs. Archives are then read to the end.

    Returns:
      The outcomes, always of the same checks in the same order. A check fails if a build would stop, or download.

    Raises:
      UsageError: The folder is not a directory or holds nothing of the release, or the config reads no folder.
    """
    if config.phantom_patients:
        raise UsageError(f"config {config.name!r} draws its images and reads no folder.")
    known = release.known_files()
    try:
        place = epath.Path(folder).expanduser()
        found = find_for_config(place, config, known)
    except ReleaseError as error:
        raise UsageError(str(error)) from error
    if found.is_empty:
        raise UsageError(f"Nothing of the NIH's release is in {place} or the folders in it.{found.not_taken()}")
    found = with_split_lists(found, config)
    tables, plan = _check_tables(found, config, known)
    done = [Check("left aside", OK, f"{len(found.aside):,} files or folders", found.aside), tables]
    named = frozenset().union(*(source.names for source in found.sources if source.certain and not source.one_pass))
    if plan is None:
        later = ("broken", "download", "examples", "room")
        seen = f"{len(named):,} outside archives; only the tables say which of them are needed"
        images = Check("images", SKIPPED, seen)
        return [*done, images, *(Check(name, SKIPPED, "needs the tables") for name in later)]
    wanted = frozenset(plan.cohort["image_name"])
    # What an archive holds that is not the NIH's own is not known until it is read.
    uncertain = [source.place for source in found.sources if not source.certain]
    unread, read = ([], uncertain) if decode_all else (uncertain, [])
    present: Set[str] = frozenset().union(*(source.held(wanted) for source in found.sources if source.certain))
    broken = Check("broken", SKIPPED, "not looked for without --all")
    if decode_all:
        broken, present = _check_broken(found, config, found.held(wanted))
    missing = wanted - present
    archives = [] if config.allow_missing_images else list(downloads.missing_archives(found, missing))
    planned, made = plan.manifest, plan.of(present).manifest
    return [
        *done,
        _check_images(found, config, wanted, missing, unread),
        broken,
        _check_download(archives, known),
        _check_examples(made, planned, config, unread, read),
        _check_room(
            config,
            len(made if config.allow_missing_images else planned),
            sum(known[name].size for name in archives),
            epath.Path(data_dir),
        ),
    ]


def _check_tables(
    found: release.Release, config: NihChestXrayConfig, known: Mapping[str, release.KnownFile]
) -> tuple[Check, Plan | None]:
    """Checks that each table that the config needs exists and can be read."""
    needed, boxes = downloads.missing_tables(found, config)
    absent = [*needed, *([] if config.allow_missing_images else boxes)]
    problems = [f"{name}: not found; a build would download it ({readable(known[name].size)})" for name in absent]
    if found.label_file is None or needed:
        return Check("tables", FAILED, f"{len(found.tables)} found", tuple(problems)), None
    try:
        downloads.require_expert_files(found, config)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            tables = read_tables(found, config, known)
            plan = make_plan(tables, config)
    except (TableError, ReleaseError, CohortError) as error:
        return Check("tables", FAILED, f"{len(found.tables)} found", (str(error),)), None
    read = [
        f"{found.tables[name].place} ({'as it was published' if table['official'] else 'not as it was published'})"
        for name, table in tables.origin["tables"].items()
    ]
    without = features_without_file(found, config)
    noted = [f"{name}: not found; {feature} will hold -1" for name, feature in without.items()]
    noted += [str(each.message) for each in warned if issubclass(each.category, UserWarning)]
    status = FAILED if problems else OK
    return Check("tables", status, ", ".join(read), (*problems, *noted)), plan


def _check_images(
    found: release.Release,
    config: NihChestXrayConfig,
    wanted: Set[str],
    missing: Set[str],
    unread: Sequence[str],
) -> Check:
    """Checks that each image that the config needs exists, as far as that is known."""
    needed = collections.Counter(map(release.archive_of, wanted))
    lacking = collections.Counter(map(release.archive_of, missing))
    seen = f"{len(wanted) - len(missing):,} of {len(wanted):,}"
    if unread:
        seen += f"; the content of {' and '.join(unread)} is not known until it is read (--all)"
    lines = [
        f"images of archive {number}: {needed[number] - lacking[number]:,} of {needed[number]:,}"
        for number in sorted(needed)
        if lacking[number]
    ]
    if config.allow_missing_images:
        status = OK if unread or len(missing) < len(wanted) else FAILED
        return Check("images", status, f"{seen}; the config allows missing ones", tuple(lines))
    refused = [found.refused[name] for name in downloads.missing_archives(found, missing) if name in found.refused]
    return conclude("images", seen, [*lines, *refused])


def _check_broken(found: release.Release, config: NihChestXrayConfig, held: Set[str]) -> tuple[Check, Set[str]]:
    """Checks that each image can be decoded. Also returns the names of those that can."""
    problems, whole, looked_at = [], set(), 0

    def look(image: StoredImage) -> tuple[str, Made | BrokenImage]:
        return image.name, try_examples(image, (), config)

    bar = tqdm(found.images(held), "images", len(held), disable=None)  # None: on a terminal only.
    try:
        for name, made in map_in_order(look, bar, worker_count()):
            looked_at += 1
            if isinstance(made, BrokenImage):
                problems.append(made.problem)
            else:
                whole.add(name)
    except ReleaseError as error:  # An archive that is truncated, or not the NIH's.
        problems.append(str(error))
    return conclude("broken", f"{len(problems):,} of {looked_at:,} decoded images", problems), whole


def _check_download(archives: Sequence[str], known: Mapping[str, release.KnownFile]) -> Check:
    """Checks that no archive has to be downloaded."""
    size = sum(known[name].size for name in archives)
    return conclude(
        "download",
        f"{readable(size)} in archives: {len(archives)}" if archives else "nothing",
        [f"{name}: {readable(known[name].size)}" for name in archives],
    )


def _check_examples(
    rows: pd.DataFrame,
    planned: pd.DataFrame,
    config: NihChestXrayConfig,
    unread: Sequence[str],
    read: Sequence[str],
) -> Check:
    """Checks that there are examples, and counts those of each class in each subset.

    Args:
      rows: The rows of the manifest whose images exist.
      planned: All rows of the manifest.
      config: What would be built.
      unread: Places of archives that are not the NIH's own and were not read.
      read: Places of those that were read. What they lack a build learns too late to leave a subset out.
    """
    counts = summarise(rows, config)["counts"]
    lines = [
        f"{subset}: {', '.join(f'{name} {number:,}' for name, number in numbers.items())}"
        for subset, numbers in counts.items()
    ]
    if read and (empty := sorted(set(planned["subset"]) - set(rows["subset"]))):
        advice = f"{' and '.join(read)} would have to be extracted, so that a build can leave the subset out"
        return conclude("examples", f"no image of {' and '.join(empty)}", [advice, *lines])
    seen = f"{len(rows):,} from the images that exist{', and what unread archives hold' if unread else ''}"
    return Check("examples", OK if len(rows) or unread else FAILED, seen, tuple(lines))


def _check_room(config: NihChestXrayConfig, examples: int, download: int, data_dir: epath.Path) -> Check:
    """Checks that the disk has room for downloads and dataset, and that the user may write there."""
    need = Need(data_dir, build_size(config, examples), "the records of the dataset")
    try:
        require_room([Need(data_dir / "downloads", download, "the files to download"), need])
    except NoRoomError as error:
        return Check("room", FAILED, "too little", (str(error),))
    if not is_remote(data_dir) and not os.access(existing(data_dir), os.W_OK):
        return Check(
            "room", FAILED, "no permission", (f"{data_dir}: you may not write there; name another --data_dir",)
        )
    return Check("room", OK, f"about {readable(need.size)} for {examples:,} examples in {data_dir}")

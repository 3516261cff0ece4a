"""Source checks: compare a built dataset with the release that it was built from."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import warnings
from collections.abc import Mapping
from typing import Any

import pandas as pd
from etils import epath
from tqdm import tqdm

from nih_chest_xray.building.examples import BrokenImage, Made, fields, try_examples
from nih_chest_xray.building.features import stored_format
from nih_chest_xray.building.parallel import map_in_order, worker_count
from nih_chest_xray.errors import ReleaseError
from nih_chest_xray.planning.manifest import RowsOfSource, rows_of
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.planning.summary import cut_subsets
from nih_chest_xray.release import find, release
from nih_chest_xray.release.sources import StoredImage
from nih_chest_xray.release.tables import needed_tables, read_tables, with_split_lists
from nih_chest_xray.verification.augmentation_check import cutoffs_of
from nih_chest_xray.verification.checks import Dataset
from nih_chest_xray.verification.records import Records, Schema, digest_image
from nih_chest_xray.verification.report import SKIPPED, Check, conclude
from nih_chest_xray.vocabulary import BOTH_EXPERT_FILES, EXPERT_FILES, LABEL_FILES, source_of


@dataclasses.dataclass(frozen=True)
class Planned:
    """The plan of the build, made again from the release and the config in metadata.json.

    Attributes:
      manifest: The manifest rows whose source images are in the records, indexed by `image_name`.
      absent: The cohort's images that are in no record, with `image_name` and `subset`.
      origin: Provenance of the tables; see `Tables`.
    """

    manifest: pd.DataFrame
    absent: pd.DataFrame
    origin: Mapping[str, Any]


def open_release(dataset: Dataset, folder: epath.Path | None) -> release.Release | None:
    """Finds the release in a folder; a synthetic release is drawn and needs none.

    Raises:
      ReleaseError: The folder holds nothing of the release, or an archive is truncated or corrupt.
    """
    if dataset.config is not None and dataset.config.phantom_patients:
        from nih_chest_xray.phantom.release import Phantom  # Not at the top: few datasets are synthetic.

        return Phantom(dataset.config.phantom_patients).as_release()
    if folder is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It does not matter if an archive is repacked: its content is compared.
        tables, resized_to = find.TABLES, None
        if config := dataset.config:
            # Find resized copies too, to report them if the dataset was made from the NIH's own images.
            tables, resized_to = needed_tables(config), config.image_size
        found = find.find_release(folder, release.known_files(), True, tables, resized_to)
    if found.is_empty:
        raise ReleaseError(f"Nothing of the NIH's release is in {folder} or the folders in it.")
    return found


def check_tables(dataset: Dataset, found: release.Release) -> Check:
    """Checks that the release's tables are byte for byte those of the build. The label file may have another name."""
    config, built_from = dataset.require_config(), dataset.metadata["tables"]
    found = with_split_lists(found, config)
    problems = []
    for built_name, table in built_from.items():
        name = (found.label_file or built_name) if built_name == dataset.metadata["label_file"] else built_name
        if name not in found.tables:
            problems.append(f"{name}: is not in {found.place}; put it there if the build downloaded it")
            continue
        digest = hashlib.sha256(found.tables[name].read()).hexdigest()
        if digest != table["sha256"]:
            problems.append(f"{found.tables[name].place}: has SHA-256 {digest}; the dataset's had {table['sha256']}")
    # Only optional ones can be there that the build lacked; alternatives to those that it read make no difference.
    alternatives = {*LABEL_FILES, BOTH_EXPERT_FILES}
    alternatives |= {*EXPERT_FILES.values()} if BOTH_EXPERT_FILES in built_from else set()
    for name in needed_tables(config):
        if name in found.tables.keys() - built_from.keys() - alternatives:
            problems.append(f"{name}: is in {found.place}; the dataset was built without it")
    drawn = ", which the package draws again; --release is ignored" if config.phantom_patients else ""
    return conclude("tables", f"{len(built_from)} of {found.place}{drawn}", problems)


def plan_again(dataset: Dataset, records: Records, found: release.Release) -> Planned:
    """Makes the plan of the build again, for the images that the records have.

    Raises:
      TableError, ReleaseError, CohortError: A table is not valid.
      ValueError: metadata.json lacks what the config needs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The build has warned of these tables; check_tables compares them.
        config = dataset.require_config()
        tables = read_tables(found, config, release.known_files())
        plan = make_plan(tables, config)
    sources = set(records.table["image_name"].map(source_of))
    manifest = plan.of(sources, cutoffs_of(dataset)).manifest.set_index("image_name", drop=False)
    absent = ~plan.cohort["image_name"].isin(sources)
    return Planned(manifest, plan.cohort.loc[absent, ["image_name", "subset"]], tables.origin)


def check_labels(dataset: Dataset, records: Records, planned: Planned) -> Check:
    """Checks that every record's fields are those of the release's tables, and that no planned example is missing."""
    schema, problems = Schema(dataset.info.features), []
    config = dataset.require_config()
    rows = {row.image_name: row for row in rows_of(planned.manifest)}
    missing = dataset.metadata["missing_images"]
    cut = cut_subsets(dataset.metadata)
    # A trial build leaves out examples only in the subsets that it cuts.
    absent = planned.absent[~planned.absent["subset"].isin(cut)]
    if len(absent) > missing or len(planned.absent) < missing:
        # The dataset does not record which of them were missing at the build.
        some = f", such as {absent['image_name'].iloc[0]}" if len(absent) and not missing else ""
        problems.append(
            f"{len(absent):,} images of the config's cohort are in no sound record{some}; {missing:,} were"
            " missing at the build"
        )
    said, measured = (origin.get("radiologists") for origin in (dataset.metadata, planned.origin))
    if said != measured:
        problems.append(f"metadata.json: radiologists is {said}; the release's tables give {measured}")
    present = set(records.table["image_name"])
    broken = set(dataset.metadata.get("broken_images", ()))
    stored_but_broken = sorted(broken.difference(planned.absent["image_name"]))
    problems += [f"{name}: is stored, but was broken at the build" for name in stored_but_broken]
    problems += [
        f"{name}: is planned, but in no sound record"
        for name, row in rows.items()
        if name not in present and row.subset not in cut
    ]
    for stored in records.table.itertuples(index=False):
        row = rows.get(stored.image_name)
        if row is None:
            problems.append(f"{stored.image_name} in {stored.record}: is not in the plan")
            continue
        expected = {"subset": row.subset} | schema.fields(fields(row, config))
        problems += [
            f"{row.image_name}: {name} is {getattr(stored, name)!r} in {stored.record}; the release gives {value!r}"
            for name, value in expected.items()
            if getattr(stored, name) != value
        ]
    return conclude("labels", f"every field except the image in {len(present):,} records", problems)


def check_pixels(
    dataset: Dataset, records: Records, planned: Planned, found: release.Release, images: int | None
) -> Check:
    """Checks that the stored images are what the package now makes from the release's images.

    Args:
      dataset: The dataset.
      records: The dataset's records.
      planned: The plan of its build.
      found: The release.
      images: Number of images to compare, spread over the dataset by a hash of their names; None for all.
    """
    stored = {row.image_name: row for row in records.table.itertuples(index=False)}
    names = sorted(stored.keys() & set(planned.manifest.index), key=_spread)[:images]
    rows_of = RowsOfSource(planned.manifest.loc[names])
    wanted = found.held(frozenset(rows_of))
    config = dataset.require_config()
    if config.image_size is not None:  # So that copies are recognised and not reported as broken.
        config = dataclasses.replace(config, allow_resized_images=True)
    image_format = stored_format(dataset.info.features)

    def compare(image: StoredImage) -> _Compared:
        made = try_examples(image, rows_of[image.name], config)
        if isinstance(made, BrokenImage):
            return _Compared(image.name, problems=(made.problem,))
        return _compare(made, image.place, stored, image_format)

    bar = tqdm(found.images(wanted), "pixels", len(wanted), disable=None)  # None: on a terminal only.
    outcomes = list(map_in_order(compare, bar, worker_count()))
    if not outcomes:
        return Check("pixels", SKIPPED, f"{found.place} has none of the {len(rows_of):,} images to compare with")
    made_from = _sides_at_the_build(dataset, planned)
    now = collections.Counter(outcome.copied_side for outcome in outcomes)
    certain = now == made_from  # Then each image was made from what is found now, even in a mixture.
    problems: list[str] = []
    others = 0
    for outcome in outcomes:
        problems += outcome.problems
        if certain or made_from.keys() == {outcome.copied_side}:
            problems += outcome.differences
        else:
            others += len(outcome.differences)
    same, alike = sum(outcome.same for outcome in outcomes), sum(outcome.alike for outcome in outcomes)
    compared = same + alike + len(problems)
    absent = sum(len(rows_of[source]) for source in rows_of.keys() - {outcome.source_name for outcome in outcomes})
    other = f"made from images of another size ({_words(made_from)}) than {found.place} holds ({_words(now)})"
    if not compared:
        return Check("pixels", SKIPPED, f"{others:,} images were {other}")
    seen = f"{compared:,} of {len(stored):,} images, {same:,} with the bytes of a fresh encode"
    if alike:
        seen += f", {alike:,} with other bytes for the same picture, as other versions of libraries write them"
    if absent:
        seen += f"; for {absent:,} more {found.place} lacks the source"
    if others:
        seen += f"; {others:,} more were {other}"
    if broken := dataset.metadata.get("broken_images"):
        seen += f"; {len(broken):,} source images were broken at the build and are not stored"
    return conclude("pixels", seen, problems)


@dataclasses.dataclass(frozen=True)
class _Compared:
    """How the stored examples of a source image differ from those that are made from it now.

    Attributes:
      source_name: The source image's name.
      copied_side: The side in pixels of the release's image if it is a resized copy; None for the NIH's own.
      same: Number of examples with the same bytes.
      alike: Number of examples with other bytes but the same pixels.
      differences: A text for each example with other pixels.
      problems: What else is wrong, one text each.
    """

    source_name: str
    copied_side: int | None = None
    same: int = 0
    alike: int = 0
    differences: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def _compare(made: Made, place: str, stored: Mapping[str, Any], image_format: str) -> _Compared:
    same, alike, differences, problems = 0, 0, [], []
    for _, name, example in made.examples:
        record, digest = stored[name].record, stored[name].image_digest
        content = bytes(example["image"])  # Raw pixels are an array.
        if digest is None:
            problems.append(f"{name} in {record}: cannot be decoded")
        elif digest.sha256 == hashlib.sha256(content).digest():
            same += 1
        elif digest.same_pixels(digest_image(content, image_format), image_format):
            alike += 1
        else:
            differences.append(f"{name} in {record}: its pixels are not those made from {place}")
    return _Compared(made.source_name, made.copied_side, same, alike, tuple(differences), tuple(problems))


def _sides_at_the_build(dataset: Dataset, planned: Planned) -> collections.Counter[int | None]:
    """Returns the number of source images of the build by their side in pixels; None stands for the NIH's own."""
    copies = dataset.metadata.get("resized_images", {})
    sides: collections.Counter[int | None] = collections.Counter({int(side): n for side, n in copies.items()})
    sides[None] = planned.manifest["source_name"].nunique() - sides.total()
    return +sides


def _words(sides: Mapping[int | None, int]) -> str:
    named = sorted(sides, key=lambda side: side or 0)
    return ", ".join(f"{side} pixels a side" if side else "the NIH's own" for side in named)


def _spread(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()

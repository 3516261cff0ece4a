"""Local build: makes a dataset's records on all cores of one machine, reading each archive once."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import threading
import warnings
from collections.abc import Generator, Iterator

import pandas as pd
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.building import parallel
from nih_chest_xray.building.examples import BrokenImage, Report, broken_error, try_examples
from nih_chest_xray.building.features import make_features
from nih_chest_xray.building.progress import Progress
from nih_chest_xray.building.records import Serializer
from nih_chest_xray.building.size import build_size
from nih_chest_xray.building.sorter import Sorter
from nih_chest_xray.building.tfds_internals import StoreSubset, place_in_subset
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import ReleaseError
from nih_chest_xray.planning.manifest import RowsOfSource
from nih_chest_xray.release.release import Release
from nih_chest_xray.release.sources import StoredImage

WORKERS_PER_ARCHIVE = 8
"""Workers that one archive is read fast enough for: it is unpacked in 0.5 ms an image, and one worker takes 4 ms."""

_STORED_AT_ONCE = 3
"""Subsets whose shards are written at a time: each takes memory for the records that are being sorted."""


@dataclasses.dataclass(frozen=True)
class _Record:
    """An example as it is stored: its subset, its image name, its place in the subset's order, and its bytes."""

    subset: str
    name: str
    place: int
    content: bytes


@dataclasses.dataclass(frozen=True)
class _Made:
    """The records made from one source image, and its side in pixels if it is a resized copy."""

    source_name: str
    records: tuple[_Record, ...]
    copied_side: int | None


@dataclasses.dataclass
class _Subset:
    """The state of a subset.

    Attributes:
      left: How many of its planned examples are neither made nor known to be broken.
      wanted: How many are still to be stored: in a trial build fewer than are left.
      sorter: Its records.
      stored: What storing them gives, once that has begun.
    """

    left: int
    wanted: int
    sorter: Sorter
    stored: concurrent.futures.Future[tfds.core.SplitInfo] | None = None


class LocalBuild:
    """Makes the records of all subsets in one pass over the images.

    Threads read, decode, encode and serialise; the thread that calls `write` puts the records into files, and another
    one for each subset writes its shards as soon as the subset is complete. Images in separate files are read subset
    after subset, so that the shards of one are written while the next one is made. An archive holds images of all
    subsets, and is read once.

    Broken images are left out if the config allows missing images. If it does not, no more records are made after the
    first broken image. The remaining images are only checked, so that one error names all broken ones.
    """

    def __init__(
        self,
        release: Release,
        manifest: pd.DataFrame,
        config: NihChestXrayConfig,
        folder: epath.Path,
        cap: int | None = None,
    ) -> None:
        """Prepares the build; reads nothing yet.

        Args:
          release: The release.
          manifest: The examples to make, one row each.
          config: The config to build.
          folder: The folder in which the dataset is made.
          cap: The largest number of examples in a subset, for a trial build; None for all.
        """
        self._release = release
        self._rows = RowsOfSource(manifest)
        self._sources = {subset: frozenset(rows["source_name"]) for subset, rows in manifest.groupby("subset")}
        self._config = config
        self._cap = cap
        self._workers = parallel.worker_count()
        self._serialize = Serializer(make_features(config))
        self._subsets: dict[str, _Subset] = {}
        planned = manifest["subset"].value_counts()
        for subset in (subset for subset in config.subsets if subset in planned):
            wanted = min(planned[subset], planned[subset] if cap is None else cap)
            self._subsets[subset] = _Subset(planned[subset], wanted, Sorter(folder, build_size(config, wanted)))
        self._storing = concurrent.futures.ThreadPoolExecutor(_STORED_AT_ONCE, "nih_chest_xray_writer")
        self._stopped = threading.Event()
        self._names: set[str] = set()
        self._broken: list[BrokenImage] = []
        self._copied_sides: dict[str, int] = {}
        self._failed = False

    def write(self, store: StoreSubset, shown: Progress) -> dict[str, tfds.core.SplitInfo]:
        """Makes all examples and stores them.

        Args:
          store: Writes the shards of a subset.
          shown: The bar.

        Returns:
          What `store` returned for each subset, except those of which nothing could be made.

        Raises:
          ImageError: Images of any subset are broken, and the config does not allow missing images.
          ReleaseError: A source is truncated or corrupt, or the system cannot read it.
        """
        try:
            self._make(store, shown)
        except ReleaseError as error:
            if self._failed:
                raise broken_error(self._broken, f"Images after these were not checked: {error}") from error
            raise
        if self._failed:
            raise broken_error(self._broken)
        self._store_complete(store, shown, at_end=True)
        return {name: subset.stored.result() for name, subset in self._subsets.items() if subset.stored}

    def broken(self) -> tuple[BrokenImage, ...]:
        """Returns the broken images found so far, sorted by name."""
        return tuple(sorted(self._broken))

    def report(self) -> Report:
        """Returns what was made."""
        archives = (source for source in self._release.sources if source.one_pass)
        digests = {archive.place: archive.sha256 for archive in archives if archive.sha256}
        return Report(frozenset(self._names), digests, self.broken(), self._copied_sides)

    def close(self) -> None:
        """Stops all threads and removes the waiting records. Call it in every case, even after an interruption."""
        self._stopped.set()
        self._storing.shutdown(cancel_futures=True)
        for subset in self._subsets.values():
            subset.sorter.close()

    def _make(self, store: StoreSubset, shown: Progress) -> None:
        with (
            contextlib.closing(self._images()) as images,
            contextlib.closing(parallel.map_in_order(self._try, images, self._workers)) as results,
        ):
            for made in results:
                if isinstance(made, BrokenImage):
                    self._note(made)
                elif not self._failed:
                    self._keep(made, shown)
                    self._store_complete(store, shown)
                # A whole build reads its archives to the end, for their digests.
                if (
                    self._cap is not None
                    and not self._failed
                    and not any(subset.wanted for subset in self._subsets.values())
                ):
                    return

    def _images(self) -> Generator[StoredImage, None, None]:
        read: set[str] = set()
        for names in [self._sources[subset] for subset in self._subsets]:
            yield from filter(self._is_wanted, self._release.images(names - read, one_pass=False))
            read |= names
        # A trial build takes the first images, which have to be the same ones each time.
        archives = 1 if self._cap is not None else 1 + self._workers // WORKERS_PER_ARCHIVE
        passes = self._release.passes(frozenset(self._rows))
        yield from filter(self._is_wanted, parallel.side_by_side(passes, archives))

    def _is_whole_trial(self) -> bool:
        """Returns whether a trial build has all it takes; any other reads archives to the end, for their digests."""
        return self._cap is not None and not self._failed and not any(each.wanted for each in self._subsets.values())

    def _is_wanted(self, image: StoredImage) -> bool:
        if self._cap is None or self._failed:
            return True
        return any(self._subsets[row.subset].wanted for row in self._rows[image.name])

    def _try(self, image: StoredImage) -> _Made | BrokenImage:
        made = try_examples(image, () if self._failed else self._rows[image.name], self._config)
        if isinstance(made, BrokenImage):
            return made
        records = (
            _Record(subset, name, place_in_subset(subset, name), self._serialize(example))
            for subset, name, example in made.examples
        )
        return _Made(made.source_name, tuple(records), made.copied_side)

    def _keep(self, made: _Made, shown: Progress) -> None:
        for record in made.records:
            subset = self._subsets[record.subset]
            subset.left -= 1
            if subset.wanted:
                subset.wanted -= 1
                subset.sorter.add(record.place, record.content)
                self._names.add(record.name)
                shown.made()
                if made.copied_side:
                    self._copied_sides[made.source_name] = made.copied_side

    def _store_complete(self, store: StoreSubset, shown: Progress, at_end: bool = False) -> None:
        """Begins to store the subsets that are complete, at the end all. Raises what storing another has raised."""
        for name, subset in self._subsets.items():
            if subset.stored is not None:
                if subset.stored.done():
                    subset.stored.result()
            elif subset.sorter.count and (at_end or not (subset.left and subset.wanted)):
                records = self._counted(subset.sorter.drain(), shown)
                subset.stored = self._storing.submit(store, name, records, subset.sorter.count, subset.sorter.size)

    def _counted(self, records: Iterator[bytes], shown: Progress) -> Iterator[bytes]:
        for record in records:
            if self._stopped.is_set():
                raise InterruptedError("the build was stopped")
            yield record
            shown.stored()

    def _note(self, broken: BrokenImage) -> None:
        self._broken.append(broken)
        for row in self._rows[broken.source_name]:
            self._subsets[row.subset].left -= 1
        if not self._failed and not self._config.allow_missing_images:
            self._failed = True
            warnings.warn(
                f"{broken.problem}. No dataset is made. The remaining images are checked, so that the error names all"
                " broken ones.",
                stacklevel=2,
            )

"""Local build: makes a dataset's examples on all cores of one machine, reading each archive once."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import pandas as pd
from etils import epath

from nih_chest_xray.building import parallel
from nih_chest_xray.building.examples import BrokenImage, Made, Report, broken_error, try_examples
from nih_chest_xray.building.spool import Spool
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import ReleaseError
from nih_chest_xray.planning.manifest import RowsOfSource
from nih_chest_xray.release.release import Release
from nih_chest_xray.release.sources import StoredImage

Keyed = tuple[str, dict[str, Any]]
"""An example's key, which is its image name, and the example."""


class LocalBuild:
    """Makes the examples of each subset in turn.

    TFDS asks for one subset after another. Images in separate files are read when their subset is requested. An archive
    holds images of all subsets. It is read once, while the first subset is made. Encoded examples of other subsets than
    the one requested wait on disk: most of an archive's, and the copies of a fold.

    Broken images are left out if the config allows missing images. If it does not, no more examples are made after the
    first broken image. The remaining images are only checked, so that one error names all broken ones.
    """

    def __init__(
        self, release: Release, manifest: pd.DataFrame, config: NihChestXrayConfig, folder: epath.Path
    ) -> None:
        """Prepares the build; reads nothing yet.

        Args:
          release: The release.
          manifest: The examples to make, one row each.
          config: The config to build.
          folder: The folder in which the dataset is made. Examples that wait are kept there.
        """
        self._release = release
        self._rows = RowsOfSource(manifest)
        self._sources = {subset: frozenset(rows["source_name"]) for subset, rows in manifest.groupby("subset")}
        self._config = config
        self._folder = folder
        self._workers = parallel.worker_count()
        self._waiting: dict[str, Spool] = {}
        wanted = frozenset(self._rows)
        self._from_archives = self._make(release.images(wanted, one_pass=True))
        self._made: list[Generator] = [self._from_archives]
        self._names: set[str] = set()
        self._broken: list[BrokenImage] = []
        self._copied_sides: dict[str, int] = {}
        self._begun: set[str] = set()
        self._read: set[str] = set()
        self._failed = False

    def examples(self, subset: str) -> Iterator[Keyed]:
        """Yields the examples of a subset.

        Raises:
          ImageError: Images of any subset are broken, and the config does not allow missing images.
          ReleaseError: A source is truncated or corrupt, or the system cannot read it.
        """
        try:
            for key, example in self._examples(subset):
                self._names.add(key)
                yield key, example
            if self._failed:
                self._check_remaining_images()
        except ReleaseError as error:
            if self._failed:
                raise broken_error(self._broken, f"Images after these were not checked: {error}") from error
            raise
        if self._failed:
            raise broken_error(self._broken)

    def broken(self) -> tuple[BrokenImage, ...]:
        """Returns the broken images found so far, sorted by name."""
        return tuple(sorted(self._broken))

    def report(self) -> Report:
        """Returns what was made. Only the examples that were yielded count."""
        archives = (source for source in self._release.sources if source.one_pass)
        digests = {archive.place: archive.sha256 for archive in archives if archive.sha256}
        return Report(frozenset(self._names), digests, self.broken(), self._copied_sides)

    def close(self) -> None:
        """Stops all threads and removes the waiting examples. Call it in every case, even after an interruption."""
        for made in self._made:
            made.close()
        for spool in self._waiting.values():
            spool.close()

    def _examples(self, subset: str) -> Iterator[Keyed]:
        self._begun.add(subset)
        directly = self._make(self._release.images(self._sources[subset] - self._read, one_pass=False))
        self._made.append(directly)
        if subset in self._waiting and not self._failed:
            yield from self._waiting[subset].drain()
        for its_subset, key, example in itertools.chain(directly, self._from_archives):
            if its_subset == subset:
                yield key, example
            else:
                self._spool(its_subset).push((key, example))

    def _check_remaining_images(self) -> None:
        for subset in self._sources:
            if subset not in self._begun:
                for _ in self._examples(subset):
                    pass

    def _spool(self, subset: str) -> Spool:
        if subset not in self._waiting:
            self._waiting[subset] = Spool(self._folder)
        return self._waiting[subset]

    def _make(self, images: Iterator[StoredImage]) -> Generator[tuple[str, str, dict[str, Any]], None, None]:
        """Yields subset, key and example of each manifest row of the images, in their order."""
        with contextlib.closing(parallel.map_in_order(self._try, images, self._workers)) as results:
            for made in results:
                if isinstance(made, BrokenImage):
                    self._note(made)
                elif not self._failed:
                    if made.copied_side:
                        self._copied_sides[made.source_name] = made.copied_side
                    yield from made.examples
                # Not before: where a trial build stops in the middle, the copies are made from the image read again.
                self._read.add(made.source_name)

    def _try(self, image: StoredImage) -> Made | BrokenImage:
        return try_examples(image, () if self._failed else self._rows[image.name], self._config)

    def _note(self, broken: BrokenImage) -> None:
        self._broken.append(broken)
        if not self._failed and not self._config.allow_missing_images:
            self._failed = True
            warnings.warn(
                f"{broken.problem}. No dataset is made. The remaining images are checked, so that the error names all"
                " broken ones.",
                stacklevel=2,
            )

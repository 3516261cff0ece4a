"""Local build: makes a dataset's examples on all cores of one machine, reading each archive once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pandas as pd
from etils import epath

from nih_chest_xray import parallel
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.examples import make_examples
from nih_chest_xray.manifest import RowsOfSource
from nih_chest_xray.release import Release
from nih_chest_xray.sources import StoredImage
from nih_chest_xray.spool import Spool

Keyed = tuple[str, dict[str, Any]]
"""An example and its key, which is the image name."""


class LocalBuild:
    """The examples of each subset, in turn.

    TFDS wants one subset after the other. Images that lie in files of their own are read when their subset is wanted.
    An archive holds images of all subsets: it is read once, while the first subset is made, and examples of the others
    wait on disk, encoded.
    """

    def __init__(
        self, release: Release, manifest: pd.DataFrame, config: NihChestXrayConfig, folder: epath.Path
    ) -> None:
        """Reads nothing yet.

        Args:
          release: Where images are.
          manifest: What is to be made.
          config: How.
          folder: Where the dataset is made, for what has to wait.
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
        self._made: list[Iterator] = [self._from_archives]
        self._names: set[str] = set()

    def examples(self, subset: str) -> Iterator[Keyed]:
        """Yields the examples of a subset."""
        for key, example in self._examples(subset):
            self._names.add(key)
            yield key, example

    def report(self) -> tuple[frozenset[str], dict[str, str]]:
        """Returns the names of the examples that were yielded, and the digests of the archives read, by place."""
        archives = (source for source in self._release.sources if source.one_pass)
        return frozenset(self._names), {archive.place: archive.sha256 for archive in archives if archive.sha256}

    def close(self) -> None:
        """Stops all threads and removes what waits. To be called in any case, also after an interruption."""
        for made in self._made:
            made.close()
        for spool in self._waiting.values():
            spool.close()

    def _examples(self, subset: str) -> Iterator[Keyed]:
        directly = self._make(self._release.images(self._sources[subset], one_pass=False))
        self._made.append(directly)
        for _, key, example in directly:
            yield key, example
        if subset in self._waiting:
            yield from self._waiting[subset].drain()
        for its_subset, key, example in self._from_archives:
            if its_subset == subset:
                yield key, example
            else:
                self._spool(its_subset).push((key, example))

    def _spool(self, subset: str) -> Spool:
        if subset not in self._waiting:
            self._waiting[subset] = Spool(self._folder)
        return self._waiting[subset]

    def _make(self, images: Iterator[StoredImage]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yields subset, key and example of each manifest row of the images, in their order."""
        with contextlib.closing(parallel.map_in_order(self._examples_of, images, self._workers)) as made:
            for examples in made:
                yield from examples

    def _examples_of(self, image: StoredImage) -> list[tuple[str, str, dict[str, Any]]]:
        rows = self._rows[image.name]
        examples = make_examples(image.read(), image.place, rows, self._config)
        return [(row.subset, key, example) for row, (key, example) in zip(rows, examples, strict=True)]

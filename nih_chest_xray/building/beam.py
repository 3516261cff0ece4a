"""Beam build: makes a dataset's examples with Apache Beam, where one machine is not enough.

The table of what is to be made is written to the dataset's own folder, which every worker has to see anyway. A worker
is sent the names of two small files for each of its tasks: a task is an archive, or some hundred images.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pickle
from collections.abc import Collection, Iterator
from typing import Any

import apache_beam as beam
import pandas as pd
from etils import epath

from nih_chest_xray.building.examples import BrokenImage, Report, try_examples
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.images.augmentation import get_augmentation, register
from nih_chest_xray.planning.manifest import RowsOfSource
from nih_chest_xray.release.release import Release
from nih_chest_xray.system.removal import BEAM_TASKS, remove
from nih_chest_xray.vocabulary import SUBSETS, source_of

_IMAGES_PER_TASK = 500
_ARCHIVES = "archives"

Made = tuple[str, tuple[int, str, dict[str, Any], int | None]]
"""Key, and number of the task, subset, example and pixels a side of a resized copy."""


class BeamBuild:
    """The examples of each subset, as parts of one pipeline that reads everything once."""

    def __init__(
        self, release: Release, manifest: pd.DataFrame, config: NihChestXrayConfig, folder: epath.Path
    ) -> None:
        """Writes the tasks.

        Args:
          release: Where images are. Workers have to see these places.
          manifest: What is to be made.
          config: How.
          folder: Where the dataset is made; workers have to see it.
        """
        self._config = config
        self._folder = folder / "beam"
        self._folder.mkdir()
        self._tables: dict[frozenset[str], str] = {}
        self._tasks: list[tuple[int, str, str]] = []
        self._several_may_hold_an_image = False
        self._made: dict[str, beam.PCollection] = {}
        for source, names in release.shares(frozenset(manifest["source_name"])):
            self._several_may_hold_an_image |= not source.certain
            for part in [sorted(names)] if source.one_pass else _parts(sorted(names)):
                table = self._table(manifest, frozenset(part))
                task = self._folder / f"source-{len(self._tasks):05d}.pickle"
                task.write_bytes(pickle.dumps(source.part(part)))
                self._tasks.append((len(self._tasks), str(task), table))

    def examples(self, subset: str) -> beam.PTransform:
        """Returns a transform that gives the keys and examples of a subset."""
        return _Subset(self, subset)

    def report(self) -> Report:
        """Returns, after the pipeline has run, what was made."""
        sides = dict(json.loads((self._folder / "names.json").read_text()))
        archives = json.loads((self._folder / "archives.json").read_text())
        made = {source_of(name) for name in sides}
        # Of an image that is broken in one archive and whole in another, the whole one was taken.
        broken = tuple(each for each in self.broken() if each.source_name not in made)
        copied = {source: side for name, side in sides.items() if side and (source := source_of(name))}
        return Report(frozenset(sides), dict(archives), broken, copied)

    def broken(self) -> tuple[BrokenImage, ...]:
        """Returns the broken images that the tasks have met so far, also where the pipeline failed."""
        files = sorted(self._folder.glob("broken_*.json"))
        return tuple(sorted({BrokenImage(*each) for file in files for each in json.loads(file.read_text())}))

    def close(self) -> None:
        """Removes what was written for the workers."""
        remove(self._folder, BEAM_TASKS, within=self._folder.parent)

    def made(self, pipeline: beam.Pipeline, subset: str) -> beam.PCollection:
        """Returns the examples of a subset, as `Made`. The subsets share what gives the examples of all."""
        if not self._made:
            results = (
                pipeline
                | "Tasks" >> beam.Create(self._tasks)
                | "SpreadTasks" >> beam.Reshuffle()
                | "MakeExamples"
                >> beam.ParDo(_MakeExamples(self._config, str(self._folder))).with_outputs(_ARCHIVES, main="examples")
            )
            examples = results.examples
            if self._several_may_hold_an_image:
                examples |= "GroupByName" >> beam.GroupByKey() | "TakeFirst" >> beam.MapTuple(_first)
            by_subset = examples | "BySubset" >> beam.Partition(_subset_number, len(SUBSETS))  # type: ignore[arg-type]
            self._made = dict(zip(SUBSETS, by_subset, strict=True))
            for name, collection in (
                ("names", examples | "Names" >> beam.MapTuple(_name_and_side)),
                (_ARCHIVES, results[_ARCHIVES]),
            ):
                write = functools.partial(_write_json, str(self._folder / f"{name}.json"))
                _ = collection | f"List_{name}" >> beam.combiners.ToList() | f"Write_{name}" >> beam.Map(write)
        return self._made[subset]

    def _table(self, manifest: pd.DataFrame, names: frozenset[str]) -> str:
        """Returns the file that holds the images' rows. Archives that may hold the same images share one."""
        if names not in self._tables:
            path = self._folder / f"rows-{len(self._tables):05d}.pickle"
            path.write_bytes(pickle.dumps(manifest[manifest["source_name"].isin(names)]))
            self._tables[names] = str(path)
        return self._tables[names]


class _Subset(beam.PTransform):
    def __init__(self, build: BeamBuild, subset: str) -> None:
        super().__init__()
        self._build = build
        self._subset = subset

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        return self._build.made(begin.pipeline, self._subset) | beam.MapTuple(_key_and_example)


class _MakeExamples(beam.DoFn):
    """Makes the examples of a task, gives the digest of an archive, and writes down which images are broken."""

    def __init__(self, config: NihChestXrayConfig, folder: str) -> None:
        super().__init__()
        self._config = config
        self._folder = folder
        # A user's own are registered by a module that workers need not have.
        self._augmentations = [get_augmentation(name) for name in config.augmentations]

    def setup(self) -> None:
        for augmentation in self._augmentations:
            register(augmentation)

    def process(self, task: tuple[int, str, str]) -> Iterator[Made | beam.pvalue.TaggedOutput]:
        number, source_file, table = task
        source = pickle.loads(epath.Path(source_file).read_bytes())
        rows_of = _read_table(table)
        broken = []
        for image in source.images(frozenset(rows_of)):
            made = try_examples(image, rows_of[image.name], self._config)
            if isinstance(made, BrokenImage):
                broken.append(dataclasses.astuple(made))
                continue
            for subset, key, example in made.examples:
                yield key, (number, subset, example, made.copied_side)
        if broken:  # In a file, not an output: a pipeline that fails since nothing is left of a subset has no outputs.
            _write_json(f"{self._folder}/broken_{number:05d}.json", broken)
        if source.one_pass:
            yield beam.pvalue.TaggedOutput(_ARCHIVES, (source.place, source.sha256))


@functools.lru_cache(maxsize=2)
def _read_table(path: str) -> RowsOfSource:
    """Reads a table once in a worker, whichever of its tasks need it."""
    return RowsOfSource(pickle.loads(epath.Path(path).read_bytes()))


def _parts(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _IMAGES_PER_TASK):
        yield names[start : start + _IMAGES_PER_TASK]


def _first(key: str, made: Collection[tuple[int, str, dict[str, Any], int | None]]) -> Made:
    """Of an image that several archives hold, takes the first archive's, as a local build does."""
    return key, min(made, key=lambda each: each[0])


def _subset_number(made: Made, _subsets: int) -> int:
    return SUBSETS.index(made[1][1])


def _key_and_example(key: str, made: tuple[int, str, dict[str, Any], int | None]) -> tuple[str, dict[str, Any]]:
    return key, made[2]


def _name_and_side(key: str, made: tuple[int, str, dict[str, Any], int | None]) -> tuple[str, int | None]:
    return key, made[3]


def _write_json(path: str, content: Any) -> None:
    epath.Path(path).write_text(json.dumps(content))

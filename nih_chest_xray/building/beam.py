"""Beam build: makes a dataset's examples with Apache Beam, for when one machine is not enough.

The table of examples to make is written to the dataset's own folder, which every worker must be able to read anyway.
A task is one archive, or a few hundred images. A worker receives the names of two small files for each task.
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
from nih_chest_xray.images.augmentation import entries, register
from nih_chest_xray.planning.manifest import RowsOfSource
from nih_chest_xray.release.release import Release
from nih_chest_xray.system.removal import BEAM_TASKS, remove
from nih_chest_xray.vocabulary import source_of

_IMAGES_PER_TASK = 500
_ARCHIVES = "archives"

Made = tuple[str, tuple[int, str, dict[str, Any], int | None]]
"""An example's key, then its task number, subset, features, and side in pixels if its source is a resized copy."""


class BeamBuild:
    """Makes the examples of all subsets in one pipeline that reads each source once."""

    def __init__(
        self, release: Release, manifest: pd.DataFrame, config: NihChestXrayConfig, folder: epath.Path
    ) -> None:
        """Writes the tasks.

        Args:
          release: The release. Workers must be able to read its files.
          manifest: The examples to make, one row each.
          config: The config to build.
          folder: The folder in which the dataset is made. Workers must be able to read and write it.
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
        """Returns a transform that yields the keys and examples of a subset."""
        return _Subset(self, subset)

    def report(self) -> Report:
        """Returns what was made. Call it after the pipeline has run."""
        sides = dict(json.loads((self._folder / "names.json").read_text()))
        archives = json.loads((self._folder / "archives.json").read_text())
        made = {source_of(name) for name in sides}
        # If an image is broken in one archive and intact in another, the intact one was used.
        broken = tuple(each for each in self.broken() if each.source_name not in made)
        copied = {source: side for name, side in sides.items() if side and (source := source_of(name))}
        return Report(frozenset(sides), dict(archives), broken, copied)

    def broken(self) -> tuple[BrokenImage, ...]:
        """Returns the broken images that the tasks have found so far, even if the pipeline failed."""
        files = sorted(self._folder.glob("broken_*.json"))
        return tuple(sorted({BrokenImage(*each) for file in files for each in json.loads(file.read_text())}))

    def close(self) -> None:
        """Removes the files written for the workers."""
        remove(self._folder, BEAM_TASKS, within=self._folder.parent)

    def made(self, pipeline: beam.Pipeline, subset: str) -> beam.PCollection:
        """Returns the examples of a subset, as `Made`. All subsets share the transforms that make the examples."""
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
            subsets = self._config.subsets
            by_subset = examples | "BySubset" >> beam.Partition(_subset_number, len(subsets), subsets)  # type: ignore[arg-type]
            self._made = dict(zip(subsets, by_subset, strict=True))
            for name, collection in (
                ("names", examples | "Names" >> beam.MapTuple(_name_and_side)),
                (_ARCHIVES, results[_ARCHIVES]),
            ):
                write = functools.partial(_write_json, str(self._folder / f"{name}.json"))
                _ = collection | f"List_{name}" >> beam.combiners.ToList() | f"Write_{name}" >> beam.Map(write)
        return self._made[subset]

    def _table(self, manifest: pd.DataFrame, names: frozenset[str]) -> str:
        """Returns the path of the images' manifest rows. Archives that may hold the same images share a file."""
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
    """Makes the examples of a task, yields the digest of an archive, and records which images are broken."""

    def __init__(self, config: NihChestXrayConfig, folder: str) -> None:
        super().__init__()
        self._config = config
        self._folder = folder
        # A custom augmentation is registered by a module that workers need not have.
        self._augmentations = entries(config.augmentations)

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
        if broken:  # In a file, not an output: a pipeline that fails because a subset is empty has no outputs.
            _write_json(f"{self._folder}/broken_{number:05d}.json", broken)
        if source.one_pass:
            yield beam.pvalue.TaggedOutput(_ARCHIVES, (source.place, source.sha256))


@functools.lru_cache(maxsize=2)
def _read_table(path: str) -> RowsOfSource:
    """Reads a table once in each worker, however many of its tasks need it."""
    return RowsOfSource(pickle.loads(epath.Path(path).read_bytes()))


def _parts(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _IMAGES_PER_TASK):
        yield names[start : start + _IMAGES_PER_TASK]


def _first(key: str, made: Collection[tuple[int, str, dict[str, Any], int | None]]) -> Made:
    """Takes an image that several archives hold from the first of them, as a local build does."""
    return key, min(made, key=lambda each: each[0])


def _subset_number(made: Made, _number: int, subsets: tuple[str, ...]) -> int:
    return subsets.index(made[1][1])


def _key_and_example(key: str, made: tuple[int, str, dict[str, Any], int | None]) -> tuple[str, dict[str, Any]]:
    return key, made[2]


def _name_and_side(key: str, made: tuple[int, str, dict[str, Any], int | None]) -> tuple[str, int | None]:
    return key, made[3]


def _write_json(path: str, content: Any) -> None:
    epath.Path(path).write_text(json.dumps(content))

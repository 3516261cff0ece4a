"""The TFDS builder: says what an example is, which splits there are, and where their examples come from."""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray import downloads, find, manifest, release, removal, transfer
from nih_chest_xray.cohort import SUBSETS, empty_classes
from nih_chest_xray.completeness import SHARD_SIZES, missing_parts, shard_sizes
from nih_chest_xray.config import NAMED_CONFIGS, NihChestXrayConfig
from nih_chest_xray.examples import BrokenImage, broken_error
from nih_chest_xray.features import make_features
from nih_chest_xray.files import ReleaseError, is_remote
from nih_chest_xray.interruption import flush, full_disk_explained, old_kept, only_build
from nih_chest_xray.local_build import LocalBuild
from nih_chest_xray.plan import make_plan, needed_tables
from nih_chest_xray.progress import progress
from nih_chest_xray.room import Need, build_size, require_room
from nih_chest_xray.writer import DeterministicWriter

_LICENCE = (
    "The usage of the data set is unrestricted. But you should provide the link to our original download site,"
    " acknowledge the NIH Clinical Center and provide a citation to our CVPR 2017 paper. (NIH, FAQ)"
)
_LICENCE_OF_PHANTOMS = "Drawn by the package nih_chest_xray, whose code is under the Apache License 2.0."


def _tfds_prepares() -> bool:
    """Returns whether TFDS would build anything: `tfds.testing.mock_data` replaces its method by one that does not."""
    base = tfds.core.DatasetBuilder
    return base.download_and_prepare.__module__ == base.__module__


class Builder(tfds.core.GeneratorBasedBuilder):
    """NIH ChestX-ray14 as a TFDS dataset."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {
        "1.0.0": "First release: configs nodule, nodule_augmented, findings, first_archive, sample and nodule_expert."
    }
    BUILDER_CONFIGS = NAMED_CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    No manual_dir is needed: without one everything is downloaded (12 archives, 45 GB; for the config first_archive one
    of them, 2 GB). If you have the images already, or fetch them with your browser from
    {downloads.RELEASE_PAGE}, name their folder as the manual_dir. It may hold, as it is, any
    of these, or several of them:

    (a) the NIH's archives, not extracted: images_001.tar.gz to images_012.tar.gz (or images_01.tar.gz to
        images_12.tar.gz, as the NIH's download script names them);
    (b) Kaggle's folders: images_001/images/*.png to images_012/images/*.png;
    (c) Kaggle's zip file, not extracted, under any name that ends with .zip;
    (d) one folder with all images: images/*.png, or the *.png alone;
    (e) Kaggle's sample: images/*.png or sample/images/*.png, with sample_labels.csv.

    Images may lie at any depth, and files may bear the names that browsers make, such as "images_001 (1).tar.gz". The
    label file is Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv, or sample_labels.csv); BBox_List_2017.csv, and for
    the official split train_val_list.txt and test_list.txt, lie beside it. Tables that do not exist are downloaded.
    Only the config nodule_expert needs files that you must request yourself: the folder four_findings_expert_labels
    with test_labels.csv and validation_labels.csv, after a form at
    {downloads.EXPERT_PAGE} (Additional labels).

    What a build would find in a folder, and download, says

        nih-chest-xray check DIR --config nodule

    If you have only some of the images, build a config that allows it. No archive is downloaded then:

        tfds build nih_chest_xray --manual_dir DIR --config '{{"name": "my_part", "allow_missing_images": true}}'
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=make_features(self.builder_config),
            supervised_keys=("image", "label"),
            homepage=downloads.RELEASE_PAGE,
            license=_LICENCE_OF_PHANTOMS if self.builder_config.phantom_patients else _LICENCE,
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(
        self, *, download_config: tfds.download.DownloadConfig | None = None, **kwargs: Any
    ) -> None:
        """Builds the dataset; see TFDS's documentation of this method.

        Raises:
          ValueError: A dataset of this name exists, but was built with other choices or as a trial, or what exists is
            not whole and not the package's alone. TFDS by itself would return it.
          BuildInProgressError: Somebody else builds the same dataset in the same place.
          OSError: The disk is full, or the system refuses something else.
        """
        if not _tfds_prepares():
            return
        config = download_config or tfds.download.DownloadConfig()
        mode = config.download_mode
        if mode == tfds.download.GenerateMode.UPDATE_DATASET_INFO or self._reuses(config):
            super().download_and_prepare(download_config=download_config, **kwargs)
            return
        with full_disk_explained(self.data_path), only_build(self.data_path):
            if self._reuses(config):  # Another process has built it in the meantime.
                self.info.read_from_directory(self.data_path)
                return
            if not config.download_mode.overwrite_dataset:
                self._refuse_or_tell_what_is_replaced()
            with old_kept(self.data_path):
                super().download_and_prepare(download_config=download_config, **kwargs)
                flush(self.data_path)  # TFDS has written its own files and renamed the folder.
                flush(self.data_path.parent)

    def _reuses(self, config: tfds.download.DownloadConfig) -> bool:
        """Returns whether the dataset that is asked for exists, so that nothing is built.

        Raises:
          ValueError: A whole dataset exists, but another one than was asked for.
        """
        if not self.data_path.exists() or config.download_mode.overwrite_dataset or missing_parts(self.data_path):
            return False
        metadata = json.loads((self.data_path / "metadata.json").read_text())
        self._refuse_other_choices(metadata)
        self._refuse_trial(metadata, config.max_examples_per_split)
        self._tell_what_is_reused(metadata)
        return True

    def _refuse_or_tell_what_is_replaced(self) -> None:
        """Half a dataset is built anew, unless that could lose something."""
        if not self.data_path.exists():
            return
        if not self.data_path.is_dir():
            raise ValueError(f"{self.data_dir} is not a directory. Move it away and build again.")
        missing = missing_parts(self.data_path)
        what = f"{self.data_dir} is not a whole dataset: {'; '.join(missing[:3])}{'; …' if missing[3:] else ''}."
        if is_remote(self.data_path):
            raise ValueError(f"{what} Complete it, or delete it, and build again.")
        if others := removal.foreign(self.data_path, removal.REPLACED.contents):
            raise ValueError(
                f"{what} It is not built anew, since it holds {others[0]!r}, which no build wrote. Complete it, or move"
                " it away, and build again."
            )
        warnings.warn(f"{what} It is built anew, and removed when the new one is whole.", stacklevel=3)

    def _refuse_trial(self, metadata: Mapping[str, Any], asked: int | None) -> None:
        cap = metadata.get("max_examples_per_split")
        if cap is not None and cap != asked:
            raise ValueError(
                f"{self.data_dir} is a trial build of at most {cap} examples a split. To replace it with a whole one,"
                " use `tfds build --overwrite`; to load it as it is, `tfds.load(…, download=False)`."
            )

    def _refuse_other_choices(self, metadata: Mapping[str, Any]) -> None:
        there = metadata.get("config", {})
        if there:  # A field that the version which built it did not have was what is now the default.
            there = json.loads(json.dumps(NihChestXrayConfig(name="default").choices)) | there
        asked = json.loads(json.dumps(self.builder_config.choices))
        other = [f"{field}={there[field]!r}" for field in asked if field in there and there[field] != asked[field]]
        if other:
            raise ValueError(
                f"{self.data_dir} was built with {', '.join(other)}, which is not what this config"
                f" {self.builder_config.name!r} says. Give the config another name, or replace the dataset with"
                " `tfds build --overwrite`."
            )

    def _tell_what_is_reused(self, metadata: Mapping[str, Any]) -> None:
        """TFDS does not look at the release again, which may be another one by now, or have more images."""
        label_file = metadata.get("label_file")
        official = metadata.get("tables", {}).get(label_file, {}).get("official", True)
        missing = metadata.get("missing_images", 0)
        if missing or not (official or self.builder_config.phantom_patients):
            warnings.warn(
                f"{self.data_dir} is there and is reused as it is, whatever the manual_dir holds now: it was built from"
                f" {'the official' if official else 'an unofficial'} {label_file}, with {missing:,} images missing. To"
                " build it anew, use `tfds build --overwrite`.",
                stacklevel=4,
            )

    def _example_writer(self) -> DeterministicWriter:
        # What is sent to Beam's workers has no bar to move.
        return DeterministicWriter(self.info.file_format, None if self._uses_beam else self._record_stored)

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        self._manual_dir = download_config.manual_dir
        self._uses_beam = bool(download_config.beam_options or download_config.beam_runner)
        # TFDS does not cap what Beam makes.
        self._cap = None if self._uses_beam else download_config.max_examples_per_split
        self._manifest = None
        with contextlib.ExitStack() as self._resources:
            try:
                super()._download_and_prepare(dl_manager, download_config)
            except Exception as error:
                if self._uses_beam and self._manifest is not None:
                    self._refuse_empty_subsets(self._build.broken(), error)
                raise
            if self._manifest is not None:
                # TFDS renames this folder when all is done, so what is written appears with the dataset or not at all.
                self._write_metadata(self._cap)
            flush(self.data_path)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        config: NihChestXrayConfig = self.builder_config
        known = release.known_files()
        fetch = functools.partial(transfer.fetch, epath.Path(dl_manager.download_dir) / self.name)
        found = self._find_release(dl_manager, known)
        found = downloads.complete_tables(found, config, known, fetch)
        plan = make_plan(found, config, known)
        images = frozenset(plan.cohort["image_name"])
        planned = manifest.make_manifest(plan.cohort, config, plan.boxes)
        if not config.allow_missing_images:
            fetch = functools.partial(fetch, also_needed=[self._needed_room(planned)])
            found = downloads.complete_images(found, images, known, fetch)
        if found.aside:
            warnings.warn(f"The build goes on without some files.{found.not_taken()}", stacklevel=2)
        self._release, self._plan = found, plan
        self._manifest = planned[planned["source_name"].isin(found.held(images))].reset_index(drop=True)
        if self._manifest.empty:
            raise ReleaseError(
                f"{found.place} holds none of the images that config {config.name!r} needs.{found.not_taken()}"
            )
        require_room([self._needed_room(self._manifest)])
        self._tell_what_is_missing(self._manifest)
        # TFDS does not write empty subsets, which only a build from a part of the images can have.
        subsets = [subset for subset in SUBSETS if (self._manifest["subset"] == subset).any()]
        if self._uses_beam:
            from nih_chest_xray.beam_build import BeamBuild  # Not at the top: importing Beam takes a second.

            self._build = BeamBuild(found, self._manifest, config, self.data_path)
        else:
            self._build = LocalBuild(found, self._manifest, config, self.data_path)
            name = f"{self.name}/{config.name}"
            self._progress = self._resources.enter_context(progress(name, len(self._manifest)))
        self._resources.callback(self._build.close)
        return {subset: self._generate_examples(subset) for subset in subsets}

    def _generate_examples(self, subset: str) -> Any:
        return self._build.examples(subset) if self._uses_beam else self._generate_locally(subset)

    def _generate_locally(self, subset: str) -> Iterator[tuple[str, dict[str, Any]]]:
        empty = True
        for key, example in self._build.examples(subset):
            empty = False
            self._progress.made()
            yield key, example
        if empty:
            self._refuse_empty_subsets(self._build.report().broken)
            raise ReleaseError(
                f"{self._release.place} holds no image of the subset {subset!r}, and TFDS stores no empty one. Add"
                " archives, or extract the one you have: what a folder holds is known before the build, which can then"
                " leave the subset out."
            )

    def _needed_room(self, planned: pd.DataFrame) -> Need:
        examples = len(planned) if self._cap is None else min(len(planned), self._cap * len(SUBSETS))
        return Need(self.data_dir_root, build_size(self.builder_config, examples), "the records of the dataset")

    def _record_stored(self) -> None:
        self._progress.stored()

    def _write_metadata(self, cap: int | None) -> None:
        """Writes metadata.csv and fills metadata.json, both with what was really made.

        Args:
          cap: Examples that TFDS takes of each subset at most, for a trial build; None for all.
        """
        report = self._build.report()
        if report.broken and not self.builder_config.allow_missing_images:
            raise broken_error(report.broken)
        repacked = self._release.repacked(report.digests)
        broken = sorted(image.source_name for image in report.broken)
        planned = self._manifest[~self._manifest["source_name"].isin(broken)]
        made = planned["image_name"].isin(report.names)
        if cap is None and not made.all():
            self._refuse_or_tell_what_was_not_found(planned[~made], planned[made], len(broken))
        for name, digest in repacked.items():
            warnings.warn(
                f"{self._release.place}/{name} has SHA-256 {digest}, which is none of the NIH's archives'. It read"
                " cleanly to its end and was used as it is.",
                stacklevel=2,
            )
        written = planned[made]
        (self.data_path / "metadata.csv").write_text(manifest.metadata_csv(written))
        missing = len(self._plan.cohort) - (written if cap is None else planned)["source_name"].nunique()
        sources = written["source_name"].unique()
        resized = collections.Counter(report.copied_sides[name] for name in sources if name in report.copied_sides)
        self.info.metadata.clear()
        self.info.metadata.update(
            manifest.summarise(written, self.builder_config)
            | self._plan.origin
            | {
                "config": {"name": self.builder_config.name, **self.builder_config.choices},
                "missing_images": missing,
                "broken_images": broken,
                "resized_images": {str(side): number for side, number in sorted(resized.items())},
                "max_examples_per_split": cap,
                SHARD_SIZES: shard_sizes(self.data_path, self.info),
                "repacked_archives": repacked,
                "versions": {
                    "nih_chest_xray": str(self.version),
                    "python": platform.python_version(),
                    "numpy": np.__version__,
                    "pandas": pd.__version__,
                },
            }
        )

        if resized:
            self._tell_what_is_resized(resized)
        if broken:
            self._tell_what_is_broken(report.broken, written)

    def _find_release(
        self, dl_manager: tfds.download.DownloadManager, known: dict[str, release.KnownFile]
    ) -> release.Release:
        """Looks into the manual_dir. Without one, everything is missing; one that was named has to hold something."""
        config: NihChestXrayConfig = self.builder_config
        if config.phantom_patients:
            from nih_chest_xray import phantom  # Not at the top: only builds of a phantom need to know how to draw.

            return phantom.Phantom(config.phantom_patients).as_release()
        try:
            folder = epath.Path(dl_manager.manual_dir)
        except (AssertionError, NotADirectoryError):  # TFDS asserts that the folder exists and is not empty.
            if self._manual_dir:
                folder = epath.Path(self._manual_dir).expanduser()
                problem = (
                    "is empty" if folder.is_dir() else "is not a directory" if folder.exists() else "does not exist"
                )
                raise ReleaseError(
                    f"The manual_dir {folder} {problem}. What it may hold:\n{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                ) from None
            return release.Release(place="the manual_dir (none was given)")
        resized_to = config.image_size if config.allow_resized_images else None
        found = find.find_release(folder, known, config.allow_missing_images, needed_tables(config), resized_to)
        if self._manual_dir and not found.tables and not found.sources and not found.refused:
            raise ReleaseError(
                f"Nothing of the NIH's release is in the manual_dir {folder} or the folders in it: no label file, no"
                f" archive, no image.{found.not_taken()} What it may hold:\n{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        return found

    def _refuse_empty_subsets(self, broken: Sequence[BrokenImage], cause: Exception | None = None) -> None:
        """Refuses to go on if all planned images of a subset are broken."""
        whole = self._manifest[~self._manifest["source_name"].isin({image.source_name for image in broken})]
        if empty := [subset for subset in self._manifest["subset"].unique() if subset not in set(whole["subset"])]:
            raise broken_error(
                broken,
                f"Nothing is left of the subset {' and of '.join(empty)}, and TFDS stores no empty one. Get these"
                " images again.",
            ) from cause

    def _refuse_or_tell_what_was_not_found(self, lost: pd.DataFrame, made: pd.DataFrame, broken: int) -> None:
        """What an archive holds that is not the NIH's own shows when it was read."""
        if not self.builder_config.allow_missing_images:
            raise ReleaseError(
                f"{lost['source_name'].nunique():,} images that this config needs were not in the archives of"
                f" {self._release.place} ({', '.join(sorted(lost['source_name'])[:3])}, …). Get them again from the"
                ' NIH\'s page, or build from what is there with "allow_missing_images": true.'
            )
        self._tell_what_is_missing(made, broken)

    def _tell_what_is_resized(self, resized: Mapping[int, int]) -> None:
        sides = ", ".join(f"{number:,} from copies of {side} pixels a side" for side, number in sorted(resized.items()))
        warnings.warn(
            f"{sum(resized.values()):,} images were made from resized copies ({sides}), not from the NIH's pixels.",
            stacklevel=2,
        )

    def _tell_what_is_broken(self, broken: Sequence[BrokenImage], written: pd.DataFrame) -> None:
        counts = manifest.summarise(written, self.builder_config)["counts"]
        warnings.warn(
            f"{len(broken):,} broken images are left out, with their augmented copies:"
            f" {'; '.join(image.problem for image in broken[:3])}{'; …' if broken[3:] else ''}. All are listed in"
            f" metadata.json's broken_images. Without them there are: {json.dumps(counts)}.",
            stacklevel=2,
        )

    def _tell_what_is_missing(self, present: pd.DataFrame, broken: int = 0) -> None:
        needed = len(self._plan.cohort)
        if missing := needed - broken - present["source_name"].nunique():
            summary = manifest.summarise(present, self.builder_config)
            absent = [subset for subset in SUBSETS if not summary["examples"][subset]]
            without = f" The dataset will have no subset {' and no '.join(absent)}." if absent else ""
            warnings.warn(
                f"{missing:,} of the {needed:,} images of config {self.builder_config.name!r} are not in"
                f" {self._release.place}. Without them there are: {json.dumps(summary['counts'])}.{without}"
                f" {empty_classes(present, self.builder_config)}".rstrip(),
                stacklevel=2,
            )

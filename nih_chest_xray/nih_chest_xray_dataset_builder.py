"""The TFDS builder: the schema, the splits, and where their examples come from."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray.building.completeness import shard_sizes
from nih_chest_xray.building.examples import BrokenImage, ExampleMaker, Report, broken_error, plain_fields
from nih_chest_xray.building.examples_csv import examples_csv
from nih_chest_xray.building.existing import is_reusable, refuse_to_lose_files
from nih_chest_xray.building.features import make_features
from nih_chest_xray.building.local import LocalBuild
from nih_chest_xray.building.locking import flush, full_disk_explained, old_kept, only_build
from nih_chest_xray.building.metadata import (
    make_metadata,
    resized_sides,
    warn_of_broken,
    warn_of_missing,
    warn_of_repacked,
    warn_of_resized,
)
from nih_chest_xray.building.progress import progress
from nih_chest_xray.building.size import build_size
from nih_chest_xray.building.tfds_internals import (
    HookedBuilder,
    StoreSubset,
    bars_are_on,
    builds_are_mocked,
    uses_beam,
)
from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import ReleaseError
from nih_chest_xray.named_configs import NAMED_CONFIGS
from nih_chest_xray.planning.manifest import metadata_csv, rows_of
from nih_chest_xray.planning.plan import make_plan
from nih_chest_xray.reading.source import open_sources
from nih_chest_xray.release import downloads, transfer
from nih_chest_xray.release.release import KnownFile, Release, known_files
from nih_chest_xray.release.tables import find_for_config, read_tables
from nih_chest_xray.system.disk_space import Need, require_room
from nih_chest_xray.system.paths import is_remote

_LICENCE = (
    "The usage of the data set is unrestricted. But you should provide the link to our original download site,"
    " acknowledge the NIH Clinical Center and provide a citation to our CVPR 2017 paper. (NIH, FAQ)"
)
_MANUAL_DIR = (
    "It may hold the NIH's archives, Kaggle's folders or zip file, or images in one folder; `nih-chest-xray check DIR`"
    " says what a build finds in a folder. Without a manual_dir everything is downloaded."
)
_LICENCE_OF_PHANTOMS = "Drawn by the package nih_chest_xray, whose code is under the Apache License 2.0."


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """The inputs of a build.

    Attributes:
      release: The release that holds the images.
      origin: Provenance of the tables; see `Tables`.
      cohort: The images that the config keeps.
      manifest: The rows of the examples whose images the release holds.
      cutoffs: Which training negatives are augmented in place; see `matching.matched_cutoffs`.
    """

    release: Release
    origin: Mapping[str, Any]
    cohort: pd.DataFrame
    manifest: pd.DataFrame
    cutoffs: Mapping[str, float]


@dataclasses.dataclass
class _Build:
    """The state of a running build.

    Attributes:
      manual_dir: The folder that the user named, if any.
      uses_beam: Whether Beam makes the examples.
      cap: The limit of examples per subset, for a trial build; None for no limit.
      resources: Closed when the build ends, with or without an error.
      inputs: The inputs, once they are known.
      maker: Makes the examples, from then on.
    """

    manual_dir: epath.Path | None
    uses_beam: bool
    cap: int | None
    resources: contextlib.ExitStack
    inputs: _Inputs | None = None
    maker: ExampleMaker | None = None


class Builder(HookedBuilder):
    """NIH ChestX-ray14 as a TFDS dataset."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {
        "2.0.0": "Every example has one shape, so that .batch() works: findings is multi-hot (14,), bboxes has a fixed"
        " length (max_boxes). The task nodule is called binary, with the fields positive and negative. New: the feature"
        " mm_per_pixel, the file examples.csv, the split folds, the fields based_on, one_image_per_patient and"
        " jpeg_quality, images stored as raw pixels, the config nodule_augmented_matched, in which augmentation says"
        " nothing of the class, six more"
        " built-in augmentations, each with a field for its range, and chains of them. Rotation angles keep away from"
        " 0. All that radiologists said: nodule_expert has expert_labels, reader_votes, expert_findings and"
        " nodule_votes. The config nodule_expert_rest, the split expert_all for nodules alone, and in metadata.json how"
        " far radiologists agree.",
        "1.0.0": "First release: configs nodule, nodule_augmented, findings, first_archive, sample and nodule_expert.",
    }
    BUILDER_CONFIGS = NAMED_CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    No manual_dir is needed: without one everything is downloaded (12 archives, 45 GB; for the config first_archive one
    of them, 2 GB). If you have the images already, or download them with your browser from
    {downloads.RELEASE_PAGE}, name their folder as the manual_dir. It may hold any of these
    as they came, or several of them:

    (a) the NIH's archives, not extracted: images_001.tar.gz to images_012.tar.gz (or images_01.tar.gz to
        images_12.tar.gz, as the NIH's download script names them);
    (b) Kaggle's folders: images_001/images/*.png to images_012/images/*.png;
    (c) Kaggle's zip file, not extracted, under any name that ends with .zip;
    (d) one folder with all images: images/*.png, or the *.png alone;
    (e) Kaggle's sample: images/*.png or sample/images/*.png, with sample_labels.csv.

    Images may be at any depth, and files may have the names that browsers make, such as "images_001 (1).tar.gz". The
    label file is Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv, or sample_labels.csv); BBox_List_2017.csv, and for
    the official split train_val_list.txt and test_list.txt, lie next to it. Tables that do not exist are downloaded.
    Only configs that radiologists' labels evaluate need files that you must request yourself: nodule_expert and
    nodule_expert_rest test_labels.csv and validation_labels.csv of the folder four_findings_expert_labels, the split
    expert_all test_labels.csv of all_findings_expert_labels. The other files of these folders add features. To request
    them, fill in the form at {downloads.EXPERT_PAGE} (Additional labels).

    To see what a build would find in a folder, and what it would download, run

        nih-chest-xray check DIR --config nodule

    If you have only some of the images, build a config that allows it. No archive is downloaded then:

        tfds build nih_chest_xray --manual_dir DIR --config '{{"name": "my_part", "allow_missing_images": true}}'
    """

    def __init__(self, *, data_dir: epath.PathLike | None = None, **kwargs: Any) -> None:
        """Takes TFDS's arguments. A `~` of data_dir is expanded, which TFDS and its writers do differently."""
        super().__init__(data_dir=epath.Path(data_dir).expanduser() if data_dir else None, **kwargs)

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
          ValueError: A dataset of this name exists, but was built with other options or as a trial, or is incomplete
            and has files that the package did not make. TFDS by itself would return it.
          BuildInProgressError: Another process is building the same dataset in the same place.
          OSError: The disk is full, or the system refuses something else.
        """
        if builds_are_mocked():
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
            if not mode.overwrite_dataset:
                refuse_to_lose_files(self.data_path)
            with old_kept(self.data_path):
                super().download_and_prepare(download_config=download_config, **kwargs)
                flush(self.data_path)  # TFDS has written its own files and renamed the folder.
                flush(self.data_path.parent)

    def as_data_source(self, split: Any = None, *, decoders: Any = None, **kwargs: Any) -> Any:
        """Opens a built dataset by index; see TFDS's documentation of this method, whose examples these are."""
        read = super().as_data_source
        if builds_are_mocked():
            return read(split, decoders=decoders, **kwargs)
        return open_sources(read, self.info, split, decoders, **kwargs)

    def _reuses(self, config: tfds.download.DownloadConfig) -> bool:
        return not config.download_mode.overwrite_dataset and is_reusable(
            self.data_path, self.builder_config, config.max_examples_per_split
        )

    @contextlib.contextmanager
    def preparing(self, download_config: tfds.download.DownloadConfig) -> Iterator[None]:
        """Surrounds the build of a dataset: writes its metadata at the end, and releases the build's resources."""
        manual_dir = epath.Path(download_config.manual_dir).expanduser() if download_config.manual_dir else None
        by_beam = uses_beam(download_config)
        # TFDS does not cap the examples that Beam makes.
        cap = None if by_beam else download_config.max_examples_per_split
        with contextlib.ExitStack() as resources:
            self._build = build = _Build(manual_dir, by_beam, cap, resources)
            try:
                yield
            except Exception as error:
                if build.uses_beam and build.inputs is not None and build.maker is not None:
                    _refuse_empty_subsets(build.inputs.manifest, build.maker.broken(), error)
                raise
            if build.inputs is not None and build.maker is not None:
                # TFDS renames this folder at the end, so these files appear together with the dataset or not at all.
                self._write_metadata(build.inputs, build.maker.report(), build.cap)
            flush(self.data_path)

    def make_subsets(self, dl_manager: tfds.download.DownloadManager, store: StoreSubset) -> list[tfds.core.SplitInfo]:
        """Makes all examples on this machine; see `LocalBuild`."""
        inputs = self._find_inputs(dl_manager)
        config, manifest = self.builder_config, inputs.manifest
        shown = self._build.resources.enter_context(progress(f"{self.name}/{config.name}", len(manifest)))
        maker = LocalBuild(inputs.release, manifest, config, self.data_path, self._build.cap)
        self._begin(inputs, maker)
        stored = maker.write(store, shown)
        for subset in _subsets(manifest, config):
            if subset not in stored:
                _refuse_empty_subsets(manifest, maker.broken())
                raise ReleaseError(
                    f"{inputs.release.place} holds no image of the subset {subset!r}, and TFDS cannot store an empty"
                    " subset. Add archives, or extract the one you have: the contents of a folder are known before the"
                    " build, which can then leave the subset out."
                )
        return list(stored.values())

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """Returns what has Beam make the examples of each subset."""
        from nih_chest_xray.building.beam import BeamBuild  # Not at the top: importing Beam takes a second.

        inputs = self._find_inputs(dl_manager)
        maker = BeamBuild(inputs.release, inputs.manifest, self.builder_config, self.data_path)
        self._begin(inputs, maker)
        return {subset: maker.examples(subset) for subset in _subsets(inputs.manifest, self.builder_config)}

    def _generate_examples(self) -> None:
        """TFDS asks for this method, and does not call it."""

    def _begin(self, inputs: _Inputs, maker: ExampleMaker) -> None:
        self._build.resources.callback(maker.close)
        self._build.inputs, self._build.maker = inputs, maker

    def _find_inputs(self, dl_manager: tfds.download.DownloadManager) -> _Inputs:
        config, build, known = self.builder_config, self._build, known_files()
        place = epath.Path(dl_manager.download_dir)
        fetch = functools.partial(transfer.fetch, place / self.name, show_progress=bars_are_on())
        found = self._find_release(build.manual_dir, place / "manual", known)
        found = downloads.complete_tables(found, config, known, fetch)
        tables = read_tables(found, config, known)
        plan = make_plan(tables, config)
        images = frozenset(plan.cohort["image_name"])
        if not config.allow_missing_images:
            fetch = functools.partial(fetch, also_needed=[self._needed_room(plan.manifest)])
            found = downloads.complete_images(found, images, known, fetch)
        if found.aside:
            warnings.warn(f"The build continues without some files.{found.not_taken()}", stacklevel=2)
        held = plan.of(found.held(images))
        manifest = held.manifest
        if manifest.empty:
            raise ReleaseError(
                f"{found.place} holds none of the images that config {config.name!r} needs.{found.not_taken()}"
            )
        require_room([self._needed_room(manifest)])
        warn_of_missing(manifest, plan.cohort, found.place, config)
        return _Inputs(found, tables.origin, plan.cohort, manifest, held.cutoffs)

    def _needed_room(self, planned: pd.DataFrame) -> Need:
        cap = self._build.cap
        examples = len(planned) if cap is None else min(len(planned), cap * len(self.builder_config.subsets))
        # Records wait on a local disk; see `Sorter`.
        waits_here = is_remote(self.data_dir_root) and not self._build.uses_beam
        place = epath.Path(tempfile.gettempdir()) if waits_here else self.data_dir_root
        return Need(place, build_size(self.builder_config, examples), "the records of the dataset")

    def _write_metadata(self, inputs: _Inputs, report: Report, cap: int | None) -> None:
        """Writes metadata.csv and fills metadata.json, both for the examples that were actually made."""
        config = self.builder_config
        if report.broken and not config.allow_missing_images:
            raise broken_error(report.broken)
        planned = inputs.manifest[~inputs.manifest["source_name"].isin({each.source_name for each in report.broken})]
        made = planned["image_name"].isin(report.names)
        if cap is None and not made.all():
            # The contents of an archive that is not the NIH's own are only known once it was read.
            if not config.allow_missing_images:
                raise _not_in_archives(planned.loc[~made, "source_name"], inputs.release.place)
            warn_of_missing(planned[made], inputs.cohort, inputs.release.place, config, len(report.broken))
        repacked = inputs.release.repacked(report.digests)
        warn_of_repacked(repacked, inputs.release.place)
        written = planned[made]
        (self.data_path / "metadata.csv").write_text(metadata_csv(written))
        (self.data_path / "examples.csv").write_text(
            examples_csv(plain_fields(row, config) | {"subset": row.subset} for row in rows_of(written))
        )
        missing = len(inputs.cohort) - (written if cap is None else planned)["source_name"].nunique()
        resized = resized_sides(written, report)
        sizes = shard_sizes(self.data_path, self.info)
        version = str(self.version)
        self.info.metadata.clear()
        self.info.metadata.update(
            make_metadata(
                config,
                version,
                inputs.origin,
                written,
                inputs.cutoffs,
                missing,
                report.broken,
                resized,
                repacked,
                cap,
                sizes,
            )
        )
        warn_of_resized(resized)
        warn_of_broken(report, written, config)

    def _find_release(self, named: epath.Path | None, default: epath.Path, known: Mapping[str, KnownFile]) -> Release:
        """Searches the manual_dir. Without one, everything is missing; one that the user named has to hold something.

        Args:
          named: The manual_dir that the user named.
          default: The folder that TFDS uses otherwise, `downloads/manual`.
          known: The official files.
        """
        config = self.builder_config
        if config.phantom_patients:
            from nih_chest_xray.phantom.release import Phantom  # Not at the top: few builds draw images.

            return Phantom(config.phantom_patients).as_release()
        folder = named or default
        if not folder.is_dir() or not any(folder.iterdir()):
            if named is None:
                return Release(place="the manual_dir (none was given)")
            problem = "is empty" if folder.is_dir() else "is not a directory" if folder.exists() else "does not exist"
            raise ReleaseError(f"The manual_dir {folder} {problem}. {_MANUAL_DIR}")
        found = find_for_config(folder, config, known)
        if named and found.is_empty:
            raise ReleaseError(
                f"Nothing of the NIH's release is in the manual_dir {folder} or the folders in it: no label file, no"
                f" archive, no image.{found.not_taken()} {_MANUAL_DIR}"
            )
        return found


def _subsets(manifest: pd.DataFrame, config: NihChestXrayConfig) -> list[str]:
    """Returns the subsets that have examples. TFDS does not write others, which a build from part of the images has."""
    return [subset for subset in config.subsets if (manifest["subset"] == subset).any()]


def _refuse_empty_subsets(
    manifest: pd.DataFrame, broken: Sequence[BrokenImage], cause: Exception | None = None
) -> None:
    """Raises an error if all planned images of a subset are broken."""
    whole = manifest[~manifest["source_name"].isin({image.source_name for image in broken})]
    if empty := [subset for subset in manifest["subset"].unique() if subset not in set(whole["subset"])]:
        raise broken_error(
            broken,
            f"Nothing is left of the subset {' and of '.join(empty)}, and TFDS cannot store an empty subset. Get these"
            " images again.",
        ) from cause


def _not_in_archives(lost: pd.Series, place: str) -> ReleaseError:
    return ReleaseError(
        f"{lost.nunique():,} images that this config needs were not in the archives of {place}"
        f" ({', '.join(sorted(lost)[:3])}, …). Get them again from the NIH's page, or build from the others with"
        ' "allow_missing_images": true.'
    )

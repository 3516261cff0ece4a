"""The TFDS builder: says what an example is, which splits there are, and where their examples come from."""

from __future__ import annotations

import functools
import json
import platform
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import requests
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.download import downloader

from nih_chest_xray import downloads, examples, manifest, release
from nih_chest_xray.cohort import SUBSETS
from nih_chest_xray.config import NAMED_CONFIGS, NihChestXrayConfig
from nih_chest_xray.features import make_features
from nih_chest_xray.plan import make_plan
from nih_chest_xray.writer import DeterministicWriter


class Builder(tfds.core.GeneratorBasedBuilder):
    """NIH ChestX-ray14 as a TFDS dataset."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release: configs nodule, nodule_augmented, findings, sample and nodule_expert."}
    BUILDER_CONFIGS = NAMED_CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    No manual_dir is needed: without one everything is downloaded (12 archives, 45 GB). If you have the images already,
    or fetch them with your browser from {downloads.RELEASE_PAGE}, name their folder as the
    manual_dir. It may hold, as it is, any of these, or several of them:

    (a) the NIH's archives, not extracted: images_001.tar.gz to images_012.tar.gz (or images_01.tar.gz to
        images_12.tar.gz, as the NIH's download script names them);
    (b) Kaggle's folders: images_001/images/*.png to images_012/images/*.png;
    (c) Kaggle's zip file, not extracted, under any name that ends with .zip;
    (d) one folder with all images: images/*.png, or the *.png alone;
    (e) Kaggle's sample: images/*.png or sample/images/*.png, with sample_labels.csv.

    Beside them, or one folder above, lies the label file: Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv, or
    sample_labels.csv), BBox_List_2017.csv, and for the official split train_val_list.txt and test_list.txt. Tables that
    are not there are downloaded. Only the config nodule_expert needs files that are had by hand, after a form: the
    folder four_findings_expert_labels with test_labels.csv and validation_labels.csv, from
    {downloads.EXPERT_PAGE} (Additional labels).

    If you have only some of the images, build a config that allows it. No archive is downloaded then:

        tfds build nih_chest_xray --manual_dir DIR --config '{{"name": "my_part", "allow_missing_images": true}}'
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=make_features(self.builder_config),
            supervised_keys=("image", "label"),
            homepage=downloads.RELEASE_PAGE,
            license=(
                "The usage of the data set is unrestricted. But you should provide the link to our original download"
                " site, acknowledge the NIH Clinical Center and provide a citation to our CVPR 2017 paper. (NIH, FAQ)"
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(
        self, *, download_config: tfds.download.DownloadConfig | None = None, **kwargs: Any
    ) -> None:
        """Builds the dataset; see TFDS's documentation of this method.

        Raises:
          ValueError: A dataset of this name is there, but was built with other choices. TFDS alone would return it.
        """
        mode = (download_config or tfds.download.DownloadConfig()).download_mode
        if self.data_path.exists() and mode == tfds.download.GenerateMode.REUSE_DATASET_IF_EXISTS:
            self._refuse_other_choices()
            self._tell_what_is_reused()
        super().download_and_prepare(download_config=download_config, **kwargs)

    def _refuse_other_choices(self) -> None:
        there = (self.info.metadata or {}).get("config", {})
        asked = json.loads(json.dumps(self.builder_config.choices))
        other = [f"{field}={there[field]!r}" for field in asked if field in there and there[field] != asked[field]]
        if other:
            raise ValueError(
                f"{self.data_dir} was built with {', '.join(other)}, which is not what this config"
                f" {self.builder_config.name!r} says. Give the config another name, or replace the dataset with"
                " `tfds build --overwrite`."
            )

    def _tell_what_is_reused(self) -> None:
        """TFDS does not look at the release again, which may be another one by now, or have more images."""
        metadata = dict(self.info.metadata or {})
        label_file = metadata.get("label_file")
        official = metadata.get("tables", {}).get(label_file, {}).get("official", True)
        missing = metadata.get("missing_images", 0)
        if missing or not (official or self.builder_config.phantom_patients):
            warnings.warn(
                f"{self.data_dir} is there and is reused as it is, whatever the manual_dir holds now: it was built from"
                f" {'the official' if official else 'an unofficial'} {label_file}, with {missing:,} images missing. To"
                " build it anew, use `tfds build --overwrite`.",
                stacklevel=3,
            )

    def _example_writer(self) -> DeterministicWriter:
        return DeterministicWriter(self.info.file_format)

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        self._manual_dir = download_config.manual_dir
        self._manifest, self._written, self._origin = None, set(), {}
        super()._download_and_prepare(dl_manager, download_config)
        if self._manifest is not None:
            # TFDS renames this folder when all is done, so both files appear with the dataset or not at all.
            written = self._manifest[self._manifest["image_name"].isin(self._written)]
            (self.data_path / "metadata.csv").write_text(manifest.metadata_csv(written))
            self.info.metadata.clear()
            self.info.metadata.update(manifest.summarise(written, self.builder_config) | self._origin)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[str, dict]]]:
        config: NihChestXrayConfig = self.builder_config
        known = release.known_files()
        fetch = functools.partial(_download, dl_manager)
        found = self._find_release(dl_manager, known)
        found = downloads.complete_tables(found, config, known, fetch)
        plan = make_plan(found, config, known)
        if not config.allow_missing_images:
            found = downloads.complete_images(found, frozenset(plan.cohort["image_name"]), known, fetch)
        present = plan.cohort[plan.cohort["image_name"].isin(found.image_names())]
        self._manifest = manifest.make_manifest(present, config, plan.boxes)
        self._origin = plan.origin | {
            "config": {"name": config.name, **config.choices},
            "missing_images": len(plan.cohort) - len(present),
            "repacked_archives": dict(found.repacked),
            "versions": {
                "nih_chest_xray": str(self.version),
                "python": platform.python_version(),
                "numpy": np.__version__,
                "pandas": pd.__version__,
            },
        }
        return {
            subset: self._generate_examples(found, self._manifest[self._manifest["subset"] == subset])
            for subset in self._subsets_with_images(found.place)
        }

    def _generate_examples(self, found: release.Release, planned: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
        rows: dict[str, list[Any]] = {}
        for row in planned.itertuples(index=False):
            rows.setdefault(row.source_name, []).append(row)
        for name, content, place in found.read_images(rows):
            for key, example in examples.make_examples(content, place, rows[name], self.builder_config):
                self._written.add(key)
                yield key, example

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
                raise release.ReleaseError(
                    f"The manual_dir {self._manual_dir} is not there, is empty or is no folder. What it may hold:\n"
                    f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                ) from None
            return release.Release(place="the manual_dir (none was given)")
        found = release.find_release(folder, known, config.allow_missing_images)
        if self._manual_dir and not found.tables and not found.sources:
            raise release.ReleaseError(
                f"Nothing of the NIH's release is in the manual_dir {folder} or the folders in it: no label file, no"
                f" archive, no image. What it may hold:\n{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        return found

    def _subsets_with_images(self, place: str) -> list[str]:
        """TFDS does not write empty subsets, which only a build from a part of the images can have."""
        if self._manifest.empty:
            raise release.ReleaseError(
                f"{place} holds none of the images that config {self.builder_config.name!r} needs."
            )
        if missing := self._origin["missing_images"]:
            counts = manifest.summarise(self._manifest, self.builder_config)["counts"]
            warnings.warn(
                f"{missing:,} of the {missing + self._manifest['source_name'].nunique():,} images of config"
                f" {self.builder_config.name!r} are not in {place}. Without them there are: {json.dumps(counts)}.",
                stacklevel=2,
            )
        return [subset for subset in SUBSETS if (self._manifest["subset"] == subset).any()]


def _download(dl_manager: tfds.download.DownloadManager, urls: dict[str, str]) -> dict[str, epath.Path]:
    """Downloads, or takes from TFDS's cache.

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

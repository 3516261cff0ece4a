"""The TFDS builder: says what an example is, which splits there are, and where their examples come from."""

from __future__ import annotations

import hashlib
import platform
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray import cohort as cohort_lib
from nih_chest_xray import downloads, examples, image, labels, manifest, release
from nih_chest_xray.augmentation import BUILT_IN, NO_AUGMENTATION
from nih_chest_xray.config import NAMED_CONFIGS, NihChestXrayConfig

HOMEPAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"


class Builder(tfds.core.GeneratorBasedBuilder):
    """NIH ChestX-ray14 as a TFDS dataset."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release: configs nodule, nodule_augmented and sample."}
    BUILDER_CONFIGS = NAMED_CONFIGS
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Nothing has to be put here: what is missing is downloaded (12 archives, 45 GB). If you have the images already, or
    want to fetch them with your browser from {HOMEPAGE}, name their folder as the
    manual_dir. It may hold, as it is, any of these, or several of them:

    (a) the NIH's archives, not extracted: images_001.tar.gz to images_012.tar.gz (or images_01.tar.gz to
        images_12.tar.gz, as the NIH's download script names them);
    (b) Kaggle's folders: images_001/images/*.png to images_012/images/*.png;
    (c) Kaggle's zip file, not extracted, under any name that ends with .zip;
    (d) one folder with all images: images/*.png, or the *.png alone;
    (e) Kaggle's sample: images/*.png or sample/images/*.png, with sample_labels.csv.

    Beside them, or one folder above, lies the label file: Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv, or
    sample_labels.csv), and for the official split train_val_list.txt and test_list.txt. Tables that are not there are
    downloaded.

    If you have only some of the images, build a config that allows it. No archive is downloaded then:

        tfds build nih_chest_xray --manual_dir DIR --config '{{"name": "my_part", "allow_missing_images": true}}'
    """

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        size = config.image_size or image.SOURCE_SIZE
        augmentations = dict.fromkeys((NO_AUGMENTATION, *BUILT_IN, *config.augmentations))

        def scalar(doc: str) -> tfds.features.Scalar:
            return tfds.features.Scalar(dtype=np.int32, doc=doc)

        def class_label(names: Any, doc: str) -> tfds.features.ClassLabel:
            return tfds.features.ClassLabel(names=list(names), doc=doc)

        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(size, size, 1),
                        dtype=np.uint8,
                        encoding_format=config.image_format,
                        doc="The radiograph, grey; the whole of the NIH's 1024 x 1024 image.",
                    ),
                    "label": class_label(
                        cohort_lib.CLASSES, "Nodule if the text-mined findings name it; No Finding if there are none."
                    ),
                    "image_name": tfds.features.Text(
                        doc="The NIH's file name; an augmented copy's is <stem>_aug<k>.png."
                    ),
                    "findings": tfds.features.Sequence(
                        class_label(labels.FINDINGS, "A text-mined finding."),
                        doc="All text-mined findings, in alphabetical order; empty for No Finding.",
                    ),
                    "augmentation": class_label(
                        augmentations, "How the image differs from the NIH's; none if it does not."
                    ),
                    "patient_id": scalar("The NIH's number of the patient."),
                    "follow_up": scalar("The NIH's number of the patient's study, from 0."),
                    "patient_age": scalar(f"Years, at the time of the study; {labels.UNKNOWN_AGE} if unknown."),
                    "patient_sex": class_label(labels.SEXES, "Sex in the patient's record."),
                    "view_position": class_label(labels.VIEWS, "PA, from back to front, or AP, from front to back."),
                    "original_size": tfds.features.Tensor(
                        shape=(2,), dtype=np.int32, doc="Width and height in pixels before the NIH's resize to 1024."
                    ),
                    "pixel_spacing": tfds.features.Tensor(
                        shape=(2,), dtype=np.float32, doc="Width and height in mm of a pixel before the NIH's resize."
                    ),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=HOMEPAGE,
            license=(
                "The usage of the data set is unrestricted. But you should provide the link to our original download"
                " site, acknowledge the NIH Clinical Center and provide a citation to our CVPR 2017 paper. (NIH, FAQ)"
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        self._manual_dir_is_given = download_config.manual_dir is not None
        self._plan, self._written, self._origin = None, set(), {}
        super()._download_and_prepare(dl_manager, download_config)
        if self._plan is not None:
            # TFDS renames this folder when all is done, so both files appear with the dataset or not at all.
            written = self._plan[self._plan["image_name"].isin(self._written)]
            (self.data_path / "metadata.csv").write_text(manifest.metadata_csv(written))
            self.info.metadata.clear()
            self.info.metadata.update(manifest.summarise(written) | self._origin)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[str, dict]]]:
        config: NihChestXrayConfig = self.builder_config
        known = {
            info.filename: release.KnownFile(url, int(info.size), info.checksum) for url, info in self.url_infos.items()
        }
        found = self._find_release(dl_manager, known)
        found = downloads.complete_tables(found, config.split == "official", known, dl_manager.download)
        label_file = found.tables[found.label_file]
        label_bytes = label_file.read()
        table = labels.read_labels(label_bytes, label_file.place)
        official = release.read_official_lists(found) if config.split == "official" else None
        cohort = cohort_lib.make_cohort(table, config, official)
        if not config.allow_missing_images:
            found = downloads.complete_images(found, frozenset(cohort["image_name"]), known, dl_manager.download)
        present = cohort[cohort["image_name"].isin(found.image_names())]
        self._plan = manifest.make_manifest(present, config)
        digest = hashlib.sha256(label_bytes).hexdigest()
        self._origin = {
            "config": {"name": config.name, **config.choices},
            "label_file": {
                "name": found.label_file,
                "sha256": digest,
                "official": found.label_file in known and digest == known[found.label_file].sha256,
            },
            "missing_images": len(cohort) - len(present),
            "repacked_archives": dict(found.repacked),
            "unknown_ages": int((table["patient_age"] == labels.UNKNOWN_AGE).sum()),
            "versions": {
                "nih_chest_xray": str(self.version),
                "python": platform.python_version(),
                "numpy": np.__version__,
                "pandas": pd.__version__,
            },
        }
        return {
            subset: self._generate_examples(found, self._plan[self._plan["subset"] == subset])
            for subset in self._subsets_with_images(found.place)
        }

    def _generate_examples(self, found: release.Release, plan: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
        rows: dict[str, list[Any]] = {}
        for row in plan.itertuples(index=False):
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
        except AssertionError as error:  # TFDS's way to say that the folder does not exist or is empty.
            if self._manual_dir_is_given:
                raise release.ReleaseError(str(error)) from None
            return release.Release(place="the manual_dir (none was given)")
        found = release.find_release(folder, known, config.allow_missing_images)
        if self._manual_dir_is_given and not found.tables and not found.sources:
            raise release.ReleaseError(
                f"Nothing of the NIH's release is in the manual_dir {folder} or the folders in it: no label file, no"
                f" archive, no image. What it may hold:\n{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        return found

    def _subsets_with_images(self, place: str) -> list[str]:
        """TFDS does not write empty splits, which only a build from a part of the images can have."""
        subsets = [subset for subset in cohort_lib.SUBSETS if (self._plan["subset"] == subset).any()]
        if not subsets:
            raise release.ReleaseError(
                f"{place} holds none of the images that config {self.builder_config.name!r} needs."
            )
        if len(subsets) < len(cohort_lib.SUBSETS):
            warnings.warn(f"{place} holds no image of {' or '.join({*cohort_lib.SUBSETS} - {*subsets})}.", stacklevel=2)
        return subsets

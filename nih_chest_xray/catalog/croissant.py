"""Croissant: describes a dataset for machines, in the format of https://docs.mlcommons.org/croissant."""

from __future__ import annotations

import datetime
import json

import mlcroissant as mlc
import pandas as pd

from nih_chest_xray.catalog import texts
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.digests import DataFile
from nih_chest_xray.release.downloads import RELEASE_PAGE
from nih_chest_xray.vocabulary import DATASET

METADATA = "metadata.csv"
_CSV, _PARQUET = "text/csv", "application/x-parquet"
_FORMATS = {".csv": _CSV, ".json": "application/json", ".txt": "text/plain", "LICENSE": "text/plain"}
_COLUMNS = {
    "image_name": "The NIH's file name; an augmented copy's is <stem>_aug<k>.png.",
    "label": "The class; for several findings the NIH's string, such as Mass|Nodule.",
    "subset": "train, validation or test; with folds fold_0, fold_0_augmented and so on.",
}


def croissant(built: Built, examples: pd.DataFrame, files: list[DataFile], url: str | None) -> str:
    """Returns the JSON-LD of a dataset.

    The record set "metadata" is `metadata.csv`. If the dataset has Parquet files, a record set of each subset holds its
    examples, each as the bytes that `features.deserialize_example` reads.

    Args:
      built: The dataset.
      examples: The table of examples that `statistics.read_examples` returns.
      files: The dataset's files. Without a URL, `metadata.csv` is the copy next to the page.
      url: The address at which the datasets are served; None if they are not.
    """
    metadata = mlc.Metadata(
        conforms_to=["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        name=f"{DATASET}_{built.config_name}",
        description=" ".join(filter(None, (texts.notice(built), built.description, texts.description(built)))),
        version=built.version,
        license=[_licence(built)],
        cite_as=texts.citation(built),
        creators=[_creator(built)],
        date_published=datetime.datetime.combine(built.built_on, datetime.time()),
        keywords=_keywords(built),
        url=url if built.synthetic else RELEASE_PAGE,
        distribution=[_file_object(file, url) for file in files],
        record_sets=[_metadata_records(), *_example_records(built, files)],
        data_collection=texts.collection(built),
        data_collection_type=["Others" if built.synthetic else "Secondary data analysis"],
        data_collection_missing_data=_missing(built, examples),
        data_preprocessing_protocol=texts.preprocessing(built),
        data_annotation_protocol=texts.annotation(built),
        machine_annotation_tools=_tools(built),
        data_biases=[*texts.biases(built, examples), _composition(examples)],
        data_limitations=texts.limits(built),
        data_use_cases=texts.use_cases(built),
        personal_sensitive_information=texts.sensitive(built),
    )
    return json.dumps(metadata.to_json(), indent=2, ensure_ascii=False, default=str) + "\n"


def _licence(built: Built) -> mlc.nodes.CreativeWork | str:
    if built.synthetic:
        return texts.CODE_LICENSE
    return texts.licence(built)


def _creator(built: Built) -> mlc.Organization:
    if built.synthetic:
        return mlc.Organization(name=f"The package {DATASET}, which draws the images")
    return mlc.Organization(name="NIH Clinical Center", url=RELEASE_PAGE)


def _keywords(built: Built) -> list[str]:
    kind = "synthetic" if built.synthetic else "NIH ChestX-ray14"
    return [kind, "chest radiograph", "chest x-ray", "pulmonary nodule", "medical imaging", "TensorFlow Datasets"]


def _file_object(file: DataFile, url: str | None) -> mlc.FileObject:
    return mlc.FileObject(
        id=file.name,
        name=file.name,
        content_url=METADATA if file.name == METADATA and not url else file.place,
        content_size=f"{file.size} B",
        sha256=file.sha256,
        encoding_formats=[_encoding(file.name)],
    )


def _encoding(name: str) -> str:
    if ".parquet-" in name:
        return _PARQUET
    return next((form for end, form in _FORMATS.items() if name.endswith(end)), "application/octet-stream")


def _metadata_records() -> mlc.RecordSet:
    fields = [
        mlc.Field(
            id=f"metadata/{column}",
            name=column,
            description=text,
            data_types=[mlc.DataType.TEXT],
            source=mlc.Source(file_object=METADATA, extract=mlc.Extract(column=column)),
        )
        for column, text in _COLUMNS.items()
    ]
    key = [fields[0].id]
    return mlc.RecordSet(
        id="metadata", name="metadata", description="One row for each example.", key=key, fields=fields
    )


def _example_records(built: Built, files: list[DataFile]) -> list[mlc.RecordSet]:
    """Describes the Parquet files. TFDS writes one column, `data`: each example as a serialized tf.train.Example."""
    record_sets = []
    for subset in built.subsets:
        shards = [file.name for file in files if file.name.startswith(f"{DATASET}-{subset}.parquet-")]
        for number, shard in enumerate(shards):
            name = subset if len(shards) == 1 else f"{subset}_{number:05d}"
            field = mlc.Field(
                id=f"{name}/data",
                name="data",
                description="A serialized tf.train.Example; deserialize_example of TFDS's features reads it.",
                data_types=[mlc.DataType.TEXT],
                source=mlc.Source(file_object=shard, extract=mlc.Extract(column="data")),
            )
            text = f"Examples of {subset}" + ("." if len(shards) == 1 else f", part {number + 1} of {len(shards)}.")
            record_sets.append(mlc.RecordSet(id=name, name=name, description=text, fields=[field]))
    return record_sets


def _missing(built: Built, examples: pd.DataFrame) -> str:
    unknown = int((examples["patient_age"] < 0).sum())
    return (
        f"{texts.missing_images(built)}. The age of {unknown:,} examples is unknown and stored as -1."
        f" {' '.join(texts.trial(built))}".rstrip()
    )


def _composition(examples: pd.DataFrame) -> str:
    female = 100 * (examples["patient_sex"] == "F").mean()
    front = 100 * (examples["view_position"] == "AP").mean()
    return f"{female:.1f} % of the examples are of female patients, and {front:.1f} % are AP (front to back)."


def _tools(built: Built) -> list[str] | None:
    if built.synthetic:
        return None
    return ["The NIH's software that mines findings from the text of radiology reports (Wang et al., CVPR 2017)."]

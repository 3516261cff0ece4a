"""Croissant: describes a dataset for machines, in the format of https://docs.mlcommons.org/croissant."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

import mlcroissant as mlc
import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from nih_chest_xray.building.examples_csv import columns_of
from nih_chest_xray.catalog import texts
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.digests import DataFile
from nih_chest_xray.release.downloads import RELEASE_PAGE
from nih_chest_xray.vocabulary import DATASET

_METADATA, _EXAMPLES = "metadata.csv", "examples.csv"
_CSV, _PARQUET = "text/csv", "application/x-parquet"
_FORMATS = {".csv": _CSV, ".json": "application/json", ".txt": "text/plain", "LICENSE": "text/plain"}
_COLUMNS = {
    "image_name": "The NIH's file name; an augmented copy's is <stem>_aug<k>.png.",
    "label": "The class; for several findings the NIH's string, such as Mass|Nodule.",
    "subset": "train, validation or test; with folds fold_0, fold_0_augmented and so on.",
}


def croissant(built: Built, examples: pd.DataFrame, files: list[DataFile], url: str | None) -> str:
    """Returns the JSON-LD of a dataset.

    The record set "metadata" is `metadata.csv`, and "examples" is `examples.csv`, with a field for each column. If the
    dataset has Parquet files, a record set of each subset holds its examples, each as the bytes that
    `features.deserialize_example` reads.

    Args:
      built: The dataset.
      examples: The table of examples that `statistics.read_examples` returns.
      files: The dataset's files.
      url: The address at which the datasets are served; None if they are not.
    """
    metadata = mlc.Metadata(
        conforms_to=["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        name=f"{DATASET}_{built.config_name}",
        description=" ".join(filter(None, (texts.notice(built), built.description, *texts.about(built)))),
        version=built.version,
        license=[_licence(built)],
        cite_as=texts.citation(built),
        creators=[_creator(built)],
        date_published=datetime.datetime.combine(built.built_on, datetime.time()),
        keywords=keywords(built),
        url=url if built.synthetic else RELEASE_PAGE,
        distribution=[_file_object(file) for file in files],
        record_sets=[_metadata_records(), *_table_records(built, files), *_example_records(built, files)],
        data_collection=texts.collection(built),
        data_collection_type=["Others" if built.synthetic else "Secondary data analysis"],
        data_collection_missing_data=_missing(built, examples),
        data_preprocessing_protocol=texts.preprocessing(built),
        data_annotation_protocol=texts.annotation(built),
        machine_annotation_tools=_tools(built),
        data_biases=[*texts.biases(built, examples), _composition(examples)],
        data_limitations=[*filter(None, [built.empty_classes]), *texts.limits(built)],
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


def keywords(built: Built) -> list[str]:
    """Returns what somebody may search for who wants such a dataset."""
    kind = "synthetic" if built.synthetic else "NIH ChestX-ray14"
    return [kind, "chest radiograph", "chest x-ray", "pulmonary nodule", "medical imaging", "TensorFlow Datasets"]


def _file_object(file: DataFile) -> mlc.FileObject:
    return mlc.FileObject(
        id=file.name,
        name=file.name,
        content_url=file.place,
        content_size=f"{file.size} B",
        sha256=file.sha256,
        encoding_formats=[encoding(file.name)],
    )


def encoding(name: str) -> str:
    """Returns the media type of a dataset's file."""
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
            source=mlc.Source(file_object=_METADATA, extract=mlc.Extract(column=column)),
        )
        for column, text in _COLUMNS.items()
    ]
    key = [fields[0].id]
    return mlc.RecordSet(
        id="metadata", name="metadata", description="One row for each example.", key=key, fields=fields
    )


def _table_records(built: Built, files: list[DataFile]) -> list[mlc.RecordSet]:
    """Describes examples.csv, and what its columns `label` and `subset` may hold.

    Datasets of an earlier version do not have the file. Labels of several classes, such as Mass|Nodule, are no classes.
    """
    if _EXAMPLES not in {file.name for file in files}:
        return []
    features = built.builder.info.features
    docs = {doc.name: doc.description for doc in features.catalog_documentation() if doc.name}
    docs |= {"subset": _COLUMNS["subset"], "findings": "The text-mined findings, such as Mass|Nodule."}
    docs |= {"bboxes": f"{docs['bboxes']} JSON: a list of [[ymin, xmin, ymax, xmax], finding]."}
    if built.task.multi_label:
        docs["label"] = _COLUMNS["label"]
    lists = {"subset": _names("subsets", built.subsets, "The subsets.")}
    if not built.task.multi_label:
        lists["label"] = _names("classes", built.classes, "The classes, in the order of their numbers.")
    fields = [
        mlc.Field(
            id=f"examples/{column}",
            name=column,
            description=f"{docs[feature]} Here: {part}." if part else docs[feature],
            data_types=[_data_type(features, feature)],
            source=mlc.Source(file_object=_EXAMPLES, extract=mlc.Extract(column=column)),
            references=mlc.Source(field=lists[column].fields[0].id) if column in lists else None,
        )
        for column, (feature, part) in columns_of(features).items()
    ]
    text = "Every feature but the image, one row for each example."
    examples = mlc.RecordSet(
        id="examples", name="examples", description=text, key=["examples/image_name"], fields=fields
    )
    return [*lists.values(), examples]


def _names(key: str, names: Sequence[str], text: str) -> mlc.RecordSet:
    field = mlc.Field(id=f"{key}/name", name="name", description=text, data_types=[mlc.DataType.TEXT])
    return mlc.RecordSet(
        id=key,
        name=key,
        description=text,
        data_types=["sc:Enumeration"],
        key=[field.id],
        fields=[field],
        data=[{field.id: name} for name in names],
    )


def _data_type(features: Mapping[str, Any], name: str) -> str:
    """Returns the type of a feature's columns."""
    if name in ("subset", "label", "findings", "bboxes") or isinstance(features[name], tfds.features.ClassLabel):
        return mlc.DataType.TEXT
    kind = np.dtype(features[name].np_dtype).kind
    return {"i": mlc.DataType.INTEGER, "u": mlc.DataType.INTEGER, "f": mlc.DataType.FLOAT}.get(kind, mlc.DataType.TEXT)


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

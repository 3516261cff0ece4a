"""Metadata schema: what the JSON files of a dataset may hold. Somebody else may have written them.

Each name is matched against a pattern for what it names, so that no name can lead to a path elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import tensorflow_datasets as tfds

from nih_chest_xray.config import CONFIG_NAME, DEFAULT_AUGMENTATIONS, NihChestXrayConfig
from nih_chest_xray.errors import SchemaError, line, shown
from nih_chest_xray.images import augmentation
from nih_chest_xray.verification.json_kinds import (
    Kind,
    digits,
    either,
    flag,
    grammar,
    listed,
    mapping,
    nullable,
    number,
    one_of,
    record,
    text,
    whole,
)
from nih_chest_xray.vocabulary import DATASET, IMAGE_NAME, SOURCE_SIZE, SUBSET_NAME, SUBSETS

FILE_NAMES = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
"""TFDS's template for the names of shards, as in dataset_info.json."""
FILE_FORMATS = ("tfrecord", "array_record", "parquet")
VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}")
LABEL_NAMES = 1000
"""Largest number of classes of a feature."""
_MAX_SHARDS = 20_000

_line = text(300)
_sha256 = grammar(re.compile(r"[0-9a-f]{64}"), "a SHA-256 in 64 hexadecimal digits")
_file_name = grammar(re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,255}"), "a file's name")
_config_name = grammar(CONFIG_NAME, "a config's name: up to 100 letters, digits and _.-")
_version = grammar(VERSION, "a version such as 1.0.0")
_subset = grammar(SUBSET_NAME, "a subset's name")
_MAX_SUBSETS = 41
"""Twenty folds, their copies, and test."""
_class = text(300)
_of_subsets = mapping(_subset, whole(), _MAX_SUBSETS)
_kappas = mapping(one_of("validation", "test"), mapping(_class, nullable(number), 20), 2)
"""By subset of the radiologists' files, whatever the subsets of the dataset are."""
_weights = mapping(_class, nullable(number), 20)
_lists = mapping(_subset, text(4096), len(SUBSETS))
_plain = either(flag, number, listed(either(number, text(100)), 100), _lists, nullable(text(100)))
"""A field of a config. `NihChestXrayConfig` checks its value."""

_FIRST_FIELDS = (
    *("name", "task", "views", "healthy_stride", "split", "validation_fraction", "test_fraction", "augmented_copies"),
    *("augmentations", "rotation_degrees", "image_size", "image_format", "seed", "allow_missing_images"),
    "phantom_patients",
)
"""Fields of a config that every version of the package writes. Fields that a later version added may be absent."""
_config = record(
    {name: _config_name if name == "name" else _plain for name in _FIRST_FIELDS},
    {
        field.name: _plain
        for field in dataclasses.fields(NihChestXrayConfig)
        if field.name not in {*_FIRST_FIELDS, *(inner.name for inner in dataclasses.fields(tfds.core.BuilderConfig))}
    },
)

OPTIONAL_METADATA: dict[str, Kind] = {
    "class_weights": _weights,
    "positive_weights": _weights,
    "fold_class_weights": mapping(_subset, _weights, _MAX_SUBSETS),
    "fold_positive_weights": mapping(_subset, _weights, _MAX_SUBSETS),
    "agreement": mapping(_subset, mapping(_class, mapping(_class, whole(), 20), 20), 3),
    "radiologists": record(
        {},
        {
            "kappa_four_findings": _kappas,
            "kappa_all_findings": _kappas,
            "agreement_of_sets": mapping(_class, mapping(_class, whole(), 20), 20),
        },
    ),
    "augmentations": mapping(_class, mapping(_class, whole(), LABEL_NAMES), 20),
    "matched_augmentation": mapping(_class, number, 100),
    "max_examples_per_split": nullable(whole()),
    "shard_sizes": mapping(_file_name, whole(), _MAX_SUBSETS * _MAX_SHARDS),
    "shared_patients": whole(),
    "broken_images": listed(grammar(IMAGE_NAME, "an image's name"), 112_120),
    "resized_images": mapping(grammar(re.compile(r"[0-9]{1,4}"), "a number of pixels"), whole(), 4096),
}
"""Keys of metadata.json that some datasets lack: those of some tasks, or added by a later version of the package."""
_metadata = record(
    {
        "classes": listed(_class, 20),
        "counts": mapping(_subset, mapping(_class, whole(), 20), _MAX_SUBSETS),
        "examples": _of_subsets,
        "augmented": _of_subsets,
        "patients": _of_subsets,
        "label_file": _file_name,
        "tables": mapping(_file_name, record({"sha256": _sha256, "official": flag}), 20),
        "unknown_ages": whole(),
        "config": _config,
        "missing_images": whole(),
        "repacked_archives": mapping(_line, _sha256, 1000),
        "versions": mapping(text(100), text(100), 20),
    },
    OPTIONAL_METADATA,
)


def check_metadata(metadata: dict[str, Any]) -> None:
    """Checks the content of metadata.json, except the values of its config; see `config_in`.

    Raises:
      SchemaError: The package does not write such content.
    """
    _metadata(metadata, "")
    if metadata["label_file"] not in metadata["tables"]:
        raise SchemaError(f"label_file is {shown(metadata['label_file'])}; expected one of its tables")


def config_in(metadata: dict[str, Any], registered: bool = True) -> NihChestXrayConfig:
    """Makes the config that metadata.json describes.

    Args:
      metadata: Content that `check_metadata` accepts.
      registered: Whether augmentations must be registered in this process. A reader that augments nothing does not need
        them.

    Raises:
      SchemaError: The config is invalid, or the classes and counts are not those of its task.
    """
    fields = dict(metadata["config"])
    names = fields["augmentations"]
    unknown = not registered and isinstance(names, list) and not all(map(_is_registered, names))
    if unknown and len(set(names)) == len(names):
        fields["augmentations"] = list(DEFAULT_AUGMENTATIONS)
    try:
        config = NihChestXrayConfig(**fields)
    except (TypeError, ValueError) as error:
        raise SchemaError(line(str(error))) from error
    if unknown:
        config.augmentations = tuple(names)
    task = config.definition
    if metadata["classes"] != list(task.classes):
        raise SchemaError(f"classes are not those of the task {config.task!r}")
    for key in ("counts", "examples", "augmented", "patients"):
        if metadata[key].keys() != set(config.subsets):
            raise SchemaError(f"{key} has {', '.join(metadata[key])}; the config has {', '.join(config.subsets)}")
    for subset, counts in metadata["counts"].items():
        if sorted(counts) != sorted(task.counted):
            raise SchemaError(f"counts.{subset} does not count the classes of the task {config.task!r}")
    return config


def _is_registered(name: Any) -> bool:
    try:
        augmentation.get_augmentation(name)
    except (ValueError, AttributeError):  # A name may be a number.
        return False
    return True


_split = record(
    {
        "name": _subset,
        "filepathTemplate": one_of(FILE_NAMES),
        "shardLengths": listed(digits(), _MAX_SHARDS),
    },
    {"numBytes": digits()},
)
_supervised = one_of({"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}})
_url = grammar(re.compile(r"https?://[A-Za-z0-9._~:/?&=%+,@-]{1,500}"), "an address that begins with https://")
_dataset_info = record(
    {
        "name": one_of(DATASET),
        "version": _version,
        "configName": _config_name,
        "fileFormat": one_of(*FILE_FORMATS),
        "splits": listed(_split, _MAX_SUBSETS),
        "supervisedKeys": _supervised,
    },
    {
        "alternativeFileFormats": listed(one_of(*FILE_FORMATS), len(FILE_FORMATS)),
        "citation": text(20_000, lines=True),
        "configDescription": text(10_000, lines=True),
        "configTags": listed(_line, 100),
        "description": text(20_000, lines=True),
        "disableShuffling": flag,
        "downloadSize": digits(),
        "location": record({"urls": listed(_url, 10)}),
        "moduleName": grammar(re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,199}"), "a module's name"),
        "nondeterministicOrder": flag,
        "redistributionInfo": record({"license": text(2_000, lines=True)}),
        "releaseNotes": mapping(_version, text(2_000), 1000),
    },
)


def check_dataset_info(about: dict[str, Any]) -> None:
    """Checks the content of the dataset_info.json of a dataset of this package.

    TFDS would use its split names and file name templates as paths, and import the classes of its features.

    Raises:
      SchemaError: TFDS does not write such content for the package.
    """
    _dataset_info(about, "")
    names = [split["name"] for split in about["splits"]]
    if len(set(names)) < len(names) or not names:
        raise SchemaError(f"splits are {', '.join(names) or 'none'}; expected different ones, at least one")


def _features_of(*classes: type[tfds.features.FeatureConnector]) -> Kind:
    return one_of(*(f"{cls.__module__}.{cls.__name__}" for cls in classes))


_dtype = one_of("uint8", "int32", "int64", "float32", "bool")
_side = digits(1, SOURCE_SIZE)
_shape = record({}, {"dimensions": listed(_side, 3)})
_CONTENTS: dict[str, tuple[Kind, Kind]] = {
    "classLabel": (_features_of(tfds.features.ClassLabel), record({"numClasses": digits(1, LABEL_NAMES)})),
    "boundingBox": (
        _features_of(tfds.features.BBoxFeature),
        record({"dtype": _dtype, "shape": _shape}, {"bboxFormat": _line}),
    ),
    "image": (
        _features_of(tfds.features.Image),
        record({"dtype": one_of("uint8"), "encodingFormat": one_of("png", "jpeg"), "shape": _shape}),
    ),
    "tensor": (
        _features_of(tfds.features.Tensor, tfds.features.Scalar),
        record({"dtype": _dtype, "encoding": one_of("none", "bytes"), "shape": _shape}),
    ),
    "text": (_features_of(tfds.features.Text), record({})),
}
"""For each feature without inner features: TFDS's class, and the content that describes it."""
_feature_name = grammar(re.compile(r"[a-z][a-z0-9_]{0,63}"), "a feature's name")


def check_features(feature: Any, place: str = "") -> None:
    """Checks the content of features.json, or of a feature in it.

    TFDS would import the module of any class named there.

    Raises:
      SchemaError: It describes features that the package does not use.
    """
    where = place or "it"
    if not isinstance(feature, dict):
        raise SchemaError(f"{where} is {shown(feature)}; expected a feature")
    contents = feature.keys() - {"pythonClassName", "description"}
    content = next(iter(contents)) if len(contents) == 1 else None
    if not place and content != "featuresDict":
        raise SchemaError("it is not a dictionary of features")
    if content in _CONTENTS:
        of_class, contents_kind = _CONTENTS[content]
    elif content == "featuresDict":
        of_class = _features_of(tfds.features.FeaturesDict)
        contents_kind = record({"features": mapping(_feature_name, check_features, 64)})
    elif content == "sequence":
        of_class = _features_of(tfds.features.Sequence)
        contents_kind = record({"feature": check_features}, {"length": digits(-1, LABEL_NAMES)})
    else:
        raise SchemaError(f"{where} has the keys {', '.join(map(shown, sorted(feature)[:5]))}; expected one feature")
    kinds = {"pythonClassName": of_class, content: contents_kind}
    record(kinds, {"description": text(1_000)})(feature, place)


def check_label_names(content: bytes) -> None:
    """Checks a file of class names, one on each line.

    Raises:
      SchemaError: The content is not text, or a line is not a name.
    """
    try:
        names = content.decode().split("\n")
    except ValueError as error:
        raise SchemaError(f"is not text in UTF-8 ({line(str(error))})") from error
    listed(text(100), LABEL_NAMES + 1)(names, "its lines")

"""Features: the schema of an example, with a description of each feature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow_datasets as tfds

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.images.transforms import BUILT_IN
from nih_chest_xray.tasks import Task
from nih_chest_xray.vocabulary import (
    EXPERT_FINDINGS,
    FINDINGS,
    NO_AUGMENTATION,
    READER_ANSWERS,
    SEXES,
    SOURCE_SIZE,
    UNKNOWN_AGE,
    VIEWS,
)


def make_features(config: NihChestXrayConfig) -> tfds.features.FeaturesDict:
    """Returns the features of a config's examples."""
    task = config.definition
    features = {
        "image": _image(config),
        "label": _label(task),
        "image_name": tfds.features.Text(doc="The NIH's file name; an augmented copy's is <stem>_aug<k>.png."),
        "findings": tfds.features.Tensor(
            shape=(len(FINDINGS),),
            dtype=np.uint8,
            doc=f"1 for each text-mined finding, in the order {', '.join(FINDINGS)}; all 0 for No Finding.",
        ),
        "bboxes": tfds.features.Sequence(
            {
                "bbox": tfds.features.BBoxFeature(doc="ymin, xmin, ymax, xmax, in shares of height and width."),
                "finding": _classes(FINDINGS, "What the box holds; -1 for no box."),
            },
            length=config.max_boxes,
            doc="Radiologists' boxes, moved with an augmented image, then zeros with finding -1. Only 880 images of the"
            " release have any.",
        ),
        "augmentation": _classes(
            dict.fromkeys((NO_AUGMENTATION, *BUILT_IN, *config.augmentations)),
            "How the image differs from the NIH's; none if it does not.",
        ),
        "patient_id": _number("The NIH's number of the patient."),
        "follow_up": _number("The NIH's number of the patient's study, from 0."),
        "patient_age": _number(f"Years, at the time of the study; {UNKNOWN_AGE} if unknown."),
        "patient_sex": _classes(SEXES, "Sex in the patient's record."),
        "view_position": _classes(VIEWS, "PA, from back to front, or AP, from front to back."),
        "original_size": tfds.features.Tensor(
            shape=(2,), dtype=np.int32, doc="Width and height in pixels before the NIH's resize to 1024."
        ),
        "pixel_spacing": tfds.features.Tensor(
            shape=(2,), dtype=np.float32, doc="Width and height in mm of a pixel before the NIH's resize."
        ),
        "mm_per_pixel": tfds.features.Tensor(
            shape=(2,),
            dtype=np.float32,
            doc="Width and height in mm of a stored pixel; they differ, since the NIH resized images to a square.",
        ),
    }
    if task.read_by_radiologists:
        named = " or ".join(finding for finding in reversed(FINDINGS) if finding in task.positive)
        features["text_mined_label"] = _classes(task.classes, f"Whether the findings name {named}.")
        features |= {
            "expert_labels": _answers(
                len(EXPERT_FINDINGS),
                "What radiologists agreed on: 1 for yes, 0 for no, -1 where nothing was said, in the order"
                f" {', '.join(EXPERT_FINDINGS)}.",
            ),
            "reader_votes": _answers(
                len(READER_ANSWERS),
                "How many readings, before that, say yes, no and hedge to nodule or mass; -1 where there is none.",
            ),
            "expert_findings": _answers(
                len(FINDINGS),
                "On 810 images of the NIH's test list what other radiologists say of each text-mined finding, in the"
                " order of findings: 1 for yes, 0 for no; -1 elsewhere.",
            ),
            "nodule_votes": _number("How many of the five readers of these images say Nodule; -1 elsewhere."),
        }
    return tfds.features.FeaturesDict(features)


def _image(config: NihChestXrayConfig) -> tfds.features.FeatureConnector:
    """Returns the feature of the image: of one name, shape and type, however it is stored."""
    side = config.image_size or SOURCE_SIZE
    shape, doc = (side, side, 1), "The radiograph, grey; the whole of the NIH's 1024 x 1024 image."
    if config.image_format == "raw":
        return tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding=tfds.features.Encoding.BYTES, doc=doc)
    return tfds.features.Image(shape=shape, dtype=np.uint8, encoding_format=config.image_format, doc=doc)


def stored_format(features: tfds.features.FeaturesDict) -> str:
    """Returns how a dataset's images are stored: 'png', 'jpeg' or 'raw'."""
    image = features["image"]
    return (image.encoding_format or "png") if isinstance(image, tfds.features.Image) else "raw"


def _label(task: Task) -> tfds.features.FeatureConnector:
    if task.multi_label:
        return tfds.features.Tensor(shape=(len(task.classes),), dtype=np.uint8, doc=task.label_doc)
    return _classes(task.classes, task.label_doc)


def _classes(names: Iterable[str], doc: str) -> tfds.features.ClassLabel:
    return tfds.features.ClassLabel(names=list(names), doc=doc)


def _number(doc: str) -> tfds.features.Scalar:
    return tfds.features.Scalar(dtype=np.int32, doc=doc)


def _answers(length: int, doc: str) -> tfds.features.Tensor:
    # int32, as patient_age with its -1: records hold every integer as 64 bits, so a narrower type would save nothing.
    return tfds.features.Tensor(shape=(length,), dtype=np.int32, doc=doc)


def differences(stored: tfds.features.FeaturesDict, config: NihChestXrayConfig) -> list[str]:
    """Returns a text for each feature of a dataset that differs from the config's."""
    found, expected = (dict(_describe(features)) for features in (stored, make_features(config)))
    return [
        f"features.json and the labels.txt files: {name} is {found.get(name)}, by the config {expected.get(name)}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]


def _describe(feature: tfds.features.FeatureConnector, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(feature, tfds.features.FeaturesDict):
        for key, inner in feature.items():
            yield from _describe(inner, f"{name}/{key}".lstrip("/"))
    elif isinstance(feature, tfds.features.Sequence):
        info = feature.get_tensor_info()
        length = (next(iter(info.values())) if isinstance(info, dict) else info).shape[0]
        yield name, f"a sequence of {'any length' if length is None else length}"
        yield from _describe(feature.feature, f"{name}[]")
    else:
        more = f" {feature.names}" if isinstance(feature, tfds.features.ClassLabel) else ""
        if type(feature) is tfds.features.Tensor and feature.to_json_content().encoding != "none":
            more = f" as {feature.to_json_content().encoding}"
        yield name, f"{type(feature).__name__} {feature.shape} {np.dtype(feature.np_dtype).name}{more}"


def label_files(feature: tfds.features.FeatureConnector, name: str = "") -> Iterator[str]:
    """Yields the files in which TFDS keeps class names. If one is missing, TFDS uses numbers as names."""
    if isinstance(feature, tfds.features.FeaturesDict):
        for key, inner in feature.items():
            yield from label_files(inner, f"{name}-{key}".lstrip("-"))
    elif isinstance(feature, tfds.features.Sequence):
        yield from label_files(feature.feature, name)
    elif isinstance(feature, tfds.features.ClassLabel):
        yield f"{name}.labels.txt"

"""Show: draws radiographs of a dataset with labels, findings, boxes and augmented copies, for a notebook."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow_datasets as tfds

from nih_chest_xray.catalog.datasets import Built, damaged_records, open_dataset, refuse_overlong_records
from nih_chest_xray.catalog.shown import Shown
from nih_chest_xray.catalog.statistics import READ_CONFIG
from nih_chest_xray.catalog.stored import stored_pixels
from nih_chest_xray.errors import UsageError
from nih_chest_xray.vocabulary import DATASET, NO_AUGMENTATION, NO_FINDING, UNKNOWN_AGE, findings_of, is_copy, source_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIRST = 2000
"""Number of examples of a split among which the shown ones are chosen, so that little of a large one is read."""
_MOST = 100


def show_examples(
    dataset: Any, info: Any = None, *, split: str = "train", rows: int = 3, columns: int = 4, size: float = 2.4
) -> Figure:
    """Draws radiographs with their labels, findings and boxes, and augmented copies beside their sources.

    Of a built dataset, the examples are chosen among the first 2,000 of the split: the classes in turn, images with
    boxes first, each patient once where that is possible. Where there are augmented copies, up to half of the rows have
    pairs of an image and its copy. Of anything else, the first examples are shown, in their order.

    Args:
      dataset: What TFDS gives for a built dataset: a builder, a `DatasetInfo`, a `tf.data.Dataset` of single examples
        (or the dict of them without `split=`) with its `info`, or a data source. Or the folder of a dataset, or its
        name, such as 'nih_chest_xray/sample'.
      info: The `DatasetInfo` of a `tf.data.Dataset`, as `tfds.load(…, with_info=True)` returns it.
      split: The split to show, such as 'train' or 'test[:10%]'.
      rows: Number of rows, at most.
      columns: Number of images in a row.
      size: Side of an image in inches.

    Returns:
      A figure of matplotlib, which a notebook shows, and `savefig` writes to a file.

    Raises:
      ImportError: matplotlib is not installed.
      UsageError, CatalogError: There is no such dataset or split, or the examples are not those of this package.
    """
    _require_matplotlib()
    from nih_chest_xray.catalog.show_figure import draw  # Here, since its library is optional.

    if rows < 1 or columns < 1 or rows * columns > _MOST:
        raise UsageError(f"rows is {rows} and columns {columns}; expected at least 1, and {_MOST} images at most")
    examples, info, title = _examples(dataset, info, split, rows, columns)
    groups = [[_in_words(example, info) for example in group] for group in examples]
    if not groups:
        raise UsageError(f"{title} has no examples to show")
    return draw(groups, title, rows, columns, size)


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "show_examples draws with matplotlib, which is not installed: `pip install matplotlib`"
        ) from error


def _examples(
    dataset: Any, info: Any, split: str, rows: int, columns: int
) -> tuple[list[list[Mapping[str, Any]]], tfds.core.DatasetInfo, str]:
    """Returns examples, in groups that are shown side by side, their info, and a title."""
    if isinstance(dataset, Mapping):
        if split not in dataset:
            raise UsageError(f"the split is {split!r}; expected one of {', '.join(map(str, dataset))}")
        dataset = dataset[split]
    info = info or getattr(dataset, "dataset_info", None)  # Of a data source.
    if isinstance(dataset, tfds.core.DatasetInfo):
        dataset, info = dataset.data_dir, None
    if isinstance(dataset, str | os.PathLike | tfds.core.DatasetBuilder | Built):
        built = open_dataset(_folder_of(dataset))
        info = built.builder.info
        title = f"{built.full_name}, {split}{' (synthetic images)' if built.synthetic else ''}"
        return _chosen(built, split, rows, columns), info, title
    if not isinstance(dataset, Iterable):
        raise UsageError(
            f"dataset is {type(dataset).__name__}; expected a builder, a folder, or examples and their info"
        )
    if not isinstance(info, tfds.core.DatasetInfo) or info.name != DATASET:
        raise UsageError(
            f"info is {type(info).__name__}; expected what tfds.load('{DATASET}/…', with_info=True) returns beside the"
            " examples"
        )
    first = list(itertools.islice(map(_as_numpy, dataset), rows * columns))
    return _beside_their_sources(first), info, info.full_name.rpartition("/")[0]


def _folder_of(dataset: Any) -> Any:
    """Returns the folder of a dataset that is named as in `tfds.load`; anything else as it is."""
    if isinstance(dataset, str) and dataset.startswith(DATASET) and not Path(dataset).exists():
        try:
            builder = tfds.builder(dataset)
        except ValueError as error:
            raise UsageError(f"{dataset} is neither a folder nor a dataset that was built here") from error
        if not builder.is_prepared():
            raise UsageError(f"{builder.data_dir} is not there: build {dataset} first, or name the folder of a dataset")
        return builder.data_dir
    return dataset


def _as_numpy(example: Any) -> Mapping[str, Any]:
    if isinstance(example, tuple | list) and len(example) == 2:  # With as_supervised=True.
        example = {"image": example[0], "label": example[1]}
    if not isinstance(example, Mapping) or "image" not in example:
        raise UsageError("an example has no image; expected examples as tfds.load gives them, decoded and not batched")
    arrays = _arrays(example)
    pixels = arrays["image"]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 1:
        raise UsageError(
            f"an image is {pixels.shape} {pixels.dtype}; expected (height, width, 1) uint8, as tfds.load gives it, not"
            " batched or changed"
        )
    return arrays


def _arrays(features: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arrays of tensors, or of what a data source gives, which has the boxes as a list of arrays."""
    return {key: _arrays(value) if isinstance(value, Mapping) else np.asarray(value) for key, value in features.items()}


def _name_of(example: Mapping[str, Any]) -> str:
    return np.asarray(example.get("image_name", b"")).item().decode()


def _beside_their_sources(examples: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Returns each example alone, but augmented copies together with their source, where that is one of them."""
    groups = {_name_of(example) or str(number): [example] for number, example in enumerate(examples)}
    for name in list(groups):
        if is_copy(name) and (source := source_of(name)) in groups:
            groups[str(source)] += groups.pop(name)
    return list(groups.values())


def _chosen(built: Built, split: str, rows: int, columns: int) -> list[list[Mapping[str, Any]]]:
    """Returns the examples of a dataset to show: single ones, then pairs of an image and its copy."""
    info = built.builder.info
    try:
        info.splits[split]
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"the split is {split!r}; expected one of {', '.join(info.splits)}, or a part of one"
        ) from error
    refuse_overlong_records(built)
    try:
        fields = [_without_image(example) for example in itertools.islice(_read(built, split), _FIRST)]
        groups = _choose(fields, info, rows, columns)
        numbers = sorted(itertools.chain.from_iterable(groups))
        found = dict(zip(numbers, _read_whole(built, split, numbers), strict=True))
    except Exception as error:  # A damaged file can cause any error in TensorFlow, Arrow or array_record.
        raise damaged_records(built, error) from error
    return [[found[number] for number in group] for group in groups]


def _read(built: Built, split: str) -> Iterator[Mapping[str, Any]]:
    """Yields examples with their images as they are stored."""
    raw = {"image": tfds.decode.SkipDecoding()}
    if built.file_format == "array_record":
        return iter(built.builder.as_data_source(split, decoders=raw))
    return iter(tfds.as_numpy(built.builder.as_dataset(split=split, decoders=raw, read_config=READ_CONFIG)))


def _without_image(example: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in example.items() if key != "image"}


def _read_whole(built: Built, split: str, numbers: Sequence[int]) -> Iterator[Mapping[str, Any]]:
    """Yields the examples with these numbers, with their images' pixels."""
    for number, example in enumerate(itertools.islice(_read(built, split), max(numbers, default=-1) + 1)):
        if number in numbers:
            yield {**example, "image": stored_pixels(built, example)}


def _choose(
    fields: Sequence[Mapping[str, Any]], info: tfds.core.DatasetInfo, rows: int, columns: int
) -> list[list[int]]:
    """Returns the numbers of examples to show: single ones, then pairs."""
    number_of = {_name_of(example): number for number, example in enumerate(fields)}
    boxed = [bool((np.asarray(example["bboxes"]["finding"]) >= 0).any()) for example in fields]
    pairs: list[list[int]] = []
    patients: set[int] = set()
    copies = [number for name, number in number_of.items() if is_copy(name) and source_of(name) in number_of]
    for number in _in_turn({n: (int(fields[n]["augmentation"]),) for n in sorted(copies, key=lambda n: not boxed[n])}):
        if len(pairs) == (rows // 2) * (columns // 2):
            break
        if (patient := int(fields[number]["patient_id"])) not in patients:
            patients.add(patient)
            pairs.append([number_of[str(source_of(_name_of(fields[number])))], number])
    labels = {
        number: _label(info.features["label"], example["label"]).split(", ")
        for number, example in enumerate(fields)
        if not is_copy(_name_of(example)) and int(example["patient_id"]) not in patients
    }
    changed = {n: int(fields[n]["augmentation"]) for n in labels}
    best = sorted(labels, key=lambda n: (changed[n] > 0, not boxed[n], n))
    new: list[int] = []
    again: list[int] = []
    for number in _in_turn({n: tuple(labels[n]) for n in best}):
        patient = int(fields[number]["patient_id"])
        (again if patient in patients else new).append(number)
        patients.add(patient)
    room = rows * columns - 2 * len(pairs)
    return [[number] for number in (new + again)[:room]] + pairs


def _in_turn(groups_of: Mapping[int, Sequence[Any]]) -> list[int]:
    """Returns numbers so that each group has its turn, the smallest one first; a number may be in several."""
    having: dict[Any, list[int]] = {}
    for number, groups in groups_of.items():
        for group in groups:
            having.setdefault(group, []).append(number)
    queues = [iter(having[group]) for group in sorted(having, key=lambda group: (len(having[group]), str(group)))]
    taken: dict[int, None] = {}
    while queues:
        left = []
        for queue in queues:
            for number in itertools.islice((number for number in queue if number not in taken), 1):
                taken[number] = None
                left.append(queue)
        queues = left
    return list(taken)


def _label(feature: tfds.features.FeatureConnector, value: Any) -> str:
    if isinstance(feature, tfds.features.ClassLabel):
        return feature.int2str(int(value))
    return ", ".join(findings_of(np.asarray(value).tolist())) or NO_FINDING


def _in_words(example: Mapping[str, Any], info: tfds.core.DatasetInfo) -> Shown:
    features, pixels = info.features, np.asarray(example["image"])
    pixels = pixels.reshape(pixels.shape[:2])
    label = _label(features["label"], example["label"])
    lines = []
    if "findings" in example:
        findings = ", ".join(findings_of(np.asarray(example["findings"]).tolist())) or NO_FINDING
        lines += [] if findings == label else [f"text-mined: {findings}"]
    if "augmentation" in example:
        augmentation = features["augmentation"].int2str(int(example["augmentation"]))
        lines += [] if augmentation == NO_AUGMENTATION else [f"augmented: {augmentation}"]
    about = [_name_of(example).removesuffix(".png")]
    about += [features[key].int2str(int(example[key])) for key in ("view_position", "patient_sex") if key in example]
    if (age := int(example.get("patient_age", UNKNOWN_AGE))) != UNKNOWN_AGE:
        about.append(f"{age}\u00a0years")  # On one line.
    lines += [" · ".join(filter(None, about))]
    boxes = example.get("bboxes", {"bbox": (), "finding": ()})
    return Shown(
        pixels,
        _name_of(example),
        label.replace("_", " "),
        tuple(text.replace("_", " ") if number + 1 < len(lines) else text for number, text in enumerate(lines)),
        tuple(
            (features["bboxes"]["finding"].int2str(int(code)).replace("_", " "), xmin, ymin, xmax - xmin, ymax - ymin)
            for (ymin, xmin, ymax, xmax), code in zip(boxes["bbox"], boxes["finding"], strict=True)
            if code >= 0
        ),
    )

"""Configs: what a build can be told, checked as soon as it is said, and the named configs."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, TypeVar

import tensorflow_datasets as tfds

from nih_chest_xray.errors import UsageError
from nih_chest_xray.images import augmentation
from nih_chest_xray.tasks import TASKS
from nih_chest_xray.vocabulary import SUBSETS, VIEWS

SPLITS = tuple(dict.fromkeys(split for task in TASKS.values() for split in task.splits))
IMAGE_FORMATS = ("png", "jpeg")
CONFIG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""The grammar of a config's name, which is the name of a folder too."""
_T = TypeVar("_T")


def _field(default: _T, doc: str) -> _T:
    return dataclasses.field(default=default, metadata={"doc": doc})


@dataclasses.dataclass(eq=False, kw_only=True)
class NihChestXrayConfig(tfds.core.BuilderConfig):
    """A choice of images, split, augmentation and encoding. Every field has a default, so one thing can be changed.

    What a field does stands beside its default, and in its `metadata["doc"]`, from which the catalog's page takes it.
    """

    task: str = _field(
        "nodule",
        "'nodule' is Nodule against No Finding. 'findings' is all images, and which of the 14 findings each has."
        " 'nodule_expert' is Nodule or Mass against neither: text-mined in training, by radiologists in evaluation.",
    )
    views: tuple[str, ...] = _field(VIEWS, "View positions kept, from 'PA' and 'AP'.")
    healthy_stride: int = _field(
        2, "Keeps every n-th No Finding image, in the order of image names, starting with the first; 1 keeps all."
    )
    archives: tuple[int, ...] = _field(
        (),
        "Numbers of the NIH's archives, from 1 to 12: only their images are kept, and only they are downloaded. Each"
        " image has the subset that it has in a build of the whole release. Empty keeps the whole release.",
    )
    split: str = _field(
        "stratified",
        "'stratified' balances classes, views, sexes and ages and keeps patients whole; 'official' takes the NIH's"
        " test list and carves validation from the rest in the same way; 'lists' takes lists of your own; 'expert',"
        " which is for the task 'nodule_expert' alone, validates and tests on the images that radiologists labelled.",
    )
    split_lists: dict[str, str] | None = _field(  # noqa: RUF009 (The default is None.)
        None,
        "For the split 'lists': the file of image names of each subset, {'train': …, 'validation': …, 'test': …}, by"
        " a path in the manual_dir or an absolute one. Train and one other are needed. Images that are in no list are"
        " left out.",
    )
    allow_shared_patients: bool = _field(
        False,
        "For the split 'lists': builds also if a patient is in several subsets, and says of how many that is so."
        " Scores on such subsets are too good: a network has seen the patient in training.",
    )
    validation_fraction: float = _field(
        0.1, "Share of the cohort, or with the official split of its train_val part, in (0, 1)."
    )
    test_fraction: float = _field(
        0.1,
        "Share of the cohort, in (0, 1). Not used with the official split. The splits 'lists' and 'expert' use"
        " neither.",
    )
    augmented_copies: int = _field(0, "Copies of each training image with a nodule, beside the image itself.")
    augmentations: tuple[str, ...] = _field(
        augmentation.BUILT_IN, "Names of registered augmentations. Each copy gets one."
    )
    rotation_degrees: float = _field(10.0, "The angle of a rotation is drawn uniformly from plus or minus this.")
    image_size: int | None = _field(
        512,
        "Pixels a side; None stores the NIH's own PNG bytes at 1024. (One image in 200 is RGBA, with R = G = B: of"
        " these it stores a grey PNG of the same pixels, not the NIH's bytes.)",
    )
    image_format: str = _field("png", "'png' is lossless; 'jpeg' (quality 95) is smaller and faster to read.")
    seed: int = _field(0, "Of the split and of the augmentation.")
    allow_missing_images: bool = _field(
        False, "Builds from the images that are there and whole; each keeps the subset that it has in a full build."
    )
    allow_resized_images: bool = _field(
        False,
        "Takes resized copies of the NIH's images too, square and grey, PNG or JPEG, of image_size or more pixels a"
        " side. An image of image_size is stored with the copy's own pixels, a larger one is averaged, and for"
        " augmentation a copy is first brought to 1024 pixels. These are not the NIH's pixels.",
    )
    phantom_patients: int = _field(
        0, "If not 0, reads no release but draws one: a synthetic one of this many patients."
    )

    def __new__(cls, *_args: object, **given: object) -> NihChestXrayConfig:
        """Refuses a field that there is not, and a config without a name, in plainer words than Python's own.

        Raises:
          TypeError: A name is none of a field, or there is no name.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        if unknown := [name for name in given if name not in fields]:
            raise TypeError(f"a config has no field {unknown[0]!r}; its fields are {', '.join(fields)}")
        if given and "name" not in given:
            raise TypeError('a config of your own needs a name: "name": "…"')
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
          ValueError: A field has a value that cannot be built. The message names it and says what was expected.
        """
        good = isinstance(self.name, str) and bool(CONFIG_NAME.fullmatch(self.name))
        expected = "letters, digits, '_', '.' and '-', up to 100 (it is a folder's name), the first no sign"
        self._check("name", good, expected)
        self.views = self._names("views", VIEWS)
        self.augmentations = self._names("augmentations", None)
        for name in self.augmentations:
            augmentation.get_augmentation(name)  # Its error tells how to add one.
        for field, choices in (("task", TASKS), ("split", SPLITS), ("image_format", IMAGE_FORMATS)):
            self._check(field, getattr(self, field) in choices, " or ".join(map(repr, choices)))
        self._check_whole("healthy_stride", 1, None)
        self.archives = self._archive_numbers()
        self._check_whole("augmented_copies", 0, 1000)
        self._check_whole("seed", None, None)
        self._check_whole("phantom_patients", 0, 30_805)
        for field in ("validation_fraction", "test_fraction"):
            value = getattr(self, field)
            self._check(field, _is_number(value) and 0 < value < 1, "a number between 0 and 1, neither included")
        fitting = TASKS[self.task].splits
        self._check("split", self.split in fitting, f"{' or '.join(map(repr, fitting))} with task={self.task!r}")
        self._check_lists()
        if self.split == "stratified":
            total = self.validation_fraction + self.test_fraction
            self._check("test_fraction", total < 1, f"less than 1 together with validation_fraction (now {total:g})")
        degrees = self.rotation_degrees
        self._check("rotation_degrees", _is_number(degrees) and 0 < degrees <= 180, "a number above 0, up to 180")
        if self.image_size is not None:
            self._check_whole("image_size", 16, 1024, ", or null (None) for the NIH's own PNG bytes at 1024")
        elif self.image_format != "png":
            self._check("image_format", False, "'png' with image_size null, which stores the NIH's own PNG bytes")
        for field in ("allow_missing_images", "allow_resized_images"):
            self._check(field, isinstance(getattr(self, field), bool), "true or false")
        good = not self.allow_resized_images or self.image_size is not None
        self._check("allow_resized_images", good, "false with image_size null, which stores the NIH's own PNG bytes")
        augmentation.draw_augmentations(self.augmentations, self.seed, "", self.augmented_copies)

    @property
    def choices(self) -> dict[str, Any]:
        """The fields that this class adds to TFDS's, as they go into metadata.json."""
        inherited = {field.name for field in dataclasses.fields(tfds.core.BuilderConfig)}
        return {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in inherited
        }

    def _check(self, field: str, good: bool, expected: str) -> None:
        if not good:
            raise ValueError(f"config {self.name!r}: {field}={getattr(self, field)!r}; expected {expected}")

    def _check_lists(self) -> None:
        lists = self.split_lists
        self._check("allow_shared_patients", isinstance(self.allow_shared_patients, bool), "true or false")
        if self.split != "lists":
            self._check("split_lists", lists is None, "null (None) unless split is 'lists'")
            self._check("allow_shared_patients", not self.allow_shared_patients, "false unless split is 'lists'")
            return
        paths = list(lists.values()) if isinstance(lists, dict) else []
        good = isinstance(lists, dict) and "train" in lists and len(lists) > 1 and set(lists) <= set(SUBSETS)
        good = good and all(isinstance(path, str) and path for path in paths)
        self._check("split_lists", good, "the path of a list for 'train' and for 'validation', 'test' or both")
        # metadata.json knows a list by the name of its file.
        good = len({path.replace("\\", "/").rsplit("/", 1)[-1] for path in paths}) == len(paths)
        self._check("split_lists", good, "files of different names")

    def _check_whole(self, field: str, low: int | None, high: int | None, alternative: str = "") -> None:
        value = getattr(self, field)
        good = isinstance(value, int) and not isinstance(value, bool)
        good = good and (low is None or value >= low) and (high is None or value <= high)
        limits = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
        self._check(field, good, f"a whole number{limits}{alternative}")

    def _names(self, field: str, choices: tuple[str, ...] | None) -> tuple[str, ...]:
        """Returns a field that lists different names; JSON gives lists for tuples."""
        value = getattr(self, field)
        good = isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(name, str) for name in value)
        good = good and len(set(value)) == len(value) and (choices is None or set(value) <= set(choices))
        self._check(field, good, "a list of different names" + (f" from {', '.join(choices)}" if choices else ""))
        return tuple(value)

    def _archive_numbers(self) -> tuple[int, ...]:
        """Returns them sorted, so that the same archives in another order are the same config."""
        value = self.archives
        good = isinstance(value, list | tuple) and all(type(number) is int and 1 <= number <= 12 for number in value)
        good = good and len(set(value)) == len(value)
        self._check("archives", good, "a list of different whole numbers from 1 to 12; [] for the whole release")
        return tuple(sorted(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


NAMED_CONFIGS = [
    NihChestXrayConfig(
        name="nodule",
        description="Nodule against No Finding, every second No Finding image, 80 / 10 / 10 by patients.",
    ),
    NihChestXrayConfig(
        name="nodule_augmented",
        description="As nodule, with one rotated or flipped copy of each training image with a nodule.",
        augmented_copies=1,
    ),
    NihChestXrayConfig(
        name="findings",
        description="All images with their 14 findings, multi-label; the NIH's test list, validation from the rest.",
        task="findings",
        healthy_stride=1,
        split="official",
        validation_fraction=0.125,
    ),
    NihChestXrayConfig(
        name="first_archive",
        description="As nodule, of the images in the first of the NIH's twelve archives alone: for a first run, 2 GB.",
        archives=(1,),
    ),
    NihChestXrayConfig(
        name="sample",
        description="As nodule_augmented, on a small synthetic release that the package draws: for a first run.",
        augmented_copies=1,
        validation_fraction=0.2,
        test_fraction=0.2,
        phantom_patients=60,
    ),
    NihChestXrayConfig(
        name="nodule_expert",
        description=(
            "Nodule or Mass against No Finding, text-mined, for training; validation and test are the images that"
            " radiologists labelled (Majkowska et al., Radiology 2020), whatever else these show, and none of their"
            " patients is in training."
        ),
        task="nodule_expert",
        split="expert",
    ),
]
"""The first is the default. The last needs files that users must request themselves, so that a build of all configs has
finished the others before it asks for them."""


def config_of(text: str) -> NihChestXrayConfig:
    """Returns the config that a name or a JSON object names, as `tfds build --config` takes it.

    Raises:
      UsageError: There is none.
    """
    named = {config.name: config for config in NAMED_CONFIGS}
    if text in named:
        return named[text]
    expected = f"--config {text!r}: expected one of {', '.join(named)}, or a JSON object of fields"
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{expected} ({error})." if text.lstrip().startswith("{") else f"{expected}.") from None
    if not isinstance(fields, dict) or not fields:
        raise UsageError(f"{expected}.")
    try:
        config = NihChestXrayConfig(**fields)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--config: {error}") from None
    if config.name in named:
        raise UsageError(f"--config: the name {config.name!r} is that of a named config; give yours another.")
    return config

"""Config: the options of a build, checked when a config is created."""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import Any, ClassVar, TypeVar

import tensorflow_datasets as tfds

from nih_chest_xray.images import augmentation, transforms
from nih_chest_xray.tasks import NEGATIVES, TASKS, Task, make_task
from nih_chest_xray.vocabulary import FINDINGS, SUBSETS, VIEWS, copies_of, fold_name

SPLITS = tuple(dict.fromkeys(split for splits in TASKS.values() for split in splits))
IMAGE_FORMATS = ("png", "jpeg", "raw")
DEFAULT_AUGMENTATIONS = ("rotation", "horizontal_flip")
RANGES = {
    "rotation_degrees": 180,
    "translation_fraction": 0.5,
    "zoom_fraction": 0.5,
    "brightness_fraction": 0.9,
    "contrast_fraction": 0.9,
    "gamma_fraction": 0.9,
    "noise_stddev": 128,
}
"""The largest value of each field that gives the range of a built-in augmentation."""
CONFIG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""What a config's name must match; it is also the name of a folder."""
_T = TypeVar("_T")


def _field(default: _T, doc: str) -> _T:
    return dataclasses.field(default=default, metadata={"doc": doc})


@dataclasses.dataclass(eq=False, kw_only=True)
class NihChestXrayConfig(tfds.core.BuilderConfig):
    """Which images a build takes, and how it splits, augments and encodes them. Every field has a default.

    Each field is documented next to its default. The catalog's page shows the same text, from `metadata["doc"]`.
    """

    named: ClassVar[dict[str, NihChestXrayConfig]] = {}
    """The named configs, by name; `named_configs` fills it."""

    based_on: str | None = _field(
        None, "Name of a named config, whose fields are then the defaults. None takes the defaults below."
    )
    task: str = _field(
        "binary",
        "'binary' is the findings in `positive` against what `negative` says. 'findings' is all images, multi-label"
        " with the 14 findings. 'nodule_expert' is Nodule or Mass against neither, with text-mined labels in training"
        " and radiologists' labels in validation and test.",
    )
    positive: tuple[str, ...] = _field(
        ("Nodule",), "Findings that make an image positive, for the task 'binary'. One of them is enough."
    )
    negative: str = _field(
        "no_finding",
        "Negatives of a task of two classes (in 'nodule_expert' those of training). 'no_finding' takes images without"
        " any finding, and leaves out images that have other findings alone. 'rest' takes all that are not positive.",
    )
    views: tuple[str, ...] = _field(VIEWS, "View positions to keep: 'PA', 'AP' or both.")
    one_image_per_patient: str | None = _field(
        None, "'first' keeps each patient's first image, by follow-up number, of the views to keep. None keeps all."
    )
    healthy_stride: int = _field(
        2, "Keeps every n-th No Finding image, in the order of image names, starting with the first; 1 keeps all."
    )
    archives: tuple[int, ...] = _field(
        (),
        "Numbers of the NIH's archives, from 1 to 12: only these are downloaded, and only their images are kept. Each"
        " image has the subset that it has in a build of the whole release. Empty keeps the whole release.",
    )
    split: str = _field(
        "stratified",
        "'stratified' balances classes, views, sexes and ages, and keeps each patient in one subset. 'official' uses"
        " the NIH's test list and draws validation from the rest in the same way. 'lists' uses your own lists. 'folds'"
        " divides into `folds` parts for cross-validation, and a test subset, in the same way as 'stratified'."
        " 'expert', only for the task 'nodule_expert', validates and tests on the images that radiologists labelled."
        " 'expert_all', for the task 'binary' with Nodule alone, tests on the 810 images whose nodules radiologists"
        " labelled apart from masses, and draws validation from the rest.",
    )
    split_lists: dict[str, str] | None = _field(  # noqa: RUF009 (The default is None.)
        None,
        "For the split 'lists': {'train': …, 'validation': …, 'test': …}, the path of each subset's file of image"
        " names, relative to the manual_dir or absolute. 'train' and at least one other are required. Images in no"
        " list are left out.",
    )
    allow_shared_patients: bool = _field(
        False,
        "For the split 'lists': allows patients to be in several subsets, and reports how many are. Scores on such"
        " subsets are too good: a network has seen the patients in training.",
    )
    validation_fraction: float = _field(
        0.1,
        "Share of the cohort, in (0, 1). With the official split, share of its train_val part; with 'expert_all', of"
        " what is not in test.",
    )
    test_fraction: float = _field(
        0.1,
        "Share of the cohort, in (0, 1). Not used by the splits 'official' and 'expert_all'. The splits 'lists' and"
        " 'expert' use neither fraction, and 'folds' only this one, which may then be 0 for no test subset.",
    )
    folds: int = _field(
        5,
        "For the split 'folds': how many. They are called fold_0, fold_1, …. Augmented copies of the images of fold_0"
        " are in fold_0_augmented, so that you can leave them out where the fold validates.",
    )
    official_test: bool = _field(
        False, "For the split 'folds': takes the NIH's test list as the test subset, whatever `test_fraction` says."
    )
    augmented_copies: int = _field(0, "Copies of each positive training image, in addition to the image.")
    augmentations: tuple[str, ...] = _field(
        DEFAULT_AUGMENTATIONS,
        "Names of augmentations. Each copy gets one. Built in: " + ", ".join(transforms.BUILT_IN) + ". Names joined by"
        " '+', such as 'rotation+contrast', are a chain: a copy gets all of them.",
    )
    matched_augmentation: bool = _field(
        False,
        "Also augments training negatives, in place: drawn by hash, so that each augmentation has the same share of"
        " the images of both classes, to one image. Negatives get no copies.",
    )
    rotation_degrees: float = _field(
        10.0,
        "Rotation angles are drawn uniformly from plus or minus [a fifth of this, this], and so are the amounts of the"
        " other augmentations: a copy that is its source teaches nothing.",
    )
    rotation_fill: str = _field(
        "black",
        "What comes in from outside when an image is rotated, translated or shrunk: 'black', or 'reflect', which"
        " mirrors the image at its edges.",
    )
    translation_fraction: float = _field(
        0.05, "Largest translation in x and in y, in both directions, as a share of the side."
    )
    zoom_fraction: float = _field(0.1, "Zoom factors are 1 plus or minus up to this.")
    brightness_fraction: float = _field(
        0.1, "Largest change of brightness, in both directions, as a share of the range of grey levels, 255."
    )
    contrast_fraction: float = _field(
        0.2, "Differences from the image's mean grey level are multiplied by 1 plus or minus up to this."
    )
    gamma_fraction: float = _field(0.2, "Grey levels, from 0 to 1, are raised to 1 plus or minus up to this.")
    noise_stddev: float = _field(
        8.0,
        "Largest standard deviation of Gaussian noise, in grey levels of the 1024 pixel image; averaging to 512 halves"
        " it. The smallest is a fifth.",
    )
    max_boxes: int = _field(
        4,
        "Number of bounding boxes that every example stores. Unused places hold zeros and finding -1. No image in the"
        " NIH's list has more than 4.",
    )
    image_size: int | None = _field(
        512,
        "Pixels per side. None stores the NIH's own PNG bytes at 1024. (One image in 200 is RGBA with R = G = B, and"
        " is stored as a grey PNG of the same pixels instead.)",
    )
    image_format: str = _field(
        "png",
        "'png' is lossless; 'jpeg' is smaller and faster to read; 'raw' stores the pixels as they are, which takes"
        " more than twice the room of 'png' and no time to decode.",
    )
    jpeg_quality: int = _field(95, "Quality of 'jpeg', from 1 to 100. It has no effect on the other formats.")
    seed: int = _field(0, "Random seed of the split and of the augmentation.")
    allow_missing_images: bool = _field(
        False, "Builds from the images that exist and are intact. Each has the subset that it has in a full build."
    )
    allow_resized_images: bool = _field(
        False,
        "Also uses resized copies of the NIH's images: square, grey, PNG or JPEG, with image_size or more pixels per"
        " side. A copy of image_size is stored with its own pixels; a larger one is downsampled by area averaging."
        " Before augmentation a copy is resized to 1024 pixels. These are not the NIH's pixels.",
    )
    phantom_patients: int = _field(
        0, "If not 0, draws a synthetic release of this many patients instead of reading one."
    )

    def __new__(cls, *_args: object, **given: object) -> NihChestXrayConfig:
        """Rejects unknown fields and a config without a name, with clearer messages than Python's.

        Raises:
          TypeError: A field is unknown, or the name is missing.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        if unknown := [name for name in given if name not in fields]:
            near = difflib.get_close_matches(unknown[0], fields, 1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; its fields are {', '.join(fields)}"
            raise TypeError(f"a config has no field {unknown[0]!r}{meant}")
        if given and "name" not in given:
            raise TypeError('a custom config needs a name: "name": "…"')
        config = super().__new__(cls)
        config._given = frozenset(given)
        return config

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
          ValueError: A field has an invalid value. The message names the field and says what was expected.
        """
        good = isinstance(self.name, str) and bool(CONFIG_NAME.fullmatch(self.name))
        expected = "letters, digits, '_', '.' and '-', at most 100, the first a letter or digit (it is a folder's name)"
        self._check("name", good, expected)
        if self.based_on is not None:
            self._take_defaults_of(self.based_on)
        self.views = self._names("views", VIEWS)
        self.augmentations = self._names("augmentations", None)
        for name in self.augmentations:
            augmentation.get_augmentation(name)  # Its error says how to add one.
        for field, choices in (("task", TASKS), ("split", SPLITS), ("image_format", IMAGE_FORMATS)):
            self._check(field, getattr(self, field) in choices, " or ".join(map(repr, choices)))
        self.positive = self._names("positive", FINDINGS)
        self._check("negative", self.negative in NEGATIVES, " or ".join(map(repr, NEGATIVES)))
        self._check("one_image_per_patient", self.one_image_per_patient in (None, "first"), "'first', or null (None)")
        self._check_whole("healthy_stride", 1, None)
        self.archives = self._archive_numbers()
        self._check_whole("augmented_copies", 0, 1000)
        self._check_whole("max_boxes", 1, 100)
        self._check_whole("seed", None, None)
        self._check_whole("phantom_patients", 0, 30_805)
        for field in ("validation_fraction", "test_fraction"):
            value = getattr(self, field)
            if field == "test_fraction" and self.split == "folds":
                self._check(field, _is_number(value) and 0 <= value < 1, "a number of at least 0 and less than 1")
            else:
                self._check(field, _is_number(value) and 0 < value < 1, "a number between 0 and 1, neither included")
        fitting = TASKS[self.task]
        self._check("split", self.split in fitting, f"{' or '.join(map(repr, fitting))} with task={self.task!r}")
        alone = self.positive == ("Nodule",)
        self._check("positive", alone or self.split != "expert_all", "['Nodule'] alone with split='expert_all'")
        self._check_lists()
        self._check_whole("folds", 2, 20)
        default = type(self).folds
        self._check("folds", self.split == "folds" or self.folds == default, f"{default} unless split is 'folds'")
        if self.split == "stratified":
            total = self.validation_fraction + self.test_fraction
            self._check("test_fraction", total < 1, f"less than 1 together with validation_fraction (now {total:g})")
        for field, most in RANGES.items():
            value = getattr(self, field)
            self._check(field, _is_number(value) and 0 < value <= most, f"a number above 0, up to {most}")
        fills = transforms.FILLS
        self._check("rotation_fill", self.rotation_fill in [*fills], " or ".join(map(repr, fills)))
        if self.image_size is not None:
            self._check_whole("image_size", 16, 1024, ", or null (None) for the NIH's own PNG bytes at 1024")
        elif self.image_format != "png":
            self._check("image_format", False, "'png' with image_size null, which stores the NIH's own PNG bytes")
        self._check_whole("jpeg_quality", 1, 100)
        for field in ("official_test", "matched_augmentation", "allow_missing_images", "allow_resized_images"):
            self._check(field, isinstance(getattr(self, field), bool), "true or false")
        self._check("official_test", self.split == "folds" or not self.official_test, "false unless split is 'folds'")
        good = not self.allow_resized_images or self.image_size is not None
        self._check("allow_resized_images", good, "false with image_size null, which stores the NIH's own PNG bytes")
        good = not self.matched_augmentation or self.augmented_copies > 0
        self._check("augmented_copies", good, "at least 1 with matched_augmentation: copies give the shares to match")
        good = not self.matched_augmentation or self.split != "folds"
        self._check(
            "matched_augmentation", good, "false with split='folds', where images that are trained on validate too"
        )
        augmentation.draw_augmentations(self.augmentations, self.seed, "", self.augmented_copies)

    @property
    def definition(self) -> Task:
        """The task that a network is to learn."""
        return make_task(self.task, self.positive, self.negative, self.split)

    @property
    def uses_official_lists(self) -> bool:
        """Whether the NIH's test list is the test subset."""
        return self.split == "official" or self.official_test

    @property
    def image_subsets(self) -> tuple[str, ...]:
        """The subsets that images are divided into."""
        if self.split != "folds":
            return SUBSETS
        return (*map(fold_name, range(self.folds)), *(["test"] if self.official_test or self.test_fraction else []))

    @property
    def copy_subsets(self) -> dict[str, str]:
        """The subsets whose images are augmented, and for each the subset that holds the copies."""
        if self.split != "folds":
            return {"train": "train"}
        return {fold: copies_of(fold) for fold in map(fold_name, range(self.folds))}

    @property
    def training_subsets(self) -> frozenset[str]:
        """The subsets that a network is trained on, those of copies too. With folds one of them validates at a time."""
        return frozenset({*self.copy_subsets, *self.copy_subsets.values()})

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets that examples are in: those of the images, then those of the copies."""
        of_copies = self.copy_subsets.values() if self.augmented_copies else ()
        return tuple(dict.fromkeys((*self.image_subsets, *of_copies)))

    @property
    def choices(self) -> dict[str, Any]:
        """The fields that this class adds to TFDS's, as metadata.json stores them."""
        inherited = {field.name for field in dataclasses.fields(tfds.core.BuilderConfig)}
        return {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in inherited
        }

    def _take_defaults_of(self, name: str) -> None:
        self._check("based_on", name in self.named, f"one of {', '.join(self.named)}")
        for field, value in self.named[name].choices.items():
            if field not in self._given and field != "based_on":
                setattr(self, field, value)

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
        # metadata.json identifies a list by its file name.
        good = len({path.replace("\\", "/").rsplit("/", 1)[-1] for path in paths}) == len(paths)
        self._check("split_lists", good, "files with different names")

    def _check_whole(self, field: str, low: int | None, high: int | None, alternative: str = "") -> None:
        value = getattr(self, field)
        good = isinstance(value, int) and not isinstance(value, bool)
        good = good and (low is None or value >= low) and (high is None or value <= high)
        limits = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
        self._check(field, good, f"a whole number{limits}{alternative}")

    def _names(self, field: str, choices: tuple[str, ...] | None) -> tuple[str, ...]:
        """Returns a field's list of different names as a tuple; JSON has only lists."""
        value = getattr(self, field)
        good = isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(name, str) for name in value)
        good = good and len(set(value)) == len(value) and (choices is None or set(value) <= set(choices))
        self._check(field, good, "a list of different names" + (f" from {', '.join(choices)}" if choices else ""))
        return tuple(value)

    def _archive_numbers(self) -> tuple[int, ...]:
        """Returns the archives' numbers sorted, so that their order makes no difference."""
        value = self.archives
        good = isinstance(value, list | tuple) and all(type(number) is int and 1 <= number <= 12 for number in value)
        good = good and len(set(value)) == len(value)
        self._check("archives", good, "a list of different whole numbers from 1 to 12; [] for the whole release")
        return tuple(sorted(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Vocabulary: defines the release's terms and names: findings, views, file names, image names, sizes."""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Sequence

DATASET = "nih_chest_xray"
"""The dataset's name in TFDS."""
SUBSETS = ("train", "validation", "test")
"""The subsets of every split but folds."""
SUBSET_NAME = re.compile(r"train|validation|test|fold_[0-9]{1,2}(_augmented)?")
"""The name of any subset of a dataset."""
_OF_COPIES = "_augmented"

# Terms of the label file.

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
"""The 14 text-mined findings, in alphabetical order, spelt as the NIH spells them."""
NO_FINDING = "No Finding"
IMAGES = 112_120
"""Number of images of the release."""
IMAGES_WITH = dict(
    zip(
        FINDINGS,
        (11_559, 2_776, 4_667, 2_303, 13_317, 2_516, 1_686, 227, 19_894, 5_782, 6_331, 3_385, 1_431, 5_302),
        strict=True,
    )
)
"""Number of the release's images with each finding, counted in the NIH's Data_Entry_2017_v2020.csv."""
SEXES = ("F", "M")
SEX_IN_WORDS = {"F": "female", "M": "male"}
VIEWS = ("PA", "AP")
UNKNOWN_AGE = -1
OLDEST_AGE = 120
"""Years. An age above this is a mistake in the table (the 2017 file has ages above 400)."""
NO_AUGMENTATION = "none"
"""The augmentation of an image that is not augmented."""

# Terms of the radiologists' files.

EXPERT_FINDINGS = ("Fracture", "Pneumothorax", "Airspace opacity", "Nodule or mass")
"""The findings of the radiologists' first set, in the order of its files."""
READER_ANSWERS = ("YES", "NO", "HEDGE")
"""What a reader may say of a finding."""
NOT_SAID = -1
UNREAD: dict[str, tuple[int, ...] | int] = {
    "expert_labels": (NOT_SAID,) * len(EXPERT_FINDINGS),
    "reader_votes": (NOT_SAID,) * len(READER_ANSWERS),
    "expert_findings": (NOT_SAID,) * len(FINDINGS),
    "nodule_votes": NOT_SAID,
}
"""What is stored of the radiologists' answers, and its value for an image of which they said nothing."""
_SPELLINGS = {finding.replace("_", " ").lower(): finding for finding in (NO_FINDING, *FINDINGS)}

# Files.

LABEL_FILES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "sample_labels.csv")
"""Names of the label file, best first."""
BOX_FILE = "BBox_List_2017.csv"
OFFICIAL_LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
EXPERT_FILES = {"validation": "validation_labels.csv", "test": "test_labels.csv"}
"""The radiologists' files, by subset. They come in a folder `four_findings_expert_labels`."""
BOTH_EXPERT_FILES = "google2019_nih-chest-xray-labels.csv"
"""Both in one file, as torchxrayvision packs them (it adds `.gz`). It is read unless both of the others exist."""
ALL_FINDINGS_FILE = "all_findings_expert_labels_test_labels.csv"
"""The radiologists' labels of the 14 findings. In its folder `all_findings_expert_labels` it is called
`test_labels.csv`, as the file of four findings is; only the header tells them apart."""
READER_FILES = {"four": "individual_readers.csv", "all": "test_individual_readers.csv"}
"""What each reader said, by set of findings."""
ARCHIVES = tuple(f"images_{number:03d}.tar.gz" for number in range(1, 13))
"""The NIH's archives as its site names them; its download script drops one zero (`images_01.tar.gz`)."""
FIRST_IMAGES = (
    *("00000001_000.png", "00001336_000.png", "00003923_014.png", "00006585_007.png", "00009232_004.png"),
    *("00011558_008.png", "00013774_026.png", "00016051_010.png", "00018387_035.png", "00020945_050.png"),
    *("00024718_000.png", "00028173_003.png"),
)
"""The first image of each archive. They hold all images in the order of names: the first 4,999, the last 7,121, the
others 10,000."""

# Images.

SOURCE_SIZE = 1024
"""Side of the NIH's images in pixels."""
MAX_SIZE = 32 << 20
"""Bytes of the largest file that is read into memory. The release's images have about 410,000, its largest table nine
million."""
IMAGE_NAME = re.compile(r"[0-9]{8}_[0-9]{3}\.png")
"""An image's name: the patient's number, and the image's number among the patient's images."""
_IMAGE_FILE = re.compile(r"([0-9]{8}_[0-9]{3})\.(png|jpg|jpeg)")
_EXAMPLE_NAME = re.compile(r"(?P<stem>[0-9]{8}_[0-9]{3})(_aug[0-9]+)?\.png")


@dataclasses.dataclass(frozen=True)
class Box:
    """A finding's bounding box, in fractions of the image's width and height (0 to 1) from its top left corner.

    Attributes:
      finding: One of the 14.
      xmin: Left edge.
      ymin: Upper edge.
      xmax: Right edge.
      ymax: Lower edge.
    """

    finding: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float


def image_name(file_name: str) -> str | None:
    """Returns the NIH's name of the image in a file of this name; None for any other file.

    Resized copies are often JPEG files, and some systems write `.PNG`.

    >>> image_name("00000013_005.PNG"), image_name("00000013_005.jpeg"), image_name("mask.png")
    ('00000013_005.png', '00000013_005.png', None)
    """
    match = _IMAGE_FILE.fullmatch(file_name.lower())
    return f"{match[1]}.png" if match else None


def patient_of(image_name: str) -> int:
    """Returns the number of the patient in an image.

    >>> patient_of("00000013_005.png")
    13
    """
    return int(image_name[:8])


def fold_name(number: int) -> str:
    """Returns the name of a fold, counted from 0."""
    return f"fold_{number}"


def copies_of(fold: str) -> str:
    """Returns the name of the subset that holds the augmented copies of a fold's images.

    >>> copies_of("fold_0")
    'fold_0_augmented'
    """
    return fold + _OF_COPIES


def images_of(subset: str) -> str:
    """Returns the subset whose images the examples of a subset were made from.

    >>> images_of("fold_0_augmented"), images_of("train")
    ('fold_0', 'train')
    """
    return subset.removesuffix(_OF_COPIES)


def copy_name(source_name: str, number: int) -> str:
    """Returns the name of an image's augmented copy.

    >>> copy_name("00000013_005.png", 1)
    '00000013_005_aug1.png'
    """
    return f"{source_name.removesuffix('.png')}_aug{number}.png"


def source_of(example_name: str) -> str | None:
    """Returns the name of the image that an example was made from; None for any other name.

    >>> source_of("00000013_005_aug1.png"), source_of("00000013_005.png"), source_of("holiday.png")
    ('00000013_005.png', '00000013_005.png', None)
    """
    match = _EXAMPLE_NAME.fullmatch(example_name)
    return f"{match['stem']}.png" if match else None


def is_copy(example_name: str) -> bool:
    """Returns whether an example's name is that of an augmented copy.

    >>> is_copy("00000013_005_aug1.png"), is_copy("00000013_005.png")
    (True, False)
    """
    return example_name != source_of(example_name)


def archive_of(image_name: str) -> int:
    """Returns the number of the NIH's archive, from 1 to 12, that holds an image.

    >>> archive_of("00001335_006.png"), archive_of("00001336_000.png"), archive_of("00030805_000.png")
    (1, 2, 12)
    """
    return bisect.bisect_right(FIRST_IMAGES, image_name)


def label_string(findings: tuple[str, ...] | list[str]) -> str:
    """Returns the NIH's spelling of a set of findings, in alphabetical order.

    >>> label_string(("Mass", "Atelectasis"))
    'Atelectasis|Mass'
    >>> label_string(())
    'No Finding'
    """
    return "|".join(sorted(findings)) or NO_FINDING


def findings_of(multi_hot: Sequence[int]) -> tuple[str, ...]:
    """Returns the findings of a vector with a number for each of the 14, not 0 where an image has it.

    >>> findings_of([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0])
    ('Mass', 'Nodule')
    """
    return tuple(finding for finding, has in zip(FINDINGS, multi_hot, strict=True) if has)


def finding_of(cell: str) -> str | None:
    """Returns one of `FINDINGS`, or `NO_FINDING`, in the NIH's spelling; None for another word.

    Case makes no difference, nor does `_` for a blank: no two findings differ only by these.

    >>> finding_of("Pleural Thickening"), finding_of("No_Finding"), finding_of("Tumour")
    ('Pleural_Thickening', 'No Finding', None)
    """
    return _SPELLINGS.get(" ".join(cell.replace("_", " ").split()).lower())

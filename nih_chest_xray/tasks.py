"""Tasks: defines what a network learns: the classes, the findings that make an image positive, and the docs."""

from __future__ import annotations

import dataclasses
import functools

from nih_chest_xray.vocabulary import FINDINGS, NO_FINDING


@dataclasses.dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
      name: Its name in configs.
      title: A readable title.
      classes: Names of the classes, in the order of their numbers.
      positive: Findings that make an image positive. Positive images are kept, and augmented in training.
      label_doc: Documentation of the label in the schema.
      use: Intended use of a dataset of this task, for the catalog.
      negative: What the negatives are, one of `NEGATIVES`.
      multi_label: Whether an image may have several classes, or none. All images are then kept, and the label is a
        vector with one number per class.
      read_by_radiologists: The subsets whose labels are radiologists'; empty if all labels are text-mined. If not,
        examples also have the text-mined label and what else radiologists said.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    positive: frozenset[str]
    label_doc: str
    use: str
    negative: str
    multi_label: bool = False
    read_by_radiologists: tuple[str, ...] = ()

    @property
    def noun(self) -> str:
        """What a positive image has, in words."""
        return "a nodule" if self.positive == {"Nodule"} else " or ".join(sorted(self.positive))

    @property
    def counted(self) -> tuple[str, ...]:
        """What is counted in each subset: the classes, and No Finding if an image may have none of them."""
        return (*self.classes, NO_FINDING) if self.multi_label else self.classes


NO_FINDINGS_ALONE, REST = "no_finding", "rest"
NEGATIVES = (NO_FINDINGS_ALONE, REST)
"""What the negatives of a task of two classes may be: images without any finding, or all that are not positive."""
TASKS = {
    "binary": ("stratified", "official", "lists", "folds", "expert_all"),
    "findings": ("stratified", "official", "lists", "folds"),
    "nodule_expert": ("expert",),
}
"""The tasks, and the values of a config's `split` that fit each."""


@functools.lru_cache
def make_task(name: str, positive: tuple[str, ...], negative: str, split: str) -> Task:
    """Returns a task.

    Args:
      name: One of `TASKS`.
      positive: Findings that make an image positive, for the task 'binary'.
      negative: One of `NEGATIVES`, for tasks of two classes.
      split: A split that fits the task; it decides whose labels a subset has.
    """
    if name == "findings":
        return Task(
            name=name,
            title="14 findings, multi-label",
            classes=FINDINGS,
            positive=frozenset({"Nodule"}),
            label_doc=f"1 for each text-mined finding of the image, in the order {', '.join(FINDINGS)}.",
            use="Training and evaluating classifiers of 14 findings",
            negative=REST,
            multi_label=True,
        )
    if name == "nodule_expert":
        return Task(
            name=name,
            title="Nodule or Mass, judged by radiologists in validation and test",
            classes=("No nodule or mass", "Nodule or mass"),
            positive=frozenset({"Nodule", "Mass"}),
            label_doc="In validation and test what radiologists say; in train, as text_mined_label.",
            use="Training classifiers of nodules and masses, and evaluating them on radiologists' labels",
            negative=negative,
            read_by_radiologists=("validation", "test"),
        )
    if split == "expert_all":
        return Task(
            name=name,
            title="Nodule, judged by radiologists in test",
            # Not No Finding: the test images that radiologists call negative may show anything else.
            classes=("No Nodule", "Nodule"),
            positive=frozenset(positive),
            label_doc="In test what radiologists say; in train and validation, as text_mined_label.",
            use="Training classifiers of nodules, and evaluating them on radiologists' labels of nodules alone",
            negative=negative,
            read_by_radiologists=("test",),
        )
    label = " or ".join(sorted(positive))
    others = "No Finding if there are none" if negative == NO_FINDINGS_ALONE else "all other images are negative"
    return Task(
        name=name,
        title=f"{label} against {NO_FINDING if negative == NO_FINDINGS_ALONE else 'all other images'}",
        classes=(NO_FINDING if negative == NO_FINDINGS_ALONE else f"No {label}", label),
        positive=frozenset(positive),
        label_doc=f"{label} if the text-mined findings name {'it' if len(positive) == 1 else 'one of them'}; {others}.",
        use=f"Training and evaluating classifiers of {label}",
        negative=negative,
    )

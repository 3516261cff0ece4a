"""Tasks: defines what a network learns: the classes, the findings that make an image positive, and the docs."""

from __future__ import annotations

import dataclasses

from nih_chest_xray.vocabulary import FINDINGS, NO_FINDING


@dataclasses.dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
      name: Its name in configs.
      title: A readable title.
      classes: Names of the classes, in the order of their numbers.
      positive: Findings that make an image positive. Positive images are kept, and augmented in training.
      splits: Allowed values of a config's `split`, the usual one first.
      label_doc: Documentation of the label in the schema.
      use: Intended use of a dataset of this task, for the catalog.
      multi_label: Whether an image may have several classes, or none. All images are then kept, and the label is a
        vector with one number per class.
      read_by_radiologists: Whether the labels of validation and test are radiologists'. Examples then also have the
        text-mined label.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    positive: frozenset[str]
    splits: tuple[str, ...]
    label_doc: str
    use: str
    multi_label: bool = False
    read_by_radiologists: bool = False

    @property
    def counted(self) -> tuple[str, ...]:
        """What is counted in each subset: the classes, and No Finding if an image may have none of them."""
        return (*self.classes, NO_FINDING) if self.multi_label else self.classes


_SPLITS = ("stratified", "official", "lists")

TASKS = {
    task.name: task
    for task in (
        Task(
            name="nodule",
            title="Nodule against No Finding",
            classes=(NO_FINDING, "Nodule"),
            positive=frozenset({"Nodule"}),
            splits=_SPLITS,
            label_doc="Nodule if the text-mined findings name it; No Finding if there are none.",
            use="Training and evaluating classifiers of pulmonary nodules",
        ),
        Task(
            name="findings",
            title="14 findings, multi-label",
            classes=FINDINGS,
            positive=frozenset({"Nodule"}),
            splits=_SPLITS,
            label_doc=f"1 for each text-mined finding of the image, in the order {', '.join(FINDINGS)}.",
            use="Training and evaluating classifiers of 14 findings",
            multi_label=True,
        ),
        Task(
            name="nodule_expert",
            title="Nodule or Mass, judged by radiologists in validation and test",
            classes=("No nodule or mass", "Nodule or mass"),
            positive=frozenset({"Nodule", "Mass"}),
            splits=("expert",),
            label_doc="In validation and test what radiologists say; in train, as text_mined_label.",
            use="Training classifiers of nodules and masses, and evaluating them on radiologists' labels",
            read_by_radiologists=True,
        ),
    )
}
"""By name."""

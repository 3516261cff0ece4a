"""Expert texts: the statements of the page and of Croissant about labels that radiologists gave (Majkowska et al.)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.catalog.statistics import populations
from nih_chest_xray.tasks import NO_FINDINGS_ALONE


def text_mined(built: Built) -> str:
    """Returns which subsets have text-mined labels, in a task whose other subsets have radiologists'."""
    return "training" if "validation" in built.task.read_by_radiologists else "training and validation"


def labels(built: Built) -> list[str]:
    """Returns whose labels a dataset has, and how far radiologists agree; nothing if all labels are text-mined."""
    read = built.task.read_by_radiologists
    if not read:
        return []
    return [
        f"The labels of {' and '.join(read)} are those of radiologists (Majkowska et al., Radiology 2020), those of"
        f" {text_mined(built)} are text-mined. "
        + (
            "Three radiologists read each image, except for a few images: three of 13, some of them residents, for"
            " validation, and three of 11 for test. They settled differences in up to five rounds; where that failed,"
            " the majority decides."
            if "validation" in read
            else "Five radiologists read each image; the label is not always that of the majority of them."
        ),
        *_agreement(built.metadata.get("radiologists", {})),
    ]


def _agreement(measured: Mapping[str, Any]) -> list[str]:
    """Returns how far radiologists agree in their files, as far as the files were there at the build."""
    sets = measured.get("agreement_of_sets")
    images = sum(sum(row.values()) for row in sets.values()) if sets else 810
    apart = images - sum(sets[word].get(word, 0) for word in sets) if sets else 79
    texts = [
        f"Radiologists disagree too: five labelled {images:,} of the test images once more, and the two sets of labels"
        f" disagree on nodule or mass for {apart:,} of them."
    ]
    for key, kind in (("kappa_four_findings", "four findings"), ("kappa_all_findings", "all findings")):
        for subset, kappas in measured.get(key, {}).items():
            listed = ", ".join(
                f"{finding.replace('_', ' ')} {'undefined' if kappa is None else f'{kappa:.2f}'}"
                for finding, kappa in kappas.items()
            )
            texts.append(
                f"Fleiss' kappa of the readers of {kind} in {subset}, before they agreed (1 is full agreement, 0 that"
                f" of chance): {listed}."
            )
    return texts


def population(built: Built, examples: pd.DataFrame) -> list[str]:
    """Returns how training and evaluation differ in the task that is evaluated on radiologists' labels."""
    _, positive = built.task.classes
    noun, masses = positive.lower(), "Mass" in built.task.positive
    table = populations(examples, positive, built.task.positive)
    negatives = "No Finding only" if built.task.negative == NO_FINDINGS_ALONE else "all that are not positive"

    def shares(part: str, whole: str, subsets: Iterable[str]) -> str:
        texts = []
        for subset in subsets:
            number, of = table.at[subset, part], table.at[subset, whole]
            texts.append(f"{number:,} of {of:,}{f' ({100 * number / of:.0f} %)' if of else ''} in {subset}")
        return ", ".join(texts)

    texts = [f"AP images (front to back): {shares('front', 'images', table.index)}."]
    read = built.task.read_by_radiologists
    if evaluation := [subset for subset in table.index if subset in read]:
        texts += [
            f"{text_mined(built).capitalize()} negatives are {negatives}; {' and '.join(read)}"
            f" {'are' if len(read) > 1 else 'is'} images that radiologists labelled, whatever else these show."
            " Negatives that have other text-mined findings, but"
            f" {'neither Nodule nor Mass' if masses else 'not Nodule'}: {shares('other', 'negative', evaluation)}.",
            f"The text-mined labels miss nodules{' and masses' if masses else ''} and name others that radiologists do"
            f" not see. Of the images that radiologists call {noun} they have {shares('both', 'positive', evaluation)};"
            f" of the images that they call {noun}, radiologists confirm {shares('both', 'mined', evaluation)}.",
        ]
    return texts

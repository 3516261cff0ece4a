"""Texts: the statements of the page and of Croissant about a dataset: its origin, licence, limits and uses."""

from __future__ import annotations

import pandas as pd

from nih_chest_xray.catalog import expert_texts
from nih_chest_xray.catalog.datasets import Built
from nih_chest_xray.images.codec import STORED_AS
from nih_chest_xray.planning.summary import cap_of, cut_subsets
from nih_chest_xray.tasks import NO_FINDINGS_ALONE
from nih_chest_xray.vocabulary import ARCHIVES, NO_FINDING

ACKNOWLEDGEMENT = "The NIH Clinical Center is the provider of the data."
CODE_LICENSE = "https://spdx.org/licenses/Apache-2.0.html"
_RESEARCH = (
    "For research. The dataset is not a medical device, and no network trained on it should be used on patients without"
    " a separate validation."
)


def notice(built: Built) -> str | None:
    """Returns what a reader must know first: whether the dataset is synthetic, a part of a whole, or a trial build."""
    texts = []
    if built.synthetic:
        texts.append(
            "Synthetic: every image is drawn by code. No patient is behind it, and it holds nothing of the NIH's"
            " release. Use it to see what the dataset looks like and to run your code; nothing learned from it applies"
            " to people."
        )
    else:
        texts += part(built)
    if copies := resized(built):
        texts.append(f"Not the NIH's pixels: {copies}.")
    return " ".join(texts + trial(built)) or None


def part(built: Built) -> list[str]:
    """Returns which images of the release or of its config a dataset lacks."""
    texts = []
    if archives := built.config.get("archives"):  # Datasets of an earlier version do not have this field.
        numbers = " and ".join(filter(None, (", ".join(map(str, archives[:-1])), str(archives[-1]))))
        texts.append(
            f"Images of the NIH's archive{'s' if len(archives) > 1 else ''} {numbers} of {len(ARCHIVES)} only, each in"
            " the subset that it has in a build of the whole release."
        )
    if built.metadata["missing_images"]:
        texts.append(f"A part: {missing_images(built)}.")
    if texts and built.absent:
        texts.append(f"It has no subset {' and no '.join(built.absent)}.")
    return texts


def trial(built: Built) -> list[str]:
    """Returns a statement that a dataset is a trial build, if its cap left out examples."""
    if not cut_subsets(built.metadata):
        return []
    return [
        f"A trial build of at most {cap_of(built.metadata):,} examples a subset (--max_examples_per_split), not a whole"
        " dataset. Its examples are the first that the build made, not a random sample: do not train or evaluate on"
        " them."
    ]


def missing_images(built: Built) -> str:
    """Returns how many images of the config the dataset lacks, and how many of them were broken."""
    missing = built.metadata["missing_images"]
    broken = len(built.metadata.get("broken_images", ()))
    text = f"{missing:,} of the images that this config would hold were missing when it was built"
    return f"{text}, or broken ({broken:,} of them)" if broken else text


def resized(built: Built) -> str | None:
    """Returns how many images were made from resized copies of each size; None if there are none."""
    copies = built.metadata.get("resized_images", {})
    texts = [f"{n:,} images were taken from copies of {side} pixels a side" for side, n in copies.items()]
    return ", ".join(texts) or None


def caveat(built: Built) -> str | None:
    """Returns the one line that a reader of any dataset of real radiographs must know; None for a synthetic one."""
    if built.synthetic:
        return None
    mined = "mined from radiology reports by software; No Finding does not mean healthy"
    if read := built.task.read_by_radiologists:
        whose = (
            f"Labels of {' and '.join(read)} are radiologists', those of {expert_texts.text_mined(built)} were {mined}"
        )
    else:
        whose = f"Labels were {mined}"
    return f"{whose}. For research, not for use on patients."


def about(built: Built) -> list[str]:
    """Returns what a dataset holds, what its classes are, and how it was divided and processed, in paragraphs."""
    made = " It has the same features and file formats as the configs made from NIH ChestX-ray14."
    holds = collection(built) + (made if built.synthetic else "")
    return [holds, _classes(built), " ".join([_division(built), *preprocessing(built)])]


def _classes(built: Built) -> str:
    """Returns what the classes are, which images are left out, and how many examples each class has."""
    counts = built.metadata["counts"]
    numbers = {name: sum(counts[subset][name] for subset in built.subsets) for name in built.classes}
    origin = "drawn" if built.synthetic else "text-mined"
    if built.task.multi_label:
        sentences = [
            f"The label says of each of the 14 {origin} findings whether the image has it.",
            f"No Finding, which {numbers.pop(NO_FINDING):,} examples have, means that it has none of them.",
        ]
        common = sorted(numbers, key=lambda name: -numbers[name])
        listed = [f"{name.replace('_', ' ')} ({numbers[name]:,})" for name in (common[0], common[-1])]
        sentences.append(f"The most frequent finding is {listed[0]}, the rarest {listed[1]}.")
    else:
        doc = built.task.label_doc.replace("text-mined", origin)
        sentences = [f"The label is, {doc[0].lower()}{doc[1:]}" if built.task.read_by_radiologists else doc]
        listed = [f"{number:,} are {name}" for name, number in reversed(numbers.items())]
        sentences.append(f"Of the {built.total:,} examples {' and '.join(listed)}.")
    return " ".join(sentences)


def _division(built: Built) -> str:
    """Returns how the images were divided into subsets."""
    config, labelled = built.config, "the images that radiologists labelled (Majkowska et al., Radiology 2020)"
    validation, test = (f"{100 * config[f'{subset}_fraction']:g} %" for subset in ("validation", "test"))
    alike = "so that the subsets are alike in classes, findings, view positions, sexes and ages"
    if config["split"] == "official":
        return f"The NIH's test list is the test subset; {validation} of the other images are validation."
    if config["split"] == "folds":
        tested = ", apart from the NIH's test list" if config["official_test"] else ""
        return f"The images{tested} were divided into {config['folds']} folds by patients, {alike}."
    if config["split"] == "lists":
        return "The subsets are those of the lists that were given to the build."
    if config["split"] == "expert":
        return f"Validation and test are {labelled}; training has none of their patients."
    if config["split"] == "expert_all":
        return f"Test is {labelled} for all 14 findings; {validation} of the other images are validation."
    return f"Of the images {validation} are validation and {test} test, divided by patients, {alike}."


def licence(built: Built) -> str:
    """Returns the dataset's terms of use."""
    return built.builder.info.redistribution_info.license


def citation(built: Built) -> str:
    """Returns the citation in BibTeX. For a synthetic dataset, the papers on the NIH's release do not apply."""
    if not built.synthetic:
        release, _, expert_labels = built.builder.info.citation.partition("\n\n@")
        # Only one task has the radiologists' labels.
        return f"{release}\n\n@{expert_labels}" if expert_labels and built.task.read_by_radiologists else release
    return (
        f"@misc{{{built.full_name.replace('/', '_')},\n"
        f"  title = {{{built.full_name.replace('_', chr(92) + '_')}, version {built.version}: synthetic chest"
        " radiographs, drawn by code},\n"
        f"  year  = {{{built.built_on.year}}},\n"
        f"  note  = {{{built.config['phantom_patients']} synthetic patients, seed {built.config['seed']}}}\n"
        "}"
    )


def limits(built: Built) -> list[str]:
    """Returns the limits of the labels and images, a sentence or two each."""
    if built.synthetic:
        return [
            "The drawings do not look like real radiographs: a network trained on them learns nothing about lungs.",
            "Findings, ages, sexes and boxes are drawn at random; their frequencies say nothing about people.",
        ]
    return [
        "Labels were mined from radiology reports by software; the NIH expects over 90 % of them to be right.",
        *expert_texts.labels(built),
        "No Finding means that the report names none of the 14 findings. It does not mean healthy.",
        "A report may omit a finding that was already known.",
        "All images come from one institution, the NIH Clinical Center, with its patients, devices and reports.",
        "Only 880 images of the release have radiologists' boxes, all of them in the NIH's test list.",
        _RESEARCH,
    ]


def biases(built: Built, examples: pd.DataFrame) -> list[str]:
    """Returns how the dataset differs from the population that one might expect, and how its subsets differ.

    Args:
      built: The dataset.
      examples: The table that `statistics.read_examples` returns.
    """
    if built.synthetic:
        drawn = "Nearly half of the synthetic patients have a nodule, far more than in any hospital."
        return [drawn, *trial(built), *augmented_classes(built)]
    stride, by_radiologists = built.config["healthy_stride"], bool(built.task.read_by_radiologists)
    texts = [
        *trial(built),
        *augmented_classes(built),
    ]
    if built.config.get("archives"):
        texts.append(
            "The NIH's archives hold patients in the order of their numbers: an archive is not a random sample of the"
            " release."
        )
    if built.metadata.get("shared_patients"):
        texts.append(patient_subsets(built))
    if built.task.negative == NO_FINDINGS_ALONE and not by_radiologists:
        texts.append(
            "Images with other findings alone are left out: all are either of the positive class or No Finding."
        )
    if stride > 1:
        of_text_mined = f" of {expert_texts.text_mined(built)}" if by_radiologists else ""
        texts.append(
            f"One of every {stride} No Finding images{of_text_mined} is kept, so the class frequencies are not those of"
            " clinical practice."
        )
    if by_radiologists:
        return texts + expert_texts.population(built, examples)
    if not built.task.positive & {"Nodule", "Mass"}:
        return texts
    texts.append(
        "The text-mined labels miss nodules and name others that radiologists do not see: of the 605 images that"
        " radiologists call nodule or mass (Majkowska et al., Radiology 2020) they have 256; of the 455 images that"
        " they call nodule or mass, radiologists confirm 256."
    )
    return texts


def augmented_classes(built: Built) -> list[str]:
    """Returns whether augmentation says anything of the class; nothing for a dataset that is not augmented."""
    if not built.config["augmented_copies"] or cut_subsets(built.metadata):
        return []
    of, others = f"training images with {built.task.noun}", "training images without one"
    if not built.config["matched_augmentation"]:
        return [
            f"Only {of} are augmented, so augmentation tells the class: a network may learn to recognise augmented"
            f" images instead of {built.task.noun}. The field matched_augmentation, and the config"
            " nodule_augmented_matched, augment others too."
        ]
    return [
        f"Each augmentation has the same share of the {of}, copies included, as of the {others}, to one image, so that"
        " augmentation says nothing of the class. Validation and test are not augmented."
    ]


def use_cases(built: Built) -> list[str]:
    """Returns what the dataset is for, and what it is not for."""
    if built.synthetic:
        return ["Trying out and testing training code.", "Not for any statement about patients."]
    official = built.made.uses_official_lists
    comparable = ", comparable with papers on the NIH's test list" if official and built.task.multi_label else ""
    shared = (
        "617 of the 860 patients in the test subset of nodule_expert are in the training subset of nodule, and in those"
        " of nodule_augmented and nodule_augmented_matched, which have the same patients"
    )
    if built.task.read_by_radiologists == ("test",):
        fit = (
            "Not for evaluating a network that was trained on another config, whose training subset may have patients"
            " of the test images. One that was trained on the training subset of findings may be evaluated on the test"
            " subset, whose images are all in the NIH's test list."
        )
    elif built.task.read_by_radiologists:
        fit = (
            f"Not for evaluating a network that was trained on nodule: {shared}. One that was trained on the training"
            " subset of findings may be evaluated on the test subset, whose images are all in the NIH's test list, but"
            " not on validation, whose images are not."
        )
    elif official:
        fit = (
            "A network that is trained on the training subset may be evaluated on radiologists' labels too: on the test"
            " subset of nodule_expert, whose images are all in the NIH's test list, but not on its validation subset."
        )
    else:
        fit = (
            "A network that is trained on it must not be evaluated on nodule_expert, because the same patients may be"
            f" in both: {shared}."
        )
    return [f"{built.task.use}{comparable}.", fit]


def sensitive(built: Built) -> list[str]:
    """Returns which personal data the dataset holds."""
    if built.synthetic:
        return ["None: no patient is behind it; ages, sexes and patients' numbers are drawn at random."]
    return [
        "The dataset holds no names. It holds a number that links the images of a patient, age in years, sex, the"
        " findings in the radiology report, and the radiograph itself: health data of real persons.",
    ]


def collection(built: Built) -> str:
    """Returns how the images were collected."""
    if built.synthetic:
        return f"{built.total:,} images of {patients(built)} synthetic patients, drawn by code from a seed."
    copies = sum(built.copies.values())
    return (
        f"{built.total - copies:,} frontal chest radiographs of {patients(built)} patients of the NIH Clinical Center"
        + (f", and {copies:,} augmented copies of training images" if copies else "")
        + ". They are from ChestX-ray14, which the NIH released: 112,120 images of 30,805 patients, with findings that"
        " were mined from the text of their radiology reports."
    )


def preprocessing(built: Built) -> list[str]:
    """Returns how the images were processed, and whether subsets share patients."""
    config = built.config
    size = config["image_size"]
    source = "drawn" if built.synthetic else "NIH's"
    texts = [
        f"The {source} 1024 x 1024 images are resized to {size} x {size} pixels by area averaging, without cropping,"
        f" and stored as {STORED_AS[config['image_format']]}."
        if size
        else f"The {source} 1024 x 1024 images are stored unchanged, as grey PNG.",
        patient_subsets(built),
    ]
    if copies := resized(built):
        texts.insert(1, f"Not the NIH's pixels: {copies}.")
    if copies := config["augmented_copies"]:
        without = "validation and test have none" if config["split"] != "folds" else "each fold's are apart"
        texts.append(
            f"Each training image with {built.task.noun} has {copies} augmented {'copy' if copies == 1 else 'copies'}"
            f" ({', '.join(config['augmentations'])}); {without}."
        )
        if in_place := sum(built.in_place.values()):
            texts.append(
                f"{in_place:,} training images without {built.task.noun} are augmented in place: the dataset"
                " holds them in their augmented form only."
            )
        if not built.made.copy_subsets.keys().isdisjoint(cut_subsets(built.metadata)):
            texts.append("The trial build may have ended between an image and its copies.")
    return texts


def patients(built: Built) -> str:
    """Returns the number of patients. If patients are in several subsets, they count several times: it is a bound."""
    number = f"{built.patients:,}"
    return f"at most {number}" if built.metadata.get("shared_patients") else number


def patient_subsets(built: Built) -> str:
    """Returns whether each patient is in one subset only, and what folds are for."""
    if shared := built.metadata.get("shared_patients"):
        return (
            f"{shared:,} patients are in several subsets, because the lists given to the build put them there. Scores"
            " on validation and test are therefore better than on patients that a network has never seen."
        )
    if built.config["split"] != "folds":
        return "Each patient is in one subset only."
    copies = (
        " The augmented copies of fold_0 are in fold_0_augmented and so on: leave out those of the fold that validates."
        if built.config["augmented_copies"]
        else ""
    )
    return (
        f"Each patient is in one fold only{', or in test' if 'test' in built.made.subsets else ''}. Train on all folds"
        f" but one, which validates; the metadata has the weights of the classes for each choice.{copies}"
    )


def annotation(built: Built) -> list[str]:
    """Returns how labels and boxes were made."""
    if built.synthetic:
        return ["The program that draws the images records the nodules that it draws, and their boxes."]
    return [
        "Findings: mined by software from the text of the radiology reports, not from the images (Wang et al., CVPR"
        " 2017); expected accuracy over 90 %.",
        *expert_texts.labels(built),
        "Boxes: drawn by radiologists on 880 images of the release, 984 boxes.",
    ]

"""Named configs: those that come with the package, and the choice of one by its name or of a custom one by JSON."""

from __future__ import annotations

import json

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.errors import UsageError

NAMED_CONFIGS = [
    NihChestXrayConfig(
        name="nodule",
        description="Nodule against No Finding, every second No Finding image, 80 / 10 / 10 by patients.",
    ),
    NihChestXrayConfig(
        name="nodule_augmented",
        description=(
            "As nodule, with one rotated or flipped copy of each training image with a nodule. No other image is"
            " augmented, so a network may learn augmentation instead of nodules: nodule_augmented_matched prevents it."
        ),
        augmented_copies=1,
    ),
    NihChestXrayConfig(
        name="nodule_augmented_matched",
        description=(
            "As nodule_augmented, with as large a share of rotated and of flipped images among training images without"
            " a nodule, which are changed in place, so that augmentation says nothing of the class."
        ),
        augmented_copies=1,
        matched_augmentation=True,
        rotation_fill="reflect",
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
    NihChestXrayConfig(
        name="nodule_expert_rest",
        description=(
            "As nodule_expert, but training negatives are all images without Nodule and Mass, whatever else they show,"
            " as in validation and test; every second No Finding image."
        ),
        task="nodule_expert",
        split="expert",
        negative="rest",
    ),
]
"""The first is the default. The last two need files that users must request themselves: a build of all configs finishes
the others before it asks for these files."""
NihChestXrayConfig.named.update({config.name: config for config in NAMED_CONFIGS})


def config_of(text: str) -> NihChestXrayConfig:
    """Returns the config for a name or a JSON object, as `tfds build --config` takes it.

    Raises:
      UsageError: The text is neither a named config nor the JSON of a valid config.
    """
    named = NihChestXrayConfig.named
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
        raise UsageError(f"--config: the name {config.name!r} is that of a named config; choose another.")
    return config

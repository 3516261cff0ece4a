"""Augmentation: the registry of augmentations, and the draw of one for each copy of an image.

`transforms` holds those that are built in. Users add an augmentation in their own code:

    from nih_chest_xray import register_augmentation

    @register_augmentation("darker")
    def darker(image, draw, config):
        return (image * (0.7 + 0.3 * draw)).astype(image.dtype)

and name it in a config's `augmentations`. An augmentation that moves pixels also passes an affine map, so that boxes
move with them: `@register_augmentation("shift", affine=shift_matrix)`.

Names joined by `+` are a chain, such as `rotation+contrast`: its parts change the image one after the other.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from nih_chest_xray.images.boxes import move_boxes
from nih_chest_xray.vocabulary import NO_AUGMENTATION, Box

CHAIN = "+"
"""Joins the names of a chain's parts."""

_GOLDEN_RATIO = (5**0.5 - 1) / 2


class Settings(Protocol):
    """Fields of the config (`NihChestXrayConfig`) that built-in augmentations read; others may read any field."""

    rotation_degrees: float
    rotation_fill: str
    translation_fraction: float
    zoom_fraction: float
    brightness_fraction: float
    contrast_fraction: float
    gamma_fraction: float
    noise_stddev: float


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """An entry of the registry, or a chain of entries.

    Attributes:
      name: Its name in configs and in the `augmentation` feature.
      apply: Takes an image (height, width) uint8, a draw in [0, 1) and the config; returns an image of the same shape
        and type.
      once: Whether its result is always the same, so that each image has at most one copy made by it.
      affine: Takes a draw and the config; returns the map (2, 3) from a pixel (x, y) of the image to one of the result,
        as `cv2.warpAffine` takes it. None for an augmentation that moves nothing.
    """

    name: str
    apply: Callable[[np.ndarray, float, Settings], np.ndarray]
    once: bool
    affine: Callable[[float, Settings], np.ndarray] | None


_REGISTRY: dict[str, Augmentation] = {}


def register_augmentation(
    name: str, *, once: bool = False, affine: Callable[[float, Settings], np.ndarray] | None = None
) -> Callable[[Callable], Callable]:
    """Returns a decorator that registers a function; `Augmentation.apply` says what the function takes and returns.

    Args:
      name: A name that no other augmentation has, without `+`.
      once: True if the result does not depend on the draw.
      affine: Where a pixel goes, for an augmentation that moves pixels; see `Augmentation`.

    Raises:
      ValueError: The name is taken, or would be that of a chain.
    """
    if CHAIN in name:
        raise ValueError(f"augmentation {name!r}: {CHAIN!r} joins names to a chain; choose a name without it")
    if name in _REGISTRY or name == NO_AUGMENTATION:
        raise ValueError(f"augmentation {name!r} is registered already; choose another name")

    def decorate(function: Callable) -> Callable:
        register(Augmentation(name, function, once, affine))
        return function

    return decorate


def register(augmentation: Augmentation) -> None:
    """Adds or replaces an entry of the registry, for a worker process that has not run the user's own code."""
    _REGISTRY[augmentation.name] = augmentation


def get_augmentation(name: str) -> Augmentation:
    """Returns an entry of the registry, or the chain that a name with `+` describes.

    Raises:
      ValueError: No augmentation has this name, or a chain has a part twice.
    """
    parts = tuple(map(_registered, name.split(CHAIN)))
    if len(parts) == 1:
        return parts[0]
    if len(set(parts)) < len(parts):
        raise ValueError(f"augmentation {name!r} has a part twice; expected different augmentations")
    moving = any(part.affine for part in parts)
    return Augmentation(
        name,
        functools.partial(_apply_parts, parts),
        all(part.once for part in parts),
        functools.partial(_compose, parts) if moving else None,
    )


def entries(names: Iterable[str]) -> list[Augmentation]:
    """Returns the entries of the registry that augmentations, chains among them, are made of.

    Raises:
      ValueError: A part of a name is not registered.
    """
    return list(map(_registered, dict.fromkeys(part for name in names for part in name.split(CHAIN))))


def _registered(name: str) -> Augmentation:
    if name not in _REGISTRY:
        raise ValueError(
            f"augmentation {name!r} is not registered; there are {', '.join(_REGISTRY)}. Add your own with"
            " nih_chest_xray.register_augmentation before the config is made (with `tfds build`, which"
            " `nih-chest-xray build` cannot, name its module in --imports)."
        )
    return _REGISTRY[name]


def _apply_parts(parts: Sequence[Augmentation], image: np.ndarray, draw: float, config: Settings) -> np.ndarray:
    for part, its_draw in _draws(parts, draw):
        image = augment(image, part.name, its_draw, config)
    return image


def _compose(parts: Sequence[Augmentation], draw: float, config: Settings) -> np.ndarray:
    """Returns the map of a chain, (2, 3)."""
    whole = np.eye(3)
    for part, its_draw in _draws(parts, draw):
        if part.affine is not None:
            whole = np.vstack([part.affine(its_draw, config), (0.0, 0.0, 1.0)]) @ whole
    return whole[:2]


def _draws(parts: Sequence[Augmentation], draw: float) -> list[tuple[Augmentation, float]]:
    """Gives each part of a chain a draw of its own.

    The first part whose result depends on it gets the chain's, so that copies by the same chain differ as surely as
    others; see `draw_augmentations`.
    """
    first = next((position for position, part in enumerate(parts) if not part.once), 0)
    return [(part, draw if position == first else further_draw(draw, position)) for position, part in enumerate(parts)]


def further_draw(draw: float, purpose: object) -> float:
    """Returns one more number in [0, 1) where an augmentation needs several: a hash of its draw and of a purpose."""
    return uniform(draw, purpose)


def draw_augmentations(names: Sequence[str], seed: int, image_name: str, copies: int) -> list[tuple[str, float]]:
    """Draws an augmentation and a number for each copy of an image.

    The draw is a hash of seed, image name and copy number: it is the same on every machine, whatever else is in the
    dataset and in any order of images. An augmentation with `once` is drawn at most once per image. Draws for the same
    augmentation and image lie at least 0.38 / copies apart, so that the copies differ.

    Args:
      names: Registered augmentations, or chains of them.
      seed: The config's seed.
      image_name: Name of the source image.
      copies: How many copies to draw for.

    Returns:
      A (name, draw) for each copy; draws are uniform in [0, 1).

    Raises:
      ValueError: The augmentations cannot give that many different copies.

    >>> draw_augmentations(["horizontal_flip"], 0, "00000013_005.png", 1)[0][0]
    'horizontal_flip'
    """
    used: dict[str, int] = {}
    drawn = []
    for copy in range(1, copies + 1):
        choices = [name for name in names if not (name in used and get_augmentation(name).once)]
        if not choices:
            raise ValueError(
                f"augmented_copies={copies}: {', '.join(names)} give at most {copy - 1} different copies of an image."
                " Ask for fewer, or add an augmentation such as 'rotation' to augmentations."
            )
        name = choices[int(uniform(seed, image_name, copy) * len(choices))]
        # Multiples of the golden ratio, modulo 1, keep away from each other (Weyl's sequence): a second rotation of an
        # image is never nearly the same as the first, which two independent draws sometimes are.
        start = first_draw(name, seed, image_name)
        drawn.append((name, (start + used.get(name, 0) * _GOLDEN_RATIO) % 1.0))
        used[name] = used.get(name, 0) + 1
    return drawn


def first_draw(name: str, seed: int, image_name: str) -> float:
    """Returns the draw in [0, 1) with which an augmentation changes an image for the first time."""
    return uniform(seed, image_name, name)


def augment(image: np.ndarray, name: str, draw: float, config: Settings) -> np.ndarray:
    """Applies an augmentation and checks what it returns.

    Args:
      image: (height, width) uint8.
      name: A registered augmentation, or a chain.
      draw: In [0, 1).
      config: The config that is built.

    Returns:
      (height, width) uint8.

    Raises:
      ValueError: The augmentation returns another shape or type.
    """
    # A copy, since an augmentation that changes its argument would change the image for the copies after it.
    result = get_augmentation(name).apply(image.copy(), draw, config)
    if not isinstance(result, np.ndarray) or result.shape != image.shape or result.dtype != image.dtype:
        raise ValueError(
            f"augmentation {name!r} returned {getattr(result, 'shape', type(result))} {getattr(result, 'dtype', '')};"
            f" expected an array of the image's shape {image.shape} and type {image.dtype}"
        )
    return result


def move(boxes: tuple[Box, ...], name: str, draw: float, config: Settings) -> tuple[Box, ...]:
    """Returns the boxes of an augmented image, given those of its source."""
    affine = get_augmentation(name).affine
    return boxes if affine is None else move_boxes(boxes, affine(draw, config))


def uniform(*parts: object) -> float:
    """Returns a number in [0, 1): the first 53 bits, as many as a float holds, of a hash of the parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53

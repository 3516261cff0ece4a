"""Size: estimates the bytes that a build writes."""

from __future__ import annotations

from nih_chest_xray.config import NihChestXrayConfig

_SIDE = 512
_BYTES = {"png": 110_000, "jpeg": 54_000}
"""Of a radiograph of `_SIDE` pixels a side, encoded as this package does."""
_BYTES_OF_NIH = 410_000
"""Of one of the NIH's own PNGs, of 1024 pixels a side."""
_BYTES_BESIDE = 1_000
"""Of all features of an example but the image."""


def build_size(config: NihChestXrayConfig, examples: int) -> int:
    """Estimates the bytes that a build needs in its data_dir while it runs.

    The sizes of an image are means of some hundred of the NIH's: its own PNG has 410 KB; of 512 pixels a side a PNG of
    this package has 107 to 113 KB, and a JPEG of quality 95 54 KB. Other sizes follow from the number of pixels.
    While records wait and are sorted they are in temporary files there, each of which is gone when its records are in
    their shards: at no time does a build have more on the disk than the dataset at the end.

    Args:
      config: Says how images are stored.
      examples: Number of examples, augmented copies included.

    Returns:
      Bytes.

    >>> nodule = NihChestXrayConfig(name="nodule")
    >>> build_size(nodule, examples=1000)
    111000000
    """
    if config.image_size is None:
        image = _BYTES_OF_NIH
    else:
        image = round(_BYTES[config.image_format] * (config.image_size / _SIDE) ** 2)
    return examples * (image + _BYTES_BESIDE)

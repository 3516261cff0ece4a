"""Size: estimates how many bytes a build writes."""

from __future__ import annotations

from nih_chest_xray.config import NihChestXrayConfig

_SIDE = 512
_BYTES = {"png": 110_000, "jpeg": 54_000, "raw": _SIDE**2}
"""Bytes of a radiograph of `_SIDE` pixels a side, as this package encodes it."""
_BYTES_OF_NIH = 410_000
"""Bytes of one of the NIH's own PNGs, 1024 pixels a side."""
_BYTES_BESIDE = 1_000
"""Bytes of all features of an example except the image."""


def build_size(config: NihChestXrayConfig, examples: int) -> int:
    """Estimates how many bytes a build needs in its data_dir while it runs.

    The sizes are means over a few hundred of the NIH's images. The NIH's own PNG has 410 KB. At 512 pixels a side, this
    package's PNG has 107 to 113 KB, and its JPEG of quality 95 has 54 KB; raw pixels take a byte each. Other sizes
    scale with the number of pixels. Records that wait to be sorted lie in temporary files there. Each file is removed
    before its records are written to their shards, so a build never takes more of the disk than the finished dataset.

    Args:
      config: The config, which says how images are stored.
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

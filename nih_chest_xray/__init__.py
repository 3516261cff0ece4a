"""NIH ChestX-ray14 for TensorFlow Datasets, made for pulmonary nodules.

Importing this package registers the dataset: `tfds.load('nih_chest_xray')` and `tfds build nih_chest_xray --imports
nih_chest_xray` find it.
"""

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.images.augmentation import register_augmentation
from nih_chest_xray.nih_chest_xray_dataset_builder import Builder

__version__ = "1.0.0"

__all__ = ["Builder", "NihChestXrayConfig", "register_augmentation"]


def __dir__() -> list[str]:
    """Returns the public names, without the submodules that importing them has loaded."""
    return [*__all__, "__version__"]

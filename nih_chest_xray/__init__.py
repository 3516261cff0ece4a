"""NIH ChestX-ray14 for TensorFlow Datasets, made for pulmonary nodules.

Importing this package registers the dataset: `tfds.load('nih_chest_xray')` and `tfds build nih_chest_xray --imports
nih_chest_xray` find it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.images.augmentation import register_augmentation
from nih_chest_xray.nih_chest_xray_dataset_builder import Builder
from nih_chest_xray.reading.source import data_source

if TYPE_CHECKING:
    from nih_chest_xray.catalog.show import show_examples
    from nih_chest_xray.evaluation.evaluate import evaluate
    from nih_chest_xray.planning.splitters import BalancedGroupKFold, BalancedGroupShuffleSplit

__version__ = "2.0.0"

__all__ = [
    "BalancedGroupKFold",
    "BalancedGroupShuffleSplit",
    "Builder",
    "NihChestXrayConfig",
    "data_source",
    "evaluate",
    "register_augmentation",
    "show_examples",
]
_MODULES = {"evaluate": "evaluation.evaluate", "show_examples": "catalog.show"}
"""Where a public name is that is imported when it is asked for; the splitters are in `planning.splitters`."""


def __getattr__(name: str) -> Any:
    """Imports what needs scikit-learn or draws when it is asked for: that takes a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name, "planning.splitters")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    """Returns the public names, without the submodules that importing them has loaded."""
    return [*__all__, "__version__"]

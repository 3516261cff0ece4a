"""Tests of the docstrings: their examples run."""

import doctest
import importlib
import pkgutil

import pytest

from nih_chest_xray import evaluation

MODULES = [module.name for module in pkgutil.iter_modules(evaluation.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(f"{evaluation.__name__}.{name}")).failed == 0

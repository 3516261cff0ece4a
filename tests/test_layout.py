"""Tests of the package's layout: imports point down, and importing it shows its public names."""

import subprocess
import sys
from pathlib import Path

import nih_chest_xray

ROOT = Path(__file__).parent.parent


def test_imports_point_down():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--config", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "Contracts: 2 kept, 0 broken." in done.stdout


def test_every_folder_is_a_stage_with_a_first_line_that_says_which():
    package = ROOT / "nih_chest_xray"
    for path in package.rglob("*.py"):
        first = path.read_text().splitlines()[0]
        assert first.startswith('"""'), path
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert folders == {
        *("release", "tables", "planning", "images", "building", "verification", "evaluation", "phantom"),
        *("catalog", "formats", "system"),
    }


def test_the_package_shows_its_public_names_alone():
    splitters = ["BalancedGroupKFold", "BalancedGroupShuffleSplit"]
    names = [*splitters, "Builder", "NihChestXrayConfig", "evaluate", "register_augmentation", "__version__"]
    assert dir(nih_chest_xray) == sorted(names)
    for name in names:
        assert hasattr(nih_chest_xray, name)
    assert not hasattr(nih_chest_xray, "splitter")
    imported: dict[str, object] = {}
    exec("from nih_chest_xray import *", imported)
    assert imported.keys() - {"__builtins__"} == {*names} - {"__version__"}


def test_importing_the_package_leaves_scikit_learn_alone():
    """It takes a second, which no build and no `tfds.load` needs."""
    code = "import sys, nih_chest_xray; assert 'sklearn' not in sys.modules; nih_chest_xray.BalancedGroupKFold()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)

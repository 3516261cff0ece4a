"""Tests of the README and the guides: the README stays short, every link leads somewhere, and the wheel has them."""

import os
import re
import subprocess
import sys

import pytest
from blocks import GUIDES, README, ROOT, blocks

PAGES = [README, *sorted(GUIDES.glob("*.md"))]
NAMES = [page.stem for page in PAGES]
BUILDS_SAMPLE = "nih-chest-xray build --config sample"


def prose(page):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def relative_links(page):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [link for link in links if not link.startswith(("https://", "http://"))]


def anchors(page):
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 180


def test_the_readmes_first_command_after_the_clone_builds_the_sample_in_one_short_line():
    clone, first, *_ = blocks("README", "bash")
    assert clone.startswith("git clone ")
    assert first.rstrip().endswith(BUILDS_SAMPLE)
    assert len(first.rstrip()) <= 120
    assert "\n" not in first.rstrip()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_relative_link_leads_to_a_file_and_every_anchor_to_a_heading(page):
    for link in relative_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_links_to_every_guide():
    linked = {(README.parent / link.partition("#")[0]).resolve() for link in relative_links(README)}
    assert len(PAGES) > 1
    assert {page.resolve() for page in PAGES[1:]} <= linked


@pytest.mark.parametrize("page", PAGES[1:], ids=NAMES[1:])
def test_a_guide_begins_with_its_title_and_says_what_it_is_for(page):
    assert re.match(r"# .+\n\nThis guide ", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_every_python_block_compiles(name):
    for code in blocks(name, "python"):
        compile(code, name, "exec")


@pytest.mark.slow
def test_the_custom_augmentation_of_the_guide_to_configs_builds(tmp_path):
    [code] = [code for code in blocks("configs", "python") if "register_augmentation" in code]
    code += "names = builder.info.features['augmentation'].names\n"
    code += "print(*sorted({names[int(example['augmentation'])] for example in train}))"
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "darker none rotation"  # No flip: the config does not name it.

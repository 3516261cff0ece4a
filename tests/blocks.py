"""The README's code, for the tests that run it as it stands."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def section(heading: str) -> str:
    """The README's section of this heading, without it."""
    [found] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    return found


def blocks(heading: str) -> list[str]:
    """The code blocks of a section, in their order."""
    return re.findall(r"^```\w+\n(.*?)^```$", section(heading), re.MULTILINE | re.DOTALL)


def block(heading: str, word: str) -> str:
    """The one code block of a section that has this word."""
    [found] = [code for code in blocks(heading) if word in code]
    return found

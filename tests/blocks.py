"""The code of the README and the guides, for the tests that run it as it stands."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDES = ROOT / "nih_chest_xray" / "guides"


def text(name: str) -> str:
    """The text of a guide, such as 'coming-from', or of 'README'."""
    path = README if name == "README" else GUIDES / f"{name}.md"
    return path.read_text(encoding="utf-8")


def blocks(name: str, language: str = r"\w+") -> list[str]:
    """A guide's code blocks in their order, in one language or in any."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(name), re.MULTILINE | re.DOTALL)


def block(name: str, word: str) -> str:
    """The one code block of a guide that has this word."""
    [found] = [code for code in blocks(name) if word in code]
    return found


def recipe(name: str, heading: str) -> str:
    """The first Python block of a guide's section."""
    return re.search(rf"^## {re.escape(heading)}\n.*?^```python\n(.*?)^```$", text(name), re.DOTALL | re.MULTILINE)[1]

"""Split lists: reads lists of image names, one per subset: the NIH's official two, and other people's."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Set

from nih_chest_xray.errors import TableError
from nih_chest_xray.tables.csv_table import strip
from nih_chest_xray.vocabulary import IMAGE_NAME

_ENTRY = re.compile(rf"({IMAGE_NAME.pattern})(?:[\s,;](.*))?")
_HEADER = re.compile(r"image[ _]?(index|name)\b.*", re.IGNORECASE)


def read_official_lists(contents: Mapping[str, tuple[bytes, str]]) -> dict[str, frozenset[str]]:
    """Reads lists with one image name per line.

    The rest of a line after a blank, comma, semicolon or tab is ignored: other people's lists have labels there. Blank
    lines, lines that begin with `#`, and a header (`Image Index`) are ignored too.

    Args:
      contents: The bytes of each list, plain or gzipped, and its path, for messages.

    Returns:
      The names, under the same keys.

    Raises:
      TableError: A list is empty, a web page, or has a line that does not begin with an image name or holds two.
    """
    return {subset: frozenset(_names(content, place)) for subset, (content, place) in contents.items()}


def read_split_lists(contents: Mapping[str, tuple[bytes, str]]) -> dict[str, frozenset[str]]:
    """Reads lists as `read_official_lists` does, and requires that no image is in two of them.

    Args:
      contents: The bytes of each list and its path, under the name of its subset.

    Returns:
      The names, under the same keys.

    Raises:
      TableError: A list is invalid, or an image is in two of them.
    """
    lists = read_official_lists(contents)
    first: dict[str, str] = {}  # The list that each image was first in.
    for subset, names in lists.items():
        place = contents[subset][1]
        if twice := sorted(first.keys() & names):
            raise TableError(
                f"{twice[0]} is in {first[twice[0]]} and in {place}; expected each image in one list."
                + (f" So are {len(twice) - 1:,} more." if len(twice) > 1 else "")
                + " Correct one of the two."
            )
        first |= dict.fromkeys(names, place)
    return lists


def check_known_images(lists: Mapping[str, Set[str]], known: Set[str], whole: bool) -> None:
    """Checks for names that the label file does not have.

    With the NIH's whole label file they are an error; with a part of it, such as Kaggle's sample, only a warning.

    Args:
      lists: Image names by subset.
      known: The names that the label file has.
      whole: Whether the label file is the NIH's whole one.

    Raises:
      TableError: The whole label file does not have a name.
    """
    names = frozenset().union(*lists.values())
    if unknown := sorted(names - known):
        number = f"{len(unknown):,} of the {len(names):,}"
        problem = f"{number} images in split_lists, such as {unknown[0]}, are not in the label file"
        if whole:
            raise TableError(f"{problem}, which is the NIH's whole one. Correct the lists.")
        warnings.warn(f"{problem}. They are left out.", stacklevel=3)


def _names(content: bytes, place: str) -> list[str]:
    text = strip(content, place).decode(errors="replace")
    names: list[str] = []
    header_may_come = True
    for number, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        match = _ENTRY.fullmatch(entry)
        if not match and header_may_come and _HEADER.fullmatch(entry):
            header_may_come = False
            continue
        header_may_come = False
        if not match or IMAGE_NAME.search(match[2] or ""):
            raise TableError(
                f"{place}, line {number}: {entry[:80]!r}; expected one image name such as 00000013_005.png, at the"
                " beginning of the line. Correct that, or download the list again."
            )
        names.append(match[1])
    if not names:
        raise TableError(f"{place} holds no image name, only comments or a header. Download the list again.")
    return names

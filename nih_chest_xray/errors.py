"""Errors: every error class, and functions that quote other people's text in messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeGuard

_SHOWN = 80
"""Characters of a value that a message shows."""
OPEN_THE_PAGE = (
    "The site refused the download; open its page in a browser, save the file from there and put it in this place."
)


class ReleaseError(ValueError):
    """Files of the release that are missing, truncated or not what they should be. The message says what to do."""


class TransferError(ReleaseError):
    """A file cannot be downloaded. The message says from where, and why."""


class TableError(ValueError):
    """A table that cannot be used. The message names file and row, and says what was expected."""


class ImageError(ValueError):
    """Bytes that are not an image of the release. The message says what is wrong and what was expected."""


class CohortError(ValueError):
    """A table from which the cohort, or one of its subsets, cannot be made."""


class NoRoomError(RuntimeError):
    """A disk is too small. The message names the folders, what they need and have, and what to do."""


class BuildInProgressError(RuntimeError):
    """Another process builds or converts the same dataset in the same place."""


class ConversionError(RuntimeError):
    """Records that are not brought into another format, or are there already and differ. The message names the file."""


class RemovalRefusedError(RuntimeError):
    """A file or folder that is not deleted, because the package did not make it, or not all of it."""


class UsageError(ValueError):
    """A command that cannot be carried out, such as a folder that holds no dataset. The message says what to do."""


class ScoreError(UsageError):
    """A network's scores that cannot be evaluated. The message names the image or column and what was expected."""


class SchemaError(ValueError):
    """A value that the package never writes in this place. The message names the place and what was expected."""


class DatasetError(ValueError):
    """A dataset that cannot be opened.

    Attributes:
      problems: What is wrong, a line for each file.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"{self.problems[0]}{more}")


class CatalogError(ValueError):
    """A folder from which a catalog cannot be made, or to which it cannot be written. The message says what to do."""


def is_of_the_system(error: BaseException | None) -> TypeGuard[OSError]:
    """Returns whether an error comes from the system, such as a lost disk, and not from a file's content.

    Errors that the readers of archives raise themselves have no `errno`.
    """
    return isinstance(error, OSError) and bool(error.errno)


def unreadable(place: object, error: Exception) -> ReleaseError:
    """Returns the error for a file that a reader, or the system, could not read."""
    if is_of_the_system(error):
        return ReleaseError(
            f"{place} cannot be read ({error.strerror}). Expected a file or folder that exists"
            " during the whole build, and that you may read."
        )
    return ReleaseError(f"{place} is cut or corrupt ({error or type(error).__name__}). Delete it and get it again.")


def first_line(error: object) -> str:
    """Returns the first line of an error's text; those of servers and of TFDS can be pages long."""
    return str(error).strip().partition("\n")[0][:300]


def one_line(error: Exception) -> str:
    """Returns an error's type and message, on one line and not too long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def line(text: str, limit: int = 1000) -> str:
    """Returns a text on one line, with control characters escaped, and not too long."""
    text = " ".join(text[: 2 * limit].split())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= limit else f"{text[:limit]}…"


def shown(value: object) -> str:
    """Returns a value for a message: on one line, escaped, and not too long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    # Shortened: a number may have thousands of digits, a text millions of characters.
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN + 2 else f"{text[:_SHOWN]}…"


def printable(name: str) -> str:
    """Returns an archive member's name, safe to print: the name may hold any characters."""
    return name if name.isprintable() and len(name) < 300 else f"…{name[-100:]!a}"

"""Arguments: what the subcommands' arguments and errors have in common."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from nih_chest_xray.errors import line

DIR = "the folder with the NIH's files; it is only read"
FILE_FORMATS = ("tfrecord", "array_record", "parquet")
BUILT = "where datasets were built, or the folder of one of them, such as …/nih_chest_xray/nodule/2.0.0"


def command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], purpose: str, more: str, *examples: str
) -> argparse.ArgumentParser:
    """Adds a subcommand that `run` carries out, with its purpose and examples in the help; returns its parser."""
    width = max(shutil.get_terminal_size().columns - 2, 20)  # As argparse wraps the rest.
    parser = commands.add_parser(
        name,
        help=purpose,
        description=textwrap.fill(f"{purpose[0].upper()}{purpose[1:]}. {more}", width),
        epilog="\n  nih-chest-xray ".join(["Example:" if len(examples) == 1 else "Examples:", *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_option(parser: argparse.ArgumentParser, name: str, **settings: Any) -> None:
    """Adds an option of several words; TFDS's spelling of it, with `_`, is taken too and not shown."""
    action = parser.add_argument(name, **settings)
    settings |= {"dest": action.dest, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument(name.replace("-", "_").replace("__", "--", 1), **settings)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds --config."""
    parser.add_argument(
        "--config", default="nodule", help="a config's name, or a JSON object of its fields (default: %(default)s)"
    )


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Adds --data-dir."""
    add_option(
        parser,
        "--data-dir",
        type=folder,
        default=default_data_dir(),
        help="where datasets are built (default: %(default)s)",
    )


def default_data_dir() -> str:
    """Returns the folder in which TFDS builds datasets, with `~` for the home."""
    return os.environ.get("TFDS_DATA_DIR") or os.path.join("~", "tensorflow_datasets")  # noqa: PTH118


def folder(text: str) -> str:
    """Returns a folder that an argument names, with `~` expanded."""
    if not text.strip():  # As of a variable that is not set: it would stand for the default.
        raise argparse.ArgumentTypeError("the name is empty; expected that of a folder")
    return os.path.expanduser(text)  # noqa: PTH111


def absolute(folder: str) -> str:
    """Returns the full path of a folder that an argument names."""
    from nih_chest_xray.system.paths import is_remote

    return folder if is_remote(folder) else os.path.abspath(folder)  # noqa: PTH100


def whole(text: str) -> int:
    """Returns the whole number of at least 1 that an argument says."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1")
    return int(text)


def refuse(command: str, error: Exception, code: int = 2) -> int:
    """Says what is wrong, on one line that a terminal can take whatever a dataset's files are called."""
    text = str(error).strip()
    if isinstance(error, OSError) and error.filename and error.strerror:  # Without the number that Python puts before.
        text = f"{error.filename}: {error.strerror}"
    sentences = re.sub(r"(?<![.:])\n", ".\n", text)  # Some errors have a line for each image.
    print(f"nih-chest-xray {command}: {line(sentences, 4000)}", file=sys.stderr)
    return code

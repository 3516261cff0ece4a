"""The command line: `nih-chest-xray`, or `python -m nih_chest_xray`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from absl import logging

import nih_chest_xray
from nih_chest_xray.commands import build, catalog, check, configs, convert, evaluate, export, verify
from nih_chest_xray.errors import line
from nih_chest_xray.system.bars import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns the exit code.

    It is 0, 1 where something is wrong, 2 where the usage is, and 130, as a shell has it, after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="nih-chest-xray",
        description="Build, check and share NIH ChestX-ray14 as a TensorFlow dataset.",
        epilog="Example:\n  nih-chest-xray build --config sample",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nih-chest-xray {nih_chest_xray.__version__}")
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")
    for command in (configs, check, build, verify, convert, evaluate, catalog, export):
        command.add(commands)
    parsed = parser.parse_args(arguments)
    try:
        with _libraries_silenced(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = parsed.run(parsed)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:
        print("nih-chest-xray: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # Of `… | head`. What is left to print goes nowhere, so that Python's exit does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@contextlib.contextmanager
def _libraries_silenced() -> Iterator[None]:
    """Keeps what TensorFlow and TFDS log out of a command's output, and both from using a GPU, which nothing needs."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.set_verbosity(logging.ERROR)
    stderr = sys.stderr
    if level == "0" or stderr is not sys.__stderr__ or stderr is None:  # The second: under pytest, for one.
        yield
        return
    # TensorFlow 2.21 logs before it reads that level. So compiled code gets no stderr; Python's goes on as it was.
    like: dict[str, Any] = {"encoding": stderr.encoding, "errors": stderr.errors, "buffering": 1}
    with open(os.dup(2), "w", **like) as python, contextlib.redirect_stderr(python):  # noqa: PTH123
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(python.fileno(), 2)


def _show_warning(message: Warning | str, *_where: object, **_more: object) -> None:
    say(f"warning: {line(str(message), 4000)}")


if __name__ == "__main__":
    sys.exit(main())

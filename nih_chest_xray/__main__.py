"""The command line: `nih-chest-xray`, or `python -m nih_chest_xray`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from absl import logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns the exit code.

    It is 0, 1 where something is wrong, 2 where the usage is, and 130, as a shell has it, after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="nih-chest-xray", description="Tools for datasets of nih_chest_xray.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_check(commands)
    _add_verify(commands)
    _add_catalog(commands)
    parsed = parser.parse_args(arguments)
    _silence_tensorflow()
    try:
        return parsed.run(parsed)
    except KeyboardInterrupt:
        print("nih-chest-xray: interrupted", file=sys.stderr)
        return 130


def _silence_tensorflow() -> None:
    """Before it is imported: nothing here needs a GPU, and what it and TFDS log is none of a command's output."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.set_verbosity(logging.ERROR)


def _add_check(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "check",
        help="say what a build would find in a folder and do",
        description="Say what a build would find in a folder and do, before hours of it. Nothing is downloaded or"
        " written. Exits with 0 if a build could begin at once, with 1 if something is missing, broken or to be"
        " downloaded, with 2 if there is nothing to check.",
    )
    parser.add_argument("manual_dir", metavar="DIR", help="the folder with your files (tfds build --manual_dir)")
    parser.add_argument("--config", default="nodule", help="a config's name, or a JSON object (default: nodule)")
    parser.add_argument("--data_dir", default="~/tensorflow_datasets", help="where it would be built")
    parser.add_argument("--all", action="store_true", help="decode every image that the config needs, on all cores")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=_check)


def _check(parsed: argparse.Namespace) -> int:
    from nih_chest_xray import check, verify

    try:
        config = check.config_of(parsed.config)
        done = check.check(parsed.manual_dir, config, os.path.expanduser(parsed.data_dir), parsed.all)  # noqa: PTH111
    except verify.UsageError as error:
        print(f"nih-chest-xray check: {error}", file=sys.stderr)
        return 2
    print(verify.as_json(done) if parsed.json else verify.report(done))
    return int(verify.failed(done))


def _add_verify(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "verify",
        help="check a built dataset by itself and against its source",
        description="Check a built dataset by itself and, with --release, against what it was built from. Exits with 0"
        " if all is well, with 1 if a check failed, with 2 if there is nothing to check.",
    )
    parser.add_argument("dataset_dir", help="folder of a version, such as …/nih_chest_xray/nodule/1.0.0")
    parser.add_argument("--release", metavar="DIR", help="the folder that it was built from (tfds build --manual_dir)")
    parser.add_argument("--images", type=_whole, default=64, metavar="N", help="images to compare with it (default 64)")
    parser.add_argument("--all", action="store_true", help="compare all images with it")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--imports", default="", metavar="MODULES", help="modules with augmentations of your own")
    parser.set_defaults(run=_verify)


def _verify(parsed: argparse.Namespace) -> int:
    from nih_chest_xray import verify

    try:
        for module in filter(None, parsed.imports.split(",")):
            importlib.import_module(module)
        done = verify.verify(parsed.dataset_dir, parsed.release, None if parsed.all else parsed.images)
    except (verify.UsageError, ImportError, OSError) as error:  # The last: a folder that may not be read.
        return _refuse("verify", error)
    print(verify.as_json(done) if parsed.json else verify.report(done))
    return int(verify.failed(done))


def _add_catalog(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("catalog", help="write a web page, digests and Croissant metadata of built datasets")
    parser.add_argument("data_dir", metavar="DATA_DIR", help="where datasets were built, or the folder of one")
    parser.add_argument("--out", metavar="SITE", required=True, help="the folder to write; an earlier site is replaced")
    parser.add_argument("--url", help="where DATA_DIR is served, such as https://host/data or gs://bucket/data")
    parser.set_defaults(run=_catalog)


def _catalog(asked: argparse.Namespace) -> int:
    from nih_chest_xray.catalog.datasets import CatalogError  # Here, since TensorFlow takes seconds to load.

    try:
        from nih_chest_xray.catalog.site import write_site

        print(write_site(asked.data_dir, asked.out, asked.url) / "index.html")
    except (CatalogError, OSError) as error:  # The second: a place that may not be written to, a full disk.
        return _refuse("catalog", error)
    return 0


def _refuse(command: str, error: Exception) -> int:
    """Tells what is wrong, on one line that a terminal can take whatever a dataset's files are called."""
    from nih_chest_xray.metadata_schema import line

    print(f"nih-chest-xray {command}: {line(str(error), 4000)}", file=sys.stderr)
    return 2


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

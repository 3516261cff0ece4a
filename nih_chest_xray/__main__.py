"""The command line: `nih-chest-xray`, or `python -m nih_chest_xray`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging

import nih_chest_xray
from nih_chest_xray.errors import CatalogError, UsageError, line

_DATA_DIR = "the data_dir in which datasets were built, or the folder of one (…/nih_chest_xray/nodule/1.0.0)"
_CONFIG = "a config's name, or a JSON object of fields (default: nodule)"
_DEFAULT_DATA_DIR = "~/tensorflow_datasets"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns the exit code.

    It is 0, 1 where something is wrong, 2 where the usage is, and 130, as a shell has it, after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="nih-chest-xray", description="Build, check and share NIH ChestX-ray14 as a TensorFlow dataset."
    )
    parser.add_argument("--version", action="version", version=f"nih-chest-xray {nih_chest_xray.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_configs, _add_check, _add_build, _add_verify, _add_catalog):
        add(commands)
    parsed = parser.parse_args(arguments)
    _silence_tensorflow()
    try:
        return parsed.run(parsed)
    except KeyboardInterrupt:
        print("nih-chest-xray: interrupted", file=sys.stderr)
        return 130


def _silence_tensorflow() -> None:
    """Before it is imported: nothing here needs a GPU, and its log and TFDS's are not part of a command's output."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.set_verbosity(logging.ERROR)


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], help_line: str, description: str, example: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help_line,
        description=description,
        epilog=f"Example:\n  nih-chest-xray {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_configs(commands: Any) -> None:
    _command(
        commands, "configs", _configs, "list the named configs", "List the named configs and their sizes.", "configs"
    )


def _configs(_parsed: argparse.Namespace) -> int:
    from nih_chest_xray.building.size import build_size
    from nih_chest_xray.config import NAMED_CONFIGS
    from nih_chest_xray.system.disk_space import readable
    from nih_chest_xray.verification.checks import pinned_splits
    from nih_chest_xray.vocabulary import SUBSETS

    row = "{:<17} {:>8} {:>11} {:>8} {:>9}  {}"
    print(row.format("config", *SUBSETS, "disk", "what it is"))
    pinned = pinned_splits()
    for config in NAMED_CONFIGS:
        counts = [pinned[config.name][subset][0] for subset in SUBSETS] if config.name in pinned else []
        disk = readable(build_size(config, sum(counts))) if counts else "-"
        sizes = [f"{count:,}" for count in counts] or ["-"] * len(SUBSETS)
        print(row.format(config.name, *sizes, disk, config.description))
    return 0


def _add_check(commands: Any) -> None:
    parser = _command(
        commands,
        "check",
        _check,
        "say what a build would find in a folder, and do",
        "Say what a build would find in a folder, and do. Nothing is downloaded or written.\nExits with 0 if a build"
        " could begin at once, with 1 if something is missing, broken or to be\ndownloaded, with 2 if there is nothing"
        " to check.",
        "check ~/Downloads/chestxray --config nodule",
    )
    parser.add_argument("manual_dir", metavar="DIR", help="the folder with your files")
    parser.add_argument("--config", default="nodule", help=_CONFIG)
    parser.add_argument("--data-dir", "--data_dir", default=_DEFAULT_DATA_DIR, help="where it would be built")
    parser.add_argument("--all", action="store_true", help="decode every image that the config needs, on all cores")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _check(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.config import config_of
    from nih_chest_xray.verification import preflight, report

    try:
        data_dir = os.path.expanduser(parsed.data_dir)  # noqa: PTH111
        done = preflight.check(parsed.manual_dir, config_of(parsed.config), data_dir, parsed.all)
    except UsageError as error:
        return _refuse("check", error)
    print(report.as_json(done) if parsed.json else report.as_text(done))
    return int(report.failed(done))


def _add_build(commands: Any) -> None:
    parser = _command(
        commands,
        "build",
        _build,
        "build a dataset",
        "Build a dataset, as `tfds build nih_chest_xray` does, which has more options. What is missing in DIR, or\n"
        "everything without one, is downloaded.",
        "build --config nodule --manual-dir ~/Downloads/chestxray",
    )
    parser.add_argument("--config", default="nodule", help=_CONFIG)
    parser.add_argument("--manual-dir", "--manual_dir", metavar="DIR", help="the folder with your files")
    parser.add_argument("--data-dir", "--data_dir", metavar="DATA_DIR", help=f"default: {_DEFAULT_DATA_DIR}")
    parser.add_argument("--file-format", "--file_format", choices=("tfrecord", "array_record", "parquet"))


def _build(parsed: argparse.Namespace) -> int:
    import tensorflow_datasets as tfds

    from nih_chest_xray.config import config_of

    warnings.showwarning = _show_warning
    try:
        builder = nih_chest_xray.Builder(
            config=config_of(parsed.config), data_dir=parsed.data_dir, file_format=parsed.file_format
        )
        download_config = tfds.download.DownloadConfig(manual_dir=parsed.manual_dir)
        builder.download_and_prepare(download_config=download_config)
    except UsageError as error:
        return _refuse("build", error)
    except (ValueError, RuntimeError, OSError) as error:  # The package's own, and a full disk.
        return _refuse("build", error, code=1)
    counts = ", ".join(f"{name} {split.num_examples:,}" for name, split in builder.info.splits.items())
    name = f"{builder.name}/{builder.builder_config.name}"
    where = f', data_dir="{parsed.data_dir}"' if parsed.data_dir else ""
    print(f"{builder.data_dir}: {counts} examples")
    print(f'Load it: tfds.load("{name}"{where})')
    return 0


def _show_warning(message: Warning | str, *_where: object, **_more: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _add_verify(commands: Any) -> None:
    parser = _command(
        commands,
        "verify",
        _verify,
        "check built datasets by themselves and against their source",
        "Check built datasets by themselves and, with --release, against what they were built from.\n"
        "Exits with 0 if all is well, with 1 if a check failed, with 2 if there is nothing to check.",
        "verify ~/tensorflow_datasets --release ~/Downloads/chestxray",
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", help=_DATA_DIR)
    parser.add_argument("--release", metavar="DIR", help="the folder that it was built from (--manual-dir)")
    parser.add_argument("--images", type=_whole, default=64, metavar="N", help="images to compare with it (default 64)")
    parser.add_argument("--all", action="store_true", help="compare all images with it")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--imports", default="", metavar="MODULES", help="modules with augmentations of your own")


def _verify(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.verification import command, report

    images = None if parsed.all else parsed.images
    try:
        for module in filter(None, parsed.imports.split(",")):
            importlib.import_module(module)
        done = {
            str(folder): command.verify(folder, parsed.release, images)
            for folder in command.find_folders(parsed.data_dir)
        }
    except (UsageError, ImportError, OSError) as error:  # The last: a folder that may not be read.
        return _refuse("verify", error)
    if parsed.json:
        print(report.as_json_of_several(done))
    else:
        print("\n\n".join(f"{line(folder)}\n{report.as_text(checks)}" for folder, checks in done.items()))
    return int(any(map(report.failed, done.values())))


def _add_catalog(commands: Any) -> None:
    parser = _command(
        commands,
        "catalog",
        _catalog,
        "write a web page, digests and Croissant metadata of built datasets",
        "Write a web page, digests and Croissant metadata of built datasets, of each config the newest version.",
        "catalog ~/tensorflow_datasets --out site --url https://host/data",
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", help=_DATA_DIR)
    parser.add_argument("--out", metavar="SITE", required=True, help="the folder to write; an earlier site is replaced")
    parser.add_argument("--url", help="where DATA_DIR is served, such as https://host/data or gs://bucket/data")


def _catalog(parsed: argparse.Namespace) -> int:
    try:
        from nih_chest_xray.catalog.site import write_site  # Here, since its libraries are optional.

        print(write_site(parsed.data_dir, parsed.out, parsed.url) / "index.html")
    except (CatalogError, OSError) as error:  # The second: a place that may not be written to, a full disk.
        return _refuse("catalog", error)
    return 0


def _refuse(command: str, error: Exception, code: int = 2) -> int:
    """Says what is wrong, on one line that a terminal can take whatever a dataset's files are called."""
    print(f"nih-chest-xray {command}: {line(str(error), 4000)}", file=sys.stderr)
    return code


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

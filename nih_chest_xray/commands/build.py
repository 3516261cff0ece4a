"""Build: builds a dataset."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
from typing import Any

import nih_chest_xray
from nih_chest_xray.commands.arguments import (
    DIR,
    FILE_FORMATS,
    absolute,
    add_config,
    add_data_dir,
    add_option,
    command,
    default_data_dir,
    folder,
    refuse,
)
from nih_chest_xray.errors import UsageError


def add(commands: Any) -> None:
    """Adds the subcommand `build`."""
    parser = command(
        commands,
        "build",
        _run,
        "build a dataset",
        "What is missing in DIR, or everything without one, is downloaded. A dataset that exists is not built again."
        " Exits with 0 if the dataset exists in the end, with 1 if it cannot be built, with 2 if there is no such"
        " config. `tfds build nih_chest_xray` does the same and has more options.",
        "build --config sample",
        "build --config nodule --manual-dir ~/Downloads/chestxray",
    )
    add_config(parser)
    add_option(parser, "--manual-dir", metavar="DIR", type=folder, help=DIR)
    add_data_dir(parser)
    add_option(
        parser,
        "--file-format",
        choices=FILE_FORMATS,
        help="of the records (default: tfrecord); `convert` adds array_record, for PyTorch and Grain",
    )


def _run(parsed: argparse.Namespace) -> int:
    import tensorflow_datasets as tfds

    from nih_chest_xray.building.completeness import missing_parts
    from nih_chest_xray.named_configs import config_of

    try:
        builder = nih_chest_xray.Builder(
            config=config_of(parsed.config), data_dir=parsed.data_dir, file_format=parsed.file_format
        )
        exists = builder.is_prepared() and not missing_parts(builder.data_path)
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints sizes that it does not know.
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=parsed.manual_dir))
    except UsageError as error:
        return refuse("build", error)
    except Exception as error:
        if not _is_explained(error):
            raise
        return refuse("build", error, code=1)
    print(f"{'Exists and is reused' if exists else 'Built'}: {absolute(builder.data_dir)}")
    print(f"Examples: {', '.join(f'{name} {split.num_examples:,}' for name, split in builder.info.splits.items())}")
    print("Load it in Python:")
    print(_loading(builder, parsed.data_dir))
    return 0


def _is_explained(error: Exception) -> bool:
    """Returns whether an error says by itself what is wrong; any other is a fault of the package, with a traceback.

    The package's own and the system's do, and those of TensorFlow, which writes the records; the third is a library
    for a file format that is not installed.
    """
    return isinstance(error, ValueError | RuntimeError | OSError | ImportError) or type(error).__module__.startswith(
        "tensorflow."
    )


def _loading(builder: nih_chest_xray.Builder, data_dir: str) -> str:
    """Returns the Python that loads a dataset, from wherever it is run."""
    load = "data_source" if builder.info.file_format.value == "array_record" else "load"
    name = json.dumps(f"{builder.name}/{builder.builder_config.name}")
    default = os.path.expanduser(default_data_dir())  # noqa: PTH111
    # Without the package and without a data_dir, `tfds.data_source` takes no other format than the first.
    default = "" if builder.info.alternative_file_formats and load == "data_source" else default
    where = "" if data_dir == default else f", data_dir={json.dumps(absolute(data_dir), ensure_ascii=False)}"
    return f"import tensorflow_datasets as tfds; datasets = tfds.{load}({name}{where})"

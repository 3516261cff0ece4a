"""The command line: `nih-chest-xray`, or `python -m nih_chest_xray`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import logging

import nih_chest_xray
from nih_chest_xray.errors import CatalogError, NoRoomError, TableError, UsageError, line
from nih_chest_xray.system.bars import say

_DIR = "the folder with the NIH's files; it is only read"
_CONFIG = "a config's name, or a JSON object of its fields (default: %(default)s)"
_BUILT = "where datasets were built, or the folder of one of them, such as …/nih_chest_xray/nodule/2.0.0"


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
    for add in (_add_configs, _add_check, _add_build, _add_verify, _add_evaluate, _add_catalog, _add_export):
        add(commands)
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


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], purpose: str, more: str, *examples: str
) -> argparse.ArgumentParser:
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


def _add_option(parser: argparse.ArgumentParser, name: str, **settings: Any) -> None:
    """Adds an option of several words; TFDS's spelling of it, with `_`, is taken too and not shown."""
    action = parser.add_argument(name, **settings)
    settings |= {"dest": action.dest, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument(name.replace("-", "_").replace("__", "--", 1), **settings)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default="nodule", help=_CONFIG)


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    _add_option(
        parser,
        "--data-dir",
        type=_folder,
        default=_default_data_dir(),
        help="where datasets are built (default: %(default)s)",
    )


def _default_data_dir() -> str:
    return os.environ.get("TFDS_DATA_DIR") or os.path.join("~", "tensorflow_datasets")  # noqa: PTH118


def _add_configs(commands: Any) -> None:
    _command(
        commands,
        "configs",
        _configs,
        "list the named configs",
        "Of each: how many examples the subsets have, how much of the disk they need, and what they are.",
        "configs",
    )


def _configs(_parsed: argparse.Namespace) -> int:
    from nih_chest_xray.building.size import build_size
    from nih_chest_xray.named_configs import NAMED_CONFIGS
    from nih_chest_xray.system.disk_space import readable
    from nih_chest_xray.verification.checks import pinned_splits
    from nih_chest_xray.vocabulary import SUBSETS

    row = "{:<17} {:>8} {:>11} {:>8} {:>9}"
    print(row.format("config", *SUBSETS, "disk"))
    pinned = pinned_splits()
    for config in NAMED_CONFIGS:
        counts = [pinned[config.name][subset][0] for subset in SUBSETS] if config.name in pinned else []
        disk = readable(build_size(config, sum(counts))) if counts else "-"
        sizes = [f"{count:,}" for count in counts] or ["-"] * len(SUBSETS)
        print(row.format(config.name, *sizes, disk))
        width = max(shutil.get_terminal_size().columns, 60)
        print(textwrap.fill(config.description, width, initial_indent="  ", subsequent_indent="  "))
    print("-: depends on files that you must request yourself.")
    return 0


def _add_check(commands: Any) -> None:
    parser = _command(
        commands,
        "check",
        _check,
        "say what a build would find in a folder, and do",
        "Nothing is downloaded or written. Exits with 0 if a build could begin at once, with 1 if something is missing,"
        " broken or to be downloaded, with 2 if there is nothing to check.",
        "check ~/Downloads/chestxray --config nodule",
    )
    parser.add_argument("manual_dir", metavar="DIR", type=os.path.expanduser, help=_DIR)
    _add_config(parser)
    _add_data_dir(parser)
    parser.add_argument("--all", action="store_true", help="decode every image that the config needs, on all cores")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _check(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.named_configs import config_of
    from nih_chest_xray.verification import preflight, report

    try:
        done = preflight.check(parsed.manual_dir, config_of(parsed.config), parsed.data_dir, parsed.all)
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
        "What is missing in DIR, or everything without one, is downloaded. A dataset that exists is not built again."
        " Exits with 0 if the dataset exists in the end, with 1 if it cannot be built, with 2 if there is no such"
        " config. `tfds build nih_chest_xray` does the same and has more options.",
        "build --config sample",
        "build --config nodule --manual-dir ~/Downloads/chestxray",
    )
    _add_config(parser)
    _add_option(parser, "--manual-dir", metavar="DIR", type=_folder, help=_DIR)
    _add_data_dir(parser)
    _add_option(
        parser,
        "--file-format",
        choices=("tfrecord", "array_record", "parquet"),
        help="of the records (default: tfrecord); array_record is for PyTorch and Grain",
    )


def _build(parsed: argparse.Namespace) -> int:
    import tensorflow_datasets as tfds

    from nih_chest_xray.building.completeness import missing_parts
    from nih_chest_xray.named_configs import config_of

    try:
        chosen = {"config": config_of(parsed.config), "data_dir": parsed.data_dir}
        builder = nih_chest_xray.Builder(**chosen)
        if parsed.file_format:
            _refuse_other_format(builder, parsed.file_format)
            builder = nih_chest_xray.Builder(**chosen, file_format=parsed.file_format)
        exists = builder.is_prepared() and not missing_parts(builder.data_path)
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints sizes that it does not know.
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=parsed.manual_dir))
    except UsageError as error:
        return _refuse("build", error)
    except Exception as error:
        if not _is_explained(error):
            raise
        return _refuse("build", error, code=1)
    print(f"{'Exists and is reused' if exists else 'Built'}: {_absolute(builder.data_dir)}")
    print(f"Examples: {', '.join(f'{name} {split.num_examples:,}' for name, split in builder.info.splits.items())}")
    print("Load it in Python:")
    print(_loading(builder, parsed.data_dir))
    return 0


def _refuse_other_format(builder: nih_chest_xray.Builder, asked: str) -> None:
    there = builder.info.file_format.value
    if builder.is_prepared() and asked != there:
        raise ValueError(
            f"{builder.data_dir} exists in the format {there}. To add {asked}, use `tfds convert_format"
            f" --dataset_version_dir {builder.data_dir} --out_file_format {asked}`, or build with another --data-dir."
        )


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
    default = os.path.expanduser(_default_data_dir())  # noqa: PTH111
    where = "" if data_dir == default else f", data_dir={json.dumps(_absolute(data_dir), ensure_ascii=False)}"
    return f"import tensorflow_datasets as tfds; datasets = tfds.{load}({name}{where})"


def _absolute(folder: str) -> str:
    from nih_chest_xray.system.paths import is_remote

    return folder if is_remote(folder) else os.path.abspath(folder)  # noqa: PTH100


def _add_verify(commands: Any) -> None:
    parser = _command(
        commands,
        "verify",
        _verify,
        "check built datasets by themselves and, with --release, against what they were built from",
        "Of each config the newest version is checked. Exits with 0 if all is well, with 1 if a check failed, with 2 if"
        " there is nothing to check.",
        "verify ~/tensorflow_datasets --release ~/Downloads/chestxray",
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", type=os.path.expanduser, help=_BUILT)
    parser.add_argument("--release", metavar="DIR", type=os.path.expanduser, help=f"{_DIR}: the --manual-dir of build")
    parser.add_argument(
        "--images", type=_whole, default=64, metavar="N", help="images to compare with DIR (default: %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="compare all images with DIR")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--imports", default="", metavar="MODULES", help="your modules, with commas, that register augmentations"
    )


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


def _add_evaluate(commands: Any) -> None:
    parser = _command(
        commands,
        "evaluate",
        _evaluate,
        "say how good a network's scores are, with intervals",
        "SCORES is a CSV or Parquet file with the columns image_name and score, or image_name and a column for each"
        " class. Every figure has a 95 % interval by a bootstrap of patients. Exits with 0 if there are figures,"
        " else with 2.",
        "evaluate scores.csv ~/tensorflow_datasets/nih_chest_xray/nodule",
        "evaluate a.csv DATASET --compare b.csv --by age --out report",
    )
    parser.add_argument("scores", metavar="SCORES", type=os.path.expanduser, help="the file of a network's scores")
    parser.add_argument("dataset", metavar="DATASET", type=os.path.expanduser, help=_BUILT)
    parser.add_argument("--split", default="test", help="the subset to evaluate on (default: %(default)s)")
    parser.add_argument(
        "--against",
        default="label",
        metavar="FEATURE",
        help="the truth: label, findings, expert_labels, expert_findings, reader_votes or nodule_votes (default:"
        " %(default)s)",
    )
    parser.add_argument(
        "--by",
        default="",
        metavar="NAMES",
        help="groups to evaluate too: patient_sex, view_position, age, nodule_size, with commas",
    )
    parser.add_argument(
        "--compare", metavar="SCORES", type=os.path.expanduser, help="another network's scores, for the difference"
    )
    parser.add_argument(
        "--validation",
        metavar="SCORES",
        type=os.path.expanduser,
        action="append",
        default=[],
        help="scores of the validation subset, to choose thresholds of; once for each network",
    )
    _add_option(
        parser,
        "--trained-on",
        metavar="DATASET",
        type=_folder,
        help="the dataset that the network was trained on: no patient may be in both",
    )
    parser.add_argument(
        "--shortcuts",
        metavar="MODULE:FUNCTION",
        help="a function from images (n, S, S, 1) uint8 to scores, to try on negatives that are rotated, flipped,"
        " blackened in the corners, and without markers",
    )
    parser.add_argument(
        "--bootstrap", type=_whole, default=2000, metavar="N", help="resamples of patients (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the resamples (default: %(default)s)")
    parser.add_argument(
        "--out", metavar="REPORT", type=_folder, help="a folder to write: a page, metrics.json, tables for a paper"
    )


def _evaluate(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.evaluation.command import evaluate_files

    options = {name: value for name, value in vars(parsed).items() if name not in ("run", "by")}
    by = list(dict.fromkeys(name.strip() for name in parsed.by.split(",") if name.strip()))
    sys.path.insert(0, "")  # A module of --shortcuts may lie in the current folder, as for `python -m`.
    try:
        text, told = evaluate_files(**options, by=by)
    except (UsageError, CatalogError, TableError, OSError) as error:
        return _refuse("evaluate", error)
    print(text)
    for caveat in told:
        say(f"warning: {line(caveat, 4000)}")
    return 0


def _add_catalog(commands: Any) -> None:
    parser = _command(
        commands,
        "catalog",
        _catalog,
        "write a web page, digests and Croissant metadata of built datasets",
        "Of each config the newest version is taken. Exits with 0 if SITE is written, else with 2.",
        "catalog ~/tensorflow_datasets --out site",
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", type=os.path.expanduser, help=_BUILT)
    parser.add_argument(
        "--out",
        metavar="SITE",
        type=os.path.expanduser,
        required=True,
        help="the folder to write; an earlier site is replaced",
    )
    parser.add_argument("--url", help="where DATA_DIR is served, such as https://host/data or gs://bucket/data")


def _catalog(parsed: argparse.Namespace) -> int:
    try:
        from nih_chest_xray.catalog.site import write_site  # Here, since its libraries are optional.

        print(write_site(parsed.data_dir, parsed.out, parsed.url) / "index.html")
    except (CatalogError, OSError) as error:  # The second: a place that may not be written to, a full disk.
        return _refuse("catalog", error)
    return 0


def _add_export(commands: Any) -> None:
    parser = _command(
        commands,
        "export",
        _export,
        "write a built dataset as a copy for other libraries",
        "huggingface: Parquet files and a dataset card, for `datasets.load_dataset(OUT)`. webdataset: tar shards with"
        " an image and a JSON file for each example. folder: OUT/SUBSET/CLASS/IMAGE with metadata.csv, for ImageFolder,"
        " flow_from_directory and image_dataset_from_directory; of findings, where an image may have several,"
        " OUT/SUBSET/IMAGE, for flow_from_dataframe. Stored images are copied byte for byte. Exits with 0 if OUT is"
        " written, else with 2, and then nothing is.",
        "export ~/tensorflow_datasets/nih_chest_xray/nodule --to huggingface OUT",
    )
    parser.add_argument("dataset", metavar="DATASET", type=os.path.expanduser, help=_BUILT)
    parser.add_argument(
        "--to", choices=("huggingface", "webdataset", "folder"), required=True, help="for which library"
    )
    parser.add_argument("out", metavar="OUT", type=_folder, help="the folder to write; it must be new or empty")


def _export(parsed: argparse.Namespace) -> int:
    from nih_chest_xray.formats.export import export

    try:
        done = export(parsed.dataset, parsed.to, parsed.out)
    except (UsageError, CatalogError, NoRoomError, OSError) as error:
        return _refuse("export", error)
    print(f"Exported: {done.path}")
    print(f"Examples: {', '.join(f'{name} {number:,}' for name, number in done.examples.items())}")
    print(f"Read it in Python:\n{done.reading}", end="")
    for caveat in done.caveats:
        say(f"warning: {line(caveat, 4000)}")
    return 0


def _refuse(command: str, error: Exception, code: int = 2) -> int:
    """Says what is wrong, on one line that a terminal can take whatever a dataset's files are called."""
    text = str(error).strip()
    if isinstance(error, OSError) and error.filename and error.strerror:  # Without the number that Python puts before.
        text = f"{error.filename}: {error.strerror}"
    sentences = re.sub(r"(?<![.:])\n", ".\n", text)  # Some errors have a line for each image.
    print(f"nih-chest-xray {command}: {line(sentences, 4000)}", file=sys.stderr)
    return code


def _folder(text: str) -> str:
    if not text.strip():  # As of a variable that is not set: it would stand for the default.
        raise argparse.ArgumentTypeError("the name is empty; expected that of a folder")
    return os.path.expanduser(text)  # noqa: PTH111


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

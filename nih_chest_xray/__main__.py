"""Command line: `nih-chest-xray`, or `python -m nih_chest_xray`."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Runs a subcommand.

    Args:
      arguments: Of the command line; None takes those of the process.

    Returns:
      The exit status: 0 if all went well, 2 if the subcommand could not do what it was asked.
    """
    parser = argparse.ArgumentParser(prog="nih-chest-xray", description="Tools for built nih_chest_xray datasets.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_catalog(commands)
    asked = parser.parse_args(arguments)
    return asked.run(asked)


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
    except CatalogError as error:
        print(f"nih-chest-xray catalog: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes a synthetic release: `python -m nih_chest_xray.phantom DIR --patients 60 --layout folder`."""

from __future__ import annotations

import argparse

from etils import epath

from nih_chest_xray.phantom.release import LAYOUTS, Phantom


def main() -> None:
    """Writes a phantom to disk."""
    parser = argparse.ArgumentParser(
        prog="python -m nih_chest_xray.phantom", description="Write a synthetic release in one of the NIH's layouts."
    )
    parser.add_argument("folder", help="where to write it")
    parser.add_argument("--patients", type=int, default=60, help="how many (default 60); each has one to eight images")
    parser.add_argument("--layout", choices=LAYOUTS, default="folder", help="default folder")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    arguments = parser.parse_args()
    folder = epath.Path(arguments.folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        parser.error(f"{folder} exists and is not an empty folder; name another, so that no file of yours is replaced")
    phantom = Phantom(arguments.patients, arguments.seed)
    phantom.write(arguments.folder, arguments.layout)
    print(f"{len(phantom.names)} images of {arguments.patients} patients in {arguments.folder}")


if __name__ == "__main__":
    main()

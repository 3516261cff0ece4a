"""Releases to measure on: real images repeated under new names, or drawn ones, laid out as folder and as archives."""

import argparse
import itertools
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etils import epath

from nih_chest_xray.config import NihChestXrayConfig
from nih_chest_xray.phantom.release import Phantom, tar_gz
from nih_chest_xray.release import find
from nih_chest_xray.release.release import known_files
from nih_chest_xray.tables import boxes, labels
from nih_chest_xray.vocabulary import BOX_FILE, LABEL_FILES

CONFIG = {"healthy_stride": 1, "allow_missing_images": True}
"""What differs from the config `nodule`: all images here are Nodule or No Finding, and no archive is the NIH's own."""
_DRAWN = 100


def arguments(description: str, images: int, rounds: int) -> argparse.ArgumentParser:
    """Returns a parser of what all benchmarks are told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", help="folder with real images and their label file; else images are drawn")
    parser.add_argument("--images", type=int, default=images, help=f"default {images}")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often each way is run; default {rounds}")
    return parser


def pictures(folder: str | None) -> tuple[list[bytes], list[bytes]]:
    """Returns PNGs with and without a nodule: the real ones of a folder, or drawn."""
    if folder:
        found = find.find_release(epath.Path(folder), known_files(), allow_repacked=True)
        table = found.tables[found.label_file]
        parsed = labels.read_labels(table.read(), table.place)
    else:
        phantom = Phantom(_DRAWN)
        found = phantom.as_release()
        parsed = labels.read_labels(phantom.tables()[LABEL_FILES[0]], "phantom")
    nodule = set(parsed.loc[[("Nodule" in findings) for findings in parsed["findings"]], "image_name"])
    healthy = set(parsed.loc[[not findings for findings in parsed["findings"]], "image_name"])
    sets = [[image.read() for image in found.images(frozenset(names))] for names in (nodule, healthy)]
    return tuple(images[:_DRAWN] for images in sets)


@contextmanager
def repeated(
    folder: str | None, count: int, layouts: tuple[str, ...], per_archive: int = 2000
) -> Iterator[dict[str, Path]]:
    """Writes a release of `count` images, one a patient, one in six with a nodule, in each of the layouts.

    Args:
      folder: The folder of real images; None for drawn ones.
      count: Number of images.
      layouts: The layouts.
      per_archive: Number of images in a tar.gz.

    Yields:
      The folder of each layout: 'folder' (one folder of PNGs) or 'tar.gz'.
    """
    nodule, healthy = (itertools.cycle(images) for images in pictures(folder))
    with tempfile.TemporaryDirectory() as scratch:
        rows, images = [labels.OFFICIAL_HEADER], []
        draw = random.Random(0)
        for number in range(1, count + 1):
            name = f"{number:08d}_000.png"
            has_nodule = number % 6 == 0
            person = f"0,{number},{draw.randint(20, 80)},{draw.choice('MF')},{draw.choice(['PA', 'AP'])}"
            rows.append(f"{name},{'Nodule' if has_nodule else 'No Finding'},{person},2500,2048,0.168,0.168")
            images.append((name, next(nodule if has_nodule else healthy)))
        table = "\n".join(rows).encode()
        folders = {layout: Path(scratch) / layout for layout in layouts}
        for layout, path in folders.items():
            (path / "images").mkdir(parents=True)
            (path / LABEL_FILES[0]).write_bytes(table)
            (path / BOX_FILE).write_text(f"{boxes.OFFICIAL_HEADER}\n{images[5][0]},Nodule,400,400,80,80,,,\n")
            if layout == "folder":
                for name, content in images:
                    (path / "images" / name).write_bytes(content)
            else:
                for number, start in enumerate(range(0, count, per_archive), start=1):
                    part = images[start : start + per_archive]
                    (path / f"images_{number:02d}.tar.gz").write_bytes(tar_gz(part))
        del images
        yield folders
        shutil.rmtree(scratch, ignore_errors=True)


def config(**fields: object) -> NihChestXrayConfig:
    """Returns the config `nodule`, for a repeated release, with fields changed."""
    return NihChestXrayConfig(name="benchmark", **CONFIG | fields)

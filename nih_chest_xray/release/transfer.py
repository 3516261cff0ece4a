"""Transfer: brings files of known size and digest into a folder, each whole or not at all, one process at a time.

A file is downloaded as `<name>.part` and renamed once its digest is right, so a file with its final name is complete.
An interrupted download leaves the `.part`, and the next download resumes it. Files are downloaded one after the other:
one connection fills most lines, and an interruption then leaves one partial file, not twelve.

In a remote folder (a bucket), nothing can be appended to a file. A file is then downloaded to a temporary file on this
machine and copied once it is complete. Such a download resumes after a lost connection, but not in another process.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from etils import epath

from nih_chest_xray.errors import ReleaseError, TransferError
from nih_chest_xray.release.files import CHUNK
from nih_chest_xray.release.http_download import USUAL_PATIENCE, HttpDownload, Line, Patience, WrongDigestError
from nih_chest_xray.release.release import KnownFile
from nih_chest_xray.system import locks
from nih_chest_xray.system.bars import bar, say
from nih_chest_xray.system.disk_space import Need, readable, require_room
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.system.removal import UNFINISHED_DOWNLOAD, remove

_BYTES = "{n_fmt}B of {total_fmt}B, {rate_fmt}, {remaining} left"
_BAR = f"{{desc}}: {{percentage:3.0f}}%|{{bar}}| {_BYTES}"
_LOG_LINE = f"{{desc}}: {{percentage:3.0f}} %, {_BYTES}"


def fetch(
    folder: epath.Path,
    files: Mapping[str, KnownFile],
    also_needed: Sequence[Need] = (),
    patience: Patience = USUAL_PATIENCE,
    show_progress: bool = True,
) -> dict[str, epath.Path]:
    """Downloads the files that do not exist yet, one after the other.

    If another process is downloading into the same folder, prints a message and waits until it is done.

    Args:
      folder: The target folder; created if it does not exist.
      files: The files by name.
      also_needed: Disk space that is needed besides that of the files.
      patience: How long to wait.
      show_progress: Whether to show the bytes of all files together that have arrived, and the time left.

    Returns:
      The files' paths, by name.

    Raises:
      TransferError: A file cannot be downloaded. The files before it stay, and so does the part that arrived.
      ReleaseError: Something else has the name of a file or of its part. It is left untouched.
      NoRoomError: A disk is too small.
      OSError: The disk refuses something.
    """
    paths = {name: folder / name for name in files}
    if not _unfinished(files, paths):
        return paths
    with _only_download(folder):
        left = _unfinished(files, paths)  # Another process may have downloaded some in the meantime.
        total = sum(known.size for known in left.values())
        received = sum(_part_size(_part(paths[name]), known.size) for name, known in left.items())
        require_room([Need(folder, total - received, "the files to download"), *also_needed])
        if left:
            say(f"Downloading {', '.join(left)} into {folder}: {readable(total - received)}.")
        options = {"total": total, "initial": received, "unit": "B", "unit_scale": True}
        with bar(_BAR, _LOG_LINE, desc="download", disable=not (show_progress and total), **options) as progress:
            line = Line(patience, progress.update)
            for name, known in left.items():
                _get(paths[name], known, line)
    return paths


def _only_download(folder: epath.Path) -> locks.Held:
    """Locks a folder so that nothing is downloaded twice; if another process holds the lock, says so and waits."""
    path = folder / ".nih_chest_xray.lock"
    try:
        return locks.take(path)
    except locks.HeldError:
        say(f"Another process is downloading into {folder}: waiting until it is done.")
        return locks.take(path, wait=True)


def _unfinished(files: Mapping[str, KnownFile], paths: Mapping[str, epath.Path]) -> dict[str, KnownFile]:
    return {name: known for name, known in files.items() if not _is_finished(paths[name], known.size)}


def _is_finished(path: epath.Path, size: int) -> bool:
    """Returns whether a file exists under its final name, which it gets once its digest is right.

    Raises:
      ReleaseError: Something else has this name.
    """
    if not path.exists() and (is_remote(path) or not pathlib.Path(path).is_symlink()):
        return False
    if not path.is_file() or path.stat().length != size:
        raise ReleaseError(
            f"{path} is not the NIH's file: expected a plain file of {size:,} bytes. It is not touched; move it away,"
            " so that the file can be downloaded."
        )
    return True


def _part(path: epath.Path) -> epath.Path:
    return path.with_name(f"{path.name}.part")


def _part_size(part: epath.Path, limit: int) -> int:
    """Returns how many bytes an earlier download left.

    Raises:
      ReleaseError: What exists was not left by a download.
    """
    if is_remote(part):
        return 0
    try:
        found = pathlib.Path(part).lstat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size > limit:
        raise ReleaseError(
            f"{part} was not left by a download: expected a plain file of at most {limit:,} bytes. It is not"
            " touched; move it away."
        )
    return found.st_size


def _get(path: epath.Path, known: KnownFile, line: Line) -> None:
    """Downloads one file."""
    part = _part(path)
    try:
        with _opened(part, known.size) as file:
            HttpDownload(file, path.name, known, line).run()
            file.flush()
            if is_remote(path):
                file.seek(0)
                with part.open("wb") as copy:
                    shutil.copyfileobj(file, copy, CHUNK)
            else:
                os.fsync(file.fileno())  # So that a power failure cannot leave a final name without its bytes.
    except WrongDigestError:
        if not is_remote(part):
            _remove(part)
        raise
    except TransferError:
        if _part_size(part, known.size) == 0:
            _remove(part)
        raise
    except OSError as error:  # From the disk: errors of the network were converted before.
        if error.filename or not error.errno:
            raise
        raise OSError(error.errno, error.strerror, str(part)) from error
    if _is_finished(path, known.size):  # It appeared in the meantime.
        _remove(part)
    else:
        part.rename(path)


def _remove(part: epath.Path) -> None:
    remove(part, UNFINISHED_DOWNLOAD, within=part.parent)


@contextlib.contextmanager
def _opened(part: epath.Path, limit: int) -> Iterator[IO[bytes]]:
    if is_remote(part):
        with tempfile.TemporaryFile() as file:
            yield file
        return
    _part_size(part, limit)  # Raises an error if it is not ours.
    part.touch()
    with pathlib.Path(part).open("r+b") as file:
        yield file

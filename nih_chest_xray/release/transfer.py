"""Transfer: downloads files of known size and digest over HTTP, resumes after interruptions, and obeys Ctrl-C at once.

A file is downloaded as `<name>.part` and renamed once its digest is right, so a file with its final name is complete.
An interrupted download leaves the `.part`, and the next download resumes it. Files are downloaded one after the other:
one connection fills most lines, and an interruption then leaves one partial file, not twelve.

In a remote folder (a bucket), nothing can be appended to a file. A file is then downloaded to a temporary file on this
machine and copied once it is complete. Such a download resumes after a lost connection, but not in another process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import email.utils
import hashlib
import os
import pathlib
import queue
import re
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

import requests
import tqdm
import urllib3
from etils import epath

from nih_chest_xray.errors import ReleaseError, TransferError, first_line
from nih_chest_xray.release.files import CHUNK
from nih_chest_xray.release.release import KnownFile
from nih_chest_xray.system import locks
from nih_chest_xray.system.bars import bar
from nih_chest_xray.system.disk_space import Need, readable, require_room
from nih_chest_xray.system.paths import is_remote
from nih_chest_xray.system.removal import UNFINISHED_DOWNLOAD, remove

_BUSY = (408, 425, 429, 500, 502, 503, 504)
"""HTTP status codes of a server that may succeed later."""
_UNREACHABLE = (
    requests.ConnectTimeout,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ProxyError,
)
"""Errors that mean that there was no connection at all."""
_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<total>\d+|\*)")
_BEFORE_A_PAGE = b"\xef\xbb\xbf \t\r\n"
_BYTES = "{n_fmt}B of {total_fmt}B, {rate_fmt}, {remaining} left"
_BAR = f"{{desc}}: {{percentage:3.0f}}%|{{bar}}| {_BYTES}"
_LOG_LINE = f"{{desc}}: {{percentage:3.0f}} %, {_BYTES}"


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    Attributes:
      connect: Limit for connecting.
      read: Limit for the next bytes of a response.
      slow: Time in which at least `slow_bytes` must arrive; a slower connection is replaced by a new one.
      slow_bytes: The least number of bytes in that time.
      pauses: Pause before each retry. A try that brings `slow_bytes` new bytes starts the pauses anew; after the last
        one the download fails.
      longest: The longest pause that a server may ask for (Retry-After).
    """

    connect: float = 20
    read: float = 60
    slow: float = 120
    slow_bytes: int = 1_000_000
    pauses: tuple[float, ...] = (2, 10, 30, 60, 120, 300)
    longest: float = 300


def fetch(
    folder: epath.Path,
    files: Mapping[str, KnownFile],
    also_needed: Sequence[Need] = (),
    patience: Patience = Patience(),
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
            _say(f"Downloading {', '.join(left)} into {folder}: {readable(total - received)}.")
        options = {"total": total, "initial": received, "unit": "B", "unit_scale": True}
        with bar(_BAR, _LOG_LINE, desc="download", disable=not (show_progress and total), **options) as progress:
            line = _Line(patience, progress.update)
            for name, known in left.items():
                _get(paths[name], known, line)
    return paths


def _say(text: str) -> None:
    """Writes a notice to stderr, above the bar: a command's stdout is for its result."""
    tqdm.tqdm.write(text, file=sys.stderr)


def _only_download(folder: epath.Path) -> locks.Held:
    """Locks a folder so that nothing is downloaded twice; if another process holds the lock, says so and waits."""
    path = folder / ".nih_chest_xray.lock"
    try:
        return locks.take(path)
    except locks.HeldError:
        _say(f"Another process is downloading into {folder}: waiting until it is done.")
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


def _get(path: epath.Path, known: KnownFile, line: _Line) -> None:
    """Downloads one file."""
    part = _part(path)
    try:
        with _opened(part, known.size) as file:
            _Transfer(file, path.name, known, line).run()
            file.flush()
            if is_remote(path):
                file.seek(0)
                with part.open("wb") as copy:
                    shutil.copyfileobj(file, copy, CHUNK)
            else:
                os.fsync(file.fileno())  # So that a power failure cannot leave a final name without its bytes.
    except _WrongDigestError:
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


class _WrongDigestError(TransferError):
    """All bytes arrived, but their digest is wrong."""


class _BrokenError(Exception):
    """A failed try that may succeed when repeated, after `pause` seconds if the server asked for that."""

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclasses.dataclass
class _Line:
    """State that the files of one call share.

    Attributes:
      patience: How long to wait.
      on_bytes: Called with the number of bytes that arrived.
      works: Whether any server was reached. If none ever was, there is no network, and waiting is useless.
    """

    patience: Patience
    on_bytes: Callable[[int], object]
    works: bool = False


class _Transfer:
    """The download of one file."""

    def __init__(self, file: IO[bytes], name: str, known: KnownFile, line: _Line) -> None:
        """Takes the open file with the bytes that an earlier download left."""
        self._file = file
        self._name = name
        self._known = known
        self._line = line
        self._patience = line.patience
        self._digest = hashlib.sha256()
        self._have = 0
        file.seek(0)
        while piece := file.read(CHUNK):
            self._digest.update(piece)
            self._have += len(piece)
        # Bytes of several responses may be of different files, and those left over may come from any number of them.
        self._mixed = self._have > 0

    def run(self) -> None:
        """Downloads the file.

        Raises:
          TransferError: The file cannot be downloaded.
        """
        farthest, failures, again = self._have, 0, False
        while True:
            try:
                self._receive()
            except _BrokenError as error:
                if self._have - farthest >= self._patience.slow_bytes:
                    failures = 0
                farthest = max(farthest, self._have)
                if failures == len(self._patience.pauses):
                    raise self._failed(
                        f"{error}; tried {failures + 1} times. What arrived is kept, and the next build resumes from it"
                    ) from error
                pause = max(self._patience.pauses[failures], min(error.pause, self._patience.longest))
                failures += 1
                _say(
                    f"{self._name}: {error}, after {self._have:,} of {self._known.size:,} bytes. Trying again in"
                    f" {pause:g} s."
                )
                time.sleep(pause)
                continue
            if self._digest.hexdigest() == self._known.sha256:
                return
            if again or not self._mixed:
                raise _WrongDigestError(
                    f"{self._place} is not the NIH's file: its SHA-256 is {self._digest.hexdigest()}, expected"
                    f" {self._known.sha256}"
                )
            _say(f"{self._name}: its parts do not make up the NIH's file. Starting the download again.")
            self._restart()
            farthest, again = 0, True

    def _receive(self) -> None:
        """Requests the missing bytes and stores them."""
        if self._have == self._known.size:
            return
        with self._ask() as response:
            self._check(response)
            self._mixed = self._have > 0
            began, bytes_before = time.monotonic(), self._have
            while self._have < self._known.size:
                piece = _read(response, min(CHUNK, self._known.size - self._have))
                if self._have == 0 and piece.lstrip(_BEFORE_A_PAGE).startswith(b"<"):
                    raise self._failed("what came is a web page; the site refuses the download")
                self._file.write(piece)
                self._digest.update(piece)
                self._have += len(piece)
                self._line.on_bytes(len(piece))
                now = time.monotonic()
                if now - began >= self._patience.slow:
                    if self._have - bytes_before < self._patience.slow_bytes:
                        raise _BrokenError(f"{self._have - bytes_before:,} bytes arrived in {now - began:.0f} s")
                    began, bytes_before = now, self._have

    def _ask(self) -> requests.Response:
        # No content encoding: the archive's own bytes are needed.
        headers = {"Accept-Encoding": "identity"}
        if self._have:
            headers["Range"] = f"bytes={self._have}-"
        try:
            response = _open(self._known.url, headers, self._patience)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise self._failed(f"the server's certificate was refused ({first_line(error)})") from error
            cause = getattr(next(iter(error.args), None), "reason", None) or error
            if isinstance(cause, _UNREACHABLE) and not self._line.works:
                raise self._failed(f"the server cannot be reached ({first_line(cause)})") from error
            raise _BrokenError(f"the server did not answer ({first_line(cause)})") from error
        except Exception as error:  # From requests, urllib3 or Python, for invalid addresses and responses.
            raise self._failed(f"{type(error).__name__}: {first_line(error)}") from error
        self._line.works = True
        return response

    def _check(self, response: requests.Response) -> None:
        """Rejects a response that was not requested; discards what was received if the server sends the whole file."""
        status, headers = response.status_code, response.headers
        answer = f"the server answered {status} {response.reason or ''}".strip()
        if status in _BUSY:
            raise _BrokenError(answer, _seconds(headers.get("Retry-After", "")))
        if status == 416 and self._have:
            self._restart()
            raise _BrokenError(answer)
        if status not in (200, 206):
            raise self._failed(answer)
        if "html" in headers.get("Content-Type", "").lower():
            raise self._failed("what came is a web page; the site refuses the download")
        size = headers.get("Content-Length", "")
        if status == 206:
            sent = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
            if not sent or int(sent["start"]) != self._have:
                if not self._have:
                    raise self._failed(f"{answer}, which was not asked for")
                self._restart()
                raise _BrokenError("the server did not send the part of the file that was asked for")
            size = sent["total"]
        elif self._have:
            self._restart()
        if size.isdecimal() and int(size) != self._known.size:
            raise self._failed(f"the server's file has {int(size):,} bytes, the NIH's has {self._known.size:,}")

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._line.on_bytes(-self._have)
        self._have, self._digest = 0, hashlib.sha256()

    @property
    def _place(self) -> str:
        return f"{self._name} from {self._known.url}"

    def _failed(self, reason: str) -> TransferError:
        return TransferError(f"{self._place}: {reason}")


def _open(url: str, headers: Mapping[str, str], patience: Patience) -> requests.Response:
    """Sends the request in a thread: a DNS lookup ignores Ctrl-C and time limits, and headers may arrive forever.

    Always a GET, never a HEAD, which the NIH's server wrongly answers with 404.
    """
    answers: queue.SimpleQueue[requests.Response | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            timeout = (patience.connect, patience.read)
            answers.put(requests.get(url, headers=headers, stream=True, timeout=timeout))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=patience.connect + patience.read)
    except queue.Empty:
        raise requests.ConnectTimeout(f"no answer in {patience.connect + patience.read:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _read(response: requests.Response, limit: int) -> bytes:
    """Returns the next bytes as soon as any arrive, undecoded."""
    try:
        piece = response.raw.read1(limit, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise _BrokenError(f"the connection was lost ({first_line(error.args[0])})") from error
    if not piece:
        raise _BrokenError("the server ended the connection")
    return piece


def _seconds(retry_after: str) -> float:
    """Returns how many seconds a server asks to wait; its header holds seconds or a date."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return 0
    return (until - datetime.datetime.now(until.tzinfo)).total_seconds()

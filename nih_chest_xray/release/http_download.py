"""HTTP download: one file of known size and digest, resumed after interruptions; obeys Ctrl-C at once."""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import hashlib
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO

import requests
import urllib3

from nih_chest_xray.errors import TransferError, first_line
from nih_chest_xray.release.files import CHUNK
from nih_chest_xray.release.release import KnownFile
from nih_chest_xray.system.bars import say

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


USUAL_PATIENCE = Patience()


class WrongDigestError(TransferError):
    """All bytes arrived, but their digest is wrong."""


class _BrokenError(Exception):
    """A failed try that may succeed when repeated, after `pause` seconds if the server asked for that."""

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclasses.dataclass
class Line:
    """State that the files of one call share.

    Attributes:
      patience: How long to wait.
      on_bytes: Called with the number of bytes that arrived.
      works: Whether any server was reached. If none ever was, there is no network, and waiting is useless.
    """

    patience: Patience
    on_bytes: Callable[[int], object]
    works: bool = False


class HttpDownload:
    """The download of one file."""

    def __init__(self, file: IO[bytes], name: str, known: KnownFile, line: Line) -> None:
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
                say(
                    f"{self._name}: {error}, after {self._have:,} of {self._known.size:,} bytes. Trying again in"
                    f" {pause:g} s."
                )
                time.sleep(pause)
                continue
            if self._digest.hexdigest() == self._known.sha256:
                return
            if again or not self._mixed:
                raise WrongDigestError(
                    f"{self._place} is not the NIH's file: its SHA-256 is {self._digest.hexdigest()}, expected"
                    f" {self._known.sha256}"
                )
            say(f"{self._name}: its parts do not make up the NIH's file. Starting the download again.")
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

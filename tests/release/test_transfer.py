"""Tests of transfers, against a server that does all that servers do: a file is whole or not there, and ours only."""

import contextlib
import errno
import hashlib
import http.server
import itertools
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
import requests
import tensorflow_datasets as tfds
from etils import epath

from nih_chest_xray import Builder, NihChestXrayConfig
from nih_chest_xray.errors import NoRoomError, ReleaseError, TransferError
from nih_chest_xray.phantom.release import Phantom
from nih_chest_xray.release import release, transfer
from nih_chest_xray.release.http_download import Patience
from nih_chest_xray.release.release import KnownFile
from nih_chest_xray.release.transfer import fetch
from nih_chest_xray.system import disk_space

NAME = "images_001.tar.gz"
CONTENT = random.Random(0).randbytes(300_000)
QUICK = Patience(connect=5, read=0.3, slow=0.3, slow_bytes=1000, pauses=(0, 0, 0), longest=0.1)
TRIES = len(QUICK.pauses) + 1


# What a server may do with a request. Each takes the request's handler and the file's bytes.


def answer(handler, content, status=200, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(content)


def asked_from(handler) -> int:
    return int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-")) if "Range" in handler.headers else 0


def serve(handler, content, cut=None):
    """Answers as a good server does; if told so, only with the bytes before `cut`."""
    start = asked_from(handler)
    headers = {"Content_Length": len(content) - start}
    if "Range" in handler.headers:
        headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    answer(handler, content[start:cut], 206 if "Range" in handler.headers else 200, **headers)


def dropping(cut):
    return lambda handler, content: serve(handler, content, cut)


def resetting(cut):
    def act(handler, content):
        serve(handler, content, cut)
        handler.wfile.flush()
        # A reset is sent where a socket is closed that has no time left to send what it holds.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return act


def stalling(cut):
    def act(handler, content):
        serve(handler, content, cut)
        handler.server.over.wait()

    return act


def dripping(handler, content):
    with contextlib.suppress(OSError):
        serve(handler, content, asked_from(handler))
        for byte in content[asked_from(handler) :]:
            if handler.server.over.wait(0.02):
                return
            handler.wfile.write(bytes([byte]))


def dripping_headers(handler, content):
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
        while not handler.server.over.wait(0.02):
            handler.wfile.write(b"x")


def ignoring_ranges(handler, content):
    answer(handler, content, Content_Length=len(content))


def without_length(handler, content):
    answer(handler, content)


def saying(status, **headers):
    return lambda handler, content: answer(handler, b"no", status, **headers)


def claiming(length):
    return lambda handler, content: answer(handler, content, Content_Length=length)


def page(content_type):
    return lambda handler, content: answer(handler, b"\n<!DOCTYPE html>sign in", Content_Type=content_type)


def to_itself(handler, content):
    answer(handler, b"", 302, Location=handler.path)


def other_part(handler, content):
    answer(handler, content[7:], 206, Content_Range=f"bytes 7-{len(content) - 1}/{len(content)}")


def part_without_place(handler, content):
    answer(handler, content[asked_from(handler) :], 206)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers))
        self.server.on_request()
        act = self.server.script.pop(0) if self.server.script else self.server.usual
        act(self, self.server.files[self.path])

    def log_message(self, *_arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.asked, self.script, self.files = [], [], {}
        self.usual = serve
        self.on_request = lambda: None
        self.over = threading.Event()

    def known(self, name=NAME, content=CONTENT) -> KnownFile:
        """Serves a file."""
        self.files[f"/{name}"] = content
        url = f"http://127.0.0.1:{self.server_port}/{name}"
        return KnownFile(url, len(content), hashlib.sha256(content).hexdigest())

    @property
    def ranges(self) -> list[str | None]:
        return [headers["Range"] for _, headers in self.asked]

    def handle_error(self, *_arguments):
        pass  # Clients go when they have what they want.


@contextlib.contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server():
    with running(Server()) as server:
        yield server


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "downloads" / "nih_chest_xray"


def get(server, folder, patience=QUICK, **files):
    files = files or {NAME: server.known()}
    return fetch(epath.Path(folder), files, patience=patience)


def content_of(folder: Path) -> dict[str, bytes]:
    """What is in a folder, but for the lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".nih_chest_xray.lock"}


def leave_part(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True)
    part = folder / f"{NAME}.part"
    part.write_bytes(content)
    return part


def test_a_file_comes_as_it_is_under_its_name_and_nothing_else_stays(server, folder):
    assert get(server, folder)[NAME] == epath.Path(folder / NAME)
    assert content_of(folder) == {NAME: CONTENT}
    [(_, headers)] = server.asked
    assert headers["Accept-Encoding"] == "identity"


def test_a_file_that_a_server_calls_packed_is_not_unpacked(server, folder):
    server.script = [lambda handler, content: answer(handler, content, Content_Encoding="gzip")]
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}


def test_finished_files_are_not_asked_for_again(server, folder):
    get(server, folder)
    server.known("b", b"2")
    get(server, folder, **{NAME: server.known(), "b": server.known("b", b"2")})
    assert [path for path, _ in server.asked] == [f"/{NAME}", "/b"]


@pytest.mark.parametrize("break_off", [dropping, resetting, stalling])
def test_what_is_cut_off_in_the_middle_goes_on_where_it_was(break_off, server, folder):
    server.script = [break_off(100_000), break_off(200_000)]
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}
    # A reset may take what was sent last with it, so where exactly is not known.
    _, first, second = (int((ask or "bytes=0-")[6:-1]) for ask in server.ranges)
    assert 0 <= first <= 100_000
    assert first <= second <= 200_000
    if break_off is not resetting:
        assert (first, second) == (100_000, 200_000)


def test_a_drip_is_given_up_and_asked_for_again(server, folder):
    server.script = [dripping]
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}
    assert len(server.asked) == 2


def test_a_server_that_drips_for_ever_is_told(server, folder):
    server.usual = dripping
    with pytest.raises(TransferError, match=rf"{NAME} from http.*bytes arrived in 0 s; tried {TRIES} times"):
        get(server, folder)
    assert list(content_of(folder)) == [f"{NAME}.part"]


def test_a_server_that_stalls_for_ever_is_told_and_the_part_stays(server, folder):
    server.usual = stalling(100_000)
    with pytest.raises(TransferError, match=rf"{NAME} from http.*the connection was lost.*; tried {TRIES} times"):
        get(server, folder)
    assert content_of(folder) == {f"{NAME}.part": CONTENT[:100_000]}


def test_tries_that_bring_something_are_not_counted(server, folder):
    server.script = [dropping(cut) for cut in range(1_000, 20_000, 1_000)]
    assert len(server.script) > TRIES
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}


def test_a_server_that_ignores_ranges_and_always_drops_is_not_asked_for_ever(server, folder):
    cuts = itertools.cycle([100_000, 200_000])
    server.usual = lambda handler, content: answer(handler, content[: next(cuts)], Content_Length=len(content))
    with pytest.raises(TransferError, match="tried"):
        get(server, folder)
    assert len(server.asked) == 1 + TRIES  # The second brought something that had not been there before.


@pytest.mark.parametrize(
    ("act", "asked"), [(ignoring_ranges, 2), (other_part, 3), (part_without_place, 3), (saying(416), 3)]
)
def test_an_answer_that_is_not_the_part_that_was_asked_for_begins_the_file_anew(act, asked, server, folder, capsys):
    server.script = [dropping(100_000), act]
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}
    assert len(server.asked) == asked
    assert "its parts do not make up the NIH's file" not in capsys.readouterr().err  # They were never mixed.


def test_a_run_goes_on_with_the_part_that_an_earlier_one_left(server, folder):
    leave_part(folder, CONTENT[:123_456])
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}
    assert server.ranges == ["bytes=123456-"]


@pytest.mark.parametrize("size", [1_000, len(CONTENT)])
def test_a_part_of_another_file_is_found_by_the_digest_and_begun_anew(size, server, folder):
    leave_part(folder, bytes(size))
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}
    assert server.ranges[-1] is None


def test_a_file_that_changes_on_the_server_in_the_middle_is_never_mixed(server, folder):
    known = server.known()
    server.known(NAME, bytes(len(CONTENT)))
    server.script = [dropping(100_000), lambda handler, content: serve(handler, CONTENT)]
    server.usual = lambda handler, content: serve(handler, CONTENT)
    get(server, folder, **{NAME: known})
    assert content_of(folder) == {NAME: CONTENT}


def test_a_whole_file_with_another_digest_is_refused_and_not_kept(server, folder):
    known = server.known()
    server.known(NAME, bytes(len(CONTENT)))
    with pytest.raises(
        TransferError, match=f"is not the NIH's file: its SHA-256 is [0-9a-f]+, expected {known.sha256}"
    ):
        get(server, folder, **{NAME: known})
    assert content_of(folder) == {}
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (saying(404), "the server answered 404 Not Found$"),
        (saying(403), "the server answered 403 Forbidden$"),
        (saying(204), "the server answered 204 No Content$"),
        (saying(302), "the server answered 302 Found$"),
        (saying(302, Location="ftp://127.0.0.1/a"), "InvalidSchema"),
        (to_itself, "TooManyRedirects"),
        (page("text/html; charset=utf-8"), "what came is a web page"),
        (claiming(999_999), "the server's file has 999,999 bytes, the NIH's has 300,000"),
        (claiming(1_000), "the server's file has 1,000 bytes, the NIH's has 300,000"),
        (other_part, "206 Partial Content, which was not asked for"),
    ],
)
def test_what_will_not_get_better_is_told_at_once(act, message, server, folder):
    server.usual = act
    with pytest.raises(TransferError, match=f"{NAME} from http://127.0.0.1:.*{message}"):
        get(server, folder)
    assert content_of(folder) == {}
    assert len({path for path, _ in server.asked}) == 1
    assert len(server.asked) == (1 if act is not to_itself else 31)  # As many redirects as requests follows.


def test_a_page_that_does_not_say_that_it_is_one_is_told_at_once(server, folder):
    web_page = b"\n<!DOCTYPE html>sign in"
    known = KnownFile(server.known(NAME, web_page).url, len(web_page), "0")
    with pytest.raises(TransferError, match="what came is a web page; the site refuses the download"):
        get(server, folder, **{NAME: known})
    assert content_of(folder) == {}
    assert len(server.asked) == 1


def test_a_page_in_place_of_the_rest_of_a_file_leaves_the_part_as_it_is(server, folder):
    server.script = [dropping(100_000)]
    server.usual = page("text/html")
    with pytest.raises(TransferError, match="what came is a web page"):
        get(server, folder)
    assert content_of(folder) == {f"{NAME}.part": CONTENT[:100_000]}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status, server, folder):
    server.script = [saying(status)]
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        ("7", 7),
        ("86400", 30),
        ("soon", 2),
        ("-1", 2),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 2),
    ],
)
def test_a_server_is_given_the_time_that_it_asks_for_within_bounds(retry_after, pause, server, folder, monkeypatch):
    paused = []
    monkeypatch.setattr(time, "sleep", paused.append)
    server.script = [saying(503, Retry_After=retry_after)]
    get(server, folder, Patience(pauses=(2, 5), longest=30))
    assert paused == [pause]


def test_a_server_that_stays_busy_is_told_after_the_last_pause(server, folder, monkeypatch):
    paused = []
    monkeypatch.setattr(time, "sleep", paused.append)
    server.usual = saying(503, Retry_After="1")
    with pytest.raises(TransferError, match="the server answered 503 Service Unavailable; tried 4 times"):
        get(server, folder, Patience(pauses=(2, 5, 9)))
    assert paused == [2, 5, 9]


@pytest.mark.parametrize("more", [0, 1, 100_000])
def test_of_a_file_without_a_length_as_many_bytes_are_taken_as_it_should_have(more, server, folder):
    server.script = [lambda handler, content: without_length(handler, content + bytes(more))]
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}


def test_a_server_that_restarts_is_waited_for(server, folder):
    port, began = server.server_port, threading.Event()
    twins = []

    def restart(handler, content):
        serve(handler, content, 100_000)
        server.server_close()
        began.set()

    def come_back():
        began.wait()
        time.sleep(0.5)
        twin = Server(port)
        twin.known()
        threading.Thread(target=twin.serve_forever, args=(0.05,), daemon=True).start()
        twins.append(twin)

    thread = threading.Thread(target=come_back)
    thread.start()
    server.script = [restart]
    get(server, folder, Patience(pauses=(0.1,) * 200))
    thread.join()
    twins[0].shutdown()
    twins[0].server_close()
    assert content_of(folder) == {NAME: CONTENT}
    assert twins[0].ranges[-1] == "bytes=100000-"


def nowhere() -> KnownFile:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return KnownFile(f"http://127.0.0.1:{listener.getsockname()[1]}/{NAME}", 1, "0")


def test_without_a_network_one_try_is_made(folder, monkeypatch):
    tries = []
    usual = requests.get
    monkeypatch.setattr(requests, "get", lambda *args, **options: tries.append(args) or usual(*args, **options))
    with pytest.raises(TransferError, match=r"the server cannot be reached \(.*refused"):
        fetch(epath.Path(folder), {NAME: nowhere(), "b": nowhere()}, patience=QUICK)
    assert len(tries) == 1


def test_a_name_that_is_never_found_and_headers_that_never_end_are_given_up(server, folder, monkeypatch):
    server.usual = dripping_headers
    patience = Patience(connect=0.2, read=0.2, pauses=())
    with pytest.raises(TransferError, match=r"cannot be reached \(no answer in 0.4 s\)"):
        get(server, folder, patience)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: server.over.wait())
    with pytest.raises(TransferError, match=r"cannot be reached \(no answer in 0.4 s\)"):
        get(server, folder, patience)


def test_a_certificate_that_is_refused_is_told_at_once(server, folder, monkeypatch):
    def refuse(*_arguments, **_options):
        raise requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(TransferError, match=r"certificate was refused .*self-signed"):
        get(server, folder)


def test_files_before_one_that_fails_stay(server, folder):
    files = {name: server.known(name, name.encode()) for name in "abc"}
    server.script = [serve, saying(404)]
    with pytest.raises(TransferError, match="^b from"):
        get(server, folder, **files)
    assert content_of(folder) == {"a": b"a"}
    get(server, folder, **files)
    assert content_of(folder) == {"a": b"a", "b": b"b", "c": b"c"}


# What is not ours.


def as_link(part: Path, elsewhere: Path):
    part.symlink_to(elsewhere)


def as_hard_link(part: Path, elsewhere: Path):
    part.hardlink_to(elsewhere)


def as_link_to_nothing(part: Path, elsewhere: Path):
    part.symlink_to(elsewhere / "nothing")


def as_folder(part: Path, elsewhere: Path):
    part.mkdir()


def as_pipe(part: Path, elsewhere: Path):
    os.mkfifo(part)


def as_larger_file(part: Path, elsewhere: Path):
    part.write_bytes(bytes(len(CONTENT) + 1))


FOREIGN = [as_link, as_hard_link, as_link_to_nothing, as_folder, as_pipe, as_larger_file]


@pytest.mark.parametrize("make", FOREIGN)
def test_what_no_download_can_have_left_is_refused_in_the_place_of_a_part(make, server, folder, tmp_path):
    elsewhere = tmp_path / "thesis.txt"
    elsewhere.write_bytes(b"mine")
    folder.mkdir(parents=True)
    make(folder / f"{NAME}.part", elsewhere)
    before = (folder / f"{NAME}.part").lstat()
    with pytest.raises(ReleaseError, match=rf"{NAME}\.part was not left by a download.*move it away"):
        get(server, folder)
    after = (folder / f"{NAME}.part").lstat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
    assert elsewhere.read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize("make", [as_link, as_link_to_nothing, as_folder, as_pipe, as_larger_file])
def test_what_is_not_the_file_is_refused_in_its_place(make, server, folder, tmp_path):
    elsewhere = tmp_path / "thesis.txt"
    elsewhere.write_bytes(b"mine")
    folder.mkdir(parents=True)
    make(folder / NAME, elsewhere)
    with pytest.raises(ReleaseError, match=rf"{NAME} is not the NIH's file.*It is not touched; move it away"):
        get(server, folder)
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert server.asked == []


def test_a_file_that_appears_under_the_name_while_it_is_downloaded_is_not_overwritten(server, folder):
    server.on_request = lambda: (folder / NAME).write_bytes(b"mine")
    with pytest.raises(ReleaseError, match="is not touched"):
        get(server, folder)
    assert content_of(folder) == {NAME: b"mine", f"{NAME}.part": CONTENT}
    (folder / NAME).unlink()
    get(server, folder)
    assert content_of(folder) == {NAME: CONTENT}
    assert len(server.asked) == 1


FAILURES = {
    "404": saying(404),
    "a page": page("text/html"),
    "busy": saying(503),
    "a drop": dropping(7),
    "a stall": stalling(7),
    "a loop": to_itself,
    "another length": claiming(7),
    "another file": lambda handler, content: serve(handler, bytes(len(content))),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_failing_download_touches_the_manual_dir(failure, server, tmp_path, monkeypatch):
    """Also not if a wrong file of the wanted name appears in it, which TFDS's own download would take for its own."""
    manual_dir, data_dir = tmp_path / "manual", tmp_path / "data"
    Phantom(12).write(manual_dir)
    lost = next(path for path in sorted((manual_dir / "images").iterdir()))
    lost.unlink()
    for name in ("thesis.txt", f"{NAME}.part", ".nih_chest_xray.lock", "images_002 (1).tar.gz"):
        (manual_dir / name).write_bytes(b"mine")
    known = dict.fromkeys(release.known_files(), KnownFile("http://127.0.0.1:1/", 1, "0"))
    monkeypatch.setattr(
        "nih_chest_xray.nih_chest_xray_dataset_builder.known_files", lambda: known | {NAME: server.known()}
    )
    monkeypatch.setattr(transfer.fetch, "__defaults__", ((), QUICK, True))

    def content() -> dict[str, tuple[bytes, int]]:
        files = (path for path in manual_dir.rglob("*") if path.is_file())
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    seen = []

    def put():
        if not seen:
            (manual_dir / NAME).write_bytes(b"wrong")
            seen.append(content())

    server.on_request = put
    server.usual = FAILURES[failure]
    config = NihChestXrayConfig(
        name="twelve", image_size=16, healthy_stride=1, validation_fraction=0.3, test_fraction=0.3
    )
    builder = Builder(config=config, data_dir=data_dir)
    with pytest.raises(ReleaseError, match="The archives could not be downloaded"):
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    assert [content()] == seen
    left = content_of(data_dir / "downloads" / "nih_chest_xray")
    assert left.keys() <= {f"{NAME}.part"}


# The disk.


def test_the_bytes_that_are_lacking_are_compared_with_the_room_before_anything_is_asked(server, folder, monkeypatch):
    leave_part(folder, CONTENT[:100_000])
    usage = shutil_usage(free=199_999)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", usage)
    with pytest.raises(NoRoomError, match=rf"the files to download need 200.0 kB in {folder}; 200.0 kB are free there"):
        get(server, folder)
    assert server.asked == []
    monkeypatch.setattr(disk_space.shutil, "disk_usage", shutil_usage(free=200_000))
    get(server, folder)


def shutil_usage(free):
    return lambda _path: type("Usage", (), {"free": free})


def test_what_is_needed_beside_the_files_is_added_on_the_same_disk(server, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", shutil_usage(free=400_000))
    also = [disk_space.Need(epath.Path(tmp_path / "data"), 100_001, "the dataset")]
    message = (
        rf"300.0 kB in {folder} and the dataset need 100.0 kB in {tmp_path}/data; 400.0 kB are free on the disk of"
    )
    with pytest.raises(NoRoomError, match=message):
        fetch(epath.Path(folder), {NAME: server.known()}, also, QUICK)


def test_a_disk_that_refuses_bytes_is_told_with_the_file(server, folder, monkeypatch):
    def refuse(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=rf"No space left on device: '.*/{NAME}\.part'"):
        get(server, folder)
    assert content_of(folder) == {f"{NAME}.part": CONTENT}


def test_files_have_the_permissions_that_the_umask_says(server, folder):
    usual = os.umask(0o027)
    try:
        get(server, folder)
    finally:
        os.umask(usual)
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o640


def test_memory_does_not_grow_with_the_file(server, folder):
    known = server.known(NAME, bytes(64 << 20))
    tracemalloc.start()
    try:
        get(server, folder, **{NAME: known})
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_to_a_remote_folder_a_file_is_copied_when_it_is_whole(server, folder, monkeypatch):
    monkeypatch.setattr(transfer, "is_remote", lambda _path: True)
    before = []
    server.on_request = lambda: before.append(content_of(folder))
    server.script = [dropping(100_000)]
    get(server, folder)
    assert before == [{}, {}]
    assert server.ranges == [None, "bytes=100000-"]
    assert content_of(folder) == {NAME: CONTENT}
    known = server.known("b", b"right")
    server.known("b", b"wrong")
    with pytest.raises(TransferError, match="is not the NIH's file"):
        get(server, folder, b=known)
    assert content_of(folder) == {NAME: CONTENT}


# Two processes, and Ctrl-C.

HOLDER = """
import sys, time
from etils import epath
from nih_chest_xray.release.transfer import _only_download

folder = epath.Path(sys.argv[1])
with _only_download(folder):
    print("holds", flush=True)
    sys.stdin.readline()
    time.sleep(1)
    (folder / "a").write_bytes(b"a")
"""


def test_a_second_process_waits_for_the_first_says_so_and_takes_what_it_got(server, folder, capfd):
    files = {name: server.known(name, name.encode()) for name in "ab"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], text=True, **pipes) as holder:
        assert holder.stdout.readline() == "holds\n"
        holder.stdin.write("go on\n")
        holder.stdin.flush()
        get(server, folder, **files)
    assert [path for path, _ in server.asked] == ["/b"]
    assert f"Another process is downloading into {folder}: waiting" in capfd.readouterr().err


def test_finished_files_are_had_while_another_process_downloads(server, folder):
    get(server, folder)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], text=True, **pipes) as holder:
        assert holder.stdout.readline() == "holds\n"
        assert get(server, folder)[NAME].read_bytes() == CONTENT
        holder.communicate("go on\n")


GETTER = """
import signal, sys
from etils import epath
from nih_chest_xray.release.release import KnownFile
from nih_chest_xray.release.http_download import Patience
from nih_chest_xray.release.transfer import fetch

signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell may have its background jobs ignore it.
known = KnownFile(sys.argv[2], 300_000, "0")
fetch(epath.Path(sys.argv[1]), {"images_001.tar.gz": known}, patience=Patience(read=3600, pauses=(3600,)))
"""


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (stalling(100_000), {f"{NAME}.part": CONTENT[:100_000]}),
        (lambda handler, content: handler.server.over.wait(), {f"{NAME}.part": b""}),
        (saying(503), {f"{NAME}.part": b""}),
    ],
    ids=["in the middle", "before the answer", "in a pause"],
)
def test_one_ctrl_c_ends_a_process_whose_server_stalls_for_good(act, left, server, folder):
    asked = threading.Event()
    server.on_request = asked.set
    server.usual = act
    command = [sys.executable, "-c", GETTER, str(folder), server.known().url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert asked.wait(60)
        time.sleep(0.5)  # So that it has read what there is.
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)  # It would wait for an hour.
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert content_of(folder) == left


# The bar.


def test_the_bar_counts_the_bytes_of_all_files_and_those_that_were_there(server, folder, capfd):
    leave_part(folder, CONTENT[:100_000])
    get(server, folder, **{NAME: server.known(), "b": server.known("b", bytes(100_000))})
    told = capfd.readouterr()
    assert f"Downloading {NAME}, b into {folder}: 300.0 kB." in told.err
    assert "download:  25 %, 100kB of 400kB" in told.err
    assert "download: 100 %, 400kB of 400kB" in told.err


def test_the_bar_goes_back_where_a_file_begins_anew(server, folder, capfd):
    server.script = [dropping(100_000), ignoring_ranges]
    get(server, folder)
    told = capfd.readouterr()
    assert "100 %, 300kB of 300kB" in told.err
    assert f"{NAME}: the connection was lost" in told.err
    assert "after 100,000 of 300,000 bytes. Trying again in 0 s." in told.err


def test_no_bar_is_shown_where_the_user_wants_none(server, folder, capfd):
    fetch(epath.Path(folder), {NAME: server.known()}, patience=QUICK, show_progress=False)
    assert "download:" not in capfd.readouterr().err

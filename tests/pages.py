"""A reader of HTML and of tables, and a static server, for the tests of the catalog."""

import base64
import contextlib
import functools
import html.parser
import http.server
import itertools
import json
import re
import threading
import zlib

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source"}


class Page(html.parser.HTMLParser):
    """A page as a list of elements, each with its attributes and its text; fails on tags that do not match."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(path.read_text())
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "inside": [e["tag"] for e in self.open]}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]

    def by_id(self, identifier):
        [element] = [element for element in self.elements if element["attrs"].get("id") == identifier]
        return element

    def table(self, key):
        """Rows of text, the header first, of the table whose caption is `<key>-caption`."""
        rest = self.elements[self.elements.index(self.by_id(f"{key}-caption")) :]
        rows = []
        for element in itertools.takewhile(lambda e: e["tag"] != "caption" or e is rest[0], rest):
            if element["tag"] == "tr":
                rows.append([])
            elif element["tag"] in ("th", "td"):
                rows[-1].append(" ".join(element["text"].split()))
        return rows


@contextlib.contextmanager
def static_server(folder):
    """Gives the address of a folder on a server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def script_columns(path):
    """What a script hands on that the browser of examples loads; it is nothing but a text of Base64."""
    name, packed = re.fullmatch(r'catalogTable\("(\w+)", "([A-Za-z0-9+/=]+)"\);\n', path.read_text()).groups()
    assert name == path.stem
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def script_table(path):
    """The table of such a script, as a list of {column: text}."""
    content = script_columns(path)
    columns = {}
    for column, coded in content["columns"].items():
        codes = range(content["rows"]) if coded["codes"] is None else coded["codes"]
        columns[column] = [coded["values"][code] for code in codes]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

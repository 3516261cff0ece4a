"""Fixtures for the catalog's pages in a browser."""

import pytest
from pages import static_server
from screens import chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def served(catalog_site):
    """The address of the site on a server of this machine."""
    with static_server(catalog_site) as address:
        yield f"{address}/"


@pytest.fixture(params=["file", "http"])
def base(request, catalog_site):
    return f"{catalog_site.as_uri()}/" if request.param == "file" else request.getfixturevalue("served")

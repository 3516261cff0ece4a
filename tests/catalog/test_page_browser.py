"""Tests of the pages' first screen, tabs, tables and print in a browser, and of their accessibility by axe-core."""

import base64
import io
import shutil
from importlib import resources

import numpy as np
import PIL.Image
import pytest
from screens import DESK, PAPER, PHONE, show
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from nih_chest_xray.catalog.site import write_site
from nih_chest_xray.evaluation.evaluate import run
from nih_chest_xray.evaluation.report import write_report

pytestmark = pytest.mark.slow

OPEN_DETAILS = "for (const details of document.querySelectorAll('details')) details.open = true"
LOOKS = [(width, scheme) for width in (PHONE, DESK) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def pages(catalog_site, sound, made, tmp_path_factory):
    """The addresses of pages of each kind: an index, datasets, one of them with evaluations, and a report."""
    data = tmp_path_factory.mktemp("reported")
    folder = shutil.copytree(sound, data / "nih_chest_xray/built/2.0.0")
    done = run(made(sound), folder, names=("a", "b"), compare=made(sound, seed=1), by=("patient_sex",), bootstrap=20)
    report = write_report(done, {}, folder.parent / "baseline")
    evaluated = write_site(data, data / "site") / "index.html"
    paths = {name: catalog_site / name / "index.html" for name in (".", "drawn", "many")}
    return {name: path.as_uri() for name, path in (paths | {"evaluated": evaluated, "report": report}).items()}


KINDS = (".", "drawn", "many", "evaluated", "report")
DATASETS = ("drawn", "many", "evaluated")


@pytest.fixture(scope="module")
def axe():
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_no_violation(kind, width, scheme, pages, axe, browser):
    show(browser, pages[kind], width, scheme)
    # Of text on a gradient, which marks a table's edge, axe tells no contrast.
    plain = """const sheet = new CSSStyleSheet();
      sheet.replaceSync(".scroll, pre, .plot { background: var(--surface) !important }");
      document.adoptedStyleSheets = [sheet];"""
    browser.execute_script(f"{OPEN_DETAILS}; {plain}")
    browser.execute_script(axe)
    found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert len(found["passes"]) > 20
    for outcome in ("violations", "incomplete"):
        assert [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found[outcome]] == []
    assert browser.get_log("browser") == []


def test_tabs_are_turned_by_keyboard_and_mouse(base, browser):
    show(browser, base + "drawn/index.html")
    tabs = browser.find_elements(By.CSS_SELECTOR, '[role="tab"]')
    panels = [browser.find_element(By.ID, tab.get_attribute("aria-controls")) for tab in tabs]
    assert [tab.text for tab in tabs] == ["TensorFlow", "PyTorch", "JAX"]
    assert browser.find_element(By.CSS_SELECTOR, '[role="tablist"]').get_attribute("aria-label") == "Library"

    def chosen():
        """The one tab that is chosen, that alone has its panel shown and is reached by the Tab key."""
        [number] = [number for number, panel in enumerate(panels) if panel.is_displayed()]
        assert [tab.get_attribute("aria-selected") for tab in tabs] == [str(n == number).lower() for n in range(3)]
        assert [tab.get_property("tabIndex") for tab in tabs] == [0 if n == number else -1 for n in range(3)]
        assert panels[number].get_attribute("aria-labelledby") == tabs[number].get_attribute("id")
        return number

    assert chosen() == 0
    browser.execute_script("arguments[0].focus()", tabs[0])
    turns = ((Keys.ARROW_RIGHT, 1), (Keys.END, 2), (Keys.ARROW_RIGHT, 0), (Keys.ARROW_LEFT, 2), (Keys.HOME, 0))
    for key, expected in turns:
        browser.switch_to.active_element.send_keys(key)
        assert chosen() == expected
        assert browser.switch_to.active_element == tabs[expected]
    tabs[1].click()
    assert chosen() == 1
    assert "torch" in panels[1].text


def test_without_scripts_the_code_of_all_libraries_is_shown(catalog_site, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, f"{catalog_site.as_uri()}/drawn/index.html")
        titles = [title.text for title in browser.find_elements(By.CSS_SELECTOR, ".tabs h3")]
        codes = browser.find_elements(By.CSS_SELECTOR, ".tabs pre")
        assert titles == ["TensorFlow", "PyTorch", "JAX"]
        assert len(codes) == 3
        assert all(code.is_displayed() for code in codes)
        # A button that does nothing is not there.
        assert not any(button.is_displayed() for button in browser.find_elements(By.TAG_NAME, "button"))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("kind", DATASETS)
def test_the_first_screen_says_what_it_is_and_how_to_load_it(kind, pages, browser):
    """On a desk all of it; on a phone what it is, and four radiographs."""
    bottoms = """return ["h1", ".four", ".caveat, .notice", "#load", ".facts"].map(
      (selector) => document.querySelector(selector).getBoundingClientRect().bottom)"""
    show(browser, pages[kind])
    assert max(browser.execute_script(bottoms)) < 900
    show(browser, pages[kind], PHONE)
    assert max(browser.execute_script(bottoms)[:3]) < 740


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_phone_no_text_is_smaller_than_12_pixels(kind, pages, browser):
    show(browser, pages[kind], PHONE)
    sizes = """return [...document.querySelectorAll("body *")]
      .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
      .filter((node) => node.checkVisibility() && !["SCRIPT", "STYLE"].includes(node.tagName))
      .map((node) => [parseFloat(getComputedStyle(node).fontSize), node.outerHTML.slice(0, 80)])"""
    browser.execute_script(OPEN_DETAILS)
    assert min(browser.execute_script(sizes))[0] >= 12
    assert browser.execute_script("return visualViewport.scale") == 1
    # The smallest text of a plot has 12 pixels where the plot is as wide as it was drawn.
    plots = """return [...document.querySelectorAll(".chart")].map((plot) =>
      plot.getBoundingClientRect().width / plot.getAttribute("width"))"""
    scales = browser.execute_script(plots)
    assert bool(scales) == (kind == "report")
    assert all(scale >= 1 for scale in scales)


def pixels(browser, element):
    """The part of an element that is on the screen, (height, width), grey."""
    place = """arguments[0].scrollIntoView({block: 'center'});
      const {left, top, right, bottom} = arguments[0].getBoundingClientRect();
      return [left, Math.max(top, 0), right, Math.min(bottom, innerHeight)].map(Math.round);"""
    box = browser.execute_script(place, element)
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    with PIL.Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as picture:
        return np.asarray(picture.convert("L").crop(box))


@pytest.mark.parametrize("kind", ["many", "report"])
def test_where_columns_are_behind_the_edge_a_shadow_says_so(kind, pages, browser):
    show(browser, pages[kind], PHONE)
    browser.execute_script(OPEN_DETAILS)
    boxes = browser.find_elements(By.CSS_SELECTOR, ".scroll, pre, .plot")
    wide = [box for box in boxes if box.get_property("scrollWidth") > box.get_property("clientWidth") + 8]
    assert wide
    for box in wide:
        # Most of an edge has no text: its median is the ground, white or in the shadow.
        assert np.median(pixels(browser, box)[:, -3]) < 235
        browser.execute_script("arguments[0].scrollLeft = 10000", box)
        assert np.median(pixels(browser, box)[:, -3]) > 250
        if not box.find_elements(By.CSS_SELECTOR, ".figures"):  # Whose first column stays, before the edge.
            assert np.median(pixels(browser, box)[:, 2]) < 235
        browser.execute_script("arguments[0].scrollLeft = 0", box)
        assert np.median(pixels(browser, box)[:, 2]) > 250


@pytest.mark.parametrize("kind", KINDS)
def test_printed_all_is_on_the_paper_light_and_open(kind, pages, browser):
    show(browser, pages[kind], PAPER, "dark", media="print")
    boxes = """return [document.documentElement, ...document.querySelectorAll(".scroll, pre, .plot, td, th")]
      .filter((box) => box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).display !== "inline")
      .map((box) => box.outerHTML.slice(0, 120))"""
    assert browser.execute_script(boxes) == []
    right = """return Math.max(...[...document.querySelectorAll("body *")].filter((node) => node.checkVisibility()
      && !node.closest(".unseen, .skip")).map((node) => node.getBoundingClientRect().right))"""
    assert browser.execute_script(right) <= PAPER
    opened = """return [...document.querySelectorAll("details > :not(summary), .tabs pre, .tabs h3")]
      .filter((node) => !node.closest("#browser"))  // Which is for a screen.
      .map((node) => node.checkVisibility({contentVisibilityAuto: true}) && node.getBoundingClientRect().height > 10)"""
    shown = browser.execute_script(opened)
    assert all(shown)
    assert bool(shown) == (kind != ".")
    controls = browser.find_elements(By.CSS_SELECTOR, "button, [role=tablist], .toc")
    assert not any(control.is_displayed() for control in controls)
    colours = browser.execute_script("""const style = getComputedStyle(document.body);
      return [style.color, style.getPropertyValue("--surface"), style.colorScheme]""")
    assert colours == ["rgb(24, 33, 43)", "#ffffff", "light"]

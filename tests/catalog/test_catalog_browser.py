"""Tests of the catalog's pages in a browser: headless Chromium, where there is one."""

import json
import urllib.parse

import pytest
from screens import DESK, PHONE, show
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

PAGES = ("index.html", "drawn/index.html", "many/index.html")
pytestmark = pytest.mark.slow


def addresses(browser, page):
    """The addresses that a page asked for; what the browser's own first page asks for is not its business."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [request["request"]["url"] for request in asked if request["documentURL"] == page]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_loads_whole_from_one_place_without_complaints(scheme, page, base, browser):
    show(browser, base + page, scheme=scheme)
    pictures = browser.execute_script("return [...document.images].map((i) => [i.complete, i.naturalWidth, i.width])")
    assert all(complete and min(widths) > 70 for complete, *widths in pictures)
    assert (len(pictures) > 0) == (page != "index.html")
    sources = browser.execute_script("return [...document.images].map((i) => i.currentSrc)")
    assert all(source.startswith(base) for source in sources)
    assert set(addresses(browser, base + page)) == {base + page, *sources}
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_wider_than_the_screen(page, width, scheme, catalog_site, browser):
    show(browser, f"{catalog_site.as_uri()}/{page}", width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    # Opened, tables scroll in themselves.
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("page", PAGES[1:])
def test_on_a_phone_tables_with_sentences_need_not_be_pushed_sideways(page, catalog_site, browser):
    show(browser, f"{catalog_site.as_uri()}/{page}", PHONE)
    captions = ", ".join(f"#{key}-caption" for key in ("features", "config", "defaults", "files"))
    widths = f"""return [...document.querySelectorAll("{captions}")]
      .map((caption) => caption.closest(".scroll")).map((box) => [box.scrollWidth, box.clientWidth])"""
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    boxes = browser.execute_script(widths)
    assert len(boxes) == 4
    assert all(inside <= box for inside, box in boxes)


LUMINANCE = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => channels(colour).slice(0, 3).map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if ((channels(colour)[3] ?? 1) > 0) return colour;
  }
};
const worst = [99, ""];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!own || !node.checkVisibility() || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
  const style = getComputedStyle(node);
  const [a, b] = [style.color, behind(node)].map(luminance).sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < worst[0]) worst.splice(0, 2, contrast, node.outerHTML.slice(0, 80));
}
return [worst, getComputedStyle(document.body).backgroundColor];
"""


@pytest.mark.parametrize("page", PAGES)
def test_text_stands_out_in_light_and_dark(page, catalog_site, browser):
    """Contrast of at least 4.5, as WCAG 2.2 asks for (1.4.3); its formula is in the script."""
    grounds = set()
    for scheme in ("light", "dark"):
        show(browser, f"{catalog_site.as_uri()}/{page}", scheme=scheme)
        (contrast, where), ground = browser.execute_script(LUMINANCE)
        assert 4.5 <= contrast < 22, where
        grounds.add(ground)
    assert len(grounds) == 2


def test_the_copy_buttons_copy_what_they_stand_beside(base, browser):
    show(browser, base + "drawn/index.html")
    origin = {} if base.startswith("file") else {"origin": base.rstrip("/")}
    permissions = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], **origin}
    browser.execute_cdp_cmd("Browser.grantPermissions", permissions)
    buttons = browser.find_elements(By.CSS_SELECTOR, ".copy")
    assert len(buttons) == 6  # The first lines, TensorFlow, PyTorch, JAX, a namespace and the citation.
    for button in buttons:
        if not button.is_displayed():
            panel = button.find_element(By.XPATH, "ancestor::*[@role='tabpanel']")
            browser.find_element(By.ID, panel.get_attribute("aria-labelledby")).click()
        button.click()
        WebDriverWait(browser, 5).until(lambda _, button=button: button.text.startswith("Copied"))
        copied = browser.execute_async_script("const done = arguments[0]; navigator.clipboard.readText().then(done)")
        code = browser.find_element(By.ID, button.get_attribute("data-copies"))
        assert copied == code.get_attribute("textContent")
        assert browser.find_element(By.ID, "announcement").get_attribute("textContent") == "Copied to the clipboard."


def test_without_a_clipboard_the_text_is_selected_and_copied_the_old_way(catalog_site, browser):
    show(browser, f"{catalog_site.as_uri()}/drawn/index.html")
    browser.execute_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    browser.find_element(By.CSS_SELECTOR, "[data-copies=citation]").click()
    code = browser.find_element(By.ID, "citation").get_attribute("textContent")
    WebDriverWait(browser, 5).until(lambda _: browser.execute_script("return getSelection().toString()"))
    assert browser.execute_script("return getSelection().toString()").strip() == code.strip()


def test_the_gallery_opens_turns_and_closes_by_keyboard(base, browser):
    show(browser, base + "drawn/index.html")
    links = browser.find_elements(By.CSS_SELECTOR, ".zoom")
    viewer = browser.find_element(By.ID, "viewer")
    assert not viewer.is_displayed()
    browser.execute_script("arguments[0].focus()", links[0])
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert viewer.is_displayed()
    assert "(1 of " in browser.find_element(By.ID, "viewer-title").text

    def shown():
        return viewer.find_element(By.CSS_SELECTOR, "img").get_attribute("alt")

    alts = [link.find_element(By.TAG_NAME, "img").get_attribute("alt") for link in links]
    assert shown() == alts[0]
    browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert shown() == alts[-1]
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert shown() == alts[1]
    inside = browser.execute_script("return arguments[0].contains(document.activeElement)", viewer)
    assert inside
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not viewer.is_displayed()
    # The one that was looked at last gets the focus, in an event that comes after the dialog was hidden.
    WebDriverWait(browser, 5).until(lambda _: browser.switch_to.active_element == links[1])


def test_the_gallery_opens_and_closes_by_mouse(catalog_site, browser):
    show(browser, f"{catalog_site.as_uri()}/drawn/index.html", PHONE)
    link = browser.find_element(By.CSS_SELECTOR, ".zoom")
    link.click()
    viewer = browser.find_element(By.ID, "viewer")
    box = viewer.rect
    assert (box["x"] >= 0, box["x"] + box["width"] <= PHONE) == (True, True)
    browser.find_element(By.ID, "viewer-close").click()
    assert not viewer.is_displayed()
    WebDriverWait(browser, 5).until(lambda _: browser.switch_to.active_element == link)
    assert urllib.parse.urlsplit(browser.current_url).path.endswith("index.html")


def test_boxes_are_hidden_and_shown(catalog_site, browser):
    show(browser, f"{catalog_site.as_uri()}/drawn/index.html")
    box = browser.find_element(By.CSS_SELECTOR, ".boxes")
    switch = browser.find_element(By.ID, "show-boxes")
    assert box.is_displayed()
    switch.click()
    assert not box.is_displayed()
    switch.click()
    assert box.is_displayed()

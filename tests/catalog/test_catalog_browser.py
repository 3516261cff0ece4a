"""Tests of the catalog's pages in a browser: headless Chromium, where there is one."""

import json
import re
import urllib.parse

import pytest
from pages import script_table
from screens import DESK, PHONE, show
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from nih_chest_xray.vocabulary import source_of

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
    if page != "index.html":
        wait(browser, lambda: thumbs(browser))
    pictures = browser.execute_script("return [...document.images].map((i) => [i.complete, i.naturalWidth, i.width])")
    assert all(complete and min(widths) > 70 for complete, *widths in pictures)
    assert (len(pictures) > 0) == (page != "index.html")
    sources = browser.execute_script("return [...document.images].map((i) => i.currentSrc)")
    assert all(source.startswith(base) for source in sources)
    folder = (base + page).removesuffix("index.html")
    browsed = [f"{folder}examples/{name}" for name in ("examples.js", "sheet-00.webp")] if pictures else []
    assert set(addresses(browser, base + page)) == {base + page, *sources, *browsed}
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


@pytest.fixture
def drawn(base, browser):
    """The page of the drawn dataset, with its examples loaded."""
    url = base + "drawn/index.html"
    show(browser, url)
    wait(browser, lambda: thumbs(browser))
    return url


@pytest.fixture(scope="module")
def rows(catalog_site):
    """The rows of examples.csv of the drawn dataset, as the page has them."""
    return script_table(catalog_site / "drawn" / "examples" / "rows.js")


def wait(browser, condition):
    return WebDriverWait(browser, 5).until(lambda _: condition())


def thumbs(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#thumbs a")


def names_shown(browser):
    """The names of the examples whose pictures are shown, all of them."""
    wait(browser, lambda: thumbs(browser))
    more = browser.find_element(By.ID, "thumbs-more")
    while more.is_displayed():
        more.click()
    return sorted(
        browser.execute_script("return [...document.querySelectorAll('#thumbs a')].map((a) => a.dataset.browsed)")
    )


def names_where(rows, holds):
    return sorted(row["image_name"] for row in rows if holds(row))


def hash_of(browser):
    return urllib.parse.parse_qs(urllib.parse.urlsplit(browser.current_url).fragment)


def count_told(browser):
    return browser.find_element(By.ID, "browse-count").text


def viewed(browser):
    """The name of the example in the viewer; None where it is closed."""
    if browser.execute_script("return document.getElementById('viewer').open"):
        return browser.find_element(By.CSS_SELECTOR, "#viewer-text .file").text
    return None


FILTERED = {
    "subset=test": lambda row: row["subset"] == "test",
    "class=Nodule": lambda row: row["label"] == "Nodule",
    "finding=No%20Finding": lambda row: row["findings"] == "No Finding",
    "finding=Mass": lambda row: "Mass" in row["findings"].split("|"),
    "sex=F&view=AP": lambda row: (row["patient_sex"], row["view_position"]) == ("F", "AP"),
    "age=40-59": lambda row: 40 <= int(row["patient_age"]) <= 59,
    "age=60-": lambda row: int(row["patient_age"]) >= 60,
    "augmentation=rotation&class=Nodule": lambda row: row["augmentation"] == "rotation",
    "search=7": lambda row: row["patient_id"] == "7",
    "search=0000000": lambda row: row["patient_id"] == "0",
    "search=00000007_00": lambda row: row["image_name"].startswith("00000007_00"),
}


def test_a_link_of_filters_shows_the_examples_that_fit_and_says_how_many(drawn, rows, browser):
    for hashed, holds in FILTERED.items():
        expected = names_where(rows, holds)
        browser.execute_script(f"location.hash = {json.dumps(hashed)}")
        wait(browser, lambda told=expected: count_told(browser).startswith(f"{len(told)} " if told else "None"))
        shown = names_shown(browser) if expected else thumbs(browser)
        assert shown == expected, hashed
        assert f"of {len(rows)} pictures" in count_told(browser) or not expected
    assert {len(names_where(rows, holds)) for holds in FILTERED.values()} > {0}


def test_filters_that_somebody_sets_are_in_the_link_and_cleared_together(drawn, rows, browser):
    browser.find_element(By.NAME, "sex").send_keys("male")  # By keys: the driver's own way fires no input event.
    browser.find_element(By.NAME, "subset").send_keys("train")
    browser.find_element(By.NAME, "age-from").send_keys("30")
    expected = names_where(
        rows, lambda row: (row["patient_sex"], row["subset"]) == ("M", "train") and int(row["patient_age"]) >= 30
    )
    assert names_shown(browser) == expected
    assert hash_of(browser) == {"sex": ["M"], "subset": ["train"], "age": ["30-"]}
    link = browser.current_url
    show(browser, "about:blank")
    show(browser, link)
    assert names_shown(browser) == expected
    assert browser.find_element(By.NAME, "sex").get_attribute("value") == "M"
    browser.find_element(By.CSS_SELECTOR, "#filter-form [type=reset]").click()
    wait(browser, lambda: not hash_of(browser))
    assert len(names_shown(browser)) == len(rows)


def test_a_search_finds_an_image_or_a_patient(drawn, rows, browser):
    box = browser.find_element(By.NAME, "search")
    for text, holds in (
        (rows[5]["image_name"], lambda row: row["image_name"] == rows[5]["image_name"]),
        (rows[9]["patient_id"], lambda row: row["patient_id"] == rows[9]["patient_id"]),
    ):
        box.clear()
        box.send_keys(text)
        assert names_shown(browser) == names_where(rows, holds)


def test_a_link_on_the_page_sets_a_filter_and_leads_to_the_examples(drawn, rows, browser):
    browser.execute_script("""
      const link = document.createElement("a");
      link.href = "#finding=Nodule&subset=train";
      link.id = "bar";
      link.textContent = "Nodule";
      document.getElementById("splits").after(link);
    """)
    browser.find_element(By.ID, "bar").click()
    expected = names_where(rows, lambda row: "Nodule" in row["findings"] and row["subset"] == "train")
    wait(browser, lambda: count_told(browser).startswith(f"{len(expected)} of"))
    assert names_shown(browser) == expected
    wait(browser, lambda: abs(browser.execute_script(TOP_OF_BROWSER)) < 200)
    # One that leads to a heading changes no filter.
    browser.execute_script("location.hash = 'about'")
    assert names_shown(browser) == expected


TOP_OF_BROWSER = "return document.getElementById('browser').getBoundingClientRect().top"


def test_a_link_to_the_heading_shows_all_pictures(catalog_site, rows, browser):
    show(browser, "about:blank")
    show(browser, f"{catalog_site.as_uri()}/drawn/index.html#browse")
    assert len(names_shown(browser)) == len(rows)


def test_a_link_of_an_example_opens_it_and_closing_takes_it_out_of_the_address(base, rows, browser):
    name = rows[7]["image_name"]
    show(browser, "about:blank")
    show(browser, f"{base}drawn/index.html#example={name}")
    wait(browser, lambda: viewed(browser) == name)
    pictures = browser.execute_script("return [...document.querySelectorAll('#viewer img')].map((i) => [i.alt, i.src])")
    assert any(name.removesuffix(".png") in source for _, source in pictures)
    assert browser.find_element(By.LINK_TEXT, "Link to this example").get_attribute("href") == browser.current_url
    browser.find_element(By.ID, "viewer-close").click()
    wait(browser, lambda: viewed(browser) is None)
    assert "example" not in browser.current_url


def test_the_viewer_turns_within_what_the_filters_leave(drawn, rows, browser):
    browser.execute_script("location.hash = 'augmentation=none&view=PA'")
    expected = names_where(rows, lambda row: (row["augmentation"], row["view_position"]) == ("none", "PA"))
    assert names_shown(browser) == expected
    links = thumbs(browser)
    browser.execute_script("arguments[0].focus()", links[0])
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    seen = [viewed(browser)]
    for _ in expected[1:]:
        browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        seen.append(viewed(browser))
    assert sorted(seen) == expected
    assert f"({len(expected)} of {len(expected)})" in browser.find_element(By.ID, "viewer-title").text
    assert hash_of(browser)["example"] == [seen[-1]]
    browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert viewed(browser) == seen[-2]
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait(browser, lambda: viewed(browser) is None)
    # Who has looked goes on from there.
    wait(browser, lambda: browser.switch_to.active_element.get_attribute("data-browsed") == seen[-2])


def test_the_viewer_shows_stored_pixels_boxes_with_names_and_pairs(drawn, rows, browser):
    boxed = next(row for row in rows if row["bboxes"] != "[]" and row["augmentation"] == "rotation")
    browser.execute_script(f"location.hash = 'example={boxed['image_name']}'")
    wait(browser, lambda: viewed(browser) == boxed["image_name"])
    assert "Stored pixels" in browser.find_element(By.ID, "viewer-text").text
    images = browser.find_elements(By.CSS_SELECTOR, "#viewer img")
    wait(browser, lambda: all(image.get_property("naturalWidth") == 64 for image in images))
    sources = [image.get_attribute("src").rpartition("/")[2] for image in images]
    assert sources == [source_of(boxed["image_name"]), boxed["image_name"]]
    boxes = browser.find_elements(By.CSS_SELECTOR, "#viewer figure:last-child .box")
    told = json.loads(boxed["bboxes"])
    assert [box.text for box in boxes] == [finding for _, finding in told]
    place, image = boxes[0].rect, images[1].rect
    (ymin, xmin, ymax, xmax), _ = told[0]
    assert place["x"] - image["x"] == pytest.approx(xmin * image["width"], abs=2)
    assert place["y"] - image["y"] == pytest.approx(ymin * image["height"], abs=2)
    assert place["width"] == pytest.approx((xmax - xmin) * image["width"], abs=3)
    assert place["height"] == pytest.approx((ymax - ymin) * image["height"], abs=3)
    browser.find_element(By.ID, "viewer-boxes").click()
    assert not boxes[0].is_displayed()
    browser.find_element(By.ID, "viewer-pair").click()
    [image] = browser.find_elements(By.CSS_SELECTOR, "#viewer img")
    assert image.get_attribute("src").endswith(boxed["image_name"])
    browser.find_element(By.ID, "viewer-zoom").send_keys("200 %")
    wait(browser, lambda: image.rect["width"] == 128)
    brightness = browser.find_element(By.ID, "viewer-brightness")
    brightness.send_keys(Keys.ARROW_RIGHT)
    assert viewed(browser) == boxed["image_name"]  # The arrow was the slider's.
    assert image.value_of_css_property("filter") == "brightness(1.05) contrast(1)"
    browser.find_element(By.CSS_SELECTOR, "#viewer-tools [type=reset]").click()
    wait(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#viewer img")) == 2)
    image = browser.find_element(By.CSS_SELECTOR, "#viewer img")
    assert image.value_of_css_property("filter") == "brightness(1) contrast(1)"


@pytest.mark.parametrize("place", [".gallery", ".four"])
def test_the_featured_pictures_open_the_viewer_by_mouse(place, catalog_site, browser):
    show(browser, f"{catalog_site.as_uri()}/drawn/index.html", PHONE)
    wait(browser, lambda: thumbs(browser))
    link = browser.find_element(By.CSS_SELECTOR, f"{place} .zoom")
    link.click()
    assert viewed(browser) == link.get_attribute("data-example")
    box = browser.find_element(By.ID, "viewer").rect
    assert (box["x"] >= 0, box["x"] + box["width"] <= PHONE) == (True, True)
    featured = len(browser.find_elements(By.CSS_SELECTOR, "main .zoom"))
    assert re.search(rf"\(\d+ of {featured}\)", browser.find_element(By.ID, "viewer-title").text)
    browser.find_element(By.ID, "viewer-close").click()
    assert viewed(browser) is None
    wait(browser, lambda: browser.switch_to.active_element == link)


def cells(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('#rows tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )


def test_the_table_has_all_rows_page_by_page(drawn, rows, browser):
    assert not any("rows.js" in address for address in addresses(browser, drawn))  # It is loaded when it is wanted.
    browser.find_element(By.CSS_SELECTOR, "[data-show=table]").click()
    wait(browser, lambda: "page 1 of" in count_told(browser))
    last = -(-len(rows) // 50)
    assert last > 1
    found = []
    for page in range(1, last + 1):
        wait(browser, lambda page=page: f"page {page} of {last}" in count_told(browser))
        header, *body = cells(browser)
        found += body
        if page < last:
            browser.find_element(By.ID, "page-after").click()
    assert header == [name.replace("_", " ") for name in rows[0]]
    assert found == [list(row.values()) for row in rows]
    assert not browser.find_element(By.ID, "page-after").is_enabled()


def test_the_table_is_sorted_filtered_and_linked(drawn, rows, browser):
    browser.execute_script("location.hash = 'show=table&sex=F&sort=-patient_age&page=1'")
    women = [row for row in rows if row["patient_sex"] == "F"]
    wait(browser, lambda: count_told(browser).startswith(f"{len(women)} of {len(rows)} examples"))
    ages = [int(row[list(rows[0]).index("patient_age")]) for row in cells(browser)[1:]]
    assert ages == sorted((int(row["patient_age"]) for row in women), reverse=True)[:50]
    heading = browser.find_element(By.CSS_SELECTOR, "[data-sort=patient_age]")
    assert heading.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    heading.send_keys(Keys.ENTER)
    wait(browser, lambda: hash_of(browser)["sort"] == ["patient_age"])
    ages = [int(row[list(rows[0]).index("patient_age")]) for row in cells(browser)[1:]]
    assert ages == sorted(int(row["patient_age"]) for row in women)[:50]
    assert browser.switch_to.active_element.get_attribute("data-sort") == "patient_age"
    link = browser.find_element(By.CSS_SELECTOR, "#rows tbody a")
    name = link.text
    link.click()
    assert viewed(browser) == name


def test_an_example_without_a_picture_is_shown_in_the_table(drawn, rows, browser):
    browser.execute_script("location.hash = 'example=99999999_000.png'")
    wait(browser, lambda: count_told(browser).startswith(f"0 of {len(rows)} examples"))
    assert hash_of(browser) == {"search": ["99999999_000.png"], "show": ["table"]}


def test_using_the_browser_asks_nobody_else_and_nothing_goes_wrong(base, browser):
    browser.get_log("browser")
    for page in PAGES[1:]:
        url = base + page
        show(browser, url)
        asked = set()
        wait(browser, lambda: thumbs(browser))
        names_shown(browser)
        thumbs(browser)[0].click()
        wait(browser, lambda: viewed(browser))
        browser.find_element(By.ID, "viewer-after").click()
        browser.find_element(By.ID, "viewer-close").click()
        browser.find_element(By.CSS_SELECTOR, "[data-show=table]").click()
        wait(browser, lambda: "page 1 of" in count_told(browser))
        asked |= set(addresses(browser, url))
        assert any(address.endswith("rows.js") for address in asked)
        assert any("/sheet-" in address for address in asked)
        assert all(address.startswith(base) for address in asked)
        assert browser.get_log("browser") == []


def test_without_scripts_the_page_has_its_featured_pictures(catalog_site, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, f"{catalog_site.as_uri()}/drawn/index.html")
        assert not browser.find_element(By.ID, "browser").is_displayed()
        assert not [link for link in browser.find_elements(By.CSS_SELECTOR, ".toc a") if link.text == "Browse"]
        pictures = browser.find_elements(By.CSS_SELECTOR, ".zoom")
        assert len(pictures) > 8
        assert all(picture.is_displayed() for picture in pictures)
        pictures[0].click()
        assert browser.current_url.endswith(".png")  # The stored image.
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

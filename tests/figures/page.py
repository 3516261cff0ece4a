"""Draws the catalog page in the guide to sharing: that of the built `sample` config, in headless Chromium.

python tests/figures/page.py [--data_dir DIR]
"""

import argparse
import base64
import io
import shutil
import tempfile
from pathlib import Path

import PIL.Image
import tensorflow_datasets as tfds
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from nih_chest_xray.catalog.site import write_site

FIGURE = Path(__file__).parent / "catalog.png"
WIDTH, HEIGHT = 1240, 1680
SCALE = 0.75
"""Of the picture, which is shown about this small."""


def draw(data_dir: str | None, path: Path) -> None:
    """The upper part of the page: four radiographs, code to load the dataset, and what it holds."""
    dataset = tfds.builder("nih_chest_xray/sample", data_dir=data_dir).data_dir
    with tempfile.TemporaryDirectory() as work:
        # As it is where a team shares it, and not on whose machine it was drawn.
        url = "gs://bucket/" + "/".join(Path(dataset).parts[-3:])
        site = write_site(dataset, Path(work) / "site", url)
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for option in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={work}/chromium"):
            options.add_argument(option)
        browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            light = [{"name": "prefers-color-scheme", "value": "light"}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": light})
            browser.get((site / "index.html").as_uri())
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": SCALE}
            shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
        finally:
            browser.quit()
    with PIL.Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as picture:
        picture.convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", help="where sample was built (default: TFDS's own)")
    draw(parser.parse_args().data_dir, FIGURE)
    print(FIGURE)

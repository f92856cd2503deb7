"""A real Chromium without a window, for tests and the benchmark of the page."""

import base64
import shutil
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

#: A machine with much other work takes its time.
WAIT_SECONDS = 60
SIZE = (1280, 800)
#: So that it starts in a container, and asks no one else for anything.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--force-device-scale-factor=1",
)


def programs() -> tuple[str, str]:
    """The paths of chromium and chromedriver; FileNotFoundError if one is not installed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if None in found:
        raise FileNotFoundError("chromium is not installed; install the packages chromium and chromium-driver")
    return found


class Browser:
    """A browser, as a context manager. ``is_dark`` is what the system prefers."""

    def __init__(self, is_dark: bool = False):
        chromium, driver = programs()
        options = webdriver.ChromeOptions()
        for argument in (*ARGUMENTS, f"--window-size={SIZE[0]},{SIZE[1]}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.binary_location = chromium
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_page_load_timeout(WAIT_SECONDS)
        self.prefer(is_dark)
        self.size(*SIZE)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.driver.quit()

    # --- what a person does ------------------------------------------------------------------------------------------

    def open(self, url: str) -> None:
        """Load a page."""
        self.driver.get(url)

    def prefer(self, is_dark: bool) -> None:
        """Have the system prefer dark or light."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def size(self, width: int, height: int) -> None:
        """Give the window an inner size."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def press(self, *keys) -> None:
        """Press keys, wherever the focus is: texts, or names as in Keys (``TAB``)."""
        active = self.driver.switch_to.active_element
        active.send_keys(*(getattr(Keys, key, key) for key in keys))

    def type(self, selector: str, text: str, *keys) -> None:
        """Type a text into a field, and press keys."""
        field = self.one(selector)
        field.clear()
        field.send_keys(text, *(getattr(Keys, key) for key in keys))

    def click(self, selector: str) -> None:
        """Click on an element."""
        self.one(selector).click()

    # --- what a person sees ------------------------------------------------------------------------------------------

    def one(self, selector: str):
        """The visible element of a CSS selector; it may still come."""
        return self.wait(
            lambda: next(
                (one for one in self.driver.find_elements(By.CSS_SELECTOR, selector) if one.is_displayed()), None
            ),
            selector,
        )

    def text(self, selector: str) -> str:
        """The text of an element that is visible."""
        return self.wait(lambda: self._texts(selector), selector)[0]

    def _texts(self, selector):
        """The texts of all visible elements of a selector, read at once: the page replaces elements."""
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())"
            ".map((one) => one.innerText.replace(/[ \\t]+/g, ' '))",
            selector,
        )

    def run(self, script: str, *arguments):
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, check, what: str = "", seconds: float = WAIT_SECONDS):
        """Wait until a function returns something true, and return that."""
        waiting = WebDriverWait(self.driver, seconds, 0.05, ignored_exceptions=(StaleElementReferenceException,))
        return waiting.until(lambda _: check(), f"waited for {what or check}")

    def wait_text(self, selector: str, part: str) -> str:
        """Wait until an element has a text in it; returns the whole text."""
        found = []

        def has():
            found[:] = self._texts(selector)
            return any(part in text for text in found)

        try:
            self.wait(has, f"{part!r} in {selector}")
        except Exception as fault:
            raise AssertionError(f"{part!r} is not in {selector}, which has {found}") from fault
        return next(text for text in found if part in text)

    @property
    def focused(self) -> str:
        """The id, or else the name, of the element that has the focus."""
        return self.run("const e = document.activeElement; return e.id || e.name || e.tagName.toLowerCase()")

    def errors(self) -> list[str]:
        """The errors and warnings on the console since the last call."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]

    def picture(self, path: Path) -> None:
        """Write a picture of the window."""
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(found["data"]))

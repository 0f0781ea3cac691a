"""Somebody who uses Galaxy in a browser."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from tests.galaxy.server import PASSWORD, USER

__all__ = ["Visitor"]

PAGE_TIMEOUT_S, JOB_TIMEOUT_S = 120, 300
SIZE = (1280, 880)
COLOURS = 96
T = TypeVar("T")
PANEL = "#current-history-panel .content-item"


class Visitor:
    """The user of the tests in front of a browser.

    Parameters
    ----------
    url : str
        Where Galaxy answers.
    driver : Chrome
        The browser.
    pictures : Path
        Where pictures of the screen are kept.
    """

    def __init__(self, url: str, driver: Chrome, pictures: Path) -> None:
        self.url, self.driver, self.pictures = url, driver, pictures
        width, height = SIZE
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def log_in(self) -> None:
        """Log in by the form."""
        self.driver.get(f"{self.url}/login/start")
        self.enter("form#login input[name='login']", USER)
        self.enter("form#login input[name='password']", PASSWORD)
        self.find("form#login button[name='login']").click()
        self.until(lambda: "login" not in self.driver.current_url, "the page after the login")

    def choose(self, history: str) -> None:
        """Make a history the current one."""
        self.driver.get(f"{self.url}/history/set_as_current?id={history}")
        told = json.loads(self.driver.find_element(By.TAG_NAME, "body").text)
        assert told["id"] == history, told

    def open_form(self, tool: str) -> str:
        """Open the form of a tool, and return all that it says."""
        self.driver.get(f"{self.url}/?tool_id={tool}&version=latest")
        self.find("button#execute")
        return self.find("#center").text

    def field(self, name: str) -> WebElement:
        """Return the part of the form for a parameter."""
        return self.find(f"div.ui-form-element[id='form-element-{name}']")

    def fill(self, name: str, text: str) -> None:
        """Type the value of a parameter."""
        self.field(name)
        self.enter(f"div.ui-form-element[id='form-element-{name}'] input", text)

    def run(self) -> None:
        """Run the tool of the form."""
        self.find("button#execute").click()

    def item(self, name: str, state: str = "ok") -> WebElement:
        """Return the dataset of that name in the history, as soon as it is in a state."""

        def found() -> WebElement | None:
            items = self.driver.find_elements(By.CSS_SELECTOR, f"{PANEL}[data-state='{state}']")
            named = [each for each in items if _text(each, ".name") == name]
            return named[0] if named else None

        return self.until(found, f"{name} in the state {state}", JOB_TIMEOUT_S)

    @contextmanager
    def looking_at(self, name: str) -> Iterator[None]:
        """Click on the eye of a dataset, and be in what Galaxy shows of it while this lasts."""
        self.item(name).find_element(By.CSS_SELECTOR, ".display-btn").click()
        self.driver.switch_to.frame(self.find("#center iframe"))
        self.until(lambda: self.ask("return document.readyState") == "complete", "the page")
        try:
            yield
        finally:
            self.driver.switch_to.default_content()

    def ask(self, script: str) -> Any:
        """Return what a script finds out about the page."""
        return self.driver.execute_script(script)

    def take_picture(self, name: str) -> None:
        """Keep a small picture of what is seen."""
        seen = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        few = seen.quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(self.pictures / f"galaxy-{name}.png", optimize=True)

    def enter(self, selector: str, text: str) -> None:
        """Type into a field, in place of what stands there."""
        self.find(selector).send_keys(Keys.CONTROL, "a")
        self.find(selector).send_keys(text)

    def see(self, text: str, selector: str) -> None:
        """Wait until a text stands in a place."""
        self.until(lambda: text in self.find(selector).text, f"{text} in {selector}")

    def find(self, selector: str) -> WebElement:
        """Return what can be seen and used by that selector, as soon as it is there."""

        def found() -> WebElement | None:
            places = self.driver.find_elements(By.CSS_SELECTOR, selector)
            usable = [place for place in places if place.is_displayed() and place.is_enabled()]
            return usable[0] if usable else None

        return self.until(found, selector)

    def until(
        self, found: Callable[[], T | None], what: str, timeout_s: float = PAGE_TIMEOUT_S
    ) -> T:
        """Wait for something, and return it."""
        waiting = WebDriverWait(
            self.driver, timeout_s, ignored_exceptions=[StaleElementReferenceException]
        )
        return waiting.until(lambda _: found(), f"{what}: not within {timeout_s} s")


def _text(element: WebElement, selector: str) -> str:
    parts = element.find_elements(By.CSS_SELECTOR, selector)
    return parts[0].text if parts else ""

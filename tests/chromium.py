"""A real Chromium without a window, as the tests drive it."""

from __future__ import annotations

from pathlib import Path

from selenium import webdriver

__all__ = ["open_chromium"]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def open_chromium(profile: Path) -> webdriver.Chrome:
    """Start a Chromium that logs its console and all requests.

    Parameters
    ----------
    profile : Path
        An empty folder for what it keeps.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService("/usr/bin/chromedriver")
    return webdriver.Chrome(options=options, service=service)

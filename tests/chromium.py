"""Pages in a real headless Chromium: how they are seen, waited for, and what they complain of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
PHONE = 600
"""Narrower than this is a phone."""


def show(browser: Chrome, address: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
    """Open a page at this size; what pages before it complained of is forgotten."""
    view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", view)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get_log("browser")
    browser.get(address)


def until(browser: Chrome, script: str, *, seconds: float = 30) -> Any:
    """What a script gives as soon as that is something."""
    end = time.monotonic() + seconds
    while not (found := browser.execute_script(f"return {script}")):
        assert time.monotonic() < end, script
        time.sleep(0.02)
    return found


def complaints(browser: Chrome) -> list[str]:
    """The errors on the console."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]

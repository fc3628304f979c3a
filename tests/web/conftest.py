"""The browser that the page tests share."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests import components


@pytest.fixture(name="browser", scope="module")
def fixture_browser() -> Iterator[Browser]:
    """Chromium without a window; sound runs as on a wall that was set up for it.

    One a module: playwright keeps an event loop running, and other modules have asyncio tests of their own.
    """
    components.require("cjk-font")
    chromium = components.require("chromium")
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=str(chromium),
            args=[
                "--headless",
                "--no-sandbox",
                "--disable-background-networking",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        yield browser
        browser.close()

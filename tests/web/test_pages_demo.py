"""The demo page: both pages on one clock, a true tally, a bench that asks its server, and what was proved."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.web.axe import axe_findings
from tests.web.demo_states import demo_proved, demo_running
from tests.web.page_server import DemoServer, PageServer
from tests.web.page_states import command_sos, kit_normal, kit_sos_received

pytestmark = pytest.mark.browser
AUDIT = Path(__file__).with_name("page_audit.js").read_text()


@pytest.fixture(name="pages", scope="module")
def fixture_pages() -> Iterator[dict[str, str]]:
    """The addresses of a kit page and a command page."""
    with PageServer(kit_sos_received) as kit, PageServer(command_sos) as command:
        yield {"kit": f"{kit.url}/", "command": f"{command.url}/"}


def _open(browser: Browser, server: DemoServer, width: int, height: int, query: str) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{server.url}/?{query}")
    page.wait_for_selector(".tally")
    return page


def _audit(page: Page, *, is_night: bool, scrolls: str) -> list[str]:
    found: list[str] = page.evaluate(AUDIT, {"floor": 13, "target": 36, "isNight": is_night, "scrolls": scrolls})
    return found + axe_findings(page)


def test_wide_shows_both_pages_and_the_bench_acts(browser: Browser, pages: dict[str, str]) -> None:
    """From 1800 px both pages stand side by side; each control of the bench reaches the demo's server."""
    with DemoServer(lambda at_ms: demo_running(at_ms, pages)) as server:
        page = _open(browser, server, 1920, 1080, "lang=zh&view=day")
        kit = page.locator("iframe.kit").bounding_box()
        assert kit is not None
        assert kit["width"] - 2 == 390
        assert kit["height"] - 2 == 844
        page.frame_locator("iframe.kit").locator(".sos-screen").wait_for()
        page.frame_locator("iframe.command").locator(".band.sos").wait_for()
        assert _audit(page, is_night=False, scrolls=".none") == []
        assert [each.inner_text() for each in page.locator(".bench-link .took").all()] == ["0.84 s 后另一条接管"]
        links, rest = page.locator(".bench-link"), page.locator(".bench-rest button")
        for button in (
            links.first.locator("button").nth(0),
            links.nth(2).locator("button").nth(2),
            rest.nth(0),
            rest.nth(1),
        ):
            with page.expect_response("**/demo/**", timeout=10_000):
                button.click()
        page.wait_for_timeout(200)  # each is pressed once: nothing follows
        assert server.posted == [
            ("/demo/link/4g", {"action": "cut"}),
            ("/demo/link/radio", {"action": "restore"}),
            ("/demo/sos", {}),
            ("/demo/pause", {"paused": True}),
        ]
        page.close()


def test_both_pages_follow_the_language_and_keep_what_was_typed(browser: Browser, pages: dict[str, str]) -> None:
    """One press in the demo's head: kit and command speak the other language, also at night, and lose no word."""
    with (
        PageServer(kit_normal) as kit,
        DemoServer(lambda at_ms: demo_running(at_ms, pages | {"kit": kit.url + "/"})) as server,
    ):
        page = _open(browser, server, 1920, 1080, "lang=zh&view=day")
        kit_frame, command_frame = page.frame_locator("iframe.kit"), page.frame_locator("iframe.command")
        kit_frame.locator("[data-act=write]").click()
        kit_frame.locator("[data-act=text]").fill("两人受伤")
        command_frame.locator("[data-act=order]").click()
        command_frame.locator("textarea[name=text]").fill("撤到二级避风点")
        page.click(".demo-head .language")
        kit_frame.locator("h1", has_text="Write a report").wait_for(timeout=3000)
        command_frame.locator(".band.sos", has_text="Confirm").wait_for(timeout=3000)
        page.click(".demo-head .tools button:not(.language)")
        kit_frame.locator(":root[data-view=night]").wait_for(timeout=3000)
        command_frame.locator(":root[data-view=night]").wait_for(timeout=3000)
        assert kit_frame.locator("[data-act=text]").input_value() == "两人受伤"
        assert command_frame.locator("textarea[name=text]").input_value() == "撤到二级避风点"
        page.close()


def test_narrow_keeps_tally_and_bench_beside_one_page(browser: Browser, pages: dict[str, str]) -> None:
    """Below 1800 px the pages are tabs; tally and bench are in view with either."""
    with DemoServer(lambda at_ms: demo_running(at_ms, pages)) as server:
        page = _open(browser, server, 1366, 768, "lang=en&view=night")
        assert page.locator("iframe.kit").is_hidden()
        page.locator("[role=tab]").first.click()
        assert page.locator("iframe.kit").is_visible()
        assert page.locator("iframe.command").is_hidden()
        for name in (".tally", ".bench"):
            box = page.locator(name).bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= 769
        assert _audit(page, is_night=True, scrolls=".demo") == []
        page.close()


def test_tally_is_true_at_every_sample_and_a_false_one_is_said(browser: Browser, pages: dict[str, str]) -> None:
    """The sum on the page holds; where the server's figures do not agree the page says so in words."""
    wrong: dict[str, int] = {}

    def state(at_ms: int) -> dict[str, Any]:
        made = demo_running(at_ms, pages)
        made["tally"] |= wrong
        return made

    with DemoServer(state) as server:
        page = _open(browser, server, 1920, 1080, "lang=en&view=day")
        value = {
            name: int(page.locator(f"[data-tally={name}] b").inner_text().replace(",", ""))
            for name in ("accepted", "delivered", "waiting", "expired", "superseded", "lost")
        }
        assert value.pop("accepted") == sum(value.values())
        assert "The two sides agree" in page.locator(".tally").inner_text()
        wrong["doubled"] = 1
        page.locator(".tally", has_text="The two sides disagree").wait_for()
        page.close()


def test_last_screen_says_what_held_and_what_did_not(browser: Browser, pages: dict[str, str]) -> None:
    """One sentence, each row with its result in words, the command to repeat; the way back to the pages."""
    with DemoServer(lambda at_ms: demo_proved(at_ms, pages)) as server:
        page = _open(browser, server, 1920, 1080, "lang=en&view=night")
        results = page.locator(".proof tbody td:last-child").all_inner_texts()
        assert [text.strip() for text in results] == ["holds", "holds", "does not hold", "inconclusive"]
        assert "scripts/demo --headless" in page.locator(".proof pre").inner_text()
        assert _audit(page, is_night=True, scrolls=".proof") == []
        page.locator(".proof-buttons button").click()
        page.wait_for_selector("iframe.command", state="visible")
        page.close()


def test_a_stopped_demo_server_is_said(browser: Browser, pages: dict[str, str]) -> None:
    """Three seconds after the demo's server went, its page says that nothing on it is the present."""
    with DemoServer(lambda at_ms: demo_running(at_ms, pages)) as server:
        page = _open(browser, server, 1920, 1080, "lang=en&view=day")
    page.wait_for_selector(".demo-stopped", timeout=4500)
    assert "not the present" in page.locator(".demo-stopped").inner_text()
    page.close()

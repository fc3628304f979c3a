"""Both pages of two running agents: what a person presses at one is seen at the other, over kill and restart."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.web.real_nodes import PHONE, WALL, Pair, open_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(name="pair")
def fixture_pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.stop()


def _hold_sos(page: Page) -> None:
    box = page.locator("[data-act=sos]").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.wait_for_timeout(2200)
    page.mouse.up()


def _take_duty(page: Page, name: str) -> None:
    page.click("[data-act=duty]")
    page.fill("input[name=name]", name)
    page.click(".sheet button[type=submit]")
    page.locator("[data-act=duty]", has_text=name).wait_for()


def test_sos_from_kit_to_command_and_back_in_both_languages(browser: Browser, pair: Pair) -> None:
    """Held two seconds: a band at command; confirmed there by a person: the kit says who; closed: both are quiet."""
    kit = open_page(browser, pair.kit, PHONE, "en")
    command = open_page(browser, pair.command, WALL, "zh")
    command.locator(".units [data-unit=kit-7]").wait_for(timeout=20_000)
    _take_duty(command, "王敏")
    _hold_sos(kit)
    command.locator(".band.sos", has_text="07 大陈岛前突队").wait_for(timeout=3000)
    kit.locator(".sos-screen h2", has_text="Received at command, not yet confirmed by anyone").wait_for()
    command.click("[data-act=confirm]")
    kit.locator(".sos-screen h2", has_text="Confirmed by 王敏").wait_for(timeout=3000)
    command.locator(".band.sos").wait_for(state="detached")
    command.click(".units [data-unit=kit-7]")
    command.locator(".unit-actions button", has_text="办结求救").click()
    command.fill("textarea[name=reason]", "已找到人")
    command.click(".sheet button[type=submit]")
    kit.locator(".sos-screen").wait_for(state="detached")
    command.locator(".units .row[data-unit=kit-7]").wait_for()
    kit.close()
    command.close()


def test_withdrawn_sos_is_seen_and_still_asks_for_a_person(browser: Browser, pair: Pair) -> None:
    """Taken back within ten seconds: command sees that, and the band stays until a person confirms."""
    kit = open_page(browser, pair.kit, PHONE, "zh")
    command = open_page(browser, pair.command, WALL, "en")
    command.locator(".units [data-unit=kit-7]").wait_for(timeout=20_000)
    _hold_sos(kit)
    kit.click("[data-act=withdraw]")
    command.locator(".band.sos", has_text="Withdrawn by the team").wait_for(timeout=3000)
    assert command.locator("[data-act=confirm]").is_enabled()
    kit.close()
    command.close()


def test_sos_waits_at_a_kit_alone_and_outlives_kill_of_command(browser: Browser, pair: Pair) -> None:
    """Command is gone: the SOS is stored at the kit; it arrives when command returns, and a kill loses nothing."""
    kit = open_page(browser, pair.kit, PHONE, "en")
    command = open_page(browser, pair.command, WALL, "en")
    command.locator(".units [data-unit=kit-7]").wait_for(timeout=20_000)
    pair.command.kill()
    killed_s = time.monotonic()
    command.locator(".band.server").wait_for(timeout=3500)
    assert time.monotonic() - killed_s <= 3.0
    _hold_sos(kit)
    kit.locator(".sos-steps", has_text="Stored here").wait_for()
    assert kit.locator(".sos-screen").get_attribute("data-sos") == "stored"
    pair.command.start()
    command.locator(".band.sos").wait_for(timeout=15_000)
    pair.command.kill()
    pair.command.start()
    command.locator(".stopped").wait_for(state="detached", timeout=5500)
    command.locator(".band.sos").wait_for(timeout=3000)
    kit.close()
    command.close()


def test_messages_and_orders_go_both_ways(browser: Browser, pair: Pair) -> None:
    """A report is read at command and the kit says by whom; an order is answered at the kit and command says so."""
    kit = open_page(browser, pair.kit, PHONE, "en")
    command = open_page(browser, pair.command, WALL, "en")
    command.locator(".units [data-unit=kit-7]").wait_for(timeout=20_000)
    _take_duty(command, "王敏")
    kit.click("[data-act=write]")
    kit.fill("[data-act=text]", "码头水深 1.2 m,可行船")
    kit.click("[data-act=send]")
    kit.locator("[data-message]", has_text="delivered").wait_for()
    command.click(".units [data-unit=kit-7]")
    command.locator(".message", has_text="码头水深").locator("button").click()
    kit.locator("[data-message]", has_text="王敏").wait_for()
    command.click(".unit-actions button >> nth=0")
    command.fill("textarea[name=text]", "撤到二级避风点")
    command.click(".sheet button[type=submit]")
    kit.locator(".kit-row.order .answers button").first.click()
    command.click("[data-act=close-unit]")
    command.locator("[data-order-state=read]", has_text="撤到二级避风点").wait_for()
    kit.close()
    command.close()


def test_pages_of_running_agents_have_nothing_foreign(browser: Browser, pair: Pair) -> None:
    """No error, no refused or foreign request on either page, with the product's own policy."""
    for node, size in ((pair.kit, PHONE), (pair.command, WALL)):
        page = browser.new_page(viewport=size)  # type: ignore[arg-type]  # playwright's own TypedDict
        found: list[str] = []
        page.on("console", lambda line, found=found: found.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error, found=found: found.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(node.url)
        page.wait_for_selector(".kit-head, .head")
        page.wait_for_load_state("networkidle")
        page.close()
        assert found == []
        assert [url for url in asked if not url.startswith((node.url, "data:", "blob:"))] == [], json.dumps(asked)


def test_one_tap_describes_a_new_modem_and_outlives_a_kill(browser: Browser, tmp_path: Path) -> None:
    """Pressed at the kit: a restart keeps it, command sees what it costs, and chooses another profile for the kit."""
    usb = '[[link]]\nname = "usb"\ntransport = "udp"\nremote = "127.0.0.1:{port}"\nask_cost = true'
    pair = Pair(tmp_path, report_interval_s=2.0, kit_more=usb)
    try:
        kit = open_page(browser, pair.kit, PHONE, "en")
        command = open_page(browser, pair.command, WALL, "en")
        kit.locator("[data-act=links]", has_text="Cost not said").click()
        kit.locator("[data-link=usb] p", has_text="of 20 MB").wait_for()
        kit.click("[data-link=usb] [data-tariff=emergency]")
        kit.locator("[data-tariff=emergency][aria-pressed=true]").wait_for()
        kit.click("[data-act=profile]")
        kit.click("[data-profile=low-power]")
        kit.locator("[data-act=profile]", has_text="Low power").wait_for()
        command.locator(".units [data-unit=kit-7]").click(timeout=20_000)
        command.locator(".unit-detail [data-profile]", has_text="Low power").wait_for(timeout=10_000)
        command.locator(".unit-detail [data-cost=usb]", has_text="of 20 MB").wait_for(timeout=10_000)
        pair.kit.kill()
        pair.kit.start()
        kit.reload()
        kit.locator("[data-act=links]", has_text="Low power").wait_for()
        _take_duty(command, "王敏")
        command.click("[data-act=unit-profile]")
        command.select_option(".sheet select[name=profile]", "quiet")
        command.click(".sheet button[type=submit]")
        kit.locator("[data-act=links]", has_text="Quiet").click(timeout=10_000)
        kit.locator("[data-tariff=emergency][aria-pressed=true]").wait_for()
        kit.close()
        command.close()
    finally:
        pair.stop()


def test_the_link_report_is_one_press_away_at_both_ends(browser: Browser, pair: Pair) -> None:
    """A page of its own, in both languages, with the style that its policy lets in, and a way to other days."""
    kit = open_page(browser, pair.kit, PHONE, "en")
    command = open_page(browser, pair.command, WALL, "zh")
    kit.click("[data-act=links]")
    for page, node in ((kit, "kit-7"), (command, "cp-1")):
        with page.context.expect_page() as opened:
            page.click("[data-act=report]")
        report = opened.value
        report.locator("h1", has_text=f"Link report 链路报告 · {node}").wait_for()
        report.locator("h2", has_text="4g").first.wait_for()
        assert report.locator("table").first.evaluate("table => getComputedStyle(table).borderCollapse") == "collapse"
        assert report.locator("nav b").count() == 1
        found: list[str] = []
        report.on("console", lambda message, found=found: found.append(message.text))
        report.reload()
        report.locator("h1").wait_for()
        assert found == []
        report.close()
    kit.close()
    command.close()

"""Ages on the page of a running command post: they only ever grow, until a newer fact comes."""

import re
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from edge_agent.telemetry.payloads import Position
from tests.web.page_server import PageServer, now_ms
from tests.web.page_states import command_normal
from tests.web.real_nodes import WALL, Pair, open_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
DUE_S = 2.0
LATE_S, LOST_S = 1.5 * DUE_S, 3.0 * DUE_S
TICK_S = 1.0
"""How often the command post looks for silence."""
PAGE_S = 0.5
"""What a state takes to the screen of a busy machine."""
AGES_LEAST = 5
AGES_LIMIT_S = 60.0
LENGTH = re.compile(r"(?:(\d+)\smin)?\s?(?:(\d+)\ss)?")

# Keeps every text that the given places show, in order, with the page's clock; read back by _told.
RECORD = """(places) => {
  window.told = Object.fromEntries(Object.keys(places).map((name) => [name, []]));
  const look = () => {
    for (const [name, place] of Object.entries(places)) {
      const text = document.querySelector(place)?.textContent.trim();
      const list = window.told[name];
      if (text && text !== list.at(-1)) list.push(text);
    }
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
  look();
}"""


@pytest.fixture(name="pair")
def fixture_pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path, report_interval_s=DUE_S)
    yield pair
    pair.stop()


def _record(page: Page, **places: str) -> None:
    page.evaluate(RECORD, places)


def _told(page: Page, name: str) -> list[str]:
    told: list[str] = page.evaluate("(name) => window.told[name]", name)
    return told


def _seconds(text: str) -> int:
    """The length of time in a text such as "2 min 14 s" or "position 45 s"."""
    found = next(match for match in LENGTH.finditer(text) if match.group(0).strip())
    return int(found.group(1) or 0) * 60 + int(found.group(2) or 0)


def _position(lat_deg: float, age_s: float) -> bytes:
    return Position(lat_deg=lat_deg, lon_deg=121.9, captured_at_ms=now_ms() - int(age_s * 1000), system="BD").pack()


def _wait_state(row: Locator, state: str, limit_s: float) -> float:
    """Seconds until the row is in ``state``."""
    begin_s = time.monotonic()
    while row.get_attribute("data-state") != state:
        assert time.monotonic() - begin_s < limit_s, f"not {state}: {row.inner_text()}"
        row.page.wait_for_timeout(20)
    return time.monotonic() - begin_s


def test_messages_that_take_longer_turn_no_age_back(browser: Browser) -> None:
    """Each second state is 0.6 s late: no age on the page falls for it."""
    made, states = command_normal(now_ms()), count()

    def clock() -> int:
        return now_ms() - 600 * (next(states) % 2)

    with PageServer(lambda at_ms: made, clock=clock) as server:
        page = browser.new_page(viewport=WALL)  # type: ignore[arg-type]  # playwright's own TypedDict
        page.goto(f"{server.url}/?lang=en&view=day")
        page.wait_for_selector(".units .age")
        _record(page, first=".units .age", last=".rows li:last-child .age")
        ages_s: dict[str, list[int]] = {"first": [], "last": []}
        begun_s = time.monotonic()
        while any(len(each) < AGES_LEAST for each in ages_s.values()):
            assert time.monotonic() - begun_s < AGES_LIMIT_S, ages_s
            for _ in range(10):
                server.push()
                page.wait_for_timeout(130)
            ages_s = {name: [_seconds(text) for text in _told(page, name)] for name in ages_s}
        for name, each in ages_s.items():
            assert each == sorted(each), (name, each)
        page.close()


def test_a_frozen_unit_is_late_then_lost_at_its_interval(browser: Browser, pair: Pair) -> None:
    """Nothing but its silence changes: late, then lost contact with band and sound, its age growing all the way."""
    page = open_page(browser, pair.command, WALL, "en")
    row = page.locator(".units [data-unit=kit-7]")
    row.wait_for(timeout=20_000)
    page.locator(".units .row[data-unit=kit-7]").wait_for()
    pair.kit.send("position", _position(28.46, 0))
    page.wait_for_timeout(2 * DUE_S * 1000)  # its own interval has come with a report
    pair.kit.freeze()
    frozen_s = time.monotonic()
    page.wait_for_timeout((TICK_S + PAGE_S) * 1000)  # the page knows of the last frame that came before
    _record(page, heard=".units [data-unit=kit-7] .age")
    _wait_state(row, "late", LATE_S)
    assert time.monotonic() - frozen_s >= LATE_S - DUE_S
    assert row.locator("svg").get_attribute("data-shape") == "late"
    assert page.locator(".band.lost").count() == 0
    _wait_state(row, "lost", LOST_S - LATE_S + TICK_S + PAGE_S)
    silent_s = time.monotonic() - frozen_s
    assert LOST_S - DUE_S <= silent_s <= LOST_S + TICK_S + PAGE_S
    page.locator(".band.lost", has_text="07 大陈岛前突队").wait_for(timeout=1000)
    assert "due every 2\u00a0s" in page.locator(".band.lost").first.inner_text()
    page.wait_for_timeout(2500)
    ages_s = [_seconds(text) for text in _told(page, "heard")]
    assert ages_s == sorted(ages_s), ages_s
    assert ages_s[-1] - ages_s[0] >= LOST_S - DUE_S
    pair.kit.thaw()
    page.locator(".band.lost").wait_for(state="detached", timeout=5000)
    page.locator(".units [data-unit=kit-7][data-state=back]").wait_for(timeout=2000)
    page.close()


def test_an_old_position_that_comes_again_makes_nothing_younger(browser: Browser, pair: Pair) -> None:
    """Replayed and older positions arrive as bundles of their own: place and age stay those of the newest capture."""
    page = open_page(browser, pair.command, WALL, "en")
    page.locator(".units .row[data-unit=kit-7]").wait_for(timeout=20_000)
    newest = _position(28.46, 90)
    pair.kit.send("position", newest)
    page.click(".units [data-unit=kit-7]")
    place = page.locator(".unit-detail .line", has_text="28.4600° N")
    place.wait_for(timeout=5000)
    _record(page, place=".unit-detail .line", mark=".map-unit[data-units=kit-7] .map-detail")
    for again in (newest, _position(28.50, 600), newest, _position(28.51, 100)):
        pair.kit.send("position", again)
        page.wait_for_timeout(700)
    told = _told(page, "place")
    assert all("28.4600° N" in text for text in told), told
    for name in ("place", "mark"):
        ages_s = [_seconds(text.partition(" E")[2] or text) for text in _told(page, name)]
        assert ages_s, name
        assert ages_s == sorted(ages_s), (name, _told(page, name))
        assert ages_s[0] >= 90, (name, _told(page, name))
    pair.kit.send("position", _position(28.47, 0))
    page.locator(".unit-detail .line", has_text="28.4700° N").wait_for(timeout=5000)
    assert _seconds(page.locator(".unit-detail .line").first.inner_text().partition(" E")[2]) < 30
    page.close()

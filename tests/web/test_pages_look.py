"""Every state of both pages, both languages, all views: nothing cut, small, pale or in the wrong language."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.web.axe import axe_findings
from tests.web.cost_states import command_costs, command_costs_after_outage, kit_costs
from tests.web.page_server import STATIC, PageServer, now_ms
from tests.web.page_states import COMMAND_STATES, KIT_STATES, command_normal, kit_normal

pytestmark = pytest.mark.browser
AUDIT = Path(__file__).with_name("page_audit.js").read_text()
SIZES = {"wall": (1920, 1080, 16, 44), "laptop": (1366, 768, 13, 36)}
AXE_SIZE = "laptop"  # the wall shows the same tree in the same colours, only larger
KIT_SIZE = (390, 844, 18, 84)
COMMAND_SHOWN = {**COMMAND_STATES, "costs": command_costs, "costs_crowded": command_costs_after_outage}
KIT_SHOWN = {**KIT_STATES, "costs": kit_costs}
WORDS = [STATIC / f"js/{name}.js" for name in ("words", "words_command", "words_kit")]
CHINESE = re.compile(r"[一-鿿]")
LATIN_WORD = re.compile(r"[A-Za-z]{4,}")
SAME_IN_BOTH = re.compile(
    r"Natural Earth|GeoNames|CGCS2000|WGS-84|[kM]bit/s|English|Wi-Fi|MQTT|min\b|%LEL|\d+\s(?:s|min|ms|km)"
)


@pytest.fixture(name="server", scope="module")
def fixture_server() -> Iterator[PageServer]:
    with PageServer(command_normal) as server:
        yield server


@pytest.fixture(name="kit_server", scope="module")
def fixture_kit_server() -> Iterator[PageServer]:
    with PageServer(kit_normal) as server:
        yield server


def _frozen(make: Callable[[int], dict[str, Any]]) -> Callable[[int], dict[str, Any]]:
    """A state made once, whose clock runs on."""
    made = make(now_ms())
    return lambda at_ms: made | {"now_ms": at_ms}


def _settle(page: Page) -> None:
    """Wait until two looks at the page, 300 ms apart, see the same rows."""
    page.wait_for_selector(".head, .kit, .sos-screen")
    page.wait_for_function(
        """() => {
          const rows = [...document.querySelectorAll("[data-list]")].map((list) => list.children.length).join();
          const now = performance.now();
          if (window.rowsSeen !== rows) Object.assign(window, { rowsSeen: rows, rowsSince: now });
          return now - window.rowsSince > 300;
        }"""
    )


def _new_page(browser: Browser, width: int, height: int, complaints: list[str]) -> Page:
    """A page whose errors and refused requests are findings."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


def _audit(page: Page, *, floor: int, target: int, view: str, asks_axe: bool = True) -> list[str]:
    """What ``page_audit.js`` and axe-core find."""
    found: list[str] = page.evaluate(
        AUDIT, {"floor": floor, "target": target, "isNight": view == "night", "scrolls": ".sheet"}
    )
    return found + (axe_findings(page) if asks_axe else [])


@pytest.mark.parametrize("name", COMMAND_SHOWN)
@pytest.mark.parametrize("size", SIZES)
def test_command_page_shows_each_state_whole(browser: Browser, server: PageServer, name: str, size: str) -> None:
    """No overflow, no pale or small text, no lost row, in both languages and views."""
    width, height, floor, target = SIZES[size]
    server.show(_frozen(COMMAND_SHOWN[name]))
    data = _data_words(COMMAND_SHOWN[name])
    found: dict[tuple[str, str], list[str]] = {}
    for lang, view in (("zh", "day"), ("en", "night")):
        found[lang, view] = []
        page = _new_page(browser, width, height, found[lang, view])
        page.goto(f"{server.url}/?lang={lang}&view={view}")
        _settle(page)
        if name in ("after_outage", "many_reports", "costs", "costs_crowded"):
            page.click("[data-unit=kit-32]")
            _settle(page)
        found[lang, view] += _audit(page, floor=floor, target=target, view=view, asks_axe=size == AXE_SIZE)
        found[lang, view] += _foreign(page, lang, data)
        page.close()
    assert found == {key: [] for key in found}


@pytest.mark.parametrize("size", SIZES)
def test_roll_call_and_holdings_are_shown_whole(browser: Browser, server: PageServer, size: str) -> None:
    """Names of whom an order has not reached, what a unit still holds, and the form of an order, on both sizes."""
    width, height, floor, target = SIZES[size]
    server.show(_frozen(COMMAND_STATES["withdrawal"]))
    data = _data_words(COMMAND_STATES["withdrawal"])
    found: dict[tuple[str, str], list[str]] = {}
    for lang, view in (("zh", "day"), ("en", "night")):
        page = _new_page(browser, width, height, found.setdefault((lang, view), []))
        page.goto(f"{server.url}/?lang={lang}&view={view}")
        _settle(page)
        for opened in ("[data-act=open-order] >> nth=0", "[data-act=order]", "[data-unit=kit-32]"):
            page.click(opened)
            _settle(page)
            found[lang, view] += _audit(page, floor=floor, target=target, view=view, asks_axe=size == AXE_SIZE)
            found[lang, view] += _foreign(page, lang, data)
            if opened.startswith("[data-act=open-order]"):
                assert page.locator("[data-roll=not_reached] p").inner_text().count("40 ") == 1
            if not opened.startswith("[data-unit"):
                page.keyboard.press("Escape")
        assert page.locator("[data-item]").count() == 3
        page.close()
    assert found == {key: [] for key in found}


@pytest.mark.parametrize("name", KIT_SHOWN)
def test_kit_page_shows_each_state_whole(browser: Browser, kit_server: PageServer, name: str) -> None:
    """At 390x844: text from 18 px, every target 84x84, in both languages and three views."""
    width, height, floor, target = KIT_SIZE
    data = _data_words(KIT_SHOWN[name])
    found: dict[tuple[str, str], list[str]] = {}
    for lang, view in (("zh", "day"), ("en", "night"), ("en", "sun")):
        kit_server.show(_frozen(KIT_SHOWN[name]))
        found[lang, view] = []
        page = _new_page(browser, width, height, found[lang, view])
        page.goto(f"{kit_server.url}/?lang={lang}&view={view}")
        _settle(page)
        found[lang, view] += _audit(page, floor=floor, target=target, view=view) + _foreign(page, lang, data)
        page.close()
    assert found == {key: [] for key in found}


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_waiting_message_opens_to_be_taken_back(browser: Browser, kit_server: PageServer, lang: str) -> None:
    """A press on its row, and only then a button: the list keeps its rows."""
    width, height, floor, target = KIT_SIZE
    kit_server.show(_frozen(KIT_STATES["all_down"]))
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{kit_server.url}/?lang={lang}&view=day")
    _settle(page)
    assert page.locator("[data-message]").count() == 3
    assert page.locator("[data-act=take-back]").count() == 0
    page.click("[data-message=m-1] [data-act=open-row]")
    _settle(page)
    assert _audit(page, floor=floor, target=target, view="day") == []
    assert page.locator("[data-act=take-back]").count() == 1
    page.close()


@pytest.mark.parametrize("sheet", ["write", "phrases", "photo"])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_kit_sheets_keep_sos_in_sight(browser: Browser, kit_server: PageServer, sheet: str, lang: str) -> None:
    """Each sheet fits the screen with the SOS button on it, 10 px or more from the next target."""
    width, height, floor, target = KIT_SIZE
    kit_server.show(_frozen(KIT_STATES["normal"]))
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{kit_server.url}/?lang={lang}&view=day")
    page.click(f"[data-act={sheet}]")
    _settle(page)
    assert _audit(page, floor=floor, target=target, view="day") == []
    sos = page.locator("[data-act=sos]").bounding_box()
    assert sos is not None
    boxes = [box.bounding_box() for box in page.locator("button:not([data-act=sos])").all()]
    assert all(box is not None and box["y"] + box["height"] + 10 <= sos["y"] for box in boxes)
    page.close()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390)])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_costs_and_profiles_are_shown_whole(
    browser: Browser, kit_server: PageServer, lang: str, width: int, height: int
) -> None:
    """Each link with what it has cost, the question where nobody has said it, and four profiles; SOS stays in reach."""
    kit_server.show(_frozen(kit_costs))
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{kit_server.url}/?lang={lang}&view=day")
    for act in ("links", "profile"):
        page.click(f"[data-act={act}]")
        page.set_viewport_size({"width": width, "height": height})
        _settle(page)
        assert _audit(page, floor=18, target=84, view="day") == []
        assert _foreign(page, lang, _data_words(kit_costs)) == []
        assert page.locator("[data-act=sos]").is_visible()
    assert page.locator("[data-profile][aria-pressed=true]").get_attribute("data-profile") == "low-power"
    page.close()


@pytest.mark.parametrize("name", ["normal", "all_down", "sos_undo", "sos_received"])
def test_kit_page_turned_keeps_sos_in_sight(browser: Browser, kit_server: PageServer, name: str) -> None:
    """A phone on its side: SOS, actions and steps are all in view."""
    kit_server.show(_frozen(KIT_STATES[name]))
    page = browser.new_page(viewport={"width": 844, "height": 390})
    page.goto(f"{kit_server.url}/?lang=en&view=night")
    _settle(page)
    found = _audit(page, floor=18, target=84, view="night")
    page.close()
    assert found == []


@pytest.mark.parametrize(("width", "height"), [(390, 480), (844, 390)])
def test_kit_keyboard_open_keeps_sos_in_sight(
    browser: Browser, kit_server: PageServer, width: int, height: int
) -> None:
    """Writing with the keyboard open, upright or turned: the text, Send, Back and SOS are in view."""
    kit_server.show(_frozen(KIT_STATES["normal"]))
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{kit_server.url}/?lang=en&view=day")
    page.click("[data-act=write]")
    _settle(page)
    found = _audit(page, floor=18, target=84, view="day")
    for act in ("text", "send", "back", "sos"):
        box = page.locator(f"[data-act={act}]").bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
    page.close()
    assert found == []


def _texts(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        """() => {
          const texts = [];
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (walk.nextNode()) {
            const node = walk.currentNode;
            if (!node.parentElement.closest("[data-other-language], .map-town, option")) texts.push(node.data);
          }
          for (const node of document.querySelectorAll("[placeholder], [aria-label], [alt]")) {
            texts.push(node.placeholder ?? "", node.getAttribute("aria-label") ?? "", node.alt ?? "");
          }
          return texts;
        }"""
    )
    return found


def _strings(value: Any) -> set[str]:
    """All strings inside a JSON value."""
    if isinstance(value, str):
        return {value} if value else set()
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return set().union(*map(_strings, inner))


def _data_words(make: Callable[[int], dict[str, Any]]) -> list[str]:
    """The words of a state that are data, the longest first."""
    return sorted(_strings(make(now_ms())), key=len, reverse=True)


def _foreign(page: Page, lang: str, data: list[str]) -> list[str]:
    """Texts in the other language that are neither data (names, messages) nor the same in both."""
    wrong = CHINESE if lang == "en" else LATIN_WORD
    left = []
    for text in _texts(page):
        rest = SAME_IN_BOTH.sub("", text)
        for word in data:
            rest = rest.replace(word, "")
        if wrong.search(rest):
            left.append(f"other language: {text}")
    return left


def test_both_languages_have_every_word_and_every_glyph(browser: Browser, server: PageServer) -> None:
    """Each key has two words, the same places in both, and no sign that this machine cannot draw."""
    page = browser.new_page()
    page.goto(f"{server.url}/")
    found = page.evaluate(
        """async () => {
          const { KEYS, say } = await import("/static/js/words.js");
          const places = (text) => [...text.matchAll(/\\{(\\w+)\\}/g)].map((each) => each[1]).sort().join();
          const isWrong = (zh, en) => !zh || !en || places(zh) !== places(en);
          const wrong = KEYS.filter((key) => isWrong(say("zh", key), say("en", key)));
          const signs = new Set(KEYS.flatMap((key) => [...say("zh", key), ...say("en", key)]));
          const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 40 });
          const pen = canvas.getContext("2d", { willReadFrequently: true });
          const draw = (sign) => {
            pen.clearRect(0, 0, 40, 40);
            pen.font = `28px ${getComputedStyle(document.body).fontFamily}`;
            pen.fillText(sign, 4, 30);
            return pen.getImageData(0, 0, 40, 40).data.join();
          };
          const missing = draw("\\u{10FFFD}");
          const tofu = [...signs].filter((sign) => sign.trim() && draw(sign) === missing);
          return { wrong, count: KEYS.length, tofu };
        }"""
    )
    page.close()
    assert found["count"] > 200
    assert found["wrong"] == []
    assert found["tofu"] == []


def _words() -> str:
    """All files of words; no key stands in two of them."""
    text = "".join(path.read_text() for path in WORDS)
    keys = re.findall(r'^  "([\w.]+)": \[', text, re.MULTILINE)
    assert len(set(keys)) == len(keys) > 300
    return text


def test_every_word_is_used() -> None:
    """A word that no page says is dead weight and drifts: each key, or its stem before a state, stands in a script."""
    scripts = "".join(path.read_text() for path in (STATIC / "js").rglob("*.js") if path not in WORDS)
    keys = re.findall(r'^  "([\w.]+)": \[', _words(), re.MULTILINE)
    stems = set(re.findall(r"`([\w.]+\.)\$\{", scripts))
    aged = {f"{key}_at" for key in re.findall(r'"([\w.]+)"', scripts)}
    unused = [
        key
        for key in keys
        if f'"{key}"' not in scripts and key not in aged and not any(key.startswith(stem) for stem in stems)
    ]
    assert unused == []


def test_every_key_that_a_script_names_has_a_word() -> None:
    """A key without a word would show its own name to a rescuer."""
    keys = set(re.findall(r'^  "([\w.]+)": \[', _words(), re.MULTILINE))
    named: set[str] = set()
    for path in (STATIC / "js").rglob("*.js"):
        named |= set(re.findall(r'\b(?:say|aged)\((?:ctx, )?"([\w.]+)"', path.read_text()))
    assert len(named) > 100
    assert named - keys == set()


def test_states_are_told_without_colour(browser: Browser, server: PageServer) -> None:
    """Each state of a unit has a word and a shape of its own in the page tree."""
    told = {}
    for name, unit in (
        ("sos", "kit-7"),
        ("lost", "kit-19"),
        ("normal", "kit-31"),
        ("after_outage", "kit-32"),
        ("normal", "kit-24"),
        ("normal", "kit-1"),
    ):
        server.show(_frozen(COMMAND_STATES[name]))
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.goto(f"{server.url}/?lang=en&view=day")
        _settle(page)
        row = page.locator(f".units [data-unit={unit}]")
        if not row.count():
            page.fill("[data-act=search]", unit.removeprefix("kit-").zfill(2))
        row.wait_for()
        shape = row.locator("svg").get_attribute("data-shape")
        word = row.locator(".reason").inner_text().split(" · ")[0] if row.locator(".reason").count() else "On time list"
        told[name, unit] = (word, shape)
        page.close()
    assert len({shape for _, shape in told.values()}) == len(told)
    assert len({word for word, _ in told.values()}) >= len(told) - 1  # "on time with something to note" says what
    assert json.dumps(sorted(shape for _, shape in told.values())) == json.dumps(
        sorted(["sos", "lost", "late", "back", "noted", "on_time"])
    )

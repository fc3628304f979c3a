"""The deployment's own tiles on the map of a running command post: in their place, named, and from this node alone."""

import math
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.web.real_nodes import WALL, Node, free_port, make_secret, open_page
from tests.web.tiles import Tile, png, write_archive, write_folder

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NORTH_EAST, SOUTH_EAST = (200, 60, 60), (60, 60, 200)
LAND, SEA = (0xF6, 0xF5, 0xF0), (0xDB, 0xE3, 0xE6)
OPACITY = 0.6
OTHER = (10, 200, 10)
TILES = {
    Tile(1, 0, 0): png(*OTHER),
    Tile(1, 1, 0): png(*NORTH_EAST),
    Tile(1, 0, 1): png(*OTHER),
    Tile(1, 1, 1): png(*SOUTH_EAST),
}
START = (25.0, 105.0, 3.5)
"""Latitude, longitude and zoom of a map that knows no unit."""
LAYER = 'name = "海图"\ndatum = "CGCS2000"\napproval = "GS(2025)0001"\nattribution = "海事测绘"'


@pytest.fixture(name="archive_post")
def fixture_archive_post(tmp_path: Path) -> Iterator[Node]:
    write_archive(tmp_path / "sea.pmtiles", TILES)
    yield from _running(tmp_path, f'[[layer]]\nfile = "sea.pmtiles"\n{LAYER}')


@pytest.fixture(name="folder_post")
def fixture_folder_post(tmp_path: Path) -> Iterator[Node]:
    write_folder(tmp_path / "sea", TILES)
    yield from _running(tmp_path, f'[[layer]]\nfolder = "sea"\n{LAYER}')


def _running(folder: Path, more: str) -> Iterator[Node]:
    make_secret(folder)
    node = Node(
        folder,
        node='id = "cp-1"\nname = "省指挥部"\nrole = "command"',
        link=f'listen = "127.0.0.1:{free_port(socket.SOCK_DGRAM)}"',
        more=more,
    )
    yield node
    node.stop()


def _colours(page: Page, places: Mapping[str, tuple[float, float]]) -> dict[str, tuple[int, ...]]:
    """Red, green and blue where the map has these latitudes and longitudes."""
    box = page.locator(".map-face").bounding_box()
    assert box is not None
    picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    world = 256 * 2 ** START[2]
    found = {}
    for name, (lat, lon) in places.items():
        x = box["x"] + box["width"] / 2 + (lon - START[1]) / 360 * world
        y = box["y"] + box["height"] / 2 + (_mercator(lat) - _mercator(START[0])) * world
        found[name] = tuple(int(value) for value in picture[round(y), round(x)][::-1])
    return found


def _mercator(lat: float) -> float:
    return 0.5 - math.log(math.tan(math.pi / 4 + math.radians(lat) / 2)) / (2 * math.pi)


def _over(tile: tuple[int, ...], ground: tuple[int, ...]) -> list[float]:
    """A tile of the deployment above the shipped map."""
    return [OPACITY * each + (1 - OPACITY) * below for each, below in zip(tile, ground, strict=True)]


PLACES = {"north": (41.3, 93.1), "south": (-4.7, 98.3)}


def _shows_the_layer(browser: Browser, post: Node) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page = browser.new_page(viewport=WALL)  # type: ignore[arg-type]  # playwright's own TypedDict
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{post.url}/?lang=zh&view=day")
    page.locator(".leaflet-tile-loaded").nth(1).wait_for(state="attached")
    page.wait_for_timeout(300)
    shown = _colours(page, PLACES)
    assert np.allclose(shown["north"], _over(NORTH_EAST, LAND), atol=3), shown
    assert np.allclose(shown["south"], _over(SOUTH_EAST, SEA), atol=3), shown
    sources = " ".join(page.locator("[data-source]").all_text_contents())
    for text in ("海图", "CGCS2000", "GS(2025)0001", "海事测绘", "Natural Earth"):
        assert text in sources
    page.click("[data-act=view]")
    page.wait_for_timeout(300)
    for red, green, blue in _colours(page, PLACES).values():
        assert max(green, blue) <= red * 0.60 + 1  # at night tiles are as red as everything else,
        assert 5 < red < 100  # and dark
    assert any("/layers/0" in url for url in asked)
    assert [url for url in asked if not url.startswith((post.url, "data:", "blob:"))] == []
    assert complaints == []
    page.close()


def test_an_archive_shows_in_its_place_with_datum_and_approval(browser: Browser, archive_post: Node) -> None:
    """Read in ranges: the colours of two quarters of the world are where they belong, by day and by night."""
    _shows_the_layer(browser, archive_post)


def test_a_folder_shows_in_its_place_with_datum_and_approval(browser: Browser, folder_post: Node) -> None:
    _shows_the_layer(browser, folder_post)


def test_an_archive_that_was_taken_away_is_said_on_the_map(browser: Browser, archive_post: Node) -> None:
    """The page works on with the shipped map; it says which layer cannot be read, and that is no fault of the page."""
    (archive_post.config.parent / "sea.pmtiles").unlink()
    page = open_page(browser, archive_post, WALL, "en")
    page.locator("[data-source]", has_text=re.compile("海图.*cannot be read")).wait_for(timeout=5000)
    assert page.locator("#fault").count() == 0
    north = _colours(page, PLACES)["north"]
    assert max(north) - min(north) < 20  # land or sea of the day view
    page.close()

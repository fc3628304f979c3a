"""Both pages of two running agents: what a person presses at one is seen at the other, over kill and restart."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
START_LIMIT_S = 20.0
WALL = {"width": 1920, "height": 1080}
PHONE = {"width": 390, "height": 844}


def _free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Node:
    """One agent as a process of its own, with its page."""

    def __init__(self, folder: Path, node_id: str, number: int, name: str, role: str, link: str) -> None:
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._config = folder / f"{node_id}.toml"
        self._log = folder / f"{node_id}.log"
        self._config.write_text(
            f'[node]\nid = "{node_id}"\nnumber = {number}\nname = "{name}"\nrole = "{role}"\ndata_dir = "{node_id}"\n'
            f'[security]\nsecret_file = "secret.key"\n[api]\nlisten = "unix:{node_id}.sock"\n'
            f'[web]\nlisten = "{self.url.removeprefix("http://")}"\n'
            f'[[link]]\nname = "4g"\ntransport = "udp"\nmetered = false\n{link}\n'
        )
        self.start()

    def start(self) -> None:
        """Run it and wait until its page answers."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edge_agent.cli", "run", str(self._config)], stdout=log, stderr=log
            )
        end_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                urlopen(self.url, timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end_s, self._log.read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut does."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it if it runs."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=10)


class Pair:
    """A kit and a command post that reach each other over loopback."""

    def __init__(self, folder: Path) -> None:
        secret = folder / "secret.key"
        secret.write_text(secrets.token_hex(32))
        secret.chmod(0o600)
        port = _free_port(socket.SOCK_DGRAM)
        self.command = Node(folder, "cp-1", 1, "省指挥部", "command", f'listen = "127.0.0.1:{port}"')
        self.kit = Node(folder, "kit-7", 7, "大陈岛前突队", "kit", f'remote = "127.0.0.1:{port}"')


@pytest.fixture(name="pair")
def fixture_pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.kit.stop()
    pair.command.stop()


def _open(browser: Browser, node: Node, size: dict[str, int], lang: str) -> Page:
    page = browser.new_page(viewport=size)  # type: ignore[arg-type]  # playwright's own TypedDict
    page.goto(f"{node.url}/?lang={lang}&view=day")
    return page


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
    kit = _open(browser, pair.kit, PHONE, "en")
    command = _open(browser, pair.command, WALL, "zh")
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
    kit = _open(browser, pair.kit, PHONE, "zh")
    command = _open(browser, pair.command, WALL, "en")
    command.locator(".units [data-unit=kit-7]").wait_for(timeout=20_000)
    _hold_sos(kit)
    kit.click("[data-act=withdraw]")
    command.locator(".band.sos", has_text="Withdrawn by the team").wait_for(timeout=3000)
    assert command.locator("[data-act=confirm]").is_enabled()
    kit.close()
    command.close()


def test_sos_waits_at_a_kit_alone_and_outlives_kill_of_command(browser: Browser, pair: Pair) -> None:
    """Command is gone: the SOS is stored at the kit; it arrives when command returns, and a kill loses nothing."""
    kit = _open(browser, pair.kit, PHONE, "en")
    command = _open(browser, pair.command, WALL, "en")
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
    kit = _open(browser, pair.kit, PHONE, "en")
    command = _open(browser, pair.command, WALL, "en")
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

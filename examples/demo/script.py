"""The demo's script: what happens when, and what a person presses."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.demo.bench import Bench
from examples.demo.ledger import Ledger
from examples.demo.page import Json, Page, PageError

DUTY = "王敏"
READY_S = 25.0
CONFIRM_S = 45.0
"""A visitor has so long to press Confirm; then the script presses, so that it can go on."""
SILENCE_LEAST_S = 14.0
LOST_S = 20.0
WRITE_AFTER_S = 3.0
DRAIN_S = 45.0
REPORT_TEXT = "两人受伤,需要担架 · two injured, need a stretcher"
STEPS = (
    ("三条链路都通", "All three links are up"),
    ("4G 无声中断", "4G goes silent"),
    ("卫星也断,只剩电台", "The satellite goes too, only the radio is left"),
    ("只剩电台,图片在路上,求救", "Only the radio is left, a picture is on its way, SOS"),
    ("指挥部有人确认", "A person at command confirms"),
    ("电台也断:失联", "The radio goes too: lost contact"),
    ("电台恢复", "The radio is back"),
    ("4G 恢复,补传", "4G is back, history fills in"),
    ("卫星恢复,对账", "The satellite is back, the books are balanced"),
)


@dataclass(slots=True)
class Sos:
    """One SOS as the demo saw it."""

    bundle: str
    raised_at_s: float
    latency_s: float | None = None
    confirmed_s: float | None = None
    via: list[str] = field(default_factory=list)
    is_scripted: bool = False


class Script:
    """Runs the steps once. ``step`` is the number shown, from 1."""

    def __init__(
        self, bench: Bench, ledger: Ledger, kit: Page, command: Page, *, seconds: float, is_headless: bool
    ) -> None:
        self._bench = bench
        self._ledger = ledger
        self._kit = kit
        self._command = command
        self._scale = seconds / 90
        self._is_headless = is_headless
        self._running = asyncio.Event()
        self._running.set()
        self._scripted: Sos | None = None
        self.step = 1
        self.sos: list[Sos] = []
        self.outage_over_s: float | None = None
        self.problems: list[str] = []
        self.on_step: Callable[[], None] = lambda: None

    @property
    def is_paused(self) -> bool:
        """Whether somebody holds the script."""
        return not self._running.is_set()

    def pause(self, paused: bool) -> None:
        """Hold the script, or let it go on."""
        if paused:
            self._running.clear()
        else:
            self._running.set()

    async def run(self, photo: bytes) -> None:
        """All steps, then wait for the books to balance."""
        await self._begin()
        await self._wait(12 * self._scale)
        await self._next(2, lambda: self._do("4g", "cut"), 12 * self._scale)
        await self._next(3, lambda: self._do("vsat", "cut"), max(8.0, 8 * self._scale))
        await self._next(4, lambda: self._send_photo(photo), 2.0)
        self._scripted = await self.raise_sos()
        if self._scripted is not None:
            self._scripted.is_scripted = True
        await self._wait(2.0)
        await self._next(5, self._confirm, 6 * self._scale)
        await self._next(6, lambda: self._do("radio", "cut"), WRITE_AFTER_S)
        await self._press(self._kit, "text", {"text": REPORT_TEXT, "precedence": "immediate"})
        await self._wait(max(SILENCE_LEAST_S, 18 * self._scale) - WRITE_AFTER_S)
        await self._until_lost()
        await self._next(7, lambda: self._do("radio", "restore"), max(5.0, 6 * self._scale))
        await self._next(8, lambda: self._do("4g", "restore"), 8 * self._scale)
        await self._next(9, lambda: self._do("vsat", "restore"), 6 * self._scale)
        await self._ledger.settle(DRAIN_S)

    async def _begin(self) -> None:
        def is_ready(state: Json) -> bool:
            return sum(link["state"] == "up" for link in state["links"]) >= 3 and state["command_heard_ms"] is not None

        if await self._kit.until(is_ready, READY_S) is None:
            self.problems.append(f"the three links were not up within {READY_S:.0f} s")
        if await self._command.until(lambda state: len(state["units"]) >= 2, READY_S) is None:
            self.problems.append(f"the two units did not report within {READY_S:.0f} s")
        state = self._command.state
        if state is not None and state["duty"] is None:
            await self._press(self._command, "duty", {"name": DUTY})

    async def _wait(self, span_s: float) -> None:
        """Let ``span_s`` of script time pass; a pause does not count."""
        left_s = span_s
        while left_s > 0:
            await self._running.wait()
            before_s = time.monotonic()
            await asyncio.sleep(min(0.1, left_s))
            left_s -= time.monotonic() - before_s

    async def _next(self, step: int, act: Callable[[], Awaitable[None]], span_s: float) -> None:
        await self._running.wait()
        self.step = step
        self.on_step()
        await act()
        await self._wait(span_s)

    async def _do(self, link: str, action: str) -> None:
        self._bench.do(link, action, self._ledger.now_s())
        if (link, action) == ("radio", "restore"):
            self.outage_over_s = self._ledger.now_s()

    async def _press(self, page: Page, action: str, body: Json) -> Json | None:
        try:
            return await page.press(action, body)
        except PageError as error:
            self.problems.append(str(error))
            return None

    async def _send_photo(self, photo: bytes) -> None:
        try:
            await self._kit.send_photo(photo, "北侧塌方 · north side")
        except PageError as error:
            self.problems.append(str(error))

    async def raise_sos(self) -> Sos | None:
        """What a person does at the kit: hold the button, which posts once. None: the page refused."""
        raised_at_s = self._ledger.now_s()
        answer = await self._press(self._kit, "sos", {})
        if answer is None:
            return None
        made = Sos(bundle=str(answer["id"]), raised_at_s=round(raised_at_s, 3))
        same = next((each for each in self.sos if each.bundle == made.bundle), None)  # one was open already
        if same is None:
            self.sos.append(made)
        return same or made

    async def _confirm(self) -> None:
        """Wait for the SOS at command; headless, press Confirm as a person would, then wait for the kit to know."""
        sos = self._scripted
        if sos is None:
            return

        def shown(state: Json) -> bool:
            return any(alarm["id"] == sos.bundle for alarm in state["alarms"])

        state = await self._command.until(shown, 20.0)
        if state is None:
            self.problems.append("the SOS did not reach command within 20 s")
            return

        def is_confirmed(now: Json) -> bool:
            return bool(_alarm(now, sos.bundle)["confirmed"])

        if self._is_headless or await self._command.until(is_confirmed, CONFIRM_S) is None:
            await self._press(self._command, "confirm", {"alarm": sos.bundle})
        known = await self._kit.until(lambda now: bool((now["sos"] or {}).get("confirmed")), 20.0)
        if known is not None:
            sos.confirmed_s = round(self._ledger.now_s() - sos.raised_at_s, 3)

    async def _until_lost(self) -> None:
        """Hold the outage until command says lost contact: the step is about that alarm."""
        lost = await self._command.until(lambda now: any(alarm["kind"] == "lost" for alarm in now["alarms"]), LOST_S)
        if lost is None:
            self.problems.append(f"command did not raise lost contact within {LOST_S:g} s more of silence")

    def note_alarms(self) -> None:
        """Take latency and links of each SOS from the ledger, from the press to a consumer at command."""
        for sos in self.sos:
            arrival = self._ledger.arrivals.get(sos.bundle)
            if arrival is not None:
                sos.latency_s, sos.via = round(arrival.at_s - sos.raised_at_s, 3), list(arrival.via)


def _alarm(state: Any, alarm_id: str) -> Json:  # Any: the page's JSON
    return next((alarm for alarm in state["alarms"] if alarm["id"] == alarm_id), {"confirmed": None})


def still_from(clip: Path) -> bytes:
    """One frame of a clip as JPEG, as a phone would send it."""
    import cv2  # the extra "video", which the demo's set-up installs

    capture = cv2.VideoCapture(str(clip))
    try:
        found, frame = capture.read()
    finally:
        capture.release()
    if not found:
        raise PageError(f"{clip}: no frame can be read")
    done, encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise PageError(f"{clip}: the frame cannot be encoded")
    return bytes(encoded)

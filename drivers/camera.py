"""Camera driver: a still every few seconds, sized to what the links carry, and a full-quality recording on the kit."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from edge_agent.core.bundle import Precedence
from edge_agent.core.errors import RefusedError
from edge_agent.ports import DriverPort, PluginLostError, Setting, Table
from edge_agent.telemetry.payloads import Picture

if TYPE_CHECKING:
    from edge_agent.video.capture import Capture, Captured
    from edge_agent.video.stills import Still, StillEncoder

BUDGET_LEAST_BYTES = 2_000  # a recognizable AV1 picture 240 to 320 pixels wide
BUDGET_MOST_BYTES = 400_000
SMALL_BELOW_BYTES = 8_000  # less than this a still shows a scene but no detail: the full picture is worth sending later
FULL_BYTES = 40_000  # the full picture that follows a small one
HEADER_BYTES = 160  # of a packed Picture without its image: field names, caption, camera
_SMALL_SHARE_RATIO = 0.75  # of a small grant; the rest is saved up for full pictures
_FIRST_FRAME_S = 15.0
_STALLED_S = 10.0
_JOIN_S = 1.0
_NEEDS_EXTRA = "needs the extra 'video': pip install lifeline-edge[video]"


@dataclass(slots=True)
class _Saver:
    """Saves what small pictures leave of their grants, until a full picture is paid for."""

    saved_bytes: int = 0

    def save(self, granted_bytes: int) -> bool:
        """Add the rest of one small grant; whether a full picture may follow now, which spends it."""
        self.saved_bytes += round(granted_bytes * (1 - _SMALL_SHARE_RATIO))
        if self.saved_bytes < FULL_BYTES:
            return False
        self.saved_bytes = 0
        return True


class CameraDriver:
    """Driver ``camera``: RTSP and other URLs, V4L2 devices, and files, which play in real time and are labelled.

    Stills go under the driver's flow. While the links grant little, small ones go, and now and then the full picture
    follows one of them as history (``full_id`` joins the two).
    """

    SETTINGS: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "source": Setting(
                kind=str,
                allowed='a URL such as "rtsp://192.168.1.64/stream1", a device such as "/dev/video0", or a video file',
                accepts=bool,
                is_path=True,
            ),
            "interval_s": Setting(
                kind=float,
                allowed="0.5 to 86400 s between stills",
                default=30.0,
                accepts=lambda value: 0.5 <= value <= 86_400,
            ),
            "record": Setting(kind=bool, allowed="true to keep the camera's full quality on this node", default=True),
            "record_max_bytes": Setting(
                kind=int,
                allowed="4000000 or more bytes of recording, the oldest of which goes first",
                default=1_000_000_000,
                accepts=lambda value: value >= 4_000_000,
            ),
            "segment_s": Setting(
                kind=float,
                allowed="1 to 600 s of recording in one file",
                default=4.0,
                accepts=lambda value: 1 <= value <= 600,
            ),
        }
    )

    def __init__(self, table: Table) -> None:
        self._source = table["source"]
        self._interval_s: float = table["interval_s"]
        self._is_recording: bool = table["record"]
        self._record_max_bytes: int = table["record_max_bytes"]
        self._segment_s: float = table["segment_s"]
        self._saver = _Saver()

    async def run(self, port: DriverPort) -> None:
        """Send stills and record until cancelled. Raises PluginLostError when the camera is lost."""
        try:
            from edge_agent.video.stills import StillEncoder
        except ModuleNotFoundError as error:  # the base install has no codecs
            port.unavailable(_NEEDS_EXTRA)
            raise PluginLostError(_NEEDS_EXTRA) from error
        news = asyncio.Event()
        capture = self._make_capture(port.data_dir, _waker(news))
        capture.start()
        try:
            await self._follow(capture, StillEncoder(), news, port)
        except PluginLostError as error:
            port.unavailable(str(error))
            raise
        finally:
            capture.stop()
            await asyncio.to_thread(capture.join, _JOIN_S)
            _count_drops(capture, port)

    def _make_capture(self, folder: Path, notify: Callable[[], None]) -> "Capture":
        from edge_agent.video.capture import Capture, Source
        from edge_agent.video.recorder import Recorder

        recorder = None
        if self._is_recording:
            recorder = Recorder(folder=folder, max_bytes=self._record_max_bytes, segment_s=self._segment_s)
        return Capture(source=Source(self._source), interval_s=self._interval_s, notify=notify, recorder=recorder)

    async def _follow(self, capture: "Capture", encoder: "StillEncoder", news: asyncio.Event, port: DriverPort) -> None:
        loop = asyncio.get_running_loop()
        label = capture.source.label
        due_s, first_frame_by_s = loop.time(), loop.time() + _FIRST_FRAME_S
        while True:
            wait_s = min(_STALLED_S / 2, max(0.0, due_s - loop.time()))
            await _wait(news, wait_s if capture.newest() else _FIRST_FRAME_S)
            _count_drops(capture, port)
            captured = capture.newest()
            if capture.failure:
                raise PluginLostError(capture.failure)
            if captured is None:
                if loop.time() >= first_frame_by_s:
                    raise PluginLostError(f"{label}: no picture within {_FIRST_FRAME_S:g} s")
                continue
            if loop.time() - captured.captured_s > max(_STALLED_S, self._interval_s):
                raise PluginLostError(f"{label}: no new picture for {loop.time() - captured.captured_s:.0f} s")
            if loop.time() >= due_s:
                due_s = max(due_s + self._interval_s, loop.time())  # what was missed is not made up for
                await self._send(captured, encoder, capture, port)

    async def _send(self, captured: "Captured", encoder: "StillEncoder", capture: "Capture", port: DriverPort) -> None:
        """One still within the grant; a full one after it when enough was saved up."""
        age_s = asyncio.get_running_loop().time() - captured.captured_s
        captured_at_ms = port.now_ms() - round(age_s * 1000)
        granted_bytes = port.granted_bytes(self._interval_s)
        budget_bytes = min(max(granted_bytes, BUDGET_LEAST_BYTES), BUDGET_MOST_BYTES)
        is_small = budget_bytes < SMALL_BELOW_BYTES
        follows_full = is_small and self._saver.save(granted_bytes)
        if is_small:
            budget_bytes = max(BUDGET_LEAST_BYTES, round(budget_bytes * _SMALL_SHARE_RATIO))
        full_id = f"{port.name}-{captured_at_ms}"[:64] if follows_full else ""

        async def submit(most_bytes: int, precedence: Precedence | None, *, is_small: bool) -> None:
            still = await asyncio.to_thread(encoder.encode, captured.frame, most_bytes - HEADER_BYTES)
            if still is None:
                port.count("picture_over_budget")
                return
            picture = _picture(still, captured_at_ms, capture, port.name, is_small=is_small, full_id=full_id)
            await port.submit(picture.pack(), precedence=precedence, captured_at_ms=captured_at_ms)

        try:
            await submit(budget_bytes, None, is_small=follows_full)
            if follows_full:
                await submit(FULL_BYTES, Precedence.DEFERRED, is_small=False)
        except RefusedError as error:  # the next still comes by itself, newer than this one
            port.unavailable(f"picture not accepted: {error}")
        else:
            port.available()


def _picture(
    still: "Still", captured_at_ms: int, capture: "Capture", camera: str, *, is_small: bool, full_id: str
) -> Picture:
    from edge_agent.video.capture import SourceKind

    is_file = capture.source.kind is SourceKind.FILE
    return Picture(
        image=still.image,
        mime=still.mime,
        captured_at_ms=captured_at_ms,
        width=still.width,
        height=still.height,
        caption=f"recording: {capture.source.label}"[:200] if is_file else "",  # played, so it is not what happens now
        camera=camera,
        is_small=is_small,
        full_id=full_id,
    )


def _waker(news: asyncio.Event) -> Callable[[], None]:
    """A function for another thread that sets ``news`` in this loop."""
    loop = asyncio.get_running_loop()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(news.set)

    return wake


async def _wait(news: asyncio.Event, timeout_s: float) -> None:
    """Until ``news`` is set or the time has passed; clears it."""
    try:
        async with asyncio.timeout(timeout_s):
            await news.wait()
    except TimeoutError:
        pass  # time for the next still, or to look whether the camera still delivers
    news.clear()


def _count_drops(capture: "Capture", port: DriverPort) -> None:
    for name, number in capture.take_drops().items():
        port.count(name, number)

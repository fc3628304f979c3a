"""An RTSP client behind 4G: PyAV watches a camera that GStreamer serves, over TCP as cameras behind NAT are watched.

A picture that comes is not yet a live picture: on a link too slow for it the queue grows, and people look at the past.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest

from examples.bad_links.worse import worse
from link_sim.assertions import assert_delivered_within
from link_sim.real_time.live_links import LiveLinks

FRAMES = 50  # five seconds
PATIENCE_S = 5.0
CELL = "4g-congested"  # 2.5 Mbit/s
SERVER = Path(__file__).with_name("rtsp_server.py")

pytestmark = [pytest.mark.slow, pytest.mark.device]


@asynccontextmanager
async def camera(python: Path) -> AsyncIterator[tuple[str, int]]:
    """An RTSP server in a process of its own, as its address."""
    process = await asyncio.create_subprocess_exec(python, SERVER, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            port = int(await process.stdout.readline())
        yield "127.0.0.1", port
    finally:
        process.kill()
        await process.communicate()


def watch(url: str) -> tuple[dict[int, float], dict[int, float]]:
    """When each frame was taken, by the camera's clock, and when it was there, both from the first frame on."""
    taken_s: dict[int, float] = {}
    arrived_s: dict[int, float] = {}
    options = {"rtsp_transport": "tcp", "fflags": "nobuffer", "analyzeduration": "0"}
    with av.open(url, options=options, timeout=(PATIENCE_S, PATIENCE_S)) as container:
        started_s = 0.0
        for frame in container.decode(video=0):
            assert frame.time is not None
            started_s = started_s or time.monotonic() - frame.time
            taken_s[len(taken_s)] = frame.time
            arrived_s[len(arrived_s)] = time.monotonic() - started_s
            if len(arrived_s) == FRAMES:
                break
    return taken_s, arrived_s


@pytest.mark.parametrize(
    "times",
    [
        1,
        pytest.param(
            10, marks=pytest.mark.xfail(raises=(AssertionError, av.FFmpegError), strict=True, reason="ten times worse")
        ),
    ],
)
async def test_the_picture_stays_live(link: LiveLinks, require: Callable[[str], Path], times: int) -> None:
    async with camera(require("gst-rtsp-server")) as address, link.tcp(worse(CELL, times), to=address) as proxy:
        taken_s, arrived_s = await asyncio.to_thread(watch, f"rtsp://{proxy.address}/camera")
    assert len(arrived_s) == FRAMES
    assert_delivered_within(taken_s, arrived_s, 0.8)

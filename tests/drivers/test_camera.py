"""The camera driver on a real clip, on cameras that cannot be read, and on a real RTSP stream."""

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest

from drivers.camera import BUDGET_LEAST_BYTES, FULL_BYTES, CameraDriver, _Saver
from edge_agent.core.bundle import Precedence
from edge_agent.ports import PluginLostError
from edge_agent.telemetry.payloads import Picture
from tests.drivers.recording_port import WAIT_S, RecordingPort, full_table, stopped

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "examples/demo/media/car-detection.mp4"


def driver_of(source: object, **settings: object) -> CameraDriver:
    return CameraDriver(full_table(CameraDriver.SETTINGS, source=str(source), **settings))


@asynccontextmanager
async def running(port: RecordingPort, driver: CameraDriver) -> AsyncIterator[None]:
    run = asyncio.create_task(driver.run(port), name="camera")
    try:
        yield
    finally:
        await stopped(run)


def is_shown(picture: Picture) -> bool:
    with av.open(io.BytesIO(picture.image)) as container:
        frame = next(container.decode(video=0))
        return (frame.width, frame.height) == (picture.width, picture.height)


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.slow
async def test_stills_of_a_file_come_at_their_interval_and_are_labelled(tmp_path: Path) -> None:
    port = RecordingPort(data_dir=tmp_path, name="mast", granted=20_000)
    async with running(port, driver_of(CLIP, interval_s=0.5)):
        await port.until(lambda: len(port.submitted) >= 3)
    pictures = port.pictures
    assert all(is_shown(picture) for picture in pictures)
    assert {picture.caption for picture in pictures} == {"recording: car-detection.mp4"}
    assert {(picture.camera, picture.is_small, picture.full_id) for picture in pictures} == {("mast", False, "")}
    assert all(len(each.payload) <= 20_000 for each in port.submitted)
    assert all(port.clock_ms - 1000 <= picture.captured_at_ms <= port.clock_ms for picture in pictures)
    assert [each.captured_at_ms for each in port.submitted] == [picture.captured_at_ms for picture in pictures]
    assert port.states[0] == "available"
    assert files_in(tmp_path)
    assert not port.counts


@pytest.mark.slow
@pytest.mark.parametrize(("granted", "most_bytes"), [(0, BUDGET_LEAST_BYTES), (4_000, 3_000), (10_000_000, 400_000)])
async def test_size_follows_the_grant_within_its_bounds(tmp_path: Path, granted: int, most_bytes: int) -> None:
    port = RecordingPort(data_dir=tmp_path, granted=granted)
    async with running(port, driver_of(CLIP, interval_s=0.5, record=False)):
        await port.until(lambda: len(port.submitted) >= 2)
    assert all(len(each.payload) <= most_bytes for each in port.submitted)
    assert all(is_shown(picture) for picture in port.pictures)
    assert not files_in(tmp_path)


@pytest.mark.slow
async def test_small_picture_is_followed_by_a_full_one_once_that_is_paid_for(tmp_path: Path) -> None:
    port = RecordingPort(data_dir=tmp_path, granted=7_999)
    driver = driver_of(CLIP, interval_s=0.5, record=False)
    driver._saver.saved_bytes = FULL_BYTES - 3_000  # two small grants before a full picture is paid for
    async with running(port, driver):
        await port.until(lambda: any(each.precedence is Precedence.DEFERRED for each in port.submitted))
    first, small, full = port.pictures
    assert (first.is_small, small.is_small, full.is_small) == (False, True, False)
    assert small.full_id == full.full_id != first.full_id == ""
    assert small.captured_at_ms == full.captured_at_ms
    assert len(small.image) < len(full.image) <= FULL_BYTES


def test_full_pictures_cost_no_more_than_small_ones_leave() -> None:
    saver, grants, fulls = _Saver(), 0, 0
    while fulls < 3:
        grants += 1
        fulls += saver.save(2_000)
    small_bytes = grants * 2_000 * 0.75
    assert small_bytes + fulls * FULL_BYTES <= grants * 2_000


@pytest.mark.slow
async def test_refused_picture_is_shown_and_the_next_one_clears_it(tmp_path: Path) -> None:
    port = RecordingPort(data_dir=tmp_path, refuses=True)
    async with running(port, driver_of(CLIP, interval_s=0.5, record=False)):
        await port.until(lambda: bool(port.states))
        port.refuses = False
        await port.until(lambda: bool(port.submitted) and port.states[-1] == "available")
    assert port.states[0] == "picture not accepted: store_full: 0 bytes free"


async def test_unreadable_camera_is_lost_by_its_name(tmp_path: Path) -> None:
    port = RecordingPort(data_dir=tmp_path)
    for source, reason in (
        ("/dev/video97", "/dev/video97: No such file or directory"),
        (tmp_path / "absent.mp4", "absent.mp4: No such file or directory"),
        ("rtsp://kit:secret@127.0.0.1:1/live", "rtsp://127.0.0.1:1/live: Connection refused"),
    ):
        with pytest.raises(PluginLostError, match=reason):
            async with asyncio.timeout(WAIT_S):
                await driver_of(source).run(port)
        assert port.states[-1] == reason


@pytest.mark.slow
def test_base_install_says_what_is_missing() -> None:
    """Without PyAV the driver can be imported and configured, and says what to install."""
    script = """
import asyncio, sys
sys.modules["av"] = None
from drivers.camera import CameraDriver
from edge_agent.ports import PluginLostError
from tests.drivers.recording_port import RecordingPort, full_table
port = RecordingPort()
try:
    asyncio.run(CameraDriver(full_table(CameraDriver.SETTINGS, source="x.mp4")).run(port))
except PluginLostError as error:
    print(error, port.states)
"""
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=True)
    text = "needs the extra 'video': pip install lifeline-edge[video]"
    assert ended.stdout.strip() == f'{text} ["{text}"]'

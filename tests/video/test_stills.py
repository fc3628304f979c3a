"""Stills of a real clip: within their budget, decodable, AVIF better than JPEG, and shown by a browser."""

import base64
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from playwright import sync_api

from edge_agent.video import stills
from edge_agent.video.stills import StillEncoder

CLIP = Path(__file__).parents[2] / "examples/demo/media/car-detection.mp4"


def frame_at(second: float) -> VideoFrame:
    with av.open(str(CLIP)) as container:
        for frame in container.decode(video=0):
            if frame.time >= second:
                return frame
    raise AssertionError("the clip is shorter")


@pytest.fixture(name="frame", scope="module")
def fixture_frame() -> VideoFrame:
    return frame_at(6.0)


def luma_psnr(frame: VideoFrame, image: bytes) -> float:
    """Against the full frame, at its size."""
    with av.open(io.BytesIO(image)) as container:
        shown = next(container.decode(video=0)).reformat(width=frame.width, height=frame.height)
    difference = frame.to_ndarray(format="gray").astype(float) - shown.to_ndarray(format="gray").astype(float)
    return float(10 * np.log10(255**2 / (difference**2).mean()))


@pytest.mark.slow
@pytest.mark.parametrize("with_avif", [True, False])
@pytest.mark.parametrize("budget_bytes", [1_500, 4_000, 16_000, 100_000])
def test_still_fits_its_budget_and_is_a_whole_picture(frame: VideoFrame, budget_bytes: int, with_avif: bool) -> None:
    still = StillEncoder(with_avif=with_avif).encode(frame, budget_bytes)
    assert still is not None
    assert len(still.image) <= budget_bytes
    assert still.mime == ("image/avif" if with_avif else "image/jpeg")
    with av.open(io.BytesIO(still.image)) as container:
        shown = next(container.decode(video=0))
    assert (shown.width, shown.height) == (still.width, still.height)
    assert luma_psnr(frame, still.image) > 25


@pytest.mark.slow
def test_more_bytes_never_look_worse(frame: VideoFrame) -> None:
    made = [StillEncoder().encode(frame, budget_bytes) for budget_bytes in (1_000, 4_000, 16_000)]
    quality = [luma_psnr(frame, still.image) for still in made if still is not None]
    assert quality == sorted(quality)
    assert len(quality) == 3


@pytest.mark.slow
@pytest.mark.parametrize("budget_bytes", [2_000, 8_000])
def test_avif_beats_jpeg_by_a_decibel(frame: VideoFrame, budget_bytes: int) -> None:
    """Why the encoder is AVIF: the same bytes, measured."""
    avif = StillEncoder().encode(frame, budget_bytes)
    jpeg = StillEncoder(with_avif=False).encode(frame, budget_bytes)
    assert avif is not None
    assert jpeg is not None
    assert luma_psnr(frame, avif.image) > luma_psnr(frame, jpeg.image) + 1


def test_no_time_left_gives_the_smallest_picture(frame: VideoFrame) -> None:
    still = StillEncoder(deadline_s=-1.0).encode(frame, 100_000)
    assert still is not None
    assert still.width == stills.WIDTHS_PX[-1]


def test_impossible_budget_gives_none(frame: VideoFrame) -> None:
    assert StillEncoder().encode(frame, 100) is None


def test_odd_sizes_become_even() -> None:
    frame = av.VideoFrame(333, 221, "rgb24")
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    for with_avif in (True, False):
        still = StillEncoder(with_avif=with_avif).encode(frame, 10_000)
        assert still is not None
        assert (still.width % 2, still.height % 2) == (0, 0)


@pytest.mark.browser
def test_a_browser_shows_avif_of_both_modes(frame: VideoFrame, require: Callable[[str], Path]) -> None:
    """Chromium decodes both kinds of AVIF to the size and mean colour of the frame."""
    encoder = StillEncoder()
    made = [encoder.encode(frame, budget_bytes) for budget_bytes in (2_000, 30_000)]
    mean = frame.reformat(width=2, height=2, format="rgb24").to_ndarray().reshape(-1, 3).mean(axis=0)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        for still in made:
            assert still is not None
            url = f"data:{still.mime};base64,{base64.b64encode(still.image).decode()}"
            width, height, *colour = page.evaluate(SHOW, url)
            assert (width, height) == (still.width, still.height)
            assert colour == pytest.approx(list(mean), abs=6)
        browser.close()


SHOW = """async (url) => {
  const image = new Image(); image.src = url; await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d"); context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const sums = [0, 0, 0];
  for (let at = 0; at < pixels.length; at += 4) for (let c = 0; c < 3; c++) sums[c] += pixels[at + c];
  return [canvas.width, canvas.height, ...sums.map((sum) => sum / (pixels.length / 4))];
}"""


@pytest.mark.skipif(sys.platform != "linux", reason="the policy of a thread is Linux's")
def test_no_thread_keeps_real_time_priority_after_a_picture() -> None:
    """SVT-AV1 takes SCHED_FIFO 99 for its caller when it runs as root; what such a thread starts starves a machine."""
    if not stills.has_avif():
        pytest.xfail("this PyAV has no SVT-AV1")
    frame = VideoFrame(320, 240, "yuv420p")
    assert StillEncoder().encode(frame, 20_000) is not None
    policies = {os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")}
    assert policies == {os.SCHED_OTHER}

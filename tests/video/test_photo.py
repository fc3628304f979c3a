"""A photo's small version stands upright and fits; what is no photo costs the process that looked at it and no more."""

import subprocess
import sys
from fractions import Fraction

import av
import msgpack
import numpy
import pytest

from edge_agent.video.photo import shrink

pytestmark = pytest.mark.slow
BUDGET_BYTES = 8_000


def shot(width: int, height: int, turn: int = 1) -> bytes:
    """A JPEG whose left half is bright; ``turn`` is the EXIF orientation a phone writes (6: held upright)."""
    plane = numpy.full((height, width), 40, numpy.uint8)
    plane[:, : width // 2] = 220
    frame = av.VideoFrame.from_ndarray(numpy.dstack((plane, plane, plane)), "rgb24").reformat(format="yuvj420p")
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt, context.time_base = width, height, "yuvj420p", Fraction(1, 1)
    frame.pts = 0
    image = b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None)))
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + turn.to_bytes(2, "big") + b"\x00\x00"
    exif = b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01" + entry + b"\x00\x00\x00\x00"
    return image[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + image[2:]


def seen(image: bytes) -> "numpy.ndarray[tuple[int, int], numpy.dtype[numpy.uint8]]":
    """The luma of a small version."""
    import io

    with av.open(io.BytesIO(image), mode="r") as container:
        return next(container.decode(video=0)).to_ndarray(format="gray")


def test_a_photo_fits_its_budget_and_keeps_its_shape() -> None:
    small = shrink(shot(1600, 1200), BUDGET_BYTES)
    assert small is not None
    assert (small["full_width"], small["full_height"]) == (1600, 1200)
    assert (small["width"], small["height"]) == (640, 480)
    image = small["image"]
    assert isinstance(image, bytes)
    assert len(image) <= BUDGET_BYTES
    luma = seen(image)
    assert luma[240, 100] > luma[240, 540] + 100


@pytest.mark.parametrize(("turn", "bright"), [(6, "top"), (8, "bottom"), (3, "right")])
def test_a_photo_taken_upright_is_shown_upright(turn: int, bright: str) -> None:
    small = shrink(shot(1600, 1200, turn), BUDGET_BYTES)
    assert small is not None
    assert isinstance(small["image"], bytes)
    luma = seen(small["image"])
    height, width = luma.shape
    assert (height > width) == (turn in (6, 8))
    halves = {
        "top": luma[: height // 3].mean(),
        "bottom": luma[-height // 3 :].mean(),
        "left": luma[:, : width // 3].mean(),
        "right": luma[:, -width // 3 :].mean(),
    }
    assert max(halves, key=lambda each: halves[each]) == bright


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, b"GIF89a", shot(64, 64)[:200]]
)
def test_what_is_no_photo_gives_none_and_no_traceback(content: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent.video.photo", str(BUDGET_BYTES)],
        input=content, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert msgpack.unpackb(done.stdout) is None or content.startswith(b"\xff\xd8")

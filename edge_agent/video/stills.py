"""Stills: the best picture of a frame that fits a budget of bytes.

AVIF by SVT-AV1 where PyAV brings it, else JPEG. Measured on two clips with PyAV 18.1 (SVT-AV1 4.1): best quality that
fits, PSNR of the luma against the full frame on the plain / the detailed clip, CPU time an encode on one EPYC core:

    budget, width     SVT-AV1 rtc, preset 10    SVT-AV1 avif, preset 8    JPEG (mjpeg)         AVIF (OpenCV, speed 9)
    2,000 B, 320      41.3 / 30.8 dB  10 ms     41.4 / 30.3 dB   5 ms     39.1 / no fit 1 ms   40.3 / 29.4 dB  2 ms
    8,000 B, 640      46.7 / 37.3 dB  26 ms     46.6 / 36.9 dB  11 ms     45.4 / 32.6 dB 2 ms  44.6 / 35.7 dB  7 ms
    16,000 B, 768     51.0 / 44.3 dB  70 ms     51.4 / 43.2 dB  16 ms     48.5 / 38.8 dB 2 ms  46.9 / 40.6 dB 12 ms

So the rtc mode makes small pictures, where each byte counts, and the avif mode large ones, where the time does.
"""

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import av
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

WIDTHS_PX = (1280, 960, 768, 640, 480, 320, 240, 160)
_LEAST_BITS_PER_PIXEL = 0.1  # below it even a plain scene needs the next smaller size
_GOOD_ENOUGH_RATIO = 0.9  # a picture that fills this much of its budget is not worth another encode
_RTC_MAX_PIXELS = 640 * 480
_BT601 = 6  # SMPTE 170M matrix and primaries in ITU-T H.273; stated, so that no viewer has to guess
_PIXEL_SIZE = 2  # 4:2:0 has one colour sample for two pixels, so sides are even


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """One encoded picture: ``image`` is a whole file of type ``mime``."""

    image: bytes
    mime: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codec:
    """One way to encode. Quantizers count from best to worst; ``worst`` still looks like its scene."""

    mime: str
    pixel_format: str
    color_range: ColorRange
    best: int
    worst: int
    coarsest: int
    encode: Callable[[VideoFrame, int], bytes]


@dataclass(slots=True, kw_only=True)
class StillEncoder:
    """Encodes frames to budgets; calls block for at most about ``deadline_s`` and belong into a worker thread."""

    max_width: int = WIDTHS_PX[0]
    deadline_s: float = 1.0
    with_avif: bool = True

    def encode(self, frame: VideoFrame, budget_bytes: int) -> Still | None:
        """The largest, then finest picture within ``budget_bytes``; None if not even the smallest fits."""
        is_avif = self.with_avif and has_avif()
        until_s = time.monotonic() + self.deadline_s
        widths = _widths(min(frame.width, self.max_width))
        for width in widths:
            is_last = width == widths[-1]
            height = _even(frame.height * width / frame.width)
            is_hopeless = budget_bytes * 8 < _LEAST_BITS_PER_PIXEL * width * height
            if not is_last and (is_hopeless or time.monotonic() > until_s):
                continue
            codec = (_AVIF_SMALL if width * height <= _RTC_MAX_PIXELS else _AVIF_LARGE) if is_avif else _JPEG
            picture = frame.reformat(
                width=width,
                height=height,
                format=codec.pixel_format,
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=codec.color_range,
            )
            image = _squeeze(picture, budget_bytes, codec, codec.coarsest if is_last else codec.worst, until_s)
            if image is not None:
                return Still(image=image, mime=codec.mime, width=width, height=height)
        return None


def has_avif() -> bool:
    """Whether this PyAV can write AVIF by SVT-AV1."""
    return "libsvtav1" in av.codecs_available and "avif" in av.formats_available


def _widths(widest: int) -> list[int]:
    widest = _even(widest)
    return [widest, *(width for width in WIDTHS_PX if width < widest)]


def _even(size: float) -> int:
    return max(_PIXEL_SIZE, round(size / _PIXEL_SIZE) * _PIXEL_SIZE)


def _squeeze(picture: VideoFrame, budget_bytes: int, codec: _Codec, worst: int, until_s: float) -> bytes | None:
    """The finest encoding within the budget, None if the coarsest allowed one exceeds it. Bisects until ``until_s``."""
    fitting = codec.encode(picture, worst)
    if len(fitting) > budget_bytes:
        return None
    low, high = codec.best, worst - 1
    while low <= high and len(fitting) < _GOOD_ENOUGH_RATIO * budget_bytes and time.monotonic() < until_s:
        middle = (low + high) // 2
        image = codec.encode(picture, middle)
        if len(image) <= budget_bytes:
            fitting, high = image, middle - 1
        else:
            low = middle + 1
    return fitting


def _encode_avif(picture: VideoFrame, quantizer: int, *, preset: int, mode: str) -> bytes:
    os.environ.setdefault("SVT_LOG", "1")  # errors only: else it writes twenty lines to stderr for each picture
    file = io.BytesIO()
    with av.open(file, "w", format="avif") as container:
        options = {"crf": str(quantizer), "preset": str(preset), "svtav1-params": f"{mode}:lp=1"}  # lp: one thread
        stream = container.add_stream("libsvtav1", rate=1, options=options)
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, picture.format.name
        context = stream.codec_context
        context.color_range, context.colorspace = int(ColorRange.MPEG), _BT601
        context.color_primaries = context.color_trc = _BT601
        picture.pts, picture.time_base = 0, Fraction(1, 1)
        try:
            packets = stream.encode(picture)
            _leave_real_time()
            for packet in (*packets, *stream.encode(None)):
                container.mux(packet)
        finally:
            _leave_real_time()
    return file.getvalue()


def _leave_real_time() -> None:
    """Give up the real-time priority that SVT-AV1 takes for its threads and its caller when it runs as root.

    Everything started from such a thread would have it too, and could starve the agent and the machine.
    """
    if sys.platform != "linux":
        return
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # a thread that has ended; or nothing was taken
            if os.sched_getscheduler(int(task)) == os.SCHED_FIFO:
                os.sched_setscheduler(int(task), os.SCHED_OTHER, os.sched_param(0))


def _encode_jpeg(picture: VideoFrame, quantizer: int) -> bytes:
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = picture.width, picture.height, picture.format.name
    context.time_base = Fraction(1, 1)
    context.options = {"qmin": str(quantizer), "qmax": str(quantizer), "huffman": "optimal"}
    picture.pts, picture.time_base = 0, Fraction(1, 1)
    return b"".join(bytes(packet) for packet in (*context.encode(picture), *context.encode(None)))


_AVIF_SMALL = _Codec(
    mime="image/avif",
    pixel_format="yuv420p",
    color_range=ColorRange.MPEG,
    best=4,
    worst=53,
    coarsest=63,
    encode=partial(_encode_avif, preset=10, mode="rtc=1"),
)
_AVIF_LARGE = _Codec(
    mime="image/avif",
    pixel_format="yuv420p",
    color_range=ColorRange.MPEG,
    best=2,
    worst=34,
    coarsest=63,
    encode=partial(_encode_avif, preset=8, mode="avif=1"),
)
_JPEG = _Codec(
    mime="image/jpeg",
    pixel_format="yuvj420p",
    color_range=ColorRange.JPEG,
    best=2,
    worst=16,
    coarsest=31,
    encode=_encode_jpeg,
)

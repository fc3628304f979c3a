"""Capture and recording of real clips: newest frame, real time, loops, segments, bounds, and cameras that fail."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from edge_agent.video.capture import Capture, Source, SourceKind
from edge_agent.video.recorder import Recorder

CLIP = Path(__file__).parents[2] / "examples/demo/media/car-detection.mp4"
WAIT_S = 30.0


def make_clip(
    path: Path, *, codec: str = "libx264", frames: int = 20, rate: int = 10, size: int = 64, gop: int = 5
) -> Path:
    """A short clip whose n-th frame has the brightness 10 n."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"preset": "ultrafast"} if codec == "libx264" else {})
        stream.width = stream.height = size
        stream.pix_fmt, stream.codec_context.gop_size = "yuv420p", gop
        for number in range(frames):
            frame = av.VideoFrame(size, size, "yuv420p")
            for plane, value in zip(frame.planes, (10 * number % 250, 128, 128), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class News:
    """Waits for facts about a capture, woken by its notifications."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def until(self, fact: Callable[[], object], *, poll_s: float | None = None) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while not fact():
            assert time.monotonic() < deadline_s
            self.event.wait(poll_s or WAIT_S)
            self.event.clear()


@contextmanager
def capturing(
    source: Path | str, *, interval_s: float = 1.0, recorder: Recorder | None = None
) -> Iterator[tuple[Capture, News]]:
    news = News()
    capture = Capture(source=Source(str(source)), interval_s=interval_s, notify=news.event.set, recorder=recorder)
    capture.start()
    try:
        yield capture, news
    finally:
        capture.stop()
        capture.join(WAIT_S)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mp4"))


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(
    ("url", "kind", "label"),
    [
        ("rtsp://admin:pa%40ss@10.0.0.2:554/live", SourceKind.STREAM, "rtsp://10.0.0.2:554/live"),
        ("RTSP://10.0.0.2/a@b", SourceKind.STREAM, "RTSP://10.0.0.2/a@b"),
        ("/dev/video0", SourceKind.DEVICE, "/dev/video0"),
        ("/clips/car.mp4", SourceKind.FILE, "car.mp4"),
    ],
)
def test_source_is_named_without_its_password(url: str, kind: SourceKind, label: str) -> None:
    assert Source(url).kind is kind
    assert Source(url).label == label


@pytest.mark.slow
def test_file_plays_in_real_time_and_loops(tmp_path: Path) -> None:
    """Half a second of clip: the newest frame follows the clock; after the bright end comes the dark start again."""
    clip = make_clip(tmp_path / "clip.mkv", frames=10, rate=20)

    def brightness(capture: Capture) -> int:
        captured = capture.newest()
        return bytes(captured.frame.planes[0])[0] if captured else -1

    with capturing(clip, interval_s=0.1) as (capture, news):
        started_s = time.monotonic()
        news.until(lambda: brightness(capture) >= 50, poll_s=0.01)
        assert time.monotonic() - started_s >= 0.25  # the sixth frame at 20 a second
        news.until(lambda: brightness(capture) < 30, poll_s=0.01)
        assert not capture.failure


@pytest.mark.slow
def test_close_key_frames_are_all_that_is_decoded(tmp_path: Path) -> None:
    """Key frames each 0.25 s and a still each 10 s: once that is known, only frames 0, 5, 10 and 15 are seen."""
    clip = make_clip(tmp_path / "clip.mkv", frames=20, rate=20, gop=5)
    seen: list[float] = []
    with capturing(clip, interval_s=10.0) as (capture, news):

        def is_again_at_the_start() -> bool:
            captured = capture.newest()
            if captured is not None and captured.captured_s not in seen:
                seen.append(captured.captured_s)
            return len(seen) >= 12

        news.until(is_again_at_the_start, poll_s=0.01)
    gaps_s = [later - earlier for earlier, later in pairwise(seen[7:])]
    assert min(gaps_s) > 0.15


@pytest.mark.slow
def test_recording_is_a_copy_in_playable_segments(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=40, rate=20, gop=5)
    folder = tmp_path / "recorded"
    folder.mkdir()
    recorder = Recorder(folder=folder, max_bytes=10_000_000, segment_s=0.5)
    with capturing(clip, recorder=recorder) as (_, news):
        news.until(lambda: len(segments(folder)) >= 4, poll_s=0.02)
    for segment in segments(folder)[:3]:
        assert frames_in(segment) in (10, 15)
        with av.open(str(segment)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            assert next(container.demux(video=0)).is_keyframe


@pytest.mark.slow
def test_recording_stays_within_its_bound_and_counts_what_went(tmp_path: Path) -> None:
    """Segments of an earlier run count as well, and go first."""
    (tmp_path / "20200101T000000000Z.mp4").write_bytes(bytes(150_000))
    recorder = Recorder(folder=tmp_path, max_bytes=200_000, segment_s=0.1)
    clip = make_clip(tmp_path / "clip.mkv", frames=20, rate=20, gop=2, size=256)
    with capturing(clip, recorder=recorder) as (capture, news):
        drops = capture.take_drops()

        def total_bytes() -> int:
            return sum(segment.stat().st_size for segment in segments(tmp_path))

        def has_deleted() -> bool:
            drops.update(capture.take_drops())
            return drops["recording_deleted"] >= 1 and len(segments(tmp_path)) >= 3

        news.until(has_deleted, poll_s=0.02)
        assert total_bytes() <= 200_000
    assert not (tmp_path / "20200101T000000000Z.mp4").exists()


@pytest.mark.slow
def test_raw_frames_are_encoded_for_the_recording(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", codec="rawvideo", frames=20, rate=20)
    folder = tmp_path / "recorded"
    folder.mkdir()
    with capturing(clip, recorder=Recorder(folder=folder, max_bytes=10_000_000, segment_s=1.0)) as (_, news):
        news.until(lambda: len(segments(folder)) >= 2, poll_s=0.02)
    assert frames_in(segments(folder)[0]) >= 10
    with av.open(str(segments(folder)[0])) as container:
        assert container.streams.video[0].codec_context.name == "h264"


@pytest.mark.slow
def test_recording_that_fails_leaves_the_pictures(tmp_path: Path) -> None:
    recorder = Recorder(folder=tmp_path / "absent", max_bytes=10_000_000)
    with capturing(CLIP, recorder=recorder) as (capture, news):
        news.until(lambda: capture.newest() is not None)
        drops = capture.take_drops()
        news.until(lambda: drops.update(capture.take_drops()) or drops["recording_failed"], poll_s=0.02)
        assert not capture.failure


def test_missing_file_fails_by_its_name(tmp_path: Path) -> None:
    with capturing(tmp_path / "absent.mp4") as (capture, news):
        news.until(lambda: capture.failure)
    assert capture.failure == "absent.mp4: No such file or directory"


def test_file_that_is_no_video_fails(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_bytes(b"not a video" * 100)
    with capturing(tmp_path / "notes.mp4") as (capture, news):
        news.until(lambda: capture.failure)
    assert capture.failure.startswith("notes.mp4: ")


def test_cut_clip_is_shown_up_to_its_damage_and_goes_on(tmp_path: Path) -> None:
    """A clip with a hole of random bytes: what cannot be decoded is counted, the rest is seen."""
    content = bytearray(make_clip(tmp_path / "clip.mkv", frames=40, rate=100, size=256, gop=3).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(range(250)) * 12
    (tmp_path / "broken.mkv").write_bytes(content)
    with capturing(tmp_path / "broken.mkv") as (capture, news):
        news.until(lambda: capture.newest() is not None or capture.failure)
        assert capture.newest() is not None


def test_unreachable_stream_fails_without_its_password() -> None:
    with capturing("rtsp://user:secret@127.0.0.1:1/live") as (capture, news):
        news.until(lambda: capture.failure)
    assert capture.failure == "rtsp://127.0.0.1:1/live: Connection refused"

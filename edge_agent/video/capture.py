"""Capture: a thread that follows one camera, keeps its newest frame, and hands its packets to a recorder.

A file plays in real time and starts again at its end. Whoever wants a picture takes the newest frame and its age; what
nobody took is forgotten, so a slow reader never makes pictures late.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edge_agent.video.recorder import Recorder

OPEN_S = 10.0
READ_S = 5.0  # a camera that sends nothing for so long is lost; also bounds how long a stop takes
_CORRUPT_IN_A_ROW = 250  # ten seconds of nothing but undecodable packets: not a disturbance but a wrong stream
_STREAM = re.compile(r"(rtsps?|rtmps?|https?|udp|rtp|srt)://", re.IGNORECASE)


class SourceKind(Enum):
    """Where pictures come from."""

    STREAM = "stream"
    DEVICE = "device"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Source:
    """A camera's address: a URL, a V4L2 device, or a file."""

    url: str

    @property
    def kind(self) -> SourceKind:
        """What the address looks like."""
        if _STREAM.match(self.url):
            return SourceKind.STREAM
        return SourceKind.DEVICE if self.url.startswith("/dev/") else SourceKind.FILE

    @property
    def label(self) -> str:
        """The address for people: without the user and password of a URL, a file by its name only."""
        if self.kind is SourceKind.FILE:
            return Path(self.url).name
        return re.sub(r"(?<=://)[^/]*@", "", self.url)


@dataclass(frozen=True, slots=True)
class Captured:
    """A decoded frame and when it came, by ``time.monotonic``."""

    frame: VideoFrame
    captured_s: float


@dataclass(slots=True, kw_only=True)
class Capture:
    """Follows ``source`` until stopped. ``notify`` is called from the thread at the first frame and at the end.

    Pictures are wanted every ``interval_s``: a camera with key frames much closer than that is decoded only at those.
    """

    source: Source
    interval_s: float
    notify: Callable[[], None]
    recorder: Recorder | None = None
    failure: str = ""
    _newest: Captured | None = None
    _drops: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _last_key_s: float | None = None
    _is_key_only: bool = False
    _corrupt: int = 0

    def start(self) -> None:
        """Begin; never blocks."""
        self._thread = threading.Thread(target=self._run, name=f"capture {self.source.label}")
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; never blocks. It ends within READ_S even if the camera hangs."""
        self._is_stopped.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, at most so long."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def newest(self) -> Captured | None:
        """The last frame decoded, None before the first."""
        with self._lock:
            return self._newest

    def take_drops(self) -> Counter[str]:
        """What was dropped since the last call, by name."""
        with self._lock:
            drops, self._drops = self._drops, Counter()
        return drops

    def _run(self) -> None:
        try:
            while not self._is_stopped.is_set():
                self._follow_once()
                if self.source.kind is not SourceKind.FILE:
                    self.failure = f"{self.source.label}: the stream ended"
                    break
        except av.error.ExitError:
            self.failure = f"{self.source.label}: nothing came for {READ_S:g} s"
        except (av.FFmpegError, OSError) as error:
            self.failure = f"{self.source.label}: {error.strerror or type(error).__name__}"
        except _UnreadableError as error:
            self.failure = f"{self.source.label}: {error}"
        finally:
            if self.recorder is not None:
                self.recorder.close()
            self._collect_drops()
            self.notify()

    def _follow_once(self) -> None:
        with self._open() as container:
            if not container.streams.video:
                raise _UnreadableError("no video in it")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # the kit has two cores and other work
            if self.recorder is not None:
                self.recorder.begin(stream)
            started_s = time.monotonic()
            frames, last_s = 0, 0.0
            for packet in container.demux(stream):
                if packet.size == 0:  # end of stream
                    self._is_stopped.wait(last_s)  # the last frame of a file is as long as the others
                    continue
                if self._wait_for(packet, stream, started_s):
                    return
                if self.source.kind is SourceKind.FILE and stream.time_base is not None:
                    last_s = float((packet.duration or 0) * stream.time_base)
                frames += self._take(packet, stream)
            if frames == 0:  # else a file without pictures would spin
                raise _UnreadableError("no picture could be decoded")

    def _open(self) -> InputContainer:
        options = {"analyzeduration": "1000000"}  # microseconds; the default of 5 s is how late every first picture is
        if self.source.url.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # over Wi-Fi, UDP loses packets of every large frame
        is_device = self.source.kind is SourceKind.DEVICE
        file_format = "v4l2" if is_device else None
        return av.open(self.source.url, format=file_format, options=options, timeout=(OPEN_S, READ_S))

    def _wait_for(self, packet: "Packet[VideoStream]", stream: VideoStream, started_s: float) -> bool:
        """Hold a file's packet until its time; whether to stop."""
        if self.source.kind is not SourceKind.FILE or packet.dts is None or stream.time_base is None:
            return self._is_stopped.is_set()
        due_s = started_s + float((packet.dts - (stream.start_time or 0)) * stream.time_base)
        return self._is_stopped.wait(max(0.0, due_s - time.monotonic()))

    def _take(self, packet: "Packet[VideoStream]", stream: VideoStream) -> int:
        """Decode and record one packet; how many frames it gave."""
        recorder = self.recorder
        must_decode = recorder is not None and recorder.wants_frames
        if packet.is_keyframe:
            self._note_key()
        frames: list[VideoFrame] = []
        if must_decode or packet.is_keyframe or not self._is_key_only:
            frames = self._decode(packet, stream)
        if frames:
            captured = Captured(frames[-1], time.monotonic())
            with self._lock:
                is_first, self._newest = self._newest is None, captured
            if is_first:
                self.notify()
        if recorder is not None:
            if must_decode:
                for frame in frames:
                    recorder.take_frame(frame)
            else:
                recorder.take_packet(packet)
            self._collect_drops()
        return len(frames)

    def _note_key(self) -> None:
        now_s = time.monotonic()
        if self._last_key_s is not None:
            self._is_key_only = now_s - self._last_key_s <= self.interval_s / 2
        self._last_key_s = now_s

    def _decode(self, packet: "Packet[VideoStream]", stream: VideoStream) -> list[VideoFrame]:
        context = stream.codec_context
        try:
            frames = context.decode(packet)
            if self._is_key_only:  # without the frames between, a decoder that reorders would hold this one back
                frames += context.decode(None)
                context.flush_buffers()
        except av.FFmpegError as error:
            self._corrupt += 1
            with self._lock:
                self._drops["video_corrupt"] += 1
            if self._corrupt >= _CORRUPT_IN_A_ROW:
                raise _UnreadableError(f"nothing can be decoded ({error.strerror})") from error
            return []
        if frames:
            self._corrupt = 0
        return frames

    def _collect_drops(self) -> None:
        if self.recorder is not None and self.recorder.drops:
            with self._lock:
                self._drops += self.recorder.drops
            self.recorder.drops.clear()


class _UnreadableError(Exception):
    """The camera opened but gives no picture; the text says why."""

"""Local recording: a camera's own stream in short fragmented MP4 segments, bounded in bytes, oldest deleted first.

Packets are copied as they are; a stream that MP4 cannot hold (raw frames of a V4L2 device) is encoded by x264. One
thread at a time uses a recorder: the capture thread.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

COPIED_CODECS = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg"})
_MP4_OPTIONS = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof",
    "frag_duration": "1000000",  # microseconds: a power cut loses at most one second
}
_X264_OPTIONS = {"preset": "veryfast", "crf": "23", "tune": "zerolatency"}  # every frame is written when it came
_RETRY_S = 30.0  # after a full or failing disk
_LARGEST_SEGMENT_RATIO = 0.25  # of all: a camera that sends no key frame must not fill the disk with one segment
_TICKS_PER_S = 1000


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Writes ``folder/UTC-START.mp4``, a new one at the first key frame after ``segment_s``.

    ``max_bytes`` bounds all segments together, those of earlier runs included. Drops: recording_deleted (segments),
    recording_failed, recording_cut (until the next key frame).
    """

    folder: Path
    max_bytes: int
    segment_s: float = 4.0
    drops: Counter[str] = field(default_factory=Counter)
    wants_frames: bool = False
    """Whether the camera's packets cannot be copied, so that ``take_frame`` is to be called instead."""
    _template: VideoStream | None = None
    _output: OutputContainer | None = None
    _stream: VideoStream | None = None
    _path: Path | None = None
    _started_s: float = 0.0
    _first_dts: int | None = 0
    _last_dts: int = 0
    _retry_at_s: float = 0.0

    def begin(self, template: VideoStream) -> None:
        """A camera was opened (again); its packets or frames follow."""
        self.close()
        self._template = template
        self.wants_frames = template.codec_context.name not in COPIED_CODECS

    def take_packet(self, packet: "Packet[VideoStream]") -> None:
        """Write one packet as it is; changes its times and its stream, so decode it before."""
        if self._template is None:
            return
        if packet.is_keyframe and self._is_due():
            self._rotate()
            self._first_dts, self._last_dts = packet.dts, -1
        if self._stream is None:
            return
        if packet.dts is None or packet.pts is None:  # RTSP tells no time of its first packets
            packet.pts = packet.dts = self._last_dts + 1
        else:
            if self._first_dts is None:
                self._first_dts = packet.dts - (packet.duration or 1)
            packet.pts -= self._first_dts
            packet.dts -= self._first_dts
        if packet.dts <= self._last_dts:  # a camera whose clock jumped back: MP4 cannot say so
            self._cut()
            return
        self._last_dts = packet.dts
        packet.stream = self._stream
        self._write([packet])

    def take_frame(self, frame: VideoFrame) -> None:
        """Encode and write one decoded frame, timed by its arrival."""
        if self._template is None:
            return
        if self._is_due():
            self._rotate()
            self._last_dts = -1
        if self._stream is None:
            return
        ticks = max(round((time.monotonic() - self._started_s) * _TICKS_PER_S), self._last_dts + 1)
        self._last_dts = ticks
        picture = frame.reformat(format="yuv420p")
        picture.pts, picture.time_base = ticks, Fraction(1, _TICKS_PER_S)
        try:
            self._write(self._stream.encode(picture))
        except (av.FFmpegError, OSError):  # a frame of another size than the first
            self._cut()

    def close(self) -> None:
        """End the segment; it stays playable even without this."""
        output, stream = self._output, self._stream
        self._output = self._stream = None
        if output is None:
            return
        try:
            if stream is not None and self.wants_frames:
                for packet in stream.encode(None):
                    output.mux(packet)
            output.close()
        except (av.FFmpegError, OSError):  # the disk is full or gone; what was written stays
            self._fail()

    def _is_due(self) -> bool:
        now_s = time.monotonic()
        if self._output is None:
            return now_s >= self._retry_at_s
        return now_s - self._started_s >= self.segment_s

    def _rotate(self) -> None:
        self.close()
        now = datetime.now(UTC)
        name = now.strftime("%Y%m%dT%H%M%S") + f"{now.microsecond // 1000:03d}Z"
        path = self.folder / f"{name}.mp4"
        try:
            self._make_room()
            output = av.open(str(path), "w", format="mp4", options=dict(_MP4_OPTIONS))
            self._stream = self._add_stream(output)
            output.start_encoding()  # makes the file now, so that a full disk is known now
        except (av.FFmpegError, OSError, ValueError):  # ValueError: MP4 takes no such codec
            self._fail()
            with contextlib.suppress(OSError):  # a disk that takes no file may not let go of one either
                path.unlink(missing_ok=True)
            return
        self._output, self._path, self._started_s = output, path, time.monotonic()

    def _add_stream(self, output: OutputContainer) -> VideoStream:
        template = self._template
        if template is None:
            raise ValueError("no camera")
        if not self.wants_frames:
            return output.add_stream_from_template(template)
        stream = output.add_stream("libx264", options=dict(_X264_OPTIONS))
        stream.width, stream.height = template.width // 2 * 2, template.height // 2 * 2
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        stream.codec_context.thread_count = 1
        return stream

    def _write(self, packets: "Iterable[Packet[VideoStream]]") -> None:
        if self._output is None or self._path is None:
            return
        try:
            for packet in packets:
                self._output.mux(packet)
            written_bytes = self._path.stat().st_size
        except (av.FFmpegError, OSError, ValueError):
            self.close()
            self._fail()
            return
        if written_bytes > self.max_bytes * _LARGEST_SEGMENT_RATIO:
            self._cut()

    def _cut(self) -> None:
        """End the segment now and wait for a key frame."""
        self.drops["recording_cut"] += 1
        self.close()

    def _fail(self) -> None:
        self.drops["recording_failed"] += 1
        self._output = self._stream = None
        self._retry_at_s = time.monotonic() + _RETRY_S

    def _make_room(self) -> None:
        """Delete the oldest segments until a largest new one fits. Raises OSError. O(segments)."""
        segments = sorted(self.folder.glob("*.mp4"))  # names are start times
        sizes = [segment.stat().st_size for segment in segments]
        allowed_bytes = self.max_bytes * (1 - _LARGEST_SEGMENT_RATIO)
        excess_bytes = sum(sizes) - allowed_bytes
        for segment, size_bytes in zip(segments, sizes, strict=True):
            if excess_bytes <= 0:
                return
            segment.unlink()
            self.drops["recording_deleted"] += 1
            excess_bytes -= size_bytes

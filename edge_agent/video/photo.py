"""A small version of a photo: ``python -m edge_agent.video.photo BYTES`` reads the file, writes one msgpack map.

A process of its own, because the file comes from outside: what makes a decoder crash or hang costs this process and
not the node, and a kit that sends no photo never loads a codec.
"""

import io
import sys

import av
import msgpack
from av.video.frame import VideoFrame

from edge_agent.video.stills import StillEncoder

PIXELS_MAX = 60_000_000  # a phone's largest; four times that is a bomb
_SMALL_WIDTH = 640


def shrink(image: bytes, budget_bytes: int) -> dict[str, object] | None:
    """``image``, ``mime``, ``width``, ``height`` of the small one and ``full_width``, ``full_height``, or None."""
    frame = _decode(image)
    if frame is None or frame.width * frame.height > PIXELS_MAX:
        return None
    encoder = StillEncoder(max_width=_SMALL_WIDTH)
    upright = _turn(frame)
    still = encoder.encode(upright, budget_bytes)
    if still is None:
        return None
    return {
        "image": still.image,
        "mime": still.mime,
        "width": still.width,
        "height": still.height,
        "full_width": frame.width,
        "full_height": frame.height,
    }


def _decode(image: bytes) -> VideoFrame | None:
    try:
        with av.open(io.BytesIO(image), mode="r") as container:
            return next(container.decode(video=0), None)
    except (av.error.FFmpegError, IndexError):  # not a file it knows, or one without a picture
        return None


def _turn(frame: VideoFrame) -> VideoFrame:
    """The picture as it was held: phones store it lying and say by how much it is turned."""
    turns = {90: ("cclock",), 180: ("cclock", "cclock"), 270: ("clock",)}.get(frame.rotation % 360, ())
    for turn in turns:
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        graph.link_nodes(source, graph.add("transpose", turn), graph.add("buffersink")).configure()
        graph.push(frame)
        turned = graph.pull()
        assert isinstance(turned, VideoFrame)  # what a video filter gives
        frame = turned
    return frame


if __name__ == "__main__":
    small = shrink(sys.stdin.buffer.read(), int(sys.argv[1]))
    sys.stdout.buffer.write(msgpack.packb(small))

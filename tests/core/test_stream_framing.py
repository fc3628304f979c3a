"""Frames on a byte stream: any split comes back, damage never makes a frame, memory is bounded, drops have names."""

import itertools
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core import stream_framing
from edge_agent.core.cobs import stuff
from edge_agent.core.stream_framing import StreamDeframer, StreamFrame, StreamFramer

MTU_BYTES = 300
_FRAMES = st.lists(st.tuples(st.binary(max_size=MTU_BYTES), st.booleans(), st.booleans()), max_size=8)


def deframer(drops: Counter[str], frame_max_bytes: int = MTU_BYTES) -> StreamDeframer:
    def count(name: str) -> None:
        drops[name] += 1

    return StreamDeframer(frame_max_bytes=frame_max_bytes, count=count)


@given(frames=_FRAMES, cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_frames_come_back_however_the_stream_is_cut(frames: list[tuple[bytes, bool, bool]], cuts: list[int]) -> None:
    framer, drops = StreamFramer(mtu_bytes=MTU_BYTES), Counter[str]()
    stream = b""
    for frame, is_last, after_pause in frames:
        wire = framer.encode(frame, is_last=is_last, after_pause=after_pause)
        assert len(wire) <= len(frame) + framer.overhead_bytes
        stream += wire
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    receiver = deframer(drops)
    found = [frame for start, stop in itertools.pairwise(edges) for frame in receiver.feed(stream[start:stop])]
    assert found == [StreamFrame(frame, is_last) for frame, is_last, _ in frames]
    assert not drops


def damaged_frames(damage: Callable[[bytes, int], bytes]) -> tuple[set[bytes], set[bytes], Counter[str]]:
    """What was sent, what came out, and the drops, when every frame of a run is damaged at another place."""
    framer, drops = StreamFramer(mtu_bytes=MTU_BYTES), Counter[str]()
    receiver = deframer(drops)
    sent, found = set(), set()
    for number in range(200):
        frame = number.to_bytes(2, "big") * 20
        sent.add(frame)
        wire = damage(framer.encode(frame), number)
        found |= {received.frame for received in receiver.feed(wire)}
    return sent, found, drops


def flip_one_bit(wire: bytes, number: int) -> bytes:
    at = 1 + number % (len(wire) - 2)
    return wire[:at] + bytes((wire[at] ^ (1 << number % 8),)) + wire[at + 1 :]


def test_a_flipped_bit_never_makes_a_frame() -> None:
    sent, found, drops = damaged_frames(flip_one_bit)
    assert found <= sent
    assert drops["crc_error"] + drops["cobs_error"] + drops["short_frame"] >= 150


def test_without_the_crc_damage_would_be_taken_for_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a check sum that always agrees. The test above must be able to fail."""
    monkeypatch.setattr(stream_framing, "crc32", lambda _: 0x01020304)
    sent, found, _ = damaged_frames(flip_one_bit)
    assert not found <= sent


@given(
    noise=st.binary(max_size=2000),
    frame=st.binary(max_size=MTU_BYTES),
)
def test_the_frame_after_noise_and_a_pause_arrives(noise: bytes, frame: bytes) -> None:
    receiver = deframer(Counter())
    receiver.feed(noise)
    assert receiver.feed(StreamFramer(mtu_bytes=MTU_BYTES).encode(frame, after_pause=True))[-1:] == [
        StreamFrame(frame, False)
    ]


@given(pieces=st.lists(st.binary(max_size=400), max_size=20))
def test_noise_never_makes_a_frame_nor_grows_the_buffer(pieces: list[bytes]) -> None:
    receiver = deframer(Counter())
    for piece in pieces:
        assert receiver.feed(piece) == []
        assert len(receiver._held) <= receiver._stuffed_max_bytes


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        (b"\x05\x01\0", "cobs_error"),
        (stuff(b"\x01\x02\x03") + b"\0", "short_frame"),
        (stuff(b"frame\0\x01\x02\x03\x04") + b"\0", "crc_error"),
        (b"\x01" * 400, "oversize_frame"),
        (StreamFramer(mtu_bytes=302).encode(b"\x07" * 301), "oversize_frame"),
        (stuff(b"a\x80" + stream_framing.crc32(b"a\x80").to_bytes(4, "big")) + b"\0", "unknown_marks"),
    ],
)
def test_each_drop_is_counted_once_by_its_name_and_the_next_frame_arrives(wire: bytes, name: str) -> None:
    drops = Counter[str]()
    receiver = deframer(drops)
    assert receiver.feed(wire) == []
    assert receiver.feed(StreamFramer(mtu_bytes=MTU_BYTES).encode(b"next", after_pause=True)) == [
        StreamFrame(b"next", False)
    ]
    assert drops == {name: 1}


def test_a_frame_above_the_mtu_is_refused() -> None:
    with pytest.raises(ValueError, match="frame of 301 bytes exceeds MTU of 300 bytes"):
        StreamFramer(mtu_bytes=MTU_BYTES).encode(bytes(301))

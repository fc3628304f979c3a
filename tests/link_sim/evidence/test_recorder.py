"""The recorder keeps what the links of a test did, changes nothing, forgets the oldest first, and writes it down."""

import asyncio
import json
import struct
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from link_sim.evidence import recorder as recorder_module
from link_sim.evidence.frames import words_of
from link_sim.evidence.recorder import Recorder
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import PathProfile
from link_sim.real_time.live import Direction, live_link
from link_sim.virtual.changes import numbers, outage
from link_sim.virtual.net import Net
from link_sim.virtual.segments import Segment as ProxySegment
from link_sim.virtual.segments import SegmentKind, SegmentLine, Stream

COMMENT, NAME = 1, 2


async def ask(net: Net) -> str:
    """A question over a lossy link with an outage, by stream and by datagram; the digest."""
    changes = [(0.5, outage(2, hold=True)), (9, numbers(rate_bps=64_000, side="up")), (20, outage(1, side="down"))]
    profile = LinkProfile(rate_bps=512_000, delay_s=0.3, loss_ratio=0.05, duplicate_ratio=0.05, corrupt_ratio=0.05)
    net.link("kit", "command", profile, name="sat", at=changes)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())

    await net.node("command").start_server(answer, 8883)
    endpoint, _ = await net.node("kit").create_datagram_endpoint(asyncio.DatagramProtocol, remote=("command", 5000))
    reader, writer = await net.node("kit").open_connection("command", 8883)
    for number in range(20):
        endpoint.sendto(b"beacon %d" % number)
        writer.write(b"question %d\n" % number)
        await asyncio.sleep(1)
        assert await reader.readline() == b"QUESTION %d\n" % number
    writer.close()
    endpoint.close()
    await asyncio.sleep(5)
    return net.digest()


def left(recorder: Recorder, folder: Path) -> list[dict[str, object]]:
    """What it writes: the events."""
    events, capture, plot = recorder.leave(folder, "a test", seed=7)
    assert (events.name, capture.name, plot.name) == ("events.jsonl", "frames.pcapng", "plot.svg")
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")
    return [json.loads(line) for line in events.read_text().splitlines()]


def test_all_that_a_net_does_is_written_and_nothing_is_changed(tmp_path: Path) -> None:
    plain, net = Net(7), Net(7)
    recorder = Recorder.of_net(net)
    assert recorder.is_empty
    assert net.run(ask(net)) == plain.run(ask(plain)), "looking on changes nothing"
    events = left(recorder, tmp_path / "new" / "folder")
    assert events[0] == {"t_s": 0.0, "event": "test", "test": "a test", "seed": 7, "forgotten": 0}
    told = [each for each in events if each["event"] == "link"]
    assert [each["direction"] for each in told] == ["sat/up", "sat/down"]
    numbers_told = dict.fromkeys(("loss_ratio", "duplicate_ratio", "corrupt_ratio"), 0.05)
    assert told[0]["numbers"] == {"rate_bps": 512_000, "delay_s": 0.3, **numbers_told}
    for direction, fates in net.links["sat"].counts().items():
        offered = [each for each in events if each["event"] == "frame" and each["direction"] == f"sat/{direction}"]
        assert len(offered) == sum(fates[fate] for fate in fates if fate not in ("damaged", "copies"))
        came = [each for each in events if each["event"] == "arrived" and each["direction"] == f"sat/{direction}"]
        assert len(came) == fates["delivered"] + fates["held"] + fates["copies"]
        if direction == "up":  # that of the answer is held
            assert (came[0]["offered_s"], came[0]["t_s"]) == (offered[0]["t_s"], offered[0]["due_s"])
    changes = [
        (each["t_s"], each["direction"], each["outage"], each["numbers"])
        for each in events
        if each["event"] == "change"
    ]
    assert changes == [
        (0.5, "sat/up", "hold", {}),
        (0.5, "sat/down", "hold", {}),
        (2.5, "sat/up", None, {}),
        (2.5, "sat/down", None, {}),
        (9.0, "sat/up", None, {"rate_bps": 64_000}),
        (20.0, "sat/down", "drop", {}),
        (21.0, "sat/down", None, {}),
    ]
    times = [each["t_s"] for each in events]
    assert times == sorted(times)


def test_the_capture_has_what_frames_carry_and_says_what_they_are(tmp_path: Path) -> None:
    net = Net(7)
    recorder = Recorder.of_net(net)
    net.run(ask(net))
    frames = [each for each in left(recorder, tmp_path) if each["event"] == "frame"]
    captured = packets((tmp_path / "frames.pcapng").read_bytes())
    assert [at_s for at_s, _, _ in captured] == pytest.approx([each["t_s"] for each in frames], abs=1e-9)
    assert captured[0][1:] == (b"", "delivered, 49153 > 8883 SYN seq 0 ack 0")
    assert (b"beacon 0", "delivered, 49152 > 5000") in [each[1:] for each in captured]
    assert b"QUESTION 19\n" in [payload for _, payload, _ in captured]


def packets(capture: bytes) -> list[tuple[float, bytes, str]]:
    """Time, bytes and comment of every packet of a pcapng file, by its specification."""
    found, at = [], 0
    while at < len(capture):
        kind, length = struct.unpack_from("<II", capture, at)
        if kind == 6:
            _, high, low, size, _ = struct.unpack_from("<IIIII", capture, at + 8)
            option = at + 28 + (size + 3) // 4 * 4
            code, long = struct.unpack_from("<HH", capture, option)
            assert code == COMMENT
            comment = capture[option + 4 : option + 4 + long].decode()
            found.append((((high << 32) | low) / 1e9, capture[at + 28 : at + 28 + size], comment))
        at += length
    return found


def test_the_newest_are_kept_and_what_was_before_them_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage and other numbers whose beginning is forgotten are still in force in what is left."""
    monkeypatch.setattr(recorder_module, "EVENTS_MAX", 10)
    net = Net(7)
    recorder = Recorder.of_net(net)

    async def main() -> None:
        net.link("a", "b", LinkProfile(rate_bps=8000), name="radio", at=[(1, numbers(delay_s=0.5)), (2, outage(100))])
        endpoint, _ = await net.node("a").create_datagram_endpoint(asyncio.DatagramProtocol, remote=("b", 5))
        for _ in range(30):
            endpoint.sendto(b"beacon")
            await asyncio.sleep(1)
        endpoint.close()

    net.run(main())
    events = left(recorder, tmp_path)
    kept = [each for each in events if each["event"] not in ("test", "link")]
    assert len(kept) == 10
    assert events[0]["forgotten"] == recorder.forgotten > 20
    assert events[0]["t_s"] == kept[0]["t_s"] == 20
    up = next(each for each in events if each["event"] == "link")
    assert (up["outage"], up["numbers"]) == ("drop", {"rate_bps": 8000, "delay_s": 0.5})
    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    outages = [each for each in root.findall(".//{*}rect") if each.attrib["fill"] == "#f3c6c0"]
    assert [each.attrib["width"] for each in outages] == ["800.0", "800.0"]  # all of the picture, in both directions


def test_large_frames_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "BYTES_MAX", 10_000)
    net = Net(7)
    recorder = Recorder.of_net(net)

    async def main() -> None:
        net.link("a", "b", LinkProfile())
        endpoint, _ = await net.node("a").create_datagram_endpoint(asyncio.DatagramProtocol, remote=("b", 5))
        for _ in range(30):
            endpoint.sendto(bytes(1000))
            await asyncio.sleep(1)
        endpoint.close()

    net.run(main())
    assert recorder.forgotten == 39  # kept are the last 10 offered, their arrivals, and that of the one before


def test_a_link_in_real_time_begins_at_0_and_tells_of_its_changes(tmp_path: Path) -> None:
    began_ns = time.monotonic_ns()
    recorder = Recorder(time.monotonic_ns, zero_ns=began_ns)
    path = PathProfile(name="4g", up=LinkProfile(rate_bps=8000), down=LinkProfile())
    link = live_link("4g", path, 1, deliver_up=lambda _: None, deliver_down=lambda _: None)
    recorder.watch_live(link, header_bytes=24)
    link.up.offer((None, b"with its socket"), 39)
    link.cut(direction=Direction.UP)
    link.set({"loss_ratio": 0.5})
    link.up.line.take_due(time.monotonic_ns() + 10**9, 1)
    events = left(recorder, tmp_path)
    elapsed_s = (time.monotonic_ns() - began_ns) / 1e9
    told = [(each["event"], each.get("direction"), each.get("outage"), each.get("numbers")) for each in events[3:]]
    assert told == [
        ("frame", "4g/up", None, None),
        ("change", "4g/up", "drop", {}),
        ("change", "4g/up", "drop", {"loss_ratio": 0.5}),
        ("change", "4g/down", None, {"loss_ratio": 0.5}),
        ("arrived", "4g/up", None, None),
    ]
    assert all(0 <= each["t_s"] <= elapsed_s for each in events[3:7])
    assert (events[3]["sent_s"] - events[3]["t_s"], events[7]["bytes"]) == (pytest.approx(0.039), 39)
    assert packets((tmp_path / "frames.pcapng").read_bytes())[0][1:] == (b"with its socket", "delivered")


def test_a_segment_of_a_proxy_says_its_kind_and_number() -> None:
    class Nobody:
        def want_more(self) -> None: ...

        def arrived(self, kind: SegmentKind, payload: bytes) -> None: ...

    stream = Stream(SegmentLine(lambda: 0.1), Nobody())
    assert words_of(ProxySegment(stream=stream, number=17, kind=SegmentKind.DATA, payload=b"x")) == "data 17"

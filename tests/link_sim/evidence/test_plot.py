"""The plot's curve of the queue says what the link model says, between the looks at it too."""

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from link_sim.evidence.plot import BINS, Plot
from link_sim.evidence.queue_curve import QueueCurve, look_at
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Outage

MS = 1_000_000
SPAN_MS, BIN_MS = 2000, 10
RATE_BPS = 80_000  # 10 bytes a millisecond
Offers = list[tuple[int, int]]


def drive(line: Line[bytes], offers: Offers, changes: dict[int, Outage | None]) -> list[float]:
    """Offer frames at their milliseconds, take what is due; the most that waited in each bin, asked each ms."""
    waiting_bytes = [0.0] * (SPAN_MS // BIN_MS)
    for at_ms in range(SPAN_MS):
        now_ns, at = at_ms * MS, at_ms // BIN_MS
        waiting_bytes[at] = max(waiting_bytes[at], line.model.waiting_bytes(now_ns))
        if at_ms in changes:
            outage = changes[at_ms]
            line.mend(now_ns) if outage is None else line.cut(now_ns, outage)
        while line.take(now_ns) is not None:
            pass
        for _, frame_bytes in (each for each in offers if each[0] == at_ms):
            line.offer(now_ns, frame_bytes, bytes(frame_bytes))
            waiting_bytes[at] = max(waiting_bytes[at], line.model.waiting_bytes(now_ns))
    return waiting_bytes


def curve_of(line: Line[bytes]) -> QueueCurve:
    """The curve of whatever happens to a line from now on."""
    curve = QueueCurve(0, SPAN_MS * MS, SPAN_MS // BIN_MS)
    line.observe(
        lambda now_ns, frame_bytes, frame, verdict: curve.see(now_ns, look_at(line, now_ns), verdict.sent_ns),
        lambda now_ns, offered_ns, frame: curve.see(now_ns, look_at(line, now_ns)),
    )
    return curve


@given(offers=st.lists(st.tuples(st.integers(0, SPAN_MS - 1), st.integers(1, 1400)), max_size=40), loss=st.booleans())
@settings(max_examples=30)
@example(offers=[(5, 1400), (6, 1400), (900, 1400)], loss=True)
def test_between_looks_the_curve_falls_as_the_queue_does(offers: Offers, loss: bool) -> None:
    """Within what leaves in the millisecond between two questions, and a byte of rounding."""
    numbers = LinkProfile(rate_bps=RATE_BPS, delay_s=0.3, loss_ratio=1.0 if loss else 0.0, queue_bytes=1 << 20)
    line: Line[bytes] = Line(numbers, 1)
    curve = curve_of(line)
    asked = drive(line, offers, {})
    curve.finish(SPAN_MS * MS)
    for at, (said, most) in enumerate(zip(curve.most_bytes, asked, strict=True)):
        assert most - 1 <= said <= most + 11, f"bin {at}"


def test_in_a_hold_what_waits_stays_and_then_leaves() -> None:
    line: Line[bytes] = Line(LinkProfile(rate_bps=RATE_BPS, delay_s=0.05), 1)
    curve = curve_of(line)
    asked = drive(line, [(300, 1000), (400, 1000)], {200: Outage.HOLD, 1000: None})
    curve.finish(SPAN_MS * MS)
    assert curve.most_bytes == pytest.approx(asked, abs=11)
    assert curve.most_bytes[99] == 2000
    assert curve.most_bytes[110] == pytest.approx(1000, abs=11)  # 100 ms after the end half of it has left


def test_a_hold_that_does_not_end_keeps_what_waits_to_the_end() -> None:
    line: Line[bytes] = Line(LinkProfile(rate_bps=RATE_BPS), 1)
    curve = curve_of(line)
    drive(line, [(300, 1000)], {200: Outage.HOLD})
    curve.finish(SPAN_MS * MS)
    assert curve.most_bytes[30:] == [1000] * (SPAN_MS // BIN_MS - 30)


def test_each_direction_has_its_curves_its_queue_and_marks_where_it_was_full() -> None:
    plot, lines = Plot("a <run>", 2.0), []
    for name in ("vsat/up", "vsat/down"):
        lines.append(Line[bytes](LinkProfile(rate_bps=RATE_BPS, queue_bytes=5000), 1))
        plot.watch(name, lines[-1])
    for number in range(10):
        lines[0].offer(number * MS, 1000, bytes(1000))
    root = ElementTree.fromstring(plot.svg({"vsat/up": [(1.5, 3.0)]}))
    assert len(root.findall(".//{*}polyline")) == 6
    queues = [each.attrib["points"].split() for each in root.findall(".//{*}polygon")]
    assert [len(points) for points in queues] == [BINS + 2] * 2
    heights = [[float(point.split(",")[1]) for point in points] for points in queues]
    assert [max(each) - min(each) for each in heights] == [30, 0]  # full height, and nothing
    texts = ["".join(each.itertext()) for each in root.findall(".//{*}text")]
    assert "a <run>" in texts
    assert [text for text in texts if text.endswith("B")] == ["4.96 kB", "3 kB"]
    reds = [each for each in root.findall(".//{*}rect") if each.attrib["fill"] == "#a33"]
    assert len(reds) == 2  # frames 6 to 10 are refused, in the first two bins of 8 ms


def test_a_long_title_leaves_the_legend_its_place() -> None:
    title = "tests/test_far.py::test_" + "x" * 80
    root = ElementTree.fromstring(Plot(title, 2.0).svg({}))
    assert [root.findtext("{*}title"), root.findtext("{*}text")] == [title, "…" + "x" * 49]

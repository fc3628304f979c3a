"""Traffic that is not ours on the same link, in virtual time: a call that must stay intact, and a download (CUBIC)."""

from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

from benchmarks import run_number
from benchmarks.links.beds import SOS, BedLink, BedRun
from benchmarks.rows import Bench, Figure, Repeats
from edge_agent.core.bundle import Precedence
from edge_agent.core.limits import LinkLimits, LinkPolicy, LinkShape
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.services import NS_PER_S
from link_sim.nodes.world import DEFAULT_MTU_BYTES, World
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES, PathProfile

BEGIN_S = 5.0
CALL_BPS, CALL_EVERY_S = 384_000, 0.02
CALL_LINK_BPS, CALL_SPAN_S = 512_000, 60.0
SOS_BYTES, SOS_EVERY_S = 200, 1.0
CUBIC_LINK_BPS, CUBIC_SPAN_S = 5_000_000, 60.0
SEGMENT_BYTES = 1500
CUBE, BETA_RATIO = 0.4, 0.7
"""RFC 9438, section 4.1 and 4.6: how fast the window grows, and what a loss leaves of it."""
FIRST_SEGMENTS = 10
FOREIGN = b"\xff"
"""What command takes for noise, and counts."""


@dataclass(slots=True)
class Call:
    """A stream of equal frames at equal times; what became of each is known when it is offered."""

    line: Line[bytes]
    world: World
    size_bytes: int
    sent: int = 0
    waits_s: list[float] = field(default_factory=list)
    """From being offered until the last bit has left, of those that were taken."""

    def send(self) -> None:
        now_ns = round(self.world.now_s * NS_PER_S)
        verdict = self.line.offer(now_ns, self.size_bytes - UDP_IPV4_OVERHEAD_BYTES, FOREIGN)
        self.sent += 1
        if verdict.deliver_at_ns is not None:
            self.waits_s.append((verdict.sent_ns - now_ns) / NS_PER_S)


@dataclass(slots=True)
class Cubic:
    """One CUBIC flow without end: a window, losses found by three later segments, no slow details.

    Source: RFC 9438. Acknowledgements come back after ``back_s`` each; a loss halves once a round trip.
    """

    line: Line[bytes]
    world: World
    back_s: float
    window: float = FIRST_SEGMENTS
    threshold: float = float("inf")
    flying: int = 0
    carried_bytes: int = 0
    lost: int = 0
    _most: float = 0.0
    _lost_at_s: float = 0.0
    _sent_s: float = 0.0
    _round_trip_s: float = 0.1

    def push(self) -> None:
        """Send what the window allows."""
        while self.flying < int(self.window):
            now_s = self.world.now_s
            verdict = self.line.offer(round(now_s * NS_PER_S), SEGMENT_BYTES - UDP_IPV4_OVERHEAD_BYTES, FOREIGN)
            self.flying += 1
            self._sent_s = now_s
            if verdict.deliver_at_ns is None:  # three later segments tell of it, a round trip from now
                self.world.at(now_s + self._round_trip_s, partial(self._lose, now_s))
            else:
                self.world.at(verdict.deliver_at_ns / NS_PER_S + self.back_s, partial(self._acknowledge, now_s))

    def _acknowledge(self, sent_s: float) -> None:
        now_s = self.world.now_s
        self.flying -= 1
        self.carried_bytes += SEGMENT_BYTES
        self._round_trip_s = now_s - sent_s
        if self.window < self.threshold:
            self.window += 1
        else:
            since_s = now_s - self._lost_at_s
            plateau_s = (self._most * (1 - BETA_RATIO) / CUBE) ** (1 / 3)
            aim = CUBE * (since_s + self._round_trip_s - plateau_s) ** 3 + self._most
            friendly = self._most * BETA_RATIO + 3 * (1 - BETA_RATIO) / (1 + BETA_RATIO) * since_s / self._round_trip_s
            aim = min(max(aim, friendly, self.window), 1.5 * self.window)
            self.window += (aim - self.window) / self.window
        self.push()

    def _lose(self, sent_s: float) -> None:
        self.flying -= 1
        self.lost += 1
        if sent_s >= self._lost_at_s:
            self._most = self.window * ((1 + BETA_RATIO) / 2 if self.window < self._most else 1.0)
            self.window = self.threshold = max(2.0, self.window * BETA_RATIO)
            self._lost_at_s = self.world.now_s
        self.push()


def _link(rate_bps: int, delay_s: float, queue_s: float) -> BedLink:
    profile = LinkProfile(
        rate_bps=rate_bps,
        delay_s=delay_s,
        queue_bytes=round(rate_bps / 8 * queue_s),
        overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
    )
    return BedLink(PathProfile(name="link", up=profile, down=profile), rate_bps)


def with_call(*, is_left: bool = False) -> tuple[Call, list[float]]:
    """A call of 384 kbit/s on a link of 512 kbit/s and 200 ms of queue, beside bulk, and an SOS each second.

    ``is_left``: ``rate_bps`` and ``reserve_bps`` say so. Gives back the call, and each SOS's time beyond the way.
    """
    link = _link(CALL_LINK_BPS, 0.05, 0.2)
    limits = LinkLimits(
        shape=LinkShape.DATAGRAM,
        mtu_bytes=DEFAULT_MTU_BYTES,
        overhead_bytes=UDP_IPV4_OVERHEAD_BYTES,
        rate_bps=CALL_LINK_BPS if is_left else None,
    )
    run = BedRun([link], limits=limits, policy=LinkPolicy(metered=False, reserve_bps=CALL_BPS if is_left else 0.0))
    run.fill(BEGIN_S + CALL_SPAN_S)
    world, bulk = run.world, dict(run.made)
    call = Call(world.lines()["kit-1/link/up"], world, round(CALL_BPS / 8 * CALL_EVERY_S))
    end_s = BEGIN_S + CALL_SPAN_S
    world.every(CALL_EVERY_S, call.send, start_s=run_number.moment_s(BEGIN_S), until_s=end_s)
    world.every(
        SOS_EVERY_S, partial(run.submit, SOS, Precedence.FLASH, SOS_BYTES), start_s=BEGIN_S + 5.0, until_s=end_s
    )
    world.run_until(end_s + 3.0)
    came = run.arrivals()
    excess_s = [
        came.get(each, world.now_s) - at_s - link.profile.up.delay_s
        for each, at_s in run.made.items()
        if each not in bulk
    ]
    return call, excess_s


def beside_cubic(*, is_late: bool) -> tuple[float, float]:
    """Shares of a link of 5 Mbit/s, 40 ms and 200 ms of queue over 60 s: ours and that of one CUBIC flow, of a half.

    ``is_late``: our bulk begins when the flow has filled the queue, else the flow comes to our bulk.
    """
    link = _link(CUBIC_LINK_BPS, 0.02, 0.2)
    run = BedRun([link])
    world = run.world
    flow = Cubic(world.lines()["kit-1/link/up"], world, back_s=link.profile.down.delay_s)
    if is_late:
        flow.push()
        world.run_until(BEGIN_S)
        run.fill(CUBIC_SPAN_S)
    else:
        run.fill(BEGIN_S + CUBIC_SPAN_S)
        world.run_until(BEGIN_S)
        flow.push()
    before_bytes, before_flow_bytes = run.sent_bytes()["link"], flow.carried_bytes
    world.run_until(BEGIN_S + CUBIC_SPAN_S)
    half_bytes = link.own_bps / 8 * CUBIC_SPAN_S / 2
    ours_bytes, flow_bytes = run.sent_bytes()["link"] - before_bytes, flow.carried_bytes - before_flow_bytes
    return ours_bytes / half_bytes, flow_bytes / half_bytes


def _call_lost(*, is_left: bool) -> Figure:
    call, _ = with_call(is_left=is_left)
    return Figure(value=1 - len(call.waits_s) / call.sent, reference=fmean(call.waits_s))


def _call_delay(*, is_left: bool) -> Figure:
    call, _ = with_call(is_left=is_left)
    waits_s = sorted(call.waits_s)
    own_s = call.size_bytes * 8 / CALL_LINK_BPS
    return Figure(value=waits_s[len(waits_s) * 99 // 100] - own_s, reference=waits_s[len(waits_s) // 2] - own_s)


def _call_sos(*, is_left: bool) -> Figure:
    excess_s = sorted(with_call(is_left=is_left)[1])
    return Figure(value=excess_s[len(excess_s) * 99 // 100], reference=excess_s[len(excess_s) // 2])


def _cubic(*, is_late: bool) -> Figure:
    ours, theirs = beside_cubic(is_late=is_late)
    return Figure(value=min(ours, theirs), reference=ours)


def rows(quick: bool) -> list[Bench]:
    """Eight rows; quick or not, they are the same."""
    calls = (
        ("foreign_call", "of its frames lost (mean wait)", "<= 0.01", _call_lost),
        ("foreign_call_delay", "s p99 added (median)", "<= 0.1", _call_delay),
        ("foreign_call_sos", "s p99 beyond the way (median)", "<= 0.15", _call_sos),
    )
    return [
        *(
            Bench(
                name=name.replace("call", "call_left") if is_left else name,
                group="links",
                repeats=Repeats.SEEDED,
                unit=unit,
                goal=goal,
                measure=partial(measure, is_left=is_left),
            )
            for is_left in (False, True)
            for name, unit, goal, measure in calls
        ),
        *(
            Bench(
                name="beside_cubic" + ("_late" if is_late else ""),
                group="links",
                repeats=Repeats.SEEDED,
                unit="of the fair share, the lesser (ours)",
                goal=">= 0.5",
                measure=partial(_cubic, is_late=is_late),
            )
            for is_late in (False, True)
        ),
    ]

"""Machine: what this one can do in real time, measured at start, and what a profile asks beyond that."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.services import NS_PER_S
from link_sim.profiles import PathProfile
from link_sim.real_time.alarm import make_alarm
from link_sim.real_time.datagrams import BATCH, Outbox, make_inbox

FRAME_BYTES = 1472  # the longest datagram in an Ethernet frame over IPv4: what a bulk sender uses
_ROUNDS = 4  # of BATCH frames each: 3 ms where a frame costs 10 us
_ALARMS = 9
_ALARM_NS = 300_000
_CLEAR_BPS = 50_000_000  # any machine of ours carries that: 4,246 frames a second
_CLEAR_S = 0.005  # and keeps that
_SPANS = ("delay_s", "jitter_s", "step_spread_s", "poll_s", "interval_s", "queue_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``frames_a_s``: frames of FRAME_BYTES that one core relays over loopback; ``timer_late_s``: median."""

    frames_a_s: float
    timer_late_s: float


async def doubts_about(profile: PathProfile) -> list[str]:
    """What of this profile this machine cannot honour in real time, one sentence each.

    Measures for some 10 ms, but only when the profile comes near what machines cannot do.
    """
    ways = (profile.up, profile.down)
    is_clear = all(
        (_highest_bps(way) or 0) <= _CLEAR_BPS and all(each >= _CLEAR_S for _, each in _spans(way)) for way in ways
    )
    return [] if is_clear else doubts(profile, await measure_machine())


def doubts(profile: PathProfile, machine: Machine) -> list[str]:
    """The same for a machine that was measured."""
    found = []
    most_bps = round(machine.frames_a_s * FRAME_BYTES * 8)
    for name, way in (("up", profile.up), ("down", profile.down)):
        rate_bps = _highest_bps(way)
        if rate_bps is not None and rate_bps > most_bps:
            found.append(
                f"{name}: rate_bps {rate_bps} cannot be kept: this machine relays about {most_bps} bit/s "
                f"in frames of {FRAME_BYTES} bytes"
            )
        found += [
            f"{name}: {field} {span_s:g} is finer than this machine's timers, late by {machine.timer_late_s:.1g} s"
            for field, span_s in _spans(way)
            if span_s < machine.timer_late_s
        ]
    return found


def _highest_bps(way: LinkProfile) -> int | None:
    return max((rate_bps for _, rate_bps in way.rate_schedule), default=way.rate_bps)


def _spans(way: LinkProfile) -> Iterator[tuple[str, float]]:
    for name in _SPANS:
        span_s = getattr(way, name)
        if span_s:
            yield name, span_s


async def measure_machine() -> Machine:
    """Relay frames over loopback and set alarms, for some 10 ms."""
    return Machine(frames_a_s=_relayed_a_s(), timer_late_s=await _timer_late_s())


def _relayed_a_s() -> float:
    """Frames a second of CPU: from a socket, through a line, into a socket. Sending them in the first place is free."""
    line: Line[bytes] = Line(LinkProfile(rate_bps=1 << 40), 1)
    inbox, outbox, counts, cpu_s, frames = make_inbox(), Outbox(), Counter[str](), 0.0, 0
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        for each in (near, far, sender):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        for _ in range(_ROUNDS):
            outbox.send(sender, [bytes(FRAME_BYTES)] * BATCH, near.getsockname(), counts)
            started_s = time.thread_time()
            for frame, _ in inbox.drain(near, has_names=True):
                line.offer(time.monotonic_ns(), FRAME_BYTES, frame)
            taken = []
            while (due := line.take(time.monotonic_ns() + NS_PER_S)) is not None:
                taken.append(due)
            outbox.send(far, taken, far.getsockname(), counts)
            cpu_s += time.thread_time() - started_s
            frames += len(taken)
            while inbox.drain(far, has_names=False):  # emptied, so that the next round finds room
                pass
    return frames / max(cpu_s, 1e-6)


async def _timer_late_s() -> float:
    late_ns: list[int] = []
    rung = asyncio.Event()
    alarm = make_alarm(rung.set)
    try:
        for _ in range(_ALARMS):
            due_ns = time.monotonic_ns() + _ALARM_NS
            rung.clear()
            alarm.set(due_ns)
            await rung.wait()
            late_ns.append(time.monotonic_ns() - due_ns)
    finally:
        alarm.close()
    return sorted(late_ns)[_ALARMS // 2] / NS_PER_S

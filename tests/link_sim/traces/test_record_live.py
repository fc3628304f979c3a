"""A real agent's recording of a link that is cut and slowed, against what the link did, and replayed through the model.

The agent knows its rate as what it makes of the link: between the bytes that passed and what the link could take.
"""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from edge_agent.addresses import HostPort
from edge_agent.client import Client
from edge_agent.config import load_api_address
from edge_agent.link_record import LinkSample
from edge_agent.recorder import Recorder
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import UDP_IPV4_OVERHEAD_BYTES, PathProfile
from link_sim.real_time.udp_proxy import UdpProxy
from link_sim.traces.files import Way, read_trace
from link_sim.traces.record import trace_of
from link_sim.traces.stats import stats
from tests.integration.agents import AgentProcess, attempt, edge_agent, free_port, running, udp_link, write_pair
from tests.link_sim.traces.measuring import saturate

pytestmark = pytest.mark.slow

FAST_BPS, SLOW_BPS = 2_000_000, 500_000
SETTLE_S, STEADY_S, CUT_S = 1.5, 2.5, 4.0
WITHIN = 0.05
SAMPLE_S = 0.1
FRAME_BYTES = 1200
BULK_BYTES = 4_000_000  # more than the link carries in the time


class Passed(NamedTuple):
    """A steady stretch of the link: from when to when (monotonic seconds), and the wire bits that passed in it."""

    from_s: float
    until_s: float
    bits: int


def wire_bits(proxy: UdpProxy) -> int:
    """Bits that the link carried up so far, with what each frame costs beyond itself."""
    model, described = proxy.link.up.line.model, proxy.link.up.describe()
    counts = described["counts"]
    assert isinstance(counts, dict)
    return 8 * int(counts["carried_bytes"] + UDP_IPV4_OVERHEAD_BYTES * model.counts()["delivered"])


async def steady(proxy: UdpProxy) -> Passed:
    """Let the agent find the rate, then watch."""
    await asyncio.sleep(SETTLE_S)
    from_s, bits = time.monotonic(), wire_bits(proxy)
    await asyncio.sleep(STEADY_S)
    return Passed(from_s, time.monotonic(), wire_bits(proxy) - bits)


def longest_gap_s(samples: list[LinkSample]) -> float:
    """The longest time between two samples, which a calm machine keeps near the one asked for."""
    return max(later.at_s - each.at_s for each, later in pairwise(samples))


def recorded_bps(samples: list[LinkSample], passed: Passed) -> float:
    """The mean of the recorded rate over that stretch."""
    spans = [
        (later.at_s - each.at_s, each.rate_bps or 0)
        for each, later in pairwise(samples)
        if passed.from_s <= each.at_s and later.at_s <= passed.until_s
    ]
    return sum(span_s * rate_bps for span_s, rate_bps in spans) / sum(span_s for span_s, _ in spans)


async def cut(proxy: UdpProxy) -> float:
    """Cut the link for a while; what comes after is slower. How long it was, in seconds."""
    begun_s = time.monotonic()
    proxy.link.cut()
    await asyncio.sleep(CUT_S)
    proxy.link.mend()
    proxy.link.slow(SLOW_BPS)
    return time.monotonic() - begun_s


def assert_replays(samples: list[LinkSample], out: Path, cut_s: float) -> None:
    """The file is the trace, its outage is the cut, and a link made of it has the same outage and rate."""
    up = trace_of(samples, "lte").way(Way.UP)
    assert read_trace(out).up == up
    recorded = stats(up)
    assert recorded.rate_bps is not None
    assert recorded.outages.count == 1
    assert recorded.outages.longest_s == pytest.approx(
        cut_s,
        abs=CUT_S * WITHIN + 2 * longest_gap_s(samples),  # each end is known to a sample
    )
    replayed = saturate(
        LinkProfile(trace=up, rate_bps=FAST_BPS, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES, queue_bytes=1 << 20),
        frame_bytes=FRAME_BYTES,
        span_s=up.length_ns / 1e9,
    )
    wire_bps = replayed.rate_bps * (FRAME_BYTES + UDP_IPV4_OVERHEAD_BYTES) / FRAME_BYTES
    assert wire_bps == pytest.approx(recorded.rate_bps.mean, rel=WITHIN)
    assert replayed.silences_s == pytest.approx([recorded.outages.longest_s], rel=WITHIN)


async def test_a_cut_and_a_slower_link_are_recorded_and_replayed(tmp_path: Path) -> None:
    near, far = free_port(), free_port()
    kit, command = write_pair(
        tmp_path,
        kit_links=udp_link("lte", "remote", f"127.0.0.1:{near}"),
        command_links=udp_link("lte", "listen", f"127.0.0.1:{far}"),
    )
    way = LinkProfile(rate_bps=FAST_BPS, delay_s=0.03, queue_bytes=100_000, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES)
    listen, upstream = HostPort(host="127.0.0.1", port=near), HostPort(host="127.0.0.1", port=far)
    out, stopped = tmp_path / "lte.csv", asyncio.Event()
    async with AsyncExitStack() as stack:
        path = PathProfile(name="lte", up=way, down=way)
        proxy = await stack.enter_async_context(UdpProxy("lte", path, listen=listen, upstream=upstream))
        stack.enter_context(running(AgentProcess(command), AgentProcess(kit)))
        send = ("send", "--config", kit, "--flow")
        await asyncio.to_thread(edge_agent, *send, "x", "--wait", "forwarded", stdin=b"the link is there")
        await asyncio.to_thread(edge_agent, *send, "bulk", stdin=os.urandom(BULK_BYTES))
        client = await stack.enter_async_context(Client(load_api_address(kit)))
        recorder = Recorder(client=client, link="lte", peer=None, out=out, interval_s=SAMPLE_S, span_s=None)
        recording = asyncio.create_task(recorder.run(stopped), name="recorder")
        fast = await steady(proxy)
        cut_s = await cut(proxy)
        slow = await steady(proxy)
        stopped.set()
        await recording
    for passed, link_bps in ((fast, FAST_BPS), (slow, SLOW_BPS)):
        carried_bps, rate_bps = passed.bits / (passed.until_s - passed.from_s), recorded_bps(recorder.samples, passed)
        # an agent that a busy machine holds up sends less than it knows it could, never more than the link takes
        assert carried_bps * (1 - WITHIN) <= rate_bps <= link_bps * (1 + WITHIN)
    assert_replays(recorder.samples, out, cut_s)


def test_the_command_writes_a_trace_and_says_which_links_there_are(tmp_path: Path) -> None:
    address, out = f"127.0.0.1:{free_port()}", tmp_path / "made.csv"
    kit, command = write_pair(
        tmp_path, kit_links=udp_link("lte", "remote", address), command_links=udp_link("lte", "listen", address)
    )
    record = ("record", "--config", kit, "--out", out, "--seconds", "0.5")
    absent = attempt(*record, "--link", "lte")
    assert absent.returncode == 1
    assert b"start it with edge-agent run" in absent.stderr
    with running(AgentProcess(command), AgentProcess(kit)):
        edge_agent("send", "--config", kit, "--flow", "x", "--wait", "forwarded", stdin=b"the link is there")
        assert f"wrote {out}" in edge_agent(*record, "--link", "lte")
        for wrong, said in (
            ("--link sat", "--link sat: this agent has: lte"),
            ("--link lte --peer x", "--peer is one of: command"),
        ):
            refused = attempt(*record, *wrong.split())
            assert refused.returncode == 2
            assert said in refused.stderr.decode()
    assert stats(read_trace(out).way(Way.UP)).length_s == pytest.approx(0.5, abs=0.3)

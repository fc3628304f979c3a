"""Prints the digest of one and the same run of links, as often as asked. Needs nothing but the standard library.

``python -m benchmarks.link_sim.digest_of_links TIMES``
"""

import random
import sys

from link_sim.link.delays import JitterShape
from link_sim.link.line import Line
from link_sim.link.link_profile import LinkProfile
from link_sim.link.media import Medium
from link_sim.link.model import Outage, spoiled
from link_sim.link.queues import QueueKind

FRAMES = 400
PROFILES = (
    LinkProfile(rate_bps=512_000, delay_s=0.3, jitter_s=0.05, loss_ratio=0.02),
    LinkProfile(
        rate_schedule=((0.0, 64_000), (0.2, 9600)),
        schedule_period_s=0.5,
        delay_s=0.05,
        jitter_s=0.03,
        jitter_shape=JitterShape.NORMAL,
        jitter_correlation_ratio=0.8,
        reorders=True,
        burst_enter_ratio=0.02,
        burst_leave_ratio=0.3,
        duplicate_ratio=0.05,
        corrupt_ratio=0.05,
    ),
    LinkProfile(
        rate_bps=80_000,
        delay_s=0.1,
        step_period_s=0.3,
        step_spread_s=0.02,
        jitter_s=0.01,
        jitter_shape=JitterShape.TAIL,
        bit_error_ratio=1e-5,
        queue_kind=QueueKind.CODEL,
    ),
    LinkProfile(interval_s=0.05, poll_s=0.2, duty_ratio=0.5, rate_bps=9600, queue_bytes=10_000),
)


def digest() -> str:
    """One run over every effect, with outages and changes, half of the lines on one shared channel."""
    medium = Medium(keyup_s=0.01, sense_s=0.002, backoff_s=0.05, seed=3)
    lines = [Line[bytes](each, at, spoil=spoiled) for at, each in enumerate(PROFILES)]
    lines += [Line[bytes](LinkProfile(rate_bps=9600), 90 + at, medium=medium) for at in range(2)]
    rng, now_ns, taken = random.Random(11), 0, 0
    for number in range(FRAMES):
        now_ns += rng.randrange(5_000_000)
        line = lines[rng.randrange(len(lines))]
        line.offer(now_ns, 100 + number, bytes((number & 255,)) * (100 + number))
        if number == FRAMES // 4:
            lines[0].cut(now_ns, Outage.HOLD)
            lines[2].cut(now_ns)
        if number == FRAMES // 2:
            lines[0].mend(now_ns)
            lines[2].restore(now_ns)
        for each in lines:
            while (frame := each.take(now_ns)) is not None:
                taken = (taken * 31 + sum(frame)) % (1 << 61)
    return "-".join([*(line.model.digest()[:8] for line in lines), f"{taken:x}"])


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        print(digest())

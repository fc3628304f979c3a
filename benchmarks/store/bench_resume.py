"""Resume: what is sent again when a link dies or the receiver crashes in the middle of a large bundle."""

from benchmarks.rows import Bench, Figure
from benchmarks.store.virtual_pair import LINK, POST, VirtualPair, header, udp_profile
from edge_agent.core.bundle import Precedence

RATE_BPS = 2_000_000
DELAY_S = 0.050
BUNDLE_BYTES = 6_000_000
FIRST_S, APART_S, LASTS_S = 3.0, 9.0, 4.0
PIECE_BYTES_MIN = 200  # smaller frames hold no piece of it
ACK_WAIT_S = 0.05  # acknowledgements of the last frames that arrived were still to be sent
DONE_S = 600.0


def _wire_bytes(pair: VirtualPair) -> int:
    pair.submit(header("bulk"), Precedence.ROUTINE, BUNDLE_BYTES)
    pair.world.run_until(pair.world.now_s + 3.0)
    pair.plug()
    pair.run_until_empty(pair.plugged_s + DONE_S)
    return pair.up.wire_bytes(pair.plugged_s, PIECE_BYTES_MIN)


def _plan(pair: VirtualPair, times: int, *, crash: bool) -> list[tuple[float, float]]:
    """Interruptions from ``FIRST_S`` after the plug on; gives back from when to when frames met nobody."""
    world, spans = pair.world, []
    plugged_s = world.now_s + 3.0
    for number in range(times):
        start_s = plugged_s + FIRST_S + number * APART_S + pair.rng.random()
        end_s = start_s + LASTS_S
        if crash:
            world.at(start_s, lambda: world.crash(POST))
            world.at(end_s, lambda: world.restart(POST))
        else:
            world.at(start_s, lambda: world.cut(LINK, kills_in_flight=True))
            world.at(end_s, lambda: world.mend(LINK))
        spans.append((start_s - 2 * DELAY_S - ACK_WAIT_S, end_s + DELAY_S))
    return spans


def _sent_again(times: int, *, crash: bool) -> Figure:
    """Bytes sent again for each interruption beyond what was unacknowledged; the reference is the latter."""
    profile = udp_profile(RATE_BPS, DELAY_S)
    whole_bytes = _wire_bytes(VirtualPair(profile))
    pair = VirtualPair(profile)
    spans = _plan(pair, times, crash=crash)
    again_bytes = (_wire_bytes(pair) - whole_bytes) / times
    overhead_bytes = pair.up.overhead_bytes
    unacked_bytes = sum(
        size + overhead_bytes
        for t_s, size in pair.up.frames
        if size >= PIECE_BYTES_MIN and any(start_s <= t_s <= end_s for start_s, end_s in spans)
    )
    return Figure(value=again_bytes - unacked_bytes / times, reference=unacked_bytes / times)


def rows(quick: bool) -> list[Bench]:
    """Two rows, the same quick or not: they are in virtual time."""
    return [
        Bench(
            name="sent_again_link_loss",
            group="store",
            unit="bytes beyond what was in flight (in flight)",
            goal="<= 0",
            measure=lambda: _sent_again(2, crash=False),
        ),
        Bench(
            name="sent_again_receiver_crash",
            group="store",
            unit="bytes beyond what was in flight (in flight)",
            goal="<= 262144",
            measure=lambda: _sent_again(2, crash=True),
        ),
    ]

"""Plain path: one function that judges a frame and puts it on its way, for what most links are.

A steady rate with a queue that drops at its tail, one loss, a constant delay and one variation of it, in order. The
function does what ``LinkModel`` does with its parts, to the nanosecond and the draw, in a third of the time. What must
not be lost lies where the model finds it: in the service and the log.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from link_sim.link.link_profile import LinkProfile
from link_sim.link.media import Transmission
from link_sim.link.model import Fate, PlainParts
from link_sim.link.services import NEVER_NS, NS_PER_S, SteadyRate
from link_sim.link.verdict_log import BLOCK, VerdictLog

Flight = tuple[int, int, int, Any, Transmission | None, int]
"""A frame on its way: when it is due (caller's clock), its order among those due then, when its last bit left (link's
clock), the frame, its time on a shared medium, when it was offered (caller's clock).

A bare tuple, for one is made of each frame; flights compare by the first two, which no two in a heap have in common.
Any: the frame is the caller's own object.
"""
Carry = Callable[[int, int, Any], int | None]
"""Given the time in ns, the frame's bytes and the frame: when it comes out, on the caller's clock, or None."""
Adopt = Callable[[PlainParts | None, int], None]

_BYTE_WORK = 8 * NS_PER_S
_SIZES_MAX = 4096  # sizes of frames whose cost is remembered: 0.5 MB at most
_LOST, _QUEUE_FULL, _OVERSIZE = int(Fate.LOST), int(Fate.QUEUE_FULL), int(Fate.OVERSIZE)
_NOTHING = PlainParts(LinkProfile(), SteadyRate(None), None, None, None, 0, 0, 0)  # only looked at


def make_carry(flying: deque[Flight], log: VerdictLog, carry_any: Carry) -> tuple[Carry, Adopt]:
    """``carry``, and ``adopt``, which tells it what the link is made of from now on; None: use ``carry_any``.

    Frames to be delivered go to the end of ``flying``, all with the order given to ``adopt``. What a frame needs is a
    variable of the function itself: each look into an object costs a percent of a frame.
    """
    times_ns, sizes_bytes, dues_ns, drop, flush = log.times_ns, log.sizes_bytes, log.dues_ns, log.drop, log.flush
    profile, service, draw_loss, is_taken, vary_ns, delay_ns, lag_ns, last_due_ns = _NOTHING
    is_plain, launch, costs = False, flying.append, _Costs(profile)
    rate_bps, loss_ratio, keeps_order, order = 1, 0.0, False, 0
    known_bytes, span_ns, frame_spare, longest_wait_ns = -1, 0, 0, 0

    def adopt(parts: PlainParts | None, new_order: int) -> None:
        nonlocal profile, service, draw_loss, is_taken, vary_ns, delay_ns, lag_ns, last_due_ns
        nonlocal is_plain, costs, rate_bps, loss_ratio, keeps_order, order, known_bytes
        is_plain = parts is not None
        profile, service, draw_loss, is_taken, vary_ns, delay_ns, lag_ns, last_due_ns = parts or _NOTHING
        rate_bps, loss_ratio, order = profile.rate_bps or 1, profile.loss_ratio, new_order
        keeps_order = vary_ns is not None or last_due_ns > service.free_ns + delay_ns
        costs, known_bytes = _Costs(profile), -1

    def carry(now_ns: int, frame_bytes: int, frame: Any) -> int | None:  # Any: as in Flight
        nonlocal known_bytes, span_ns, frame_spare, longest_wait_ns, last_due_ns
        if not is_plain:
            return carry_any(now_ns, frame_bytes, frame)
        clock_ns = now_ns - lag_ns if lag_ns else now_ns
        if draw_loss is not None:
            is_lost = draw_loss() < loss_ratio
        else:
            is_lost = is_taken is not None and is_taken(-1, frame_bytes, clock_ns)  # none of these asks for the number
        flight_ns = delay_ns if vary_ns is None else delay_ns + vary_ns(clock_ns)
        if len(times_ns) >= BLOCK:
            flush()
        times_ns.append(now_ns)
        sizes_bytes.append(frame_bytes)
        if frame_bytes != known_bytes:
            cost = costs.of(frame_bytes)
            if cost is None:
                return drop(_OVERSIZE, clock_ns)
            known_bytes, (span_ns, frame_spare, longest_wait_ns) = frame_bytes, cost
        sent_ns = service.free_ns
        if sent_ns > clock_ns:
            if sent_ns - clock_ns > longest_wait_ns:
                return drop(_QUEUE_FULL, clock_ns)
            sent_ns += span_ns
            spare = service.spare + frame_spare
            if spare >= rate_bps:  # what both rounded up makes a nanosecond
                spare -= rate_bps
                sent_ns -= 1
            service.spare = spare
        else:
            sent_ns = clock_ns + span_ns
            service.spare = frame_spare
        service.free_ns = sent_ns
        if is_lost:
            return drop(_LOST, sent_ns)
        due_ns = sent_ns + flight_ns
        if keeps_order:
            due_ns = sent_ns if flight_ns < 0 else due_ns
            last_due_ns = due_ns = last_due_ns if due_ns < last_due_ns else due_ns
        dues_ns.append(due_ns)
        due_ns = due_ns + lag_ns if lag_ns else due_ns
        launch((due_ns, order, sent_ns, frame, None, now_ns))
        return due_ns

    return carry, adopt


class _Costs:
    """What frames cost by their size, on a link with these numbers."""

    __slots__ = ("_known", "_profile")

    def __init__(self, profile: LinkProfile) -> None:
        self._profile = profile
        self._known: dict[int, tuple[int, int, int]] = {}

    def of(self, frame_bytes: int) -> tuple[int, int, int] | None:
        """The cost of a frame; None when it is longer than the link takes.

        Nanoseconds of service, rounded up; the work that the last of them could do beyond it (bits x NS_PER_S, below
        the rate); and how many ns the link may still be busy for the frame to find room in the queue.
        """
        found = self._known.get(frame_bytes)
        if found is not None:
            return found
        profile, rate_bps = self._profile, self._profile.rate_bps
        if profile.mtu_bytes is not None and frame_bytes > profile.mtu_bytes:
            return None
        cost, wire_bytes = (0, 0, NEVER_NS), frame_bytes + profile.overhead_bytes
        if rate_bps is not None:
            span_ns = -(-wire_bytes * _BYTE_WORK // rate_bps)
            longest_wait_ns = (profile.queue_bytes - wire_bytes) * _BYTE_WORK // rate_bps
            cost = (span_ns, span_ns * rate_bps - wire_bytes * _BYTE_WORK, longest_wait_ns)
        if len(self._known) >= _SIZES_MAX:
            self._known.clear()
        self._known[frame_bytes] = cost
        return cost

"""Plain path: one function that judges a frame and puts it on its way, for what most links are.

A steady rate with a queue that drops at its tail, one loss, a constant delay and one variation of it, in order. The
function does what ``LinkModel`` does with its parts, to the nanosecond and the draw, in a third of the time. What must
not be lost lies where the model finds it: in the service and the log.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from link_sim.link_profile import LinkProfile
from link_sim.media import Transmission
from link_sim.model import Fate, PlainParts
from link_sim.services import NEVER_NS, NS_PER_S, SteadyRate
from link_sim.verdict_log import BLOCK, VerdictLog

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
_NO_LIMIT = LinkProfile()
_Cost = tuple[int, int, int]  # see _cost


def make_carry(flying: deque[Flight], log: VerdictLog, carry_any: Carry) -> tuple[Carry, Adopt]:
    """``carry``, and ``adopt``, which tells it what the link is made of from now on; None: use ``carry_any``.

    Frames to be delivered are added to the end of ``flying``, all with the order that was given to ``adopt``. Numbers
    of the parts are kept as variables of the function itself: each look into an object costs a percent of a frame.
    """
    times_ns, sizes_bytes, dues_ns, fates, flush = log.times_ns, log.sizes_bytes, log.dues_ns, log.fates, log.flush
    launch, costs = flying.append, dict[int, _Cost]()
    is_plain, profile, service = False, _NO_LIMIT, SteadyRate(None)
    known_bytes = span_ns = frame_spare = longest_wait_ns = order = 0
    delay_ns = lag_ns = last_due_ns = 0
    rate_bps, loss_ratio, keeps_order = 1, 0.0, False
    draw_loss: Callable[[], float] | None = None
    is_taken: Callable[[int, int, int], bool] | None = None
    vary_ns: Callable[[int], int] | None = None

    def adopt(parts: PlainParts | None, new_order: int) -> None:
        nonlocal is_plain, profile, service, known_bytes, order, delay_ns, lag_ns, last_due_ns, rate_bps
        nonlocal loss_ratio, keeps_order, draw_loss, is_taken, vary_ns
        is_plain = parts is not None
        if parts is None:
            return
        profile, service, delay_ns, lag_ns = parts.profile, parts.service, parts.delay_ns, parts.lag_ns
        rate_bps, loss_ratio = profile.rate_bps or 1, profile.loss_ratio
        draw_loss, is_taken, vary_ns = parts.draw_loss, parts.is_taken, parts.vary_ns
        last_due_ns, order = parts.last_due_ns, new_order
        keeps_order = vary_ns is not None or last_due_ns > service.free_ns + delay_ns
        known_bytes = -1
        costs.clear()

    def carry(now_ns: int, frame_bytes: int, frame: Any) -> int | None:  # Any: as in Flight
        nonlocal last_due_ns
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
        if frame_bytes != known_bytes and not weigh(frame_bytes):
            drop(_OVERSIZE, clock_ns)
            return None
        sent_ns = service.free_ns
        if sent_ns > clock_ns:
            if sent_ns - clock_ns > longest_wait_ns:
                drop(_QUEUE_FULL, clock_ns)
                return None
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
            drop(_LOST, sent_ns)
            return None
        due_ns = sent_ns + flight_ns
        if keeps_order:
            if flight_ns < 0:
                due_ns = sent_ns
            if due_ns < last_due_ns:
                due_ns = last_due_ns
            last_due_ns = due_ns
        dues_ns.append(due_ns)
        if lag_ns:
            due_ns += lag_ns
        launch((due_ns, order, sent_ns, frame, None, now_ns))
        return due_ns

    def weigh(frame_bytes: int) -> bool:
        """Learn what a frame of this size costs; False when it is longer than the link takes."""
        nonlocal known_bytes, span_ns, frame_spare, longest_wait_ns
        cost = costs.get(frame_bytes)
        if cost is None:
            if profile.mtu_bytes is not None and frame_bytes > profile.mtu_bytes:
                return False
            if len(costs) >= _SIZES_MAX:
                costs.clear()
            cost = costs[frame_bytes] = _cost(profile, frame_bytes + profile.overhead_bytes)
        known_bytes = frame_bytes
        span_ns, frame_spare, longest_wait_ns = cost
        return True

    def drop(fate: int, at_ns: int) -> None:
        fates.append((len(dues_ns), fate))
        dues_ns.append(at_ns)

    return carry, adopt


def _cost(profile: LinkProfile, wire_bytes: int) -> _Cost:
    """What a frame costs.

    Nanoseconds of service, rounded up; the work that the last of them could do beyond it (bits x NS_PER_S, below the
    rate); and how many ns the link may still be busy for the frame to find room in the queue.
    """
    rate_bps = profile.rate_bps
    if rate_bps is None:
        return 0, 0, NEVER_NS
    span_ns = -(-wire_bytes * _BYTE_WORK // rate_bps)
    longest_wait_ns = (profile.queue_bytes - wire_bytes) * _BYTE_WORK // rate_bps
    return span_ns, span_ns * rate_bps - wire_bytes * _BYTE_WORK, longest_wait_ns

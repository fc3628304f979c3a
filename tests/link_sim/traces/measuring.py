"""What one direction of a link does, measured from outside: frames in, verdicts out, no look at its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import Fate, LinkModel

NS_PER_S = 1_000_000_000
AHEAD = 3  # frames that a saturating sender keeps waiting
SEED = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """``delays_s``: from the offer to the arrival; ``flights_s``: from the last bit's leaving. Both rise."""

    delays_s: Sequence[float]
    flights_s: Sequence[float]
    loss_ratio: float


def probe(profile: LinkProfile, *, frame_bytes: int, every_s: float, frames: int) -> Probed:
    """Send a lone frame now and then."""
    model, delays_s, flights_s, lost = LinkModel(profile, SEED), list[float](), list[float](), 0
    for number in range(frames):
        now_ns = round(number * every_s * NS_PER_S)
        verdict = model.offer(now_ns, frame_bytes)
        lost += verdict.fate is Fate.LOST
        if verdict.deliver_at_ns is not None:
            delays_s.append((verdict.deliver_at_ns - now_ns) / NS_PER_S)
            flights_s.append((verdict.due_ns - verdict.sent_ns) / NS_PER_S)
    return Probed(delays_s=sorted(delays_s), flights_s=sorted(flights_s), loss_ratio=lost / frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturated:
    """``rate_bps``: bits of frames that arrive, a second; ``silences_s``: between last bits, 1 s or longer, rising."""

    rate_bps: float
    silences_s: Sequence[float]


def saturate(profile: LinkProfile, *, frame_bytes: int, span_s: float | None, frames: int = 3000) -> Saturated:
    """Send so that a few frames always wait: over ``span_s``, or that many frames. What finds no place comes again."""
    model, now_ns, arrived = LinkModel(profile, SEED), 0, 0
    sent_ns = [0]
    while span_s is not None or len(sent_ns) <= frames:
        now_ns = max(now_ns, sent_ns[-AHEAD] if len(sent_ns) > AHEAD else 0)
        verdict = model.offer(now_ns, frame_bytes)
        if verdict.fate is Fate.QUEUE_FULL:
            assert now_ns < sent_ns[-1], verdict  # an idle link takes any frame
            now_ns = sent_ns[-1]
            continue
        assert verdict.fate in (Fate.DELIVERED, Fate.LOST), verdict
        if span_s is not None and verdict.sent_ns > span_s * NS_PER_S:
            break
        sent_ns.append(verdict.sent_ns)
        arrived += verdict.fate is Fate.DELIVERED
    pauses_s = ((later - earlier) / NS_PER_S for earlier, later in pairwise(sent_ns))
    return Saturated(
        rate_bps=arrived * frame_bytes * 8 / (sent_ns[-1] / NS_PER_S if span_s is None else span_s),
        silences_s=sorted(pause_s for pause_s in pauses_s if pause_s >= 1),
    )

"""Link model: what happens to a frame that is offered to one direction of a link.

Pure: integer nanoseconds come in with every call, nothing here reads a clock or a socket, and the same seed and the
same calls give the same verdicts in virtual time and in a real-time proxy.

The order of effects is that of a radio or a modem: queue (drop-tail, in bytes), serialisation at ``rate_bps``, outage,
loss, propagation. A frame lost on the air has used its air time. A ``hold`` outage stops the link's own clock: whatever
waits or flies stays where it is and goes on, in order, when the outage ends.
"""

import hashlib
import random
from array import array
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

from edge_agent.core.errors import EdgeAgentError

NS_PER_S = 1_000_000_000
_DIGEST_FIELDS = 4
_DIGEST_CHUNK = _DIGEST_FIELDS * 1024  # numbers hashed at once: a hash call a frame would cost as much as the model


class ProfileError(EdgeAgentError):
    """A profile holds a value that no link can have; the message names the field and what is allowed."""


class Fate(IntEnum):
    """What became of an offered frame. The value goes into the digest: append only."""

    DELIVERED = 0
    HELD = 1
    LOST = 2
    QUEUE_FULL = 3
    OUTAGE = 4
    CUT_IN_FLIGHT = 5
    OVERSIZE = 6

    @property
    def word(self) -> str:
        """The name in reports."""
        return self.name.lower()


class Outage(Enum):
    """What a cut does to frames: they vanish, or they wait for the end."""

    DROP = "drop"
    HOLD = "hold"


def derived_seed(seed: int, *names: str) -> int:
    """A seed for one random stream; streams of different names have nothing in common (BLAKE2b, 64 bits)."""
    return int.from_bytes(hashlib.blake2b("/".join((str(seed), *names)).encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProfile:
    """Physics of one direction. ``rate_bps`` None: no limit; ``mtu_bytes`` None: any frame passes.

    ``jitter_s`` spreads the delay evenly over ``delay_s`` +- ``jitter_s``, frames staying in order. ``queue_bytes``
    bounds what waits, the rest of the frame in service included; an idle link always takes a frame. ``overhead_bytes``
    is what one frame costs beyond itself. ``noise_ratio`` is the share of bytes that arrive wrong (serial lines only).
    """

    rate_bps: int | None = None
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss_ratio: float = 0.0
    queue_bytes: int = 256 * 1024
    overhead_bytes: int = 0
    mtu_bytes: int | None = None
    noise_ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.rate_bps is not None and self.rate_bps < 1:
            raise ProfileError(f"rate_bps {self.rate_bps}: allowed is 1 or more, or none for no limit")
        if not 0 <= self.delay_s <= 3600:
            raise ProfileError(f"delay_s {self.delay_s}: allowed is 0 to 3600")
        if not 0 <= self.jitter_s <= self.delay_s:  # else a frame would arrive before it was sent
            raise ProfileError(f"jitter_s {self.jitter_s}: allowed is 0 to delay_s ({self.delay_s})")
        for name, ratio in (("loss_ratio", self.loss_ratio), ("noise_ratio", self.noise_ratio)):
            if not 0 <= ratio <= 1:
                raise ProfileError(f"{name} {ratio}: allowed is 0 to 1")
        if self.queue_bytes < 1 or self.overhead_bytes < 0:
            raise ProfileError(f"queue_bytes {self.queue_bytes} or overhead_bytes {self.overhead_bytes} is too small")
        if self.mtu_bytes is not None and self.mtu_bytes < 1:
            raise ProfileError(f"mtu_bytes {self.mtu_bytes}: allowed is 1 or more, or none")


class Verdict(NamedTuple):
    """Fate of one frame; ``sent_ns`` and ``due_ns`` are on the link's own clock, which stands still in a hold.

    ``deliver_at_ns`` is on the caller's clock; None when the frame is dropped, or held until nobody knows when. It is
    right as long as the link is not changed. A tuple, because one is made for every frame.
    """

    fate: Fate
    sent_ns: int
    due_ns: int
    deliver_at_ns: int | None


class LinkModel:
    """One direction of a link: ``offer`` frames, ``set`` its numbers, ``cut`` and ``mend`` it.

    Calls come with ``now_ns`` that never goes back. Each effect draws from a random stream of its own, once a frame, so
    that jitter, queue or outages never change which frames the loss takes.
    """

    __slots__ = (
        "_buffer",
        "_busy_bits",
        "_busy_from_ns",
        "_counts",
        "_delay_ns",
        "_draw_jitter",
        "_draw_loss",
        "_free_ns",
        "_hash",
        "_held_bytes",
        "_held_ns",
        "_held_since_ns",
        "_jitter_ns",
        "_last_due_ns",
        "outage",
        "profile",
    )

    def __init__(self, profile: LinkProfile, rng_seed: int) -> None:
        self._draw_loss = random.Random(derived_seed(rng_seed, "loss")).random
        self._draw_jitter = random.Random(derived_seed(rng_seed, "jitter")).random
        self.outage: Outage | None = None
        self._counts = [0] * len(Fate)
        self._busy_from_ns = 0
        self._busy_bits = 0
        self._free_ns = 0
        self._last_due_ns = 0
        self._held_ns = 0
        self._held_since_ns: int | None = None
        self._held_bytes = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._buffer = array("q")
        self._adopt(profile)

    def offer(self, now_ns: int, frame_bytes: int) -> Verdict:
        """Give one frame to the link; its fate and when it comes out."""
        verdict = self._judge(now_ns, frame_bytes)
        self._counts[verdict.fate] += 1
        self._record(now_ns, frame_bytes, verdict.fate, verdict.due_ns)
        return verdict

    def _judge(self, now_ns: int, frame_bytes: int) -> Verdict:
        profile = self.profile
        is_lost = self._draw_loss() < profile.loss_ratio
        jitter_ns = int((2 * self._draw_jitter() - 1) * self._jitter_ns)
        clock_ns = self.clock_ns(now_ns)
        if profile.mtu_bytes is not None and frame_bytes > profile.mtu_bytes:
            return Verdict(Fate.OVERSIZE, clock_ns, clock_ns, None)
        wire_bytes = frame_bytes + profile.overhead_bytes
        waiting_bytes = self._waiting_bytes(clock_ns)
        if waiting_bytes and waiting_bytes + wire_bytes > profile.queue_bytes:
            return Verdict(Fate.QUEUE_FULL, clock_ns, clock_ns, None)
        sent_ns = self._serialise(clock_ns, wire_bytes)
        if self.outage is Outage.DROP:
            return Verdict(Fate.OUTAGE, sent_ns, sent_ns, None)
        if is_lost:
            return Verdict(Fate.LOST, sent_ns, sent_ns, None)
        due_ns = max(sent_ns + self._delay_ns + jitter_ns, self._last_due_ns)
        self._last_due_ns = due_ns
        if self._held_since_ns is not None:
            return Verdict(Fate.HELD, sent_ns, due_ns, None)
        return Verdict(Fate.DELIVERED, sent_ns, due_ns, due_ns + self._held_ns)

    def _serialise(self, clock_ns: int, wire_bytes: int) -> int:
        """When the last bit leaves. Counted from the start of the busy period, so that rounding never adds up."""
        if self._held_since_ns is not None:
            self._held_bytes += wire_bytes
        if self._free_ns <= clock_ns:
            self._busy_from_ns, self._busy_bits = clock_ns, 0
        self._busy_bits += wire_bytes * 8
        rate_bps = self.profile.rate_bps
        service_ns = 0 if rate_bps is None else -(-self._busy_bits * NS_PER_S // rate_bps)  # rounded up: never early
        self._free_ns = self._busy_from_ns + service_ns
        return self._free_ns

    def _waiting_bytes(self, clock_ns: int) -> int:
        if self._held_since_ns is not None:
            return self._held_bytes
        rate_bps = self.profile.rate_bps
        if self._free_ns <= clock_ns or rate_bps is None:
            return 0
        return -(-(self._free_ns - clock_ns) * rate_bps // (8 * NS_PER_S))

    def waiting_bytes(self, now_ns: int) -> int:
        """Wire bytes that have not left the sender yet, the rest of the frame in service included."""
        return self._waiting_bytes(self.clock_ns(now_ns))

    def clock_ns(self, now_ns: int) -> int:
        """The link's own time, which leaves out every hold."""
        return (now_ns if self._held_since_ns is None else self._held_since_ns) - self._held_ns

    @property
    def held_ns(self) -> int | None:
        """How far the link's clock is behind the caller's; None while it stands still."""
        return self._held_ns if self._held_since_ns is None else None

    def set(self, now_ns: int, profile: LinkProfile) -> None:
        """New numbers: rate for everything not yet sent, the others for the next frame."""
        clock_ns = self.clock_ns(now_ns)
        old_rate_bps = self.profile.rate_bps
        self._adopt(profile)
        self._free_ns = stretched_ns(self._free_ns, clock_ns, old_rate_bps, profile.rate_bps)
        self._busy_from_ns, self._busy_bits = self._free_ns, 0  # a frame that queues behind is counted from there
        self._record(now_ns, -1, profile.rate_bps or 0, self._delay_ns)

    def _adopt(self, profile: LinkProfile) -> None:
        self.profile = profile
        self._delay_ns = round(profile.delay_s * NS_PER_S)
        self._jitter_ns = round(profile.jitter_s * NS_PER_S)

    def cut(self, now_ns: int, outage: Outage, *, kills_in_flight: bool = False) -> None:
        """Begin an outage, or turn one kind into the other. ``kills_in_flight`` empties the queue as well."""
        if outage is not self.outage:
            self.mend(now_ns)
            self.outage = outage
            if outage is Outage.HOLD:
                self._held_bytes = self.waiting_bytes(now_ns)
                self._held_since_ns = now_ns
        if kills_in_flight:
            clock_ns = self.clock_ns(now_ns)
            self._free_ns = min(self._free_ns, clock_ns)
            self._last_due_ns = min(self._last_due_ns, clock_ns)
            self._held_bytes = 0
        self._record(now_ns, -2, 1 if outage is Outage.HOLD else 0, int(kills_in_flight))

    def mend(self, now_ns: int) -> None:
        """End the outage, if there is one; a hold lets go what it held."""
        if self._held_since_ns is not None:
            self._held_ns += now_ns - self._held_since_ns
            self._held_since_ns = None
        self.outage = None
        self._record(now_ns, -3, 0, self._held_ns)

    def keep_order_after(self, due_ns: int) -> None:
        """The last frame on its way is due then, on the link's clock: no later frame comes out before."""
        self._last_due_ns = due_ns

    def count_killed(self, frames: int) -> None:
        """Add frames that a cut took in flight to the counts."""
        self._counts[Fate.CUT_IN_FLIGHT] += frames

    def counts(self) -> dict[str, int]:
        """Frames by the name of their fate; HELD ones are those offered in a hold, whatever came later."""
        return {fate.word: self._counts[fate] for fate in Fate}

    def _record(self, *numbers: int) -> None:
        buffer = self._buffer
        buffer.extend(numbers)
        if len(buffer) >= _DIGEST_CHUNK:
            self._hash.update(buffer.tobytes())
            del buffer[:]

    def digest(self) -> str:
        """Hash of every verdict and change so far: equal for equal seeds and calls, on every machine."""
        whole = self._hash.copy()
        whole.update(self._buffer.tobytes())
        return whole.hexdigest()


def stretched_ns(at_ns: int, clock_ns: int, old_rate_bps: int | None, new_rate_bps: int | None) -> int:
    """When bits leave that would have left at ``at_ns``, if the rate changes at ``clock_ns``."""
    if at_ns <= clock_ns or old_rate_bps == new_rate_bps or old_rate_bps is None:
        return at_ns
    if new_rate_bps is None:
        return clock_ns
    return clock_ns - (-(at_ns - clock_ns) * old_rate_bps // new_rate_bps)

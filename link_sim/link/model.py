"""Link model: what happens to a frame that is offered to one direction of a link.

Pure: integer nanoseconds come in with every call, nothing here reads a clock or a socket, and the same seed and the
same calls give the same verdicts in virtual time and in a real-time proxy.

The order of effects is that of a radio or a modem: size, queue, medium and service, outage, loss, damage, flight,
copies. A frame lost on the air has used its air time. A ``hold`` outage stops the link's own clock: whatever waits or
flies stays where it is and goes on, in order, when the outage ends. What each part knows: docs/adr/0010-link-model.md.
"""

from collections.abc import Callable
from enum import Enum, IntEnum
from typing import NamedTuple

from link_sim.errors import ProfileError
from link_sim.link.delays import next_poll_ns
from link_sim.link.link_profile import LinkProfile
from link_sim.link.losses import Draw, ListedLoss, RandomLoss
from link_sim.link.media import Medium, Transmission
from link_sim.link.parts import Streams, make_delays, make_jitter, make_losses, make_service
from link_sim.link.queues import CoDel, QueueKind, Waiting
from link_sim.link.services import NEVER_NS, NS_PER_S, SteadyRate, TokenBucket
from link_sim.link.verdict_log import VerdictLog

_SERVICE_FIELDS = ("rate_schedule", "schedule_period_s", "trace", "duty_ratio", "interval_s", "burst_bytes")


class Fate(IntEnum):
    """What became of an offered frame. The value goes into the digest: append only."""

    DELIVERED = 0
    HELD = 1
    LOST = 2
    QUEUE_FULL = 3
    OUTAGE = 4
    CUT_IN_FLIGHT = 5
    OVERSIZE = 6
    AGED = 7
    COLLIDED = 8

    @property
    def word(self) -> str:
        """The name in reports."""
        return self.name.lower()


class Outage(Enum):
    """What a cut does to frames: they vanish, or they wait for the end."""

    DROP = "drop"
    HOLD = "hold"


class Verdict(NamedTuple):
    """Fate of one frame; ``sent_ns`` and ``due_ns`` are on the link's own clock, which stands still in a hold.

    ``deliver_at_ns`` is on the caller's clock; None when the frame is dropped, or held until nobody knows when. It is
    right as long as the link is not changed. ``damage`` above 0: it arrives with a bit flipped (``spoiled``);
    ``copy_due_ns`` 0 or more: it arrives once more then. A tuple, because one is made for nearly every frame.
    """

    fate: Fate
    sent_ns: int
    due_ns: int
    deliver_at_ns: int | None
    damage: int = 0
    copy_due_ns: int = -1


# Members are looked up once, here and in other modules that see each frame: Python 3.11 takes 0.2 us for it.
_DELIVERED, _HELD, _LOST, _QUEUE_FULL = Fate.DELIVERED, Fate.HELD, Fate.LOST, Fate.QUEUE_FULL
_OUTAGE, _OVERSIZE, _AGED, _DROP = Fate.OUTAGE, Fate.OVERSIZE, Fate.AGED, Outage.DROP
_verdict = tuple.__new__  # a quarter of the cost of calling the class


class PlainParts(NamedTuple):
    """What a plain link is made of until its next change (``link_sim.link.plain_path``).

    ``draw_loss`` for random loss, ``is_taken`` for another kind; ``lag_ns``: how far the link's clock is behind the
    caller's; ``last_due_ns``: no frame is due before, on the link's clock.
    """

    profile: LinkProfile
    service: SteadyRate
    draw_loss: Draw | None
    is_taken: Callable[[int, int, int], bool] | None
    vary_ns: Callable[[int], int] | None
    delay_ns: int
    lag_ns: int
    last_due_ns: int


class LinkModel:
    """One direction of a link: ``offer`` frames, ``set`` its numbers, ``cut`` and ``mend`` it.

    Calls come with ``now_ns`` that never goes back. Each effect draws from a random stream of its own, once for each
    frame offered, so that jitter, queue or outages never change which frames the loss takes.
    """

    def __init__(self, profile: LinkProfile, rng_seed: int, medium: Medium | None = None) -> None:
        self.outage: Outage | None = None
        self.air: Transmission | None = None
        """The frame offered last on its medium; None without one."""
        self.price = 0.0
        self._streams = Streams.of(rng_seed)
        self._medium = medium
        self._station = medium.join() if medium is not None else 0
        self._killed = self._collided = 0
        self._extra = {"damaged": 0, "copies": 0}
        self.last_due_ns = 0
        """No frame offered later is due before, on the link's clock, unless the profile reorders."""
        self.lag_ns = 0
        """How far the link's clock is behind the caller's, a hold that lasts apart."""
        self._held_since_ns: int | None = None
        self._held_bytes = 0
        self._is_shared = False
        self.log = VerdictLog()
        self._service = make_service(profile)
        self._waiting = Waiting()
        self._codel = CoDel()
        self._adopt(profile)

    def offer(self, now_ns: int, frame_bytes: int) -> Verdict:
        """Give one frame to the link; its fate and when it comes out."""
        verdict = self._judge(now_ns, frame_bytes)
        fate, _, due_ns, _, damage, copy_due_ns = verdict
        self.log.add(now_ns, frame_bytes, fate, due_ns)
        if damage or copy_due_ns >= 0:
            self.log.remark(now_ns, -4, damage, copy_due_ns)
        return verdict

    def plain_parts(self) -> PlainParts | None:
        """Parts to judge frames by beside ``offer``, until the link is changed; None when ``offer`` has to.

        Whoever used them brings ``last_due_ns`` up to date before the link is changed.
        """
        service = self._service
        if self.outage is not None or not self._is_plain or not isinstance(service, SteadyRate):
            return None
        loss = self._losses[0] if self._losses else None
        return PlainParts(
            profile=self.profile,
            service=service,
            draw_loss=loss.draw if isinstance(loss, RandomLoss) else None,
            is_taken=None if loss is None else loss.takes,
            vary_ns=None if self._jitter is None else self._jitter.flight_ns,
            delay_ns=self._delay_ns,
            lag_ns=self.lag_ns,
            last_due_ns=self.last_due_ns,
        )

    def _judge(self, now_ns: int, frame_bytes: int) -> Verdict:
        profile, held_since_ns = self.profile, self._held_since_ns
        clock_ns = (now_ns if held_since_ns is None else held_since_ns) - self.lag_ns
        is_lost, number = False, self.log.verdicts if self._has_listed else -1
        for loss in self._losses:  # each draws, whatever becomes of the frame
            is_lost |= loss.takes(number, frame_bytes, clock_ns)
        flight_ns = self._delay_ns if self._jitter is None else self._delay_ns + self._jitter.flight_ns(clock_ns)
        damage, has_copy = self._draw_damage() if self._has_damage else (0, False)
        self.air = None
        if profile.mtu_bytes is not None and frame_bytes > profile.mtu_bytes:
            return Verdict(_OVERSIZE, clock_ns, clock_ns, None)
        wire_bytes = frame_bytes + profile.overhead_bytes
        refused = self._refusal(clock_ns, wire_bytes)
        if refused is not None:
            return Verdict(refused, clock_ns, clock_ns, None)
        sent_ns = self._serve(clock_ns, wire_bytes)
        if sent_ns >= NEVER_NS or self.outage is _DROP:
            return Verdict(_OUTAGE, min(sent_ns, NEVER_NS), min(sent_ns, NEVER_NS), None)
        self.price += profile.price_per_frame
        if is_lost:
            return Verdict(_LOST, sent_ns, sent_ns, None)
        for part in self._delays:
            flight_ns += part.flight_ns(sent_ns)
        due_ns = self._due_ns(sent_ns, flight_ns)
        copy_due_ns = self._due_ns(sent_ns, flight_ns) if has_copy else -1
        if held_since_ns is not None:
            return _verdict(Verdict, (_HELD, sent_ns, due_ns, None, damage, copy_due_ns))
        return _verdict(Verdict, (_DELIVERED, sent_ns, due_ns, due_ns + self.lag_ns, damage, copy_due_ns))

    def _due_ns(self, sent_ns: int, flight_ns: int) -> int:
        due_ns = sent_ns + flight_ns if flight_ns > 0 else sent_ns
        if self._poll_ns:
            due_ns = next_poll_ns(due_ns, self._poll_ns)
        if self.profile.reorders:
            return due_ns
        if due_ns < self.last_due_ns:
            due_ns = self.last_due_ns
        self.last_due_ns = due_ns
        return due_ns

    def _draw_damage(self) -> tuple[int, bool]:
        profile, damage, has_copy = self.profile, 0, False
        if profile.corrupt_ratio:
            rng = self._streams["damage"]
            is_damaged, where = rng.random() < profile.corrupt_ratio, rng.getrandbits(30)
            damage = where + 1 if is_damaged else 0
            self._extra["damaged"] += is_damaged
        if profile.duplicate_ratio:
            has_copy = self._streams["copies"].random() < profile.duplicate_ratio
            self._extra["copies"] += has_copy
        return damage, has_copy

    def _refusal(self, clock_ns: int, wire_bytes: int) -> Fate | None:
        """Why the queue does not take a frame; None when it does."""
        profile = self.profile
        waiting_bytes = self._waiting_bytes(clock_ns)
        if not waiting_bytes and not self._must_wait(clock_ns, wire_bytes):
            return None
        if waiting_bytes + wire_bytes > profile.queue_bytes:
            return _QUEUE_FULL
        waits_ns = max(0, self._service.free_ns - clock_ns)
        if self._queue_ns is not None and waits_ns > self._queue_ns:
            return _QUEUE_FULL
        if self._has_codel and self._codel.drops(clock_ns + waits_ns, waits_ns, is_last=waiting_bytes <= wire_bytes):
            return _AGED
        return None

    def _must_wait(self, clock_ns: int, wire_bytes: int) -> bool:
        """Whether a bucket lacks tokens for a frame though nothing waits."""
        service = self._service
        return isinstance(service, TokenBucket) and service.would_leave_ns(clock_ns, wire_bytes) > clock_ns

    def _serve(self, clock_ns: int, wire_bytes: int) -> int:
        """When the last bit leaves."""
        if self._held_since_ns is not None:
            self._held_bytes += wire_bytes
        from_ns = clock_ns
        if self._medium is not None:
            wish_ns = max(clock_ns, self._service.free_ns)
            from_ns = self._medium.start_ns(self._station, wish_ns)
        sent_ns = self._service.serve(from_ns, wire_bytes)
        if self._medium is not None and sent_ns < NEVER_NS:
            self.air = self._medium.transmit(self._station, from_ns, sent_ns)
        if not self._is_steady:
            self._waiting.add(sent_ns, wire_bytes)
        return sent_ns

    def _waiting_bytes(self, clock_ns: int) -> int:
        if self._held_since_ns is not None:
            return self._held_bytes
        if not self._is_steady:
            return self._waiting.at(clock_ns)
        free_ns, rate_bps = self._service.free_ns, self.profile.rate_bps
        if free_ns <= clock_ns or rate_bps is None:
            return 0
        return -(-(free_ns - clock_ns) * rate_bps // (8 * NS_PER_S))

    def waiting_bytes(self, now_ns: int) -> int:
        """Wire bytes that have not left the sender yet, the rest of the frame in service included."""
        return self._waiting_bytes(self.clock_ns(now_ns))

    def clock_ns(self, now_ns: int) -> int:
        """The link's own time, which leaves out every hold."""
        return (now_ns if self._held_since_ns is None else self._held_since_ns) - self.lag_ns

    @property
    def held_ns(self) -> int | None:
        """How far the link's clock is behind the caller's; None while it stands still."""
        return self.lag_ns if self._held_since_ns is None else None

    @property
    def has_medium(self) -> bool:
        """Whether frames may meet others on the air."""
        return self._medium is not None

    def share(self, other: "LinkModel") -> None:
        """Stand in the queue of ``other`` from now on: its rate serves both, and its queue drops for both.

        Both have one steady rate and one length of queue, and neither ever holds. Raises ProfileError.
        """
        numbers = [(each.profile.rate_bps, each.profile.queue_bytes) for each in (self, other)]
        if not (self._is_plain and other._is_plain) or numbers[0] != numbers[1] or self.lag_ns or other.lag_ns:
            raise ProfileError(f"links of {numbers[0]} and {numbers[1]} (bit/s, bytes): only alike, plain ones share")
        self._service = other._service
        self._is_shared = other._is_shared = True

    def set(self, now_ns: int, profile: LinkProfile) -> None:
        """New numbers: a rate for everything not yet sent, the others for the next frame."""
        if self._is_shared and profile.rate_bps != self.profile.rate_bps:
            raise ProfileError(f"rate_bps {profile.rate_bps}: others share it, and it stays {self.profile.rate_bps}")
        clock_ns, old = self.clock_ns(now_ns), self.profile
        free_ns = stretched_ns(self._service.free_ns, clock_ns, old.rate_bps, profile.rate_bps)
        is_same = all(getattr(old, name) == getattr(profile, name) for name in _SERVICE_FIELDS)
        if not is_same or old.rate_bps != profile.rate_bps:
            service = self._service = make_service(profile)
            is_unlimited = isinstance(service, SteadyRate) and service.rate_bps is None
            service.free_ns = min(free_ns, clock_ns) if is_unlimited else free_ns
            if isinstance(service, TokenBucket):
                service.empty(max(free_ns, clock_ns))
        self._adopt(profile)
        self.log.remark(now_ns, -1, profile.rate_bps or 0, self._delay_ns)

    def _adopt(self, profile: LinkProfile) -> None:
        self.profile = profile
        self._delay_ns = round(profile.delay_s * NS_PER_S)
        self._poll_ns = 0 if profile.poll_s is None else round(profile.poll_s * NS_PER_S)
        self._queue_ns = None if profile.queue_s is None else round(profile.queue_s * NS_PER_S)
        self._has_codel = profile.queue_kind is QueueKind.CODEL
        self._has_damage = bool(profile.corrupt_ratio or profile.duplicate_ratio)
        self._is_steady = isinstance(self._service, SteadyRate) and self._medium is None
        self._losses = make_losses(profile, self._streams)
        self._jitter = make_jitter(profile, self._streams)
        self._delays = make_delays(profile, self._streams)
        has_rest = self._delays or self._poll_ns or self._queue_ns or self._has_codel or self._has_damage
        self._is_plain = self._is_steady and not has_rest and not profile.reorders and not profile.price_per_frame
        self._has_listed = any(isinstance(loss, ListedLoss) for loss in self._losses)  # which go by a frame's number
        self._is_plain = self._is_plain and len(self._losses) < 2 and not self._has_listed

    def cut(self, now_ns: int, outage: Outage, *, kills_in_flight: bool = False) -> None:
        """Begin an outage, or turn one kind into the other. ``kills_in_flight`` empties the queue as well."""
        if self._is_shared and (kills_in_flight or outage is Outage.HOLD):
            raise ProfileError("a link whose queue others share neither holds nor forgets what is in it")
        if outage is not self.outage:
            self.mend(now_ns)
            self.outage = outage
            if outage is Outage.HOLD:
                self._held_bytes = self.waiting_bytes(now_ns)
                self._held_since_ns = now_ns
        if kills_in_flight:
            clock_ns = self.clock_ns(now_ns)
            self._service.free_ns = min(self._service.free_ns, clock_ns)
            self.last_due_ns = min(self.last_due_ns, clock_ns)
            self._held_bytes = 0
        self.log.remark(now_ns, -2, 1 if outage is Outage.HOLD else 0, int(kills_in_flight))

    def mend(self, now_ns: int) -> None:
        """End the outage, if there is one; a hold lets go what it held."""
        if self._held_since_ns is not None:
            self.lag_ns += now_ns - self._held_since_ns
            self._held_since_ns = None
        self.outage = None
        self.log.remark(now_ns, -3, 0, self.lag_ns)

    def count_killed(self, frames: int) -> None:
        """Add frames that a cut took in flight to the counts."""
        self._killed += frames

    def counts(self) -> dict[str, int]:
        """Frames by the name of their fate; HELD ones are those offered in a hold, whatever came later."""
        counts = self.log.count()
        counts[Fate.DELIVERED] -= self._collided
        counts[Fate.COLLIDED] = self._collided
        counts[Fate.CUT_IN_FLIGHT] = self._killed
        return {fate.word: counts[fate] for fate in Fate} | self._extra

    def count_collided(self) -> None:
        """A frame that was to be delivered met another on the air."""
        self._collided += 1

    def digest(self) -> str:
        """Hash of every verdict and change so far: equal for equal seeds and calls, on every machine."""
        return self.log.digest()


def stretched_ns(at_ns: int, clock_ns: int, old_rate_bps: int | None, new_rate_bps: int | None) -> int:
    """When bits leave that would have left at ``at_ns``, if the rate changes at ``clock_ns``."""
    if at_ns <= clock_ns or old_rate_bps == new_rate_bps or old_rate_bps is None:
        return at_ns
    if new_rate_bps is None:
        return clock_ns
    return clock_ns - (-(at_ns - clock_ns) * old_rate_bps // new_rate_bps)


def spoiled(frame: bytes, damage: int) -> bytes:
    """``frame`` with the bit flipped that ``Verdict.damage`` names; an empty one stays empty."""
    if not frame:
        return frame
    changed = bytearray(frame)
    at, bit = divmod(damage % (8 * len(frame)), 8)
    changed[at] ^= 1 << bit
    return bytes(changed)

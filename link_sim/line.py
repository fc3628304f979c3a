"""Line: one direction of a link with the frames that are on their way, for any clock.

``LinkModel`` judges, the line keeps what was judged to arrive until the caller takes it. Virtual time and the real-time
proxies drive the same object.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, NamedTuple, TypeVar

from link_sim.link_profile import LinkProfile
from link_sim.media import Medium, Transmission
from link_sim.model import Fate, LinkModel, Outage, Verdict, stretched_ns

Frame = TypeVar("Frame")


Offered = Callable[[int, int, Frame, Verdict], object]
"""Given the time in ns, the frame's bytes, the frame and its verdict."""
Taken = Callable[[int, int, Frame], object]
"""Given the time in ns, when the frame was offered, and the frame as it came out."""


class _Flight(NamedTuple):
    """A frame on its way; flights compare by when they are due, then by when they were offered."""

    due_ns: int
    order: int
    sent_ns: int
    frame: object
    air: Transmission | None
    offered_ns: int
    """By the caller's clock."""


_flight = tuple.__new__  # as in model: one is made for every frame


class Line(Generic[Frame]):
    """Frames between ``offer`` and ``take``. ``now_ns`` never goes back.

    They come out in the order of their due times; those of a profile that does not ``reorders`` are due in the order
    they were offered. ``spoil`` makes a damaged frame of a whole one (``Verdict.damage``); without it damage is lost.
    """

    __slots__ = ("_flying", "_observers", "_order", "_original", "_spoil", "_takers", "model")

    def __init__(
        self,
        profile: LinkProfile,
        rng_seed: int,
        *,
        medium: Medium | None = None,
        spoil: Callable[[Frame, int], Frame] | None = None,
    ) -> None:
        self._original = profile
        self._spoil = spoil
        self.model = LinkModel(profile, rng_seed, medium)
        self._observers: tuple[Offered[Frame], ...] = ()
        self._takers: tuple[Taken[Frame], ...] = ()
        self._flying: list[_Flight] = []  # a heap, bounded by queue_bytes, and by rate x delay
        self._order = 0

    def observe(self, offered: Offered[Frame], taken: Taken[Frame] | None = None) -> None:
        """Tell of every frame offered from now on, and of every one that came out."""
        self._observers += (offered,)
        self._takers += () if taken is None else (taken,)

    def __len__(self) -> int:
        return len(self._flying)

    @property
    def profile(self) -> LinkProfile:
        """The numbers in force now."""
        return self.model.profile

    @property
    def original_profile(self) -> LinkProfile:
        """The numbers it was made with, and ``restore`` brings back."""
        return self._original

    def offer(self, now_ns: int, frame_bytes: int, frame: Frame) -> Verdict:
        """Give a frame to the link; it comes out of ``take`` unless its verdict says otherwise."""
        model = self.model
        verdict = model.offer(now_ns, frame_bytes)
        for observer in self._observers:
            observer(now_ns, frame_bytes, frame, verdict)
        if verdict.fate <= Fate.HELD:
            if verdict.damage and self._spoil is not None:
                frame = self._spoil(frame, verdict.damage)
            self._order = order = self._order + 2
            flight = _flight(_Flight, (verdict.due_ns, order, verdict.sent_ns, frame, model.air, now_ns))
            heappush(self._flying, flight)
            if verdict.copy_due_ns >= 0:
                heappush(self._flying, flight._replace(due_ns=verdict.copy_due_ns, order=order + 1))
        return verdict

    def next_due_ns(self) -> int | None:
        """When the next frame comes out, on the caller's clock; None while there is none or the link holds."""
        if not self._flying:
            return None
        held_ns = self.model.held_ns
        return None if held_ns is None else self._flying[0].due_ns + held_ns

    def take(self, now_ns: int) -> Frame | None:
        """The next frame that is due by ``now_ns``, or None."""
        flying = self._flying
        if not flying:
            return None
        held_ns = self.model.held_ns
        while held_ns is not None and flying and flying[0].due_ns + held_ns <= now_ns:
            flight = heappop(flying)
            if flight.air is None or not flight.air.is_spoiled:
                frame: Frame = flight.frame  # type: ignore[assignment]  # only this line puts frames in
                for taker in self._takers:
                    taker(now_ns, flight.offered_ns, frame)
                return frame
            self.model.count_collided()
        return None

    def set(self, now_ns: int, profile: LinkProfile) -> None:
        """New numbers from now on; what has not been sent yet goes on at the new rate."""
        clock_ns, old_rate_bps = self.model.clock_ns(now_ns), self.profile.rate_bps
        self.model.set(now_ns, profile)
        if old_rate_bps == profile.rate_bps:
            return
        last_due_ns = 0
        moved: list[_Flight] = []
        for flight in sorted(self._flying):
            sent_ns = stretched_ns(flight.sent_ns, clock_ns, old_rate_bps, profile.rate_bps)
            due_ns = sent_ns + flight.due_ns - flight.sent_ns
            if not profile.reorders:
                due_ns = last_due_ns = max(last_due_ns, due_ns)
            moved.append(flight._replace(sent_ns=sent_ns, due_ns=due_ns))
        self._flying = sorted(moved)
        self.model.keep_order_after(last_due_ns)

    def cut(self, now_ns: int, outage: Outage = Outage.DROP, *, kills_in_flight: bool = False) -> None:
        """Begin an outage; ``kills_in_flight`` drops what is on its way as well."""
        self.model.cut(now_ns, outage, kills_in_flight=kills_in_flight)
        if kills_in_flight:
            self.model.count_killed(len(self._flying))
            self._flying.clear()

    def mend(self, now_ns: int) -> None:
        """End the outage and keep the other numbers."""
        self.model.mend(now_ns)

    def restore(self, now_ns: int) -> None:
        """End the outage and bring back the numbers the line was made with."""
        self.model.mend(now_ns)
        self.set(now_ns, self._original)

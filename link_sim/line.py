"""Line: one direction of a link with the frames that are on their way, for any clock.

``LinkModel`` judges, the line keeps what was judged to arrive until the caller takes it. Virtual time and the real-time
proxies drive the same object.
"""

from collections import deque
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

    __slots__ = ("_flying", "_observers", "_order", "_original", "_overtaking", "_spoil", "_takers", "model")

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
        self._flying: deque[_Flight] = deque()  # in order; bounded by queue_bytes, and by rate x delay
        self._overtaking: list[_Flight] = []  # a heap of those due before one that was offered earlier
        self._order = 0

    def observe(self, offered: Offered[Frame], taken: Taken[Frame] | None = None) -> None:
        """Tell of every frame offered from now on, and of every one that came out."""
        self._observers += (offered,)
        self._takers += () if taken is None else (taken,)

    def __len__(self) -> int:
        return len(self._flying) + len(self._overtaking)

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
            flying = self._flying
            if not flying or flight[0] >= flying[-1][0]:  # nearly all: a heap costs a fifth of a frame's time
                flying.append(flight)
            else:
                heappush(self._overtaking, flight)
            if verdict.copy_due_ns >= 0:
                heappush(self._overtaking, flight._replace(due_ns=verdict.copy_due_ns, order=order + 1))
        return verdict

    def _first_due_ns(self) -> int | None:
        """When the next one is due, on the link's clock."""
        if not self._overtaking:
            return self._flying[0][0] if self._flying else None
        return min(self._flying[0][0], self._overtaking[0][0]) if self._flying else self._overtaking[0][0]

    def next_due_ns(self) -> int | None:
        """When the next frame comes out, on the caller's clock; None while there is none or the link holds."""
        due_ns, held_ns = self._first_due_ns(), self.model.held_ns
        return None if due_ns is None or held_ns is None else due_ns + held_ns

    def take(self, now_ns: int) -> Frame | None:
        """The next frame that is due by ``now_ns``, or None."""
        flying = self._flying
        if flying and not self._overtaking and not self._takers:  # the usual case without a list
            held_ns = self.model.held_ns
            if held_ns is None or flying[0][0] + held_ns > now_ns:
                return None
            if flying[0][4] is None:
                return flying.popleft()[3]  # type: ignore[return-value]  # only this line puts frames in
        elif not flying and not self._overtaking:
            return None
        frames, _ = self.take_due(now_ns, 1)
        return frames[0] if frames else None

    def take_due(self, now_ns: int, frames_max: int) -> tuple[list[Frame], list[int]]:
        """Frames that are due by ``now_ns``, in order, and when each of them was due on the caller's clock."""
        frames: list[Frame] = []
        dues_ns: list[int] = []
        flying, overtaking, held_ns = self._flying, self._overtaking, self.model.held_ns
        if held_ns is None:
            return frames, dues_ns
        clock_ns = now_ns - held_ns
        while len(frames) < frames_max and (flying or overtaking):
            if overtaking and (not flying or overtaking[0] < flying[0]):
                if overtaking[0][0] > clock_ns:
                    break
                flight = heappop(overtaking)
            elif flying[0][0] <= clock_ns:
                flight = flying.popleft()
            else:
                break
            due_ns, _, _, frame, air, offered_ns = flight
            if air is not None and air.is_spoiled:
                self.model.count_collided()
                continue
            frames.append(frame)  # type: ignore[arg-type]  # only this line puts frames in
            dues_ns.append(due_ns + held_ns)
            for taker in self._takers:
                taker(now_ns, offered_ns, frames[-1])
        return frames, dues_ns

    def set(self, now_ns: int, profile: LinkProfile) -> None:
        """New numbers from now on; what has not been sent yet goes on at the new rate."""
        clock_ns, old_rate_bps = self.model.clock_ns(now_ns), self.profile.rate_bps
        self.model.set(now_ns, profile)
        if old_rate_bps == profile.rate_bps:
            return
        last_due_ns = 0
        moved: list[_Flight] = []
        for flight in sorted((*self._flying, *self._overtaking)):
            sent_ns = stretched_ns(flight.sent_ns, clock_ns, old_rate_bps, profile.rate_bps)
            due_ns = sent_ns + flight.due_ns - flight.sent_ns
            if not profile.reorders:
                due_ns = last_due_ns = max(last_due_ns, due_ns)
            moved.append(flight._replace(sent_ns=sent_ns, due_ns=due_ns))
        self._flying, self._overtaking = deque(sorted(moved)), []
        self.model.keep_order_after(last_due_ns)

    def cut(self, now_ns: int, outage: Outage = Outage.DROP, *, kills_in_flight: bool = False) -> None:
        """Begin an outage; ``kills_in_flight`` drops what is on its way as well."""
        self.model.cut(now_ns, outage, kills_in_flight=kills_in_flight)
        if kills_in_flight:
            self.model.count_killed(len(self))
            self._flying.clear()
            self._overtaking.clear()

    def mend(self, now_ns: int) -> None:
        """End the outage and keep the other numbers."""
        self.model.mend(now_ns)

    def restore(self, now_ns: int) -> None:
        """End the outage and bring back the numbers the line was made with."""
        self.model.mend(now_ns)
        self.set(now_ns, self._original)

"""Line: one direction of a link with the frames that are on their way, for any clock.

``LinkModel`` judges, the line keeps what was judged to arrive until the caller takes it. Virtual time and the real-time
proxies drive the same object. What it does with a frame is chosen anew at each change of the link: most links need a
fraction of what any link may.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from operator import itemgetter
from typing import Generic, TypeVar

from link_sim.link.link_profile import LinkProfile
from link_sim.link.media import Medium
from link_sim.link.model import Fate, LinkModel, Outage, Verdict, stretched_ns
from link_sim.link.plain_path import Flight, make_carry

Frame = TypeVar("Frame")


Offered = Callable[[int, int, Frame, Verdict], object]
"""Given the time in ns, the frame's bytes, the frame and its verdict."""
Taken = Callable[[int, int, Frame], object]
"""Given the time in ns, when the frame was offered, and the frame as it came out."""

_verdict = tuple.__new__  # a quarter of the cost of calling the class
_FATES = tuple(Fate)
_DELIVERED, _HELD = Fate.DELIVERED, Fate.HELD  # looked up once, as in model
_in_order = itemgetter(0, 1)  # of flights, by when they are due and then by when they were offered


class Line(Generic[Frame]):
    """Frames between ``offer`` and ``take``. ``now_ns`` never goes back.

    They come out in the order of their due times; those of a profile that does not ``reorders`` are due in the order
    they were offered. ``spoil`` makes a damaged frame of a whole one (``Verdict.damage``); without it damage is lost.
    """

    __slots__ = (
        "_adopt",
        "_dues_ns",
        "_flying",
        "_is_blocked",
        "_is_plain",
        "_is_simple",
        "_observers",
        "_order",
        "_original",
        "_overtaking",
        "_plain",
        "_spoil",
        "_takers",
        "carry",
        "model",
    )

    carry: Callable[[int, int, Frame], int | None]
    """``offer`` for who needs only ``deliver_at_ns`` of it, at two thirds of the cost. Always the same function."""

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
        self._flying: deque[Flight] = deque()  # in order; bounded by queue_bytes, and by rate x delay
        self._overtaking: list[Flight] = []  # a heap of those due before one that was offered earlier
        self._order = 0
        self._is_plain = self._is_simple = self._is_blocked = False
        self._dues_ns = self.model.log.dues_ns
        self._plain, self._adopt = make_carry(self._flying, self.model.log, self._carry_any)
        self.carry = self._plain
        self._choose()

    def _choose(self) -> None:
        """Take the shortest way that the link allows as it is now."""
        self._settle()
        model, flying = self.model, self._flying
        tail_ns = flying[-1][0] - model.lag_ns if flying else 0
        self._is_blocked = bool(self._overtaking) or tail_ns > model.last_due_ns  # until those have come out
        parts = None if self._is_blocked else model.plain_parts()
        self._is_plain = parts is not None
        self._is_simple = not (self._is_blocked or self._takers or model.has_medium or model.held_ns is None)
        self._order += 2
        self._adopt(parts, self._order)

    def _settle(self) -> None:
        """Tell the model what a plain path did without it, before anything else is asked or told."""
        model, flying = self.model, self._flying
        if not self._is_plain or not flying:
            return
        model.last_due_ns = max(model.last_due_ns, flying[-1][0] - model.lag_ns)
        shared, next_order = self._order, count(self._order, 2)
        numbered = [(due_ns, next(next_order) if order == shared else order, *rest) for due_ns, order, *rest in flying]
        flying.clear()
        flying.extend(numbered)
        self._order = next(next_order)

    def observe(self, offered: Offered[Frame], taken: Taken[Frame] | None = None) -> None:
        """Tell of every frame offered from now on, and of every one that came out."""
        if not self._observers:  # whoever holds ``carry`` comes by ``offer`` from now on
            self._settle()
            self._adopt(None, 0)
            self._plain, self._adopt = make_carry(self._flying, self.model.log, self._carry_any)
        self._observers += (offered,)
        self._takers += () if taken is None else (taken,)
        self._choose()

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
        if self._is_plain:
            plain = self._plain
            at_ns, due_ns = plain(now_ns, frame_bytes, frame), self._dues_ns[-1]
            if at_ns is None:
                fate = _FATES[self.model.log.fates[-1][1]]
                verdict = _verdict(Verdict, (fate, due_ns, due_ns, None, 0, -1))
            else:
                verdict = _verdict(Verdict, (_DELIVERED, self._flying[-1][2], due_ns, at_ns, 0, -1))
        else:
            verdict = self.model.offer(now_ns, frame_bytes)
            if verdict.fate <= _HELD:
                self._launch(now_ns, frame, verdict)
        for observer in self._observers:
            observer(now_ns, frame_bytes, frame, verdict)
        return verdict

    def _carry_any(self, now_ns: int, frame_bytes: int, frame: Frame) -> int | None:
        return self.offer(now_ns, frame_bytes, frame).deliver_at_ns

    def _launch(self, now_ns: int, frame: Frame, verdict: Verdict) -> None:
        _, sent_ns, due_ns, _, damage, copy_due_ns = verdict
        if damage and self._spoil is not None:
            frame = self._spoil(frame, damage)
        self._order = order = self._order + 2
        air, lag_ns, flying = self.model.air, self.model.lag_ns, self._flying
        flight = (due_ns + lag_ns, order, sent_ns, frame, air, now_ns)
        if not flying or flight[0] >= flying[-1][0]:  # nearly all: a heap costs a fifth of a frame's time
            flying.append(flight)
        else:
            heappush(self._overtaking, flight)
            self._is_simple = False
        if copy_due_ns >= 0:
            heappush(self._overtaking, (copy_due_ns + lag_ns, order + 1, sent_ns, frame, air, now_ns))
            self._is_simple = False

    def next_due_ns(self) -> int | None:
        """When the next frame comes out, on the caller's clock; None while there is none or the link holds."""
        flying, overtaking = self._flying, self._overtaking
        if self._is_simple:
            return flying[0][0] if flying else None
        if self.model.held_ns is None or not (flying or overtaking):
            return None
        if not overtaking:
            return flying[0][0]
        return min(flying[0][0], overtaking[0][0]) if flying else overtaking[0][0]

    def take(self, now_ns: int) -> Frame | None:
        """The next frame that is due by ``now_ns``, or None."""
        flying = self._flying
        if self._is_simple:
            if flying and flying[0][0] <= now_ns:
                return flying.popleft()[3]  # type: ignore[no-any-return]  # only this line puts frames in
            return None
        frames, _ = self.take_due(now_ns, 1)
        return frames[0] if frames else None

    def take_due(self, now_ns: int, frames_max: int) -> tuple[list[Frame], list[int]]:
        """Frames that are due by ``now_ns``, in order, and when each of them was due on the caller's clock."""
        frames: list[Frame] = []
        dues_ns: list[int] = []
        flying, overtaking = self._flying, self._overtaking
        if self.model.held_ns is None:
            return frames, dues_ns
        while len(frames) < frames_max and (flying or overtaking):
            if overtaking and (not flying or overtaking[0] < flying[0]):
                if overtaking[0][0] > now_ns:
                    break
                flight = heappop(overtaking)
            elif flying[0][0] <= now_ns:
                flight = flying.popleft()
            else:
                break
            due_ns, _, _, frame, air, offered_ns = flight
            if air is not None and air.is_spoiled:
                self.model.count_collided()
                continue
            frames.append(frame)
            dues_ns.append(due_ns)
            for taker in self._takers:
                taker(now_ns, offered_ns, frame)
        if self._is_blocked and not overtaking:
            self._choose()
        return frames, dues_ns

    def share(self, other: "Line[Frame]") -> None:
        """Stand in one queue with ``other`` from now on, at one rate for both. Raises ProfileError."""
        self._settle()
        self.model.share(other.model)
        self._is_plain = False
        self._choose()

    def set(self, now_ns: int, profile: LinkProfile) -> None:
        """New numbers from now on; what has not been sent yet goes on at the new rate."""
        self._settle()
        clock_ns, old_rate_bps = self.model.clock_ns(now_ns), self.profile.rate_bps
        self.model.set(now_ns, profile)
        if old_rate_bps != profile.rate_bps:
            self._move(clock_ns, old_rate_bps, profile)
        self._is_plain = False  # nothing is left to settle
        self._choose()

    def _move(self, clock_ns: int, old_rate_bps: int | None, profile: LinkProfile) -> None:
        """Due times at the new rate. ``clock_ns`` is the link's."""
        lag_ns = self.model.lag_ns
        last_due_ns = lag_ns
        moved: list[Flight] = []
        for due_ns, order, sent_ns, frame, air, offered_ns in sorted((*self._flying, *self._overtaking), key=_in_order):
            new_sent_ns = stretched_ns(sent_ns, clock_ns, old_rate_bps, profile.rate_bps)
            new_due_ns = due_ns + new_sent_ns - sent_ns
            if not profile.reorders:
                new_due_ns = last_due_ns = max(last_due_ns, new_due_ns)
            moved.append((new_due_ns, order, new_sent_ns, frame, air, offered_ns))
        self._flying.clear()
        self._flying.extend(sorted(moved, key=_in_order))
        self._overtaking.clear()
        self.model.last_due_ns = last_due_ns - lag_ns

    def cut(self, now_ns: int, outage: Outage = Outage.DROP, *, kills_in_flight: bool = False) -> None:
        """Begin an outage; ``kills_in_flight`` drops what is on its way as well."""
        self._change(lambda: self.model.cut(now_ns, outage, kills_in_flight=kills_in_flight))
        if kills_in_flight:
            self.model.count_killed(len(self))
            self._flying.clear()
            self._overtaking.clear()

    def mend(self, now_ns: int) -> None:
        """End the outage and keep the other numbers."""
        self._change(lambda: self.model.mend(now_ns))

    def _change(self, change: Callable[[], None]) -> None:
        """Begin or end an outage; frames on their way are later by as long as the link has held."""
        self._settle()
        lag_ns = self.model.lag_ns
        change()
        later_ns = self.model.lag_ns - lag_ns
        if later_ns:
            moved = [(flight[0] + later_ns, *flight[1:]) for flight in self._flying]
            self._flying.clear()
            self._flying.extend(moved)
            self._overtaking[:] = [(flight[0] + later_ns, *flight[1:]) for flight in self._overtaking]
        self._is_plain = False
        self._choose()

    def restore(self, now_ns: int) -> None:
        """End the outage and bring back the numbers the line was made with."""
        self.mend(now_ns)
        self.set(now_ns, self._original)

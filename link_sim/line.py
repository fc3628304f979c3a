"""Line: one direction of a link with the frames that are on their way, for any clock.

``LinkModel`` judges, the line keeps what was judged to arrive until the caller takes it. Virtual time and the real-time
proxies drive the same object.
"""

from collections import deque
from typing import Generic, TypeVar

from link_sim.model import Fate, LinkModel, LinkProfile, Outage, Verdict, stretched_ns

Frame = TypeVar("Frame")


class Line(Generic[Frame]):
    """Frames between ``offer`` and ``take``, first in, first out. ``now_ns`` never goes back."""

    __slots__ = ("_flying", "_original", "model")

    def __init__(self, profile: LinkProfile, rng_seed: int) -> None:
        self._original = profile
        self.model = LinkModel(profile, rng_seed)
        self._flying: deque[tuple[Verdict, Frame]] = deque()  # bounded by queue_bytes, and by rate x delay

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
        verdict = self.model.offer(now_ns, frame_bytes)
        if verdict.fate <= Fate.HELD:
            self._flying.append((verdict, frame))
        return verdict

    def next_due_ns(self) -> int | None:
        """When the next frame comes out, on the caller's clock; None while there is none or the link holds."""
        held_ns = self.model.held_ns
        if not self._flying or held_ns is None:
            return None
        return self._flying[0][0].due_ns + held_ns

    def take(self, now_ns: int) -> Frame | None:
        """The next frame that is due by ``now_ns``, or None."""
        due_ns = self.next_due_ns()
        if due_ns is None or due_ns > now_ns:
            return None
        return self._flying.popleft()[1]

    def set(self, now_ns: int, profile: LinkProfile) -> None:
        """New numbers from now on; what has not been sent yet goes on at the new rate."""
        clock_ns, old_rate_bps = self.model.clock_ns(now_ns), self.profile.rate_bps
        self.model.set(now_ns, profile)
        if old_rate_bps == profile.rate_bps:
            return
        last_due_ns = 0
        for at, (verdict, frame) in enumerate(self._flying):
            sent_ns = stretched_ns(verdict.sent_ns, clock_ns, old_rate_bps, profile.rate_bps)
            last_due_ns = max(last_due_ns, sent_ns + verdict.due_ns - verdict.sent_ns)
            self._flying[at] = (verdict._replace(sent_ns=sent_ns, due_ns=last_due_ns), frame)
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

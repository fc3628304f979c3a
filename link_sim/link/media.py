"""Media: one channel that several directions share. Who sends while another does spoils both frames.

A half-duplex radio is a medium with the two directions of its link on it; a net of radios has all of them on one.
"""

import random
from dataclasses import dataclass

from link_sim.errors import ProfileError
from link_sim.link.services import NS_PER_S

_REMEMBERED = 64  # transmissions looked at for overlaps; older ones have long left the air


@dataclass(slots=True, eq=False)
class Transmission:
    """One frame on the air; ``is_spoiled`` may become true until it has left it."""

    station: int
    start_ns: int
    end_ns: int
    is_spoiled: bool = False


class Medium:
    """A shared channel. Stations are the directions that sit on it, numbered as they come.

    ``keyup_s`` passes from the wish to send until the first bit is on the air (push to talk), once for frames that
    follow each other. ``listens``: a station waits while it hears another, whose start it notices after ``sense_s``,
    and then a random time up to ``backoff_s``. Raises ProfileError.
    """

    def __init__(
        self, *, keyup_s: float = 0.0, listens: bool = True, sense_s: float = 0.0, backoff_s: float = 0.0, seed: int = 1
    ) -> None:
        for name, span_s in (("keyup_s", keyup_s), ("sense_s", sense_s), ("backoff_s", backoff_s)):
            if not 0 <= span_s <= 60:
                raise ProfileError(f"{name} {span_s}: allowed is 0 to 60")
        self.collisions = 0
        self._keyup_ns = round(keyup_s * NS_PER_S)
        self._sense_ns = round(sense_s * NS_PER_S)
        self._backoff_ns = round(backoff_s * NS_PER_S)
        self._listens = listens
        self._rng = random.Random(seed)
        self._stations = 0
        self._air: list[Transmission] = []
        self._carriers: dict[int, tuple[int, int]] = {}  # from when until when each station sends without a pause

    def join(self) -> int:
        """The number of a new station."""
        self._stations += 1
        return self._stations - 1

    def start_ns(self, station: int, wish_ns: int) -> int:
        """When the first bit of a frame is on the air that ``station`` wants to send from ``wish_ns`` on."""
        own = self._carriers.get(station)
        if own is not None and own[1] >= wish_ns:  # its carrier is up: the next frame follows
            return own[1]
        begin_ns = wish_ns
        if self._listens:
            while (free_ns := self._heard_until_ns(station, begin_ns)) > begin_ns:
                begin_ns = free_ns + self._rng.randint(0, self._backoff_ns)
        return begin_ns + self._keyup_ns

    def _heard_until_ns(self, station: int, at_ns: int) -> int:
        """Until when the others send whom this station hears at ``at_ns``; ``at_ns`` itself when it hears nobody."""
        return max(
            (
                end_ns
                for other, (start_ns, end_ns) in self._carriers.items()
                if other != station and start_ns + self._sense_ns <= at_ns < end_ns
            ),
            default=at_ns,
        )

    def transmit(self, station: int, start_ns: int, end_ns: int) -> Transmission:
        """A frame is on the air; whatever overlaps it is spoiled, and so is it."""
        sent = Transmission(station, start_ns, end_ns)
        for other in self._air:
            if other.station != station and other.start_ns < end_ns and start_ns < other.end_ns:
                if not other.is_spoiled:
                    self.collisions += 1
                other.is_spoiled = sent.is_spoiled = True
        self._air.append(sent)
        carrier = self._carriers.get(station)
        is_next = carrier is not None and carrier[1] == start_ns
        self._carriers[station] = (carrier[0] if carrier is not None and is_next else start_ns, end_ns)
        if len(self._air) > _REMEMBERED:
            del self._air[: _REMEMBERED // 2]
        return sent

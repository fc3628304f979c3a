"""How much a link flaps: a penalty for each time it fell, which decays.

A link that is damped carries what it carries, for its up-time is worth having; what is urgent is careful with it.
Source of the rule: RFC 2439, section 4.2 (figure of merit, cut-off, reuse and ceiling), with the times of links.
"""

import math
from dataclasses import dataclass

FALL = 1.0
CUT_OFF, REUSE, CEILING = 2.5, 0.75, 4.0
"""Three falls in half a minute make a link a flapping one; it is one for 72 s at most after the last of them."""
HALF_LIFE_S = 30.0


@dataclass(slots=True)
class Damping:
    """The penalty of one contact. Until ``until_s`` it counts as flapping."""

    until_s: float = -math.inf
    since_s: float = 0.0
    """The first of the falls that made it a flapping one."""
    falls: int = 0
    """So many since then."""
    _penalty: float = 0.0
    _at_s: float = 0.0

    def note_fall(self, now_s: float) -> None:
        """It was usable and is no more."""
        kept = self._penalty * 2.0 ** ((self._at_s - now_s) / HALF_LIFE_S)
        if kept < REUSE and now_s >= self.until_s:
            self.since_s, self.falls = now_s, 0
        self.falls += 1
        self._penalty, self._at_s = min(CEILING, kept + FALL), now_s
        if self._penalty > CUT_OFF or now_s < self.until_s:
            self.until_s = now_s + HALF_LIFE_S * math.log2(max(1.0, self._penalty / REUSE))

    def falls_at(self, now_s: float) -> int:
        """How often it fell since it began to flap; 0: it does not."""
        return self.falls if now_s < self.until_s else 0

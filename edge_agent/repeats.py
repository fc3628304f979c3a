"""Repeats: bundles that came again by another way have their receipts sent again, each once in a while.

Whoever still carries a bundle that was delivered long ago did not hear of it: the receipt expired on its way, or its
source was restored from a backup.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId

WAIT_S = 600.0
"""A large bundle comes again in many pieces, and on several links; one receipt answers them all."""
REMEMBERED_MAX = 4096


@dataclass(slots=True)
class Repeats:
    """``owe_again`` asks the store for the receipt of one bundle."""

    owe_again: Callable[[BundleId], None]
    _answered_s: OrderedDict[BundleId, float] = field(default_factory=OrderedDict)

    def came_again(self, bundle: BundleId, now_s: float) -> None:
        """A bundle that is known here came once more."""
        answered_s = self._answered_s.get(bundle)
        if answered_s is not None and now_s < answered_s + WAIT_S:
            return
        self._answered_s[bundle] = now_s
        self._answered_s.move_to_end(bundle)
        if len(self._answered_s) > REMEMBERED_MAX:
            self._answered_s.popitem(last=False)
        self.owe_again(bundle)

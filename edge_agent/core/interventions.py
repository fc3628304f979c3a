"""What is asked of one bundle by name while it waits: cancel it, settle it, pull it forward.

The bundle may be a row only: then its record is read first, and the answer is that it has been asked for. What came of
it is told by BundleClosed; of a name that the store does not know, nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleId
from edge_agent.core.custody import Custody
from edge_agent.core.effects import EraseReason, LoadBundle, Loaded, Outcome
from edge_agent.core.outgoing import Outgoing
from edge_agent.core.outputs import Outputs

ASKED_MAX = 1024
"""Bundles being looked up in the store at once; whoever asks for more asks again."""


@dataclass(slots=True)
class Interventions:
    """Verbs on single bundles in custody."""

    custody: Custody
    outputs: Outputs
    _asked: set[BundleId] = field(default_factory=set)

    def cancel(self, bundle: BundleId, now_s: float) -> bool:
        """End custody of a bundle that cannot have arrived as a whole; False when it is too late or it is not here."""
        return self._reach(bundle, self._cancel, now_s)

    def settle(self, bundle: BundleId, reason: EraseReason, now_s: float) -> bool:
        """End custody of a copy that is not needed any more, begun or not; False when it is not here."""

        def end(outgoing: Outgoing, now_s: float) -> bool:
            if outgoing.is_begun:
                self.custody.abandon(outgoing, now_s)
            self.custody.end(outgoing, reason)
            return True

        return self._reach(bundle, end, now_s)

    def promote(self, bundle: BundleId, now_s: float) -> bool:
        """Let a bundle go before all that waits in its class; False when it is not here."""
        return self._reach(bundle, lambda outgoing, now_s: self.custody.promote(outgoing), now_s)

    def _cancel(self, outgoing: Outgoing, now_s: float) -> bool:
        if outgoing.may_be_whole:
            return False
        if outgoing.is_begun:
            self.custody.abandon(outgoing, now_s)
        self.custody.end(outgoing, EraseReason.CANCELLED)
        return True

    def _reach(self, bundle: BundleId, act: Callable[[Outgoing, float], bool], now_s: float) -> bool:
        """Do ``act`` to a bundle, now or once its record is read; False when it is not here or ``act`` says no."""
        outgoing = self.custody.bundles.get(bundle)
        if outgoing is not None:
            return act(outgoing, now_s)
        if not self.custody.may_be_stored(bundle):
            return False
        if len(self._asked) >= ASKED_MAX and bundle not in self._asked:
            self.outputs.drop("interventions_full")
            return False
        self._asked.add(bundle)

        def loaded(outcome: Outcome, now_s: float) -> None:
            self._asked.discard(bundle)
            if not isinstance(outcome, Loaded):
                self.outputs.drop("load_bundle_failed")
                return
            for record in outcome.records:
                found = self.custody.reach(record)
                if found is not None:
                    act(found, now_s)

        self.outputs.effects.append(LoadBundle(self.outputs.new_effect(loaded), bundle))
        return True

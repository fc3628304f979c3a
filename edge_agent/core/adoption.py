"""Bundles carried here by hand, or copied here by another post: taken as if they had arrived, by no link.

Nobody is told of custody: whoever exported a bundle keeps it until its receipt comes, by whatever way that takes.
"""

from dataclasses import dataclass

from edge_agent.core.arrivals import Arrivals
from edge_agent.core.bundle import BundleRecord
from edge_agent.core.effects import Adopted, BundleAdopted, BundleDelivered, CameAgain, Failed, Known, Outcome, Persist
from edge_agent.core.outputs import Outputs

CARRIER = "carried"
"""Who a bundle came from, where a peer's id would stand."""


@dataclass(slots=True)
class Adoption:
    """The way in for bundles that no link brought."""

    arrivals: Arrivals
    outputs: Outputs
    incarnation: int

    def adopt(self, record: BundleRecord, payload: bytes, now_s: float, giver: str = CARRIER) -> None:
        """Make one whole bundle durable here unless it is, was, or began here; BundleAdopted tells what came of it.

        ``giver``: the post whose copy it is. Its source is told by who got it from there.
        """
        bundle = record.id
        if bundle.source == self.arrivals.settings.node_id and bundle.incarnation == self.incarnation:
            self._tell(record, Adopted.OWN)  # a second copy would take the place of the one in custody
        elif self.arrivals.is_seen(bundle):
            self._tell(record, Adopted.KNOWN, giver=giver)
        elif record.is_expired(now_s):
            self._tell(record, Adopted.EXPIRED)
        else:
            self._persist(record, payload, giver)

    def _persist(self, record: BundleRecord, payload: bytes, giver: str) -> None:
        def persisted(outcome: Outcome, now_s: float) -> None:
            if isinstance(outcome, Failed):
                self._tell(record, Adopted.REFUSED, f"{outcome.reason.value}: {outcome.detail}")
                return
            bundle = record.id
            self.arrivals.closed.close(bundle[:3], bundle.sequence, bundle.sequence + 1)
            if isinstance(outcome, Known):
                self._tell(record, Adopted.KNOWN, giver=giver)
                return
            if self.arrivals.settings.is_destination(record.header.destination):
                self.outputs.events.append(BundleDelivered(record, giver, (), payload))
            else:
                self.arrivals.relayed.append((record, payload))
            self._tell(record, Adopted.STORED)

        self.outputs.effects.append(
            Persist(
                effect_id=self.outputs.new_effect(persisted),
                bundle=record.id,
                payload_bytes=record.payload_bytes,
                record=record,
                offset=0,
                payload=payload,
                is_arrival=True,
                peer=giver,
            )
        )

    def _tell(self, record: BundleRecord, adopted: Adopted, detail: str = "", giver: str = "") -> None:
        self.outputs.events.append(BundleAdopted(record.id, adopted, detail))
        if adopted is Adopted.KNOWN and giver == CARRIER:
            self.outputs.events.append(CameAgain(record.id))

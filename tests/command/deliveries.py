"""Deliveries as a consumer of the agent gets them, numbered in the order they are made."""

from itertools import count

from edge_agent.command.delivery import DeliveredBundle
from edge_agent.core.bundle import Origin
from edge_agent.telemetry.payloads import Payload

START_MS = 1_763_745_000_000


class Arrivals:
    """Makes deliveries of one command post; positions and bundle numbers rise from ``first``."""

    def __init__(self, first: int = 1) -> None:
        self._numbers = count(first)

    def of(
        self,
        flow: str,
        payload: Payload | bytes,
        at_ms: int,
        *,
        source: str = "kit-7",
        precedence: str = "routine",
        via: tuple[str, ...] = ("radio",),
        origin: Origin = Origin.PERSON,
    ) -> DeliveredBundle:
        """One bundle of ``source`` that arrived at ``at_ms``."""
        number = next(self._numbers)
        return DeliveredBundle(
            position=number,
            bundle=f"{source}~00000000000000aa~{precedence[0].upper()}{number}",
            source=source,
            flow=flow,
            precedence=precedence,
            created_at_ms=at_ms,
            received_at_ms=at_ms,
            payload=payload if isinstance(payload, bytes) else payload.pack(),
            via=via,
            origin=origin,
        )

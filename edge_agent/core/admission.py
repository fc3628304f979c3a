"""How much FLASH a machine may send: a driver gone wild must not drown a person's call for help."""

from collections import deque
from dataclasses import dataclass, field

from edge_agent.core.bundle import BundleHeader, Origin, Precedence

ALLOWANCE_SPAN_S = 60.0
FLOWS_MAX = 1024
"""Flows remembered; names come from configuration, so more is a fault."""
_FLASH = Precedence.FLASH  # a member of an enum is slow to look up


@dataclass(slots=True)
class FlashAllowance:
    """At most ``bundles`` and ``payload_bytes`` of machine FLASH a minute and flow; a person's SOS is never counted."""

    bundles: int
    payload_bytes: int
    _sent: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)

    def covers(self, header: BundleHeader, precedence: Precedence, length: int, now_s: float) -> bool:
        """Whether the bundle may go as what it asks for; if so, it is counted."""
        if precedence is not _FLASH or header.origin is Origin.PERSON:
            return True
        if header.flow not in self._sent and len(self._sent) >= FLOWS_MAX:
            return False
        sent = self._sent.setdefault(header.flow, deque())
        while sent and sent[0][0] <= now_s - ALLOWANCE_SPAN_S:
            sent.popleft()
        if len(sent) >= self.bundles or sum(each for _, each in sent) + length > self.payload_bytes:
            return False
        sent.append((now_s, length))
        return True

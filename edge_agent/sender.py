"""Makes bundles of payloads: fills in what the flow's configuration says and hands them to the runner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.core.bundle import (
    COMMAND,
    FLOW_NAME_MAX_BYTES,
    KEY_MAX_BYTES,
    LIFETIME_MAX_S,
    NODE_ID_PATTERN,
    BundleHeader,
    BundleId,
    Origin,
    Precedence,
)
from edge_agent.core.effects import Staged
from edge_agent.core.errors import EdgeAgentError, RefusedError
from edge_agent.flows import FlowTable
from edge_agent.runner import Runner


class UnsendableError(EdgeAgentError):
    """A bundle cannot be made like this; the message names the field, the value and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTerms:
    """How something is to be sent, as a request says it; ``precedence`` and ``lifetime_s`` None: as its flow says."""

    flow: str
    to: str
    precedence: Precedence | None
    lifetime_s: float | None
    key: str
    origin: Origin


def _nobody_asks(flow: str, payload: bytes) -> None:
    """For a node without a page."""


@dataclass(slots=True)
class BundleSender:
    """One way into the node for drivers, pages, programs and the agent itself."""

    runner: Runner
    flows: FlowTable
    now_ms: Callable[[], int]
    told_ms: Callable[[int], int] = int
    """Puts a stamp of ``now_ms`` right that was made before the clock was set; what is known by now travels."""
    on_accepted: Callable[[str, bytes], None] = _nobody_asks
    """Told the flow and the payload of each bundle that was accepted here."""
    levels: tuple[str, ...] = ()
    """Of ``command`` that see what is sent to it; empty: all. FLASH is for all of them."""

    async def submit(
        self,
        payload: bytes,
        *,
        flow: str,
        to: str = COMMAND,
        precedence: Precedence | None = None,
        lifetime_s: float | None = None,
        key: str = "",
        created_at_ms: int | None = None,
        origin: Origin = Origin.MACHINE,
        operation_id: bytes = b"",
        staged: Staged | None = None,
    ) -> BundleId:
        """The id of an accepted bundle: it is on disk. None: what the flow says. ``staged`` stands for ``payload``.

        Raises RefusedError with the node's reason, UnsendableError for a field that is not allowed.
        """
        precedence, header = self._header(
            flow, to, precedence, lifetime_s, key, origin, created_at_ms=created_at_ms, operation_id=operation_id
        )
        bundle = await self.runner.submit(header, precedence, payload, staged)
        if staged is None:
            self.on_accepted(flow, payload)
        return bundle

    async def submit_as(self, terms: SendTerms, payload: bytes, staged: Staged | None = None) -> BundleId:
        """``submit`` for a request. Raises as it does."""
        return await self.submit(
            payload,
            flow=terms.flow,
            to=terms.to,
            precedence=terms.precedence,
            lifetime_s=terms.lifetime_s,
            key=terms.key,
            origin=terms.origin,
            staged=staged,
        )

    async def submit_many(self, terms: SendTerms, payloads: Sequence[bytes]) -> list[BundleId | RefusedError]:
        """The same for many payloads: for each its id, or why the node did not take it.

        Raises UnsendableError, and RefusedError when the agent is stopping.
        """
        precedence, header = self.check(terms)
        told = await self.runner.submit_many(header, precedence, payloads)
        for payload, each in zip(payloads, told, strict=True):
            if not isinstance(each, RefusedError):
                self.on_accepted(terms.flow, payload)
        return told

    def check(self, terms: SendTerms) -> tuple[Precedence, BundleHeader]:
        """How a request would be sent. Raises UnsendableError where ``submit_as`` would."""
        return self._header(terms.flow, terms.to, terms.precedence, terms.lifetime_s, terms.key, terms.origin)

    def _header(
        self,
        flow: str,
        to: str,
        precedence: Precedence | None,
        lifetime_s: float | None,
        key: str,
        origin: Origin,
        *,
        created_at_ms: int | None = None,
        operation_id: bytes = b"",
    ) -> tuple[Precedence, BundleHeader]:
        """Precedence and header, with what the flow says filled in. Raises UnsendableError."""
        if not 0 < len(flow.encode()) <= FLOW_NAME_MAX_BYTES:
            raise UnsendableError(f"flow {flow!r}: allowed: 1 to {FLOW_NAME_MAX_BYTES} bytes")
        if NODE_ID_PATTERN.fullmatch(to) is None:
            raise UnsendableError(f'destination {to!r}: allowed: a node id, or "{COMMAND}"')
        if len(key.encode()) > KEY_MAX_BYTES:
            raise UnsendableError(f"key {key!r}: allowed: at most {KEY_MAX_BYTES} bytes")
        if lifetime_s is not None and not 0 < lifetime_s <= LIFETIME_MAX_S:
            raise UnsendableError(f"lifetime {lifetime_s} s: allowed: above 0 and at most {LIFETIME_MAX_S}")
        terms = self.flows.terms(flow)
        precedence = terms.precedence if precedence is None else precedence
        return precedence, BundleHeader(
            destination=to,
            flow=flow,
            order=terms.order,
            origin=origin,
            created_at_ms=self.now_ms() if created_at_ms is None else self.told_ms(created_at_ms),
            lifetime_s=terms.lifetime_s if lifetime_s is None else lifetime_s,
            key=key,
            operation_id=operation_id,
            levels=self.levels if to == COMMAND and precedence is not Precedence.FLASH else (),
        )

"""A call for help that no person at command has confirmed goes to the other command nodes too, a copy to each.

Nothing is kept for it: what was passed on is among the kit's own messages, with the call it is a copy of.
"""

import asyncio

import structlog

from edge_agent.core.bundle import CLOCK_FLOOR_MS, BundleId, MalformedError, Origin, Precedence
from edge_agent.core.errors import RefusedError
from edge_agent.core.progress import PERSON_ONLY, WAY_ENDS
from edge_agent.disk.types import Fate
from edge_agent.page_parts import PageParts
from edge_agent.telemetry.calls import operation_of
from edge_agent.telemetry.payloads import SOS_FLOW, SOS_WITHDRAW_FLOW, Sos, SosUpdate

LOOK_S = 2.0
LONGEST_S = 86_400.0
"""An older call is closed by radio or not at all."""
MESSAGES_READ = 200

log = structlog.get_logger()


class Escalation:
    """Looks for own calls that wait too long."""

    def __init__(self, parts: PageParts) -> None:
        self._parts = parts
        self._made_s: dict[BundleId, float] = {}

    async def run(self) -> None:
        """Look for ever; without other command nodes there is nobody to ask."""
        while self._parts.config.others:
            try:
                await self.look()
            except RefusedError as error:
                log.error("sos_not_passed_on", reason=str(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Pass on what is due now. Raises RefusedError."""
        fates = await self._parts.disk.own_messages(MESSAGES_READ)
        calls = [fate for fate in fates if fate.header.flow == SOS_FLOW]
        self._made_s = {fate.bundle: self._made_at_s(fate) for fate in calls}
        told = {(sos.of, fate.header.destination) for fate in calls if (sos := _sos_of(fate)) is not None and sos.of}
        withdrawn = {_withdrawn(fate) for fate in fates if fate.header.flow == SOS_WITHDRAW_FLOW}
        for fate in calls:
            if self._is_due(fate) and str(fate.bundle) not in withdrawn:
                for post in self._parts.config.others:
                    if (str(fate.bundle), post) not in told and post != fate.peer:
                        await self._pass_on(fate, post)

    def _is_due(self, fate: Fate) -> bool:
        age_s = self._parts.now_s() - self._made_s[fate.bundle]
        is_waiting = fate.state not in PERSON_ONLY and fate.state not in WAY_ENDS and not is_copy(fate)
        return is_waiting and self._parts.config.escalate_after_s <= age_s <= LONGEST_S

    def _made_at_s(self, fate: Fate) -> float:
        """When a call was made, by the node's clock. The wall clock is asked once, of calls before this start: setting
        it later neither hurries nor holds up a call, and one whose time nobody knows counts as made now.
        """
        known_s, now_s, now_ms = self._made_s.get(fate.bundle), self._parts.now_s(), self._parts.now_ms()
        if known_s is not None:
            return known_s
        is_told = (fate.created_ms < CLOCK_FLOOR_MS) == (now_ms < CLOCK_FLOOR_MS)
        return now_s - max(0, now_ms - fate.created_ms) / 1000 if is_told else now_s

    async def _pass_on(self, fate: Fate, post: str) -> None:
        said = _sos_of(fate) or Sos(at_ms=fate.created_ms)
        copy = Sos(at_ms=said.at_ms, position=said.position, text=said.text, of=str(fate.bundle))
        await self._parts.sender.submit(
            copy.pack(),
            flow=SOS_FLOW,
            to=post,
            precedence=Precedence.FLASH,
            created_at_ms=fate.header.created_at_ms,
            origin=Origin.PERSON,
            operation_id=operation_of(fate.bundle),
        )
        log.warning("sos_passed_on", bundle=str(fate.bundle), to=post)


def is_copy(fate: Fate) -> bool:
    """Whether this is a call that was passed on, not a call itself."""
    sos = _sos_of(fate)
    return sos is not None and bool(sos.of)


def _sos_of(fate: Fate) -> Sos | None:
    """What was said with a call; None where it is not kept or not of a page."""
    try:
        return Sos.unpack(fate.payload or b"")
    except MalformedError:
        return None


def _withdrawn(fate: Fate) -> str:
    try:
        return str(BundleId.parse(SosUpdate.unpack(fate.payload or b"").sos))
    except MalformedError:
        return ""

"""Orders as people give and take them back: to units, to a group, as a call to leave at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from edge_agent.command.acts import tell
from edge_agent.command.board import Board
from edge_agent.command.door import CommandDoor
from edge_agent.command.groups import UnitGroup, find_group
from edge_agent.command.order import Order
from edge_agent.command.texts import wanted_text
from edge_agent.core.bundle import NODE_ID_PATTERN, Precedence
from edge_agent.core.errors import ActionError, RefusedError
from edge_agent.core.progress import ENDS, Progress
from edge_agent.telemetry.acts import Act, Did
from edge_agent.telemetry.payloads import CANCEL_FLOW, ORDER_FLOW, WITHDRAW_FLOW, Ask, Text

ORDER_MAX = 4000
ORDER_LIFETIME_S = 3600.0
LIFETIME_LEAST_S, LIFETIME_MOST_S = 60, 604_800
FLOWS = (ORDER_FLOW, WITHDRAW_FLOW)
NAME_MAX = 64
SAID_MAX = 12  # names in a refusal: what a person reads

Json = dict[str, Any]  # Any: JSON

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDesk:
    """Gives orders and takes them back. All raise ActionError with the reason, in words for a person."""

    board: Board
    door: CommandDoor
    groups: Sequence[UnitGroup] = ()

    async def give(self, body: Mapping[str, Any], by: str, now_ms: int) -> Json:
        """Give an order. Raises RefusedError when not one copy was taken.

        ``body``: text, and ``to`` (units known here, empty for all; or one name of either) or ``group``; optional
        lifetime_s, flow.
        """
        text = wanted_text(body, "text", ORDER_MAX)
        flow, lifetime_s = body.get("flow", ORDER_FLOW), body.get("lifetime_s", ORDER_LIFETIME_S)
        if flow not in FLOWS:
            raise ActionError(f"flow {flow!r}: allowed: {', '.join(FLOWS)}")
        is_number = isinstance(lifetime_s, int | float) and not isinstance(lifetime_s, bool)
        if not is_number or not LIFETIME_LEAST_S <= lifetime_s <= LIFETIME_MOST_S:
            raise ActionError(f"lifetime_s {lifetime_s!r}: allowed: {LIFETIME_LEAST_S} to {LIFETIME_MOST_S}")
        group, to = str(body.get("group") or ""), body.get("to", [])
        if isinstance(to, str):  # one name, as people type it: a group, or a unit
            group, to = (to, []) if find_group(self.groups, to) else (group, [to])
        units = self._members(group) if group else self._units(to)
        payload = Text(text=text, at_ms=now_ms, by=by).pack()
        is_withdrawal = flow == WITHDRAW_FLOW
        precedence = Precedence.FLASH if is_withdrawal else Precedence.IMMEDIATE
        bundles, states = await self._send(units, payload, flow, precedence, float(lifetime_s))
        order = Order(
            id=next(bundle for bundle in bundles.values() if bundle),
            text=text,
            at_ms=now_ms,
            expires_ms=now_ms + int(lifetime_s * 1000),
            by=by,
            bundles=bundles,
            states=states,
            group=group,
            is_withdrawal=is_withdrawal,
        )
        self.board.add_order(order)
        tell(self.board, replace(self._act(Did.ORDERED, order, by, now_ms), text=text, order=order.told_to_posts()))
        return {"id": order.id, "bundles": [bundle for bundle in bundles.values() if bundle]}

    def _members(self, name: str) -> list[str]:
        group = find_group(self.groups, name)
        if group is None:
            known = ", ".join(each.name for each in self.groups) or "none is configured"
            raise ActionError(f"group {name!r}: allowed: {known}")
        members = group.members(self.board.units)
        if not members:
            raise ActionError(f"group {name!r}: no unit of it has reported yet")
        return members

    def _units(self, wanted: object) -> list[str]:
        known: Collection[str] = {*self.board.units, *(name for group in self.groups for name in group.members(()))}
        if not isinstance(wanted, list) or not all(
            isinstance(each, str) and NODE_ID_PATTERN.fullmatch(each) for each in wanted
        ):
            raise ActionError(f"to {wanted!r}: allowed: a list of units, empty for all")
        unknown = [each for each in wanted if each not in known]
        if unknown and (known or self.door.hears_reports):
            allowed = [*sorted(known)[:SAID_MAX], *(f"group {each.name}" for each in self.groups[:SAID_MAX])]
            what = ", ".join(allowed) or "no unit has reported yet"
            raise ActionError(f"to {', '.join(unknown)}: not known here; allowed: {what}")
        units = list(dict.fromkeys(wanted or self.board.units))
        if not units:
            raise ActionError("no unit has reported yet")
        return units

    async def _send(
        self, units: list[str], payload: bytes, flow: str, precedence: Precedence, lifetime_s: float
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Bundles by unit, and "refused" for those that were not taken. Raises RefusedError when none was."""
        bundles: dict[str, str] = {}
        states: dict[str, str] = {}
        refusal: RefusedError | None = None
        for unit in units:
            try:
                bundles[unit] = await self.door.submit(
                    payload, flow=flow, to=unit, precedence=precedence, lifetime_s=lifetime_s
                )
            except RefusedError as error:  # the others have theirs on disk: the order stands, and says whom it missed
                bundles[unit], states[unit], refusal = "", Progress.REFUSED.value, error
        if refusal is not None and len(states) == len(units):
            raise refusal
        return bundles, states

    async def cancel(self, body: Mapping[str, Any], by: str, now_ms: int) -> Json:
        """Take an order back: copies that wait here do not leave, the others are told not to be acted on."""
        order = next((each for each in self.board.orders if each.id == body.get("order")), None)
        if order is None:
            raise ActionError(f"order {body.get('order')!r}: not known here")
        await self.call_back(order, by, now_ms, tells_units=order.cancelled is None)
        if order.cancelled is None:
            order.cancelled = {"by": by, "at_ms": now_ms}
            self.board.note("order_cancelled", now_ms, text=order.text, by=by)
            tell(self.board, self._act(Did.ORDER_CANCELLED, order, by, now_ms))
        return {}

    async def call_back(self, order: Order, by: str, at_ms: int, *, tells_units: bool) -> None:
        """Have nobody act on an order any more, here and at its units. Raises RefusedError."""
        for unit, bundle in order.bundles.items():
            state = order.state_of(unit)
            if not bundle or state in ENDS or state is Progress.DONE:
                continue
            if not order.post and state is Progress.ACCEPTED and self.door.cancel(bundle):
                order.advance(unit, Progress.CANCELLED, at_ms, ())
            elif tells_units:
                precedence = Precedence.FLASH if order.is_withdrawal else Precedence.IMMEDIATE
                ask = Ask(bundle=bundle, at_ms=at_ms, by=by)
                await self.door.submit(ask.pack(), flow=CANCEL_FLOW, to=unit, precedence=precedence)
        order.is_called_back = True
        self.board.touch("order", order.id)

    async def call_back_cancelled(self) -> None:
        """The same for orders given here and cancelled at another post; that one may not reach all units."""
        for order in self.board.orders:
            if order.cancelled is not None and not order.post and not order.is_called_back:
                try:
                    await self.call_back(order, order.cancelled["by"], order.cancelled["at_ms"], tells_units=True)
                except RefusedError as error:  # a full store: the next look tries again
                    log.warning("order_not_called_back", order=order.id, reason=str(error))

    def _act(self, did: Did, order: Order, by: str, now_ms: int) -> Act:
        return Act(did=did, at_ms=now_ms, by=by, where=self.door.name[:NAME_MAX], target=order.id)

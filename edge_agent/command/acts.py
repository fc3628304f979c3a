"""What people do at one post, told to the other posts of the deployment, and taken from them.

Acts come in any order and more than once. Of two on the same thing the earlier by its stamp counts as the first; the
other one stays beside it (``also``). One whose alarm, order or message has not come yet waits for it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_agent.command.alarm import GROUP_S, Alarm
from edge_agent.command.delivery import DeliveredBundle
from edge_agent.command.order import Order, page_word
from edge_agent.core.bundle import BundleId, MalformedError
from edge_agent.core.progress import Progress
from edge_agent.telemetry.acts import Act, Did

if TYPE_CHECKING:
    from edge_agent.command.board import Board

OUTBOX_MAX = 1024
"""Acts that are not on their way yet, as while the store is full; beyond it the oldest is not told, and counted."""
EARLY_MAX = 256
"""Acts whose target has not come yet, or never will: the oldest are forgotten, and counted."""

Json = dict[str, Any]  # Any: JSON


class Told(NamedTuple):
    """An act of another post. ``at_ms`` by this node's reckoning."""

    act: Act
    post: str
    at_ms: int
    received_ms: int

    @property
    def said(self) -> Json:
        """Who did it, when and where, as alarms, orders and messages keep it."""
        return {"by": self.act.by, "at_ms": self.at_ms, "reason": self.act.text, "where": self.act.where}


def tell(board: "Board", act: Act) -> None:
    """A person here did something: the other posts shall hear of it, durably with its effect here."""
    if not board.fellows:
        return
    board.outbox.append(act.pack())
    if len(board.outbox) > OUTBOX_MAX:
        del board.outbox[0]
        board.drops["act_not_told"] += 1
    board.touch("lists", "all")


def tell_orders(board: "Board", where: str) -> None:
    """How far orders given here got since the others were told: they ask nobody themselves."""
    for order in board.orders if board.fellows else ():
        states = order.take_untold()
        if states:
            at_ms = order.state_at_ms or order.at_ms
            tell(board, Act(did=Did.ORDER_WENT, at_ms=at_ms, by="", where=where, target=order.id, states=states))
            board.touch("order", order.id)


def take_act(board: "Board", delivery: DeliveredBundle) -> None:
    """Fold in what was done at another post; our own come back and are known. Raises MalformedError."""
    if delivery.source == board.node_id:
        return
    if delivery.source not in board.fellows:
        board.drops["act_of_a_stranger"] += 1
        return
    act = Act.unpack(delivery.payload)
    told = Told(act, delivery.source, delivery.moment_ms(act.at_ms), delivery.received_at_ms)
    if not _TAKERS[Did(act.did)](board, told):
        _wait(board, told)


def _wait(board: "Board", told: Told) -> None:
    board.early_acts.append([told.act.pack(), told.post, told.at_ms, told.received_ms])
    if len(board.early_acts) > EARLY_MAX:
        del board.early_acts[0]
        board.drops["act_without_target"] += 1
    board.touch("lists", "all")


def take_early(board: "Board", target: str) -> None:
    """Something has come: what was done with it elsewhere before counts now."""
    early, board.early_acts = board.early_acts, []
    for packed, post, at_ms, received_ms in early:
        told = Told(Act.unpack(packed), post, at_ms, received_ms)
        if told.act.target != target or not _TAKERS[Did(told.act.did)](board, told):
            board.early_acts.append([packed, post, at_ms, received_ms])
    if len(board.early_acts) != len(early):
        board.touch("lists", "all")


def _is_same(known: Json, said: Json) -> bool:
    """Whether two words speak of one act: it may have come by another way, which does not say where it was done."""
    is_one_place = bool(said["where"]) and known.get("where", said["where"]) == said["where"]
    return bool(known["by"] == said["by"] and (known["at_ms"] == said["at_ms"] or is_one_place))


def settle_first(known: Json | None, told: Told, also: list[Json]) -> Json | None:
    """Which of two acts counts; the other one goes into ``also``. None: this one is known already."""
    said, did = told.said, told.act.did
    if known is None:
        return said
    others = [each for each in also if each["did"] == did]
    if any(_is_same(each, said) for each in (known, *others)):
        return None
    first, second = sorted((known, said), key=lambda each: (each["at_ms"], each.get("where", "")))
    also.append({**second, "did": did})
    also.sort(key=lambda each: int(each["at_ms"]))
    return first


def _alarm_of(board: "Board", told: Told) -> Alarm | None:
    """The alarm an act is about: a call by its name, what each post raises for itself by kind, series and unit.

    Such a one that was raised here since has another reason.
    """
    act = told.act
    if act.kind == "sos":
        return board.alarm(act.target)
    alike = (each for each in board.alarms if (each.kind, each.series) == (act.kind, act.series))
    latest_ms = told.at_ms + GROUP_S * 1000
    return next(
        (each for each in alike if act.unit in each.units and each.is_unconfirmed and each.raised_ms <= latest_ms), None
    )


def _confirm(board: "Board", told: Told) -> bool:
    act, alarm = told.act, _alarm_of(board, told)
    if alarm is None:
        if act.kind != "sos":
            _note(board, told, "acknowledged", by=act.by)
        return act.kind != "sos"
    first = settle_first(alarm.confirmed, told, alarm.also)
    if first is not None:
        alarm.confirm(act.by, told.at_ms)
        alarm.confirmed = first
        board.touch("alarm", alarm.id)
        _note(board, told, "sos_confirmed" if alarm.kind == "sos" else "acknowledged", by=act.by)
    return True


def _close(board: "Board", told: Told) -> bool:
    act, alarm = told.act, board.alarm(told.act.target)
    if alarm is None:
        return act.kind != "sos"  # another post's own alarm, which this one may not have
    first = settle_first(alarm.closed, told, alarm.also)
    if first is not None:
        alarm.closed = first
        board.touch("alarm", alarm.id)
        _note(board, told, "sos_closed", by=act.by, reason=act.text)
    return True


def _order(board: "Board", told: Told) -> bool:
    act = told.act
    if BundleId.parse(act.target).source != told.post:
        raise MalformedError(f"act: order {act.target} is not of {told.post}")
    if _find_order(board, act.target) is not None:
        return True
    bundles: dict[str, str] = act.order["bundles"]
    board.add_order(
        Order(
            id=act.target,
            text=act.text,
            at_ms=told.at_ms,
            expires_ms=int(act.order["expires_ms"]) + told.at_ms - act.at_ms,
            by=act.by,
            bundles=bundles,
            states={unit: Progress.REFUSED.value for unit, bundle in bundles.items() if not bundle},
            group=act.order["group"],
            is_withdrawal=act.order["is_withdrawal"],
            post=told.post,
            where=act.where,
        )
    )
    take_early(board, act.target)
    return True


def _order_went(board: "Board", told: Told) -> bool:
    order = _find_order(board, told.act.target)
    if order is None:
        return False
    if order.post != told.post:
        board.drops["act_of_a_stranger"] += 1
        return True
    for unit, (state, by) in told.act.states.items():
        if unit in order.bundles and order.advance(unit, Progress(state), told.at_ms, ()):
            if by:
                order.reply = order.replies[unit] = by
            board.note("order", told.received_ms, unit, text=order.text, state=page_word(order.state_of(unit)))
    board.touch("order", order.id)
    return True


def _order_cancelled(board: "Board", told: Told) -> bool:
    order = _find_order(board, told.act.target)
    if order is None:
        return False
    first = settle_first(order.cancelled, told, order.also)
    if first is not None:
        order.cancelled = first
        board.touch("order", order.id)
        _note(board, told, "order_cancelled", text=order.text, by=told.act.by)
    return True


def _find_order(board: "Board", name: str) -> Order | None:
    return next((each for each in board.orders if each.id == name), None)


def _read(board: "Board", told: Told) -> bool:
    for unit in board.units.values():
        for message in unit.messages:
            if message["id"] == told.act.target:
                first = settle_first(message["read"], told, message.setdefault("also", []))
                if first is not None:
                    message["read"] = first
                    board.touch("unit", unit.id)
                return True
    return False


def _note_only(board: "Board", told: Told) -> bool:
    act = told.act
    unit = board.units.get(act.unit)
    for item in unit.largest if unit is not None else ():
        if item["bundle"] == act.target:
            item["asked"] = act.code
            board.touch("unit", act.unit)
    about = {"reason" if act.code == "muted" else "text": act.text} if act.text else {}
    _note(board, told, act.code, by=act.by, **about)
    return True


def _note(board: "Board", told: Told, code: str, **values: object) -> None:
    """An event for the list, once: an act may be told twice."""
    known = (event for event in board.events if event["values"].get("where") == told.act.where)
    if not any((event["code"], event["at_ms"], event["unit"]) == (code, told.at_ms, told.act.unit) for event in known):
        board.note(code, told.at_ms, told.act.unit, **values, where=told.act.where)


_TAKERS: dict[Did, Callable[["Board", Told], bool]] = {
    Did.CONFIRMED: _confirm,
    Did.CLOSED: _close,
    Did.ORDERED: _order,
    Did.ORDER_WENT: _order_went,
    Did.ORDER_CANCELLED: _order_cancelled,
    Did.READ: _read,
    Did.NOTED: _note_only,
}
"""Each gives back whether its target is here."""

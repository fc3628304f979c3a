"""Calls for help on the board: taken, passed on by another post, withdrawn, confirmed or closed elsewhere.

A call is known by the bundle it was raised with, whoever passes it on and however often: one call, one alarm.
"""

from typing import TYPE_CHECKING

from edge_agent.command.acts import take_early
from edge_agent.command.alarm import Alarm, admit
from edge_agent.command.delivery import DeliveredBundle
from edge_agent.core.bundle import BundleId, MalformedError
from edge_agent.telemetry.payloads import SOS_CLOSE_FLOW, Sos, SosUpdate

if TYPE_CHECKING:
    from edge_agent.command.board import Board

EARLY_WITHDRAWALS_MAX = 64
"""Withdrawals that came before their SOS, by another link; each waits for at most as long as an SOS lives."""


def take_sos(board: "Board", delivery: DeliveredBundle) -> bool:
    """Somebody calls for help; False when this call is known already."""
    received_ms = delivery.received_at_ms
    try:
        sos = Sos.unpack(delivery.payload)
        name = str(BundleId.parse(sos.of)) if sos.of else delivery.bundle
    except MalformedError:  # somebody calls for help all the same; only what they say of it is lost
        board.drops[f"payload_{delivery.flow}"] += 1
        sos, name = Sos(at_ms=received_ms), delivery.bundle
    if any(alarm.id == name for alarm in board.alarms):
        return False
    unit = board.unit(BundleId.parse(name).source, received_ms)
    if sos.position is not None:
        unit.take_position(delivery.read_position(sos.position), received_ms)
    alarm = Alarm(
        id=name,
        kind="sos",
        units=[unit.id],
        raised_ms=delivery.moment_ms(sos.at_ms),
        is_estimated=delivery.is_estimated(sos.at_ms),
        received_ms=received_ms,
        via=list(delivery.via),
        text=sos.text,
        position=unit.position,
        passed_by=delivery.source if delivery.source != unit.id else "",
    )
    for changed in admit(board.alarms, alarm):
        board.touch("alarm", changed)
    board.note("sos", received_ms, unit.id)
    board.received(unit, delivery, "sos", sos.text, [delivery.said_ms(sos.at_ms)])
    withdrawn_ms = board.early_withdrawals.pop(alarm.id, None)
    if withdrawn_ms is not None:
        _withdraw(board, alarm, withdrawn_ms, received_ms)
    take_early(board, alarm.id)
    return True


def take_withdrawal(board: "Board", unit_id: str, delivery: DeliveredBundle) -> None:
    """The unit takes its call back. Raises MalformedError."""
    update = SosUpdate.unpack(delivery.payload)
    if BundleId.parse(update.sos).source != unit_id:
        return  # only the unit that raised an SOS may take it back
    alarm = board.alarm(update.sos)
    if alarm is None:
        board.early_withdrawals[update.sos] = delivery.moment_ms(update.at_ms)
        if len(board.early_withdrawals) > EARLY_WITHDRAWALS_MAX:
            del board.early_withdrawals[next(iter(board.early_withdrawals))]
        board.touch("lists", "all")
    else:
        _withdraw(board, alarm, delivery.moment_ms(update.at_ms), delivery.received_at_ms)


def _withdraw(board: "Board", alarm: Alarm, at_ms: int, received_ms: int) -> None:
    if alarm.withdrawn_ms is None:
        alarm.withdrawn_ms = at_ms
        board.touch("alarm", alarm.id)
        board.note("sos_withdrawn", received_ms, alarm.units[0])


def take_update(board: "Board", delivery: DeliveredBundle) -> None:
    """Another post has confirmed or closed a call that is known here too. Raises MalformedError."""
    update = SosUpdate.unpack(delivery.payload)
    alarm, at_ms = board.alarm(update.sos), delivery.moment_ms(update.at_ms)
    if alarm is None or alarm.kind != "sos":
        return
    said = {"by": update.by, "at_ms": at_ms, "reason": update.reason}
    if delivery.flow == SOS_CLOSE_FLOW:
        alarm.confirm(update.by, at_ms)
        if alarm.closed is None:
            alarm.closed = said
            board.note("sos_closed", delivery.received_at_ms, alarm.units[0], by=update.by, reason=update.reason)
    elif alarm.confirm(update.by, at_ms):
        board.note("sos_confirmed", delivery.received_at_ms, alarm.units[0], by=update.by)
    board.touch("alarm", alarm.id)

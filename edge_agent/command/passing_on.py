"""A call for help that nobody confirms at this post is passed on to the other command nodes."""

from edge_agent.command.alarm import Alarm
from edge_agent.command.board import Board
from edge_agent.command.door import CommandDoor
from edge_agent.core.bundle import BundleId, Precedence
from edge_agent.core.errors import RefusedError
from edge_agent.telemetry.calls import operation_of
from edge_agent.telemetry.payloads import SOS_FLOW, Position, Sos

ESCALATE_AFTER_S = 60.0


class PassingOn:
    """Looks for calls that wait too long. One that came from another post is known there, and stays here."""

    def __init__(self, board: Board, door: CommandDoor, after_s: float) -> None:
        self._board = board
        self._door = door
        self._after_ms = after_s * 1000
        self._told: dict[str, set[str]] = {}  # calls that not every post was told of yet
        self._since_ms: dict[str, int] = {}

    async def look(self, now_ms: int) -> bool:
        """Pass on what is due by ``now_ms``; True when something was."""
        if not self._board.posts:
            return False
        waiting = [alarm for alarm in self._board.alarms if self._may_wait(alarm)]
        # our clock may have been set back since a call came: nothing waits since a time to come
        known_ms = self._since_ms
        self._since_ms = {each.id: min(known_ms.get(each.id, each.received_ms), now_ms) for each in waiting}
        due = [alarm for alarm in waiting if now_ms - self._since_ms[alarm.id] >= self._after_ms]
        for alarm in due:
            await self._pass_on(alarm, now_ms)
        return bool(due)

    def _may_wait(self, alarm: Alarm) -> bool:
        is_ours = alarm.kind == "sos" and alarm.is_unconfirmed and alarm.withdrawn_ms is None and not alarm.passed_by
        return is_ours and alarm.passed_on_ms is None

    async def _pass_on(self, alarm: Alarm, now_ms: int) -> None:
        place = alarm.position
        position = None
        if place is not None:
            position = Position(
                lat_deg=place["lat"],
                lon_deg=place["lon"],
                captured_at_ms=place["captured_ms"],
                system=place["system"],
                datum=place["datum"],
            ).pack()
        copy = Sos(at_ms=alarm.raised_ms, position=position, text=alarm.text, of=alarm.id)
        operation = operation_of(BundleId.parse(alarm.id))
        told = self._told.setdefault(alarm.id, set())
        for post in [each for each in self._board.posts if each not in told]:
            try:
                await self._door.submit(
                    copy.pack(), flow=SOS_FLOW, to=post, precedence=Precedence.FLASH, operation=operation
                )
            except RefusedError:
                return  # a full store: the next look tries those that are left
            told.add(post)
        del self._told[alarm.id]
        alarm.passed_on_ms = now_ms
        self._board.touch("alarm", alarm.id)
        self._board.note("sos_passed_on", now_ms, alarm.units[0], to=", ".join(self._board.posts))

"""Jobs of the writer: one effect or one call each, run in a shared transaction, answered once that is synced."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, TypeVar

from edge_agent.core.bundle import Origin, Precedence
from edge_agent.core.effects import CloseNumbers, Done, Erase, Failed, LeaseNumbers, Outcome, Persist, SyncWindow
from edge_agent.core.errors import EdgeAgentError
from edge_agent.disk.answers import Call
from edge_agent.disk.consumers import Consumers
from edge_agent.disk.types import DiskFailedError

ResultT = TypeVar("ResultT")
Write = Persist | Erase | LeaseNumbers | SyncWindow | CloseNumbers
"""Effects that change the tables."""

_DONE = Done()


class Job(Protocol):
    """What the writer runs in a transaction."""

    @property
    def payload_bytes(self) -> int:
        """Bytes of the payload that it brings as a row."""

    @property
    def is_flash(self) -> bool:
        """Whether it brings a row of FLASH."""

    @property
    def is_essential(self) -> bool:
        """Whether it is tried again on a full disk: it frees room, is tiny, or is a person's FLASH."""

    def run(self, tables: Consumers) -> None:
        """Change the tables; sqlite3.Error rolls everything back."""

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        """The transaction is durable: say so."""

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        """The transaction did not happen: say so."""


@dataclass(slots=True)
class EffectJob:
    """Any effect that is rows alone."""

    effect: Write
    payload_bytes: int = 0
    is_flash: bool = False
    _outcome: Outcome = _DONE

    @property
    def is_essential(self) -> bool:
        effect = self.effect
        if not isinstance(effect, Persist):
            return True
        is_person = effect.record is not None and effect.record.header.origin is Origin.PERSON
        return effect.bundle.precedence is Precedence.FLASH and is_person

    def run(self, tables: Consumers) -> None:
        effect = self.effect
        if isinstance(effect, Persist):
            self._outcome = tables.rows.store(effect)
        elif isinstance(effect, Erase):
            self._outcome = tables.rows.erase(effect)
        elif isinstance(effect, LeaseNumbers):
            self._outcome = tables.rows.bursts.lease(effect.up_to)
        elif isinstance(effect, CloseNumbers):
            self._outcome = tables.rows.close_numbers(effect)
        else:
            self._outcome = tables.rows.bursts.sync(effect.window)

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        outcomes.append((self.effect.effect_id, self._outcome))

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        outcomes.append((self.effect.effect_id, failed))


@dataclass(slots=True)
class RowsJob:
    """Whole bundles one after another that are rows alone, and none of them urgent."""

    is_flash: ClassVar[bool] = False
    is_essential: ClassVar[bool] = False
    effects: list[Persist] = field(default_factory=list)
    payload_bytes: int = 0
    _outcomes: list[Outcome] = field(default_factory=list)

    def add(self, effect: Persist) -> None:
        """One bundle more."""
        self.effects.append(effect)
        self.payload_bytes += effect.payload_bytes

    def run(self, tables: Consumers) -> None:
        self._outcomes = [*map(tables.rows.store, self.effects)]

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        outcomes += [(effect.effect_id, told) for effect, told in zip(self.effects, self._outcomes, strict=True)]

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        outcomes += [(effect.effect_id, failed) for effect in self.effects]


@dataclass(slots=True)
class CallJob(Generic[ResultT]):
    """Anything else that changes the tables; its result goes to a future of the loop."""

    payload_bytes: ClassVar[int] = 0
    is_flash: ClassVar[bool] = False
    function: Callable[[Consumers], ResultT]
    future: "asyncio.Future[ResultT] | None" = None
    _result: list[ResultT] = field(default_factory=list)
    _error: EdgeAgentError | None = None

    @property
    def is_essential(self) -> bool:
        return True

    def run(self, tables: Consumers) -> None:
        self._result, self._error = [], None
        tables.rows.flush()
        try:
            self._result.append(self.function(tables))
        except EdgeAgentError as error:  # raised before anything was changed; goes to who asked
            self._error = error

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        future = self.future
        if future is None:
            return

        def resolve() -> None:
            if future.done():  # who asked was cancelled
                return
            if self._error is not None:
                future.set_exception(self._error)
            else:
                future.set_result(self._result[0])

        calls.append(resolve)

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        self._error = DiskFailedError(f"{failed.reason.value}: {failed.detail}")
        self.answer(outcomes, calls)


class Leave:
    """The last transaction of a clean stop."""

    payload_bytes: ClassVar[int] = 0
    is_flash: ClassVar[bool] = False
    is_essential = True

    def run(self, tables: Consumers) -> None:
        tables.rows.return_leases()

    def answer(self, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        pass

    def refuse(self, failed: Failed, outcomes: list[tuple[int, Outcome]], calls: list[Call]) -> None:
        pass

"""Talk to a running agent from Python: send, listen, status, why. Nothing here loads the agent itself.

Each call takes a connection of its own from a small pool; a call may be cancelled at any time.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from edge_agent.addresses import Address, spell
from edge_agent.api_messages import Message
from edge_agent.client_connection import AgentAbsentError, AgentRefusedError, Connection
from edge_agent.client_file import SourceFile, hand_in, name_of, save

__all__ = ["INLINE_BYTES", "AgentAbsentError", "AgentRefusedError", "BundleState", "Client", "Delivery", "Sent"]

INLINE_BYTES = 64 << 20
"""A larger payload is not in its delivery: it is read in pieces."""
STAGED_BYTES = 1 << 20  # a larger file is handed in in pieces
GROUP_BUNDLES = 512  # of one ``send_many``: more share one sync than a disk notices
GROUP_BYTES = 8 << 20
IDLE_CONNECTIONS = 4  # kept open for the next call
RECONNECT_S = 0.25  # a killed agent is back within two seconds; this finds it soon and costs nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleState:
    """Where a bundle is: ``state`` is accepted, forwarded, delivered, expired, superseded, cancelled or refused.

    Times are UTC milliseconds since 1970 by the agent's clock.
    """

    bundle: str
    state: str
    accepted_at_ms: int | None
    at_ms: int | None
    detail: str = ""


class Sent(NamedTuple):
    """What became of one payload of many: ``bundle`` is on disk; "" when it was refused, with the reason in a word."""

    bundle: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivered bundle. ``position`` counts deliveries of this node; ``redelivered``: perhaps seen before.

    ``payload`` None: larger than the listener wanted it at once, to be read by ``Client.read`` or ``Client.save``
    before the next delivery is asked for. ``digest``: BLAKE2b (32 bytes, hex) of one that the agent keeps as a file.
    """

    position: int
    bundle: str
    source: str
    flow: str
    precedence: str
    created_at_ms: int
    created_at_is_estimated: bool
    received_at_ms: int
    payload: bytes | None
    via: tuple[str, ...]
    redelivered: bool
    payload_bytes: int
    digest: str


class Client:
    """A user of one agent. Use as ``async with Client(address) as client``."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def send(
        self,
        payload: bytes,
        *,
        flow: str,
        precedence: str | None = None,
        to: str = "command",
        lifetime_s: float | None = None,
        key: str = "",
        origin: str = "machine",
    ) -> BundleState:
        """The accepted bundle, on the agent's disk. Raises AgentRefusedError with the reason, AgentAbsentError.

        ``precedence`` and ``lifetime_s`` None: what the flow's configuration says. After AgentAbsentError in the
        middle of a call nobody knows whether the bundle was accepted.
        """
        request = {"op": "send", "payload": payload, "flow": flow, "precedence": precedence, "to": to}
        return _state(await self._ask({**request, "lifetime_s": lifetime_s, "key": key, "origin": origin}))

    async def send_file(
        self,
        path: Path,
        *,
        flow: str,
        precedence: str | None = None,
        to: str = "command",
        lifetime_s: float | None = None,
        key: str = "",
        origin: str = "machine",
    ) -> BundleState:
        """The same for a file of any size, of which no more than two MiB are in memory at a time.

        Goes on where it stopped over restarts of the agent and, given the same unchanged file, of the program.
        Raises OSError too.
        """
        terms: Message = {"flow": flow, "precedence": precedence, "to": to, "lifetime_s": lifetime_s, "key": key}
        terms["origin"] = origin
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size <= STAGED_BYTES:
                return _state(await self._ask({"op": "send", "payload": file.read(), **terms}))
            source = SourceFile(file, status.st_size)
            named = {"name": name_of(path, status, terms), "payload_bytes": status.st_size}
            has_connected = False
            while True:
                try:
                    connection = await self._connect()
                except AgentAbsentError:
                    if not has_connected:
                        raise
                    await asyncio.sleep(RECONNECT_S)
                    continue
                has_connected = True
                try:
                    return _state(await hand_in(connection, source, {"op": "stage", **named, **terms}))
                except AgentAbsentError:
                    await asyncio.sleep(RECONNECT_S)
                except AgentRefusedError as error:
                    if error.reason != "partial_dropped":  # else it made room for something else meanwhile
                        raise
                finally:
                    connection.close()

    async def send_many(
        self,
        payloads: Iterable[bytes],
        *,
        flow: str,
        precedence: str | None = None,
        to: str = "command",
        lifetime_s: float | None = None,
        key: str = "",
        origin: str = "machine",
    ) -> list[Sent]:
        """The same for many payloads of one flow, in groups that share a sync: each that has an id is on disk.

        What the agent does not take (a full store) is told of each payload. Raises AgentAbsentError, after which
        nobody knows of the group under way, and AgentRefusedError for terms that are not allowed.
        """
        terms = {"flow": flow, "precedence": precedence, "to": to, "lifetime_s": lifetime_s, "key": key}
        told: list[Sent] = []
        for group in _groups(payloads):
            answer = await self._ask({"op": "send_many", "payloads": group, **terms, "origin": origin})
            refused = {at: (reason, detail) for at, reason, detail in answer["refused"]}
            told += [Sent(bundle, *refused.get(at, ("", ""))) for at, bundle in enumerate(answer["bundles"])]
        return told

    async def state(self, bundle: str) -> BundleState:
        """Where a bundle is now. Raises AgentRefusedError when this agent does not know it."""
        return _state(await self._ask({"op": "state", "bundle": bundle}))

    async def wait(self, bundle: str, state: str) -> BundleState:
        """The bundle once it is ``state`` ("forwarded" or "delivered") or at another end; outlives agent restarts.

        Waits for ever: bound it with ``asyncio.timeout``.
        """
        while True:
            try:
                return _state(await self._ask({"op": "wait", "bundle": bundle, "state": state}))
            except AgentAbsentError:
                await asyncio.sleep(RECONNECT_S)

    async def status(self) -> Mapping[str, Any]:  # Any: JSON, as DESIGN section 10 lays it out
        """What ``edge-agent status --json`` prints."""
        return await self._ask({"op": "status"})

    async def why(self, bundle: str, *, language: str = "en") -> str:
        """One sentence: where the bundle is and what it waits for. ``language``: "en" or "zh"."""
        return str((await self.explain(bundle, language=language))["sentence"])

    async def explain(self, bundle: str, *, language: str = "en") -> Mapping[str, Any]:  # Any: JSON, docs/api.md
        """The same with its facts: each link's word, what is ahead, when it should go, or what became of it."""
        return await self._ask({"op": "why", "bundle": bundle, "language": language})

    async def cancel(self, bundle: str, *, by: str = "") -> tuple[BundleState, bool]:
        """Take a bundle back: its state now, and whether it had left and who has it was asked not to act on it.

        Of an order every copy. ``by`` names the person; "": the node. Raises AgentRefusedError: unknown, or an SOS.
        """
        answer = await self._ask({"op": "cancel", "bundle": bundle, "by": by})
        return _state(answer), bool(answer["was_asked"])

    async def export(self, write: Callable[[bytes], object], *, to: str = "") -> Mapping[str, Any]:  # Any: JSON
        """Hand what waits at the agent to ``write``, sealed, in pieces; gives back ``bundles`` and ``left_out``.

        ``to``: only what is bound there. Custody stays with the agent. Raises AgentRefusedError, AgentAbsentError.
        """
        connection = await self._connect()
        try:
            await connection.send({"op": "export", "to": to})
            while "piece" in (answer := await connection.receive()):
                write(answer["piece"])
            return answer
        finally:
            connection.close()

    async def take_in(self, pieces: Iterable[bytes]) -> Mapping[str, Any]:  # Any: JSON of docs/api.md, op import
        """Give the agent a file that ``export`` wrote; what it reports is on its disk. Raises as ``export`` does."""
        connection = await self._connect()
        try:
            await connection.send({"op": "import"})
            await connection.receive()
            for piece in pieces:
                await connection.send({"op": "piece", "piece": piece})
                await connection.receive()
            await connection.send({"op": "piece", "piece": b""})
            return await connection.receive()
        finally:
            connection.close()

    async def act(self, action: str, body: Mapping[str, Any]) -> Mapping[str, Any]:  # Any: JSON of docs/api.md
        """Do what a person presses on the node's page. Raises AgentRefusedError with the reason."""
        return await self._ask({"op": "act", "action": action, "body": dict(body)})

    async def orders(self) -> list[dict[str, Any]]:  # Any: JSON of docs/api.md
        """Orders given by this node with their roll call or, at a unit, those it got; newest first."""
        found: list[dict[str, Any]] = (await self._ask({"op": "orders"}))["orders"]
        return found

    async def read(self, bundle: str, offset: int, length: int) -> bytes:
        """Bytes of a payload that the agent has, fewer at its end, at most 8 MiB. Raises AgentRefusedError."""
        return bytes((await self._ask({"op": "read", "bundle": bundle, "offset": offset, "length": length}))["payload"])

    async def save(self, delivery: Delivery, path: Path) -> None:
        """Write a payload of any size to ``path``, durably and checked, going on with what is in ``path.part``.

        Outlives restarts of the agent. Raises OSError, FileDamagedError, AgentRefusedError.
        """

        async def read(offset: int, length: int) -> bytes:
            if delivery.payload is not None:
                return delivery.payload[offset : offset + length]
            while True:
                try:
                    return await self.read(delivery.bundle, offset, length)
                except AgentAbsentError:
                    await asyncio.sleep(RECONNECT_S)

        await save(path, delivery.payload_bytes, delivery.digest, read)

    async def listen(
        self,
        flow: str = "*",
        *,
        since: str | None = None,
        consumer: str | None = None,
        count: int | None = None,
        inline_bytes: int = INLINE_BYTES,
    ) -> AsyncIterator[Delivery]:
        """Delivered bundles whose flow matches the glob ``flow``, over restarts of the agent; ``count`` None: for ever.

        Asking for the next one acknowledges the last, which is what makes a bundle *delivered* for its source.
        ``since``: None for what is delivered from now on, "all", or a bundle id. ``consumer``: a durable name that
        goes on where it stopped; without one the place is forgotten when this iterator ends. ``inline_bytes``: of a
        larger payload the delivery says the length only.
        """
        last: int | None = None
        seen, has_connected = 0, False
        while seen != count:
            try:
                connection = await self._connect()
            except AgentAbsentError:
                if not has_connected:
                    raise
                await asyncio.sleep(RECONNECT_S)
                continue
            try:
                place = {"since": since, "consumer": consumer, "after": last}
                await connection.send({"op": "listen", "flow": flow, **place, "inline_bytes": inline_bytes})
                consumer = str((await connection.receive())["consumer"])
                has_connected = True
                while seen != count:
                    delivery = _delivery(await connection.receive())
                    yield delivery
                    last = delivery.position
                    seen += 1
                    await connection.send({"op": "ack", "position": last, "is_last": seen == count})
                await connection.closed()  # the agent closes once the last acknowledgement is on disk
            except AgentAbsentError:
                await asyncio.sleep(RECONNECT_S)
            finally:
                connection.close()

    async def accepted(self) -> AsyncIterator[str]:
        """Ids of bundles that this node accepts from now on, over restarts of the agent; the first item is "".

        The empty first item says that the agent listens from here on; another one follows each reconnection.
        """
        has_connected = False
        while True:
            try:
                connection = await self._connect()
            except AgentAbsentError:
                if not has_connected:
                    raise
                await asyncio.sleep(RECONNECT_S)
                continue
            try:
                await connection.send({"op": "accepted"})
                while True:
                    yield str((await connection.receive()).get("bundle", ""))
                    has_connected = True
            except AgentAbsentError:
                await asyncio.sleep(RECONNECT_S)
            finally:
                connection.close()

    async def _ask(self, request: Message) -> Message:
        connection = self._idle.pop() if self._idle else None
        if connection is None or connection.is_lost:
            connection = await self._connect()
        is_reusable = False
        try:
            await connection.send(request)
            answer = await connection.receive()
            is_reusable = True
        except AgentRefusedError:
            is_reusable = True
            raise
        finally:
            if is_reusable and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    async def _connect(self) -> Connection:
        try:
            if isinstance(self._address, Path):
                reader, writer = await asyncio.open_unix_connection(self._address)
            else:
                reader, writer = await asyncio.open_connection(self._address.host, self._address.port)
        except OSError as error:
            raise AgentAbsentError(
                f"no agent answers at {spell(self._address)}: start it with edge-agent run CONFIG"
            ) from error
        return Connection(reader, writer, spell(self._address))


def _groups(payloads: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Payloads in groups of GROUP_BUNDLES and about GROUP_BYTES at most."""
    group: list[bytes] = []
    group_bytes = 0
    for payload in payloads:
        if group and (len(group) == GROUP_BUNDLES or group_bytes + len(payload) > GROUP_BYTES):
            yield group
            group, group_bytes = [], 0
        group.append(payload)
        group_bytes += len(payload)
    if group:
        yield group


def _state(answer: Message) -> BundleState:
    return BundleState(
        bundle=answer["bundle"],
        state=answer["state"],
        accepted_at_ms=answer.get("accepted_at_ms"),
        at_ms=answer.get("at_ms"),
        detail=answer.get("detail", ""),
    )


def _delivery(answer: Message) -> Delivery:
    return Delivery(**{**answer, "via": tuple(answer["via"])})

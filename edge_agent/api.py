"""The local API: what programs on this machine may ask of a running agent (docs/api.md, section "local API").

It listens on a unix socket that only its owner may open, or on loopback. There is no login, so nothing else is allowed.
"""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from edge_agent.addresses import Address, spell
from edge_agent.api_carry import serve_export, serve_import
from edge_agent.api_door import ApiDoor, BundleUnknownError
from edge_agent.api_listener import Listener, write_answer
from edge_agent.api_messages import ApiBrokenError, Message, pack_message, read_message
from edge_agent.api_stage import serve_stage
from edge_agent.client import INLINE_BYTES, BundleState
from edge_agent.core.bundle import BundleId, MalformedError, Origin, Precedence
from edge_agent.core.errors import ActionError, RefusalReason, RefusedError
from edge_agent.disk.types import StoreError
from edge_agent.kit_memory import PageMemoryError
from edge_agent.ports import PluginLostError
from edge_agent.sender import SendTerms, UnsendableError
from edge_agent.why_words import LANGUAGES

GROUP_MAX = 1024
"""Payloads of one ``send_many``: an eighth of what the node takes before it refuses for want of a sync."""
READ_MAX_BYTES = 8 << 20
WAIT_STATES = ("forwarded", "delivered")
OPS = ["send", "send_many", "stage", "state", "wait", "why", "status", "cancel", "act", "orders", "export", "import"]
OPS += ["listen", "read", "accepted"]

Guard = Callable[[Awaitable[None]], Coroutine[Any, Any, None]]  # Any: what coroutines yield and are sent is asyncio's
ResultT = TypeVar("ResultT")


class ApiServer:
    """Serves one address until cancelled."""

    def __init__(self, door: ApiDoor, address: Address, guard: Guard) -> None:
        """``guard`` runs the work of one connection, and keeps a defect in it from the others."""
        self._door = door
        self._address = address
        self._guard = guard
        self.tried = asyncio.Event()
        """Set once the address was opened, or could not be."""

    async def run(self) -> None:
        """Answer requests for ever. Raises PluginLostError when the address cannot be had."""
        connections: list[asyncio.TaskGroup] = []
        is_ending = False

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if is_ending:  # accepted, and nobody will serve it: a program must not wait for that
                writer.close()
                return
            connections[0].create_task(self._guard(self._serve(reader, writer)), name="api:connection")

        try:
            server = await self._open(connected)
        finally:
            self.tried.set()
        try:
            async with asyncio.TaskGroup() as group:  # connections end with the server, while the store is open
                connections.append(group)
                await server.start_serving()
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    is_ending = True
        finally:
            server.close()
            if isinstance(self._address, Path):
                os.unlink(self._address)

    async def _open(self, connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]) -> asyncio.Server:
        """A server that is bound and does not serve yet."""
        address = self._address
        try:
            if not isinstance(address, Path):
                return await asyncio.start_server(connected, address.host, address.port, start_serving=False)
            await _clear_stale_socket(address)
            address.parent.mkdir(parents=True, exist_ok=True)
            server = await asyncio.start_unix_server(connected, address, start_serving=False)
            address.chmod(0o600)
        except OSError as error:
            raise PluginLostError(f"{spell(address)}: {error.strerror or error}") from error
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests in turn; what is not ours is answered once and closed."""
        try:
            while (request := await read_message(reader)) is not None:
                if request.get("op") == "listen":
                    await self._listen(request, reader, writer)
                    break
                if request.get("op") == "accepted":
                    await self._follow(reader, writer)
                    break
                if request.get("op") == "export":
                    await serve_export(self._door, request, writer)
                    break
                if request.get("op") == "stage":
                    await serve_stage(self._door, request, _terms(request), reader, writer)
                    break
                if request.get("op") == "import":
                    await serve_import(self._door, reader, writer)
                    break
                answer = await self._answer(request, reader)
                if answer is None:
                    break
                await write_answer(writer, answer)
        except (ApiBrokenError, MalformedError) as error:
            writer.write(pack_message({"error": str(error), "reason": "malformed"}))
        except StoreError as error:
            writer.write(pack_message({"error": str(error), "reason": RefusalReason.STORE_FAILED.value}))
        except ConnectionError:
            pass  # the program went away in the middle of an answer: there is nobody to tell
        finally:
            writer.close()

    async def _answer(self, request: Message, reader: asyncio.StreamReader) -> Message | None:
        """The answer to one request; None when whoever asked has gone."""
        try:
            ok = await self._ok(request, reader)
        except RefusedError as error:
            return {"error": error.detail, "reason": error.reason.value}
        except BundleUnknownError as error:
            return {"error": str(error), "reason": "unknown_bundle"}
        except (UnsendableError, MalformedError) as error:
            return {"error": str(error), "reason": "malformed"}
        except (ActionError, PageMemoryError) as error:
            return {"error": str(error), "reason": "not_done"}
        except StoreError as error:
            return {"error": str(error), "reason": RefusalReason.STORE_FAILED.value}
        return None if ok is None else {"ok": ok}

    async def _ok(self, request: Message, reader: asyncio.StreamReader) -> Message | None:
        match request.get("op"):
            case "send":
                return asdict(await self._send(request))
            case "send_many":
                return await self._send_many(request)
            case "status":
                return self._door.status()
            case "state":
                return asdict(await self._door.state(_bundle(request)))
            case "read":
                offset, length = _number(request, "offset"), _number(request, "length")
                if length > READ_MAX_BYTES:
                    raise MalformedError(f"length {length}: allowed: up to {READ_MAX_BYTES}")
                return {"payload": await self._door.read(_bundle(request), offset, length)}
            case "why":
                return await self._door.why(_bundle(request), _choice(request, "language", LANGUAGES))
            case "cancel":
                by = _text(request, "by") if "by" in request else ""
                cancelled = await self._door.cancel(_bundle(request), by)
                return {**asdict(cancelled.state), "was_asked": cancelled.was_asked}
            case "act":
                body = request.get("body", {})
                if not isinstance(body, dict):
                    raise MalformedError(f"body of type {type(body).__name__}: allowed: a map")
                return await self._door.act(_text(request, "action"), body)
            case "orders":
                return {"orders": await self._door.orders()}
            case "wait":
                state = _text(request, "state")
                if state not in WAIT_STATES:
                    raise MalformedError(f"state {state!r}: allowed: {', '.join(WAIT_STATES)}")
                reached = await _while_connected(reader, self._door.wait(_bundle(request), state))
                return None if reached is None else asdict(reached)
            case op:
                raise MalformedError(f"op {op!r}: allowed: {', '.join(OPS)}")

    async def _send(self, request: Message) -> BundleState:
        payload = request.get("payload")
        if not isinstance(payload, bytes):
            raise MalformedError(f"payload of type {type(payload).__name__}: allowed: bytes")
        return await self._door.send(payload, _terms(request))

    async def _send_many(self, request: Message) -> Message:
        payloads = request.get("payloads")
        if (
            not isinstance(payloads, list)
            or len(payloads) > GROUP_MAX
            or not all(type(each) is bytes for each in payloads)
        ):
            raise MalformedError(f"payloads: allowed: a list of at most {GROUP_MAX} times bytes")
        told = await self._door.send_many(payloads, _terms(request))
        return {
            "bundles": ["" if isinstance(each, RefusedError) else str(each) for each in told],
            "refused": [
                [at, each.reason.value, each.detail] for at, each in enumerate(told) if isinstance(each, RefusedError)
            ],
        }

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tell every accepted bundle until the other side has gone."""

        async def tell() -> bool:
            await write_answer(writer, {"ok": {}})
            async for bundle in self._door.accepted():
                await write_answer(writer, {"ok": {"bundle": str(bundle)}})
            return True

        await _while_connected(reader, tell())

    async def _listen(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name, since, after = request.get("consumer"), request.get("since"), request.get("after")
        if not all(each is None or isinstance(each, str) for each in (name, since)):
            raise ApiBrokenError("consumer and since are texts")
        if after is not None and type(after) is not int:
            raise ApiBrokenError(f"after {after!r}: allowed: a position")
        flow = _text(request, "flow")
        inline_bytes = _number(request, "inline_bytes") if "inline_bytes" in request else INLINE_BYTES
        try:
            consumer = await self._door.open_consumer(name, flow, since, after)
        except (BundleUnknownError, MalformedError) as error:
            await write_answer(writer, {"error": str(error), "reason": "unknown_bundle"})
            return
        await write_answer(writer, {"ok": {"consumer": consumer}})
        listener = Listener(self._door, consumer, min(inline_bytes, INLINE_BYTES), writer)
        try:
            await listener.serve(reader)
        finally:
            await self._door.close_consumer(consumer)


async def _while_connected(
    reader: asyncio.StreamReader,
    work: Coroutine[Any, Any, ResultT],  # Any: what a coroutine yields and is sent is asyncio's
) -> ResultT | None:
    """The result of ``work``; None when the other side closed first."""
    unknown: BundleUnknownError | None = None
    try:
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(reader.read(1), name="api:gone")
            answer = group.create_task(work, name="api:wait")
            await asyncio.wait((gone, answer), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            answer.cancel()
    except* BundleUnknownError as errors:
        unknown = next(error for error in errors.exceptions if isinstance(error, BundleUnknownError))
    if unknown is not None:
        raise unknown
    return None if answer.cancelled() else answer.result()


async def _clear_stale_socket(path: Path) -> None:
    """Remove the socket of an agent that was killed. Raises PluginLostError when somebody answers there."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise PluginLostError(f"unix:{path} exists and is not a socket: it is not removed")
        _reader, writer = await asyncio.open_unix_connection(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)  # nobody listens: left behind by an agent that was killed
        return
    writer.close()
    raise PluginLostError(f"unix:{path}: another agent answers there already")


def _bundle(request: Message) -> BundleId:
    return BundleId.parse(_text(request, "bundle"))


def _terms(request: Message) -> SendTerms:
    """Raises MalformedError, naming the field."""
    precedence, lifetime_s = request.get("precedence"), request.get("lifetime_s")
    names = {each.name.lower(): each for each in Precedence}
    if precedence is not None and precedence not in names:
        raise MalformedError(f"precedence {precedence!r}: allowed: {', '.join(names)}")
    if lifetime_s is not None and (isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int | float)):
        raise MalformedError(f"lifetime_s {lifetime_s!r}: allowed: a number of seconds")
    return SendTerms(
        flow=_text(request, "flow"),
        to=_text(request, "to"),
        precedence=None if precedence is None else names[precedence],
        lifetime_s=lifetime_s,
        key=_text(request, "key") if "key" in request else "",
        origin=Origin(_choice(request, "origin", ("machine", "person"))),
    )


def _choice(request: Message, key: str, allowed: Sequence[str]) -> str:
    """One of ``allowed``; absent, the first."""
    value = request.get(key, allowed[0])
    if value not in allowed:
        raise MalformedError(f"{key} {value!r}: allowed: {', '.join(allowed)}")
    return str(value)


def _number(request: Message, key: str) -> int:
    value = request.get(key)
    if type(value) is not int or value < 0:
        raise MalformedError(f"{key} {value!r}: allowed: a number of bytes")
    return value


def _text(request: Message, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise MalformedError(f"{key} {value!r}: allowed: text")
    return value

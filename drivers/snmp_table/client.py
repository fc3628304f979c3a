"""One device asked by SNMP: a request for all values, one answer. The only module that imports pysnmp."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher
from pysnmp.error import PySnmpError
from pysnmp.hlapi.v3arch.asyncio import (
    CommunityData,
    ContextData,
    ObjectIdentity,
    ObjectType,
    SnmpEngine,
    Udp6TransportTarget,
    UdpTransportTarget,
    UsmUserData,
    get_cmd,
    usmAesCfb128Protocol,
    usmHMAC192SHA256AuthProtocol,
    usmHMACSHAAuthProtocol,
)
from pysnmp.proto.rfc1902 import Integer32, OctetString, Unsigned32
from pysnmp.proto.rfc1905 import EndOfMibView, NoSuchInstance, NoSuchObject

from drivers.snmp_table.values import Told
from edge_agent.core.errors import EdgeAgentError

TEXT_MAX = 255
_AUTH = {"sha": usmHMACSHAAuthProtocol, "sha256": usmHMAC192SHA256AuthProtocol}


class SnmpError(EdgeAgentError):
    """The device did not answer, or refused; ``name`` is what it is counted as."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to be let in. ``version`` "1", "2c" or "3"; passwords of version 3 have 8 characters and more."""

    version: str
    community: str = ""
    user: str = ""
    auth: str = "sha"
    auth_password: str = ""
    privacy_password: str = ""


class _Dispatcher(AsyncioDispatcher):  # type: ignore[misc]  # pysnmp has no types
    """Calls ``on_unreadable`` for a datagram that pysnmp's parser fails at: its errors are of any class."""

    def __init__(self, on_unreadable: Callable[[], None]) -> None:
        super().__init__()
        self._on_unreadable = on_unreadable

    def _callback_function(self, *received: Any) -> None:  # Any: as above
        try:
            super()._callback_function(*received)
        except Exception:  # noqa: BLE001  # pyasn1 raises TypeError and IndexError from its inside at foreign bytes
            self._on_unreadable()


class SnmpClient:
    """Asks one device at ``host``, an IP address; ``on_unreadable`` is called for each datagram that is no SNMP."""

    def __init__(
        self,
        host: str,
        port: int,
        access: Access,
        *,
        answer_s: float,
        retries: int,
        on_unreadable: Callable[[], None],
    ) -> None:
        self._where = host, port
        self._access = access
        self._answer_s, self._retries = answer_s, retries
        self._engine: Any = SnmpEngine()  # Any: pysnmp has no types
        self._engine.register_transport_dispatcher(_Dispatcher(on_unreadable))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close_dispatcher()

    async def get(self, oids: Sequence[str]) -> dict[str, Told]:
        """What the device says to each OID. Raises SnmpError."""
        target_type = Udp6TransportTarget if ":" in self._where[0] else UdpTransportTarget
        try:
            target = await target_type.create(self._where, timeout=self._answer_s, retries=self._retries)
            asked = [ObjectType(ObjectIdentity(oid)) for oid in oids]
            trouble, status, at, told = await get_cmd(
                self._engine, self._user(), target, ContextData(), *asked, lookupMib=False
            )
        except (PySnmpError, OSError) as error:
            raise SnmpError("snmp_error", str(error)) from error
        if trouble is not None:
            name = "snmp_timeout" if "timeout" in str(trouble) else "snmp_error"
            raise SnmpError(name, str(trouble))
        if status:
            which = oids[int(at) - 1] if 0 < int(at) <= len(oids) else "the request"
            raise SnmpError("snmp_error", f"{which}: {status.prettyPrint()}")
        found = {str(name): _plain(value) for name, value in told}
        return {oid: found.get(oid) for oid in oids}

    def _user(self) -> Any:  # Any: pysnmp has no types
        access = self._access
        if access.version != "3":
            return CommunityData(access.community, mpModel=0 if access.version == "1" else 1)
        keys: dict[str, Any] = {}  # Any: as above
        if access.auth_password:
            keys |= {"authKey": access.auth_password, "authProtocol": _AUTH[access.auth]}
        if access.privacy_password:
            keys |= {"privKey": access.privacy_password, "privProtocol": usmAesCfb128Protocol}
        return UsmUserData(access.user, **keys)


def _plain(value: Any) -> Told:  # Any: pysnmp has no types
    if isinstance(value, NoSuchObject | NoSuchInstance | EndOfMibView):
        return None
    if isinstance(value, Integer32 | Unsigned32):
        return int(value)
    if isinstance(value, OctetString):
        return bytes(value)[:TEXT_MAX].decode("utf-8", "replace")
    return _number_of(value)


def _number_of(value: Any) -> Told:  # Any: as above
    """Counters and times are numbers of other classes; an object name or address is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return ""


async def ask(client: SnmpClient, oids: Sequence[str], longest_s: float) -> dict[str, Told]:
    """``client.get`` that ends in any case. Raises SnmpError."""
    try:
        async with asyncio.timeout(longest_s):
            return await client.get(oids)
    except TimeoutError as error:
        raise SnmpError("snmp_timeout", f"no answer within {longest_s:g} s") from error

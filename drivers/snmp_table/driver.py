"""SNMP driver: asks a device for the values of its table, publishes readings and hints what they say of a link."""

import asyncio
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from drivers.snmp_table.values import Told, ValueRule, hint_of, read_rules
from edge_agent.addresses import parse_host_port
from edge_agent.core.link_hint import GOOD_FOR_MOST_S
from edge_agent.ports import DriverPort, PluginLostError, Setting, Table

if TYPE_CHECKING:
    from drivers.snmp_table.client import Access, SnmpClient

ANSWER_S, RETRIES = 2.0, 1
"""Weak modems answer within a second; a lost datagram is asked once more."""
STALE_AFTER = 3
"""A hint outlives so many questions without an answer."""
PASSWORD_LEAST = 8  # RFC 3414, section 11.2
_NEEDS_EXTRA = "needs the extra 'snmp': pip install lifeline-edge[snmp]"


def is_place(text: str) -> bool:
    """Whether ``text`` is an IP address with a port: a name would be looked up while everybody waits."""
    try:
        address = parse_host_port(text)
        ipaddress.ip_address(address.host)
    except ValueError:
        return False
    return True


class SnmpTableDriver:
    """Driver ``snmp_table``: any device with an SNMP agent (v1, v2c, v3), values named by ``[[driver.value]]``."""

    SETTINGS: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "agent": Setting(kind=str, allowed='"ADDRESS:PORT" with an IP address, usually port 161', accepts=is_place),
            "value": Setting(
                kind=list,
                allowed="at least one table of oid, series, unit, scale, offset, means, poor, good, up",
                accepts=bool,
            ),
            "link": Setting(
                kind=str, allowed="the name of the [[link]] that the values are about", default="", names_link=True
            ),
            "interval_s": Setting(
                kind=float,
                allowed="1 to 180 s between two questions",
                default=5.0,
                accepts=lambda value: 1 <= value <= 180,
            ),
            "version": Setting(
                kind=str, allowed='"1", "2c" or "3"', default="2c", accepts=lambda text: text in ("1", "2c", "3")
            ),
            "community": Setting(kind=str, allowed="a community that may read (versions 1 and 2c)", default="public"),
            "user": Setting(kind=str, allowed="the user of version 3", default=""),
            "auth": Setting(
                kind=str, allowed='"sha" or "sha256"', default="sha", accepts=lambda text: text in ("sha", "sha256")
            ),
            "auth_password_file": Setting(
                kind=str, allowed="a file whose first line is the password", default="", is_path=True
            ),
            "privacy_password_file": Setting(
                kind=str, allowed="a file whose first line is the password (AES-128)", default="", is_path=True
            ),
        }
    )

    def __init__(self, table: Table) -> None:
        self._agent: str = table["agent"]
        self._rules: list[ValueRule] = read_rules(table["value"])
        self._link: str = table["link"]
        self._interval_s: float = table["interval_s"]
        self._table = table
        if (table["version"] == "3") != bool(table["user"]):
            raise ValueError('user: allowed and needed with version = "3"')
        if table["privacy_password_file"] and not table["auth_password_file"]:
            raise ValueError("privacy_password_file without auth_password_file")
        if any(rule.means for rule in self._rules) and not self._link:
            raise ValueError("link is missing: a value has means, which is about a link")
        self._good_for_s = min(GOOD_FOR_MOST_S, STALE_AFTER * self._interval_s + ANSWER_S)

    async def run(self, port: DriverPort) -> None:
        """Ask until cancelled. Raises PluginLostError: no library, no password."""
        try:
            from drivers.snmp_table.client import SnmpClient
        except ImportError as error:
            port.unavailable(_NEEDS_EXTRA)
            raise PluginLostError(_NEEDS_EXTRA) from error
        address = parse_host_port(self._agent)
        try:
            access = self._access()
        except (OSError, PluginLostError) as error:
            port.unavailable(str(error))
            raise
        client = SnmpClient(
            address.host,
            address.port,
            access,
            answer_s=ANSWER_S,
            retries=RETRIES,
            on_unreadable=lambda: port.count("snmp_unreadable"),
        )
        async with client:
            while True:
                await self._look(client, port)
                await asyncio.sleep(self._interval_s)

    def _access(self) -> "Access":
        from drivers.snmp_table.client import Access

        table = self._table
        return Access(
            version=table["version"],
            community=table["community"],
            user=table["user"],
            auth=table["auth"],
            auth_password=_password(table["auth_password_file"]),
            privacy_password=_password(table["privacy_password_file"]),
        )

    async def _look(self, client: "SnmpClient", port: DriverPort) -> None:
        from drivers.snmp_table.client import SnmpError, ask

        try:
            told = await ask(client, [rule.oid for rule in self._rules], 2 * ANSWER_S * (1 + RETRIES))
        except SnmpError as error:
            port.count(error.name)
            port.unavailable(f"{self._agent}: {error}")
            return
        port.available()
        await self._hand_over(told, port)

    async def _hand_over(self, told: Mapping[str, Told], port: DriverPort) -> None:
        now_ms = port.now_ms()
        readings = [rule.reading(told.get(rule.oid), now_ms) for rule in self._rules if rule.series]
        if readings:
            await port.publish(readings)
        lacking = sum(rule.value(told.get(rule.oid)) is None for rule in self._rules)
        if lacking:
            port.count("snmp_value", lacking)
        hint = hint_of(self._rules, told, self._good_for_s) if self._link else None
        if hint is not None:
            port.hint_link(self._link, hint)


def _password(file: str) -> str:
    """The first line of ``file``; "" where none is named. Raises OSError, PluginLostError."""
    if not file:
        return ""
    password = Path(file).read_text(encoding="utf-8").partition("\n")[0]
    if len(password) < PASSWORD_LEAST:
        raise PluginLostError(f"{file}: {len(password)} characters; allowed: {PASSWORD_LEAST} and more")
    return password

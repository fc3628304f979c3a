"""Links that nobody wrote down: one by each interface that comes with a default route, towards the command post.

A modem or cable plugged in carries what is urgent within seconds, by the policy of a link that nobody
described. Such a link stays, down or up, until the agent ends; its transport waits for the interface to return.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable

import structlog

from edge_agent.addresses import parse_host_port
from edge_agent.config import AUTO_TRANSPORT, Config, LinkConfig
from edge_agent.core.limits import LinkPolicy
from edge_agent.interfaces import Changes, Interface, InterfaceWatch
from edge_agent.ports import Transport

LOOK_S = 60.0
AUTO_LINKS_MAX = 16
"""More interfaces than that come from a fault, or from containers."""
SOMEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses for documentation (RFC 5737, RFC 3849): the way there is the default route."""
NAME_MAX = 32

log = structlog.get_logger()


class AutoLinks:
    """Makes links as interfaces come. ``run_link`` keeps one running until it is cancelled."""

    def __init__(
        self, config: Config, transport: type[Transport], run_link: Callable[[LinkConfig], Awaitable[None]]
    ) -> None:
        self._config = config
        self._transport = transport
        self._run_link = run_link
        self._made: dict[str, str] = {}
        """Names of links by their interfaces."""

    async def run(self) -> None:
        """Watch interfaces until cancelled."""
        try:
            watch = InterfaceWatch()
        except OSError as error:
            log.warning("interfaces_unwatched", reason=error.strerror or str(error))
            return
        changes = Changes(watch)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    watch.read()
                    for link in self.wanted(watch):
                        log.info("link_made", link=link.name, interface=link.table["bind_interface"])
                        group.create_task(self._keep(link), name=f"link:{link.name}")
                    await changes.wait(LOOK_S)
        finally:
            changes.close()

    async def _keep(self, link: LinkConfig) -> None:
        await self._run_link(link)

    def wanted(self, watch: InterfaceWatch) -> list[LinkConfig]:
        """Links for interfaces that have none yet; each is given once."""
        taken = self._taken(watch)
        links: list[LinkConfig] = []
        for interface in watch.interfaces.values():
            if interface.name in self._made or interface.name in taken or not _leads_out(interface):
                continue
            if len(self._made) >= AUTO_LINKS_MAX:
                log.warning("links_made_full", most=AUTO_LINKS_MAX, interface=interface.name)
                break
            links.append(self._link(interface.name))
        return links

    def _link(self, interface: str) -> LinkConfig:
        names = {link.name for link in self._config.links} | set(self._made.values())
        word = re.sub(r"[^a-z0-9._-]", "-", interface.lower()).lstrip("._-")[: NAME_MAX - 3] or "link"
        name = next(each for each in (word, *(f"{word}-{at}" for at in range(2, 99))) if each not in names)
        self._made[interface] = name
        table = {key: setting.default for key, setting in self._transport.SETTINGS.items()}
        return LinkConfig(
            name=name,
            transport=AUTO_TRANSPORT,
            table={**table, "remote": list(self._config.auto_remotes), "bind_interface": interface},
            rate_bps=None,
            policy=LinkPolicy(),
            is_listener=False,
        )

    def _taken(self, watch: InterfaceWatch) -> set[str]:
        """Interfaces that links of the configuration leave by."""
        taken: set[str] = set()
        for link in self._config.links:
            if link.transport != AUTO_TRANSPORT or not link.table["remote"]:
                continue
            if link.table["bind_interface"]:
                taken.add(link.table["bind_interface"])
                continue
            source = link.table["bind_address"] or _source_to(link.table["remote"][0])
            holder = watch.holder(source)
            if holder is not None:
                taken.add(holder.name)
        return taken


def _leads_out(interface: Interface) -> bool:
    return interface.carries and not interface.is_loopback and bool(interface.addresses and interface.default_routes)


def _source_to(remote: str) -> str:
    """The address this machine would use towards ``remote``, now; empty when there is no way. Nothing is sent."""
    where = parse_host_port(remote)
    try:
        address = ipaddress.ip_address(where.host)
        tried = [(socket.AF_INET6 if address.version == 6 else socket.AF_INET, where.host)]
    except ValueError:  # a name is not looked up for this: the default route is where it will be
        tried = list(SOMEWHERE.items())
    for family, host in tried:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((host, where.port))
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return ""

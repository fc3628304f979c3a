"""Datagram ports in virtual time: asyncio transports whose datagrams are the frames of a link."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from link_sim.virtual.endpoints.link_end import Address, Datagram, LinkEnd, Ports, call_in
from link_sim.virtual.loop import VirtualLoop

_new = object.__new__
LONGEST_BYTES = 65_507  # UDP over IPv4: 65,535 less 20 and 8


class DatagramPort(asyncio.DatagramTransport):
    """One port of a node. A datagram goes at once or is lost: ``write`` buffers are always empty.

    What comes damaged is handed over damaged, as through a real-time proxy; what meets no port is counted.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        node: str,
        port: int,
        ports: Ports,
        resolve: Callable[[str], LinkEnd],
        remote: tuple[LinkEnd, int] | None,
    ) -> None:
        name = None if remote is None else (remote[0].peer_address, remote[1])
        super().__init__({"sockname": (node, port), "peername": name})
        self._loop = loop
        self._port = port
        self._ports = ports
        self._resolve = resolve
        self._remote = remote
        self._ends: dict[str, LinkEnd] = {}
        self._context = contextvars.copy_context()
        self._protocol: Any = None  # whatever the program made; asyncio's transports take it likewise
        self._is_closing = False
        ports.datagrams[port] = self

    def start(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell the protocol that it is connected."""
        self._protocol = protocol
        call_in(self._context, self._tell, protocol.connection_made, self)

    def receive(self, frame: Datagram, end: LinkEnd) -> None:
        """A datagram came."""
        remote = self._remote
        if self._is_closing or (remote is not None and (remote[0] is not end or remote[1] != frame.source_port)):
            end.counts["unheard"] += 1
            return
        source: Address = (end.peer_address, frame.source_port)
        try:  # as call_in, without its call: each datagram comes this way
            self._context.run(self._protocol.datagram_received, frame.payload, source)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # asyncio's contract: a protocol's fault does not end the loop
            self._tell(error)

    def sendto(self, data: bytes | bytearray | memoryview, addr: Address | None = None) -> None:  # type: ignore[override]
        """Send a datagram. Raises ValueError for an address other than the remote one.

        mypy: addresses are names of nodes, not those of sockets.
        """
        if self._is_closing:
            return
        if self._remote is not None:
            end, port = self._remote
            if addr is not None and tuple(addr[:2]) != self._extra_name():
                raise ValueError(f"Invalid address: must be None or {self._extra_name()}")
        elif addr is None:
            raise ValueError("a port without a remote address needs one for each datagram")
        else:
            host, port = addr[:2]
            found = self._ends.get(host) or self._find(host)
            if found is None:
                return
            end = found
        payload = data if type(data) is bytes else bytes(data)
        if len(payload) > LONGEST_BYTES:
            self._error(OSError(f"datagram of {len(payload)} bytes: {LONGEST_BYTES} are allowed"))
            return
        datagram = _new(Datagram)  # two thirds of what Datagram(...) costs
        datagram.source_port, datagram.port, datagram.payload = self._port, port, payload
        end.out.offer(datagram, len(payload))

    def _extra_name(self) -> Address:
        name: Address = self.get_extra_info("peername")
        return name

    def _find(self, host: str) -> LinkEnd | None:
        try:
            end = self._ends[host] = self._resolve(host)
        except OSError as error:
            self._error(error)
            return None
        return end

    def _error(self, error: OSError) -> None:
        self._loop.call_soon(self._protocol.error_received, error, context=self._context)

    def _tell(self, error: BaseException) -> None:
        message = f"datagram port {self._extra_port()}: its protocol raised"
        self._loop.call_exception_handler({"message": message, "exception": error, "transport": self})

    def _extra_port(self) -> str:
        node, port = self.get_extra_info("sockname")
        return f"{node}:{port}"

    def close(self) -> None:
        """Free the port; what flies still arrives."""
        if not self._is_closing:
            self._is_closing = True
            self._ports.datagrams.pop(self._port, None)
            self._loop.call_soon(self._protocol.connection_lost, None, context=self._context)

    def abort(self) -> None:
        """As ``close``: nothing waits."""
        self.close()

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        """Nothing ever waits here."""
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

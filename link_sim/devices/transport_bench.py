"""Transport bench: stand-ins behind asyncio transports, such as the serial ports of virtual time."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from link_sim.devices.errors import DeviceError
from link_sim.devices.stand_in import StandIn
from link_sim.virtual.endpoints.serial import SerialPort
from link_sim.virtual.net import Net
from link_sim.virtual.net_node import NetNode


@dataclass(slots=True)
class _Cable:
    """A link of virtual time that a device is attached to; ``stopper`` keeps the host's end while nothing is there."""

    net: Net
    node: NetNode
    link: str
    stopper: SerialPort | None = None

    def hang_up(self) -> None:
        """Close the port at both ends, and let nobody open the host's."""
        for end in self.net.links[self.link].ends:
            if isinstance(end.serial, SerialPort):
                end.serial.close()
            if end.node != self.node.name:
                self.stopper = self.net.nodes[end.node].create_serial(asyncio.Protocol, self.link)

    def free(self) -> None:
        """Let the host's end be opened."""
        if self.stopper is not None:
            self.stopper.close()
            self.stopper = None


class TransportBench:
    """Stand-ins by name, each on a port of its own.

    ``attach`` puts a device on a serial link of virtual time: unplugged it hangs up, as a real port does.
    ``protocol(name)`` is what any other transport is made with: that cannot be pulled out, so an unplugged device hears
    and says nothing there. The clock is that of the running loop and starts here, so that the same seed gives the same
    run in virtual time. The line paces the bytes where it has a rate; make the devices with ``baud_rate=None`` then.
    """

    def __init__(self, devices: Mapping[str, StandIn]) -> None:
        self._devices = dict(devices)
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._transports: dict[str, asyncio.WriteTransport] = {}
        self._cables: dict[str, _Cable] = {}
        self._plugged = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._is_turning = False

    def attach(self, name: str, net: Net, node: NetNode | str, link: str) -> None:
        """Put a device on ``node``'s end of a link; a program opens the other end with ``open_serial``.

        While it is unplugged that end is closed, and opening it raises OSError. Raises DeviceError for a device, a node
        or a link that is not there, and OSError when the port is open already.
        """
        self._check(name)
        place = net.node(node) if isinstance(node, str) else node
        if link not in net.links or place.name not in (end.node for end in net.links[link].ends):
            raise DeviceError(f"device {name}: node {place.name} has no link {link!r}")
        self._cables[name] = _Cable(net, place, link)
        self._follow_plug(name)
        self.turn()

    def protocol(self, name: str) -> asyncio.Protocol:
        """The device's side of a port. Raises DeviceError when there is no such device."""
        self._check(name)
        return _Port(self, name)

    def _check(self, name: str) -> None:
        if name not in self._devices:
            raise DeviceError(f"device {name}: allowed is {', '.join(self._devices) or 'none, the bench is empty'}")

    async def until_plugged(self, name: str) -> None:
        """Return as soon as a device is plugged in. Raises DeviceError when there is no such device."""
        self._check(name)
        while not self._devices[name].is_plugged:
            self._plugged.clear()
            await self._plugged.wait()

    def now_s(self) -> float:
        """Seconds since the devices were switched on."""
        return self._loop.time() - self._started_s

    def turn(self) -> None:
        """Feed whatever is due; call it after a change made from outside, such as a mended line."""
        if self._is_turning:  # a port that opens in a turn is fed by it
            return
        self._is_turning = True
        now_s = max(self.now_s(), self._due_s)  # a timer may ring a rounding before its time
        try:
            for name in self._devices:
                self._feed(name, b"", now_s)
        finally:
            self._is_turning = False
        times = (device.next_wakeup() for device in self._devices.values())
        next_s = min((at_s for at_s in times if at_s is not None), default=None)
        self._set_timer(next_s)

    def _set_timer(self, next_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if next_s is not None:
            self._timer = self._loop.call_at(self._started_s + next_s, self._ring, next_s)

    def close(self) -> None:
        """Switch all off and close their transports."""
        self._set_timer(None)
        for cable in self._cables.values():
            cable.free()
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()

    def _ring(self, due_s: float) -> None:
        self._timer, self._due_s = None, due_s
        self.turn()

    def _feed(self, name: str, received: bytes, now_s: float) -> None:
        device = self._devices[name]
        while (plug_s := device.next_plug_s()) is not None and plug_s <= now_s:
            self._step(name, b"", plug_s)
        self._step(name, received, now_s)

    def _step(self, name: str, received: bytes, now_s: float) -> None:
        said = self._devices[name].feed(received, now_s)
        self._follow_plug(name)
        transport = self._transports.get(name)
        if said and transport is not None:
            transport.write(said)

    def _follow_plug(self, name: str) -> None:
        """Open the port of an attached device that is plugged in, hang up that of one that is not."""
        is_plugged, cable = self._devices[name].is_plugged, self._cables.get(name)
        if is_plugged:
            self._plugged.set()
        if cable is None:
            return
        if is_plugged and name not in self._transports:
            cable.free()
            cable.node.create_serial(lambda: _Port(self, name), cable.link)
        elif not is_plugged and cable.stopper is None:
            self._transports.pop(name, None)
            cable.hang_up()

    def plug(self, name: str, transport: asyncio.WriteTransport) -> None:
        """The device's port is open."""
        self._transports[name] = transport
        self.turn()

    def unplug(self, name: str, transport: asyncio.WriteTransport) -> None:
        """The device's port is gone; the device goes on, unheard."""
        if self._transports.get(name) is transport:  # else it has another one already
            del self._transports[name]

    def hear(self, name: str, received: bytes) -> None:
        """Bytes from the host."""
        self._feed(name, received, max(self.now_s(), self._due_s))
        self.turn()


class _Port(asyncio.Protocol):
    """One device's side of a port."""

    def __init__(self, bench: TransportBench, name: str) -> None:
        self._bench = bench
        self._name = name
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # of a port that can be written, as serial ones are
        self._transport = transport
        self._bench.plug(self._name, transport)

    def data_received(self, data: bytes) -> None:
        self._bench.hear(self._name, data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._bench.unplug(self._name, self._transport)

"""Transport bench: stand-ins behind asyncio transports, such as the serial ports of virtual time."""

import asyncio
from collections.abc import Mapping

from link_sim.devices.errors import DeviceError
from link_sim.devices.stand_in import StandIn


class TransportBench:
    """Stand-ins by name; ``protocol(name)`` is what the transport of its port is made with.

    The clock is that of the running loop and starts here, so that the same seed gives the same run in virtual time. An
    unplugged device hears and says nothing, for a transport cannot be pulled out. The line paces the bytes where it has
    a rate; make the devices with ``baud_rate=None`` then.
    """

    def __init__(self, devices: Mapping[str, StandIn]) -> None:
        self._devices = dict(devices)
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._transports: dict[str, asyncio.WriteTransport] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    def protocol(self, name: str) -> asyncio.Protocol:
        """The device's side of a port. Raises DeviceError when there is no such device."""
        if name not in self._devices:
            raise DeviceError(f"device {name}: allowed is {', '.join(self._devices) or 'none, the bench is empty'}")
        return _Port(self, name)

    def now_s(self) -> float:
        """Seconds since the devices were switched on."""
        return self._loop.time() - self._started_s

    def turn(self) -> None:
        """Feed whatever is due; call it after a change made from outside, such as a mended line."""
        now_s = max(self.now_s(), self._due_s)  # a timer may ring a rounding before its time
        for name in self._devices:
            self._feed(name, b"", now_s)
        times = (device.next_wakeup() for device in self._devices.values())
        next_s = min((at_s for at_s in times if at_s is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if next_s is not None:
            self._timer = self._loop.call_at(self._started_s + next_s, self._ring, next_s)

    def close(self) -> None:
        """Switch all off and close their transports."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()

    def _ring(self, due_s: float) -> None:
        self._timer, self._due_s = None, due_s
        self.turn()

    def _feed(self, name: str, received: bytes, now_s: float) -> None:
        said = self._devices[name].feed(received, now_s)
        transport = self._transports.get(name)
        if said and transport is not None:
            transport.write(said)

    def plug(self, name: str, transport: asyncio.WriteTransport) -> None:
        """The device's port is open."""
        self._transports[name] = transport
        self.turn()

    def unplug(self, name: str) -> None:
        """The device's port is gone; the device goes on, unheard."""
        self._transports.pop(name, None)

    def hear(self, name: str, received: bytes) -> None:
        """Bytes from the host."""
        self._feed(name, received, max(self.now_s(), self._due_s))
        self.turn()


class _Port(asyncio.Protocol):
    """One device's side of a port."""

    def __init__(self, bench: TransportBench, name: str) -> None:
        self._bench = bench
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # of a port that can be written, as serial ones are
        self._bench.plug(self._name, transport)

    def data_received(self, data: bytes) -> None:
        self._bench.hear(self._name, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._bench.unplug(self._name)

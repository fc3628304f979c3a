"""Stand-ins on the serial ports of virtual time: a host's ordinary asyncio code talks to them in no time at all."""

import asyncio

import pytest

from link_sim.devices.beidou import BeidouTerminal
from link_sim.devices.errors import DeviceError
from link_sim.devices.faults import Fault, FaultKind
from link_sim.devices.gnss import GnssReceiver
from link_sim.devices.message_network import MessageNetwork
from link_sim.devices.transport_bench import TransportBench
from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import serial_profile
from link_sim.virtual.net import Net

SENDS = b"$CCTXA,0200002,1,2,A468656C6C6F*76\r\n"
LOG = b"".join(b"$GNRMC,12000%d.00,A*00\r\n" % second for second in range(5))


def cables(*names: str) -> Net:
    """A serial cable of 9600 baud from each host to its device."""
    net = Net(7)
    for name in names:
        net.link(f"{name}-host", f"{name}-device", serial_profile(9600), name=name)
    return net


def exchange(seed: int) -> tuple[list[str], str]:
    """Two hosts send from terminal to terminal for ten minutes, each as soon as the card lets it; what arrived when."""
    net = cables("kit", "command")

    async def main() -> list[str]:
        network = MessageNetwork(LinkProfile(delay_s=4.0, jitter_s=0.2, lost_frames=(2, 5)), seed=seed)
        bench = TransportBench(
            {
                "kit": BeidouTerminal(card="0200001", network=network, baud_rate=None),
                "command": BeidouTerminal(card="0200002", network=network, baud_rate=None),
            }
        )
        net.node("kit-device").create_serial(lambda: bench.protocol("kit"), "kit")
        net.node("command-device").create_serial(lambda: bench.protocol("command"), "command")
        reader, writer = await net.node("kit-host").open_serial("kit")
        far, _ = await net.node("command-host").open_serial("command")
        arrived: list[str] = []

        async def hear() -> None:
            while True:
                line = (await far.readline()).decode().strip()
                arrived.append(f"{net.loop.time():.6f} {line}")

        hearing = asyncio.create_task(hear(), name="hear")
        while net.loop.time() < 600:
            writer.write(SENDS)
            feedback = (await reader.readline()).decode()
            wait_s = int(feedback.split("*")[0].split(",")[5])
            await asyncio.sleep(wait_s or 1)
        await asyncio.sleep(10)
        hearing.cancel()
        bench.close()
        assert network.counts["posted"] + network.counts["lost"] == 10  # one a minute, by the waiting times it is told
        assert len(arrived) == network.counts["delivered"] == network.counts["posted"]
        return arrived

    return net.run(main()), net.digest()


def test_messages_cross_two_cables_and_the_network_the_same_in_every_run() -> None:
    arrived, digest = exchange(1)
    assert len(arrived) == 8
    assert 3.8 <= float(arrived[0].split()[0]) < 5.2  # the network's delay and two cables
    assert all("$BDTXR,1,0200001,2,,A468656C6C6F*" in line for line in arrived)
    assert exchange(1) == (arrived, digest)
    assert exchange(2)[0] != arrived


def test_a_receiver_is_heard_at_its_rate_and_not_while_it_is_unplugged() -> None:
    net = cables("gnss")

    async def main() -> list[int]:
        faults = [Fault(kind=FaultKind.UNPLUG, from_s=10.5, until_s=20.25)]
        bench = TransportBench({"gnss": GnssReceiver(LOG, baud_rate=None, faults=faults)})
        net.node("gnss-device").create_serial(lambda: bench.protocol("gnss"), "gnss")
        reader, _ = await net.node("gnss-host").open_serial("gnss")
        heard = []
        while net.loop.time() < 25:
            await reader.readline()
            heard.append(int(net.loop.time() * 4))
        bench.close()
        return heard

    assert net.run(main()) == [*range(0, 44, 4), *range(81, 102, 4)]


def test_an_attached_receiver_hangs_up_and_comes_back() -> None:
    """The host's port ends with the plug, opening it fails until the plug is back, and then it is heard again."""
    net = cables("gnss")

    async def main() -> list[tuple[str, float]]:
        faults = [Fault(kind=FaultKind.UNPLUG, from_s=10.5, until_s=20.25), Fault(kind=FaultKind.UNPLUG, from_s=30)]
        bench = TransportBench({"gnss": GnssReceiver(LOG, baud_rate=None, faults=faults)})
        bench.attach("gnss", net, "gnss-device", "gnss")
        told = []
        for _ in range(2):
            reader, writer = await net.node("gnss-host").open_serial("gnss")
            while await reader.readline():
                last_s = net.loop.time()
            told += [("last", last_s), ("lost", net.loop.time())]
            writer.write(b"nobody is there")
            with pytest.raises(OSError, match="gnss"):
                await net.node("gnss-host").open_serial("gnss")
            if len(told) == 2:
                await bench.until_plugged("gnss")
                told.append(("back", net.loop.time()))
        bench.close()
        await net.node("gnss-host").open_serial("gnss")  # nothing is kept of a bench that is closed
        return told

    line_s = len(b"$GNRMC,120000.00,A*00\r\n") / 960
    assert net.run(main()) == [
        ("last", pytest.approx(10 + line_s)),
        ("lost", 10.5),
        ("back", 20.25),
        ("last", pytest.approx(29.25 + line_s)),
        ("lost", 30.0),
    ]


def test_a_device_that_is_plugged_in_later_is_heard_from_then_on() -> None:
    net = cables("gnss")

    async def main() -> float:
        faults = [Fault(kind=FaultKind.UNPLUG, until_s=5)]
        bench = TransportBench({"gnss": GnssReceiver(LOG, baud_rate=None, faults=faults)})
        bench.attach("gnss", net, net.node("gnss-device"), "gnss")
        with pytest.raises(OSError, match="gnss"):
            await net.node("gnss-host").open_serial("gnss")
        await bench.until_plugged("gnss")
        reader, writer = await net.node("gnss-host").open_serial("gnss")
        await reader.readline()
        writer.close()
        bench.close()
        return net.loop.time()

    assert 5 < net.run(main()) < 5.1


def test_times_that_are_no_whole_nanoseconds_are_met_all_the_same() -> None:
    """A third of a second is rounded down by the loop: the device is due all the same, and time goes on."""
    net = cables("gnss")

    async def main() -> float:
        await asyncio.sleep(0.1)
        bench = TransportBench({"gnss": GnssReceiver(LOG, rate_hz=3, baud_rate=None)})
        net.node("gnss-device").create_serial(lambda: bench.protocol("gnss"), "gnss")
        reader, writer = await net.node("gnss-host").open_serial("gnss")
        for _ in range(31):
            await reader.readline()
        writer.close()  # held till here: a forgotten writer closes its port
        bench.close()
        return net.loop.time()

    assert net.run(main()) == pytest.approx(10.1 + len(b"$GNRMC,120000.00,A*00\r\n") / 960, abs=1e-6)


def test_no_device_and_no_place_is_guessed() -> None:
    async def main() -> None:
        bench = TransportBench({"gnss": GnssReceiver(LOG)})
        for node, link in (("gnss-device", "cable"), ("elsewhere", "gnss")):
            with pytest.raises(DeviceError, match=f"device gnss: node {node} has no link '{link}'"):
                bench.attach("gnss", net, node, link)
        with pytest.raises(DeviceError, match="device modem: allowed is none, the bench is empty"):
            TransportBench({}).protocol("modem")
        with pytest.raises(DeviceError, match="device modem: allowed is none, the bench is empty"):
            TransportBench({}).attach("modem", Net(1), "device", "cable")

    net = cables("gnss")
    net.run(main())

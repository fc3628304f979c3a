"""Serial links: sizes and rates, noise, a port that is missing, busy, stalled or unplugged."""

import asyncio
import random
import termios
from pathlib import Path

import pytest

from edge_agent.core.limits import LinkShape
from edge_agent.core.stream_framing import StreamFramer
from tests.transports.harness import PtyCable, RecordingPort, loss_of, pty_cable, running, table
from transports.serial_radio import SerialRadioTransport
from transports.serial_radio.transport import BAUD_RATES, FRAME_S, MTU_MIN_BYTES

pytestmark = pytest.mark.device


def transport(port: str, **values: object) -> SerialRadioTransport:
    return SerialRadioTransport(table(SerialRadioTransport, port=port, **values))


async def lose_by_unplugging(cable: PtyCable, tested: SerialRadioTransport) -> str:
    port = RecordingPort()
    task = asyncio.create_task(loss_of(tested, port))
    await port.until(lambda port: port.sender is not None)
    cable.unplug()
    reason = await task
    port.send(b"too late")
    assert port.counts["send_failed"] == 1
    return reason


def test_a_rate_that_the_port_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rate_bps 9600 is more than 9600 baud 8N1 carries \(7680 bit/s\)"):
        transport("/dev/ttyUSB0", rate_bps=9600.0)


@pytest.mark.parametrize("baud_rate", BAUD_RATES)
async def test_the_longest_frame_is_a_quarter_second_of_the_link_and_never_below_the_least(baud_rate: int) -> None:
    async with pty_cable() as cable, running(transport(cable.paths[0], baud_rate=baud_rate)) as port:
        limits = port.limits
        assert limits is not None
        assert (limits.shape, limits.rate_is_ceiling, limits.rate_bps) == (LinkShape.STREAM, True, baud_rate * 0.8)
        wire_bytes = len(StreamFramer(mtu_bytes=limits.mtu_bytes).encode(b"\x07" * limits.mtu_bytes, after_pause=True))
        assert wire_bytes <= limits.mtu_bytes + limits.overhead_bytes
        assert limits.mtu_bytes == MTU_MIN_BYTES or wire_bytes * 8 / limits.rate_bps <= FRAME_S


async def test_the_air_rate_and_the_turn_around_reach_the_node() -> None:
    async with pty_cable() as cable:
        tested = transport(cable.paths[0], rate_bps=2400.0, half_duplex=True, turnaround_s=0.2, mtu_bytes=200)
        async with running(tested) as port:
            assert port.limits is not None
            assert (port.limits.rate_bps, port.limits.mtu_bytes) == (2400.0, 200)
            assert (port.limits.half_duplex, port.limits.turnaround_s) == (True, 0.2)


async def test_the_port_runs_at_the_rate_it_was_given() -> None:
    async with pty_cable() as cable, running(transport(cable.paths[0], baud_rate=4800)):
        input_rate, output_rate = termios.tcgetattr(cable.masters[0])[4:6]
        assert (input_rate, output_rate) == (termios.B4800, termios.B4800)


async def test_a_missing_device_is_a_loss_that_names_it() -> None:
    assert await loss_of(transport("/dev/no-such-radio")) == "serial port /dev/no-such-radio: No such file or directory"


async def test_a_file_that_is_no_device_is_a_loss_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert await loss_of(transport(str(tmp_path / "file"))) == f"serial port {tmp_path}/file: not a serial device"


async def test_a_port_in_use_is_a_loss_that_names_it() -> None:
    async with pty_cable() as cable, running(transport(cable.paths[0])):
        assert await loss_of(transport(cable.paths[0])) == f"serial port {cable.paths[0]}: in use by another program"


@pytest.mark.parametrize("half_duplex", [False, True])
async def test_an_unplugged_device_is_a_loss_that_names_it(half_duplex: bool) -> None:
    async with pty_cable() as cable:
        path = cable.paths[0]
        reason = await lose_by_unplugging(cable, transport(path, half_duplex=half_duplex))
        assert reason.startswith(f"serial port {path}: ")


async def test_noise_is_counted_and_the_frames_around_it_arrive() -> None:
    rng = random.Random(1)
    async with (
        pty_cable() as cable,
        running(transport(cable.paths[0], baud_rate=115_200)) as near,
        running(transport(cable.paths[1], baud_rate=115_200)) as far,
    ):
        near.send(b"before")
        assert await far.next_frame() == (None, b"before")

        cable.damage = lambda passing: bytes((passing[0] ^ 0x55,)) + passing[1:-1] + rng.randbytes(40) + b"\0"
        near.send(b"damaged on its way")
        await far.until(lambda port: port.counts)
        cable.damage = bytes

        near.send(b"after")
        assert await far.next_frame() == (None, b"after")
        assert set(far.counts) <= {"crc_error", "cobs_error", "short_frame"}


async def test_a_stalled_port_holds_one_frame_and_counts_the_rest_and_what_it_took_arrives_whole() -> None:
    async with (
        pty_cable() as cable,
        running(transport(cable.paths[0], baud_rate=115_200)) as near,
        running(transport(cable.paths[1], baud_rate=115_200)) as far,
    ):
        cable.stall()
        frames = [number.to_bytes(2, "big") * 500 for number in range(60)]
        for frame in frames:
            near.send(frame)
        dropped = near.counts["send_buffer_full"]
        assert 20 < dropped < 60
        assert near.is_busy, "a node would have kept its frames"
        cable.resume()
        await near.until(lambda port: not port.is_busy)
        await far.until(lambda port: len(port.frames) == len(frames) - dropped)
        assert [frame for _, frame in far.frames] == frames[: len(frames) - dropped]
        assert not far.counts


async def test_one_side_half_duplex_and_the_other_not_is_said() -> None:
    async with (
        pty_cable() as cable,
        running(transport(cable.paths[0], baud_rate=115_200, half_duplex=True, turnaround_s=0.0)) as near,
        running(transport(cable.paths[1], baud_rate=115_200)) as far,
    ):
        near.send(b"hello")
        await far.until(lambda port: port.counts["peer_is_half_duplex"])
        assert far.frames == [(None, b"hello")]


async def _send_when_free(port: RecordingPort, frames: list[bytes]) -> None:
    for frame in frames:
        await port.until(lambda port: not port.is_busy)
        port.send(frame)


@pytest.mark.slow
async def test_half_duplex_carries_bulk_both_ways_at_once_without_a_drop() -> None:
    """That the two are never on the air together is shown in virtual time, in test_turns."""
    async with (
        pty_cable() as cable,
        running(transport(cable.paths[0], baud_rate=115_200, half_duplex=True, turnaround_s=0.01)) as near,
        running(transport(cable.paths[1], baud_rate=115_200, half_duplex=True, turnaround_s=0.01)) as far,
    ):
        near.send(b"\x01" * 1000)
        await far.next_frame()
        async with asyncio.TaskGroup() as group:
            for port in (near, far):
                group.create_task(_send_when_free(port, [bytes((number,)) * 1000 for number in range(2, 12)]))
        await near.until(lambda port: len(port.frames) == 10)
        await far.until(lambda port: len(port.frames) == 10)
        assert not near.counts
        assert not far.counts

"""MQTT links: strangers' messages, a bounded queue, and brokers that are gone, mute, locked or lost on the way."""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiomqtt
import pytest

from tests.descriptors import open_descriptors
from tests.transports.brokers import BROKERS, broker
from tests.transports.harness import RecordingPort, free_port, loss_of, running, table
from transports.mqtt import MTU_BYTES, QUEUE_MAX_BYTES, MqttTransport

pytestmark = pytest.mark.device


def transport(port: int, **values: object) -> MqttTransport:
    return MqttTransport(table(MqttTransport, broker=f"127.0.0.1:{port}", **values))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"password_file": "secret"}, "password_file needs username"),
        ({"ca_file": "ca.pem"}, "ca_file needs tls = true"),
    ],
)
def test_settings_that_need_another_are_refused(values: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        transport(1883, **values)


@pytest.mark.parametrize("prefix", ["", "/a", "a/", "a/+/b", "a/#", "$SYS", "x" * 129])
def test_prefixes_that_brokers_would_not_take_are_refused(prefix: str) -> None:
    accepts = MqttTransport.SETTINGS["topic_prefix"].accepts
    assert accepts is not None
    assert not accepts(prefix)


async def test_no_broker_is_a_loss_that_names_it() -> None:
    number = free_port(socket.SOCK_STREAM)
    assert await loss_of(transport(number)) == f"mqtt broker 127.0.0.1:{number}: Connection refused"


async def test_a_host_that_does_not_resolve_is_a_loss_that_names_it() -> None:
    tested = MqttTransport(table(MqttTransport, broker="no-such-host.invalid:1883"))
    assert (await loss_of(tested)).startswith("mqtt broker no-such-host.invalid:1883: ")


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_broker_that_dies_is_a_loss_and_its_return_is_used(kind: str, tmp_path: Path) -> None:
    kit, port = None, RecordingPort()
    async with broker(kind, tmp_path) as number:
        kit = transport(number)
        task = asyncio.create_task(loss_of(kit, port))
        await port.until(lambda port: port.sender is not None)
    assert (await task).startswith(f"mqtt broker 127.0.0.1:{number}: ")
    port.send(b"too late")
    async with (
        broker(kind, tmp_path, port=number),
        running(transport(number, listen=True)) as far,
        running(kit) as near,
    ):
        near.send(b"back")
        assert (await far.next_frame())[1] == b"back"


async def test_a_peer_keeps_its_address_over_a_reconnection(tmp_path: Path) -> None:
    async with broker("mosquitto", tmp_path) as number, running(transport(number, listen=True)) as far:
        kit, addresses = transport(number), set()
        for _ in range(2):
            async with running(kit) as near:
                near.send(b"hello")
                addresses.add((await far.next_frame())[0])
        assert len(addresses) == 1


@pytest.mark.parametrize("kind", BROKERS)
async def test_messages_of_strangers_are_counted_by_name(kind: str, tmp_path: Path) -> None:
    async with broker(kind, tmp_path) as number, aiomqtt.Client("127.0.0.1", number) as stranger:
        await stranger.publish("team/up/0123456789abcdef", b"kept by the broker", retain=True)
        async with running(transport(number, topic_prefix="team", listen=True)) as far:
            await far.until(lambda port: port.counts["retained_frame"])
            await stranger.publish("team/up/0123456789abcdef", b"")
            await stranger.publish("team/up/0123456789abcdef", bytes(MTU_BYTES + 1))
            await stranger.publish("team/up/not-a-token", b"frame")
            await stranger.publish("other/up/0123456789abcdef", b"not for us")
            await stranger.publish("team/up/0123456789abcdef", b"fine")
            assert await far.next_frame() == ("0123456789abcdef", b"fine")
            assert far.counts == {"retained_frame": 1, "empty_frame": 1, "oversize_frame": 1, "bad_topic": 1}


async def test_the_queue_is_bounded_and_the_oldest_is_dropped(tmp_path: Path) -> None:
    async with (
        broker("mosquitto", tmp_path) as number,
        running(transport(number, listen=True)) as far,
        running(transport(number)) as near,
    ):
        frames = [number.to_bytes(2, "big") * (MTU_BYTES // 2) for number in range(40)]
        for frame in frames:  # nothing can leave between two sends: this test does not yield
            near.send(frame)
        room = QUEUE_MAX_BYTES // MTU_BYTES
        assert near.counts == {"send_queue_full": len(frames) - room}
        assert [(await far.next_frame())[1] for _ in range(room)] == frames[-room:]


@contextlib.asynccontextmanager
async def stuck_broker(*, answers: bool) -> AsyncIterator[int]:
    """A broker that says nothing at all, or lets us in and then reads no more."""
    accepted: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        if answers:
            await reader.read(1000)
            writer.write(b"\x20\x02\x00\x00")  # CONNACK
            subscribe = await reader.read(1000)
            writer.write(b"\x90\x03" + subscribe[2:4] + b"\x00")  # SUBACK with the number of the SUBSCRIBE
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in accepted:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in accepted), return_exceptions=True)


@pytest.mark.parametrize("answers", [False, True])
async def test_a_stuck_broker_is_left_at_once_and_nothing_stays_behind(answers: bool) -> None:
    await asyncio.to_thread(int)
    before = open_descriptors()
    async with stuck_broker(answers=answers) as number:
        port = RecordingPort()
        task = asyncio.create_task(transport(number).run(port))
        if answers:
            await port.until(lambda port: port.sender is not None)
            for turn in range(3000):  # 12 MB fill every socket buffer on the way
                port.send(bytes(MTU_BYTES))
                if turn % 8 == 0:
                    await asyncio.sleep(0)
            assert port.counts["send_queue_full"]
        else:
            for _ in range(20):
                await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(1.0):
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.get_running_loop().shutdown_default_executor()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert open_descriptors() <= before


async def test_a_broker_that_refuses_us_is_a_loss_until_the_password_is_right(tmp_path: Path) -> None:
    users = 'authorization { users = [ { user = "kit", password = "right" } ] }\n'
    password_file = tmp_path / "password"
    async with broker("nats", tmp_path, extra=users) as number:
        kit = transport(number, username="kit", password_file=str(password_file))
        assert await loss_of(kit) == (
            f"mqtt broker 127.0.0.1:{number}: cannot use {password_file}: No such file or directory"
        )
        password_file.write_text("wrong\n")
        assert "authorized" in (await loss_of(kit)).lower()
        password_file.write_text("right\n")
        async with running(kit):
            pass


async def test_a_topic_that_is_refused_is_a_loss_that_names_it(tmp_path: Path) -> None:
    users = (
        "authorization { users = [ "
        '{ user = "kit", password = "x", permissions = { subscribe = { allow = ["other.>"] } } } ] }\n'
    )
    (tmp_path / "password").write_text("x")
    async with broker("nats", tmp_path, extra=users) as number:
        kit = transport(number, username="kit", password_file=str(tmp_path / "password"), listen=True)
        assert await loss_of(kit) == f"mqtt broker 127.0.0.1:{number}: it refuses us the topic lifeline/up/+"


def make_certificate(openssl: Path, key: Path, certificate: Path) -> None:
    """A certificate of its own authority for 127.0.0.1."""
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=broker"
    subprocess.run(
        [openssl, *words.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )


@pytest.mark.slow
async def test_tls_needs_the_right_authority(tmp_path: Path, require: Callable[[str], Path]) -> None:
    for name in ("right", "wrong"):
        await asyncio.to_thread(
            make_certificate, require("openssl"), tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        )
    extra = f"certfile {tmp_path}/right.pem\nkeyfile {tmp_path}/right.key\n"
    async with broker("mosquitto", tmp_path, extra=extra) as number:
        reason = await loss_of(transport(number, tls=True, ca_file=str(tmp_path / "wrong.pem")))
        assert "certificate verify failed" in reason
        reason = await loss_of(transport(number, tls=True, ca_file=str(tmp_path / "right.key")))
        assert reason.startswith(f"mqtt broker 127.0.0.1:{number}: cannot use {tmp_path}/right.key: ")
        ca_file = str(tmp_path / "right.pem")
        async with (
            running(transport(number, tls=True, ca_file=ca_file, listen=True)) as far,
            running(transport(number, tls=True, ca_file=ca_file)) as near,
        ):
            near.send(b"under TLS" * 100)
            assert (await far.next_frame())[1] == b"under TLS" * 100

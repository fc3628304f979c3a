"""Frames through any MQTT broker, for sites where only a broker is reachable.

A kit publishes to PREFIX/up/TOKEN and hears PREFIX/down/TOKEN; a ``listen`` link hears PREFIX/up/+ and answers each
peer under its token, which is the peer's address. QoS 0 and no retain: the nodes' own acknowledgements run end to end,
and a broker that stored frames for us would deliver them late, out of order and out of reach of precedence.
"""

import asyncio
import re
import secrets
import socket
import ssl
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import ClassVar

import aiomqtt

from edge_agent.addresses import parse_host_port
from edge_agent.core.limits import LinkLimits, LinkShape
from edge_agent.ports import PluginLostError, Setting, Table, TransportPort

MTU_BYTES = 4096
QUEUE_MAX_BYTES = 64 << 10  # a window of the node; what exceeds it is old by the time it could leave
MESSAGES_A_BATCH = 64

_TOKEN = re.compile(r"[0-9a-f]{16}")
_INCOMING_MAX_MESSAGES = 1024
_KEEPALIVE_S = 30
_CALL_TIMEOUT_S = 10.0  # connecting, subscribing, and one frame into the socket
_SOCKET_BUFFER_BYTES = 16 << 10  # the kernel doubles it; more would keep FLASH waiting behind what left already
_USER_TIMEOUT_MS = 20_000  # TCP gives up on unacknowledged bytes, so that a silent path is a lost link
_HEADERS_BYTES = 45  # IP and TCP 40, MQTT fixed header 3, length of the topic 2


def _is_address(text: str) -> bool:
    parse_host_port(text)  # raises ValueError, which refuses
    return True


def _is_prefix(text: str) -> bool:
    has_wildcard = any(character in text for character in "+#\0")
    return 0 < len(text.encode()) <= 128 and not has_wildcard and text[0] not in "/$" and text[-1] != "/"


class MqttTransport:
    """One link through one broker: to one peer, or as listener to any number of them."""

    SETTINGS: ClassVar[Mapping[str, Setting]] = {
        "broker": Setting(kind=str, allowed='"HOST:PORT"', accepts=_is_address),
        "topic_prefix": Setting(
            kind=str,
            allowed="1 to 128 bytes without + and #, not beginning with / or $, not ending with /",
            default="lifeline",
            accepts=_is_prefix,
        ),
        "listen": Setting(kind=bool, allowed="true on the side that serves the others", default=False),
        "username": Setting(kind=str, allowed="the name the broker knows us by", default="", accepts=bool),
        "password_file": Setting(kind=str, allowed="a file with the password", default="", accepts=bool, is_path=True),
        "tls": Setting(kind=bool, allowed="true to speak TLS to the broker", default=False),
        "ca_file": Setting(
            kind=str,
            allowed="a PEM file of authorities; left out: the system's",
            default="",
            accepts=bool,
            is_path=True,
        ),
    }

    def __init__(self, table: Table) -> None:
        if table["password_file"] and not table["username"]:
            raise ValueError("password_file needs username")
        if table["ca_file"] and not table["tls"]:
            raise ValueError("ca_file needs tls = true")
        self._broker = parse_host_port(table["broker"])
        self._prefix: str = table["topic_prefix"]
        self._is_listener: bool = table["listen"]
        self._username: str = table["username"]
        self._password_file: str = table["password_file"]
        self._is_tls: bool = table["tls"]
        self._ca_file: str = table["ca_file"]
        self._token = secrets.token_hex(8)  # kept over reconnects, so that the peer knows us again

    async def run(self, port: TransportPort) -> None:
        """Carry frames until cancelled. Raises PluginLostError when the broker is out of reach or refuses us."""
        client = await self._make_client()
        try:
            await self._carry(client, port)
        except aiomqtt.MqttError as error:
            raise PluginLostError(f"mqtt broker {self._broker}: {_reason(error)}") from error
        finally:
            client.abandon()

    async def _carry(self, client: "_BrokerClient", port: TransportPort) -> None:
        await client.connect()
        heard = f"{self._prefix}/up/+" if self._is_listener else f"{self._prefix}/down/{self._token}"
        granted = await client.subscribe(heard, qos=0)
        if any(
            int(code if isinstance(code, int) else code.value) >= 128 for code in granted
        ):  # MQTT 3.1.1 section 3.9.3
            raise PluginLostError(f"mqtt broker {self._broker}: it refuses us the topic {heard}")
        outbox = _Outbox(port, self._answer_topic if self._is_listener else self._up_topic)
        port.link_up(self._limits(), outbox.send)
        reason = ""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(outbox.drain(client), name=f"{port.link}-mqtt-send")
                group.create_task(self._receive(client, port), name=f"{port.link}-mqtt-receive")
        except* aiomqtt.MqttError as errors:
            reason = _reason(_innermost(errors))
        raise PluginLostError(f"mqtt broker {self._broker}: {reason}")

    def _limits(self) -> LinkLimits:
        topic_bytes = len(f"{self._prefix}/down/{self._token}".encode())
        return LinkLimits(shape=LinkShape.TUNNELLED, mtu_bytes=MTU_BYTES, overhead_bytes=_HEADERS_BYTES + topic_bytes)

    def _up_topic(self, address: Hashable | None) -> str | None:
        return f"{self._prefix}/up/{self._token}"

    def _answer_topic(self, address: Hashable | None) -> str | None:
        return f"{self._prefix}/down/{address}" if isinstance(address, str) else None

    async def _receive(self, client: aiomqtt.Client, port: TransportPort) -> None:
        messages = client.messages
        async for message in messages:
            batch: list[tuple[Hashable | None, bytes]] = []
            self._accept(message, batch, port)
            for _ in range(min(len(messages), MESSAGES_A_BATCH - 1)):
                self._accept(await anext(messages), batch, port)
            if batch:
                port.frames_received(batch)

    def _accept(
        self, message: aiomqtt.Message, batch: list[tuple[Hashable | None, bytes]], port: TransportPort
    ) -> None:
        frame, token = message.payload, message.topic.value.rpartition("/")[2]
        if not isinstance(frame, bytes) or not frame:
            port.count("empty_frame")
        elif len(frame) > MTU_BYTES:
            port.count("oversize_frame")
        elif message.retain:
            port.count("retained_frame")  # a stranger's: ours are never kept by the broker
        elif not _TOKEN.fullmatch(token):
            port.count("bad_topic")
        else:
            batch.append((token if self._is_listener else None, frame))

    async def _make_client(self) -> "_BrokerClient":
        password, context = await asyncio.to_thread(self._load_files)
        return _BrokerClient(
            self._broker.host,
            self._broker.port,
            identifier=f"lifeline-{self._token}",
            username=self._username or None,
            password=password,
            clean_session=True,
            timeout=_CALL_TIMEOUT_S,
            keepalive=_KEEPALIVE_S,
            max_queued_incoming_messages=_INCOMING_MAX_MESSAGES,
            tls_context=context,
            socket_options=_socket_options(),
        )

    def _load_files(self) -> tuple[str | None, ssl.SSLContext | None]:
        """Password and TLS context, read from disk; blocking. Raises PluginLostError naming the file."""
        try:
            path = self._password_file
            password = Path(path).read_text("utf-8").strip() if path else None
            path = self._ca_file
            context = ssl.create_default_context(cafile=path or None) if self._is_tls else None
        except (OSError, UnicodeDecodeError) as error:  # ssl.SSLError, for a file that is no PEM, is an OSError
            reason = getattr(error, "strerror", None) or str(error)
            raise PluginLostError(f"mqtt broker {self._broker}: cannot use {path}: {reason}") from error
        return password, context


class _Outbox:
    """Frames on their way to the broker: at most a window of them, the oldest dropped first."""

    def __init__(self, port: TransportPort, topic_of: "_TopicOf") -> None:
        self._port = port
        self._topic_of = topic_of
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queued_bytes = 0
        self._is_filled = asyncio.Event()

    def send(self, address: Hashable | None, frame: bytes) -> None:
        """Queue one frame."""
        topic = self._topic_of(address)
        if len(frame) > MTU_BYTES:
            self._port.count("oversize_frame")
        elif topic is None:
            self._port.count("no_address")
        else:
            while self._queued_bytes + len(frame) > QUEUE_MAX_BYTES:
                self._pop()
                self._port.count("send_queue_full")
            self._queue.append((topic, frame))
            self._queued_bytes += len(frame)
            self._is_filled.set()

    async def drain(self, client: aiomqtt.Client) -> None:
        """Publish for ever, one frame at a time: the next leaves when the last is in the socket."""
        while True:
            while self._queue:
                topic, frame = self._pop()
                await client.publish(topic, frame, qos=0, retain=False)
            self._is_filled.clear()
            await self._is_filled.wait()

    def _pop(self) -> tuple[str, bytes]:
        topic, frame = self._queue.popleft()
        self._queued_bytes -= len(frame)
        return topic, frame


class _BrokerClient(aiomqtt.Client):
    """aiomqtt's client, which can be left at any moment.

    Its own way out waits for the broker (10 s when that is stuck) and leaves the socket behind when connecting is
    cancelled. It offers no other, so ``abandon`` reaches for what it inherits.
    """

    _is_abandoned = False

    async def connect(self) -> None:
        """Connect and wait for the broker's word. Raises MqttError."""
        await self.__aenter__()

    def abandon(self) -> None:
        """Say goodbye if the socket takes it at once, and close it in any case. Never waits."""
        self._is_abandoned = True
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()  # seen; otherwise asyncio complains about it
        self._client.disconnect()  # paho closes the socket behind the goodbye, unless the goodbye does not fit in
        connection = self._client.socket()
        if isinstance(connection, socket.socket) and connection.fileno() >= 0:
            self._loop.remove_reader(connection.fileno())
            self._loop.remove_writer(connection.fileno())
            self._client.on_socket_unregister_write = None  # paho would call both when it is collected
            self._client.on_socket_close = None
            connection.close()
        if self._misc_task is not None:
            self._misc_task.cancel()

    def _client_connect(self) -> None:
        """Runs in a worker that cannot be cancelled: a connection that comes too late is closed again."""
        super()._client_connect()
        if self._is_abandoned:
            self._loop.call_soon_threadsafe(self.abandon)


_TopicOf = Callable[[Hashable | None], str | None]


def _innermost(group: BaseExceptionGroup[aiomqtt.MqttError]) -> aiomqtt.MqttError:
    first = group.exceptions[0]
    return _innermost(first) if isinstance(first, BaseExceptionGroup) else first


def _reason(error: aiomqtt.MqttError) -> str:
    """What an operator reads: aiomqtt's sentence without Python's number, or the cause it stands for."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    if str(error).startswith("Disconnected"):
        return "connection lost"
    return re.sub(r"^\[(Errno|code:) ?-?\d+\] ", "", str(error))


def _socket_options() -> list[tuple[int, int, int]]:
    options = [
        (socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    ]
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS))
    return options

"""MQTT sensors driver: subscribes to a broker and turns messages into readings by configured rules."""

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import aiomqtt

from drivers.mqtt_sensors.rules import FORMATS, MapRule, PayloadError, read_rules
from edge_agent.ports import DriverPort, PluginLostError, Reading, Setting, Table

_CONNECT_S = 10.0
_KEEPALIVE_S = 20  # a broker that vanished without a word is noticed after 1.5 times this
_QUEUE_MESSAGES = 1000  # about 10 s of a hundred lively sensors; beyond it the oldest go
_SERIES_MAX = 1024  # names from topics: a stranger's publications must not grow the page without bound
_REFUSED = 128  # SUBACK reason codes from here on are failures (MQTT 3.1.1, 3.9.3; MQTT 5, 3.9.3)
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^:\[\]\s/]+):([0-9]{1,5})")


class _NewestQueue(asyncio.Queue[aiomqtt.Message]):
    """Messages that wait for the store; when full the oldest is dropped and counted, so that readings stay fresh."""

    def __init__(self, port: DriverPort, maxsize: int = 0) -> None:
        super().__init__(maxsize=maxsize)
        self._port = port

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if self.full():
            self.get_nowait()
            self._port.count("mqtt_overrun")
        super().put_nowait(item)


def is_address(text: str) -> bool:
    """Whether ``text`` is HOST:PORT, with brackets around an IPv6 address."""
    match = _ADDRESS.fullmatch(text)
    return match is not None and 0 < int(match[2]) < 65_536


class MqttSensorsDriver:
    """Driver ``mqtt_sensors``: any MQTT 3.1.1 broker, any JSON or msgpack payload that rules can describe."""

    SETTINGS: ClassVar[Mapping[str, Setting]] = MappingProxyType(
        {
            "broker": Setting(kind=str, allowed='"HOST:PORT", usually port 1883', accepts=is_address),
            "map": Setting(
                kind=list,
                allowed=f"at least one table of topic, format ({' or '.join(FORMATS)}), device, time, time_format, "
                "fields = [{path, series, unit, scale, offset}]",
                accepts=bool,
            ),
            "username": Setting(kind=str, allowed="the broker's name for this kit", default=""),
            "password_file": Setting(
                kind=str, allowed="a file whose first line is the password", default="", is_path=True
            ),
        }
    )

    def __init__(self, table: Table) -> None:
        self._broker: str = table["broker"]
        self._rules: list[MapRule] = read_rules(table["map"])
        self._username: str = table["username"]
        self._password_file: str = table["password_file"]
        if self._password_file and not self._username:
            raise ValueError("password_file without username")
        self._series: set[str] = set()

    async def run(self, port: DriverPort) -> None:
        """Publish readings until cancelled. Raises PluginLostError when the broker is lost."""
        try:
            async with self._client(port) as client:
                await self._subscribe(client)
                port.available()
                async for message in client.messages:
                    await self._take(message, port)
        except aiomqtt.MqttError as error:
            reason = f"broker {self._broker}: {error}"
            port.unavailable(reason)
            raise PluginLostError(reason) from error
        except (OSError, PluginLostError) as error:
            port.unavailable(str(error))
            raise

    def _client(self, port: DriverPort) -> aiomqtt.Client:
        host, _, number = self._broker.rpartition(":")
        password = None
        if self._password_file:
            password = Path(self._password_file).read_text(encoding="utf-8").partition("\n")[0]
        queue_type: Any = partial(_NewestQueue, port)  # Any: aiomqtt asks for a class and calls it with maxsize only
        return aiomqtt.Client(
            host.strip("[]"),
            int(number),
            username=self._username or None,
            password=password,
            timeout=_CONNECT_S,
            keepalive=_KEEPALIVE_S,
            max_queued_incoming_messages=_QUEUE_MESSAGES,
            queue_type=queue_type,
        )

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        for topic in dict.fromkeys(rule.topic for rule in self._rules):
            granted: Any = await client.subscribe(topic, qos=1)  # Any: integers or ReasonCodes, by protocol version
            if any(getattr(code, "value", code) >= _REFUSED for code in granted):
                raise PluginLostError(f"broker {self._broker} refuses to give topic {topic}")

    async def _take(self, message: aiomqtt.Message, port: DriverPort) -> None:
        payload, topic = message.payload, message.topic.value
        readings: list[Reading] = []
        for rule in self._rules:
            try:
                found = rule.readings(topic, payload, now_ms=port.now_ms(), is_retained=message.retain)
            except PayloadError as error:
                port.count(str(error))
            else:
                readings += found or ()
        known = [reading for reading in readings if self._is_known(reading.series)]
        if len(known) < len(readings):
            port.count("too_many_series", len(readings) - len(known))
        if known:
            await port.publish(known)

    def _is_known(self, series: str) -> bool:
        if series not in self._series and len(self._series) >= _SERIES_MAX:
            return False
        self._series.add(series)
        return True

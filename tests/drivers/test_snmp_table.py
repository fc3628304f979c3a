"""The SNMP driver: against a real snmpd, against a socket that answers nonsense, and its table against everything."""

import asyncio
import os
import random
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.snmp_table import SnmpTableDriver, driver
from drivers.snmp_table.values import VALUES_MAX, ValueRule, hint_of, read_rules
from edge_agent.core.link_hint import LinkHint
from edge_agent.ports import PluginLostError
from tests.components import require
from tests.drivers.recording_port import RecordingPort, full_table, stopped

BASE = "1.3.6.1.4.1.18723.5975.1"
ES_N0 = {
    "oid": f"{BASE}.3.0",
    "series": "es_n0",
    "unit": "dB",
    "scale": 0.1,
    "means": "snr_db",
    "poor": 4.0,
    "good": 10.0,
}
STATUS = {"oid": f"{BASE}.2.0", "means": "up", "up": [1]}
POWER = {"oid": f"{BASE}.5.0", "series": "level", "unit": "dBm", "means": "signal_dbm"}
ABSENT = {"oid": f"{BASE}.77.0", "series": "absent"}
SNMPD = f"""
rocommunity public 127.0.0.1
createUser kit SHA "authpass12" AES "privpass12"
rouser kit authpriv
override {BASE}.2.0 integer %(status)d
override {BASE}.3.0 integer %(es_n0)d
override {BASE}.5.0 octet_str "-48.5 dBm"
"""


@asynccontextmanager
async def running(port: RecordingPort, agent: str, **settings: object) -> AsyncIterator["asyncio.Task[None]"]:
    given_ = {"value": [ES_N0, STATUS, POWER, ABSENT], "link": "vsat", "interval_s": 1.0, **settings}
    run = asyncio.create_task(SnmpTableDriver(full_table(SnmpTableDriver.SETTINGS, agent=agent, **given_)).run(port))
    try:
        yield run
    finally:
        if not run.done():
            await stopped(run)


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def snmpd(folder: Path, port: int, *, es_n0: int = 74, status: int = 1) -> Iterator[None]:
    """A real agent on loopback that says these values."""
    program = str(require("snmpd"))
    conf = folder / "snmpd.conf"
    conf.write_text(SNMPD % {"status": status, "es_n0": es_n0})
    command = [program, "-f", "-Lf", str(folder / "snmpd.log"), "-C", "-c", str(conf), "-p", str(folder / "pid")]
    daemon = subprocess.Popen(
        [*command, f"udp:127.0.0.1:{port}"], env={**os.environ, "SNMP_PERSISTENT_DIR": str(folder / "kept")}
    )
    try:
        give_up_s = time.monotonic() + 10
        while not (folder / "pid").exists() and time.monotonic() < give_up_s:
            time.sleep(0.05)
        yield
    finally:
        daemon.terminate()
        daemon.wait(10)


@pytest.mark.device
@pytest.mark.slow
@pytest.mark.parametrize("version", ["1", "2c", "3"])
async def test_values_of_a_real_agent_become_readings_and_a_hint(tmp_path: Path, version: str) -> None:
    require("module:pysnmp")
    more: dict[str, Any] = {"version": version}  # Any: a driver's settings
    if version == "3":
        for name, password in (("auth", "authpass12"), ("privacy", "privpass12")):
            (tmp_path / name).write_text(password + "\n")
            more[f"{name}_password_file"] = str(tmp_path / name)
        more["user"] = "kit"
    if version == "1":
        more["value"] = [ES_N0, STATUS, POWER]  # a version 1 agent answers nothing where one value is absent
    recorded, port = RecordingPort(), free_udp_port()
    with snmpd(tmp_path, port):
        async with running(recorded, f"127.0.0.1:{port}", **more):
            await recorded.until(lambda: bool(recorded.hints))
    link, hint = recorded.hints[0]
    assert link == "vsat"
    assert hint == LinkHint(
        quality=pytest.approx(0.25 + 0.75 * 3.4 / 6),
        is_up=True,
        snr_db=pytest.approx(7.4),
        signal_dbm=-48.5,
        good_for_s=hint.good_for_s,
    )
    told = {reading.series: (reading.value, reading.quality) for reading in recorded.readings[:3]}
    assert told["es_n0"] == (pytest.approx(7.4), "good")
    assert told["level"] == (-48.5, "good")
    assert version == "1" or told["absent"] == (None, "missing")
    assert recorded.states == ["available"]


@pytest.mark.device
@pytest.mark.slow
async def test_an_agent_that_goes_and_comes_back_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("module:pysnmp")
    monkeypatch.setattr(driver, "ANSWER_S", 0.3)
    recorded, port = RecordingPort(), free_udp_port()
    async with running(recorded, f"127.0.0.1:{port}"):
        await recorded.until(lambda: bool(recorded.states))
        assert f"127.0.0.1:{port}" in recorded.states[0]
        assert not recorded.hints
        with snmpd(tmp_path, port, es_n0=38, status=2):
            await recorded.until(lambda: bool(recorded.hints))
    (_, hint) = recorded.hints[0]
    assert hint.is_up is False
    assert hint.quality is not None
    assert hint.quality < 0.25
    assert recorded.states[-1] == "available"
    assert recorded.counts["snmp_timeout"] >= 1


WRONG_TYPE = b"}D\x0c:\x0e\x81L." + bytes(300)
"""The parser of pyasn1 fails at it by a TypeError of its own."""


def worn(data: bytes, rng: random.Random) -> bytes:
    """``data`` with up to five bytes changed, a third of the time cut; never an answer, whose tag is 0xA2."""
    bytes_ = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        bytes_[rng.randrange(len(bytes_))] = rng.randrange(0xA2)
    return bytes(bytes_[: rng.choice((len(data), len(data), rng.randrange(len(data))))])


@pytest.mark.slow
@pytest.mark.parametrize("nonsense", [b"", b"\x30\x82\xff\xff", b"\x00" * 1400])
async def test_an_agent_that_answers_nonsense_is_no_agent(monkeypatch: pytest.MonkeyPatch, nonsense: bytes) -> None:
    require("module:pysnmp")
    monkeypatch.setattr(driver, "ANSWER_S", 0.2)

    answered, rng = 0, random.Random(0)

    class Babbler(asyncio.DatagramProtocol):
        transport: Any  # Any: asyncio's own class is not the one of its types

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:  # Any: as asyncio has it
            nonlocal answered
            answered += 1
            for each in (nonsense, WRONG_TYPE, data[: len(data) // 2], data, *(worn(data, rng) for _ in range(100))):
                self.transport.sendto(each, addr)

    loop, failures = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    transport, _ = await loop.create_datagram_endpoint(Babbler, local_addr=("127.0.0.1", 0))
    recorded = RecordingPort()
    try:
        async with running(recorded, f"127.0.0.1:{transport.get_extra_info('sockname')[1]}") as run:
            await recorded.until(lambda: recorded.counts["snmp_timeout"] >= 2)
            assert not run.done()
    finally:
        transport.close()
    assert not recorded.hints
    assert not recorded.readings
    assert "available" not in recorded.states
    assert answered >= 2
    assert recorded.counts["snmp_unreadable"] >= 2
    assert failures == []


async def test_a_short_password_is_named(tmp_path: Path) -> None:
    require("module:pysnmp")
    (tmp_path / "auth").write_text("short\n")
    settings = {"version": "3", "user": "kit", "auth_password_file": str(tmp_path / "auth")}
    recorded = RecordingPort()
    async with running(recorded, "127.0.0.1:161", **settings) as run:
        with pytest.raises(PluginLostError, match=r"auth: 5 characters; allowed: 8 and more"):
            await run
    assert "5 characters" in recorded.states[0]


def told_hint(rules: list[dict[str, object]], *told: object) -> LinkHint | None:
    read = read_rules(rules)
    return hint_of(read, {rule.oid: value for rule, value in zip(read, told, strict=True)}, 20.0)  # type: ignore[misc]


def test_the_worst_signal_counts_and_what_is_absent_says_nothing() -> None:
    level = {**POWER, "poor": -60.0, "good": -40.0}
    both = told_hint([ES_N0, level], 100, "-60 dBm")
    assert both is not None
    assert (both.snr_db, both.signal_dbm, both.quality, both.is_up) == (10.0, -60.0, 0.25, None)
    assert told_hint([ES_N0, STATUS], None, None) is None
    alone = told_hint([STATUS], 3)
    assert alone is not None
    assert alone.is_up is False
    assert told_hint([{"oid": "1.3.6.1", "means": "rate_bps", "scale": 1000.0}], 512) == LinkHint(
        rate_bps=512_000.0, good_for_s=20.0
    )


@given(told=st.one_of(st.none(), st.integers(), st.text(max_size=40)))
def test_a_value_is_a_finite_number_or_none(told: str | int | None) -> None:
    rule = ValueRule(oid="1.3", series="x", scale=0.1)
    value = rule.value(told)
    assert value is None or abs(value) != float("inf")
    assert rule.reading(told, 5).quality == (
        "good" if value is not None else "missing" if told is None else "not_a_number"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7.4 dB", 7.4),
        (" -48.5dBm", -48.5),
        ("+3", 3.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("dB 7", None),
        ("1.2.3", None),
        ("", None),
    ],
)
def test_a_figure_at_the_front_of_a_text_is_read(text: str, value: float | None) -> None:
    assert ValueRule(oid="1.3", series="x").value(text) == value


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"series": "x"}, r"oid '': allowed: numbers"),
        ({"oid": "1.3.x", "series": "x"}, r"oid '1\.3\.x': allowed: numbers"),
        ({"oid": "1.3"}, "series or means is missing"),
        ({"oid": "1.3", "series": "x", "scale": "0.1"}, "scale '0.1': allowed: a number"),
        ({"oid": "1.3", "series": "x", "scala": 1}, "scala: no such key; allowed: oid, series"),
        ({"oid": "1.3", "means": "snr"}, "means 'snr': allowed: snr_db, signal_dbm, rate_bps, up"),
        ({"oid": "1.3", "means": "snr_db", "poor": 4}, "both or neither"),
        ({"oid": "1.3", "means": "snr_db", "poor": 9, "good": 4}, "poor 9 is not below good 4"),
        ({"oid": "1.3", "means": "rate_bps", "poor": 1, "good": 4}, "allowed with means = snr_db or signal_dbm"),
        ({"oid": "1.3", "means": "up"}, "up: allowed: whole numbers"),
        ({"oid": "1.3", "means": "up", "up": ["yes"]}, r"up \['yes'\]: allowed: a list of whole numbers"),
        ({"oid": "1.3", "series": "x" * 65}, "64 characters"),
        ("1.3", "allowed: a table with oid"),
    ],
)
def test_a_faulty_table_is_named_with_what_is_allowed(table: object, fault: str) -> None:
    with pytest.raises(ValueError, match=rf"value 1: .*{fault}"):
        read_rules([table])


def test_faults_between_tables_and_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"oid '1\.3' is given twice"):
        read_rules([{"oid": "1.3", "series": "a"}, {"oid": ".1.3", "series": "b"}])
    with pytest.raises(ValueError, match="series 'a' is given twice"):
        read_rules([{"oid": "1.3", "series": "a"}, {"oid": "1.4", "series": "a"}])
    with pytest.raises(ValueError, match=f"at most {VALUES_MAX}"):
        read_rules([{"oid": f"1.3.{number}", "series": str(number)} for number in range(VALUES_MAX + 1)])
    for wrong, fault in (
        ({"value": [STATUS]}, "link is missing"),
        ({"value": [ABSENT], "user": "kit"}, "user: allowed and needed"),
        ({"value": [ABSENT], "version": "3"}, "user: allowed and needed"),
        ({"value": [ABSENT], "version": "3", "user": "a", "privacy_password_file": "x"}, "without auth_password_file"),
    ):
        with pytest.raises(ValueError, match=fault):
            SnmpTableDriver(full_table(SnmpTableDriver.SETTINGS, agent="127.0.0.1:161", **wrong))
    for place in ("modem.example:161", "127.0.0.1", "127.0.0.1:99999"):
        assert not driver.is_place(place)

"""Bench files: what they make, what they refuse and how, and the command that serves them."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from edge_agent.config_tables import ConfigError
from link_sim.devices.bench_file import load_bench, read_bench
from link_sim.devices.kinds import KINDS
from link_sim.devices.modbus import crc16
from tests.link_sim.devices.serial_port import SerialPort

COMMAND_LINE = (
    "import argparse; from link_sim.devices.command import add_device_arguments, device_command; "
    "parser = argparse.ArgumentParser(); add_device_arguments(parser); "
    "raise SystemExit(device_command(parser.parse_args()))"
)
WHOLE = """
seed = 5
[network]
delay_s = 2.0
[[device]]
name = "gnss"
kind = "gnss"
log = "log.nmea"
rate_hz = 10
baud_rate = 0
[[device]]
name = "tank"
kind = "modbus"
[device.units.7]
holding = { 0 = 100, 1 = 101 }
coils = { 0 = true }
[[device]]
name = "phone"
kind = "modem"
number = "8613900000001"
radio = [{ registration = "searching", rssi = 99 }, { at = "5s" }]
[[device]]
name = "kit"
kind = "beidou"
card = "0200001"
interval = "90s"
baud_rate = 0
[[device.fault]]
kind = "refuse"
from = "10s"
for = "5s"
value = 3
[[device]]
name = "sbd"
kind = "sbd"
imei = "300000000000001"
destination = "300000000000002"
"""
KIT = '[[device]]\nname = "kit"\nkind = "beidou"\ncard = "0200001"\n'


def framed(frame: bytes) -> bytes:
    return frame + crc16(frame).to_bytes(2, "little")


def test_a_whole_bench_is_made_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "log.nmea").write_bytes(b"$GNRMC,1*00\r\n$GNRMC,2*00\r\n")
    (tmp_path / "bench.toml").write_text(WHOLE)
    bench = load_bench(tmp_path / "bench.toml")
    assert list(bench.devices) == ["gnss", "tank", "phone", "kit", "sbd"]
    gnss, kit = bench.devices["gnss"], bench.devices["kit"]
    asked, answered = bytes.fromhex("070300010001"), bytes.fromhex("0703020065")
    assert bench.devices["tank"].feed(framed(asked), 0.0) == b""
    assert bench.devices["tank"].feed(b"", 0.5) == framed(answered)
    assert gnss.feed(b"", 0.0) + gnss.feed(b"", 0.1) == b"$GNRMC,1*00\r\n$GNRMC,2*00\r\n"
    assert b"6,90,3" in kit.feed(b"$CCICA,0,00*7B\r\n", 1.0)
    kit.feed(b"$CCTXA,0200002,1,2,A468656C6C6F*76\r\n", 12.0)
    assert b"BDFKI,TXA,N,Y,3,0000" in kit.feed(b"", 13.0)
    assert bench.devices["phone"].next_wakeup() == 5.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (KIT + 'intervall = "60s"\n', r'bench.toml:5: .*intervall = "60s": unknown key; did you mean interval'),
        (KIT + "interval = 60\n", r"bench.toml:5: .*interval = 60: allowed: text: a duration"),
        (KIT + "level = 9\n", r"bench.toml:5: .*level = 9: allowed: 1 to 5"),
        (KIT.replace("0200001", "12"), r"bench.toml:1: .*card 12: allowed are 6 to 8 digits"),
        (KIT.replace("beidou", "radar"), r'bench.toml:3: .*kind = "radar": allowed: gnss, modbus, modem, beidou, sbd'),
        (KIT + KIT, r'bench.toml:6: .*name = "kit": allowed: a name that no other device has'),
        (KIT + '[[device.fault]]\nkind = "lost"\n', r'bench.toml:6: .*kind = "lost": allowed: unplug, silent'),
        (KIT + '[[device.fault]]\nkind = "lost_answer"\n', r"bench.toml:1: .*fault kind lost_answer: allowed here is"),
        (KIT + '[[device.fault]]\nkind = "slow"\nfor = "-1s"\n', r"bench.toml:7: .*for = "),
        ("[network]\nloss_ratio = 2\n" + KIT, r"bench.toml:1: network : network: loss_ratio 2: allowed is 0 to 1"),
        ('[network]\nprofile = "moon"\n' + KIT, r"bench.toml:1: network : .*moon"),
        ("", r"bench.toml: device is missing"),
        ('[[device]]\nname = "gnss"\nkind = "gnss"\nlog = "no.nmea"\n', r"bench.toml:1: .*no.nmea"),
        (
            '[[device]]\nname = "m"\nkind = "modbus"\nunits = { 1 = { holding = { 0 = "x" } } }\n',
            r":1: .*whole numbers",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_line_key_value_and_what_is_allowed(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_bench(text, Path("bench.toml"))


def test_the_kinds_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs/link_sim.md").read_text()
    assert all(f"`{kind}`" in page for kind in KINDS)


@pytest.mark.device
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
async def test_the_command_serves_one_device_until_it_is_ended(tmp_path: Path) -> None:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND_LINE, "beidou", "card=0200001", "interval=30s"),
        *("--folder", str(tmp_path), "--log", str(tmp_path / "log.jsonl")),
        stdout=asyncio.subprocess.PIPE,
    )
    assert running.stdout is not None
    ready = json.loads(await asyncio.wait_for(running.stdout.readline(), 20))
    assert ready == {"ready": True, "ports": {"beidou": str(tmp_path / "beidou")}}
    port = SerialPort(Path(ready["ports"]["beidou"]))
    port.write(b"$CCICA,0,00*7B\r\n")
    assert b"6,30,3" in await port.until(b"\r\n")
    port.close()
    running.send_signal(signal.SIGTERM)
    report, _ = await asyncio.wait_for(running.communicate(), 20)
    assert json.loads(report)["devices"]["beidou"]["heard"] == 1
    assert "CCICA,0,00" in (tmp_path / "log.jsonl").read_text()
    assert os.listdir(tmp_path) == ["log.jsonl"]


@pytest.mark.device
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
async def test_the_command_says_what_is_wrong_and_starts_nothing() -> None:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND_LINE, "beidou", "card=12"), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(running.communicate(), 20)
    assert running.returncode == 2
    assert b"card 12: allowed are 6 to 8 digits" in said

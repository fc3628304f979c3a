"""``link-sim device``: stand-ins on pseudo-terminals for programs to open. POSIX only, but for its arguments.

``link-sim device BENCH.toml`` puts up the devices of a file, ``link-sim device modem number=8613900000001`` one. It
prints one JSON line with the ports when it is ready and, when it is ended by Ctrl-C or SIGTERM, one with the counts.
"""

import argparse
import asyncio
import json
import signal
import sys
import tomllib
from pathlib import Path

from edge_agent.config_tables import ConfigError
from link_sim.devices.bench_file import LoadedBench, load_bench, read_bench
from link_sim.devices.kinds import KINDS

EXIT_USAGE = 2


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``link-sim device``."""
    parser.add_argument("what", metavar="KIND|FILE", help=f"{', '.join(KINDS)}, or a bench file *.toml")
    parser.add_argument("keys", nargs="*", metavar="KEY=VALUE", help="keys of that kind, as in a bench file")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="make symbolic links to the ports there, by name")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write what happened as JSON lines at the end")


def device_command(arguments: argparse.Namespace) -> int:
    """Run it until a signal; 0, or 2 for a wrong file, key or folder."""
    try:
        return asyncio.run(_serve(_loaded(arguments.what, arguments.keys), arguments.folder, arguments.log))
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"link-sim: {error}\n")
        return EXIT_USAGE


def _loaded(what: str, keys: list[str]) -> LoadedBench:
    if what not in KINDS:
        return load_bench(Path(what))
    lines = ["[[device]]", f'name = "{what}"', f'kind = "{what}"', *(_as_toml(key) for key in keys)]
    return read_bench("\n".join(lines), Path("command line"))


def _as_toml(pair: str) -> str:
    """``KEY = VALUE`` in TOML; a value that is none, or digits of a key that wants text, goes in quotes."""
    key, _, value = pair.partition("=")
    is_name = key in ("number", "card", "imei", "destination", "pin")
    if not is_name:
        try:
            tomllib.loads(f"value = {value}")
            return f"{key} = {value}"
        except tomllib.TOMLDecodeError:
            pass  # a bare word: the name of a file, a duration
    return f"{key} = {json.dumps(value)}"


async def _serve(loaded: LoadedBench, folder: Path | None, log: Path | None) -> int:
    from link_sim.devices.pty_bench import PtyBench  # POSIX only, and the arguments are read elsewhere too

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with PtyBench(loaded.devices, folder=folder) as bench:
        ports = {name: str(bench.path(name)) for name, device in loaded.devices.items() if device.is_plugged}
        sys.stdout.write(json.dumps({"ready": True, "ports": ports}) + "\n")
        sys.stdout.flush()
        await ended.wait()
    if log is not None:
        _write_log(loaded, log)
    counts = {name: dict(device.counts) for name, device in loaded.devices.items()}
    sys.stdout.write(json.dumps({"devices": counts, "network": dict(loaded.network.counts)}) + "\n")
    return 0


def _write_log(loaded: LoadedBench, log: Path) -> None:
    """One line a happening, those of all devices in the order of time."""
    happenings = sorted(
        (each.at_s, name, each.event, each.detail) for name, device in loaded.devices.items() for each in device.log
    )
    with log.open("w", encoding="utf-8") as lines:
        for at_s, name, event, detail in happenings:
            entry = {"at_s": round(at_s, 6), "device": name, "event": event, "detail": detail}
            lines.write(json.dumps(entry, ensure_ascii=False) + "\n")

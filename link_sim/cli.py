"""The command ``link-sim``: scenarios to run, and links to put between programs.

``proxy`` prints one JSON line when it is ready and, when it is ended by Ctrl-C or SIGTERM, one with its report.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from edge_agent.addresses import HostPort, parse_host_port
from link_sim.cli_run import add_run_arguments, run_command
from link_sim.control import ControlError, ControlServer
from link_sim.errors import ProfileError
from link_sim.profiles import NAMED, PathProfile, profile, serial_rate_bps
from link_sim.udp_proxy import UdpProxy

EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "run":
        return run_command(arguments)
    try:
        return asyncio.run(_proxy(arguments))
    except (ProfileError, ControlError, ValueError, OSError) as error:
        print(f"link-sim: {error}", file=sys.stderr)
        return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="link-sim", description="Links for tests: rate, delay, loss, outages.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_run_arguments(commands.add_parser("run", help="a scenario: nodes, links, faults, and what must hold"))
    kinds = commands.add_parser("proxy", help="a link in real time")
    proxy = kinds.add_subparsers(dest="kind", required=True, metavar="udp|pty")
    udp = proxy.add_parser("udp", help="a UDP link: programs send to --listen instead of --to")
    udp.add_argument("--listen", required=True, metavar="HOST:PORT", help="port 0 takes any free port")
    udp.add_argument("--to", required=True, metavar="HOST:PORT")
    serial = proxy.add_parser("pty", help="a serial line: two ports that programs open")
    serial.add_argument("--baud-rate", type=int, metavar="BAUD", help="8N1; instead of the profile's rate")
    serial.add_argument("--a", type=Path, metavar="PATH", help="symbolic link to make to the first port")
    serial.add_argument("--b", type=Path, metavar="PATH", help="symbolic link to make to the second port")
    for each, default in ((udp, "clean"), (serial, "radio9600")):
        each.add_argument(
            "--profile", default=default, metavar="NAME|FILE", help=f"{', '.join(NAMED)} or a file *.toml"
        )
        each.add_argument("--up-profile", metavar="NAME|FILE", help="its up direction replaces that of --profile")
        each.add_argument("--name", default=each.prog.split()[-1], help="name for control and reports")
        each.add_argument("--seed", type=int, default=1, help="for loss, jitter and noise")
        each.add_argument("--control", metavar="127.0.0.1:PORT", help="HTTP control: GET /links, POST /links/NAME")
    return parser


def _chosen_profile(arguments: argparse.Namespace) -> PathProfile:
    chosen = profile(arguments.profile)
    if arguments.up_profile:
        chosen = replace(chosen, up=profile(arguments.up_profile).up)
    if arguments.kind == "pty" and arguments.baud_rate is not None:
        rate_bps = serial_rate_bps(arguments.baud_rate)
        chosen = replace(chosen, up=replace(chosen.up, rate_bps=rate_bps), down=replace(chosen.down, rate_bps=rate_bps))
    return chosen


def _any_port(text: str) -> HostPort:
    """HOST:PORT, where port 0 stands for any. Raises ValueError."""
    if text.endswith(":0"):
        return replace(parse_host_port(text.removesuffix("0") + "1"), port=0)
    return parse_host_port(text)


async def _proxy(arguments: argparse.Namespace) -> int:
    """Run one proxy until a signal. Raises what ``main`` turns into a message."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    chosen, name, seed = _chosen_profile(arguments), arguments.name, arguments.seed
    async with AsyncExitStack() as stack:
        ready: dict[str, object] = {"ready": True, "name": name, "profile": chosen.name}
        if arguments.kind == "udp":
            listen, upstream = _any_port(arguments.listen), parse_host_port(arguments.to)
            udp = await stack.enter_async_context(UdpProxy(name, chosen, listen=listen, upstream=upstream, seed=seed))
            ready |= {"listen": str(udp.address), "to": str(upstream)}
            link, describe = udp.link, udp.describe
        else:
            from link_sim.pty_proxy import PtyProxy  # POSIX only, and UDP works elsewhere too

            line = await stack.enter_async_context(
                PtyProxy(name, chosen, seed=seed, a_link=arguments.a, b_link=arguments.b)
            )
            ready |= {"a": str(arguments.a or line.a_path), "b": str(arguments.b or line.b_path)}
            link, describe = line.link, line.describe
        if arguments.control:
            control = await stack.enter_async_context(ControlServer([link], listen=_any_port(arguments.control)))
            ready["control"] = f"http://{control.address}/links"
        print(json.dumps(ready), flush=True)
        await ended.wait()
        print(json.dumps(describe()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``link-sim proxy udp|tcp|pty``: one link in real time until Ctrl-C or SIGTERM.

It prints one JSON line when it is ready, with the ``doubts`` that this machine can honour the profile, and one with its
report when it is ended.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from edge_agent.addresses import HostPort, parse_host_port
from link_sim.errors import ProfileError
from link_sim.profiles import NAMED, PathProfile, profile, serial_rate_bps
from link_sim.real_time.control import ControlError, ControlServer
from link_sim.real_time.live import LiveLink
from link_sim.real_time.machine import doubts_about

EXIT_USAGE = 2
Described = Callable[[], dict[str, object]]


def add_proxy_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``link-sim proxy``."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="udp|tcp|pty")
    udp = kinds.add_parser("udp", help="a UDP link: programs send to --listen instead of --to")
    tcp = kinds.add_parser("tcp", help="a TCP link: programs connect to --listen instead of --to; a loss is a stall")
    for each in (udp, tcp):
        each.add_argument("--listen", required=True, metavar="HOST:PORT", help="port 0 takes any free port")
        each.add_argument("--to", required=True, metavar="HOST:PORT")
    serial = kinds.add_parser("pty", help="a serial line: two ports that programs open")
    serial.add_argument("--baud-rate", type=int, metavar="BAUD", help="8N1; instead of the profile's rate")
    serial.add_argument("--a", type=Path, metavar="PATH", help="symbolic link to make to the first port")
    serial.add_argument("--b", type=Path, metavar="PATH", help="symbolic link to make to the second port")
    for each, default in ((udp, "clean"), (tcp, "clean"), (serial, "radio9600")):
        each.add_argument(
            "--profile", default=default, metavar="NAME|FILE", help=f"{', '.join(NAMED)} or a file *.toml"
        )
        each.add_argument("--up-profile", metavar="NAME|FILE", help="its up direction replaces that of --profile")
        each.add_argument("--name", default=each.prog.split()[-1], help="name for control and reports")
        each.add_argument("--seed", type=int, default=1, help="for loss, jitter and noise")
        each.add_argument("--control", metavar="127.0.0.1:PORT", help="HTTP control: GET /links, POST /links/NAME")


def proxy_command(arguments: argparse.Namespace) -> int:
    """Run it until a signal; the exit status."""
    try:
        return asyncio.run(_proxy(arguments))
    except (ProfileError, ControlError, ValueError, OSError) as error:
        sys.stderr.write(f"link-sim: {error}\n")
        return EXIT_USAGE


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
    """Run one proxy. Raises what ``proxy_command`` turns into a message."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    chosen = _chosen_profile(arguments)
    async with AsyncExitStack() as stack:
        ready: dict[str, object] = {"ready": True, "name": arguments.name, "profile": chosen.name}
        ready["doubts"] = doubts = await doubts_about(chosen)
        for doubt in doubts:
            sys.stderr.write(f"link-sim: {doubt}\n")
        link, describe = await _open(arguments, chosen, stack, ready)
        if arguments.control:
            control = await stack.enter_async_context(ControlServer([link], listen=_any_port(arguments.control)))
            ready["control"] = f"http://{control.address}/links"
        _say(ready)
        await ended.wait()
        _say({**describe(), "doubts": doubts})
    return 0


async def _open(
    arguments: argparse.Namespace, chosen: PathProfile, stack: AsyncExitStack, ready: dict[str, object]
) -> tuple[LiveLink, Described]:
    """Start the proxy asked for, add to ``ready`` where it is; its link, and what reports on it."""
    name, seed = arguments.name, arguments.seed
    if arguments.kind == "pty":
        from link_sim.real_time.pty_proxy import PtyProxy  # POSIX only, and the others work elsewhere too

        line = await stack.enter_async_context(
            PtyProxy(name, chosen, seed=seed, a_link=arguments.a, b_link=arguments.b)
        )
        ready |= {"a": str(arguments.a or line.a_path), "b": str(arguments.b or line.b_path)}
        return line.link, line.describe
    listen, upstream = _any_port(arguments.listen), parse_host_port(arguments.to)
    if arguments.kind == "tcp":
        from link_sim.real_time.tcp_proxy import TcpProxy  # each kind is ready sooner without the others

        tcp = await stack.enter_async_context(TcpProxy(name, chosen, listen=listen, upstream=upstream, seed=seed))
        ready |= {"listen": str(tcp.address), "to": str(upstream)}
        return tcp.link, tcp.describe
    from link_sim.real_time.udp_proxy import UdpProxy  # as above

    udp = await stack.enter_async_context(UdpProxy(name, chosen, listen=listen, upstream=upstream, seed=seed))
    ready |= {"listen": str(udp.address), "to": str(upstream)}
    return udp.link, udp.describe


def _say(table: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(table) + "\n")
    sys.stdout.flush()

"""The command ``link-sim``: scenarios to run, links to put between programs, stand-ins for devices."""

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="link-sim", description="Links for tests: rate, delay, loss, outages.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="a scenario: nodes, links, faults, and what must hold")
    proxy = commands.add_parser("proxy", help="a link in real time")
    device = commands.add_parser("device", help="stand-ins for devices on pseudo-terminals")
    explore = commands.add_parser("explore", help="random worlds with faults and restarts, judged at every step")
    if words[:1] == ["run"]:
        from link_sim.cli_run import add_run_arguments, run_command  # a proxy is ready sooner without scenarios

        add_run_arguments(run)
        return run_command(parser.parse_args(words))
    if words[:1] == ["proxy"]:
        from link_sim.cli_proxy import add_proxy_arguments, proxy_command  # and a scenario runs without proxies

        add_proxy_arguments(proxy)
        return proxy_command(parser.parse_args(words))
    if words[:1] == ["device"]:
        from link_sim.devices.command import add_device_arguments, device_command

        add_device_arguments(device)
        return device_command(parser.parse_args(words))
    if words[:1] == ["explore"]:
        from link_sim.judge import explorer

        explorer.add_arguments(explore)
        return explorer.run(parser.parse_args(words))
    parser.parse_args(words)  # tells what is allowed, and ends the program
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""``link-sim run SCENARIO``: run a scenario, say what held, leave evidence."""

import argparse
import json
import sys
from pathlib import Path

from edge_agent.config_tables import ConfigError
from link_sim.scenarios.file import load_scenario
from link_sim.scenarios.run import Evidence, RunReport, run_scenario

EXIT_OF = {"pass": 0, "fail": 1, "inconclusive": 3}


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``link-sim run``."""
    parser.add_argument("scenario", type=Path, metavar="SCENARIO", help="a scenario file *.toml")
    parser.add_argument("--seed", type=int, help="instead of the scenario's own")
    parser.add_argument("--real-time", action="store_true", help="by the wall clock instead of as fast as possible")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, - for standard output")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the run as SVG")
    parser.add_argument("--events", type=Path, metavar="FILE", help="log every frame and event as JSON lines")
    parser.add_argument("--capture", type=Path, metavar="FILE", help="write every frame as pcapng")


def run_command(arguments: argparse.Namespace) -> int:
    """Run it; 0 all checks hold, 1 one fails, 2 wrong scenario or file, 3 inconclusive."""
    try:
        scenario = load_scenario(arguments.scenario)
        evidence = Evidence(events=arguments.events, capture=arguments.capture, plot=arguments.plot)
        report = run_scenario(scenario, seed=arguments.seed, evidence=evidence, in_real_time=arguments.real_time)
        text = json.dumps(report.table(), indent=2)
        if arguments.json is not None and str(arguments.json) != "-":
            arguments.json.write_text(text + "\n")
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{text if str(arguments.json) == '-' else _for_people(report)}\n")
    return EXIT_OF[report.verdict]


def _for_people(report: RunReport) -> str:
    lines = [
        f"{'holds' if check.holds else 'FAILS'}  {check.name:30} {check.value:10.4g}  limit {check.limit:g}"
        for check in report.checks
    ]
    return "\n".join([*lines, f"{report.verdict}: seed {report.seed}, {report.deliveries} deliveries, {report.digest}"])

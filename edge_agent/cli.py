"""The command ``edge-agent``. Heavy parts are imported by the subcommand that needs them: help and errors are instant.

Exit status: 0 done; 1 refused or no agent; 2 usage or configuration; 3 the state asked for was not reached in time.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

EXIT_DONE = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_LATE = 3

PRECEDENCE_WORDS = ("flash", "immediate", "priority", "routine", "deferred")
PROFILE_WORDS = ("normal", "quiet", "emergency", "low-power")
TARIFF_WORDS = ("free", "metered", "emergency")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give back its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more at exit
        return EXIT_DONE  # "| head" has seen enough
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-agent",
        description="Store-and-forward agent: what was accepted reaches command by whatever link exists.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the agent of a configuration until it is stopped")
    run.add_argument("config", type=Path, metavar="CONFIG")
    run.add_argument("--log", choices=("json", "console"), help="form of the log (default: console on a terminal)")
    run.add_argument("--verbose", action="store_true", help="log what developers want to see")
    run.set_defaults(run=_run)

    check = commands.add_parser("check", help="say whether a configuration is right, and start nothing")
    check.add_argument("config", type=Path, metavar="CONFIG")
    check.set_defaults(run=_check)

    init = commands.add_parser("init", help="write a commented configuration and its secret")
    init.add_argument("dir", type=Path, nargs="?", default=Path(), metavar="DIR", help="where to (default: here)")
    init.add_argument("--role", choices=("kit", "command"), default="kit")
    init.add_argument("--id", default="", help="id of the node, such as kit-7 (default: that of the template)")
    init.add_argument("--secret", type=Path, help="an existing secret to copy: all nodes of a deployment share one")
    init.set_defaults(run=_init)
    _add_talking(commands)
    _add_report(commands)
    _add_audit(commands)
    return parser


def _add_talking(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The subcommands that talk to a running agent."""
    send = commands.add_parser("send", help="hand a file or standard input to the agent")
    _add_config(send)
    send.add_argument("--precedence", choices=PRECEDENCE_WORDS, help="default: that of the flow")
    send.add_argument("--flow", required=True, metavar="NAME")
    send.add_argument("--to", default="command", metavar="NODE", help='a node id, or "command" (default)')
    send.add_argument("--lifetime", type=_seconds, metavar="S", help="seconds after which nobody wants it any more")
    send.add_argument("--wait", choices=("accepted", "forwarded", "delivered"), default="accepted")
    send.add_argument("--timeout", type=_seconds, metavar="S", help="stop waiting after this long (it stays queued)")
    send.add_argument("file", nargs="?", default="-", metavar="FILE|-")
    send.set_defaults(run=_send)

    listen = commands.add_parser("listen", help="print a JSON line for each delivered bundle")
    _add_config(listen)
    listen.add_argument("--flow", default="*", metavar="GLOB")
    listen.add_argument("--count", type=_count, metavar="N", help="stop after this many")
    listen.add_argument("--since", metavar="BUNDLE|all", help="start there instead of now")
    listen.add_argument(
        "--consumer", metavar="NAME", help="durable name: the next start goes on where this one stopped"
    )
    listen.add_argument(
        "--save", type=Path, metavar="FOLDER", help="write each payload, of any size, to FOLDER/BUNDLE before it counts"
    )
    listen.set_defaults(run=_listen)

    status = commands.add_parser("status", help="links, backlog and store of the running agent")
    _add_config(status)
    status.add_argument("--json", action="store_true")
    status.set_defaults(run=_status)

    why = commands.add_parser("why", help="one sentence: where a bundle is and what it waits for")
    why.add_argument("bundle", metavar="BUNDLE")
    _add_config(why)
    why.add_argument("--lang", choices=("en", "zh"), help="language of the sentence (default: that of the shell)")
    why.add_argument("--json", action="store_true", help="the facts behind the sentence")
    why.set_defaults(run=_why)

    cancel = commands.add_parser("cancel", help="take a bundle back; of an order every copy")
    cancel.add_argument("bundle", metavar="BUNDLE")
    _add_config(cancel)
    cancel.add_argument("--by", default="", metavar="NAME", help="who takes it back (default: the node)")
    cancel.set_defaults(run=_cancel)

    _add_order(commands)
    _add_carry(commands)
    _add_terms(commands)

    record = commands.add_parser("record", help="write a trace of a link as the agent measures it, to replay in a test")
    _add_config(record)
    record.add_argument("--link", required=True, metavar="NAME")
    record.add_argument("--out", type=Path, required=True, metavar="TRACE.csv")
    record.add_argument("--peer", metavar="NODE", help="needed where a link has several")
    record.add_argument("--interval", type=_seconds, default=0.1, metavar="S", help="between samples (default: 0.1)")
    record.add_argument("--seconds", type=_seconds, metavar="S", help="stop after this long (default: at Ctrl-C)")
    record.set_defaults(run=_record)


def _add_order(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    order = commands.add_parser("order", help="give an order from the command post, and follow who has read it")
    _add_config(order)
    order.add_argument("--to", required=True, metavar="NODE|GROUP", help="a unit, or a [[group]] of the configuration")
    order.add_argument(
        "--flow", choices=("order", "withdraw"), default="order", help="withdraw: FLASH on every link, sounds there"
    )
    order.add_argument("--by", default="", metavar="NAME", help="who gives it (default: whoever is on duty)")
    order.add_argument("--lifetime", type=_seconds, metavar="S", help="nobody acts on it after that (default: 3600)")
    order.add_argument("--wait", choices=("delivered", "read"), help="print the roll call until all have it")
    order.add_argument("--timeout", type=_seconds, metavar="S", help="stop waiting after this long")
    order.add_argument("text", nargs="+", metavar="TEXT")
    order.set_defaults(run=_order)


def _add_terms(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    profile = commands.add_parser("profile", help="how this node uses its links, until another profile is chosen")
    profile.add_argument("profile", choices=PROFILE_WORDS)
    _add_config(profile)
    profile.add_argument("--to", default="", metavar="NODE", help="a unit, from the command post")
    profile.add_argument("--by", default="", metavar="NAME", help="who wants it (default: whoever is on duty)")
    profile.set_defaults(run=_profile)

    link = commands.add_parser("link", help="say what a link costs whose cost nobody has said yet")
    link.add_argument("link", metavar="NAME")
    link.add_argument("tariff", choices=TARIFF_WORDS)
    _add_config(link)
    link.set_defaults(run=_link)


def _add_carry(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    export = commands.add_parser("export", help="write what waits to a file that is carried to another node by hand")
    export.add_argument("file", type=Path, metavar="FILE")
    _add_config(export)
    export.add_argument("--to", default="", metavar="NODE", help='only what is bound there, such as "command"')
    export.set_defaults(run=_export)

    take_in = commands.add_parser("import", help="take such a file in; nothing is taken twice")
    take_in.add_argument("file", type=Path, metavar="FILE")
    _add_config(take_in)
    take_in.set_defaults(run=_import)


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    report = commands.add_parser(
        "report", help="what each link did on a day: availability, delay, loss, against targets"
    )
    _add_config(report)
    report.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="in UTC (default: today)")
    report.add_argument("--csv", type=Path, metavar="FILE", help="write a signed CSV")
    report.add_argument("--html", type=Path, metavar="FILE", help="write a page to print, in English and Chinese")
    report.add_argument("--json", action="store_true")
    report.add_argument("--verify", type=Path, metavar="FILE", help="say whether a signed CSV is genuine, and end")
    report.set_defaults(run=_report)


def _add_audit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    audit = commands.add_parser("audit", help="the log of what people did at this node")
    actions = audit.add_subparsers(required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="say whether it is as it was written: nothing changed, nothing left out")
    _add_config(verify)
    verify.add_argument("--head", metavar="LINES:CHAIN", help="a head known from before, which must be in it")
    verify.set_defaults(run=_audit_verify)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="C", help="configuration of the running agent")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed: a number of seconds above 0")
    return seconds


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed: a day as YYYY-MM-DD") from error


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed: an integer of 1 or more")
    return int(text)


def _complain(text: str) -> None:
    with suppress(OSError):  # nobody reads it, or its disk is full: the exit status says it, too
        print(text, file=sys.stderr)


def _run(options: argparse.Namespace) -> int:
    # structlog loads rich wherever some other program installed it: 0.15 s and 10 MB for colours in tracebacks
    sys.modules["rich"] = None  # type: ignore[assignment]  # documented: None makes an import fail

    from edge_agent.agent import run_agent
    from edge_agent.config import load_config
    from edge_agent.config_tables import ConfigError
    from edge_agent.core.errors import EdgeAgentError
    from edge_agent.logs import is_terminal, set_up_logs
    from edge_agent.registry import installed_plugins

    as_json = options.log == "json" or (options.log is None and not is_terminal())
    stream = set_up_logs(as_json=as_json, is_verbose=options.verbose)
    plugins = installed_plugins()
    try:
        config = load_config(options.config, plugins)
    except ConfigError as error:
        _complain(str(error))
        return EXIT_USAGE
    try:
        run_agent(config, plugins, lambda: stream.lost_lines)
    except EdgeAgentError as error:  # said on purpose: secret refused, store in use, address taken
        _complain(f"edge-agent: {error}")
        return EXIT_USAGE
    return EXIT_DONE


def _check(options: argparse.Namespace) -> int:
    from edge_agent.config import load_config
    from edge_agent.config_tables import ConfigError
    from edge_agent.core.errors import EdgeAgentError
    from edge_agent.registry import installed_plugins
    from edge_agent.security.secret_file import load_secret

    try:
        config = load_config(options.config, installed_plugins())
        load_secret(config.secret_file)
    except ConfigError as error:
        _complain(str(error))
        return EXIT_USAGE
    except EdgeAgentError as error:
        _complain(f"{options.config}: security.secret_file: {error}")
        return EXIT_USAGE
    links = ", ".join(f"{link.name} ({link.transport})" for link in config.links) or "none"
    drivers = ", ".join(f"{driver.name} ({driver.kind})" for driver in config.drivers) or "none"
    print("ok")
    for warning in config.warnings():
        print(f"{options.config}: warning: {warning}")
    print(
        f"node {config.node_id}, role {config.role}; links: {links}; devices: {drivers}; page: {config.web or 'none'}"
    )
    return EXIT_DONE


def _init(options: argparse.Namespace) -> int:
    from edge_agent.core.errors import EdgeAgentError
    from edge_agent.starter import write_starter

    try:
        made = write_starter(options.dir, role=options.role, node_id=options.id, secret=options.secret)
    except (EdgeAgentError, OSError) as error:
        _complain(f"edge-agent init: {error}")
        return EXIT_USAGE
    print(f"wrote {made.config} and {made.secret} (mode 0600)")
    print(f"next: read {made.config}, then: edge-agent check {made.config} && edge-agent run {made.config}")
    return EXIT_DONE


def _send(options: argparse.Namespace) -> int:
    from edge_agent import talk

    return talk.send(options)


def _listen(options: argparse.Namespace) -> int:
    from edge_agent import talk

    return talk.listen(options)


def _status(options: argparse.Namespace) -> int:
    from edge_agent import talk

    return talk.status(options)


def _why(options: argparse.Namespace) -> int:
    from edge_agent import talk

    return talk.why(options)


def _cancel(options: argparse.Namespace) -> int:
    from edge_agent import talk

    return talk.cancel(options)


def _order(options: argparse.Namespace) -> int:
    from edge_agent import talk_order

    return talk_order.order(options)


def _profile(options: argparse.Namespace) -> int:
    from edge_agent import talk_terms

    return talk_terms.profile(options)


def _link(options: argparse.Namespace) -> int:
    from edge_agent import talk_terms

    return talk_terms.link(options)


def _export(options: argparse.Namespace) -> int:
    from edge_agent import talk_carry

    return talk_carry.export(options)


def _import(options: argparse.Namespace) -> int:
    from edge_agent import talk_carry

    return talk_carry.take_in(options)


def _record(options: argparse.Namespace) -> int:
    from edge_agent import talk

    return talk.record(options)


def _report(options: argparse.Namespace) -> int:
    from edge_agent import talk_report

    return talk_report.report(options)


def _audit_verify(options: argparse.Namespace) -> int:
    from edge_agent import talk_audit

    return talk_audit.audit_verify(options)


if __name__ == "__main__":
    sys.exit(main())

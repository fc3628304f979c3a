"""The subcommands of ``edge-agent`` that talk to a running agent: what they print and how they end."""

import argparse
import asyncio
import base64
import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent.cli import EXIT_DONE, EXIT_LATE, EXIT_REFUSED, EXIT_USAGE
from edge_agent.client import INLINE_BYTES, AgentAbsentError, AgentRefusedError, BundleState, Client, Delivery
from edge_agent.client_file import FileDamagedError
from edge_agent.config import load_api_address
from edge_agent.config_tables import ConfigError
from edge_agent.recorder import NoSuchLinkError, Recorder
from edge_agent.recorder import record as run_recorder
from edge_agent.status_words import say_rate, say_trouble
from edge_agent.terms_words import say_terms

SENTENCE_S = 2.0
SAVED_INLINE_BYTES = 64 << 10
ARRIVED_WORDS = ("delivered", "held", "read", "done")
"""States of what is at its destination, durably; ``held`` waits there for a person."""


def send(options: argparse.Namespace) -> int:
    """Send one file; print ``{"bundle", "state", "accepted_at"}`` for the state reached."""
    try:
        return with_client(options, lambda client: _send(client, options))
    except OSError as error:
        complain(f"{options.file}: {error.strerror}")
        return EXIT_USAGE


def listen(options: argparse.Namespace) -> int:
    """Print one JSON line for each delivered bundle until ``--count`` or a signal."""
    try:
        return with_client(options, lambda client: _listen(client, options))
    except (OSError, FileDamagedError) as error:  # not saved, so not acknowledged: it comes again
        complain(f"{options.save}: {error}")
        return EXIT_REFUSED


def status(options: argparse.Namespace) -> int:
    """Print the agent's state, as JSON or for people."""
    return with_client(options, lambda client: _status(client, as_json=options.json))


def why(options: argparse.Namespace) -> int:
    """Print one sentence on a bundle."""
    return with_client(options, lambda client: _why(client, options))


def cancel(options: argparse.Namespace) -> int:
    """Take a bundle back; print ``{"bundle", "state"}``."""
    return with_client(options, lambda client: _cancel(client, options))


def record(options: argparse.Namespace) -> int:
    """Write the trace of a link until a signal or ``--seconds``."""
    return with_client(options, lambda client: _record(client, options))


def with_client(options: argparse.Namespace, talk: Callable[[Client], Coroutine[Any, Any, int]]) -> int:
    """Run ``talk`` with a client of the configured agent; errors become a sentence and a status."""
    try:
        address = load_api_address(options.config)
    except ConfigError as error:
        complain(str(error))
        return EXIT_USAGE

    async def connected() -> int:
        async with Client(address) as client:
            return await talk(client)

    try:
        return asyncio.run(connected())
    except AgentRefusedError as error:
        says_all = error.reason == "not_done" or error.reason in str(error)
        complain(f"refused: {error}" if says_all else f"refused ({error.reason}): {error}")
        if error.reason == "store_full":
            complain("this node's store is full and nothing less urgent can go; what fills it: edge-agent status")
        return EXIT_REFUSED
    except AgentAbsentError as error:
        complain(str(error))
        return EXIT_REFUSED


async def _send(client: Client, options: argparse.Namespace) -> int:
    reached: BundleState | None = None
    try:
        async with asyncio.timeout(options.timeout):
            reached = await _hand_over(client, options)
            if options.wait != "accepted":
                reached = await client.wait(reached.bundle, options.wait)
    except TimeoutError:
        if reached is None:
            complain(f"the agent did not answer within {options.timeout} s; it may have accepted the bundle")
            return EXIT_LATE
        _print_state(reached)
        complain(f"not {options.wait} within {options.timeout} s; it stays queued: edge-agent why {reached.bundle}")
        complain(await _sentence(client, reached.bundle))
        return EXIT_LATE
    _print_state(reached)
    if options.wait == "accepted" or reached.state in (options.wait, *ARRIVED_WORDS):
        return EXIT_DONE
    complain(await _sentence(client, reached.bundle))
    return EXIT_REFUSED


async def _hand_over(client: Client, options: argparse.Namespace) -> BundleState:
    """The accepted bundle of the file, or of standard input."""
    flow, to, precedence, lifetime_s = options.flow, options.to, options.precedence, options.lifetime
    if options.file != "-":
        path = Path(options.file)
        return await client.send_file(
            path, flow=flow, precedence=precedence, to=to, lifetime_s=lifetime_s, origin="person"
        )
    payload = sys.stdin.buffer.read(INLINE_BYTES + 1)
    if len(payload) > INLINE_BYTES:
        raise AgentRefusedError("too_large", f"standard input is longer than {INLINE_BYTES} bytes: give a file")
    return await client.send(payload, flow=flow, precedence=precedence, to=to, lifetime_s=lifetime_s, origin="person")


async def _sentence(client: Client, bundle: str) -> str:
    """What is known of a bundle, for a person; the agent may be gone by now."""
    try:
        async with asyncio.timeout(SENTENCE_S):
            return await client.why(bundle, language=language_of(os.environ))
    except (TimeoutError, AgentAbsentError):
        return "the agent does not answer now; what it accepted is on its disk"


def _print_state(reached: BundleState) -> None:
    print_line({"bundle": reached.bundle, "state": reached.state, "accepted_at": _iso(reached.accepted_at_ms)})


async def _listen(client: Client, options: argparse.Namespace) -> int:
    folder: Path | None = options.save
    async for delivery in client.listen(
        options.flow,
        since=options.since,
        consumer=options.consumer,
        count=options.count,
        inline_bytes=INLINE_BYTES if folder is None else SAVED_INLINE_BYTES,
    ):
        line = _line_of(delivery)
        if folder is None:
            line |= _payload_of(delivery)
        else:
            file = folder / delivery.bundle
            await client.save(delivery, file)
            line["file"] = str(file)
        print_line({**line, "via": list(delivery.via), "redelivered": delivery.redelivered})
    return EXIT_DONE


def _line_of(delivery: Delivery) -> dict[str, object]:
    return {
        "bundle": delivery.bundle,
        "source": delivery.source,
        "flow": delivery.flow,
        "precedence": delivery.precedence,
        "created_at": _iso(delivery.created_at_ms),
        **({"created_at_is_estimated": True} if delivery.created_at_is_estimated else {}),
        "received_at": _iso(delivery.received_at_ms),
        "bytes": delivery.payload_bytes,
    }


def _payload_of(delivery: Delivery) -> dict[str, object]:
    """As text where it is some; null: too large for a line, ``--save`` writes it to a file."""
    if delivery.payload is None:
        return {"payload": None}
    try:
        return {"payload": delivery.payload.decode()}
    except UnicodeDecodeError:
        return {"payload_b64": base64.b64encode(delivery.payload).decode()}


async def _status(client: Client, *, as_json: bool) -> int:
    report = await client.status()
    if as_json:
        print_text(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _print_status(report)
    return EXIT_DONE


def _print_status(report: Mapping[str, Any]) -> None:  # Any: JSON, as DESIGN section 10 lays it out
    language = language_of(os.environ)
    print_text(f"{report['node']} ({report['role']}), up {report['uptime_s']:.0f} s")
    for link in report["links"]:
        rtt = f", RTT {link['rtt_s'] * 1000:.0f} ms" if link["rtt_s"] is not None else ""
        peer = f" to {link['peer']}" if link["peer"] else ""
        reason = f": {link['reason']}" if link["reason"] else ""
        rate = say_rate(link, language)
        print_text(f"  link {link['name']}{peer}: {link['state'].upper()}{rate}{rtt}{reason}")
    for sentence in say_terms(report, language):
        print_text(f"  {sentence}")
    for device in report["devices"]:
        print_text(
            f"  device {device['name']}: {device['state']}" + (f": {device['reason']}" if device["reason"] else "")
        )
    for precedence, waiting in report["backlog"].items():
        if waiting["bundles"]:
            print_text(
                f"  waiting {precedence.upper()}: {waiting['bundles']} bundles, {waiting['bytes']} bytes, "
                f"oldest {waiting['oldest_age_s']:.0f} s"
            )
    _print_store(report["store"])
    for sentence in say_trouble(report["store"], report["clock"], language):
        print_text(f"  {sentence}")


def _print_store(store: Mapping[str, Any]) -> None:  # Any: as above
    share = 100 * store["used_bytes"] / store["quota_bytes"]
    print_text(f"  store: {store['used_bytes'] / 1e6:.1f} of {store['quota_bytes'] / 1e6:.0f} MB used ({share:.0f} %)")


async def _why(client: Client, options: argparse.Namespace) -> int:
    language = options.lang or language_of(os.environ)
    try:
        facts = await client.explain(options.bundle, language=language)
    except AgentRefusedError as error:
        if error.reason != "unknown_bundle" or language != "zh":
            raise
        complain(f"本机没有这一条(或已不再保留):{options.bundle}")
        return EXIT_REFUSED
    print_text(json.dumps(facts, ensure_ascii=False, indent=2) if options.json else str(facts["sentence"]))
    return EXIT_DONE


async def _cancel(client: Client, options: argparse.Namespace) -> int:
    reached, was_asked = await client.cancel(options.bundle, by=options.by)
    print_line({"bundle": reached.bundle, "state": reached.state})
    if reached.state == "cancelled":
        return EXIT_DONE
    if was_asked:
        complain(f"it has left already; whoever has it was asked not to act on it: edge-agent why {reached.bundle}")
        return EXIT_LATE
    complain(f"too late: {reached.state}; what has left as a whole cannot be taken back")
    return EXIT_REFUSED


def language_of(environment: Mapping[str, str]) -> str:
    """The language of a person's shell, by the first of the variables that POSIX lets decide."""
    chosen = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environment.get(name))), "")
    return "zh" if chosen.lower().startswith("zh") else "en"


async def _record(client: Client, options: argparse.Namespace) -> int:
    recorder = Recorder(
        client=client,
        link=options.link,
        peer=options.peer,
        out=options.out,
        interval_s=options.interval,
        span_s=options.seconds,
    )
    try:
        await run_recorder(recorder, print_text)
    except (NoSuchLinkError, OSError) as error:
        complain(f"edge-agent record: {error}")
        return EXIT_USAGE
    return EXIT_DONE


def _iso(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def print_line(line: Mapping[str, object]) -> None:
    print_text(json.dumps(line, ensure_ascii=False))


def print_text(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # a reader at the other end of a pipe waits for each line


def complain(text: str) -> None:
    sys.stderr.write(text + "\n")

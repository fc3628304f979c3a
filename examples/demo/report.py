"""The report for machines, and the order of arrival for the page."""

from examples.demo.arrivals import Group, is_in_order, order_after
from examples.demo.bench import Bench
from examples.demo.ledger import Ledger
from examples.demo.page import Json
from examples.demo.script import Script


def lost_contacts(command: Json | None, zero_ms: int) -> list[Json]:
    """Alarms of lost contact as command raised them, in seconds of the demo."""
    rows: list[Json] = []
    for alarm in command["alarms"] if command is not None else ():
        if alarm["kind"] == "lost":
            cleared_ms = alarm["cleared_ms"]
            rows += [
                {
                    "unit": unit,
                    "raised_at_s": round((alarm["raised_ms"] - zero_ms) / 1000, 3),
                    "cleared_at_s": None if cleared_ms is None else round((cleared_ms - zero_ms) / 1000, 3),
                }
                for unit in alarm["units"]
            ]
    return rows


def make_report(
    ledger: Ledger, script: Script, bench: Bench, command: Json | None, *, zero_ms: int, seconds: float
) -> Json:
    """The report as DESIGN section 10 lays it out, and the order of arrival after the outage."""
    groups = order(ledger, script, zero_ms)
    return {
        "seconds": round(seconds, 1),
        "precedence": ledger.tally(),
        "sos": [
            {
                "bundle": sos.bundle,
                "raised_at_s": sos.raised_at_s,
                "latency_s": sos.latency_s,
                "confirmed_s": sos.confirmed_s,
                "via": sos.via,
                "scripted": sos.is_scripted,
            }
            for sos in script.sos
        ],
        "lost_contact": lost_contacts(command, zero_ms),
        "longest_silence_s": ledger.longest_silence_s("kit-1"),
        "links": bench.traffic(),
        "switches_s": bench.switches(),
        "arrivals": [each.to_report(n) for n, each in enumerate(groups, 1)],
        "arrivals_in_order": is_in_order(groups),
        "problems": script.problems,
    }


def order(ledger: Ledger, script: Script, zero_ms: int) -> list[Group]:
    """What came from the first kit since the outage was over, in order."""
    return order_after(ledger.arrivals.values(), "kit-1", script.outage_over_s, zero_ms)


def arrivals(ledger: Ledger, script: Script, zero_ms: int) -> list[Json]:
    """The order of arrival for the page."""
    return [each.to_page(number) for number, each in enumerate(order(ledger, script, zero_ms), 1)]

"""Statistics of traces are those that came with the developers' set, which other code computed from other files."""

import json
from typing import Any

import pytest

from link_sim.traces.files import Way, read_trace
from link_sim.traces.stats import Outages, Spread, gaps, stats
from link_sim.traces.trace import LinkTrace, TraceRow
from tests.components import shared_dir

S = 1_000_000_000
# the index is from the sources, whose times are finer than a CSV's milliseconds; its losses of ping logs are per ping
ROUNDED = 0.0005
LOSS_PER_PING = 0.03


def assert_spread(found: Spread | None, wanted: dict[str, float], unit: float) -> None:
    assert found is not None
    for name, key in (
        ("mean", "mean"),
        ("p5", "p5"),
        ("p50", "p50"),
        ("p95", "p95"),
        ("least", "min"),
        ("most", "max"),
    ):
        assert getattr(found, name) * unit == pytest.approx(wanted[key], rel=ROUNDED, abs=0.051), key


def assert_outages(found: Outages, wanted: dict[str, float]) -> None:
    assert found.count == wanted["count"]
    if found.count:
        assert found.median_s * 1000 == pytest.approx(wanted["median_ms"])
        assert found.p90_s * 1000 == pytest.approx(wanted["p90_ms"])
        assert found.longest_s * 1000 == pytest.approx(wanted["max_ms"])
        assert found.share_ratio == pytest.approx(wanted["share_of_time"], abs=6e-6)


def test_every_trace_of_the_index_has_its_statistics() -> None:
    folder = shared_dir("traces")
    entries: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())["traces"]
    assert len(entries) == 14
    for entry in entries:
        wanted, trace = entry["stats"], read_trace(folder / entry["file"])
        down, up = stats(trace.way(Way.DOWN)), stats(trace.way(Way.UP))
        assert down.length_s == pytest.approx(wanted["duration_s"], abs=0.06)
        assert down.rows == wanted["rows"]
        assert down.median_row_s == pytest.approx(wanted["median_row_ms"] / 1000, rel=0.002)
        for key, found, unit in (
            ("down_bps", down.rate_bps, 1.0),
            ("up_bps", up.rate_bps, 1.0),
            ("delay_ms", down.delay_s, 1000.0),
        ):
            if key in wanted:
                assert_spread(found, wanted[key], unit)
            else:
                assert found is None, (entry["name"], key)
        if "loss_mean" in wanted:
            assert down.loss_ratio == pytest.approx(wanted["loss_mean"], rel=LOSS_PER_PING)
        assert_outages(down.outages, wanted["outages_ge_1s"])
        if "up_outages_ge_1s" in wanted:
            assert_outages(up.outages, wanted["up_outages_ge_1s"])


def test_gaps_between_chances_are_those_of_the_index() -> None:
    folder, seen = shared_dir("traces"), 0
    for entry in json.loads((folder / "index.json").read_text())["traces"]:
        for name in entry.get("mahimahi", ()):
            way = Way(name.rsplit(".")[-1])
            trace, wanted = read_trace(folder / name).way(way), entry["stats"][f"opportunity_gaps_ge_1s_{way.value}"]
            assert_outages(gaps(trace), wanted)
            assert stats(trace).outages == gaps(trace)
            assert gaps(trace, 0.2).count == wanted["gaps_ge_200ms"]
            seen += 1
    assert seen == 6


def test_an_outage_is_a_second_without_rate_or_with_all_lost() -> None:
    rows = (
        TraceRow(0, 9_999),
        TraceRow(S, 1_000_000),
        TraceRow(2 * S, 1_000_000, loss_ratio=1.0),
        TraceRow(3 * S, 0),
        TraceRow(5 * S, 10_000),
        TraceRow(6 * S, 0),
    )
    outages = stats(LinkTrace(name="made", length_ns=7 * S - 1, rows=rows)).outages
    assert (outages.count, outages.median_s, outages.longest_s) == (2, 2.0, 3.0)


def test_values_weigh_by_how_long_they_hold() -> None:
    rows = (TraceRow(0, 100), TraceRow(S, 200), TraceRow(10 * S))
    found = stats(LinkTrace(name="made", length_ns=100 * S, rows=rows)).rate_bps
    assert found is not None
    assert (found.mean, found.p5, found.p50, found.p95) == (190, 100, 200, 200)

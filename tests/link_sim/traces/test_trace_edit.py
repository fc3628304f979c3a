"""Edited traces: what is where afterwards, and that cutting and stitching together change nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_sim.errors import ProfileError
from link_sim.traces.edit import binned, cut, loop, scale, stitch, stretch
from link_sim.traces.files import mahimahi_trace, read_csv, read_mahimahi
from link_sim.traces.stats import stats
from link_sim.traces.trace import LinkTrace, TraceRow
from tests.components import shared_dir

MS = 1_000_000
ROWS = (TraceRow(0, 1000, 10 * MS, 0.5), TraceRow(10 * MS, 0), TraceRow(30 * MS, 500, 20 * MS, 0.1))
TRACE = LinkTrace(name="made", length_ns=40 * MS, rows=ROWS)
CHANCES = mahimahi_trace("made", [0, 5, 5, 20])


def test_loop_repeats_and_stretch_moves_apart() -> None:
    twice = loop(TRACE, 2)
    assert [row.start_ns // MS for row in twice.rows] == [0, 10, 30, 40, 50, 70]
    assert twice.length_ns == 80 * MS
    assert loop(CHANCES, 2).opportunities_ns == tuple(at * MS for at in (0, 5, 5, 20, 20, 25, 25, 40))
    wide = stretch(TRACE, 1.5)
    assert [row.start_ns // MS for row in wide.rows] == [0, 15, 45]
    assert wide.length_ns == 60 * MS
    assert stretch(CHANCES, 2).opportunities_ns == tuple(at * MS for at in (0, 10, 10, 40))


def test_scale_changes_amounts_and_no_times() -> None:
    scaled = scale(TRACE, rate=0.5, delay=3, loss=4)
    assert scaled.rows == (
        TraceRow(0, 500, 30 * MS, 1.0),
        TraceRow(10 * MS, 0),
        TraceRow(30 * MS, 250, 60 * MS, 0.4),
    )
    assert scale(CHANCES, rate=2).opportunities_ns == tuple(at * MS for at in (0, 0, 5, 5, 5, 5, 20, 20))
    assert scale(CHANCES, rate=0.5).opportunities_ns == (5 * MS, 20 * MS)


def test_cut_takes_the_row_that_holds_at_its_start() -> None:
    part = cut(TRACE, 0.015, 0.035)
    assert part.rows == (TraceRow(0, 0), TraceRow(15 * MS, 500, 20 * MS, 0.1))
    assert part.length_ns == 20 * MS


@given(st.integers(1, 39))
def test_the_parts_of_a_cut_stitch_to_the_same_link(at_ms: int) -> None:
    whole = stitch("made", cut(TRACE, 0, at_ms / 1000), cut(TRACE, at_ms / 1000, 0.04))
    assert whole.length_ns == TRACE.length_ns
    for time_ns in range(0, TRACE.length_ns, MS):
        assert whole.row_at(time_ns)[1:] == TRACE.row_at(time_ns)[1:]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30).map(sorted), st.integers(1, 60))
def test_the_parts_of_a_list_of_chances_hold_each_chance_once(times_ms: list[int], at_ms: int) -> None:
    """Cut where a chance is: then the first part is as long as the span, and nothing moves."""
    times_ms = sorted([*times_ms, at_ms, 61])
    trace = mahimahi_trace("made", times_ms)
    assert stitch("made", cut(trace, 0, at_ms / 1000), cut(trace, at_ms / 1000, 0.061)) == trace


def test_binned_chances_are_the_rates_of_the_developers_set() -> None:
    """Its README: the CSV is a 100 ms binning of the mahimahi files, cut at the shorter direction."""
    folder = shared_dir("traces")
    for name in ("cell-verizon-lte", "cell-tmobile-umts-driving", "cell-att-lte-driving-2016"):
        both = read_csv(folder / f"{name}.csv")
        for way in ("up", "down"):
            rows = binned(read_mahimahi(folder / f"{name}.{way}")).rows
            wanted = getattr(both, way).rows
            assert rows[: len(wanted)] == wanted, (name, way)


def test_binning_keeps_every_chance_of_whole_bins() -> None:
    spread = stats(binned(mahimahi_trace("made", [0, 50, 100, 199, 200]))).rate_bps
    assert spread is not None
    assert spread.mean == 5 * 12_000 / 0.2


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda: loop(TRACE, 0), "rounds 0: allowed is 1 or more"),
        (lambda: stretch(TRACE, 0), "factor 0: allowed is above 0"),
        (lambda: stretch(TRACE, -1), "factor -1"),
        (lambda: stretch(TRACE, 1e-8), "times of rows must rise|beyond the last row"),
        (lambda: scale(TRACE, rate=-1), "rate -1: allowed is 0"),
        (lambda: scale(TRACE, delay=float("nan")), "delay nan"),
        (lambda: scale(CHANCES, rate=0.01), "no chance to send is left"),
        (lambda: cut(TRACE, 0.02, 0.01), "cut 0.02 to 0.01 s: allowed is within 0 to 0.04 s"),
        (lambda: cut(TRACE, 0, 1), "allowed is within"),
        (lambda: cut(CHANCES, 0.006, 0.019), "no chance to send is in it"),
        (lambda: stitch("made", TRACE, CHANCES), "bin the chances first"),
        (lambda: stitch("made"), "nothing to stitch"),
        (lambda: binned(TRACE), "no chances to send to bin"),
        (lambda: binned(CHANCES, 0), "bin_ms 0: allowed is 1 to 20"),
    ],
)
def test_what_cannot_be_is_refused(edit: object, said: str) -> None:
    assert callable(edit)
    with pytest.raises(ProfileError, match=said):
        edit()

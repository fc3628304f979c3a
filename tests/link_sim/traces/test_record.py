"""Samples of a link become rows: rates as estimated, outages from the first unanswered frame to the next heard."""

from pathlib import Path

import pytest

from edge_agent.link_record import LinkSample, csv_text, trace_lines
from link_sim.errors import ProfileError
from link_sim.traces.files import Way, read_csv
from link_sim.traces.record import trace_of

S = 1_000_000_000


def sample(at_s: float, received: int, sent: int, state: str = "up", rate_bps: float | None = 8000.0) -> LinkSample:
    return LinkSample(
        at_s=at_s,
        state=state,
        rate_bps=rate_bps,
        rtt_s=0.04,
        loss_ratio=0.25,
        sent_bytes=sent,
        received_bytes=received,
    )


def up_rates(*samples: LinkSample) -> list[tuple[float, int | None]]:
    return [(row.start_ns / S, row.rate_bps) for row in trace_of(samples).way(Way.UP).rows]


def test_a_good_link_is_its_rate_half_its_round_trip_and_its_loss() -> None:
    trace = trace_of([sample(100.0, 1, 1), sample(100.5, 2, 2, rate_bps=9000.4), sample(101.25, 3, 3)])
    up, down = trace.way(Way.UP), trace.way(Way.DOWN)
    assert [(row.start_ns, row.rate_bps, row.delay_ns, row.loss_ratio) for row in up.rows] == [
        (0, 8000, 20_000_000, 0.25),
        (S // 2, 9000, 20_000_000, 0.25),
    ]
    assert up.length_ns == 1_250_000_000
    assert [row.rate_bps for row in down.rows] == [None, None]  # what the peer could send is not known here


def test_an_outage_begins_with_the_first_frame_without_answer_and_not_with_the_agents_verdict() -> None:
    samples = [sample(0, 10, 10), sample(1, 20, 20), sample(2, 20, 30), sample(3, 20, 40, "down")]
    samples += [sample(4, 20, 40, "down"), sample(5, 30, 50), sample(6, 40, 60)]
    assert up_rates(*samples) == [(0, 8000), (1, 0), (5, 8000)]
    down = trace_of(samples).way(Way.DOWN)
    assert [(row.start_ns // S, row.rate_bps) for row in down.rows] == [(0, None), (1, 0), (5, None)]


def test_a_short_outage_that_the_agent_never_called_down_is_one() -> None:
    quick = [sample(number / 10, 10 if number < 8 else 20, 10 + number) for number in range(12)]
    assert up_rates(*quick) == [(0, 0), (0.8, 8000)]
    assert up_rates(*quick[4:]) == [(0, 8000)]  # 0.4 s of silence may be an acknowledgement that waits


def test_an_idle_link_is_only_quiet() -> None:
    assert up_rates(*[sample(number, 10, 10) for number in range(60)]) == [(0, 8000)]


def test_where_frames_come_and_none_arrive_only_up_is_away() -> None:
    samples = [sample(number, 10 + number, 10 + number, "down" if 2 <= number < 5 else "up") for number in range(8)]
    assert up_rates(*samples) == [(0, 8000), (2, 0), (5, 8000)]
    assert all(row.rate_bps is None for row in trace_of(samples).way(Way.DOWN).rows)


def test_a_restart_of_the_agent_is_unmeasured() -> None:
    samples = [sample(0, 500, 500), LinkSample(at_s=1, state=""), sample(2, 0, 0, "unknown", None), sample(3, 9, 9)]
    assert up_rates(*samples, sample(4, 18, 18)) == [(0, 8000), (1, None), (2, 0), (3, 8000)]


def test_the_file_holds_the_same_trace(tmp_path: Path) -> None:
    samples = [
        sample(number * 0.1000037, number // 9, number, "down" if number > 70 else "up") for number in range(100)
    ]
    path = tmp_path / "made.csv"
    path.write_text(csv_text(trace_lines(samples)))
    made, again = trace_of(samples, "made"), read_csv(path)
    assert (again.up, again.down) == (made.up, made.down)


def test_one_sample_is_no_trace() -> None:
    with pytest.raises(ProfileError, match="trace recorded: 1 samples: a trace needs two or more"):
        trace_of([sample(0, 0, 0)])
    with pytest.raises(ProfileError, match="must rise"):
        trace_of([sample(0, 0, 0), sample(0, 0, 0)])

"""Trace files are read as they say, written as they were, and refused by file, line, field and value."""

import json
from pathlib import Path

import pytest

from link_sim.errors import ProfileError
from link_sim.traces.files import PathTrace, Way, read_csv, read_mahimahi, read_trace, write_csv, write_mahimahi
from link_sim.traces.trace import LinkTrace, TraceRow
from tests.components import shared_dir

MS = 1_000_000
HEADER = "t_ms,down_bps,up_bps,delay_ms,loss\n"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_csv_gives_both_directions_and_leaves_what_was_not_measured(tmp_path: Path) -> None:
    path = written(tmp_path, "drive.csv", HEADER + "0,5000,250,12.5,0\n1500,0,,,\n2000.25,,,1,0.5\n3000,,,,\n")
    trace = read_trace(path)
    down = (
        TraceRow(0, 5000, 12_500_000, 0.0),
        TraceRow(1500 * MS, 0, None, None),
        TraceRow(2_000_250_000, None, MS, 0.5),
    )
    assert trace.down == LinkTrace(name="drive", length_ns=3000 * MS, rows=down)
    assert trace.way(Way.UP).rows == (down[0]._replace(rate_bps=250), down[1]._replace(rate_bps=None), down[2])


def test_every_csv_of_the_developers_set_is_written_as_it_was_read(tmp_path: Path) -> None:
    paths = sorted(shared_dir("traces").glob("*.csv"))
    assert len(paths) > 10
    for path in paths:
        trace = read_csv(path)
        write_csv(trace, tmp_path / path.name)
        again = read_csv(tmp_path / path.name)
        assert (again.up, again.down) == (trace.up, trace.down), path.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("t,down\n0,1\n", "line 1: 't,down': allowed is t_ms,down_bps,up_bps,delay_ms,loss"),
        ("", "line 1: '': allowed is t_ms"),
        (HEADER, "line 1: the last line must hold only t_ms"),
        (HEADER + "0,,,,\n", "line 2: it ends before its first row"),
        (HEADER + "5,1,1,1,0\n9,,,,\n", "line 2: t_ms '5': allowed is 0 in the first row"),
        (HEADER + "0,1,1,1,0\n0,2,2,2,0\n9,,,,\n", "line 3: t_ms '0': allowed is above 0"),
        (HEADER + "0,1,1,1,0\n7,1,1,1,0\n", "line 3: the last line must hold only t_ms"),
        (HEADER + "0,-1,1,1,0\n9,,,,\n", "line 2: down_bps '-1': allowed is 0 to 1e+13"),
        (HEADER + "0,1,x,1,0\n9,,,,\n", "line 2: up_bps 'x': allowed is 0"),
        (HEADER + "0,1,1,nan,0\n9,,,,\n", "line 2: delay_ms 'nan': allowed is 0 to"),
        (HEADER + "0,1,1,1,1.5\n9,,,,\n", "line 2: loss '1.5': allowed is 0 to 1"),
        (HEADER + "0,1,1\n9,,,,\n", "line 2: 3 fields: allowed are 5"),
    ],
)
def test_a_wrong_csv_is_refused_by_line_field_and_value(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, "bad.csv", text)
    with pytest.raises(ProfileError) as caught:
        read_trace(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\nx\n", "line 2: time 'x': allowed is a whole number of milliseconds, 1 or more"),
        ("5\n4\n", "line 2: time '4': allowed is a whole number of milliseconds, 5 or more"),
        ("1\n\n2\n", "line 2: time ''"),
        ("-1\n", "line 1: time '-1'"),
        ("0\n0\n", "line 2: allowed is one time above 0"),
        ("", "line 1: allowed is one time above 0"),
    ],
)
def test_a_wrong_mahimahi_file_is_refused_by_line_and_value(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, "bad.down", text)
    with pytest.raises(ProfileError) as caught:
        read_trace(path)
    assert f"{path}: {said}" in str(caught.value)


def test_a_mahimahi_file_tells_of_its_own_direction(tmp_path: Path) -> None:
    path = written(tmp_path, "made.up", "0\n2\n2\n10\n")
    trace = read_trace(path)
    assert trace.way(Way.UP).opportunities_ns == (0, 2 * MS, 2 * MS, 10 * MS)
    with pytest.raises(ProfileError, match=r"made\.up: it tells nothing of down"):
        trace.way(Way.DOWN)
    write_mahimahi(trace.way(Way.UP), tmp_path / "again.up")
    assert (tmp_path / "again.up").read_text() == path.read_text()


def test_rates_become_chances_to_send(tmp_path: Path) -> None:
    """12 Mbit/s carry 1,500 bytes a millisecond; the pause carries nothing; the rest of a frame goes on after it."""
    rows = (TraceRow(0, 12_000_000), TraceRow(2_500_000, 0), TraceRow(10 * MS, 6_000_000))
    write_mahimahi(LinkTrace(name="made", length_ns=14 * MS, rows=rows), tmp_path / "made.down")
    assert read_mahimahi(tmp_path / "made.down").opportunities_ns == tuple(at * MS for at in (1, 2, 11, 13))


def test_files_of_another_kind_or_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"suffix '\.pcap': allowed is \.csv, \.up, \.down"):
        read_trace(tmp_path / "a.pcap")
    with pytest.raises(ProfileError, match=r"gone\.csv"):
        read_trace(tmp_path / "gone.csv")


def test_a_csv_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    chances = LinkTrace(name="made", length_ns=MS, opportunities_ns=(MS,))
    one = LinkTrace(name="made", length_ns=MS, rows=(TraceRow(0, 1, 5, 0.0),))
    other = LinkTrace(name="made", length_ns=MS, rows=(TraceRow(0, 1, 6, 0.0),))
    longer = LinkTrace(name="made", length_ns=2 * MS, rows=one.rows)
    for up, down, said in ((chances, None, "bin them"), (one, other, "differ in delay"), (one, longer, "one length")):
        with pytest.raises(ProfileError, match=said):
            write_csv(PathTrace(name="made", up=up, down=down), tmp_path / "made.csv")


PING_D = """PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.
[100.020000] 64 bytes from 192.0.2.1: icmp_seq=1 ttl=57 time=20.0 ms
[100.260000] 64 bytes from 192.0.2.1: icmp_seq=2 ttl=57 time=60.0 ms
[100.700000] no answer yet for icmp_seq=3
[100.830000] 64 bytes from 192.0.2.1: icmp_seq=5 ttl=57 time=30.0 ms
[100.831000] 64 bytes from 192.0.2.1: icmp_seq=5 ttl=57 time=31.0 ms (DUP!)

--- 192.0.2.1 ping statistics ---
5 packets transmitted, 3 received, 40% packet loss, time 800ms
"""


def test_a_ping_log_with_times_gives_half_round_trips_from_when_they_were_sent(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "made.log", PING_D))
    assert trace.up == trace.down
    rows = trace.way(Way.UP).rows
    assert [row.start_ns // 1000 for row in rows] == [0, 200_000, 400_000, 600_000, 800_000]
    assert [row.delay_ns for row in rows] == [10 * MS, 30 * MS, None, None, 15 * MS]
    assert [row.loss_ratio for row in rows] == [0, 0, 1, 1, 0]
    assert trace.way(Way.UP).length_ns // 1000 == 1_000_000


def test_a_ping_log_without_times_takes_a_second_each_and_numbers_begin_again(tmp_path: Path) -> None:
    lines = [f"64 bytes from host (192.0.2.1): icmp_seq={number} ttl=57 time=2 ms" for number in (65534, 65535, 1)]
    rows = read_trace(written(tmp_path, "made.txt", "\n".join(lines))).way(Way.UP).rows
    assert [(row.start_ns // MS, row.loss_ratio) for row in rows] == [(0, 0), (1000, 0), (2000, 1), (3000, 0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing\n", "no answer of ping: allowed is what iputils ping prints"),
        ("64 bytes from h: icmp_seq=1 ttl=5 time=x ms\n", "line 1: time 'x': allowed is a number of milliseconds"),
    ],
)
def test_a_log_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        read_trace(written(tmp_path, "bad.log", text))


def irtt(*lost: str) -> str:
    trips = [
        {
            "seqno": number,
            "lost": each,
            "timestamps": {"client": {"send": {"wall": 7, "monotonic": number * 20 * MS}}},
            "delay": {"rtt": 8 * MS} if each == "false" else {},
        }
        for number, each in enumerate(lost)
    ]
    return json.dumps({"round_trips": trips})


def test_irtt_knows_which_way_a_ping_was_lost(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "made.json", irtt("false", "true_up", "true_down", "true")))
    assert [row.loss_ratio for row in trace.way(Way.UP).rows] == [0, 1, 0, 1]
    assert [row.loss_ratio for row in trace.way(Way.DOWN).rows] == [0, 0, 1, 1]
    assert trace.way(Way.UP).rows[0].delay_ns == 4 * MS
    assert trace.way(Way.UP).length_ns == 80 * MS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "round_trips"),
        ("nonsense", "allowed is the JSON that irtt client writes"),
        (irtt("perhaps", "false"), r"round_trips\[0\]: lost 'perhaps': allowed is false, true"),
        (irtt("true"), "none of 1 was answered"),
        (irtt("false").replace("8000000", '"8"'), r"round_trips\[0\]: delay.rtt '8'"),
    ],
)
def test_a_json_of_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        read_trace(written(tmp_path, "bad.json", text))

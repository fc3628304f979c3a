"""The NMEA parser against gpsd's own answers, and against lines that are cut, wrong or hostile."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.gnss.fix import Fix, is_trusted
from drivers.gnss.nmea import SENTENCE_MAX_BYTES, NmeaParser

DATA = Path(__file__).parent / "data/nmea"
LOGS = ("beidou-bd", "nmea-fuzzy-cases", "quectel-eg25-g-2", "tcp-torture", "ublox-neo-m9n-nmea")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


NOW_MS = ms("2022-09-20T12:00:00Z")


def sentence(body: str) -> bytes:
    checksum = 0
    for byte in body.encode():
        checksum ^= byte
    return f"${body}*{checksum:02X}\r\n".encode()


RMC = sentence("GNRMC,120000.00,A,3114.8953,N,12135.2439,E,0.25,4.94,200922,,,A")
GGA = sentence("GNGGA,120000.00,3114.89531,N,12135.24391,E,1,07,1.1,198.5,M,8.3,M,,0000")


def read(log: bytes, *, step: int = 0) -> tuple[list[Fix], NmeaParser]:
    """Fixes of a whole log, fed in pieces of ``step`` bytes (0: all at once)."""
    parser = NmeaParser()
    pieces = [log[at : at + step] for at in range(0, len(log), step)] if step else [log]
    fixes = [fix for piece in pieces for fix in parser.feed(piece, NOW_MS)]
    last = parser.flush()
    return [*fixes, *([last] if last else [])], parser


def log_bytes(name: str) -> bytes:
    """A recording as its receiver sent it: without comments, and without gpsd's marks of where writes were cut."""
    lines = (DATA / f"{name}.log").read_bytes().splitlines(keepends=True)
    kept = b"".join(line for line in lines if not line.startswith(b"#"))
    return kept.replace(b"|", b"") if name == "tcp-torture" else kept


@pytest.mark.parametrize("name", LOGS)
def test_agrees_with_gpsd(name: str) -> None:
    """Every instant with a date has the place, height, speed and track gpsd gives it; no instant is missing."""
    fixes, _ = read(log_bytes(name))
    ours = {fix.receiver_ms: fix for fix in fixes if fix.lat_deg is not None}
    expected = [json.loads(line) for line in (DATA / f"{name}.tpv.jsonl").read_text().splitlines()]
    assert expected
    for tpv in expected:
        if name == "tcp-torture":  # gpsd adds 1024 weeks of its own to this date of 2007
            tpv["time"] = "2007-12-23T19:32:21.000Z"
        fix = ours.pop(ms(tpv["time"]))
        assert fix.lat_deg == pytest.approx(tpv["lat"], abs=2e-9 if name != "tcp-torture" else 1e-6)
        assert fix.lon_deg == pytest.approx(tpv["lon"], abs=2e-9 if name != "tcp-torture" else 1e-6)
        assert fix.alt_m == pytest.approx(tpv["altMSL"], abs=1e-3)
        assert fix.speed_mps == pytest.approx(tpv["speed"], abs=1e-3)
        if "track" in tpv:
            assert fix.track_deg == pytest.approx(tpv["track"], abs=1e-3)
    undated_by_gpsd = {ms("2015-02-25T07:41:55.799Z")} if name == "beidou-bd" else set()  # the log's first fix
    assert ours.keys() == undated_by_gpsd


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("step", [1, 7, 64])
def test_cuts_change_nothing(name: str, step: int) -> None:
    whole, whole_parser = read(log_bytes(name))
    cut, cut_parser = read(log_bytes(name), step=step)
    assert cut == whole
    assert cut_parser.drops == whole_parser.drops


def test_beidou_log_tells_no_position_before_its_fix() -> None:
    fixes, parser = read(log_bytes("beidou-bd"))
    assert [fix.lat_deg is None for fix in fixes] == [True] * 5 + [False] * 5
    assert {fix.reason for fix in fixes[:5]} == {"no fix"}
    assert [fix.satellites for fix in fixes[5:]] == [5, 7, 7, 7, 7]
    assert parser.drops == {"nmea_malformed": 1}  # one stray blank before a sentence, which is read


@pytest.mark.parametrize(("talker", "system"), [("BD", "BD"), ("GB", "BD"), ("PQ", "BD"), ("GP", "GP"), ("GA", "GA")])
def test_talker_names_the_system(talker: str, system: str) -> None:
    line = sentence(f"{talker}RMC,120000.00,A,3114.8953,N,12135.2439,E,0.25,4.94,200922,,,A")
    fixes, _ = read(line)
    assert [fix.system for fix in fixes] == [system]


def test_most_exact_position_of_an_instant_wins() -> None:
    (fix,), _ = read(RMC + GGA)
    assert fix.lat_deg == pytest.approx(31 + 14.89531 / 60, abs=1e-12)
    assert (fix.alt_m, fix.satellites) == (198.5, 7)
    assert fix.receiver_ms == ms("2022-09-20T12:00:00Z")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("GPRMC,120000.00,V,3114.8953,N,12135.2439,E,,,200922,,,N", "no fix"),
        ("GPRMC,120000.00,A,0000.0000,N,00000.0000,E,0.0,0.0,200922,,,A", "no fix"),
        ("GPGGA,120000.00,3114.8953,N,12135.2439,E,0,00,,,M,,M,,", "no fix"),
        ("GPGGA,120000.00,3114.8953,N,12135.2439,E,8,07,1,1,M,1,M,,", "the receiver is in simulator mode"),
        ("GPGLL,3114.8953,N,12135.2439,E,120000.00,V,N", "no fix"),
        ("GNGNS,120000.00,3114.8953,N,12135.2439,E,NN,00,,,,,", "no fix"),
        ("GPRMC,120000.00,A,,,,,,,200922,,,A", "no fix"),
        ("GNRMC,,V,,,,,,,,,,N", "no fix"),
    ],
)
def test_without_a_fix_no_position_is_invented(body: str, reason: str) -> None:
    (fix,), parser = read(sentence(body))
    assert (fix.lat_deg, fix.lon_deg, fix.reason) == (None, None, reason)
    assert not parser.drops


def test_rmc_has_the_last_word_on_the_fix() -> None:
    (fix,), _ = read(sentence("GPRMC,120000.00,V,,,,,,,200922,,,N") + GGA)
    assert fix.lat_deg is None


def test_a_receiver_without_clock_says_no_fix_each_round() -> None:
    """No pause between the rounds and no time in them: the repeated sentence closes the round."""
    fixes, _ = read(sentence("GNRMC,,V,,,,,,,,,,N") * 3)
    assert [fix.reason for fix in fixes] == ["no fix"] * 3


def test_altitude_of_a_flat_fix_is_left_out() -> None:
    (fix,), _ = read(GGA + sentence("GNGSA,A,2,02,03,04,,,,,,,,,,2.1,1.1,1.8") + RMC)
    assert fix.lat_deg is not None
    assert fix.alt_m is None


def test_speed_and_accuracy_come_from_vtg_and_gst() -> None:
    vtg = sentence("GNVTG,4.94,T,,M,,N,36.0,K,A")
    gst = sentence("GNGST,120000.00,8,2.5,2.4,127,3.0,4.0,3.0")
    (fix,), _ = read(GGA + vtg + gst)
    assert (fix.speed_mps, fix.track_deg, fix.accuracy_m) == (pytest.approx(10.0), 4.94, 5.0)
    assert fix.receiver_ms is None  # no sentence told a date


def test_date_goes_on_over_midnight_without_rmc() -> None:
    rmc = sentence("GNRMC,235959.00,A,3114.8953,N,12135.2439,E,0.25,4.94,200922,,,A")
    gga = sentence("GNGGA,000001.00,3114.89531,N,12135.24391,E,1,07,1.1,198.5,M,8.3,M,,0000")
    fixes, _ = read(rmc + gga)
    assert [fix.receiver_ms for fix in fixes] == [ms("2022-09-20T23:59:59Z"), ms("2022-09-21T00:00:01Z")]


def test_zda_gives_the_date_where_rmc_is_absent() -> None:
    fixes, _ = read(sentence("GPZDA,120000.00,20,09,2022,00,00") + GGA)
    assert [fix.receiver_ms for fix in fixes] == [NOW_MS]


@pytest.mark.parametrize(
    ("received", "drop"),
    [
        (RMC.replace(b"0.25", b"9.25"), "nmea_checksum"),
        (RMC.partition(b"*")[0] + b"\r\n", "nmea_checksum"),
        (RMC[:-4] + b"ZZ\r\n", "nmea_checksum"),
        (sentence("GNRMC,126000.00,A,3114.8953,N,12135.2439,E,0.25,4.94,200922,,,A"), "nmea_malformed"),
        (sentence("GNRMC,120000.00,A,9114.8953,N,12135.2439,E,0.25,4.94,200922,,,A"), "nmea_malformed"),
        (sentence("GNRMC,120000.00,A,3114.8953,Q,12135.2439,E,0.25,4.94,200922,,,A"), "nmea_malformed"),
        (sentence("GNRMC,120000.00,A,3114.8953,N,12135.2439,E,nan,4.94,200922,,,A"), "nmea_malformed"),
        (sentence("GNRMC,120000.00,A,3114.8953,N,12135.2439,E,0.25,4.94,310222,,,A"), "nmea_malformed"),
        (sentence("gnrmc,120000.00"), "nmea_malformed"),
        (b"noise\xff\r\n", "nmea_malformed"),
        (b"$" + b"A" * (SENTENCE_MAX_BYTES + 1) + b"\r\n", "nmea_oversize"),
    ],
)
def test_bad_line_is_one_counted_drop_and_the_next_is_read(received: bytes, drop: str) -> None:
    for step in (0, 5):
        fixes, parser = read(received + RMC, step=step)
        assert [fix.speed_mps is not None for fix in fixes] == [True]
        assert parser.drops == {drop: 1}


def test_cut_sentence_does_not_take_the_next_one_with_it() -> None:
    fixes, parser = read(RMC[:20] + GGA)
    assert [fix.alt_m for fix in fixes] == [198.5]
    assert parser.drops == {"nmea_malformed": 1}


def test_other_talkers_are_no_error() -> None:
    fixes, parser = read(b"!AIVDM,1,1,,A,14eG;o@034o8sd<L9i:a;WF>062D,0*7D\r\n" + sentence("PUBX,00,1") + RMC)
    assert len(fixes) == 1
    assert not parser.drops


def test_repeated_instant_is_given_once() -> None:
    parser = NmeaParser()
    parser.feed(RMC, NOW_MS)
    assert parser.flush() is not None
    parser.feed(RMC, NOW_MS)
    assert parser.flush() is None
    assert parser.drops == {"nmea_repeated": 1}


def test_buffer_stays_bounded_without_line_ends() -> None:
    parser = NmeaParser()
    for _ in range(100):
        parser.feed(b"\x00" * 1000, NOW_MS)
        assert len(parser._rest) <= SENTENCE_MAX_BYTES
    assert parser.drops == {"nmea_oversize": 1}


@given(
    st.lists(st.one_of(st.sampled_from([RMC, GGA, b"$GNRMC,,,*", b"\r\n", b"$", b"*00\r\n"]), st.binary(max_size=40)))
)
@example([b"$GNRMC,120000,A,9999.9,N,99999.9,E,,,999999,,,A*41\r\n"])
def test_any_bytes_give_fixes_in_range_or_drops(pieces: list[bytes]) -> None:
    fixes, _ = read(b"".join(pieces))
    for fix in fixes:
        position = fix.position_at(NOW_MS)
        assert (position is None) == bool(fix.reason)
        if position is not None:
            position.check()


def test_a_date_half_a_rollover_away_is_distrusted() -> None:
    assert is_trusted(ms("2020-01-01T00:00:00Z"), ms("2026-01-01T00:00:00Z"))
    assert not is_trusted(ms("2007-01-01T00:00:00Z"), ms("2026-08-17T00:00:00Z"))
    assert is_trusted(ms("2026-01-01T00:00:00Z"), round(datetime(1970, 1, 2, tzinfo=UTC).timestamp() * 1000))

"""Each named profile has a source for each number, and over the link model the statistics that it states.

Tolerances: rate 2 %, delay 6 % and 0.1 ms, loss 20 % (the noise of 60,000 frames), outages 5 % and 0.25 s, which is
the time of the frame after them.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from link_sim.errors import ProfileError
from link_sim.link.link_profile import LinkProfile
from link_sim.link.model import LinkModel
from link_sim.profiles import (
    NAMED,
    SERIAL_FRAMING_BYTES,
    UDP_IPV4_OVERHEAD_BYTES,
    card,
    profile,
    profile_from,
    serial_profile,
    shipped_traces,
    varied_schedule,
)
from link_sim.traces.files import Way
from tests.link_sim.traces.measuring import probe, saturate

WANTED = {
    *(
        "tiantong",
        "beidou-message",
        "iridium-sbd",
        "iridium-certus",
        "vsat-clear",
        "vsat-rain",
        "leo-car",
        "leo-vessel",
    ),
    *("4g-good", "4g-congested", "4g-driving", "5g-urban", "5g-rural-weak", "mesh-1", "mesh-2", "mesh-3", "mesh-4"),
    *("dmr-data", "pdt", "vhf9600", "hf", "lora-sf7", "lora-sf8", "lora-sf9", "lora-sf10", "lora-sf11", "lora-sf12"),
    *("4g", "vsat", "radio9600", "clean"),
}
STATED = [(name, way) for name in NAMED for way in ("both", "up", "down") if way in card(name).reproduces]
PROBES = 60_000
KNOWN = {
    *("frame_bytes", "every_s", "rate_bps", "loss_ratio", "outages_s"),
    *(f"{kind}_{which}_s" for kind in ("delay", "flight") for which in ("mean", "p5", "p50", "p95")),
}


def test_every_wanted_profile_is_there() -> None:
    assert set(NAMED) == WANTED
    assert NAMED["pdt"].up == NAMED["dmr-data"].up


def unsourced(numbers: Mapping[str, Mapping[str, Any]], sources: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Numbers without a source, and sources without a number."""
    missing = []
    for way, table in numbers.items():
        missing += [f"{way}.{name}" for name in table if not (sources[way].get(name) or sources["both"].get(name))]
    for way, texts in sources.items():
        ways = numbers.values() if way == "both" else [numbers[way]]
        missing += [f"source {way}.{name}" for name in texts if not any(name in table for table in ways)]
    return missing


@pytest.mark.parametrize("name", NAMED)
def test_each_number_has_a_source_and_each_profile_states_something(name: str) -> None:
    found = card(name)
    assert unsourced(found.numbers, found.sources) == []
    assert all(len(text) >= len("own choice") for texts in found.sources.values() for text in texts.values())
    assert name == "clean" or found.reproduces
    assert {key for stated in found.reproduces.values() for key in stated} <= KNOWN


def test_a_number_without_source_is_found() -> None:
    empty: dict[str, str] = {}
    assert unsourced({"up": {"delay_s": 1}}, {"both": empty, "up": empty}) == ["up.delay_s"]
    assert unsourced({"up": {}}, {"both": {"delay_s": "x"}, "up": empty}) == ["source both.delay_s"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stated_way"), STATED)
def test_a_profile_has_the_statistics_it_states(name: str, stated_way: str) -> None:
    stated = card(name).reproduces[stated_way]
    for way in ("up", "down") if stated_way == "both" else (stated_way,):
        assert_has(getattr(NAMED[name], way), stated)


def assert_has(direction: LinkProfile, stated: Mapping[str, Any]) -> None:
    frame_bytes = stated["frame_bytes"]
    probed = probe(direction, frame_bytes=frame_bytes, every_s=stated.get("every_s", 1.0), frames=PROBES)
    for kind, values in (("delay", probed.delays_s), ("flight", probed.flights_s)):
        measured = {
            "mean": math.fsum(values) / len(values),
            "p5": values[len(values) * 5 // 100],
            "p50": values[len(values) // 2],
            "p95": values[len(values) * 95 // 100],
        }
        for which, value_s in measured.items():
            wanted_s = stated.get(f"{kind}_{which}_s", value_s)
            assert value_s == pytest.approx(wanted_s, rel=0.06, abs=1e-4), (kind, which, measured)
    if "loss_ratio" in stated:
        assert probed.loss_ratio == pytest.approx(stated["loss_ratio"], rel=0.2, abs=2e-4)
    if "rate_bps" in stated or "outages_s" in stated:
        found = saturate(direction, frame_bytes=frame_bytes, span_s=direction.schedule_period_s)
        assert found.rate_bps == pytest.approx(stated.get("rate_bps", found.rate_bps), rel=0.02)
        wanted = stated.get("outages_s", [])
        assert len(found.silences_s) == len(wanted) or "outages_s" not in stated, found.silences_s
        if wanted:
            assert found.silences_s == pytest.approx(wanted, rel=0.05, abs=0.25)


def test_a_slower_satellite_does_not_pass() -> None:
    """The instrument tells: a tenth of the rate, twice the delay, another loss."""
    stated = card("iridium-sbd").reproduces["up"]
    assert_has(NAMED["iridium-sbd"].up, stated)
    for changes in ({"rate_bps": 100}, {"delay_s": 8.9}):
        with pytest.raises(AssertionError):
            assert_has(profile_from("changed", changes, NAMED["iridium-sbd"].up), stated)


def test_the_first_profiles_are_what_they_were() -> None:
    assert NAMED["clean"].up == NAMED["clean"].down == LinkProfile()
    assert NAMED["radio9600"].up == serial_profile(9600, overhead_bytes=SERIAL_FRAMING_BYTES)
    assert NAMED["4g"].down == LinkProfile(
        rate_bps=10_000_000, delay_s=0.025, queue_bytes=250_000, overhead_bytes=UDP_IPV4_OVERHEAD_BYTES
    )
    assert NAMED["vsat"].up.rate_bps == 512_000
    assert NAMED["vsat"].down.queue_bytes == 200_000


@pytest.mark.parametrize("factor", range(7, 13))
def test_lora_takes_the_air_time_of_the_formula(factor: int) -> None:
    """Semtech's time on air for explicit header and check, 8 symbols of preamble, 4/5, written out once more here."""
    numbers, symbol_s, slow = NAMED[f"lora-sf{factor}"].up, 2**factor / 125_000, 2 if factor >= 11 else 0
    for frame_bytes in (10, 25, 51):
        bits = 8 * (frame_bytes + 13) - 4 * factor + 28 + 16
        symbols = 8 + 4.25 + 8 + 5 * math.ceil(bits / (4 * (factor - slow)))
        sent_s = LinkModel(numbers, 1).offer(0, frame_bytes).sent_ns / 1e9
        assert sent_s == pytest.approx(symbols * symbol_s, rel=0.06), frame_bytes


def test_a_schedule_has_its_levels_and_outages_by_construction() -> None:
    levels = [(0.0, 1000), (0.5, 2000), (1.0, 9000)]
    steps = varied_schedule("x", levels=levels, outages_s=[2, 3], period_s=105, hold_s=1, correlation_ratio=0.9)
    assert steps == varied_schedule("x", levels=levels, outages_s=[2, 3], period_s=105, hold_s=1, correlation_ratio=0.9)
    rates = [rate_bps for _, rate_bps in steps]
    assert sorted(rates)[:2] == [0, 0]
    assert sum(rates) / 100 == pytest.approx((1500 + 5500) / 2, rel=1e-3)
    lengths_s = [later[0] - earlier[0] for earlier, later in zip(steps, [*steps[1:], (105.0, 0)], strict=True)]
    assert sorted(length for length, rate in zip(lengths_s, rates, strict=True) if not rate) == pytest.approx([2, 3])
    ups = [rate for rate in rates if rate]
    assert sum(abs(later - earlier) for earlier, later in pairwise(ups)) / 99 < 1500  # alike


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels": [(0, 5)]}, "two points or more"),
        ({"levels": [(0, 5), (0.9, 6)]}, "from 0 to 1"),
        ({"levels": [(0, 5), (1, 4)]}, "do not fall"),
        ({"hold_s": 0}, "hold_s 0"),
        ({"outages_s": [9.9]}, "leave room"),
        ({"outages_s": [-1]}, "lengths above 0"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(changes: Mapping[str, Any], said: str) -> None:
    right: dict[str, Any] = {"levels": [(0, 5), (1, 6)], "outages_s": [1], "period_s": 10, "hold_s": 1}
    with pytest.raises(ProfileError, match=said):
        varied_schedule("x", correlation_ratio=0.5, **{**right, **changes})


def drive(folder: Path) -> Path:
    (folder / "drive.csv").write_text("t_ms,down_bps,up_bps,delay_ms,loss\n0,5000,250,12.5,0\n1500,,,,\n")
    return folder / "drive.csv"


def test_a_profile_file_takes_the_right_direction_of_a_trace_beside_it(tmp_path: Path) -> None:
    drive(tmp_path)
    (tmp_path / "link.toml").write_text('trace = "drive.csv"\ndelay_s = 1.0\n[down]\ntrace_loop = false\n')
    made = profile(str(tmp_path / "link.toml"))
    assert made.up.trace is not None
    assert made.down.trace is not None
    assert (made.up.trace.rows[0].rate_bps, made.down.trace.rows[0].rate_bps) == (250, 5000)
    assert (made.up.trace.loops, made.down.trace.loops) == (True, False)


def test_the_text_or_the_way_says_the_direction(tmp_path: Path) -> None:
    path = drive(tmp_path)
    for table, way in (({"trace": f"{path}#down"}, None), ({"trace": str(path)}, Way.DOWN)):
        trace = profile_from("here", table, way=way).trace
        assert trace is not None
        assert trace.rows[0].rate_bps == 5000
    for name in shipped_traces():  # they say the same of both directions
        assert profile_from("here", {"trace": name}).trace is not None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"trace": "nowhere"}, r"here: trace 'nowhere' is not known: allowed is cell-5g-china-rural-weak, "),
        ({"trace": "gone.csv"}, r"here: trace 'gone\.csv' .*gone\.csv"),
        ({"trace": "drive.csv"}, r"different things of up and down: allowed is drive\.csv#up or drive\.csv#down"),
        ({"trace": 5}, "here: trace 5 is not a trace"),
        ({"trace_loop": True}, "trace is missing"),
        ({"trace": "drive.csv#up", "trace_loop": 1}, "trace_loop 1 is neither true nor false"),
        ({"traces": ""}, "traces is not known; allowed are .*trace_loop"),
    ],
)
def test_a_wrong_trace_is_refused_by_field_and_value(tmp_path: Path, table: Mapping[str, Any], said: str) -> None:
    drive(tmp_path)
    with pytest.raises(ProfileError, match=said):
        profile_from("here", table, folder=tmp_path)


def test_a_profile_file_with_a_number_for_a_direction_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link.toml").write_text("up = 5\n")
    with pytest.raises(ProfileError, match=r"link\.toml: up 5: allowed is a table \[up\]"):
        profile(str(tmp_path / "link.toml"))


def test_the_page_names_every_profile_and_the_traces_shipped() -> None:
    page = (Path(__file__).parents[3] / "docs/link_sim.md").read_text()
    assert [name for name in (*NAMED, *shipped_traces()) if f"`{name}`" not in page] == []

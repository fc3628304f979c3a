"""Rules from MQTT messages to readings: values, missing values, times, wildcards, hostile payloads, wrong tables."""

import json
from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.mqtt_sensors.rules import PAYLOAD_MAX_BYTES, MapRule, PayloadError, read_rules, wildcard_levels
from edge_agent.ports import Reading
from edge_agent.telemetry.payloads import ReadingBatch

NOW_MS = round(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp() * 1000)
GAS = {
    "topic": "gas/+/state",
    "device": "{1}",
    "fields": [{"path": "ch4.value", "series": "ch4", "unit": "%LEL", "scale": 0.1, "offset": 1}],
}


def readings(
    row: dict[str, object], payload: object, *, topic: str = "gas/a7/state", retained: bool = False
) -> list[Reading]:
    (rule,) = read_rules([row])
    packed = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    found = rule.readings(topic, packed, now_ms=NOW_MS, is_retained=retained)
    assert found is not None
    return found


def value(found: object) -> tuple[float | None, str]:
    (reading,) = readings(GAS, {"ch4": {"value": found}})
    return reading.value, reading.quality


def test_reading_is_scaled_named_and_stamped() -> None:
    assert readings(GAS, {"ch4": {"value": 120}}) == [
        Reading(series="a7/ch4", value=13.0, unit="%LEL", captured_at_ms=NOW_MS)
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, (None, "missing")),
        ("ERR", (None, "not_a_number")),
        ("", (None, "not_a_number")),
        ([1], (None, "not_a_number")),
        (float("nan"), (None, "not_a_number")),
        ("nan", (None, "not_a_number")),
        (float("inf"), (None, "out_of_range")),
        (10**400, (None, "out_of_range")),
        (" 10 ", (2.0, "good")),
        ("-1e1", (0.0, "good")),
        (True, (1.1, "good")),
        (0, (1.0, "good")),
    ],
)
def test_a_value_that_is_none_is_said_and_never_invented(found: object, expected: tuple[float | None, str]) -> None:
    assert value(found) == expected


@pytest.mark.parametrize("payload", [{}, {"ch4": 5}, {"ch4": {}}, [], 7, None])
def test_absent_value_is_missing(payload: object) -> None:
    (reading,) = readings(GAS, payload)
    assert (reading.value, reading.quality) == (None, "missing")


def test_msgpack_and_list_paths() -> None:
    row = {"topic": "w/#", "format": "msgpack", "device": "{1}", "series": "level", "path": "v.1", "unit": "m"}
    (reading,) = readings(row, msgpack.packb({"v": [0, 2.5], 3: 4}), topic="w/north/2")
    assert (reading.series, reading.value) == ("north/2/level", 2.5)


def test_bare_number_is_a_payload() -> None:
    (reading,) = readings({"topic": "t", "series": "temperature"}, b"21.5", topic="t")
    assert (reading.series, reading.value) == ("temperature", 21.5)


@pytest.mark.parametrize(
    ("time_format", "stamp", "expected_ms", "quality"),
    [
        ("s", NOW_MS / 1000 - 60, NOW_MS - 60_000, "good"),
        ("ms", NOW_MS - 5, NOW_MS - 5, "good"),
        ("iso", "2026-11-22T11:59:00Z", NOW_MS - 60_000, "good"),
        ("iso", "2026-11-22T19:59:00+08:00", NOW_MS - 60_000, "good"),
        ("iso", "2026-11-22T11:59:00", NOW_MS - 60_000, "good"),
        ("iso", "noon", NOW_MS, "time_not_valid"),
        ("iso", 5, NOW_MS, "time_missing"),
        ("s", None, NOW_MS, "time_missing"),
        ("s", 5, NOW_MS, "time_not_valid"),
        ("ms", 1e300, NOW_MS, "time_not_valid"),
        ("s", float("nan"), NOW_MS, "time_not_valid"),
        ("s", 10**400, NOW_MS, "time_not_valid"),
    ],
)
def test_time_of_the_sensor(time_format: str, stamp: object, expected_ms: int, quality: str) -> None:
    """A time that cannot be believed leaves the time of arrival, and the reading says so."""
    row = {"topic": "t", "series": "x", "path": "x", "time": "at", "time_format": time_format}
    (reading,) = readings(row, {"x": 1, "at": stamp}, topic="t")
    assert (reading.captured_at_ms, reading.quality, reading.value) == (expected_ms, quality, 1.0)


def test_retained_message_without_time_does_not_look_fresh() -> None:
    (reading,) = readings({"topic": "t", "series": "x"}, b"1", topic="t", retained=True)
    assert reading.quality == "retained"


@pytest.mark.parametrize(
    ("topic_filter", "topic", "levels"),
    [
        ("a/+/c", "a/b/c", ["b"]),
        ("a/+/c", "a/b/d", None),
        ("+/+", "a/b", ["a", "b"]),
        ("+/+", "a/b/c", None),
        ("a/#", "a/b/c", ["b/c"]),
        ("a/#", "a", [""]),
        ("a/+/#", "a/b/c/d", ["b", "c/d"]),
        ("#", "$SYS/uptime", None),
        ("+/uptime", "$SYS/uptime", None),
        ("$SYS/#", "$SYS/uptime", ["uptime"]),
        ("+", "", [""]),
        ("a", "a/b", None),
    ],
)
def test_wildcards(topic_filter: str, topic: str, levels: list[str] | None) -> None:
    assert wildcard_levels(topic_filter, topic) == levels


@pytest.mark.parametrize(
    ("payload", "payload_format", "drop"),
    [
        (b"{", "json", "payload_not_json"),
        (b"\xff\xfe", "json", "payload_not_json"),
        (b"[" * 60_000, "json", "payload_not_json"),
        (b"1" * 5000, "json", "payload_not_json"),
        (b"\xc1", "msgpack", "payload_not_msgpack"),
        (b"\x91" * 60_000, "msgpack", "payload_not_msgpack"),
        (b"\x81\x80\x01", "msgpack", "payload_not_msgpack"),
        (b"1" * (PAYLOAD_MAX_BYTES + 1), "json", "payload_too_large"),
    ],
)
def test_unreadable_payload_is_a_named_drop(payload: bytes, payload_format: str, drop: str) -> None:
    with pytest.raises(PayloadError, match=drop):
        readings({"topic": "t", "series": "x", "format": payload_format}, payload, topic="t")


def test_topic_level_that_makes_a_series_too_long_is_a_named_drop() -> None:
    with pytest.raises(PayloadError, match="series_name_too_long"):
        readings(GAS, {}, topic=f"gas/{'x' * 80}/state")


JSON_VALUES = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=9), st.lists, max_leaves=5)


@settings(max_examples=60)
@given(st.binary(max_size=60) | JSON_VALUES.map(lambda each: json.dumps(each).encode()))
def test_any_payload_gives_a_valid_batch_or_a_named_drop(payload: bytes) -> None:
    rule = MapRule(topic="+", device="{1}", fields=read_rules([{"topic": "t", "series": "x", "path": "0"}])[0].fields)
    try:
        found = rule.readings("t", payload, now_ms=NOW_MS, is_retained=False)
    except PayloadError:
        return
    assert found
    rows = [[each.series, each.value, each.unit, each.quality, each.captured_at_ms] for each in found]
    ReadingBatch(device="d", rows=rows).check()


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"series": "x"}, "topic = ''"),
        ({"topic": "a/b+", "series": "x"}, "topic = 'a/b"),
        ({"topic": "a/#/b", "series": "x"}, "an MQTT topic filter"),
        ({"topic": "a"}, "neither series nor fields"),
        ({"topic": "a", "fields": []}, "neither series nor fields"),
        ({"topic": "a", "fields": ["x"]}, "field #1: not a table"),
        ({"topic": "a", "fields": [{"path": "x"}]}, "series = ''"),
        ({"topic": "a", "fields": [{"series": "x", "unti": "m"}]}, "unknown key unti"),
        ({"topic": "a", "series": "x", "device": "{1}"}, r"\{1\} is not one of 0"),
        ({"topic": "a", "series": "x", "format": "xml"}, "format = 'xml': allowed: json, msgpack"),
        ({"topic": "a", "series": "x", "time_format": "min"}, "allowed: s, ms, iso"),
        ({"topic": "a", "series": "x", "scale": "2"}, "scale = '2' is not a float"),
        ({"topic": "a", "series": "x", "scale": float("inf")}, "a finite number"),
        ({"topic": "a", "series": "x", "unit": "m" * 25}, "at most 24"),
        ({"topic": 1, "series": "x"}, "topic = 1 is not a str"),
        (7, "not a table"),
    ],
)
def test_wrong_map_is_refused_with_its_key(row: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_rules([row])


def test_all_wrong_maps_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"map #1.*map #2"):
        read_rules([{"topic": "a"}, {"topic": "b", "series": "x", "format": "xml"}])

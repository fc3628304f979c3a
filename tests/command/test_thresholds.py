"""Readings beyond their limit: which alarm each raises, when it is over, and what raises none."""

from edge_agent.command.alarm import Alarm
from edge_agent.command.board import Board
from edge_agent.command.limits import ReadingLimit
from edge_agent.telemetry.payloads import READING_FLOW, ReadingBatch
from tests.command.deliveries import START_MS, Arrivals

LIMITS = (
    ReadingLimit(series="ch4", limit=5.0, life_threat=True),
    ReadingLimit(series="water", limit=4.0),
    ReadingLimit(series="battery", limit=11.0, is_floor=True),
)


class Field:
    """A board, and units that send one value after another, a second apart."""

    def __init__(self) -> None:
        self.board = Board(limits=LIMITS)
        self.now_ms = START_MS
        self._arrivals = Arrivals()

    def read(self, series: str, *values: float | None, unit: str = "kit-7", age_s: int = 0) -> list[Alarm]:
        """One batch of ``values``, a second apart; gives back the alarms that are open after it."""
        self.now_ms += 1000 * len(values)
        first_ms = self.now_ms - 1000 * (len(values) - 1) - age_s * 1000
        rows = [[series, value, "u", "good", first_ms + 1000 * n] for n, value in enumerate(values)]
        batch = ReadingBatch(device="d", rows=rows)
        self.board.apply(self._arrivals.of(READING_FLOW, batch, self.now_ms, source=unit))
        return [alarm for alarm in self.board.alarms if alarm.is_open]

    def codes(self) -> list[str]:
        """Events so far, without the first report of each unit."""
        return [event["code"] for event in self.board.events if event["code"] != "joined"]


def test_an_alarm_is_over_when_a_person_has_taken_it() -> None:
    """Rank 4: raised once at the limit, not again while the value stays beyond; a floor counts the other way."""
    field = Field()
    assert field.read("water", 3.9) == []
    [alarm] = field.read("water", 4.0)
    assert (alarm.kind, alarm.text, alarm.raised_ms, alarm.via) == ("alarm", "water 4 u", field.now_ms, ["radio"])
    assert field.read("water", 4.4, 5.0) == [alarm]
    assert field.codes() == ["alarm"]
    assert alarm.confirm("王敏", field.now_ms)
    assert field.read("water", 4.6) == []
    [second] = field.read("battery", 10.9)
    assert second.text == "battery 10.9 u"


def test_a_threat_is_over_when_it_was_taken_and_the_value_is_back() -> None:
    """Either may come first; until then it stays, and says that the value is back."""
    field = Field()
    [alarm] = field.read("ch4", 5.6)
    assert alarm.kind == "threat"
    assert alarm.confirm("王敏", field.now_ms)
    assert field.read("ch4", 5.7) == [alarm]
    assert field.read("ch4", 1.0) == []
    assert alarm.cleared_ms == field.now_ms
    [alarm] = field.read("ch4", 6.0)
    assert field.read("ch4", 1.0) == [alarm]
    assert (alarm.back_ms, alarm.to_json()["back_ms"]) == (field.now_ms, field.now_ms)
    assert field.read("ch4", 7.0) == [alarm]  # not over, so it is the same one
    assert (alarm.back_ms, alarm.text) == (None, "ch4 7 u")
    field.read("ch4", 1.0)
    again = Alarm.from_document(alarm.to_document())
    assert again.confirm("王敏", field.now_ms + 1)
    assert not again.is_open


def test_a_value_that_trembles_about_its_limit_is_one_alarm() -> None:
    """It is back only when it is clearly within; a missing value tells nothing."""
    field = Field()
    [alarm] = field.read("water", 4.1, 3.95, 4.1, 3.9, 4.05, None, 4.2)
    assert alarm.confirm("王敏", field.now_ms)
    assert field.read("water", 3.95, 4.1, None, 4.3) == []
    assert field.read("water", 3.7, 4.1) != []
    assert field.codes() == ["alarm", "alarm"]


def test_a_peak_inside_a_batch_counts_and_history_does_not() -> None:
    """What passed between two reports was beyond all the same; what comes in late is past, and nobody can act on it."""
    field = Field()
    [alarm] = field.read("ch4", 1.0, 6.0, 2.0)
    assert alarm.text == "ch4 6 u"
    assert alarm.back_ms is not None
    alarm.confirm("王敏", field.now_ms)
    assert field.read("ch4", 9.0, age_s=600) == []
    assert field.read("unknown", 1e9) == []


def test_three_units_beyond_within_a_minute_are_one_alarm() -> None:
    """One gas cloud, one sound; it is over when it was taken and all of their values are back."""
    field = Field()
    field.read("ch4", 6.0, unit="kit-1")
    assert len(field.read("ch4", 6.0, unit="kit-2")) == 2
    [group] = field.read("ch4", 6.0, unit="kit-3")
    assert (sorted(group.units), group.text) == (["kit-1", "kit-2", "kit-3"], "ch4")
    assert len(field.read("water", 9.0, unit="kit-4")) == 2  # another series has another cause
    group.confirm("王敏", field.now_ms)
    for unit in ("kit-1", "kit-2"):
        field.read("ch4", 1.0, unit=unit)
        assert group.is_open
    field.read("ch4", 1.0, unit="kit-3")
    assert not group.is_open


def test_a_limit_that_was_taken_away_ends_its_threat() -> None:
    """After a restart with another configuration nothing stays open that no value can end."""
    field = Field()
    field.read("ch4", 6.0)
    documents = {key: content for key, content in field.board.take_changes().items() if content is not None}
    field.board = Board()
    field.board.load(documents)
    [alarm] = field.read("ch4", 6.0)
    assert alarm.back_ms == field.now_ms
    alarm.confirm("王敏", field.now_ms)
    assert not alarm.is_open

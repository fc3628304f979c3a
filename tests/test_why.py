"""``why`` in both languages: what carries a bundle, what refuses it, its place and its time; what became of it."""

from collections.abc import Mapping
from datetime import datetime

import pytest

from edge_agent.core.bundle import BundleHeader, BundleId, Precedence
from edge_agent.core.effects import LinkState, QueueKey
from edge_agent.core.report import Explanation, LinkReport, LinkVerdict, NodeReport, Obstacle, QueueReport
from edge_agent.disk.types import Fate, FateState
from edge_agent.fates import state_of
from edge_agent.talk import language_of
from edge_agent.why import Why, find_why, why_message
from edge_agent.why_words import LANGUAGES, Speaker

BUNDLE = BundleId("kit-1", 7, Precedence.ROUTINE, 40)
NOW_MS = round(datetime(2026, 5, 12, 14, 0).astimezone().timestamp() * 1000)
RADIO = LinkVerdict(link="radio", peer="command", obstacle=Obstacle.NONE, rate_bps=9_600.0)
DEAD_4G = LinkVerdict(link="4g", peer="command", obstacle=Obstacle.DOWN)


def fate(state: FateState = FateState.ACCEPTED, **known: object) -> Fate:
    header = BundleHeader(destination="command", flow="picture")
    return Fate(bundle=BUNDLE, header=header, payload_bytes=12_000, state=state, **known)  # type: ignore[arg-type]  # the fields of one test


def report(*queues: QueueReport, states: Mapping[str, LinkState] | None = None) -> NodeReport:
    known = states or {"radio": LinkState.UP, "4g": LinkState.DOWN}
    links = tuple(
        LinkReport(link=name, peer="command", state=state, reason="no answer", since_s=0, last_heard_s=None)
        for name, state in known.items()
    )
    return NodeReport(links=links, queues=queues, last_heard_s={}, peer_roles={"command": "command"}, counters={})


def queue(precedence: Precedence, flow: str, bundles: int, payload_bytes: int) -> QueueReport:
    key = QueueKey("command", precedence, "kit-1", flow)
    return QueueReport(queue=key, bundles=bundles, payload_bytes=payload_bytes, oldest_age_s=1.0)


def explanation(*links: LinkVerdict, ahead: int = 0, is_exact: bool = True, **more: object) -> Explanation:
    known: dict[str, object] = {"ahead_bytes": 0, "expected_s": None, "arrived_bytes": 0, "stored_bytes": 0, **more}
    return Explanation(
        bundle=BUNDLE, payload_bytes=12_000, links=links, ahead_bundles=ahead, is_exact=is_exact, **known  # type: ignore[arg-type]  # as above
    )  # fmt: skip


def why(
    explained: Explanation | None = None, place: int | None = None, known: NodeReport | None = None, **of_fate: object
) -> Why:
    found = fate(**of_fate)  # type: ignore[arg-type]  # as above
    return find_why(
        found,
        state_of(found),
        known or report(),
        node_id="kit-1",
        explanation=explained,
        place=place,
        reasons={},
    )


def say(found: Why, now_ms: int = NOW_MS) -> tuple[str, str]:
    english, chinese = (Speaker(language=language, now_ms=now_ms).sentence(found) for language in LANGUAGES)
    return english, chinese


def test_the_sentence_of_the_design_with_the_links_that_refuse() -> None:
    explained = explanation(RADIO, DEAD_4G, ahead=2, expected_s=20 * 60.0)
    assert say(why(explained, known=report(queue(Precedence.FLASH, "sos", 2, 400)))) == (
        "waiting: only radio left (9.6 kbit/s), 2 SOS ahead, expected 14:20; 4g is down (no answer)",
        "等待中:只剩电台(9.6 kbit/s),前面有 2 条求救,预计 14:20 送出;4G断(无应答)",
    )


@pytest.mark.parametrize(
    ("verdict", "english", "chinese"),
    [
        (
            LinkVerdict(link="vsat", peer="command", obstacle=Obstacle.NOT_ALLOWED),
            "vsat does not carry ROUTINE",
            "卫星不发平急",
        ),
        (
            LinkVerdict(link="sms", peer="", obstacle=Obstacle.UNDESCRIBED),
            "sms carries no ROUTINE until its cost is told",
            "短信资费未说明,不发平急",
        ),
        (
            LinkVerdict(link="vsat", peer="command", obstacle=Obstacle.BUDGET, wait_s=3 * 3600.0),
            "vsat has used up its bytes of the day (another 3 h)",
            "卫星今日流量已用完(还要 3 小时)",
        ),
        (LinkVerdict(link="new", peer="", obstacle=Obstacle.DOWN), "new has heard nobody yet", "new还没有接通"),
        (
            LinkVerdict(link="4g", peer="kit-2", obstacle=Obstacle.OTHER_NODE),
            "4g leads to another post than the one it is begun to",
            "4G通往别处,已开始发往另一处",
        ),
        (
            LinkVerdict(link="4g", peer="command", obstacle=Obstacle.REFUSED, wait_s=30.0),
            "command does not take it (another 30 s)",
            "指挥部暂时不收(还要 30 秒)",
        ),
        (
            LinkVerdict(link="4g", peer="kit-2", obstacle=Obstacle.PEER_FULL),
            "kit-2 takes no more for now",
            "kit-2暂时收不下",
        ),
        (
            LinkVerdict(link="4g", peer="command", obstacle=Obstacle.IN_DOUBT),
            "4g has not answered for a moment",
            "4G一时无应答",
        ),
    ],
)  # fmt: skip
def test_every_refusal_has_words_in_both_languages(verdict: LinkVerdict, english: str, chinese: str) -> None:
    told = say(why(explanation(RADIO, verdict)))
    assert told[0].endswith(f"next to go; {english}")
    assert told[1].endswith(f"下一条就发;{chinese}")


def test_no_obstacle_is_left_without_words() -> None:
    for obstacle in Obstacle:
        english, chinese = say(why(explanation(LinkVerdict(link="4g", peer="command", obstacle=obstacle))))
        assert english.startswith("waiting: ")
        assert chinese.startswith("等待中:")


def test_without_a_link_there_is_no_time_but_each_reason() -> None:
    assert say(why(explanation(DEAD_4G, ahead=5))) == (
        "waiting: no link is up, 5 ahead; 4g is down (no answer)",
        "等待中:没有一条链路通,前面有 5 条;4G断(无应答)",
    )
    assert say(why(explanation())) == ("waiting: no link leads there", "等待中:没有通往那里的链路")


def test_a_bundle_under_way_says_how_much_is_there_and_seconds_where_they_matter() -> None:
    explained = explanation(RADIO, arrived_bytes=3_000, expected_s=7.5)
    assert say(why(explained)) == (
        "waiting: by radio (9.6 kbit/s), being sent, 3 kB of 12 kB are there, expected in 8 s",
        "等待中:经电台(9.6 kbit/s),正在发,已到 3 kB/12 kB,预计 8 秒后送出",
    )


def test_a_node_whose_clock_is_wrong_names_no_time_of_day() -> None:
    told = say(why(explanation(RADIO, ahead=1, expected_s=1_200.0)), now_ms=86_400_000)
    assert told[0].endswith("1 ahead, expected in 20 min")
    assert told[1].endswith("前面有 1 条,预计 20 分钟后送出")


def test_a_row_only_has_its_counted_place_and_the_time_that_belongs_to_it() -> None:
    """The node can only say "behind all of its queue"; the index says behind 9 of 1,000."""
    queues = (queue(Precedence.FLASH, "sos", 2, 0), queue(Precedence.ROUTINE, "picture", 1_000, 1_000_000))
    explained = explanation(RADIO, ahead=1_001, is_exact=False, ahead_bytes=1_000_000, expected_s=1_000.0)
    waiting = why(explained, place=9, known=report(*queues)).waiting
    assert waiting is not None
    assert (waiting.ahead, waiting.ahead_sos, waiting.is_exact) == (11, 2, True)
    assert waiting.expected_s == pytest.approx(10.0)


def test_what_became_of_a_closed_bundle_with_who_and_when() -> None:
    at_ms = NOW_MS - 60_000
    cases = {
        ("forwarded", "forwarded_ms"): (
            "13:59: forwarded to command by radio, not yet delivered",
            "13:59 已转交指挥部(经电台),尚未送达",
        ),
        ("delivered", "delivered_ms"): ("13:59: delivered by radio", "13:59 已送达(经电台)"),
        ("read", "read_ms"): ("13:59: read (Chen)", "13:59 已阅(Chen)"),
        ("done", "done_ms"): ("13:59: done (Chen)", "13:59 已办结(Chen)"),
        ("expired", "closed_ms"): ("13:59: expired before it was delivered", "13:59 已过期,未送达"),
        ("superseded", "closed_ms"): ("13:59: replaced by a newer one", "13:59 已被更新替代"),
        ("cancelled", "closed_ms"): ("13:59: cancelled: Chen", "13:59 已撤销:Chen"),
        ("evicted", "closed_ms"): (
            "13:59: given up: the store was full and this was the least urgent",
            "13:59 已放弃:存储满,它最不急",
        ),
        ("refused", "closed_ms"): ("13:59: refused: Chen", "13:59 被拒收:Chen"),
    }
    for (state, column), told in cases.items():
        found = why(state=FateState(state), peer="command", via=("radio",), detail="Chen", **{column: at_ms})
        assert say(found) == told
    assert say(why(state=FateState.DELIVERED, delivered_ms=at_ms)) == ("13:59: delivered here", "13:59 已送达本机")
    yesterday = why(state=FateState.EXPIRED, closed_ms=at_ms - 86_400_000)
    assert say(yesterday)[1] == "05-11 13:59 已过期,未送达"


def test_the_message_for_programs_is_plain_data() -> None:
    message = why_message(why(explanation(RADIO, DEAD_4G, ahead=2)), "words")
    assert (message["sentence"], message["state"], message["precedence"]) == ("words", "accepted", "routine")
    assert message["waiting"]["links"][1]["obstacle"] == "down"
    assert message["waiting"]["links"][0]["may"] is True


def test_the_shell_chooses_the_language() -> None:
    assert language_of({"LANG": "zh_CN.UTF-8"}) == "zh"
    assert language_of({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}) == "en"
    assert language_of({"LC_ALL": "", "LANG": "zh_TW"}) == "zh"
    assert language_of({}) == "en"

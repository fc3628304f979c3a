"""Two levels with two posts each: killing any one loses and hides nothing, and doubles nothing once they have met."""

import math
import random

import pytest

from edge_agent.core import posts as core_posts
from edge_agent.core.bundle import COMMAND, BundleHeader, BundleId, Origin, Precedence
from edge_agent.core.effects import Transmit
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.post_words import HAVE_FLOW, HaveWord, act_incarnation, may_be_act
from edge_agent.core.posts import Arrived, PostExchange
from edge_agent.core.report import NodeSettings
from edge_agent.core.withheld import WITHHOLD_S, Withheld
from link_sim.link.link_profile import LinkProfile
from link_sim.nodes.seat import Seat
from link_sim.nodes.world import World
from tests.core.several_posts import Posts

COUNTY = {"county-1": "county", "county-2": "county"}
LEVELS = {**COUNTY, "city-1": "city", "city-2": "city"}
THIN = LinkProfile(rate_bps=64_000.0, delay_s=0.1)
BACKHAUL = LinkProfile(rate_bps=10e6, delay_s=0.02)
KITS = ("kit-1", "kit-2")
MET_S = 5.0
"""By then all have met."""


def posts_and_kits(
    seed: int, levels: dict[str, str], *, kits: tuple[str, ...] = KITS, has_other_posts: bool = True
) -> tuple[World, Posts]:
    """Kits on a thin link to each post, posts joined with each other by links named NEAR-FAR, all met."""
    posts = Posts(levels)
    world = World(seed, watch=posts)
    for name in levels:
        world.add_node(NodeSettings(node_id=name, role=COMMAND, has_other_posts=has_other_posts))
    for name in kits:
        world.add_node(NodeSettings(node_id=name))
        for post in levels:
            world.connect(f"to-{post}", name, post, THIN, listener_link="kits")
    for near, far in pairs(levels):
        world.connect(f"{near}-{far}", near, far, BACKHAUL, listener_link="posts")
    world.run_until(MET_S)
    return world, posts


def pairs(levels: dict[str, str]) -> list[tuple[str, str]]:
    names = list(levels)
    return [(near, far) for at, near in enumerate(names) for far in names[at + 1 :]]


def send(world: World, kit: str, rng: random.Random, precedence: Precedence | None = None) -> BundleId:
    header = BundleHeader(destination=COMMAND, flow="text", origin=Origin.PERSON)
    chosen = rng.choice(list(Precedence)) if precedence is None else precedence
    return world.submit(kit, header, chosen, rng.randbytes(rng.randrange(1, 400)))


def send_from(world: World, rng: random.Random, *, count: int, every_s: float) -> list[BundleId]:
    """Kits by turns; the list fills as time passes."""
    sent: list[BundleId] = []
    for at in range(count):
        world.at(MET_S + at * every_s, lambda kit=KITS[at % 2]: sent.append(send(world, kit, rng)))  # type: ignore[misc]
    return sent


def hidden(posts: Posts, sent: list[BundleId], *, but: str = "") -> dict[str, set[BundleId]]:
    """By post what it lacks; raises where one was shown twice, or was never sent."""
    found = {}
    for name in posts.levels:
        shown = posts.shown(name)
        assert set(shown) <= set(sent), name
        assert max(shown.values(), default=1) == 1, f"{name} shows one twice"
        if name != but and set(sent) - set(shown):
            found[name] = set(sent) - set(shown)
    return found


def test_each_post_shows_all_and_the_kit_sends_it_once() -> None:
    world, posts = posts_and_kits(1, LEVELS)
    rng = random.Random(1)
    sent = [send(world, kit, rng) for _ in range(10) for kit in KITS]
    world.run_until(60)
    assert not hidden(posts, sent)
    by_link = [each for each in world.deliveries if each.bundle in set(sent) and each.via]
    assert len(by_link) == len(sent), "one post has it from the kit, the others over the backhaul"
    assert sum(posts.copies.values()) == 3 * len(sent), "and each copy left once"
    world.audit()


def test_one_post_of_each_other_level_answers() -> None:
    world, posts = posts_and_kits(2, LEVELS)
    sent = [send(world, "kit-1", random.Random(2)) for _ in range(20)]
    world.run_until(60)
    for bundle in sent:
        first = next(each.node for each in world.deliveries if each.bundle == bundle and each.via)
        others = set(LEVELS.values()) - {LEVELS[first]}
        assert {level: posts.answering[bundle, level] for level in LEVELS.values()} == {
            LEVELS[first]: 0,
            **dict.fromkeys(others, 1),
        }


def test_both_copies_of_a_call_for_help_go_to_one_post() -> None:
    sent_to: list[str] = []

    class Tapped(Posts):
        def transmitted(self, seat: Seat, transmit: Transmit) -> None:
            if seat.settings.node_id == "kit-1" and len(transmit.frame) > 300:
                sent_to.append(transmit.link)

    posts = Tapped(COUNTY)
    world = World(3, watch=posts)
    for name in COUNTY:
        world.add_node(NodeSettings(node_id=name, role=COMMAND, has_other_posts=True))
    world.add_node(NodeSettings(node_id="kit-1"))
    for post in COUNTY:
        for way in ("a", "b"):
            world.connect(f"{post}/{way}", "kit-1", post, THIN, listener_link=f"kits-{way}")
    world.connect("county-1-county-2", "county-1", "county-2", BACKHAUL, listener_link="posts")
    world.run_until(MET_S)
    header = BundleHeader(destination=COMMAND, flow="sos", origin=Origin.PERSON)
    sos = world.submit("kit-1", header, Precedence.FLASH, bytes(350))
    world.run_until(MET_S + 10)
    assert len(sent_to) == 2
    assert len({link.partition("/")[0] for link in sent_to}) == 1
    assert not hidden(posts, [sos])


def one_dies(seed: int, victim: str) -> tuple[World, Posts, list[BundleId]]:
    """One post dies at any moment, for good: a minute after the last bundle."""
    world, posts = posts_and_kits(seed, LEVELS)
    rng = random.Random(f"{seed} {victim}")
    sent = send_from(world, rng, count=40, every_s=0.25)
    world.at(MET_S + rng.uniform(0, 12), lambda: world.crash(victim))
    world.run_until(75)
    return world, posts, sent


def check_one_dies(seed: int, victim: str) -> None:
    world, posts, sent = one_dies(seed, victim)
    assert len(sent) == 40
    assert not hidden(posts, sent, but=victim), "the others show all without it"
    world.restart(victim)
    world.run_until(110)
    assert not hidden(posts, sent), "and so does it once it has met them"
    world.audit()


@pytest.mark.slow
@pytest.mark.parametrize("victim", LEVELS)
def test_one_post_that_dies_for_good_hides_nothing(victim: str) -> None:
    check_one_dies(1, victim)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
@pytest.mark.parametrize("victim", LEVELS)
def test_one_post_that_dies_for_good_hides_nothing_at_many_moments(seed: int, victim: str) -> None:
    check_one_dies(seed, victim)


def cut_off(world: World, near: str, far: str, *, is_cut: bool) -> None:
    link = f"{near}-{far}"
    (world.cut if is_cut else world.mend)(link, node=near)


def check_partitions(seed: int) -> None:
    """Posts part and meet, kits lose sight of posts, and posts die and come back: all at once, then all is well."""
    world, posts = posts_and_kits(seed, LEVELS)
    rng = random.Random(seed)
    sent = send_from(world, rng, count=60, every_s=0.5)
    for _ in range(8):
        start_s, lasts_s = MET_S + rng.uniform(0, 25), rng.uniform(0.5, 25)
        near, far = rng.choice(pairs(LEVELS))
        world.at(start_s, lambda near=near, far=far: cut_off(world, near, far, is_cut=True))  # type: ignore[misc]
        kit, link = rng.choice(KITS), f"to-{rng.choice(list(LEVELS))}"
        world.at(start_s, lambda kit=kit, link=link: world.cut(link, node=kit))  # type: ignore[misc]
        world.at(start_s + lasts_s, lambda kit=kit, link=link: world.mend(link, node=kit))  # type: ignore[misc]
    for at in range(3):
        victim, start_s = rng.choice(list(LEVELS)), MET_S + 12 * at + rng.uniform(0, 4)
        world.at(start_s, lambda victim=victim: world.crash(victim))  # type: ignore[misc]
        world.at(start_s + rng.uniform(0.1, 7), lambda victim=victim: world.restart(victim))  # type: ignore[misc]
    for near, far in pairs(LEVELS):
        world.at(56, lambda near=near, far=far: cut_off(world, near, far, is_cut=False))  # type: ignore[misc]
    for kit in KITS:
        for post in LEVELS:
            world.at(56, lambda kit=kit, post=post: world.mend(f"to-{post}", node=kit))  # type: ignore[misc]
    world.run_until(160)
    assert len(sent) == 60
    assert not hidden(posts, sent)
    world.audit()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_parted_posts_show_all_once_when_they_have_met(seed: int) -> None:
    check_partitions(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_parted_posts_show_all_once_when_they_have_met_however_they_parted(seed: int) -> None:
    check_partitions(seed)


def test_with_all_other_posts_away_a_kit_is_soon_rid_of_its_bundles() -> None:
    world, _ = posts_and_kits(4, COUNTY)
    world.cut("county-1-county-2", node="county-1")
    rng = random.Random(4)
    send(world, "kit-1", rng)
    world.run_until(MET_S + 20)
    send(world, "kit-1", rng)
    world.run_until(world.now_s + 1.5)
    assert not world.disk("kit-1").waiting(), "nobody is waited for who is known to be away"


def test_a_post_that_takes_no_copies_holds_a_kit_up_for_a_moment_only() -> None:
    world, _ = posts_and_kits(5, COUNTY)
    world.cut("county-1-county-2", node="county-1")
    send(world, "kit-1", random.Random(5))
    world.run_until(world.now_s + 1.0)
    assert world.disk("kit-1").waiting(), "one post has it, and believes the other one to be there"
    world.run_until(world.now_s + WITHHOLD_S + 1.5)
    assert not world.disk("kit-1").waiting()


def shared_by_turns(*, has_other_posts: bool) -> dict[str, set[BundleId]]:
    """One kit gives its bundles to two parted posts by turns, until each has more holes than it likes to keep."""
    world, posts = posts_and_kits(6, COUNTY, kits=("kit-1",), has_other_posts=has_other_posts)
    world.cut("county-1-county-2", node="county-1")
    rng = random.Random(6)
    sent: list[BundleId] = []
    for at in range(300):
        far = "to-county-2" if at % 2 else "to-county-1"
        world.unplug(far, "kit-1")
        world.run_until(world.now_s + 0.05)
        sent.append(send(world, "kit-1", rng, Precedence.PRIORITY))
        world.run_until(world.now_s + 0.5)
        world.plug(far, "kit-1")
        world.run_until(world.now_s + 0.5)
    world.mend("county-1-county-2", node="county-1")
    world.run_until(world.now_s + 60)
    return hidden(posts, sent)


def test_numbers_that_another_post_took_are_not_believed_closed() -> None:
    assert not shared_by_turns(has_other_posts=True)


def taken_by_one(seed: int) -> tuple[World, Posts, BundleId, str]:
    """A bundle at one post, which reaches no other one just now and does not know it yet; and the name of that post."""
    world, posts = posts_and_kits(seed, LEVELS)
    for near, far in pairs(LEVELS):
        cut_off(world, near, far, is_cut=True)
    bundle = send(world, "kit-1", random.Random(seed), Precedence.PRIORITY)
    while not any(posts.shown(name) for name in LEVELS):
        world.run_until(world.now_s + 0.01)
    world.run_until(world.now_s + 1.0)
    (taker,) = (name for name in LEVELS if posts.shown(name))
    return world, posts, bundle, taker


def dies_before_it_copied(seed: int) -> dict[str, set[BundleId]]:
    world, posts, bundle, taker = taken_by_one(seed)
    world.crash(taker)
    for near, far in pairs(LEVELS):
        cut_off(world, near, far, is_cut=False)
    world.run_until(world.now_s + 60)
    return hidden(posts, [bundle], but=taker)


def test_a_post_that_dies_before_it_copied_hides_nothing() -> None:
    assert not dies_before_it_copied(7)


def test_custody_at_once_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: the kit is told at once, and gives the bundle up."""
    monkeypatch.setattr(Withheld, "turn", lambda self, now_s, *, is_on: None)
    assert len(dies_before_it_copied(7)) == 3


def dies_half_way(seed: int) -> dict[str, set[BundleId]]:
    """It dies when one other post has its copy."""
    world, posts, bundle, taker = taken_by_one(seed)
    other = next(name for name in LEVELS if name != taker)
    (near, far) = next(each for each in pairs(LEVELS) if set(each) == {taker, other})
    cut_off(world, near, far, is_cut=False)
    while not posts.shown(other):
        world.run_until(world.now_s + 0.05)
    world.crash(taker)
    for each in pairs(LEVELS):
        cut_off(world, *each, is_cut=False)
    world.run_until(world.now_s + 60)
    assert not world.disk("kit-1").waiting()
    return hidden(posts, [bundle], but=taker)


def test_a_post_that_dies_half_way_hides_nothing() -> None:
    assert not dies_half_way(8)


def test_copies_that_nobody_takes_on_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above: who holds a copy leaves the rest to the giver."""
    monkeypatch.setattr(core_posts, "COPY_WAIT_S", math.inf)
    assert len(dies_half_way(8)) == 2


def test_closed_numbers_that_are_believed_would_be_found() -> None:
    """The planted fault: a post asks for the holes in its numbers, as one that is alone does."""
    assert shared_by_turns(has_other_posts=False)


def test_posts_that_flap_say_all_they_have_once_in_a_while() -> None:
    """Not at each meeting: it may be the numbers of hundreds of kits."""
    world, posts = posts_and_kits(9, COUNTY)
    rng = random.Random(9)
    sent = []
    before = len(whole_words(world))
    for _ in range(20):
        world.unplug("county-1-county-2", "county-1")
        sent.append(send(world, "kit-1", rng))
        world.run_until(world.now_s + 0.7)
        world.plug("county-1-county-2", "county-1")
        world.run_until(world.now_s + 0.8)
    assert len(whole_words(world)) - before <= 2 * (1 + 30 / core_posts.ASK_WAIT_S)
    world.run_until(world.now_s + 30)
    assert not hidden(posts, sent)


def whole_words(world: World) -> list[BundleId]:
    words = [each for each in world.deliveries if each.record.header.flow == HAVE_FLOW]
    return [each.bundle for each in words if HaveWord.unpack(each.payload or b"").is_whole]


def test_a_post_that_does_not_answer_is_asked_ever_more_seldom() -> None:
    """Such as an older program: it gets no copies, and nobody waits for it."""
    exchange = PostExchange("county", ["city-1"], dict)
    asked = []
    for second in range(3600):
        exchange.see({"city-1"}, float(second))
        asked += [second for _ in exchange.words(float(second))]
    assert asked[:4] == [0, 10, 30, 70]
    assert len(asked) < 15
    assert not exchange.is_shared
    assert exchange.wants_rows("city-1") is None
    assert not exchange.take_word("stranger", HaveWord(level="", is_whole=True, asks=False, numbers={}), 0.0)


def test_an_urgent_copy_goes_before_older_ones() -> None:
    exchange = PostExchange("county", ["city-1"], dict)
    exchange.see({"city-1"}, 0.0)
    exchange.take_word("city-1", HaveWord(level="city", is_whole=True, asks=False, numbers={}), 0.0)
    names = [BundleId("kit-1", 1, precedence, 1) for precedence in reversed(Precedence)]
    exchange.offer("city-1", [Arrived(at + 1, name, "", 0.0) for at, name in enumerate(names)], len(names))
    due = exchange.due(0.0)
    assert [each.bundle.precedence for each in due] == list(Precedence)
    assert exchange.due(0.0) == [], "each is given once"
    exchange.failed(due[0])
    assert [each.bundle for each in exchange.due(0.0)] == [due[0].bundle], "until it failed"
    assert exchange.cursor("city-1") == 0
    for each in due[1:]:
        exchange.copied(each)
    assert exchange.cursor("city-1") == len(names) - 1, "the urgent one came last"


def test_a_copy_given_up_for_room_is_made_again_unless_it_came_another_way() -> None:
    exchange = PostExchange("county", ["city-1"], dict)
    exchange.see({"city-1"}, 0.0)
    exchange.take_word("city-1", HaveWord(level="city", is_whole=True, asks=False, numbers={}), 0.0)
    names = [BundleId("kit-1", 1, Precedence.ROUTINE, at) for at in range(2)]
    exchange.offer("city-1", [Arrived(at + 1, name, "", 0.0) for at, name in enumerate(names)], 2)
    for due in exchange.due(0.0):
        exchange.copied(due)
        exchange.lost(due, 1.0)
    assert exchange.cursor("city-1") == 0
    assert exchange.due(2.0) == [], "a full store is not filled again at once"
    numbers = {names[0][:3]: IntervalSet([(0, 1)])}
    exchange.take_word("city-1", HaveWord(level="city", is_whole=False, asks=False, numbers=numbers), 3.0)
    assert [each.bundle for each in exchange.due(1.0 + core_posts.COPY_WAIT_S)] == names[1:]
    assert exchange.safe() == names[:1]


COUNTY_ONLY = BundleHeader(destination=COMMAND, flow="text", origin=Origin.PERSON, levels=("county",))


def holders(posts: Posts, bundle: BundleId) -> set[str]:
    return {name for name in posts.levels if posts.shown(name)[bundle]}


def shown_to_people(posts: Posts, name: str, bundle: BundleId) -> bool:
    position = posts.durable[name].rows.index(bundle) + 1
    return posts.processes[name].exchange.shows(bundle, position, COUNTY_ONLY.levels)


def test_what_is_for_one_level_is_copied_to_no_other_one() -> None:
    """And whoever of the other level took it from the kit passes it on and leaves the answer to that level."""
    world, posts = posts_and_kits(11, LEVELS)
    for post in COUNTY:
        world.cut(f"to-{post}", node="kit-1")
    world.run_until(world.now_s + 30)
    bundle = world.submit("kit-1", COUNTY_ONLY, Precedence.PRIORITY, b"for the county")
    world.run_until(world.now_s + 30)
    taker = next(each.node for each in world.deliveries if each.bundle == bundle and each.via)
    assert LEVELS[taker] == "city", "by whatever link there is"
    assert holders(posts, bundle) == {*COUNTY, taker}
    assert not shown_to_people(posts, taker, bundle)
    assert all(shown_to_people(posts, name, bundle) for name in COUNTY)
    assert posts.answering[bundle, "county"] == 1
    assert posts.answering[bundle, "city"] == 0


def test_what_is_for_a_level_that_is_away_is_shown_by_who_took_it_until_that_level_is_back() -> None:
    world, posts = posts_and_kits(12, LEVELS)
    for post in COUNTY:
        world.crash(post)
    world.run_until(world.now_s + 60)
    bundle = world.submit("kit-1", COUNTY_ONLY, Precedence.PRIORITY, b"for the county")
    world.run_until(world.now_s + 2)
    (taker,) = holders(posts, bundle)
    assert shown_to_people(posts, taker, bundle)
    assert not world.disk("kit-1").waiting(), "the other city post wants no copy: nobody is waited for"
    for post in COUNTY:
        world.restart(post)
    world.run_until(world.now_s + 30)
    assert holders(posts, bundle) == {*COUNTY, taker}
    assert not shown_to_people(posts, taker, bundle)
    world.crash(taker)
    for near, far in pairs(LEVELS):
        cut_off(world, near, far, is_cut=True)
    world.restart(taker)
    world.run_until(world.now_s + 1)
    assert not shown_to_people(posts, taker, bundle), "nor by a new start that has met nobody yet"


def test_levels_that_no_post_is_of_are_known_to_be_unknown() -> None:
    exchange = PostExchange("county", ["city-1"], dict)
    assert exchange.knows(("province",)), "a post that was not met may be of any level"
    exchange.take_word("city-1", HaveWord(level="city", is_whole=True, asks=False, numbers={}), 0.0)
    assert not exchange.knows(("province",))
    assert exchange.knows(("city", "province"))
    assert exchange.knows(("county",))


def test_posts_tell_each_other_the_acts_they_have_and_no_other_bundles_of_posts() -> None:
    """So a third post brings on what people did at one that is gone, and nobody is told of words between two posts."""
    acts = ("city-1", act_incarnation(7), Precedence.IMMEDIATE)
    words = ("city-1", 7, Precedence.IMMEDIATE)
    own = {key: IntervalSet([(0, 3)]) for key in (acts, words)}
    exchange = PostExchange("county", ["city-1", "city-2"], lambda: own)
    exchange.see({"city-2"}, 0.0)
    [(_, word)] = exchange.words(0.0)
    assert set(word.numbers) == {acts}
    exchange.take_word("city-2", HaveWord(level="city", is_whole=True, asks=False, numbers={}), 0.0)
    exchange.offer("city-2", [Arrived(1, BundleId(*acts, 2), "city-1", 0.0)], 1)
    assert [each.bundle for each in exchange.due(core_posts.COPY_WAIT_S)] == [BundleId(*acts, 2)]


@pytest.mark.parametrize("incarnation", [0, 1, 0xAC7, 1 << 63, (1 << 64) - 1, act_incarnation(5)])
def test_acts_are_numbered_apart_from_what_their_post_sends(incarnation: int) -> None:
    named = act_incarnation(incarnation)
    assert 0 <= named < 1 << 64
    assert named != incarnation
    assert may_be_act(("city-1", named, Precedence.IMMEDIATE))

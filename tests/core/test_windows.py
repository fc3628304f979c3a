"""Windows of waiting bundles: what comes with their records is used, and nothing is asked for twice."""

from edge_agent.core.effects import EraseReason, Fetch, LoadWindow, Persist
from tests.core.test_delivery import arrived, cut, two_nodes


def test_a_backlog_of_readings_leaves_without_one_fetch() -> None:
    """Their payloads come with the window; a longer one is fetched when its turn comes."""
    bench = two_nodes()
    cut(bench)
    kit = bench.places["kit-1"]
    payloads = [bytes([number]) * 100 for number in range(30)]
    for payload in payloads:
        bench.submit("kit-1", payload)
    bench.submit("kit-1", bytes(1_500))
    bench.crash("kit-1")
    kit.effects.clear()
    bench.passes = lambda flight: True
    bench.start("kit-1")
    bench.run(5)
    assert sorted(each or b"" for each in arrived(bench)) == sorted([*payloads, bytes(1_500)])
    assert any(isinstance(effect, LoadWindow) for effect in kit.effects)
    assert [effect.length for effect in kit.effects if isinstance(effect, Fetch)] == [1_500]


def test_the_end_of_custody_names_who_took_it_and_over_what() -> None:
    """So that the store writes one row, and needs no second word for it."""
    bench = two_nodes("a")
    bundle = bench.submit("kit-1", b"reading")
    bench.run(2)
    (erase,) = [effect for effect in bench.places["kit-1"].effects if getattr(effect, "bundles", ()) == (bundle,)]
    assert erase[2:] == (EraseReason.FORWARDED, "command", ("a",))


def test_a_window_that_brings_a_bundle_before_the_word_of_its_commit_brings_it_once() -> None:
    """The reader may be quicker than the writer; two of it in memory would end with bytes that nobody sends."""
    bench = two_nodes()
    cut(bench)
    kit = bench.places["kit-1"]
    bench.submit("kit-1", b"before")
    bench.crash("kit-1")
    bench.disk_works = lambda place, effect: not isinstance(effect, LoadWindow | Persist)
    kit.effects.clear()
    bench.start("kit-1")
    bundle = bench.submit("kit-1", b"after")
    (load,) = [effect for effect in kit.effects if isinstance(effect, LoadWindow)]
    (persist,) = [effect for effect in kit.effects if isinstance(effect, Persist)]
    outcome = kit.disk.execute(persist)
    kit.running.complete(load.effect_id, kit.disk.execute(load), bench.now_s)
    held = kit.running.custody.bundles[bundle]
    kit.running.complete(persist.effect_id, outcome, bench.now_s)
    assert kit.running.custody.bundles[bundle] is held
    (queue,) = kit.running.report(bench.now_s).queues
    assert queue.bundles == 2
    bench.disk_works = lambda place, effect: True
    bench.passes = lambda flight: True
    bench.pump(kit)
    bench.run(10)
    assert arrived(bench) == [b"before", b"after"]
    assert kit.running.report(bench.now_s).queues == ()

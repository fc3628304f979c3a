"""Windows of waiting bundles: what comes with their records is used, and nothing is asked for twice."""

from edge_agent.core.effects import EraseReason, Fetch, LoadWindow
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

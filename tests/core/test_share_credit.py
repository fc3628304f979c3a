"""Shares that a class could not use are not saved up: they would keep a higher one waiting later."""

from edge_agent.core.bundle import Precedence
from edge_agent.core.scheduler import QUANTUM_BYTES, Scheduler, ShareAccount
from tests.core.bench import Bench

FLASH, IMMEDIATE, PRIORITY, ROUTINE, DEFERRED = Precedence
FRAME_BYTES = 200
SHARE_RATIO = 0.05


def served(scheduler: Scheduler, account: ShareAccount, waiting: list[Precedence], frames: int) -> list[Precedence]:
    """The classes of so many frames, 0.2 s each, while ``waiting`` have work all the time."""
    leaders = []
    for number in range(frames):
        leader = scheduler.order_of_service(waiting, account, 0.2 * number)[0]
        account.charge(leader, FRAME_BYTES, waiting, SHARE_RATIO)
        leaders.append(leader)
    return leaders


def test_after_much_flash_the_others_get_no_more_than_their_share() -> None:
    scheduler, account = Scheduler(SHARE_RATIO), ShareAccount()
    for _ in range(20):  # FLASH for 20 spans short enough that nobody starves
        served(scheduler, account, [FLASH, IMMEDIATE, PRIORITY, ROUTINE], 250)
    leaders = served(scheduler, account, [IMMEDIATE, PRIORITY, ROUTINE], 50)
    for lower in (PRIORITY, ROUTINE):
        allowed_bytes = SHARE_RATIO * 50 * FRAME_BYTES + QUANTUM_BYTES + FRAME_BYTES
        assert leaders.count(lower) * FRAME_BYTES <= allowed_bytes


def test_a_class_that_had_nothing_to_send_in_between_has_not_starved() -> None:
    scheduler, account = Scheduler(SHARE_RATIO), ShareAccount()
    assert scheduler.order_of_service([FLASH, DEFERRED], account, 0.0)[0] is FLASH
    assert scheduler.order_of_service([FLASH, ROUTINE], account, 1.0)[0] is FLASH
    assert scheduler.order_of_service([FLASH, DEFERRED], account, 70.0)[0] is FLASH
    assert scheduler.order_of_service([FLASH, DEFERRED], account, 131.0)[0] is DEFERRED, "61 s of waiting"


def test_a_starved_class_that_may_not_leave_holds_up_no_other_that_starves() -> None:
    """What the peer takes nothing of stays first in the order for as long: the next one goes before FLASH, too."""
    scheduler, account = Scheduler(SHARE_RATIO), ShareAccount()
    waiting = [FLASH, PRIORITY, DEFERRED]
    assert scheduler.order_of_service(waiting, account, 0.0) == waiting
    account.charge(FLASH, FRAME_BYTES, waiting, SHARE_RATIO)
    assert scheduler.order_of_service(waiting, account, 61.0) == [PRIORITY, DEFERRED, FLASH]
    account.charge(DEFERRED, FRAME_BYTES, waiting, SHARE_RATIO)
    assert scheduler.order_of_service(waiting, account, 61.2)[0] is FLASH, "for one frame"


def test_a_class_that_another_link_serves_does_not_starve_here() -> None:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    for link in ("a", "b"):
        bench.join(link, "kit-1", "command")
    bench.run(1)
    node = bench.places["kit-1"].running
    accounts = {contact.link.name: contact.account for contact in node.contacts.contacts}
    bench.unplug("kit-1", "b")
    for account in accounts.values():
        account.waiting_since_s = [0.0] * len(Precedence)
    for precedence in (PRIORITY, DEFERRED):
        bench.submit("kit-1", bytes(100), precedence)
    bench.run(1)
    assert len(bench.places["command"].delivered()) == 2
    waiting_since_s = accounts["b"].waiting_since_s
    assert (waiting_since_s[PRIORITY], waiting_since_s[DEFERRED]) == (None, None)
    assert waiting_since_s[ROUTINE] == 0.0


def test_no_class_has_starved_on_a_link_that_carried_nothing() -> None:
    bench = Bench()
    bench.add("command", role="command")
    bench.add("kit-1")
    bench.join("a", "kit-1", "command")
    bench.run(1)
    (contact,) = bench.places["kit-1"].running.contacts.contacts
    bench.unplug("kit-1", "a")
    contact.account.waiting_since_s = [0.0] * len(Precedence)
    for precedence in (ROUTINE, FLASH):
        bench.submit("kit-1", bytes(500), precedence)
    bench.run(100)
    bench.plug("kit-1", "a")
    bench.run(1)
    delivered = [each.record.id.precedence for each in bench.places["command"].delivered()]
    assert delivered == [FLASH, ROUTINE]

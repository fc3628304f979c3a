"""Shares that a class could not use are not saved up: they would keep a higher one waiting later."""

from edge_agent.core.bundle import Precedence
from edge_agent.core.scheduler import QUANTUM_BYTES, Scheduler, ShareAccount

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

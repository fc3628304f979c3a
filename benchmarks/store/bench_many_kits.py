"""Five hundred kits against a post that syncs a megabyte a second: what its memory holds, and when FLASH is there."""

from functools import cache

from benchmarks.rows import Bench, Figure
from benchmarks.store.rush import Rush

KITS, QUICK_KITS = 500, 100
SYNC_BPS = 8e6
BUNDLES = 20
PICTURE_BYTES = 150_000
SPAN_S = 90.0


class PromiseError(Exception):
    """Something was lost, doubled or left waiting; the figures would mean nothing."""


@cache
def _rush(kits: int) -> Rush:
    rush = Rush(kits, SYNC_BPS, bundles=BUNDLES, picture_bytes=PICTURE_BYTES)
    rush.run(SPAN_S)
    rush.world.audit()
    tally = rush.world.ledger.tally()
    if tally.lost or tally.doubled or tally.waiting:
        raise PromiseError(f"{kits} kits: {tally}")
    return rush


def _memory(kits: int) -> Figure:
    """Megabytes of payload in the post at once; the reference is all that was sent to it."""
    rush = _rush(kits)
    sent_bytes = sum(each.record.payload_bytes for each in rush.world.deliveries)
    return Figure(value=rush.most_bytes / 1e6, reference=sent_bytes / 1e6)


def _flash(kits: int) -> Figure:
    """The slowest call of a kit with an idle link; the reference is that of kits whose links are full."""
    rush = _rush(kits)
    return Figure(value=rush.latest_s(rush.called), reference=rush.latest_s(rush.called_busy))


def rows(quick: bool) -> list[Bench]:
    """Two rows of one run in virtual time."""
    kits = QUICK_KITS if quick else KITS
    return [
        Bench(
            name="many_kits_memory",
            group="store",
            unit="MB in the post (MB sent)",
            goal="<= 64",
            measure=lambda: _memory(kits),
        ),
        Bench(
            name="many_kits_flash",
            group="store",
            unit="s to command, slowest of 20 (from a kit that is busy)",
            goal="<= 0.1",
            measure=lambda: _flash(kits),
        ),
    ]

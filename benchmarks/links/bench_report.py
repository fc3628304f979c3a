"""The link report against the simulator: availability, success and delay of links with known outages and losses."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.links.beds import links_of
from benchmarks.links.report_world import FROM_S, ReportWorld, lossy
from benchmarks.rows import Bench, Figure, Repeats

SPAN_S, QUICK_SPAN_S = 900.0, 300.0
LINKS = ((0.02, 0.0), (0.05, 0.02), (0.3, 0.005))
"""One-way delay in seconds, ratio lost."""
BULK_S, BED_SPAN_S = 40.0, 120.0
OUTAGES_S = ((60.3, 12.4), (200.7, 30.2), (700.1, 45.0))


def _worst(span_s: float) -> Figure:
    """The largest difference to the truth, as a ratio: of availability, of success, of the mean delay."""
    differences: list[float] = []
    outages_s = [(at_s, length_s) for at_s, length_s in OUTAGES_S if at_s + length_s < span_s - 30]
    for delay_s, loss_ratio in LINKS:
        with TemporaryDirectory() as folder:
            world = ReportWorld(Path(folder), [lossy("one", delay_s, loss_ratio)])
            for at_s, length_s in outages_s:
                world.run.world.at(at_s, partial(world.run.world.cut, "one"))
                world.run.world.at(at_s + length_s, partial(world.run.world.restore, "one"))
            world.until(span_s)
            success, true_delay_s = world.truths["one"].sums()
            window = world.day("one")
        down_s = sum(length_s for _, length_s in outages_s)
        differences += [
            abs((window.availability_ratio or 0.0) - (1 - down_s / (span_s - FROM_S))),
            abs((window.success_ratio or 0.0) - success),
            abs((window.delay_s or 0.0) / true_delay_s - 1),
        ]
    return Figure(value=max(differences), reference=None)


def _beds(beds: str) -> Figure:
    """The largest difference of a mean delay to the truth, as a share of the error that the report states of it, on
    links that vary, one way and the other apart, with saturating bulk for a while; the reference is that of success.
    """
    shares, differences = [], []
    for bed in beds:
        with TemporaryDirectory() as folder:
            world = ReportWorld(Path(folder), links_of(bed))
            world.run.fill(BULK_S)
            world.until(BED_SPAN_S)
            for link, truth in world.truths.items():
                success, true_delay_s = truth.sums()
                window = world.day(link)
                if window.delay_s is None or window.error_s is None or window.success_ratio is None:
                    raise AssertionError(f"bed {bed}, link {link}: nothing was measured: {window}")
                shares.append(abs(window.delay_s - true_delay_s) / window.error_s)
                differences.append(abs(window.success_ratio - success))
    return Figure(value=max(shares), reference=max(differences))


def rows(quick: bool) -> list[Bench]:
    """Two rows."""
    span_s = QUICK_SPAN_S if quick else SPAN_S
    return [
        Bench(
            name="link_report_truth",
            group="links",
            repeats=Repeats.SEEDED,
            unit="off the truth (worst)",
            goal="<= 0.01",
            measure=lambda: _worst(span_s),
        ),
        Bench(
            name="link_report_delay_error",
            group="links",
            repeats=Repeats.SEEDED,
            unit="of the error stated (success off)",
            goal="<= 1",
            measure=lambda: _beds("C" if quick else "ABC"),
        ),
    ]

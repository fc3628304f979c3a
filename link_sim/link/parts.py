"""Parts: a profile's numbers turned into the objects that a link model asks about each frame."""

import random
from dataclasses import dataclass

from link_sim.link.delays import Delay, Jitter, PeriodicSteps, TracedDelay
from link_sim.link.link_profile import LinkProfile
from link_sim.link.losses import BitErrorLoss, BurstLoss, ListedLoss, Loss, RandomLoss, TracedLoss
from link_sim.link.services import (
    NS_PER_S,
    UNLIMITED_BPS,
    DutyCycle,
    MessageSlots,
    Opportunities,
    RateSchedule,
    Service,
    SteadyRate,
    TokenBucket,
)
from link_sim.link.streams import derived_seed, stream
from link_sim.traces.trace import LinkTrace


@dataclass(slots=True)
class Streams:
    """The random streams of one direction, kept while its numbers change."""

    seed: int
    _streams: dict[str, random.Random]

    @classmethod
    def of(cls, seed: int) -> "Streams":
        """Streams that were not drawn from yet."""
        return cls(seed, {})

    def __getitem__(self, effect: str) -> random.Random:
        found = self._streams.get(effect)
        if found is None:
            found = self._streams[effect] = stream(self.seed, effect)
        return found


def make_service(profile: LinkProfile) -> Service:
    """What serves the frames of a profile. Raises ProfileError."""
    service: Service = _bare_service(profile)
    if profile.duty_ratio < 1:
        service = DutyCycle(service, profile.duty_ratio)
    if profile.interval_s is not None:
        service = MessageSlots(service, round(profile.interval_s * NS_PER_S))
    return service


def _bare_service(profile: LinkProfile) -> Service:
    trace = profile.trace
    if trace is not None and trace.opportunities_ns:
        return Opportunities(trace.opportunities_ns)
    if trace is not None and trace.has_rates:
        steps = trace.rate_steps(profile.rate_bps or UNLIMITED_BPS)  # for rows that did not measure a rate
        return RateSchedule(steps, trace.length_ns if trace.loops else None)
    if profile.rate_schedule:
        steps = [(round(from_s * NS_PER_S), rate_bps) for from_s, rate_bps in profile.rate_schedule]
        period_s = profile.schedule_period_s
        return RateSchedule(steps, None if period_s is None else round(period_s * NS_PER_S))
    if profile.burst_bytes is not None:
        assert profile.rate_bps is not None  # the profile says so
        return TokenBucket(profile.rate_bps, profile.burst_bytes)
    return SteadyRate(profile.rate_bps)


def make_losses(profile: LinkProfile, streams: Streams) -> list[Loss]:
    """Every loss in force."""
    losses: list[Loss] = []
    if profile.burst_enter_ratio:
        losses.append(
            BurstLoss(
                enter_ratio=profile.burst_enter_ratio,
                leave_ratio=profile.burst_leave_ratio,
                good_ratio=profile.loss_ratio,
                bad_ratio=profile.burst_loss_ratio,
                draw=streams["burst_loss"].random,
            )
        )
    elif profile.loss_ratio:
        losses.append(RandomLoss(profile.loss_ratio, streams["loss"].random))
    if profile.lost_frames:
        losses.append(ListedLoss(profile.lost_frames))
    if profile.bit_error_ratio:
        losses.append(BitErrorLoss(profile.bit_error_ratio, streams["bit_errors"].random))
    trace = profile.trace
    if trace is not None and trace.has_losses:
        losses.append(TracedLoss(lambda clock_ns: trace.row_at(clock_ns).loss_ratio or 0.0, streams["trace"].random))
    return losses


def make_delays(profile: LinkProfile, streams: Streams) -> list[Delay]:
    """Every part of the flight beside the constant ``delay_s``, except variation."""
    delays: list[Delay] = []
    if profile.step_spread_s and profile.step_period_s is not None:
        seed = derived_seed(streams.seed, "steps")
        delays.append(PeriodicSteps(profile.step_period_s, profile.step_spread_s, seed))
    if profile.trace is not None and profile.trace.has_delays:
        delays.append(_traced_delay(profile.trace, round(profile.delay_s * NS_PER_S)))
    return delays


def make_jitter(profile: LinkProfile, streams: Streams) -> Jitter | None:
    """Variation of the delay, if there is any."""
    if not profile.jitter_s:
        return None
    return Jitter(profile.jitter_s, profile.jitter_shape, profile.jitter_correlation_ratio, streams["jitter"])


def _traced_delay(trace: LinkTrace, constant_ns: int) -> TracedDelay:
    """The trace's delay in place of the constant one, which holds where the trace says nothing."""

    def beyond_ns(clock_ns: int) -> int:
        delay_ns = trace.row_at(clock_ns).delay_ns
        return 0 if delay_ns is None else delay_ns - constant_ns

    return TracedDelay(beyond_ns)

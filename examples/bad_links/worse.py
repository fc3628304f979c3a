"""A link made worse, to see that a test notices: less rate, more delay, more loss."""

from dataclasses import replace

from link_sim.link.link_profile import LinkProfile
from link_sim.profiles import PathProfile, profile


def worse(name: str, times: int) -> PathProfile:
    """The named profile, in both directions ``times`` as bad; 1 leaves it as it is. Raises ProfileError."""
    named = profile(name)
    return PathProfile(name=named.name, up=_worse(named.up, times), down=_worse(named.down, times))


def _worse(way: LinkProfile, times: int) -> LinkProfile:
    return replace(
        way,
        rate_bps=None if way.rate_bps is None else way.rate_bps // times,
        delay_s=way.delay_s * times,
        jitter_s=way.jitter_s * times,
        loss_ratio=min(1.0, way.loss_ratio * times),
    )

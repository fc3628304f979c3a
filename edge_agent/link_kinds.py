"""Kinds of links and what each is measured against in a link report. What nobody stated the kind of has no target."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class LinkKind(StrEnum):
    """What a link is, as ``kind`` in its table says."""

    WIRED = "wired"
    CELLULAR = "cellular"
    RADIO = "radio"
    SATELLITE = "satellite"
    UNSTATED = ""


KIND_OF_TRANSPORT: Mapping[str, LinkKind] = {"serial_radio": LinkKind.RADIO}
"""Of the others nobody can tell: UDP goes over a cable and over a satellite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTargets:
    """What a link shall keep. ``errored`` and ``severe`` seconds are those of 2 hours; other spans in proportion."""

    availability_ratios: tuple[float, ...]
    delay_s: float
    jitter_s: float
    success_ratio: float
    errored_s: int
    severe_s: int


TARGETS: Mapping[LinkKind, LinkTargets] = {
    LinkKind.WIRED: LinkTargets(
        availability_ratios=(0.9999, 0.99999),
        delay_s=0.010,
        jitter_s=0.002,
        success_ratio=0.99999,
        errored_s=6,
        severe_s=6,
    ),
    # 100 ms, 50 ms and 1e-3 lost: ITU-T Y.1541, class 0; errored 4 % and severely 0.2 %: ITU-T G.826, table 1, up to 5
    # Mbit/s. Availabilities are ours.
    LinkKind.CELLULAR: LinkTargets(
        availability_ratios=(0.999,),
        delay_s=0.100,
        jitter_s=0.050,
        success_ratio=0.999,
        errored_s=288,
        severe_s=14,
    ),
    # A voice radio or a mesh in rough ground loses more; an SOS is sent again until it has arrived. All ours.
    LinkKind.RADIO: LinkTargets(
        availability_ratios=(0.99,),
        delay_s=1.0,
        jitter_s=0.300,
        success_ratio=0.98,
        errored_s=720,
        severe_s=72,
    ),
    # 400 ms, 50 ms and 1e-3 lost: ITU-T Y.1541, class 1. Availability is ours: rain is not the operator's fault.
    LinkKind.SATELLITE: LinkTargets(
        availability_ratios=(0.995,),
        delay_s=0.400,
        jitter_s=0.050,
        success_ratio=0.999,
        errored_s=288,
        severe_s=14,
    ),
}


@dataclass(frozen=True, slots=True)
class KindTaken:
    """The kind a report goes by, and who said so: ``config``, ``transport``, or nobody (``unstated``)."""

    kind: LinkKind
    source: str


def kind_of(stated: str, transport: str) -> KindTaken:
    """The kind of a link from its table, else from its transport, else none."""
    if stated:
        return KindTaken(LinkKind(stated), "config")
    if transport in KIND_OF_TRANSPORT:
        return KindTaken(KIND_OF_TRANSPORT[transport], "transport")
    return KindTaken(LinkKind.UNSTATED, "unstated")

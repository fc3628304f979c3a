"""BRIEF: a whole bundle in 4 bytes more than its payload, where both ends of a slow line hold its profile.

    PROFILE  CONTROL [5, number, precedence, header before the creation time, header after it, sequence, created ms]
    BRIEF    128 + 64 (ends the frame: no length) + 32 (age follows) + number, sequence (low byte), created ms (two low
             bytes), [age in 64 ms], [length], payload

A profile is told in front of a BRIEF, again and again until a frame that told it is acknowledged. Sequence and creation
time are rebuilt from those of the highest bundle of the profile that the reader has; the writer knows it to be the last
one acknowledged or one sent since, and tells the profile anew where the low bytes would not tell those apart.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from edge_agent.core.blocks import BRIEF, BRIEF_AGED, PROFILES_MAX, SEQUENCE_MAX, Brief, Fragment
from edge_agent.core.bundle import CREATED_MAX_MS, BundleHeader, MalformedError, Precedence
from edge_agent.core.codec import put_control

PROFILE_KIND = 5
AGE_UNIT_MS = 64
AGE_UNITS_MAX = 255
"""Older bundles are history and travel as fragments."""
SEQUENCE_SPAN, CREATED_SPAN_MS = 1 << 8, 1 << 15
OPEN_MAX = 32
"""Briefs not acknowledged; with more, bundles travel as fragments until one is."""
LENGTH_MAX = 127
_BRIEF_FIXED_BYTES = 6


@dataclass(slots=True, eq=False)
class SentProfile:
    """One profile as its writer knows it."""

    number: int
    is_known: bool = False
    """Whether the reader holds it, with one of the bundles below as the highest."""
    acked: tuple[int, int] | None = None
    """Sequence and creation time of the highest bundle of it that surely arrived."""
    highest: int = -1
    sent: deque[tuple[int, int]] = field(default_factory=deque)
    """The same of those that left since."""
    round: int = 0
    """Counts how often it had to be told anew: only what was told in the present round makes it known."""

    def is_told(self, sequence: int, created_ms: int) -> bool:
        """Whether the low bytes name this bundle, whichever of those sent is the highest that has arrived."""
        oldest = self.acked or (self.sent[0] if self.sent else None)
        if not self.is_known or oldest is None or sequence - oldest[0] >= SEQUENCE_SPAN:
            return False
        known = (oldest, *self.sent)
        return all(abs(created_ms - known_ms) < CREATED_SPAN_MS for _, known_ms in known)


class ProfileUse(NamedTuple):
    """What one frame said in terms of a profile, until it is known to have arrived."""

    profile: SentProfile
    sequence: int
    created_ms: int
    tells_in: int
    """The round in which the frame told the profile, too; -1: it did not."""

    def is_near(self, sequence: int, created_ms: int) -> bool:
        """Whether the low bytes name a bundle that follows this one in the same frame."""
        return sequence - self.sequence < SEQUENCE_SPAN and abs(created_ms - self.created_ms) < CREATED_SPAN_MS

    def arrived(self) -> None:
        """The frame is acknowledged."""
        profile = self.profile
        if self.tells_in == profile.round:
            profile.is_known = True
        if profile.acked is None or self.sequence > profile.acked[0]:
            profile.acked = (self.sequence, self.created_ms)
        while profile.sent and profile.sent[0][0] <= self.sequence:
            profile.sent.popleft()


@dataclass(slots=True)
class ProfileWriter:
    """The profiles of one session, this node's side."""

    _profiles: dict[tuple[Precedence, bytes, bytes], SentProfile] = field(default_factory=dict)

    def write(
        self, body: bytearray, uses: list[ProfileUse], fragment: Fragment, header: BundleHeader, room_bytes: int
    ) -> tuple[int, int] | None:
        """Append a whole bundle as a BRIEF, behind its PROFILE where the reader may not hold that; noted in ``uses``.

        Gives back where the block and its length stand; None: the bundle has to be a FRAGMENT.
        """
        age_units = fragment.age_low_ms // AGE_UNIT_MS
        if fragment.age_extra_ms or age_units > AGE_UNITS_MAX or len(fragment.payload) > LENGTH_MAX:
            return None
        key = _key_of(fragment, header)
        profile = self._profiles.get(key)
        if profile is None:
            if len(self._profiles) >= PROFILES_MAX:
                return None
            profile = self._profiles[key] = SentProfile(len(self._profiles))
        sequence, created_ms = fragment.sequence, header.created_at_ms
        if sequence <= profile.highest or len(profile.sent) >= OPEN_MAX:
            return None
        told = b""
        before = next((use for use in reversed(uses) if use.profile is profile), None)
        is_told = before.is_near(sequence, created_ms) if before else profile.is_told(sequence, created_ms)
        if not is_told:
            told = _packed_profile(profile.number, key, sequence, created_ms)
        if len(told) + _BRIEF_FIXED_BYTES + len(fragment.payload) > room_bytes:
            return None
        if not is_told and profile.is_known:
            profile.is_known, profile.round = False, profile.round + 1
        body += told
        brief_at = len(body)
        length_at = _put_brief(body, profile.number, sequence, created_ms, age_units, fragment.payload)
        profile.highest = sequence
        profile.sent.append((sequence, created_ms))
        uses.append(ProfileUse(profile, sequence, created_ms, -1 if is_told else profile.round))
        return brief_at, length_at


def _packed_profile(number: int, key: tuple[Precedence, bytes, bytes], sequence: int, created_ms: int) -> bytes:
    precedence, before, after = key
    out = bytearray()
    put_control(out, [PROFILE_KIND, number, int(precedence), before, after, sequence, created_ms])
    return bytes(out)


def _put_brief(body: bytearray, number: int, sequence: int, created_ms: int, age_units: int, payload: bytes) -> int:
    """Append the block; gives back where its length stands."""
    body.append(BRIEF | (BRIEF_AGED if age_units else 0) | number)
    body.append(sequence & 255)
    body += (created_ms & 0xFFFF).to_bytes(2, "big")
    if age_units:
        body.append(age_units)
    length_at = len(body)
    body.append(len(payload))
    body += payload
    return length_at


def _key_of(fragment: Fragment, header: BundleHeader) -> tuple[Precedence, bytes, bytes]:
    packed, at = fragment.header, header.created_offset()
    return fragment.precedence, packed[:at], packed[at + len(msgpack.packb(header.created_at_ms)) :]


@dataclass(slots=True)
class KnownProfile:
    """One profile as its reader knows it, with the highest bundle of it."""

    precedence: Precedence
    before: bytes
    after: bytes
    template: BundleHeader
    sequence: int
    created_ms: int
    frame_number: int
    """Of the frame that named them: what comes in an older one is not rebuilt from a newer bundle."""


@dataclass(slots=True)
class ProfileReader:
    """The profiles of one session, the peer's side."""

    _profiles: dict[int, KnownProfile] = field(default_factory=dict)

    def learn(self, fields: list[Any], frame_number: int) -> None:  # Any: a peer's
        """Take a PROFILE. Raises MalformedError."""
        if len(fields) != 7 or any(type(each) is not int or each < 0 for each in (*fields[1:3], *fields[5:])):
            raise MalformedError("profile: fields")
        _, number, precedence, before, after, sequence, created_ms = fields
        if number >= PROFILES_MAX or precedence >= len(Precedence) or sequence > SEQUENCE_MAX:
            raise MalformedError("profile: a number is out of range")
        if not (isinstance(before, bytes) and isinstance(after, bytes)):
            raise MalformedError("profile: header")
        template = BundleHeader.unpack(before + msgpack.packb(created_ms) + after)
        if template.created_at_ms != created_ms or template.created_offset() != len(before):
            raise MalformedError("profile: header")
        known = self._profiles.get(number)
        if known is None or frame_number >= known.frame_number:
            self._profiles[number] = KnownProfile(
                Precedence(precedence), before, after, template, sequence - 1, created_ms, frame_number
            )

    def rebuild(self, brief: Brief, frame_number: int) -> Fragment | None:
        """The fragment that ``brief`` stands for; None for a profile never told, or in a frame that was overtaken."""
        known = self._profiles.get(brief.profile)
        if known is None or frame_number < known.frame_number:
            return None
        sequence = known.sequence + 1 + (brief.sequence_cut - known.sequence - 1) % SEQUENCE_SPAN
        change_ms = (brief.created_cut - known.created_ms + CREATED_SPAN_MS) % (2 * CREATED_SPAN_MS) - CREATED_SPAN_MS
        created_ms = known.created_ms + change_ms
        if sequence > SEQUENCE_MAX or not 0 <= created_ms < CREATED_MAX_MS:
            return None
        known.sequence, known.created_ms, known.frame_number = sequence, created_ms, frame_number
        packed = known.before + msgpack.packb(created_ms) + known.after
        length, age_low_ms = len(brief.payload), brief.age_units * AGE_UNIT_MS
        return Fragment(
            None,
            known.precedence,
            sequence,
            0,
            length,
            packed,
            age_low_ms,
            AGE_UNIT_MS,
            brief.payload,
            known.template.made_at(created_ms),
        )

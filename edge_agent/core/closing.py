"""Which holes in the numbers of a source stay holes: asked by who keeps many, told by the source and nobody else.

    CLOSED  CONTROL [2, incarnation, precedence, start, stop, closed, open, closed, open, ...]

CLOSED answers a question (``closed_numbers``) for all numbers [start, stop): lengths of closed and open ones by turns,
what follows the last is closed. Open ones may still come. The others never will, from nobody: their custody ended, and
no copy of them is under way (docs/adr/0024-closed-numbers.md). Only the holder of an incarnation knows that.
"""

from typing import Any, NamedTuple

import msgpack

from edge_agent.core.arrivals import Arrivals
from edge_agent.core.blocks import SEQUENCE_MAX, Control
from edge_agent.core.bundle import MalformedError, Precedence
from edge_agent.core.custody import Custody
from edge_agent.core.effects import CloseNumbers, Done, ListOpen, OpenNumbers, Outcome
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.outputs import Outputs
from edge_agent.core.peer import Peer, Reply

CLOSED_KIND = 2
ANSWER_BYTES_MAX = 64
"""It fits into the shortest frame of a slow line; where more numbers are open it ends before them."""
QUESTIONS_MAX = 8
"""Questions of all peers that the store is looking up at once; whoever asks beyond it asks again."""


class Closing:
    """Both sides: questions of peers for the store, and answers of sources into the closed numbers."""

    def __init__(self, custody: Custody, arrivals: Arrivals, outputs: Outputs) -> None:
        self.custody = custody
        self.arrivals = arrivals
        self.outputs = outputs
        self._looked_up = 0

    def take_question(self, peer: Peer, block: Control, now_s: float) -> None:
        """``peer`` asks which of these numbers of ours may still come. Raises MalformedError."""
        incarnation, precedence, start, stop = _read_span(block.fields, 5)
        custody = self.custody
        if incarnation != custody.restored.incarnation:
            self.outputs.drop("question_of_another")
            return
        stop = min(stop, custody.settled_below(precedence))
        if start >= stop or self._looked_up >= QUESTIONS_MAX:
            self.outputs.drop("question_unanswered")
            return
        self._looked_up += 1

        def listed(outcome: Outcome, now_s: float) -> None:
            self._looked_up -= 1
            if isinstance(outcome, OpenNumbers):
                peer.owe(Reply(answer(incarnation, precedence, start, outcome), is_urgent=False), now_s)
            else:
                self.outputs.drop("list_open_failed")

        key = (custody.settings.node_id, incarnation, precedence)
        self.outputs.effects.append(ListOpen(self.outputs.new_effect(listed), key, start, stop))

    def take_closed(self, peer: Peer, block: Control) -> None:
        """A source says which of its numbers will never come. Raises MalformedError."""
        incarnation, precedence, _, stop, closed = read_answer(block.fields)
        if incarnation != peer.incarnation:
            self.outputs.drop("closed_of_another")  # its folder was restored since: it speaks for one name only
            return
        key = (peer.node_id, incarnation, precedence)
        for sequence in self.arrivals.becoming_durable(key):
            closed.remove(sequence, sequence + 1)

        def noted(outcome: Outcome, now_s: float) -> None:
            if isinstance(outcome, Done):
                self.arrivals.close_numbers(key, closed)
                self.arrivals.closed.note_answer(key, stop)
            else:
                self.outputs.drop("close_numbers_failed")

        self.outputs.effects.append(CloseNumbers(self.outputs.new_effect(noted, is_quiet=True), key, tuple(closed)))


class Answer(NamedTuple):
    """What a source says of its numbers [start, stop)."""

    incarnation: int
    precedence: Precedence
    start: int
    stop: int
    closed: IntervalSet


def answer(incarnation: int, precedence: Precedence, start: int, found: OpenNumbers) -> Control:
    """As many of the open numbers as fit; ``stop`` is where they ended."""
    fields: list[Any] = [CLOSED_KIND, incarnation, int(precedence), start, found.stop]
    at = start
    for left, right in found.ranges:
        longer = [*fields, left - at, right - left]
        if len(msgpack.packb(longer)) > ANSWER_BYTES_MAX:
            fields[4] = left
            break
        fields, at = longer, right
    return Control(fields)


def read_answer(fields: list[Any]) -> Answer:  # Any: a peer's
    """What ``answer`` wrote. Raises MalformedError."""
    incarnation, precedence, start, stop = _read_span(fields, len(fields))
    closed, at = IntervalSet([(start, stop)]), start
    for skipped, length in zip(fields[5::2], fields[6::2], strict=True):
        closed.remove(at + skipped, at + skipped + length)
        at += skipped + length
    return Answer(incarnation, precedence, start, stop, closed)


def _read_span(fields: list[Any], length: int) -> tuple[int, Precedence, int, int]:  # Any: a peer's
    """Incarnation, precedence, start and stop. Raises MalformedError unless all is a number in its range."""
    if len(fields) != length or length < 5 or length % 2 == 0 or any(type(each) is not int for each in fields):
        raise MalformedError("closed numbers: fields")
    _, incarnation, precedence, start, stop, *lengths = fields
    if precedence not in tuple(Precedence) or not 0 <= incarnation < 1 << 64:
        raise MalformedError("closed numbers: whose")
    if not 0 <= start < stop <= SEQUENCE_MAX or any(each < 0 for each in lengths) or sum(lengths) > stop - start:
        raise MalformedError("closed numbers: ranges")
    return incarnation, Precedence(precedence), start, stop

"""Posts: which of the bundles for ``command`` the other command nodes lack, and which node brings them.

Who got a bundle from its source copies it to every other post at once. Who got it as a copy tells the other posts so,
and copies it on only where one has not said within COPY_WAIT_S that it has it: the giver may have died on the way.
What is known of the others is what they said since they were met; it lives in memory, for each meeting begins with all
that both have. What is still to be copied is read again from the deliveries of the store (``cursor``).
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_agent.core.bundle import BundleId
from edge_agent.core.closed_numbers import ClosedKey
from edge_agent.core.intervals import IntervalSet
from edge_agent.core.post_words import HaveWord, may_be_act

COPY_WAIT_S = 10.0
TELL_WAIT_S = 1.0
"""News of what is here gather so long."""
ASK_WAIT_S, ASK_WAIT_MAX_S = 10.0, 600.0
"""A post that does not say what it has is asked again, each time after twice as long: it may be an older program."""
WAITING_MAX = 1024
"""Deliveries looked at and not settled, per post; the others are rows."""
ANSWERED_MAX = 4096
_GIVEN_UP = "."
"""No post's name: who gave a copy that has to wait as if a post had given it."""

Numbers = Mapping[ClosedKey, IntervalSet]


class Arrived(NamedTuple):
    """A delivery for ``command`` in this node's store. ``giver``: the post whose copy it is, empty: no copy.

    ``levels`` it is for, empty: all.
    """

    position: int
    bundle: BundleId
    giver: str
    at_s: float
    levels: tuple[str, ...] = ()


class Due(NamedTuple):
    """A copy that shall leave now. ``answers``: its taker sends the receipt of its level."""

    post: str
    position: int
    bundle: BundleId
    answers: bool


@dataclass(slots=True)
class _Post:
    """Another command node."""

    level: str = ""
    is_met: bool = False
    has_told: bool = False
    """It has said all that it has since it was met after a while."""
    told_s: float = -math.inf
    owes_word: bool = False
    """It is to hear all that is here."""
    ask_s: float = math.inf
    ask_wait_s: float = ASK_WAIT_S
    has: dict[ClosedKey, IntervalSet] = field(default_factory=dict)
    news: dict[ClosedKey, IntervalSet] = field(default_factory=dict)
    waiting: dict[int, Arrived] = field(default_factory=dict)
    leaving: set[int] = field(default_factory=set)
    """Positions whose copy was asked for and is not accepted yet."""
    read_to: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it takes copies, and what it lacks is known."""
        return self.is_met and self.has_told

    def wants(self, levels: tuple[str, ...]) -> bool:
        """Whether its people are to see what is for these levels."""
        return _is_for(levels, self.level)

    def lacks(self, bundle: BundleId) -> bool:
        return bundle.sequence not in self.has.get(bundle[:3], ())

    def add(self, bundle: BundleId) -> None:
        self.has.setdefault(bundle[:3], IntervalSet()).add(bundle.sequence, bundle.sequence + 1)


def _is_for(levels: tuple[str, ...], level: str) -> bool:
    """Whether ``level`` is one of ``levels``, where none stands for all; a post without a level is of each."""
    return not levels or not level or level in levels


class PostExchange:
    """This node's part. Calls come from who knows links and store; nothing here waits or sends."""

    def __init__(self, level: str, posts: Iterable[str], own: Callable[[], Numbers]) -> None:
        """``own``: the numbers of all bundles that are or were here."""
        self._level = level
        self._own = own
        self._posts = {post: _Post() for post in posts}
        self._answering: dict[BundleId, set[str]] = {}
        self._safe: list[BundleId] = []
        self._told_s = -math.inf

    def start_at(self, post: str, cursor: int) -> None:
        """All deliveries up to ``cursor`` were settled with a post by an earlier start of this node."""
        self._posts[post].read_to = cursor

    @property
    def is_shared(self) -> bool:
        """Whether a second post would take a copy now."""
        return any(each.is_open for each in self._posts.values())

    def see(self, reached: Collection[str], now_s: float) -> None:
        """Which posts a link reaches now."""
        for name, post in self._posts.items():
            if name not in reached:
                post.is_met = False
                continue
            if not post.is_met and now_s - post.told_s >= ASK_WAIT_S:  # one that flaps says all it has once in a while
                post.has_told = False
                post.ask_s, post.ask_wait_s = now_s, ASK_WAIT_S
            post.is_met = True
            if not post.has_told and now_s >= post.ask_s:
                post.owes_word = True

    def take_word(self, name: str, word: HaveWord, now_s: float) -> bool:
        """A post says what it has; False when it is not one of ours."""
        post = self._posts.get(name)
        if post is None:
            return False
        post.level = word.level
        if word.is_whole:
            post.has = {key: ranges.copy() for key, ranges in word.numbers.items()}
            post.has_told, post.told_s = True, now_s
        else:
            for key, ranges in word.numbers.items():
                known = post.has.setdefault(key, IntervalSet())
                for start, end in ranges:
                    known.add(start, end)
        post.owes_word = post.owes_word or word.asks
        return True

    def words(self, now_s: float) -> list[tuple[str, HaveWord]]:
        """What the posts in reach are to hear now."""
        found: list[tuple[str, HaveWord]] = []
        is_time = now_s - self._told_s >= TELL_WAIT_S
        for name, post in self._posts.items():
            if not post.is_met:
                continue
            if post.owes_word:
                asks = not post.has_told and now_s >= post.ask_s
                if asks:
                    post.ask_s, post.ask_wait_s = now_s + post.ask_wait_s, min(2 * post.ask_wait_s, ASK_WAIT_MAX_S)
                found.append((name, self._word(self._own(), is_whole=True, asks=asks)))
            elif post.news and is_time:
                found.append((name, self._word(post.news, is_whole=False, asks=False)))
            else:
                continue
            post.owes_word, post.news = False, {}
        if found:
            self._told_s = now_s
        return found

    def _word(self, numbers: Numbers, *, is_whole: bool, asks: bool) -> HaveWord:
        own = {key: ranges for key, ranges in numbers.items() if key[0] not in self._posts or may_be_act(key)}
        return HaveWord(level=self._level, is_whole=is_whole, asks=asks, numbers=own)

    def took_copy(self, bundle: BundleId, giver: str) -> None:
        """A copy of ``giver`` is here, now or since before: the other posts hear of it."""
        for name, post in self._posts.items():
            if name == giver:
                post.add(bundle)
            else:
                news = post.news.setdefault(bundle[:3], IntervalSet())
                news.add(bundle.sequence, bundle.sequence + 1)

    def wants_rows(self, name: str) -> int | None:
        """From where the next deliveries are to be read for a post; None while there is no use in it."""
        post = self._posts[name]
        return post.read_to if post.is_open and len(post.waiting) < WAITING_MAX else None

    def offer(self, name: str, arrived: Iterable[Arrived], read_to: int) -> None:
        """Deliveries for ``command``, oldest first, up to the position ``read_to``; what is between is for nobody."""
        post = self._posts[name]
        for each in arrived:
            if each.giver == name:
                post.add(each.bundle)
            if post.wants(each.levels):
                post.waiting[each.position] = each
            elif not any(other.is_open and other.wants(each.levels) for other in self._posts.values()):
                self._safe.append(each.bundle)  # nobody else would take it now: its source need not wait
        post.read_to = max(post.read_to, read_to)

    def shows(self, bundle: BundleId, position: int, levels: tuple[str, ...]) -> bool:
        """Whether people here see a delivery for ``levels``: also where no post of them has it or can be reached.

        What the cursor has passed was copied by an earlier start: it is shown where it went.
        """
        if _is_for(levels, self._level):
            return True
        return all(
            post.lacks(bundle) and not post.is_open and position > self.cursor(name)
            for name, post in self._posts.items()
            if post.wants(levels)
        )

    def knows(self, levels: tuple[str, ...]) -> bool:
        """Whether this post or another one is of these levels; one that was not met yet may be."""
        return _is_for(levels, self._level) or any(post.wants(levels) for post in self._posts.values())

    def _settle(self, post: _Post) -> None:
        """What it has needs no copy, and has a second holder."""
        for each in list(post.waiting.values()):
            if not post.lacks(each.bundle):
                del post.waiting[each.position]
                self._safe.append(each.bundle)

    def due(self, now_s: float) -> list[Due]:
        """Copies that shall leave now, urgent ones first; each is given once, until ``copied`` or ``failed``."""
        for post in self._posts.values():
            self._settle(post)
        found = [
            (each, name, post)
            for name, post in self._posts.items()
            if post.is_open
            for each in post.waiting.values()
            if each.position not in post.leaving and (not each.giver or now_s >= each.at_s + COPY_WAIT_S)
        ]
        found.sort(key=lambda one: (one[0].bundle.precedence, one[0].position))
        due = []
        for each, name, post in found:
            post.leaving.add(each.position)
            due.append(Due(name, each.position, each.bundle, self._answers(each.bundle, post.level)))
        return due

    def _answers(self, bundle: BundleId, level: str) -> bool:
        """Whether the next copy to this level is the first one from here: one node of a level sends its receipt."""
        if level == self._level:
            return False
        answering = self._answering.setdefault(bundle, set())
        if len(self._answering) > ANSWERED_MAX:
            del self._answering[next(iter(self._answering))]
        if level in answering:
            return False
        answering.add(level)
        return True

    def copied(self, due: Due) -> None:
        """The copy is durable here and bound for its post, or there is nothing to copy any more."""
        post = self._posts[due.post]
        post.leaving.discard(due.position)
        post.waiting.pop(due.position, None)

    def failed(self, due: Due) -> None:
        """The copy was not taken here, as by a full store: it is due again."""
        self._posts[due.post].leaving.discard(due.position)

    def lost(self, due: Due, now_s: float) -> None:
        """A copy that waited here was given up for room: another one is due in a while, if the post still lacks it."""
        again = Arrived(due.position, due.bundle, _GIVEN_UP, now_s)
        self._posts[due.post].waiting[due.position] = again

    def taken(self, name: str, bundle: BundleId) -> None:
        """A post has custody of the copy."""
        self._posts[name].add(bundle)
        self._safe.append(bundle)

    def safe(self) -> list[BundleId]:
        """Bundles that a second post has, as became known since the last call."""
        safe, self._safe = self._safe, []
        return safe

    def cursor(self, name: str) -> int:
        """All deliveries up to this position are settled with a post: had, copied, or not for it."""
        post = self._posts[name]
        return min(post.waiting) - 1 if post.waiting else post.read_to

    def next_s(self, now_s: float) -> float | None:
        """When to call again if nothing else happens; None: not by itself."""
        times = [each.at_s + COPY_WAIT_S for post in self._posts.values() for each in post.waiting.values()]
        if any(post.is_met and post.news for post in self._posts.values()):
            times.append(self._told_s + TELL_WAIT_S)
        return max(now_s, min(times)) if times else None
